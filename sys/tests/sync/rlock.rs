//! The lock that its holder may take again.

use std::mem::forget;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use ossature_sys::futex::Cancel;
use ossature_sys::scope::{Local, Private, Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::rlock::RLock;

use crate::ledger::{counters, until};
use crate::world::{Alone, Killable, Processes, Threads, WithPeers, World};

stamp! { "rlock":
    in all: holder_enters_again_and_leaves_as_often, levels_are_counted, guards_may_leave_in_any_order,
        unwinding_gives_every_level_back, holder_with_a_limit_does_not_wait;
    in peers: others_wait_for_the_last_level, lock_of_another_is_not_mine, waiter_begins_at_its_first_level,
        those_who_wait_get_it_one_after_the_other, timed_wait_ends_at_its_deadline_and_not_before, everybody_counts_right;
    in threads: wait_ends_when_it_is_cancelled;
    in shared: holder_that_ends_with_several_levels_abandons_it, given_up_lock_refuses_everyone_even_those_who_slept;
    in processes: killed_holder_abandons_every_level;
}

trait RLocks: World {
    fn lock() -> impl Deref<Target = RLock<AtomicU32, Self::Scope>>;
}

impl RLocks for Threads<Private> {
    fn lock() -> impl Deref<Target = RLock<AtomicU32>> {
        Box::new(RLock::new(AtomicU32::new(0)))
    }
}

impl RLocks for Threads<Shared> {
    fn lock() -> impl Deref<Target = RLock<AtomicU32, Shared>> {
        Shm::place(RLock::shared(AtomicU32::new(0))).expect("memory for a lock")
    }
}

impl RLocks for Processes {
    fn lock() -> impl Deref<Target = RLock<AtomicU32, Shared>> {
        Threads::<Shared>::lock()
    }
}

impl RLocks for Alone {
    fn lock() -> impl Deref<Target = RLock<AtomicU32, Local>> {
        Box::new(RLock::local(AtomicU32::new(0)))
    }
}

/// CPython: RLockTests.test_reacquire, _TestLock.test_rlock.
fn holder_enters_again_and_leaves_as_often<W: RLocks>() {
    let lock = W::lock();
    assert!(!lock.is_locked() && !lock.is_mine());
    let outer = W::settle(lock.lock()).unwrap();
    let inner = W::settle(lock.lock()).unwrap();
    drop(inner);
    assert!(lock.is_locked() && lock.is_mine());
    let inner = W::settle(lock.try_lock()).unwrap().unwrap();
    inner.fetch_add(1, SeqCst);
    drop(inner);
    assert_eq!(outer.load(SeqCst), 1);
    drop(outer);
    assert!(!lock.is_locked() && !lock.is_mine());
}

/// CPython: RLockTests.test_recursion_count, test__is_owned.
fn levels_are_counted<W: RLocks>() {
    let lock = W::lock();
    assert_eq!(lock.depth(), 0);
    let mut guards = Vec::new();
    for level in 1..=40 {
        guards.push(W::settle(lock.lock()).unwrap());
        assert_eq!((lock.depth(), lock.is_mine()), (level, true));
    }
    for level in (0..40).rev() {
        drop(guards.pop());
        assert_eq!((lock.depth(), lock.is_mine(), lock.is_locked()), (level, level > 0, level > 0));
    }
}

fn guards_may_leave_in_any_order<W: RLocks>() {
    let lock = W::lock();
    for leaves_first in 0..3 {
        let mut guards: Vec<_> = (0..3).map(|_| W::settle(lock.lock()).unwrap()).collect();
        drop(guards.remove(leaves_first));
        assert_eq!(lock.depth(), 2);
        assert_eq!(guards[1].load(SeqCst), 0, "lends on");
        drop(guards);
        assert!(!lock.is_locked());
    }
}

/// CPython: BaseLockTests.test_with.
fn unwinding_gives_every_level_back<W: RLocks>() {
    let lock = W::lock();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _guards = (W::settle(lock.lock()).unwrap(), W::settle(lock.lock()).unwrap());
        resume_unwind(Box::new("out of the critical section"));
    }));
    assert!(unwound.is_err());
    assert!(!lock.is_locked());
    assert!(!W::settle(lock.lock()).unwrap().abandoned(), "only a death abandons");
}

