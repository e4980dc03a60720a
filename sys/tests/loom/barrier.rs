//! The barrier: every cycle ends for everybody, with a number or with a reason.

use loom::sync::Arc;
use loom::thread;
use ossature_sys::futex::Limit;
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

/// A wait that may not sleep, beside a wait that may: both get the same result.
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

/// Neither call needs the internal lock: whichever comes first, no party stays inside.
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

/// A party leaves without the internal lock while another completes the next cycle: the word changes in between, and
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
