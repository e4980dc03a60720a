//! Shared memory and its locks with failing system calls: a failed creation leaves nothing behind, and no failure makes
//! a lock hang.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use ossature_sys::errno::{Errno, Result};
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::fd::duplicate;
use ossature_sys::scope::{LockBackend, Refused, Shared};
use ossature_sys::shm::{AttachError, Racy, Shm};
use ossature_sys::sync::arena::Arena;
use ossature_sys::sync::barrier::{Barrier, Broken};
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rwlock::RwLock;
use ossature_sys::sync::semaphore::Semaphore;

use crate::support::soon;
use crate::sweep::{alone, sweep};

type Shared32 = Lock<u32, Shared>;

#[test]
fn shared_memory_is_made_and_given_back_whatever_fails() {
    let _alone = alone();
    drop(Shm::place(Shared32::shared(0)).unwrap()); // what is learnt once is learnt
    let retried = ["memfd_create", "fallocate", "fcntl", "mmap", "munmap"];
    sweep("place", &retried, || -> Result<()> {
        let lock = Shm::place(Shared32::shared(7))?;
        let again = lock.try_clone()?;
        assert_eq!(lock.file_id()?, again.file_id()?);
        drop(Shm::place_slice(3, |_| Shared32::shared(1))?);
        drop(Shm::place_locked_slice(3, |_| 1_u32)?.try_clone()?);
        *again.lock().expect("free") += 1;
        Ok(())
    });
}

#[test]
fn attaching_leaves_nothing_whatever_fails() {
    let _alone = alone();
    let lock = Shm::place(Shared32::shared(0)).unwrap();
    let retried = ["fcntl", "mmap", "munmap", "pread"];
    sweep("attach", &retried, || -> Result<()> {
        // SAFETY: the descriptor stays in this test, which uses the memory through `Shm`.
        let memory = duplicate(unsafe { lock.descriptor() })?;
        // SAFETY: as above.
        match unsafe { Shm::<Shared32>::from_fd(memory) } {
            Ok(attached) => attached.lock().map(drop).map_err(|_| Errno::IO),
            Err(AttachError::Os(errno)) => Err(errno),
            // A seal or a namespace that cannot be asked for counts as the wrong one.
            Err(_) => Err(Errno::INVAL),
        }
    });
}

#[test]
fn an_arena_is_made_used_and_given_back_whatever_fails() {
    let _alone = alone();
    drop(Arena::new(1 << 20).unwrap());
    let retried = ["memfd_create", "fallocate", "fcntl", "mmap", "munmap", "pread", "open"];
    sweep("arena", &retried, || -> Result<()> {
        let arena = Arena::new(1 << 20)?;
        let cell = arena.place(Racy::new(5_u8))?;
        let carrier = arena.carrier()?;
        assert_eq!(carrier.carry(&cell), Some(cell.place()));
        // SAFETY: the descriptor stays in this test, which uses the memory as an arena.
        let memory = unsafe { carrier.descriptor() };
        // SAFETY: as above.
        let there = match unsafe { Arena::from_fd(memory) } {
            Ok(there) => there,
            Err(AttachError::Os(errno)) => return Err(errno),
            // A seal or a namespace that cannot be asked for counts as the wrong one.
            Err(_) => return Err(Errno::INVAL),
        };
        let far = there.at::<Racy<u8>>(cell.place())?.expect("it is there");
        drop((cell, carrier, arena));
        assert_eq!(far.get(), 5);
        assert_eq!(there.sweep()?, 64);
        Ok(())
    });
}

type Large = Barrier<Shared, 65_536>;

#[test]
fn many_parties_without_memory_are_an_error() {
    let _alone = alone();
    drop(Shm::place(Large::shared_with_capacity(100)).unwrap());
    let retried = ["memfd_create", "fallocate", "fcntl", "mmap", "munmap", "madvise"];
    sweep("large", &retried, || Shm::place(Large::shared_with_capacity(40_000)).map(drop));
}

