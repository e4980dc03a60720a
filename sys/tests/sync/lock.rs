//! The lock: exclusion, deadlines, and the state that a holder leaves behind.

use std::mem::forget;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::futex::Cancel;
use ossature_sys::scope::{Local, Private, Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::lock::Lock;

use crate::ledger::{counters, until};
use crate::world::{Alone, Killable, Processes, Threads, WithPeers, World};

stamp! { "lock":
    in all: guard_lends_the_data, held_lock_is_not_taken_again, dropping_the_guard_frees_it_even_on_unwind,
        lock_is_whole_after_a_wait_that_timed_out, abandoning_is_told_where_it_can_be;
    in fallible: waiting_for_oneself_is_refused;
    in peers: held_lock_is_not_anothers, those_who_wait_get_it_one_after_the_other, waiter_takes_it_again_and_again,
        released_lock_is_free_to_the_others, everybody_counts_right, timed_wait_ends_at_its_deadline_and_not_before,
        timed_wait_gets_a_lock_that_is_released_meanwhile, locks_are_released_in_any_order, held_lock_may_be_dropped;
    in threads: wait_ends_when_it_is_cancelled;
    in shared: holder_that_ends_abandons_it, given_up_lock_refuses_everyone_even_those_who_slept;
    in processes: killed_holder_abandons_it, killed_waiter_takes_nobody_with_it;
}

trait Locks: World {
    fn lock() -> impl Deref<Target = Lock<u64, Self::Scope>>;
}

impl Locks for Threads<Private> {
    fn lock() -> impl Deref<Target = Lock<u64>> {
        Box::new(Lock::new(0))
    }
}

impl Locks for Threads<Shared> {
    fn lock() -> impl Deref<Target = Lock<u64, Shared>> {
        Shm::place(Lock::shared(0)).expect("memory for a lock")
    }
}

impl Locks for Processes {
    fn lock() -> impl Deref<Target = Lock<u64, Shared>> {
        Threads::<Shared>::lock()
    }
}

impl Locks for Alone {
    fn lock() -> impl Deref<Target = Lock<u64, Local>> {
        Box::new(Lock::local(0))
    }
}

/// CPython: LockTests.test_acquire_release, test_try_acquire, test_with; _TestLock.test_lock, test_lock_context.
fn guard_lends_the_data<W: Locks>() {
    let lock = W::lock();
    assert!(!lock.is_locked());
    *W::settle(lock.lock()).unwrap() += 5;
    let mut guard = W::settle(lock.try_lock()).unwrap().unwrap();
    *guard += 2;
    assert_eq!(*guard, 7);
    assert!(!guard.abandoned() && lock.is_locked());
    drop(guard);
    assert!(!lock.is_locked());
}

/// CPython: _TestLock.test_lock, LockTests.test_reacquire.
fn held_lock_is_not_taken_again<W: Locks>() {
    let lock = W::lock();
    let guard = W::settle(lock.lock()).unwrap();
    // Shared and Local know that it is this very thread, and say no all the same.
    for _ in 0..2 {
        assert!(W::settle(lock.try_lock()).unwrap().is_none());
    }
    drop(guard);
    assert!(W::settle(lock.try_lock()).unwrap().is_some());
}

/// CPython: LockTests.test_with.
fn dropping_the_guard_frees_it_even_on_unwind<W: Locks>() {
    let lock = W::lock();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _guard = W::settle(lock.lock()).unwrap();
        resume_unwind(Box::new("out of the critical section"));
    }));
    assert!(unwound.is_err());
    let guard = W::settle(lock.try_lock()).unwrap().unwrap();
    assert!(!guard.abandoned(), "only a death abandons");
}

/// CPython: LockTests.test_state_after_timeout.
fn lock_is_whole_after_a_wait_that_timed_out<W: Locks>() {
    let lock = W::lock();
    let guard = W::settle(lock.lock()).unwrap();
    assert!(W::settle(lock.lock_timeout(Duration::from_millis(2))).unwrap().is_none());
    drop(guard);
    assert!(!lock.is_locked());
    assert!(W::settle(lock.try_lock()).unwrap().is_some());
}

/// CPython: BaseLockTests.test_acquire_destroy.
fn held_lock_may_be_dropped<W: WithPeers + Locks>() {
    // By another, for whoever has leaked a guard of a shared lock does not fork any more.
    W::other(|| {
        let lock = W::lock();
        forget(W::settle(lock.lock()).unwrap());
        assert!(lock.is_locked());
        drop(lock);
        drop(W::settle(W::lock().lock()).unwrap());
    });
}

