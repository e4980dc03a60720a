//! The barrier: every cycle ends for every party, with a number or with an error.

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use ossature_sys::futex::Limit;
use ossature_sys::model::barrier as model;
use ossature_sys::sync::barrier::{Barrier, Broken};

use crate::{explore, explore_to};

#[test]
fn all_are_let_go_with_a_number_each() {
    explore(|| {
        let barrier = Arc::new(Barrier::new(2));
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || [barrier.wait().unwrap(), barrier.wait().unwrap()])
        };
        let mine = [barrier.wait().unwrap(), barrier.wait().unwrap()];
        let others = other.join().unwrap();
        assert_eq!([mine[0] + others[0], mine[1] + others[1]], [1, 1]);
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
    });
}

#[test]
fn barrier_that_is_aborted_frees_who_waits() {
    explore(|| {
        let barrier = Arc::new(Barrier::new(2));
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait())
        };
        barrier.abort();
        assert_eq!(other.join().unwrap(), Err(Broken::Aborted));
        barrier.reset();
        assert!(!barrier.is_broken());
    });
}

/// One wait may not sleep, and another may: both get the same result.
#[test]
fn wait_that_runs_out_of_time_fails_for_both_or_for_neither() {
    explore(|| {
        let barrier = Arc::new(Barrier::new(2));
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait())
        };
        let mine = barrier.wait_timeout(Limit::NOW);
        let others = other.join().unwrap();
        match mine {
            Ok(number) => assert_eq!(others, Ok(1 - number)),
            Err(mine) => assert_eq!((mine, others), (Broken::TimedOut, Err(Broken::TimedOut))),
        }
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, mine.is_err()));
        barrier.reset();
        assert!(!barrier.is_broken());
    });
}

/// No party stays inside, in either order.
#[test]
fn late_leaver_and_reset_leave_an_empty_barrier() {
    explore(|| {
        let barrier = Arc::new(Barrier::new(2));
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait_timeout(Limit::NOW).unwrap_err())
        };
        barrier.reset();
        let _ = other.join().unwrap();
        barrier.reset();
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
    });
}

#[test]
fn barrier_may_be_aborted_while_its_action_runs() {
    explore(|| {
        let barrier = Arc::new(Barrier::new(1));
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait_with(thread::yield_now))
        };
        barrier.abort();
        assert!(matches!(other.join().unwrap(), Ok(0) | Err(Broken::Aborted)));
        assert!(barrier.is_broken());
        barrier.reset();
        assert_eq!(barrier.wait(), Ok(0));
    });
}

/// A party leaves while another completes the next cycle: the word changes in between, and
/// the action of that cycle is not passed over.
#[test]
fn wait_that_completes_a_cycle_beside_a_late_leaver_has_run_its_action() {
    fn pass(barrier: &Barrier, limit: Limit<'_>) {
        let mut has_run = false;
        let answer = barrier.wait_with_timeout(limit, || has_run = true);
        assert!(answer.is_err() || has_run, "{answer:?} without the action");
    }
    explore_to(5, || {
        let barrier = Arc::new(Barrier::new(1));
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || pass(&barrier, Limit::NOW))
        };
        pass(&barrier, Limit::NEVER);
        other.join().unwrap();
    });
}

/// More steps than a party makes that joins and waits once, so that the last of them does not die.
const STEPS: u32 = 48;

fn party(barrier: &Arc<model::Barrier>, id: u32) -> JoinHandle<Result<u32, Broken>> {
    let barrier = barrier.clone();
    thread::spawn(move || barrier.wait(id))
}

/// Starts a party that joins, waits `times` times, and dies after `steps` steps. Returns its results if it survived.
fn doomed(barrier: &Arc<model::Barrier>, steps: u32, times: u32) -> JoinHandle<Option<Vec<Result<u32, Broken>>>> {
    let barrier = barrier.clone();
    thread::spawn(move || barrier.doomed(steps, || barrier.join_and_wait(9, times)))
}

/// Wherever the party dies, the other party passes or sees the barrier broken.
#[test]
fn killed_party_leaves_nobody_asleep() {
    for steps in 0..STEPS {
        explore(move || {
            let barrier = Arc::new(model::Barrier::new(2));
            let dies = doomed(&barrier, steps, 1);
            let mine = barrier.wait(1);
            let survived = dies.join().unwrap();
            assert!(survived.is_some() || steps < STEPS - 1, "the last one has no step left to die at");
            match &survived {
                Some(answers) => assert_eq!(answers[0].unwrap() + mine.unwrap(), 1),
                // One that dies behind its last step has left.
                None => assert!(mine.is_ok() || barrier.is_broken()),
            }
            assert!(barrier.is_made_whole());
        });
    }
}

/// Two other parties both pass, or both see the barrier broken, and one is notified of the death by the other.
#[test]
fn killed_party_of_three_is_seen_by_both_others() {
    // All 48 take minutes; the model of two takes each.
    for steps in (0..STEPS).step_by(3) {
        explore_to(1, move || {
            let barrier = Arc::new(model::Barrier::new(3));
            let (dies, second) = (doomed(&barrier, steps, 1), party(&barrier, 2));
            let first = barrier.wait(1);
            let second = second.join().unwrap();
            assert_eq!(first.is_ok(), second.is_ok());
            assert!(dies.join().unwrap().is_none_or(|answers| answers[0].is_ok() && first.is_ok()));
            assert!(barrier.is_made_whole());
        });
    }
}

/// The other party has begun the next cycle while the killed party leaves the first.
#[test]
fn party_killed_between_two_cycles_is_missed_in_the_second() {
    for steps in 0..STEPS + 12 {
        explore_to(1, move || {
            let barrier = Arc::new(model::Barrier::new(2));
            let dies = doomed(&barrier, steps, 2);
            let mine = [barrier.wait(1), barrier.wait(1)];
            let survived = dies.join().unwrap().is_some();
            assert!(mine[0].is_ok() || mine[1].is_err());
            assert!(!survived || mine.iter().all(Result::is_ok));
            assert!(barrier.is_made_whole());
        });
    }
}

#[test]
fn killed_resetter_leaves_nobody_asleep() {
    for steps in 0..12 {
        explore(move || {
            let barrier = Arc::new(model::Barrier::new(2));
            let waits = party(&barrier, 1);
            let survived = barrier.doomed(steps, || barrier.reset()).is_some();
            if survived {
                // It may have come before the party, which then waits for another.
                barrier.abort();
            }
            assert!(waits.join().unwrap().is_err());
            assert!(survived || steps < 11, "the last one has no step left to die at");
            assert!(barrier.is_made_whole());
        });
    }
}
