//! The barrier in its three scopes: numbers, actions, cycles, and what breaks it.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::thread::{self, Scope as Threads, ScopedJoinHandle};

use ossature_sys::errno::Errno;
use ossature_sys::futex::Cancel;
use ossature_sys::scope::{Local, Private, Refused, Scope, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::barrier::{Barrier, Broken};

use crate::support::{soon, thread_id, until_asleep};

const LONG: Duration = Duration::from_secs(60);

macro_rules! between_threads {
    ($($test:ident($parties:expr)),+ $(,)?) => {$(
        mod $test {
            use super::*;

            #[test]
            fn private() {
                soon(|| super::$test::<Private>(&Barrier::new($parties)));
            }

            #[test]
            fn shared() {
                soon(|| super::$test::<Shared>(&*Shm::place(Barrier::shared($parties)).unwrap()));
            }
        }
    )+};
}

between_threads! {
    each_party_gets_its_number_in_order_of_arrival(3),
    barrier_serves_a_thousand_cycles(4),
    cycle_does_not_begin_before_the_last_has_drained(2),
    last_to_arrive_runs_its_action_before_the_others_go(3),
    action_that_panics_breaks_it_and_the_panic_goes_on(2),
    running_out_of_time_breaks_it_for_everybody(3),
    cancelled_wait_breaks_it_for_everybody(3),
    timeout_during_the_action_breaks_it_for_the_actor_too(2),
    abort_breaks_it_until_reset(3),
    reset_sends_off_those_who_wait_and_serves_the_next(2),
    reset_of_an_empty_barrier_changes_nothing(2),
    party_may_leave_while_others_wait(2),
    one_party_never_waits(1),
    party_dropped_by_the_action_stays_until_its_wait_ends(1),
}

/// A thread that does something and is asleep in it when this returns.
fn asleep<'s, T: Send + 's>(
    threads: &'s Threads<'s, '_>,
    body: impl FnOnce() -> T + Send + 's,
) -> ScopedJoinHandle<'s, T> {
    let (tell, told) = channel();
    let sleeper = threads.spawn(move || {
        tell.send(thread_id()).unwrap();
        body()
    });
    until_asleep(told.recv().unwrap());
    sleeper
}

/// A thread that waits at the barrier, and is counted there when this returns.
fn waiter<'s, S: Scope>(
    threads: &'s Threads<'s, '_>,
    barrier: &'s Barrier<S>,
) -> ScopedJoinHandle<'s, Result<u32, Broken>>
where
    Barrier<S>: Sync,
{
    let before = barrier.waiting();
    let waiter = threads.spawn(|| barrier.wait());
    while barrier.waiting() != before + 1 {
        thread::yield_now();
    }
    waiter
}

fn each_party_gets_its_number_in_order_of_arrival<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    assert_eq!((barrier.parties(), barrier.waiting(), barrier.is_broken()), (3, 0, false));
    thread::scope(|threads| {
        let first = waiter(threads, barrier);
        let second = waiter(threads, barrier);
        assert_eq!(barrier.waiting(), 2);
        assert_eq!(barrier.wait(), Ok(2));
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (Ok(0), Ok(1)));
    });
    assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
}

fn barrier_serves_a_thousand_cycles<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    let arrived = AtomicU32::new(0);
    let acted = AtomicU32::new(0);
    let numbers: Vec<Vec<u32>> = thread::scope(|threads| {
        let parties: Vec<_> = (0..4)
            .map(|party| {
                let (arrived, acted) = (&arrived, &acted);
                threads.spawn(move || {
                    // Two of them are enrolled throughout.
                    let _party = (party < 2).then(|| S::settle(barrier.join()).unwrap());
                    let mut numbers = Vec::new();
                    for cycle in 0..1_000 {
                        arrived.fetch_add(1, SeqCst);
                        let act =
                            || assert_eq!((arrived.load(SeqCst), acted.fetch_add(1, SeqCst)), (4 * cycle + 4, cycle));
                        numbers.push(barrier.wait_with_timeout(LONG, act).unwrap());
                        assert_eq!(acted.load(SeqCst), cycle + 1);
                        // Between this wait and the next one nobody arrives in the cycle after the next.
                        barrier.wait_timeout(LONG).unwrap();
                    }
                    numbers
                })
            })
            .collect();
        parties.into_iter().map(|party| party.join().unwrap()).collect()
    });
    for cycle in 0..1_000 {
        assert_eq!(numbers.iter().map(|of| of[cycle]).collect::<BTreeSet<_>>(), BTreeSet::from([0, 1, 2, 3]));
    }
}