fn abandoning_is_told_where_it_can_be<W: Locks>() {
    let lock = W::lock();
    W::settle(lock.lock()).unwrap().abandon();
    let can_be_told = W::NAMES_DEATHS;
    for _ in 0..2 {
        assert_eq!(W::settle(lock.lock()).unwrap().abandoned(), can_be_told, "sticky until repaired");
    }
    W::settle(lock.lock()).unwrap().mark_consistent();
    assert!(!W::settle(lock.lock()).unwrap().abandoned());
}

fn waiting_for_oneself_is_refused<W: Locks>() {
    let lock = W::lock();
    let held = W::settle(lock.lock()).unwrap();
    assert_eq!(W::settle(lock.lock()).map(drop), Err(Refused::WouldDeadlock));
    drop(held);
    assert!(W::settle(lock.lock()).is_ok());
}

/// CPython: LockTests.test_try_acquire_contended.
fn held_lock_is_not_anothers<W: WithPeers + Locks>() {
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        2,
        |me| {
            me.until_told(1);
            assert!(lock.is_locked());
            assert!(W::settle(lock.try_lock()).unwrap().is_none());
            assert!(W::settle(lock.lock_timeout(Deadline::NOW)).unwrap().is_none());
        },
        |peers| {
            // Taken now only: a process that holds a shared lock does not fork.
            let _held = W::settle(lock.lock()).unwrap();
            peers.tell(1);
            peers.until_ended(0);
            peers.until_ended(1);
        },
    );
}

/// CPython: LockTests.test_acquire_contended.
fn those_who_wait_get_it_one_after_the_other<W: WithPeers + Locks>() {
    let (lock, inside) = (W::lock(), counters());
    let lock = &*lock;
    W::with_peers(
        5,
        |me| {
            me.until_told(1);
            me.about_to_wait();
            let mut guard = W::settle(lock.lock()).unwrap();
            assert_eq!(inside[0].fetch_add(1, SeqCst), 0, "alone in it");
            *guard += 1;
            inside[0].fetch_sub(1, SeqCst);
        },
        |peers| {
            let guard = W::settle(lock.lock()).unwrap();
            peers.tell(1);
            peers.until_all_sleep(1);
            assert_eq!(*guard, 0);
        },
    );
    assert_eq!(*W::settle(lock.lock()).unwrap(), 5);
    assert!(!lock.is_locked());
}

/// CPython: BaseLockTests.test_with, where others take the released lock.
fn released_lock_is_free_to_the_others<W: WithPeers + Locks>() {
    let lock = W::lock();
    let lock = &*lock;
    for round in 1..=2 {
        drop(W::settle(lock.lock()).unwrap());
        W::other(|| *W::settle(lock.try_lock()).unwrap().unwrap() += 1);
        assert_eq!(*W::settle(lock.try_lock()).unwrap().unwrap(), round);
    }
}

fn everybody_counts_right<W: WithPeers + Locks>() {
    const TURNS: u64 = 5_000;
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(4, |_| (0..TURNS).for_each(|_| *W::settle(lock.lock()).unwrap() += 1), |_| ());
    assert_eq!(*W::settle(lock.lock()).unwrap(), 4 * TURNS);
}

/// CPython: BaseLockTests.test_timeout.
fn timed_wait_ends_at_its_deadline_and_not_before<W: WithPeers + Locks>() {
    let lock = W::lock();
    let lock = &*lock;
    let span = Duration::from_millis(15);
    W::with_peers(
        2,
        |me| {
            me.until_told(1);
            let began = Instant::now();
            assert!(W::settle(lock.lock_timeout(span)).unwrap().is_none());
            assert!(began.elapsed() >= span, "{:?}", began.elapsed());
        },
        |peers| {
            let _held = W::settle(lock.lock()).unwrap();
            peers.tell(1);
            peers.until_ended(0);
            peers.until_ended(1);
        },
    );
    // A free lock is not waited for.
    assert!(W::settle(lock.lock_timeout(Duration::from_secs(3600))).unwrap().is_some());
    assert!(W::settle(lock.lock_timeout(Duration::MAX)).unwrap().is_some());
}

fn timed_wait_gets_a_lock_that_is_released_meanwhile<W: WithPeers + Locks>() {
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        1,
        |me| {
            me.until_told(1);
            me.about_to_wait();
            assert!(W::settle(lock.lock_timeout(Duration::from_secs(3600))).unwrap().is_some());
        },
        |peers| {
            let held = W::settle(lock.lock()).unwrap();
            peers.tell(1);
            peers.until_asleep(0, 1);
            drop(held);
        },
    );
}

