//! A thread that ends while it still holds a lock. The sleepers on that lock are woken by the kernel, and with musl by
//! libc.

use std::mem::forget;
use std::sync::Barrier as Start;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ossature_sys::scope::Shared;
use ossature_sys::shm::Shm;
use ossature_sys::sync::barrier::{Barrier, Broken};
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rlock::RLock;
use ossature_sys::sync::semaphore::Semaphore;

use crate::support::{soon, thread_id, until_asleep};

/// Starts a thread that runs `take`, and ends when `sleepers` other threads sleep in `wait`. Each of them must return.
fn ends_beside<R: Send>(sleepers: usize, take: impl FnOnce() + Send, wait: impl Fn() -> R + Sync) -> Vec<R> {
    soon(|| {
        thread::scope(|scope| {
            let (end, until) = channel::<()>();
            let (tell, told) = channel();
            let wait = &wait;
            let holder = scope.spawn(move || {
                take();
                tell.send(()).unwrap();
                let _ = until.recv();
            });
            told.recv().unwrap();
            let others: Vec<_> = (0..sleepers)
                .map(|_| {
                    let (tell, told) = channel();
                    let other = scope.spawn(move || {
                        tell.send(thread_id()).unwrap();
                        wait()
                    });
                    until_asleep(told.recv().unwrap());
                    other
                })
                .collect();
            drop(end);
            holder.join().unwrap();
            others.into_iter().map(|other| other.join().unwrap()).collect()
        })
    })
}

#[test]
fn lock_goes_to_everybody_who_sleeps_for_it() {
    needs!(own_nodes);
    needs!(robust_lists);
    for sleepers in 1..5 {
        let lock = Shm::place(Lock::<u32, Shared>::shared(0)).unwrap();
        let said = ends_beside(
            sleepers,
            || forget(lock.lock().unwrap()),
            || {
                let mut guard = lock.lock().unwrap();
                *guard += 1;
                guard.abandoned()
            },
        );
        assert!(said.iter().all(|&abandoned| abandoned));
        assert_eq!(*lock.lock().unwrap(), sleepers as u32);
    }
}

#[test]
fn rlock_goes_to_everybody_who_sleeps_for_it() {
    needs!(own_nodes);
    needs!(robust_lists);
    let lock = Shm::place(RLock::<AtomicU32, Shared>::shared(AtomicU32::new(0))).unwrap();
    let take = || (0..3).for_each(|_| forget(lock.lock().unwrap()));
    let said = ends_beside(3, take, || {
        let guard = lock.lock().unwrap();
        (guard.abandoned(), lock.depth())
    });
    assert_eq!(said, [(true, 1); 3]);
}

#[test]
fn lock_that_was_taken_among_others_goes_on_as_well() {
    needs!(own_nodes);
    needs!(robust_lists);
    let locks = [0; 5].map(|_| Shm::place(Lock::<(), Shared>::shared(())).unwrap());
    for lock in &locks {
        let take = || {
            locks.iter().for_each(|other| other.acquire().unwrap());
            // Released out of order, so that the links are not those of the takes.
            locks[1].release().unwrap();
            locks[3].release().unwrap();
            locks[1].acquire().unwrap();
            locks[3].acquire().unwrap();
        };
        ends_beside(2, take, || drop(lock.lock().unwrap()));
        assert!(locks.iter().all(|lock| lock.try_lock().unwrap().is_some()));
    }
}

#[test]
fn permit_goes_to_everybody_who_sleeps_for_it() {
    needs!(own_nodes);
    needs!(robust_lists);
    let semaphore = Shm::place(Semaphore::shared_bounded(2)).unwrap();
    for sleepers in 1..5 {
        let take = || (0..2).for_each(|_| forget(semaphore.permit().unwrap()));
        ends_beside(sleepers, take, || drop(semaphore.permit().unwrap()));
        soon(|| {
            while semaphore.value() != 2 {
                thread::yield_now();
            }
        });
        // A bare unit comes out of the slots.
        semaphore.acquire().unwrap();
        semaphore.release(1).unwrap();
    }
}

#[test]
fn seat_of_a_party_breaks_the_barrier_for_everybody_who_waits() {
    needs!(own_nodes);
    needs!(robust_lists);
    for sleepers in 1..4 {
        let barrier = Shm::place(Barrier::shared(sleepers as u32 + 1)).unwrap();
        let said = ends_beside(sleepers, || forget(barrier.join().unwrap()), || barrier.wait());
        assert!(said.iter().all(|said| *said == Err(Broken::Died)), "{said:?}");
    }
}

/// With musl a private recursive mutex is in the same list, before the kernel knows the list.
#[test]
fn what_libc_has_in_the_list_already_stays_there() {
    needs!(own_nodes);
    needs!(robust_lists);
    let lock = Shm::place(Lock::<u32, Shared>::shared(0)).unwrap();
    let take = || {
        let mut kind = std::mem::MaybeUninit::uninit();
        let mutex = Box::into_raw(Box::new(std::mem::MaybeUninit::<libc::pthread_mutex_t>::uninit()));
        let (place, mutex) = (mutex, mutex.cast::<libc::pthread_mutex_t>());
        // SAFETY: a place for an attribute object.
        assert_eq!(unsafe { libc::pthread_mutexattr_init(kind.as_mut_ptr()) }, 0);
        // SAFETY: the object was just made.
        let typed = unsafe { libc::pthread_mutexattr_settype(kind.as_mut_ptr(), libc::PTHREAD_MUTEX_RECURSIVE) };
        assert_eq!(typed, 0);
        // SAFETY: a place for a mutex, which is never moved, and an attribute object.
        assert_eq!(unsafe { libc::pthread_mutex_init(mutex, kind.as_ptr()) }, 0);
        // SAFETY: the mutex was just made.
        assert_eq!(unsafe { libc::pthread_mutex_lock(mutex) }, 0);
        forget(lock.lock().unwrap());
        // SAFETY: this thread holds the mutex.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(mutex) }, 0);
        // SAFETY: the box from above; the mutex is free, so no list has it.
        drop(unsafe { Box::from_raw(place) });
    };
    ends_beside(1, take, || drop(lock.lock().unwrap()));
}

/// The C library places a new thread where an earlier thread ended, so its address is the same.
#[test]
fn later_thread_is_not_taken_for_one_that_kept_a_private_lock() {
    let locks: Vec<_> = (0..200).map(|_| RLock::new(AtomicU32::new(0))).collect();
    for lock in &locks {
        thread::scope(|scope| {
            scope.spawn(|| forget((lock.lock(), lock.lock())));
        });
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(!lock.is_mine() && lock.is_locked() && lock.depth() == 0);
                assert!(lock.lock_timeout(Duration::ZERO).is_none());
            });
        });
    }
}

#[test]
fn each_of_many_threads_holds_its_own_private_lock() {
    let locks: Vec<_> = (0..64).map(|_| RLock::new(AtomicU32::new(0))).collect();
    let start = Start::new(locks.len());
    soon(|| {
        thread::scope(|scope| {
            for (at, lock) in locks.iter().enumerate() {
                let (locks, start) = (&locks, &start);
                scope.spawn(move || {
                    let _guard = (lock.lock(), lock.lock());
                    start.wait();
                    assert!(locks.iter().enumerate().all(|(other, lock)| lock.is_mine() == (other == at)));
                    start.wait();
                });
            }
        });
    });
}