fn holder_with_a_limit_does_not_wait<W: RLocks>() {
    let lock = W::lock();
    let cancel = Cancel::new();
    cancel.cancel();
    let _outer = W::settle(lock.lock_timeout(&cancel)).unwrap().unwrap();
    for limit in [Duration::ZERO, Duration::from_secs(3600)] {
        assert!(W::settle(lock.lock_timeout(limit)).unwrap().is_some());
    }
    assert!(W::settle(lock.lock_timeout(&cancel)).unwrap().is_some());
    assert_eq!(lock.depth(), 1);
}

/// CPython: BaseLockTests.test_try_acquire_contended.
fn others_wait_for_the_last_level<W: WithPeers + RLocks>() {
    let (lock, tried) = (W::lock(), counters());
    let lock = &*lock;
    W::with_peers(
        1,
        |me| {
            for step in 1..=2 {
                me.until_told(step);
                assert!(W::settle(lock.try_lock()).unwrap().is_none());
                assert!(W::settle(lock.lock_timeout(Duration::from_millis(2))).unwrap().is_none());
                tried[0].store(step, SeqCst);
            }
            me.about_to_wait();
            assert_eq!(W::settle(lock.lock()).unwrap().load(SeqCst), 1);
        },
        |peers| {
            let outer = W::settle(lock.lock()).unwrap();
            let inner = W::settle(lock.lock()).unwrap();
            peers.tell(1);
            until("the other has tried", || tried[0].load(SeqCst) == 1);
            drop(inner);
            peers.tell(2);
            until("the other has tried again", || tried[0].load(SeqCst) == 2);
            peers.until_asleep(0, 1);
            outer.store(1, SeqCst);
        },
    );
}

/// CPython: RLockTests.test__is_owned, test_recursion_count.
fn lock_of_another_is_not_mine<W: WithPeers + RLocks>() {
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        1,
        |me| {
            me.until_told(1);
            assert!(lock.is_locked() && !lock.is_mine());
            assert_eq!(lock.depth(), 0);
        },
        |peers| {
            let _levels = (W::settle(lock.lock()).unwrap(), W::settle(lock.lock()).unwrap());
            peers.tell(1);
            peers.until_ended(0);
            assert_eq!(lock.depth(), 2);
        },
    );
}

fn waiter_begins_at_its_first_level<W: WithPeers + RLocks>() {
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        1,
        |me| {
            me.until_told(1);
            me.about_to_wait();
            let outer = W::settle(lock.lock()).unwrap();
            assert_eq!(lock.depth(), 1);
            let inner = W::settle(lock.lock()).unwrap();
            assert_eq!(lock.depth(), 2);
            drop((outer, inner));
        },
        |peers| {
            let levels = [0; 5].map(|_| W::settle(lock.lock()).unwrap());
            peers.tell(1);
            peers.until_asleep(0, 1);
            drop(levels);
        },
    );
    assert!(!lock.is_locked());
}

/// CPython: BaseLockTests.test_acquire_contended.
fn those_who_wait_get_it_one_after_the_other<W: WithPeers + RLocks>() {
    let (lock, inside) = (W::lock(), counters());
    let lock = &*lock;
    W::with_peers(
        5,
        |me| {
            me.until_told(1);
            me.about_to_wait();
            let guard = W::settle(lock.lock()).unwrap();
            let again = W::settle(lock.lock()).unwrap();
            assert_eq!(inside[0].fetch_add(1, SeqCst), 0, "alone in it");
            guard.fetch_add(1, SeqCst);
            again.fetch_add(1, SeqCst);
            inside[0].fetch_sub(1, SeqCst);
        },
        |peers| {
            let guard = W::settle(lock.lock()).unwrap();
            peers.tell(1);
            peers.until_all_sleep(1);
            assert_eq!(guard.load(SeqCst), 0);
        },
    );
    assert_eq!(W::settle(lock.lock()).unwrap().load(SeqCst), 10);
}