/// A lost wake-up would stop it.
fn waiter_takes_it_again_and_again<W: WithPeers + Locks>() {
    const ROUNDS: u64 = 300;
    let (lock, turn) = (W::lock(), counters());
    let lock = &*lock;
    W::with_peers(
        1,
        |me| {
            for round in 1..=ROUNDS {
                me.until_told(round as u32);
                assert_eq!(*W::settle(lock.lock()).unwrap(), round);
                turn[0].store(round as u32, SeqCst);
            }
        },
        |peers| {
            for round in 1..=ROUNDS {
                let mut held = W::settle(lock.lock()).unwrap();
                peers.tell(round as u32);
                *held = round;
                drop(held);
                until("the other had its turn", || turn[0].load(SeqCst) == round as u32);
            }
        },
    );
}

fn locks_are_released_in_any_order<W: WithPeers + Locks>() {
    let locks: [_; 4] = std::array::from_fn(|_| W::lock());
    for mut choice in 0..24_usize {
        let mut held: Vec<_> = locks.iter().map(|lock| W::settle(lock.lock()).unwrap()).collect();
        while !held.is_empty() {
            let n = held.len();
            *held.swap_remove(choice % n) += 1;
            choice /= n;
        }
    }
    let locks = locks.each_ref().map(|lock| &**lock);
    W::other(|| assert!(locks.iter().all(|lock| *W::settle(lock.try_lock()).unwrap().unwrap() == 24)));
}

fn wait_ends_when_it_is_cancelled<W: WithPeers + Locks>() {
    let (lock, cancel) = (W::lock(), Cancel::new());
    let lock = &*lock;
    W::with_peers(
        2,
        |me| {
            me.until_told(1);
            me.about_to_wait();
            let taken = W::settle(lock.lock_timeout(cancel.within(Duration::from_secs(3600)))).unwrap();
            assert!(taken.is_none());
        },
        |peers| {
            let held = W::settle(lock.lock()).unwrap();
            peers.tell(1);
            peers.until_all_sleep(1);
            cancel.cancel();
            peers.until_ended(0);
            peers.until_ended(1);
            drop(held);
        },
    );
    assert!(!lock.is_locked());
    assert!(W::settle(lock.lock_timeout(&cancel)).unwrap().is_some(), "free: no wait to cancel");
}

fn holder_that_ends_abandons_it<W: Killable + Locks>() {
    needs!(robust_lists);
    let lock = W::lock();
    let lock = &*lock;
    W::other(|| {
        let mut guard = lock.lock().unwrap();
        *guard = 2;
        forget(guard);
    });
    for _ in 0..2 {
        let guard = lock.lock().unwrap();
        assert!(guard.abandoned(), "sticky until repaired");
        assert_eq!(*guard, 2);
    }
    lock.lock().unwrap().mark_consistent();
    W::other(|| assert!(!lock.lock().unwrap().abandoned()));
}

fn given_up_lock_refuses_everyone_even_those_who_slept<W: Killable + Locks>() {
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        3,
        |me| {
            me.until_told(1);
            me.about_to_wait();
            assert_eq!(lock.lock().map(drop), Err(Refused::Unrecoverable));
        },
        |peers| {
            let held = lock.lock().unwrap();
            peers.tell(1);
            peers.until_all_sleep(1);
            held.mark_unrecoverable();
        },
    );
    assert_eq!(lock.try_lock().map(drop), Err(Refused::Unrecoverable));
    assert_eq!(lock.lock_timeout(Duration::from_secs(3600)).map(drop), Err(Refused::Unrecoverable));
}

fn killed_holder_abandons_it<W: Killable + Locks>() {
    let (lock, count) = (W::lock(), counters());
    let lock = &*lock;
    W::with_peers(
        3,
        |me| {
            if me.index() == 0 {
                let mut guard = lock.lock().unwrap();
                *guard = 7;
                count[0].store(1, SeqCst);
                loop {
                    std::thread::park();
                }
            }
            me.until_told(1);
            me.about_to_wait();
            let guard = lock.lock().unwrap();
            assert!(guard.abandoned());
            assert_eq!(*guard, 7);
        },
        |peers| {
            until("the doomed one holds it", || count[0].load(SeqCst) == 1);
            peers.tell(1);
            peers.until_asleep(1, 1);
            peers.until_asleep(2, 1);
            peers.kill(0);
        },
    );
}

fn killed_waiter_takes_nobody_with_it<W: Killable + Locks>() {
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        3,
        |me| {
            me.until_told(1);
            me.about_to_wait();
            *lock.lock().unwrap() += 1;
        },
        |peers| {
            let held = lock.lock().unwrap();
            peers.tell(1);
            peers.until_all_sleep(1);
            peers.kill(0);
            peers.until_asleep(1, 1);
            peers.until_asleep(2, 1);
            drop(held);
        },
    );
    let guard = lock.lock().unwrap();
    assert!(!guard.abandoned(), "a waiter holds nothing");
    assert_eq!(*guard, 2);
}
