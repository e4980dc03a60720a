//! The condition where its behaviour does not depend on who takes part, which `tests/sync` covers: the size of its
//! table.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ossature_sys::scope::{Local, NotOwner, Private, Refused, Scope, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::lock::{Guard, Lock};
use ossature_sys::sync::rlock::{RLock, RLockGuard};

use crate::support::{soon, thread_id, until_asleep};

static_assertions::assert_impl_all!(Guard<'static, u32, Private>: Sync);
static_assertions::assert_impl_all!(Guard<'static, u32, Shared>: Sync);
static_assertions::assert_impl_all!(RLockGuard<'static, u32, Private>: Sync);
static_assertions::assert_impl_all!(RLockGuard<'static, u32, Shared>: Sync);
// Who asks such a guard asks a `Cell`.
static_assertions::assert_not_impl_any!(Guard<'static, u32, Local>: Sync, Send);
static_assertions::assert_not_impl_any!(RLockGuard<'static, u32, Local>: Sync, Send);

#[test]
fn table_that_is_full_is_an_error_and_the_lock_is_free_again() {
    needs!(shared_locks);
    let lock = Shm::place(Lock::<u32, Shared>::shared(0)).unwrap();
    let condition = Shm::place(Condition::shared()).unwrap();
    soon(|| {
        thread::scope(|scope| {
            for _ in 0..120 {
                let (tell, told) = channel();
                let (lock, condition) = (&lock, &condition);
                scope.spawn(move || {
                    let guard = lock.lock().unwrap();
                    tell.send(thread_id()).unwrap();
                    drop(condition.wait(guard).unwrap());
                });
                until_asleep(told.recv().unwrap());
            }
            assert_eq!(condition.wait(lock.lock().unwrap()).err(), Some(Refused::TableFull));
            assert!(!lock.is_locked());
            assert_eq!(condition.notify_all(), 120);
        });
    });
}

/// The guard of a lock that was released by name does not prove a hold of the lock any more.
fn left_over_guard_is_refused<S: Scope>(lock: &RLock<(), S>, condition: &Condition<S>) {
    let left_over = || {
        let guard = S::settle(lock.lock()).unwrap();
        lock.release().unwrap();
        guard
    };
    const A_BIT: Duration = Duration::from_millis(1);
    let free = Some(Refused::NotOwner(NotOwner::Free));
    assert_eq!(condition.wait(left_over()).err(), free);
    assert_eq!(condition.wait_timeout(left_over(), A_BIT).err(), free);
    assert_eq!(condition.wait_for(left_over(), |_| true, A_BIT).err(), free);
    assert!(!lock.is_locked() && lock.depth() == 0);
    // One level of two: the other guard is as good as the first.
    let guards = (S::settle(lock.lock()).unwrap(), S::settle(lock.lock()).unwrap());
    lock.release().unwrap();
    assert!(!condition.wait_timeout(guards.0, A_BIT).unwrap().1);
    assert_eq!(condition.wait_timeout(guards.1, A_BIT).err(), free);
}

#[test]
fn wait_with_a_guard_that_is_left_over_names_the_owner() {
    needs!(shared_locks);
    left_over_guard_is_refused(&RLock::new(()), &Condition::new());
    left_over_guard_is_refused(&RLock::local(()), &Condition::local());
    let shared = (Shm::place(RLock::shared(())).unwrap(), Shm::place(Condition::shared()).unwrap());
    left_over_guard_is_refused::<Shared>(&shared.0, &shared.1);

    let lock = RLock::new(());
    let guard = lock.lock();
    lock.release().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| lock.acquire()); // and keeps it
    });
    let refused = Condition::new().wait_timeout(guard, Duration::ZERO);
    assert_eq!(refused.err(), Some(Refused::NotOwner(NotOwner::HeldByAnother)));
    assert!(lock.is_locked());

    let lock = Shm::place(Lock::shared(())).unwrap();
    let guard = lock.lock().unwrap();
    lock.release().unwrap();
    assert_eq!(shared.1.wait_timeout(guard, Duration::ZERO).err(), Some(Refused::NotOwner(NotOwner::Free)));
}