#[test]
fn one_more_participant_than_there_is_memory_for_is_refused_and_comes_later() {
    let _alone = alone();
    if Shared::backend() != LockBackend::Node {
        return;
    }
    let barrier = Shm::place(Large::shared_with_capacity(2)).unwrap();
    let _both = [barrier.join().unwrap(), barrier.join().unwrap()];
    for errno in [Errno::NOMEM, Errno::FAULT] {
        let _full = Rule::on("madvise", Fault::Fail(errno)).arm().unwrap();
        assert_eq!(barrier.join().map(drop), Err(Refused::NoMemory));
        assert_eq!(barrier.wait_timeout(Duration::ZERO), Err(Broken::TimedOut), "those who are there go on");
        barrier.reset().unwrap();
    }
    assert_eq!(barrier.join().map(drop), Ok(()));
}

#[test]
fn one_more_waiter_than_there_is_memory_for_is_refused_and_comes_later() {
    let _alone = alone();
    if Shared::backend() != LockBackend::Node {
        return;
    }
    let lock = Shm::place(Shared32::shared(0)).unwrap();
    let condition = Shm::place(Condition::<Shared, 65_536>::shared_with_capacity()).unwrap();
    let wait = || condition.wait_timeout(lock.lock().unwrap(), Duration::ZERO).map(|(_, notified)| notified);
    let resident = || {
        // SAFETY: the descriptor stays here.
        let memory = duplicate(unsafe { condition.descriptor() }).unwrap();
        File::from(memory).metadata().unwrap().blocks() * 512
    };
    for errno in [Errno::NOMEM, Errno::FAULT] {
        let _full = Rule::on("madvise", Fault::Fail(errno)).arm().unwrap();
        assert_eq!(wait(), Err(Refused::NoMemory));
        assert_eq!(condition.notify_all(), 0);
        assert!(!lock.is_locked());
    }
    // Kernels before Linux 5.14 do not know the call. The kernel is made to write there.
    let old = Rule::on("madvise", Fault::Fail(Errno::INVAL)).arm().unwrap();
    let before = resident();
    assert_eq!(wait(), Ok(false));
    assert!(before < resident(), "the list has pages now");
    drop(old);
    assert_eq!(wait(), Ok(false));
}

#[test]
fn one_more_permit_than_there_is_memory_for_is_refused_and_comes_later() {
    let _alone = alone();
    if Shared::backend() != LockBackend::Node {
        return;
    }
    let semaphore = Shm::place(Semaphore::<Shared, 65_536>::shared_with_capacity(1_000, u32::MAX)).unwrap();
    let mut permits = Vec::new();
    for errno in [Errno::NOMEM, Errno::FAULT] {
        let full = Rule::on("madvise", Fault::Fail(errno)).arm().unwrap();
        // As many as the first page has room for.
        let refused = loop {
            match semaphore.permit() {
                Ok(permit) => permits.push(permit),
                Err(refused) => break refused,
            }
        };
        assert!(refused == Refused::NoMemory && full.hits() > 0);
        assert_eq!(semaphore.value() as usize, 1_000 - permits.len());
        drop(permits.pop());
        permits.push(semaphore.permit().unwrap()); // a slot that has memory
        assert!(semaphore.try_acquire().unwrap());
        semaphore.release(1).unwrap();
    }
    // Kernels before Linux 5.14 do not know the call. The kernel is made to write there.
    let old = Rule::on("madvise", Fault::Fail(Errno::INVAL)).arm().unwrap();
    let before = permits.len();
    permits.extend((before..500).map(|_| semaphore.permit().unwrap()));
    assert!(old.hits() > 0);
    let full = Rule::on("futex", Fault::Fail(Errno::FAULT)).arm().unwrap();
    assert!((0..200).any(|_| semaphore.permit().map(core::mem::forget) == Err(Refused::NoMemory)));
    assert!(full.hits() > 0);
}

