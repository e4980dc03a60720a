//! The reader-writer lock where its behaviour does not depend on the participants, which `tests/sync` covers: mappings,
//! numbers, places.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::thread::{self, Builder};
use std::time::Duration;

use ossature_sys::fd::duplicate;
use ossature_sys::scope::{Refused, Shared};
use ossature_sys::shm::{AttachError, Shareable, Shm, Zeroed, array};
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rwlock::RwLock;

use crate::support::{soon, within};

#[test]
fn two_mappings_are_one_lock() {
    needs!(own_nodes);
    let one = Shm::place(RwLock::<u64, Shared>::shared(0)).unwrap();
    let two = one.try_clone().unwrap();
    let reads = one.read().unwrap();
    let again = two.read().unwrap();
    assert_eq!((one.readers(), two.readers()), (1, 1), "the same thread by another mapping");
    assert_eq!(two.write().map(drop), Err(Refused::WouldDeadlock));
    drop(reads);
    soon(|| {
        thread::scope(|scope| {
            scope.spawn(|| assert!(one.try_write().unwrap().is_none()));
        });
    });
    drop(again);
    assert_eq!(one.readers(), 0);
    let writes = two.write().unwrap();
    assert_eq!(one.read().map(drop), Err(Refused::WouldDeadlock));
    drop(writes);
    *two.write().unwrap() += 1;
    assert_eq!(*one.read().unwrap(), 1);
}

#[test]
fn shares_beside_other_locks_are_given_back_in_any_order() {
    needs!(own_nodes);
    let locks = Shm::place(array::<RwLock<u64, Shared>, _, 3>(|_| RwLock::shared(0))).unwrap();
    let plain = Shm::place(Lock::<u64, Shared>::shared(0)).unwrap();
    for pattern in 0..24_u32 {
        for with_lock in [false, true] {
            let held = with_lock.then(|| plain.lock().unwrap());
            let mut guards: Vec<_> = locks.iter().chain(&locks[..1]).map(|lock| lock.read().unwrap()).collect();
            drop(held);
            let mut choice = pattern;
            while !guards.is_empty() {
                let n = guards.len() as u32;
                drop(guards.swap_remove((choice % n) as usize));
                choice /= n;
            }
            locks.iter().for_each(|lock| *lock.try_write().unwrap().expect("free") += 1);
        }
    }
    assert!(locks.iter().all(|lock| *lock.read().unwrap() == 48));
}

#[test]
fn thread_refuses_more_shares_than_the_kernel_would_clean_up() {
    needs!(own_nodes);
    soon(|| {
        let locks = Shm::place_slice(1_901, |_| RwLock::<u64, Shared>::shared(0)).unwrap();
        let mut held: Vec<_> = locks.iter().map_while(|lock| lock.read().ok()).collect();
        assert!((1_890..=1_900).contains(&held.len()), "{}", held.len());
        let next = &locks[held.len()];
        assert_eq!(next.try_read().map(|guard| guard.is_some()), Err(Refused::TooMany));
        assert_eq!(next.try_write().map(|guard| guard.is_some()), Err(Refused::TooMany));
        drop(held.remove(100));
        assert!(next.try_read().unwrap().is_some(), "one given back makes room for one");
        assert!(next.try_write().unwrap().is_some());
    });
}

#[test]
fn eight_threads_read_at_a_time_again_and_again() {
    needs!(own_nodes);
    let lock = Shm::place(RwLock::<u64, Shared>::shared(0)).unwrap();
    soon(|| {
        for _ in 0..50 {
            let inside = std::sync::Barrier::new(8);
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        let guard = lock.read().unwrap();
                        inside.wait();
                        assert_eq!(lock.readers(), 8);
                        inside.wait();
                        drop(guard);
                    });
                }
            });
            *lock.try_write().unwrap().expect("free") += 1;
        }
    });
    assert_eq!(*lock.read().unwrap(), 50);
}

#[test]
fn a_shared_lock_takes_two_pages() {
    let size = size_of::<RwLock<u64, Shared>>();
    assert!(size <= 8_192, "{size}");
    assert!(size_of::<RwLock<u64>>() <= 24);
    assert!(size_of::<RwLock<[u64; 6], Shared, 8>>() <= 512);
}

/// Runs `body` while `count` other threads read.
fn beside_readers<T: Shareable, const N: usize>(lock: &RwLock<T, Shared, N>, count: usize, body: impl FnOnce()) {
    let end = &std::sync::RwLock::new(());
    let held = end.write().unwrap();
    thread::scope(|scope| {
        let readers = (0..count).map(|_| {
            let read = || {
                let guard = lock.read().unwrap();
                drop(end.read());
                drop(guard);
            };
            Builder::new().stack_size(128 << 10).spawn_scoped(scope, read).unwrap()
        });
        let readers: Vec<_> = readers.collect();
        while (lock.readers() as usize) < count {
            assert!(readers.iter().all(|reader| !reader.is_finished()), "a reader was refused");
            thread::yield_now();
        }
        body();
        drop(held);
    });
}