/// CPython: BaseLockTests.test_timeout.
fn timed_wait_ends_at_its_deadline_and_not_before<W: WithPeers + RLocks>() {
    let lock = W::lock();
    let lock = &*lock;
    let span = Duration::from_millis(15);
    W::with_peers(
        1,
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
        },
    );
}

fn everybody_counts_right<W: WithPeers + RLocks>() {
    const TURNS: u32 = 3_000;
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        4,
        |_| {
            for _ in 0..TURNS {
                let (outer, inner) = (W::settle(lock.lock()).unwrap(), W::settle(lock.lock()).unwrap());
                // Two halves of an addition: whoever is inside at once loses one.
                let seen = outer.load(SeqCst);
                inner.store(seen + 1, SeqCst);
            }
        },
        |_| (),
    );
    assert_eq!(W::settle(lock.lock()).unwrap().load(SeqCst), 4 * TURNS);
}

fn wait_ends_when_it_is_cancelled<W: WithPeers + RLocks>() {
    let (lock, cancel) = (W::lock(), Cancel::new());
    let lock = &*lock;
    W::with_peers(
        1,
        |me| {
            me.until_told(1);
            me.about_to_wait();
            assert!(W::settle(lock.lock_timeout(&cancel)).unwrap().is_none());
        },
        |peers| {
            let _held = W::settle(lock.lock()).unwrap();
            peers.tell(1);
            peers.until_asleep(0, 1);
            cancel.cancel();
            peers.until_ended(0);
        },
    );
}

fn holder_that_ends_with_several_levels_abandons_it<W: Killable + RLocks>() {
    needs!(robust_lists);
    let lock = W::lock();
    let lock = &*lock;
    W::other(|| forget([0; 3].map(|_| lock.lock().unwrap())));
    let outer = lock.lock().unwrap();
    assert!(outer.abandoned());
    assert_eq!(lock.depth(), 1, "the dead one's levels are gone");
    let inner = lock.lock().unwrap();
    inner.mark_consistent();
    assert!(!outer.abandoned());
    drop((outer, inner));
    W::other(|| assert!(!lock.lock().unwrap().abandoned()));
}

fn given_up_lock_refuses_everyone_even_those_who_slept<W: Killable + RLocks>() {
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        2,
        |me| {
            me.until_told(1);
            me.about_to_wait();
            assert_eq!(lock.lock().map(drop), Err(Refused::Unrecoverable));
        },
        |peers| {
            let outer = lock.lock().unwrap();
            let inner = lock.lock().unwrap();
            peers.tell(1);
            peers.until_all_sleep(1);
            inner.mark_unrecoverable();
            drop(outer);
        },
    );
    assert_eq!(lock.try_lock().map(drop), Err(Refused::Unrecoverable));
}

fn killed_holder_abandons_every_level<W: Killable + RLocks>() {
    let (lock, held) = (W::lock(), counters());
    let lock = &*lock;
    W::with_peers(
        2,
        |me| {
            if me.index() == 0 {
                let _levels = [0; 3].map(|_| lock.lock().unwrap());
                held[0].store(1, SeqCst);
                loop {
                    std::thread::park();
                }
            }
            me.until_told(1);
            me.about_to_wait();
            let guard = lock.lock().unwrap();
            assert!(guard.abandoned());
            assert_eq!(lock.depth(), 1);
        },
        |peers| {
            until("the doomed one holds it", || held[0].load(SeqCst) == 1);
            peers.tell(1);
            peers.until_asleep(1, 1);
            peers.kill(0);
        },
    );
}