/// Four threads at a barrier for two: whoever comes too early waits for the drain, and nobody is counted in two cycles.
fn cycle_does_not_begin_before_the_last_has_drained<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    let passed = [const { AtomicU32::new(0) }; 2];
    let started = AtomicU32::new(0);
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                while started.fetch_add(1, SeqCst) < 2_000 {
                    passed[barrier.wait().unwrap() as usize].fetch_add(1, SeqCst);
                }
            });
        }
    });
    assert_eq!(passed.map(AtomicU32::into_inner), [1_000, 1_000]);
}

fn last_to_arrive_runs_its_action_before_the_others_go<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    let acted = AtomicU32::new(0);
    let wait = || {
        let number = barrier.wait_with(|| {
            assert_eq!(barrier.waiting(), 3, "nobody has left");
            acted.fetch_add(1, SeqCst);
        });
        (number, acted.load(SeqCst))
    };
    thread::scope(|threads| {
        let others = [threads.spawn(wait), threads.spawn(wait)];
        let mut seen = vec![wait()];
        seen.extend(others.map(|other| other.join().unwrap()));
        seen.sort_by_key(|(number, _)| number.unwrap());
        assert_eq!(seen, [(Ok(0), 1), (Ok(1), 1), (Ok(2), 1)]);
    });
}

fn action_that_panics_breaks_it_and_the_panic_goes_on<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    thread::scope(|threads| {
        let other = waiter(threads, barrier);
        let panic = catch_unwind(AssertUnwindSafe(|| barrier.wait_with(|| std::panic::resume_unwind(Box::new(5)))));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&5));
        assert_eq!(other.join().unwrap(), Err(Broken::Panicked));
    });
    assert_eq!(barrier.wait(), Err(Broken::Panicked));
    serves_after_reset(barrier);
}

/// Nobody is inside: after a reset two cycles go well.
fn serves_after_reset<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    S::settle(barrier.reset()).unwrap();
    assert!(!barrier.is_broken());
    for _ in 0..2 {
        thread::scope(|threads| {
            for _ in 1..barrier.parties() {
                threads.spawn(|| barrier.wait().unwrap());
            }
            barrier.wait().unwrap();
        });
    }
}

fn running_out_of_time_breaks_it_for_everybody<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    thread::scope(|threads| {
        let other = waiter(threads, barrier);
        assert_eq!(barrier.wait_timeout(Duration::from_millis(3)), Err(Broken::TimedOut));
        assert_eq!(other.join().unwrap(), Err(Broken::TimedOut));
    });
    assert_eq!((barrier.is_broken(), barrier.waiting()), (true, 0));
    assert_eq!(barrier.wait(), Err(Broken::TimedOut));
    serves_after_reset(barrier);
    assert_eq!(barrier.wait_timeout(Duration::ZERO), Err(Broken::TimedOut));
    assert!(barrier.is_broken());
}

fn cancelled_wait_breaks_it_for_everybody<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    let cancel = Cancel::new();
    thread::scope(|threads| {
        let other = waiter(threads, barrier);
        let leaver = asleep(threads, || barrier.wait_timeout(&cancel));
        cancel.cancel();
        assert_eq!(leaver.join().unwrap(), Err(Broken::TimedOut));
        assert_eq!(other.join().unwrap(), Err(Broken::TimedOut));
    });
    serves_after_reset(barrier);
}

fn timeout_during_the_action_breaks_it_for_the_actor_too<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    thread::scope(|threads| {
        let (tell, told) = channel();
        let other = asleep(threads, move || {
            let ended = barrier.wait_timeout(Duration::from_millis(50));
            tell.send(()).unwrap();
            ended
        });
        let mut acted = false;
        let ended = barrier.wait_with(|| {
            told.recv().unwrap();
            acted = true;
        });
        assert_eq!((ended, acted), (Err(Broken::TimedOut), true));
        assert_eq!(other.join().unwrap(), Err(Broken::TimedOut));
    });
    serves_after_reset(barrier);
}

fn abort_breaks_it_until_reset<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    thread::scope(|threads| {
        let others = [waiter(threads, barrier), waiter(threads, barrier)];
        S::settle(barrier.abort()).unwrap();
        for other in others {
            assert_eq!(other.join().unwrap(), Err(Broken::Aborted));
        }
    });
    assert_eq!(barrier.wait(), Err(Broken::Aborted));
    assert_eq!(barrier.wait_timeout(Duration::ZERO), Err(Broken::Aborted), "the first reason stays");
    serves_after_reset(barrier);
}

fn reset_sends_off_those_who_wait_and_serves_the_next<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    thread::scope(|threads| {
        for _ in 0..100 {
            let other = waiter(threads, barrier);
            S::settle(barrier.reset()).unwrap();
            // These two come while the other one may still be leaving: they wait for that, and meet each other.
            let next = threads.spawn(|| barrier.wait());
            let numbers = BTreeSet::from([barrier.wait().unwrap(), next.join().unwrap().unwrap()]);
            assert_eq!(numbers, BTreeSet::from([0, 1]));
            assert_eq!(other.join().unwrap(), Err(Broken::Reset));
        }
    });
    assert!(!barrier.is_broken());
}

