//! The lock that any thread may release.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use ossature_sys::futex::Cancel;
use ossature_sys::scope::{Local, Private, Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::handoff::{HandoffLock, NotLocked};

use crate::ledger::counters;
use crate::world::{Alone, Killable, Processes, Threads, WithPeers, World};

stamp! { "handoff":
    in all: it_is_taken_and_released, release_of_a_free_lock_is_an_error, it_is_released_behind_a_body_and_on_unwind,
        lock_is_whole_after_a_wait_that_timed_out;
    in alone: wait_that_could_never_end_is_an_error;
    in peers: another_releases_it, taken_lock_is_taken_again_when_another_releases, those_who_wait_get_it_one_by_one;
    in threads: wait_ends_when_it_is_cancelled;
    in processes: killed_holder_leaves_it_taken;
}

trait Handoffs: World {
    fn lock() -> impl Deref<Target = HandoffLock<Self::Scope>>;
}

impl Handoffs for Threads<Private> {
    fn lock() -> impl Deref<Target = HandoffLock> {
        Box::new(HandoffLock::new())
    }
}

impl Handoffs for Threads<Shared> {
    fn lock() -> impl Deref<Target = HandoffLock<Shared>> {
        Shm::place(HandoffLock::shared()).expect("memory for a lock")
    }
}

impl Handoffs for Processes {
    fn lock() -> impl Deref<Target = HandoffLock<Shared>> {
        Threads::<Shared>::lock()
    }
}

impl Handoffs for Alone {
    fn lock() -> impl Deref<Target = HandoffLock<Local>> {
        Box::new(HandoffLock::local())
    }
}

/// CPython: BaseLockTests.test_acquire_release, test_try_acquire; _TestLock.test_lock.
fn it_is_taken_and_released<W: Handoffs>() {
    let lock = W::lock();
    for _ in 0..2 {
        assert!(!lock.locked());
        W::settle(lock.acquire()).unwrap();
        assert!(lock.locked());
        assert_eq!(W::settle(lock.try_acquire()), Ok(false));
        assert_eq!(lock.release(), Ok(()));
    }
    assert_eq!(W::settle(lock.acquire_timeout(Duration::from_secs(3600))), Ok(true));
}

/// CPython: _TestLock.test_lock.
fn release_of_a_free_lock_is_an_error<W: Handoffs>() {
    let lock = W::lock();
    assert_eq!(lock.release(), Err(NotLocked));
    W::settle(lock.acquire()).unwrap();
    assert_eq!(lock.release(), Ok(()));
    assert_eq!(lock.release(), Err(NotLocked));
    assert!(!lock.locked());
}

/// CPython: BaseLockTests.test_with, _TestLock.test_lock_context.
fn it_is_released_behind_a_body_and_on_unwind<W: Handoffs>() {
    let lock = W::lock();
    assert_eq!(W::settle(lock.with(|| lock.locked())), Ok(true));
    assert!(!lock.locked());
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _ = W::settle(lock.with(|| resume_unwind(Box::new("out"))));
    }));
    assert!(unwound.is_err() && !lock.locked());
    assert_eq!(W::settle(lock.with(|| lock.release())), Ok(Ok(())), "the body may have done so");
    assert!(!lock.locked());
}

/// CPython: LockTests.test_state_after_timeout.
fn lock_is_whole_after_a_wait_that_timed_out<W: Handoffs>() {
    let lock = W::lock();
    W::settle(lock.acquire()).unwrap();
    assert_eq!(W::settle(lock.acquire_timeout(Duration::from_millis(2))), Ok(false));
    assert_eq!(lock.release(), Ok(()));
    assert!(!lock.locked());
    assert_eq!(W::settle(lock.try_acquire()), Ok(true));
}

fn wait_that_could_never_end_is_an_error<W: Handoffs>() {
    let lock = W::lock();
    W::settle(lock.acquire()).unwrap();
    assert_eq!(W::settle(lock.acquire()), Err(Refused::WouldDeadlock));
    assert_eq!(W::settle(lock.with(|| ())), Err(Refused::WouldDeadlock));
    assert_eq!(W::settle(lock.acquire_timeout(Duration::from_secs(3600))), Ok(false));
}

/// CPython: LockTests.test_different_thread.
fn another_releases_it<W: WithPeers + Handoffs>() {
    let lock = W::lock();
    let lock = &*lock;
    W::settle(lock.acquire()).unwrap();
    W::other(|| assert_eq!(lock.release(), Ok(())));
    assert_eq!(W::settle(lock.try_acquire()), Ok(true));
    W::other(|| {
        assert!(lock.locked());
        assert_eq!(W::settle(lock.try_acquire()), Ok(false));
    });
}

/// CPython: LockTests.test_reacquire.
fn taken_lock_is_taken_again_when_another_releases<W: WithPeers + Handoffs>() {
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        1,
        |me| {
            W::settle(lock.acquire()).unwrap();
            me.about_to_wait();
            W::settle(lock.acquire()).unwrap();
        },
        |peers| {
            peers.until_asleep(0, 1);
            lock.release().unwrap();
        },
    );
    assert!(lock.locked());
}

/// CPython: BaseLockTests.test_acquire_contended.
fn those_who_wait_get_it_one_by_one<W: WithPeers + Handoffs>() {
    let (lock, inside) = (W::lock(), counters());
    let lock = &*lock;
    W::settle(lock.acquire()).unwrap();
    W::with_peers(
        5,
        |me| {
            me.about_to_wait();
            let turn = || {
                assert_eq!(inside[0].fetch_add(1, SeqCst), 0, "alone in it");
                inside[0].fetch_sub(1, SeqCst);
                inside[1].fetch_add(1, SeqCst);
            };
            W::settle(lock.with(turn)).unwrap();
        },
        |peers| {
            peers.until_all_sleep(1);
            assert_eq!(inside[1].load(SeqCst), 0);
            lock.release().unwrap();
        },
    );
    assert_eq!((inside[1].load(SeqCst), lock.locked()), (5, false));
}

fn wait_ends_when_it_is_cancelled<W: WithPeers + Handoffs>() {
    let (lock, cancel) = (W::lock(), Cancel::new());
    let lock = &*lock;
    W::settle(lock.acquire()).unwrap();
    W::with_peers(
        2,
        |me| {
            me.about_to_wait();
            assert_eq!(W::settle(lock.acquire_timeout(&cancel)), Ok(false));
        },
        |peers| {
            peers.until_all_sleep(1);
            cancel.cancel();
        },
    );
    lock.release().unwrap();
    assert_eq!(W::settle(lock.acquire_timeout(&cancel)), Ok(true));
}

fn killed_holder_leaves_it_taken<W: Killable + Handoffs>() {
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        2,
        |me| {
            if me.index() == 1 {
                me.until_told(1);
            }
            if me.index() == 0 {
                W::settle(lock.acquire()).unwrap();
                me.about_to_wait();
                loop {
                    std::thread::park();
                }
            }
            me.about_to_wait();
            W::settle(lock.acquire()).unwrap();
        },
        |peers| {
            peers.until_asleep(0, 1);
            peers.tell(1);
            peers.until_asleep(1, 1);
            peers.kill(0);
            peers.until_asleep(1, 1);
            assert_eq!(lock.release(), Ok(()), "anyone may");
        },
    );
}
