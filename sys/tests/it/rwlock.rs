//! The reader-writer lock where its behaviour does not depend on the participants, which `tests/sync` covers: mappings,
//! numbers, places.

use std::thread;

use ossature_sys::scope::{Refused, Shared};
use ossature_sys::shm::{Shm, array};
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rwlock::RwLock;

use crate::support::soon;

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
}