/// Checks that a lock has room for `N` readers and no more, each in any share.
fn is_full_with_all<const N: usize>() {
    let lock = Shm::place(RwLock::<u64, Shared, N>::shared_with_capacity(0)).unwrap();
    for _ in 0..2 {
        beside_readers(&lock, N - 1, || {
            assert_eq!(lock.readers() as usize, N - 1);
            drop(lock.read().unwrap());
        });
        beside_readers(&lock, N, || {
            assert_eq!(lock.readers() as usize, N);
            assert_eq!(lock.read().map(drop), Err(Refused::TableFull));
            assert!(lock.try_write().unwrap().is_none());
        });
        *lock.write().unwrap() += 1;
    }
    assert_eq!((lock.readers(), *lock.read().unwrap()), (0, 2));
}

#[test]
fn room_for_readers_is_part_of_the_type() {
    needs!(own_nodes);
    within(Duration::from_secs(60), || {
        is_full_with_all::<1>();
        is_full_with_all::<2>();
        is_full_with_all::<3>();
        is_full_with_all::<8>();
        is_full_with_all::<121>();
        is_full_with_all::<250>();
    });
    let small = Shm::place(RwLock::<u64, Shared, 8>::shared_with_capacity(0)).unwrap();
    // SAFETY: the descriptor stays in this test, which uses the memory through `Shm`.
    let memory = duplicate(unsafe { small.descriptor() }).unwrap();
    // SAFETY: as above.
    let other = unsafe { Shm::<RwLock<u64, Shared, 9>>::from_fd(memory) };
    assert_eq!(other.map(drop), Err(AttachError::OtherType));
    let full = Refused::TableFull.to_string();
    assert!(full.contains("parameter `N` of its type"), "{full}");
}

/// While a thread searches, others may leave shares behind it and take shares before it.
#[test]
fn as_many_threads_as_there_is_room_for_are_never_refused() {
    needs!(own_nodes);
    let lock = Shm::place(RwLock::<u64, Shared, 4>::shared_with_capacity(0)).unwrap();
    soon(|| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for turn in 0..20_000 {
                        let guard = lock.read().unwrap();
                        if turn % 64 == 0 {
                            thread::yield_now();
                        }
                        drop(guard);
                    }
                });
            }
        });
    });
    assert!(lock.try_write().unwrap().is_some());
}

#[test]
fn a_lock_for_65536_takes_the_memory_of_those_who_read() {
    needs!(own_nodes);
    type Large = RwLock<[u64; 1 << 17], Shared, 65_536>;
    let lock: Shm<Large> = Shm::place(RwLock::shared_with_capacity(Zeroed)).unwrap();
    let (data, slots) = (8_u64 << 17, size_of::<Large>() as u64 - (8 << 17));
    let resident = || {
        // SAFETY: the descriptor stays here.
        let memory = duplicate(unsafe { lock.descriptor() }).unwrap();
        File::from(memory).metadata().unwrap().blocks() * 512
    };
    let empty = resident();
    assert!(data <= empty, "the data has all its pages: {empty} of {data}");
    assert!(empty <= data + slots / 8, "{empty} of {data} and {slots}");
    within(Duration::from_secs(60), || {
        beside_readers(&lock, 600, || {
            let full = resident();
            assert!(empty < full && full <= data + slots / 8, "{empty} and then {full} of {data} and {slots}");
            assert_eq!(lock.try_clone().unwrap().readers(), 600);
        });
    });
    lock.write().unwrap()[0] = 1;
    assert_eq!(lock.read().unwrap()[0], 1);
}

#[test]
fn a_thread_finds_its_own_share_beside_many_others() {
    needs!(own_nodes);
    let lock = Shm::place(RwLock::<u64, Shared, 500>::shared_with_capacity(0)).unwrap();
    let (other, plain) = (lock.try_clone().unwrap(), Shm::place(Lock::<u64, Shared>::shared(0)).unwrap());
    within(Duration::from_secs(60), || {
        beside_readers(&lock, 300, || {
            let held = plain.lock().unwrap();
            let first = lock.read().unwrap();
            let second = other.read().unwrap();
            assert_eq!(lock.readers(), 301);
            assert_eq!(lock.write().map(drop), Err(Refused::WouldDeadlock));
            drop((held, first));
            assert_eq!(other.write().map(drop), Err(Refused::WouldDeadlock));
            drop(second);
            assert_eq!(lock.readers(), 300);
        });
    });
    assert!(lock.try_write().unwrap().is_some());
}
