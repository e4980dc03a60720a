//! The condition where its behaviour does not depend on who takes part, which `tests/sync` covers: the size of its table.

use std::sync::mpsc::channel;
use std::thread;

use ossature_sys::scope::{Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::lock::Lock;

use crate::support::{soon, thread_id, until_asleep};

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
