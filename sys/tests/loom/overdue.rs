//! The lock of processes when a waiter has waited for very long. That waiter goes first, and every participant gets the
//! lock, whichever dies at any step.

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use ossature_sys::model::overdue::Lock;

use crate::{explore, explore_to};

/// More steps than a turn has in which a participant waits, leaves the lock or marks it. So the participant of the last
/// model does not die.
const STEPS: u32 = 30;

fn turn(lock: &Arc<Lock>, id: u32, is_impatient: bool) -> JoinHandle<()> {
    let lock = lock.clone();
    thread::spawn(move || lock.turn(id, is_impatient))
}

/// Releases the lock, ends the time for which a taker leaves it, and waits for the others.
fn served(lock: &Arc<Lock>, others: impl IntoIterator<Item = JoinHandle<()>>) {
    lock.release();
    lock.time_is_over();
    others.into_iter().for_each(|other| other.join().unwrap());
}

/// Checks the final state: after one more turn the lock is free and has no waiter. A mark without a waiter stays until
/// a waiter comes, and then makes one taker sleep in vain.
fn assert_clean(lock: &Lock) {
    lock.turn(1, false);
    let (is_free, has_waiters) = lock.rest();
    assert!(is_free && !has_waiters, "free {is_free}, waiters {has_waiters}");
}

#[test]
fn overdue_waiter_and_those_that_leave_the_lock_to_it_are_all_served() {
    explore(|| {
        let lock = Arc::new(Lock::new());
        lock.take(1, false);
        let others = [(2, true), (3, false)].map(|(id, is_impatient)| turn(&lock, id, is_impatient));
        served(&lock, others);
        assert_eq!(lock.number(), 2);
        assert_clean(&lock);
    });
}

#[test]
fn two_overdue_waiters_are_both_served() {
    explore(|| {
        let lock = Arc::new(Lock::new());
        lock.take(1, false);
        let others = [2, 3].map(|id| turn(&lock, id, true));
        served(&lock, others);
        assert_eq!(lock.number(), 2);
        assert_clean(&lock);
    });
}

/// The holder takes the lock again at once, as in a loop without work. It leaves the lock to the overdue waiter, or
/// takes the lock first.
#[test]
fn holder_that_comes_back_leaves_nobody_asleep() {
    explore(|| {
        let lock = Arc::new(Lock::new());
        lock.take(1, false);
        let other = turn(&lock, 2, true);
        let time = {
            let lock = lock.clone();
            thread::spawn(move || lock.time_is_over())
        };
        lock.release();
        lock.turn(1, false);
        other.join().unwrap();
        time.join().unwrap();
        assert_eq!(lock.number(), 2);
        assert_clean(&lock);
    });
}

/// Explores one model for each step, in which the participant `id` dies there: an overdue waiter, or a taker that
/// leaves the lock to one.
fn dies_at_each_step(id: u32, is_impatient: bool, other: (u32, bool)) {
    for steps in 0..STEPS {
        explore_to(1, move || {
            let lock = Arc::new(Lock::new());
            lock.take(1, false);
            let doomed = {
                let lock = lock.clone();
                thread::spawn(move || {
                    Lock::doomed(steps, || lock.turn(id, is_impatient));
                })
            };
            let other = turn(&lock, other.0, other.1);
            served(&lock, [doomed, other]);
            assert!((1..=2).contains(&lock.number()));
            assert_clean(&lock);
        });
    }
}

#[test]
fn overdue_waiter_that_dies_at_any_step_leaves_nobody_asleep() {
    dies_at_each_step(2, true, (3, false));
}

#[test]
fn taker_that_dies_while_it_leaves_the_lock_leaves_nobody_asleep() {
    dies_at_each_step(2, false, (3, true));
}

#[test]
fn overdue_waiter_that_dies_beside_another_leaves_nobody_asleep() {
    dies_at_each_step(2, true, (3, true));
}