fn reset_of_an_empty_barrier_changes_nothing<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    S::settle(barrier.reset()).unwrap();
    serves_after_reset(barrier);
}

fn party_may_leave_while_others_wait<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    thread::scope(|threads| {
        let other = waiter(threads, barrier);
        let party = S::settle(barrier.join()).unwrap();
        assert_eq!(party.waiting(), 1);
        drop(party);
        let joined = threads.spawn(|| S::settle(barrier.join()).unwrap().wait());
        assert_eq!(joined.join().unwrap(), Ok(1));
        assert_eq!(other.join().unwrap(), Ok(0));
    });
}

fn one_party_never_waits<S: Scope>(barrier: &Barrier<S>) {
    let mut acted = 0;
    for _ in 0..3 {
        assert_eq!(barrier.wait(), Ok(0));
        assert_eq!(barrier.wait_with_timeout(Duration::ZERO, || acted += 1), Ok(0));
    }
    assert_eq!(acted, 3);
}

fn party_dropped_by_the_action_stays_until_its_wait_ends<S: Scope>(barrier: &Barrier<S>) {
    let party = S::settle(barrier.join()).unwrap();
    let inside = || {
        drop(party);
        assert_eq!(barrier.waiting(), 1);
    };
    assert_eq!(barrier.wait_with(inside), Ok(0));
    assert_eq!(barrier.wait(), Ok(0));
}

#[test]
fn no_parties_count_as_one() {
    one_party_never_waits::<Private>(&Barrier::new(0));
    one_party_never_waits::<Shared>(&Shm::place(Barrier::shared(0)).unwrap());
    one_party_never_waits::<Local>(&Barrier::local(0));
}

#[test]
fn single_thread_passes_a_barrier_of_one_and_no_other() {
    one_party_never_waits::<Local>(&Barrier::local(1));
    party_dropped_by_the_action_stays_until_its_wait_ends::<Local>(&Barrier::local(1));
    let two = Barrier::local(2);
    assert_eq!(two.wait(), Err(Broken::WouldDeadlock));
    assert_eq!((two.waiting(), two.is_broken()), (0, false), "as it was");
    assert_eq!(two.wait_timeout(LONG), Err(Broken::TimedOut));
    assert!(two.is_broken());
    two.reset().unwrap();
    assert!(!two.is_broken());
}

#[test]
fn wait_within_ones_own_action_is_an_error() {
    let barrier = Shm::place(Barrier::shared(1)).unwrap();
    let mut inner = Ok(9);
    assert_eq!(barrier.wait_with(|| inner = barrier.wait()), Ok(0));
    assert_eq!(inner, Err(Broken::WouldDeadlock));
}

#[test]
fn shared_barrier_takes_120_parties_and_no_more() {
    assert_eq!(Shm::place(Barrier::shared(121)).map(drop), Err(Errno::INVAL));
    let barrier = Shm::place(Barrier::shared(120)).unwrap();
    let mut parties: Vec<_> = (0..120).map(|_| barrier.join().unwrap()).collect();
    assert_eq!(barrier.join().map(drop), Err(Refused::TableFull));
    soon(|| {
        thread::scope(|threads| {
            assert_eq!(threads.spawn(|| barrier.wait()).join().unwrap(), Err(Broken::Refused(Refused::TableFull)));
            parties.pop();
            assert_eq!(waiter(threads, &*barrier).thread().name(), None);
            barrier.abort().unwrap();
        });
    });
}

#[test]
fn end_of_an_enrolled_thread_breaks_it_and_of_one_that_left_does_not() {
    let barrier = Shm::place(Barrier::shared(2)).unwrap();
    soon(|| {
        thread::scope(|threads| {
            threads.spawn(|| drop(barrier.join().unwrap())).join().unwrap();
            let other = waiter(threads, &*barrier);
            // A leaked party of a thread that ends is as a death.
            threads.spawn(|| core::mem::forget(barrier.join().unwrap()));
            assert_eq!(other.join().unwrap(), Err(Broken::Died));
        });
    });
    assert_eq!(barrier.wait(), Err(Broken::Died));
    serves_after_reset(&*barrier);
}

#[test]
fn memory_with_a_leaked_party_stays_mapped() {
    let barrier = Shm::place(Barrier::shared(2)).unwrap();
    let at = core::ptr::from_ref(&*barrier);
    core::mem::forget(barrier.join().unwrap());
    drop(barrier);
    // SAFETY: `Shm` leaks a mapping in which something is linked; that it did is what this looks at.
    assert_eq!(unsafe { &*at }.parties(), 2);
}