#[test]
fn one_more_reader_than_there_is_memory_for_is_refused_and_comes_later() {
    let _alone = alone();
    if Shared::backend() != LockBackend::Node {
        return;
    }
    let place = || Shm::place(RwLock::<u64, Shared, 65_536>::shared_with_capacity(5));
    let retried = ["memfd_create", "fallocate", "fcntl", "mmap", "munmap", "madvise"];
    sweep("large rwlock", &retried, || place().map(drop));
    let old = Rule::on("madvise", Fault::Fail(Errno::INVAL)).arm().unwrap();
    let lock = place().unwrap();
    drop(old);
    let resident = || {
        // SAFETY: the descriptor stays here.
        let memory = duplicate(unsafe { lock.descriptor() }).unwrap();
        File::from(memory).metadata().unwrap().blocks() * 512
    };
    let before = resident();
    // The fault is this thread's, so this thread is always the one that needs a new share.
    let others = |count: usize, body: &mut dyn FnMut()| {
        let end = std::sync::RwLock::new(());
        let held = end.write().unwrap();
        thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| {
                    let guard = lock.read().unwrap();
                    drop(end.read());
                    drop(guard);
                });
            }
            while (lock.readers() as usize) < count {
                thread::yield_now();
            }
            body();
            drop(held);
        });
    };
    soon(|| {
        others(1, &mut || {
            for errno in [Errno::NOMEM, Errno::FAULT] {
                let _full = Rule::on("madvise", Fault::Fail(errno)).arm().unwrap();
                assert_eq!(lock.read().map(drop), Err(Refused::NoMemory));
                assert_eq!(lock.readers(), 1);
            }
            let old = Rule::on("madvise", Fault::Fail(Errno::INVAL)).arm().unwrap();
            drop(lock.read().unwrap());
            assert!(old.hits() > 0, "the kernel is made to write there");
        });
        others(200, &mut || assert!(before < resident()));
    });
    assert_eq!(*lock.write().unwrap(), 5);
}

/// Kernels before Linux 5.14 do not have the call.
#[test]
fn without_the_call_that_finds_pages_the_kernel_is_made_to_write_there() {
    let _alone = alone();
    if Shared::backend() != LockBackend::Node {
        return;
    }
    let resident = |barrier: &Shm<Large>| {
        // SAFETY: the descriptor stays here.
        let memory = duplicate(unsafe { barrier.descriptor() }).unwrap();
        File::from(memory).metadata().unwrap().blocks() * 512
    };
    let _old = Rule::on("madvise", Fault::Fail(Errno::INVAL)).arm().unwrap();
    let barrier = Shm::place(Large::shared_with_capacity(40_000)).unwrap();
    assert!(resident(&barrier) > size_of::<Large>() as u64 / 2);
    assert!(!barrier.is_broken());
    let small = Shm::place(Large::shared_with_capacity(1)).unwrap();
    let before = resident(&small);
    let many: Vec<_> = (0..1_500).map(|_| small.join().unwrap()).collect();
    assert!(before < resident(&small));
    drop(many);
    let full = Rule::on("futex", Fault::Fail(Errno::FAULT)).arm().unwrap();
    assert_eq!(Shm::place(Large::shared_with_capacity(40_000)).map(drop), Err(Errno::NOMEM));
    assert!(full.hits() > 0);
}

#[test]
fn a_refused_sleep_only_makes_the_taker_look_again() {
    let _alone = alone();
    let lock = Shm::place(Shared32::shared(0)).unwrap();
    for errno in [Errno::INTR, Errno::PERM, Errno::NOMEM] {
        soon(|| {
            thread::scope(|scope| {
                let held = lock.lock().unwrap();
                let refusals = Rule::on("futex", Fault::Fail(errno)).times(5).everywhere().arm().unwrap();
                let taker = scope.spawn(|| *lock.lock().unwrap() += 1);
                while refusals.hits() < 5 {
                    thread::yield_now();
                }
                drop(held);
                taker.join().unwrap();
            });
        });
    }
    assert_eq!(*lock.lock().unwrap(), 3);
}
