//! The lock that its holder may enter again, in its three scopes.

use core::cell::Cell;
use core::time::Duration;
use std::thread;

use ossature_sys::scope::{Local, Private, Scope, Shared};
use ossature_sys::shm::{Racy, Shm};
use ossature_sys::sync::rlock::RLock;

use crate::support::soon;

fn levels<T, S: Scope>(lock: &RLock<T, S>) {
    assert!(!lock.is_locked() && !lock.is_mine());
    let outer = S::settle(lock.lock()).unwrap();
    let inner = S::settle(lock.try_lock()).unwrap().unwrap();
    let third = S::settle(lock.lock_timeout(Duration::from_secs(1))).unwrap().unwrap();
    assert_eq!(lock.depth(), 3);
    drop(outer);
    drop(third);
    assert!(lock.is_locked() && lock.is_mine());
    drop(inner);
    assert!(!lock.is_locked());
    assert_eq!(lock.depth(), 0);
}

#[test]
fn holder_enters_again_and_leaves_as_often() {
    levels(&RLock::new(Cell::new(0)));
    levels(&*Shm::place(RLock::<Racy<u32>, Shared>::shared(Racy::new(0))).unwrap());
    levels(&RLock::<_, Local>::local(0));
}

fn excludes<T: Send, S: Scope>(lock: &RLock<T, S>)
where
    RLock<T, S>: Sync,
{
    let outer = S::settle(lock.lock()).unwrap();
    let inner = S::settle(lock.lock()).unwrap();
    soon(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(!lock.is_mine());
                assert!(S::settle(lock.try_lock()).unwrap().is_none());
                assert!(S::settle(lock.lock_timeout(Duration::from_millis(2))).unwrap().is_none());
            });
        });
    });
    drop(outer);
    soon(|| {
        thread::scope(|scope| scope.spawn(|| assert!(S::settle(lock.try_lock()).unwrap().is_none())).join().unwrap())
    });
    drop(inner);
    soon(|| {
        thread::scope(|scope| scope.spawn(|| assert!(S::settle(lock.try_lock()).unwrap().is_some())).join().unwrap())
    });
}

#[test]
fn others_wait_for_the_last_level() {
    excludes::<_, Private>(&RLock::new(Cell::new(0)));
    excludes::<_, Shared>(&*Shm::place(RLock::<u32, Shared>::shared(0)).unwrap());
}

#[test]
fn given_up_lock_refuses_everyone() {
    let lock = Shm::place(RLock::<u32, Shared>::shared(0)).unwrap();
    let outer = lock.lock().unwrap();
    let inner = lock.lock().unwrap();
    inner.give_up();
    drop(outer);
    assert!(lock.lock().is_err());
}
