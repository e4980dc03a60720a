//! Locks released in another way than they were taken: through a second mapping, or by a left-over guard.

use ossature_sys::scope::{Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rlock::RLock;

#[test]
fn lock_may_be_released_through_another_mapping() {
    needs!(other_mappings);
    let first = Shm::place(RLock::<u32, Shared>::shared(0)).unwrap();
    let second = first.try_clone().unwrap();
    // Another entry before and after it in the list, and neither.
    let beside = Shm::place(Lock::<u32, Shared>::shared(0)).unwrap();
    for held in [false, true] {
        let older = held.then(|| beside.lock().unwrap());
        let outer = first.lock().unwrap();
        let inner = second.lock().unwrap();
        drop(outer);
        drop(inner);
        assert!(!first.is_locked());
        drop(older);
    }
    let first = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    let second = first.try_clone().unwrap();
    first.acquire().unwrap();
    assert_eq!(second.release(), Ok(()));
    assert!(first.try_acquire().unwrap());
    first.release().unwrap();
}

#[test]
fn guard_that_is_left_over_has_no_say() {
    needs!(shared_locks);
    let lock = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    let left_over = lock.lock().unwrap();
    lock.release().unwrap();
    left_over.mark_unrecoverable();
    assert!(lock.try_acquire().unwrap(), "not given up");
    lock.release().unwrap();
    let rlock = Shm::place(RLock::<u32, Shared>::shared(0)).unwrap();
    let outer = rlock.lock().unwrap();
    rlock.lock().unwrap().mark_unrecoverable();
    let condition = Shm::place(Condition::shared()).unwrap();
    assert_eq!(condition.wait(outer).err(), Some(Refused::Unrecoverable));
}
