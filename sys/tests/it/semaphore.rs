//! The semaphore where its behaviour does not depend on the participants, which `tests/sync` covers: Send, and the
//! table of permits.

use std::sync::mpsc::channel;
use std::thread;

use ossature_sys::scope::{LockBackend, Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::semaphore::{Overflow, Semaphore};

use crate::support::{soon, thread_id, until_asleep};

#[test]
fn private_permit_may_be_dropped_by_another_thread() {
    static SEMAPHORE: Semaphore = Semaphore::bounded(1);
    let permit = SEMAPHORE.permit();
    thread::spawn(move || drop(permit)).join().unwrap();
    assert_eq!(SEMAPHORE.value(), 1);
}

/// A sleeper can watch 120 slots. Without owners there may be any number of permits.
#[test]
fn shared_semaphore_has_120_permits_at_a_time() {
    needs!(shared_locks);
    let semaphore = Shm::place(Semaphore::shared(200)).unwrap();
    let mut permits: Vec<_> = (0..120).map(|_| semaphore.permit().unwrap()).collect();
    if Shared::backend() == LockBackend::Node {
        assert_eq!(semaphore.permit().map(|_| ()), Err(Refused::TableFull));
        assert_eq!(semaphore.try_permit().map(|_| ()), Err(Refused::TableFull));
    }
    assert_eq!(semaphore.value(), 80);
    for _ in 0..80 {
        assert!(semaphore.try_acquire().unwrap());
    }
    assert!(!semaphore.try_acquire().unwrap() && semaphore.try_permit().unwrap().is_none());
    // In another order than they were taken in.
    permits.drain(40..80).for_each(drop);
    permits.drain(..).rev().for_each(drop);
    assert_eq!(semaphore.value(), 120);
    for _ in 0..120 {
        assert!(semaphore.try_acquire().unwrap(), "units in slots are units");
    }
    assert_eq!(semaphore.value(), 0);
    semaphore.release(120).unwrap();
    drop(semaphore.permit().unwrap());
    assert_eq!(semaphore.value(), 120);
}

#[test]
fn permit_of_a_thread_that_ends_comes_back() {
    needs!(own_nodes); // in the other form a permit has no owner
    let semaphore = Shm::place(Semaphore::shared_bounded(1)).unwrap();
    soon(|| {
        thread::scope(|scope| {
            let semaphore = &semaphore;
            let (end, until) = channel::<()>();
            let (tell, told) = channel();
            scope.spawn(move || {
                core::mem::forget(semaphore.permit().unwrap());
                tell.send(()).unwrap();
                let _ = until.recv();
            });
            told.recv().unwrap();
            assert!(semaphore.is_locked());
            let sleepers = asleep(scope, 1, move || drop(semaphore.permit().unwrap()));
            drop(end);
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
        });
        while semaphore.value() != 1 {
            thread::yield_now();
        }
    });
}

#[test]
fn memory_with_a_leaked_permit_stays_mapped() {
    needs!(own_nodes);
    let semaphore = Shm::place(Semaphore::shared(1)).unwrap();
    let at = core::ptr::from_ref(&*semaphore);
    core::mem::forget(semaphore.permit().unwrap());
    drop(semaphore);
    // SAFETY: `Shm` leaks a mapping in which something is linked; that it did is what this looks at.
    assert_eq!(unsafe { &*at }.value(), 0);
}

#[test]
fn semaphore_begins_with_no_more_units_than_it_may_have() {
    needs!(shared_locks);
    let semaphore = Shm::place(Semaphore::shared_up_to(5, 3)).unwrap();
    assert_eq!((semaphore.value(), semaphore.release(1)), (3, Err(Overflow)));
}

#[test]
fn held_permit_counts_for_the_bound() {
    needs!(shared_locks);
    let semaphore = Shm::place(Semaphore::shared_bounded(2)).unwrap();
    let permit = semaphore.permit().unwrap();
    if Shared::backend() == LockBackend::Node {
        assert_eq!(semaphore.release(1), Err(Overflow));
    }
    drop(permit);
    assert_eq!(semaphore.value(), 2);
}

/// Starts threads that sleep in `wait`. Returns once they sleep.
fn asleep<'s, T: Send + 's>(
    scope: &'s thread::Scope<'s, '_>,
    count: usize,
    wait: impl Fn() -> T + Clone + Send + 's,
) -> Vec<thread::ScopedJoinHandle<'s, T>> {
    let start = || {
        let (tell, told) = channel();
        let wait = wait.clone();
        let sleeper = scope.spawn(move || {
            tell.send(thread_id()).unwrap();
            wait()
        });
        until_asleep(told.recv().unwrap());
        sleeper
    };
    (0..count).map(|_| start()).collect()
}
