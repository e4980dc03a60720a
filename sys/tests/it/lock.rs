//! The lock in its three scopes: exclusion, deadlines, what a holder leaves behind.

use core::time::Duration;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use ossature_sys::deadline::Deadline;
use ossature_sys::scope::{Local, Private, Refused, Scope, Shared};
use ossature_sys::shm::{Shm, array};
use ossature_sys::sync::lock::Lock;

use crate::support::{soon, thread_id, until_asleep};

/// Each behaviour that all scopes share is written once and stamped for each.
macro_rules! in_every_scope {
    ($($name:ident: $test:ident),+ $(,)?) => {$(
        mod $name {
            use super::*;

            #[test]
            fn private() {
                $test::<Private>(&Lock::new(0));
            }

            #[test]
            fn shared() {
                $test::<Shared>(&Shm::place(Lock::<u64, Shared>::shared(0)).unwrap());
            }

            #[test]
            fn local() {
                $test::<Local>(&Lock::local(0));
            }
        }
    )+};
}

in_every_scope! {
    guard_lends_the_data: lends,
    held_lock_is_not_taken_again: excludes,
    dropping_the_guard_frees_it_even_on_unwind: frees,
}

fn lends<S: Scope>(lock: &Lock<u64, S>) {
    *S::settle(lock.lock()).unwrap() += 5;
    let mut guard = S::settle(lock.try_lock()).unwrap().unwrap();
    *guard += 2;
    assert_eq!(*guard, 7);
    assert!(!guard.abandoned());
}

fn excludes<S: Scope>(lock: &Lock<u64, S>) {
    let guard = S::settle(lock.lock()).unwrap();
    // Shared knows that it is this very thread and says so; the others say no.
    for _ in 0..2 {
        match S::settle(lock.try_lock()) {
            Ok(taken) => assert!(taken.is_none()),
            Err(refused) => assert_eq!(refused, Refused::WouldDeadlock),
        }
    }
    drop(guard);
    assert!(S::settle(lock.try_lock()).unwrap().is_some());
}

fn frees<S: Scope>(lock: &Lock<u64, S>) {
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = S::settle(lock.lock()).unwrap();
        std::panic::resume_unwind(Box::new("out of the critical section"));
    }));
    assert!(unwound.is_err());
    assert!(S::settle(lock.try_lock()).unwrap().is_some());
}

#[test]
fn waiting_for_oneself_is_refused_in_shared_and_local() {
    let shared = Shm::place(Lock::<u64, Shared>::shared(0)).unwrap();
    let _held = shared.lock().unwrap();
    assert_eq!(soon(|| shared.lock().map(drop)), Err(Refused::WouldDeadlock));
    let local = Lock::local(0);
    let _held = local.lock().unwrap();
    assert_eq!(local.lock().map(drop), Err(Refused::WouldDeadlock));
    assert!(local.lock_timeout(Duration::from_secs(3600)).unwrap().is_none());
}

fn counts_right<S: Scope>(lock: &Lock<u64, S>)
where
    Lock<u64, S>: Sync,
{
    const TURNS: u64 = 20_000;
    soon(|| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..TURNS {
                        *S::settle(lock.lock()).unwrap() += 1;
                    }
                });
            }
        });
    });
    assert_eq!(*S::settle(lock.lock()).unwrap(), 4 * TURNS);
}

#[test]
fn threads_count_right_under_a_private_lock() {
    counts_right(&Lock::new(0));
}

#[test]
fn threads_count_right_under_a_shared_lock() {
    counts_right::<Shared>(&Shm::place(Lock::<u64, Shared>::shared(0)).unwrap());
}

#[test]
fn two_mappings_are_one_lock() {
    let one = Shm::place(Lock::<u64, Shared>::shared(0)).unwrap();
    let two = one.try_clone().unwrap();
    let held = one.lock().unwrap();
    assert_eq!(two.try_lock().map(|taken| taken.is_some()), Err(Refused::WouldDeadlock));
    soon(|| {
        thread::scope(|scope| {
            scope.spawn(|| assert!(two.try_lock().unwrap().is_none()));
        });
    });
    drop(held);
    *two.lock().unwrap() += 1;
    assert_eq!(*one.lock().unwrap(), 1);
}

fn timed_wait_lasts<S: Scope>(lock: &Lock<u64, S>)
where
    Lock<u64, S>: Sync,
{
    let span = Duration::from_millis(20);
    let _held = S::settle(lock.lock()).unwrap();
    soon(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                let start = Instant::now();
                assert!(S::settle(lock.lock_timeout(span)).unwrap().is_none());
                assert!(start.elapsed() >= span);
                assert!(S::settle(lock.lock_timeout(Deadline::NOW)).unwrap().is_none());
            });
        });
    });
}

#[test]
fn timed_wait_ends_at_its_deadline_and_not_before() {
    timed_wait_lasts(&Lock::new(0));
    timed_wait_lasts::<Shared>(&Shm::place(Lock::<u64, Shared>::shared(0)).unwrap());
}

#[test]
fn timed_wait_gets_a_lock_that_is_released_meanwhile() {
    let lock = Shm::place(Lock::<u64, Shared>::shared(0)).unwrap();
    soon(|| {
        thread::scope(|scope| {
            let held = lock.lock().unwrap();
            let (tell, told) = channel();
            let lock = &lock;
            let waiter = scope.spawn(move || {
                tell.send(thread_id()).unwrap();
                lock.lock_timeout(Duration::from_secs(3600)).unwrap().is_some()
            });
            until_asleep(told.recv().unwrap());
            drop(held);
            assert!(waiter.join().unwrap());
        });
    });
}

#[test]
fn thread_that_ends_with_the_lock_abandons_it() {
    let lock = Shm::place(Lock::<u64, Shared>::shared(1)).unwrap();
    soon(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut guard = lock.lock().unwrap();
                *guard = 2;
                core::mem::forget(guard);
            });
        });
    });
    for _ in 0..2 {
        let guard = soon(|| lock.lock()).unwrap();
        assert!(guard.abandoned(), "sticky until repaired");
        assert_eq!(*guard, 2);
    }
    lock.lock().unwrap().repair();
    assert!(!lock.lock().unwrap().abandoned());
}

#[test]
fn given_up_lock_refuses_everyone_even_those_who_slept() {
    let lock = Shm::place(Lock::<u64, Shared>::shared(0)).unwrap();
    soon(|| {
        thread::scope(|scope| {
            let held = lock.lock().unwrap();
            let (tell, told) = channel();
            let lock = &lock;
            let waiters = [0; 3].map(|_| {
                let tell = tell.clone();
                scope.spawn(move || {
                    tell.send(thread_id()).unwrap();
                    lock.lock().map(drop)
                })
            });
            told.iter().take(3).for_each(until_asleep);
            held.give_up();
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap(), Err(Refused::GivenUp));
            }
        });
    });
    assert_eq!(lock.try_lock().map(drop), Err(Refused::GivenUp));
    assert_eq!(lock.lock_timeout(Duration::from_secs(1)).map(drop), Err(Refused::GivenUp));
}

#[test]
fn locks_nest_and_are_released_in_any_order() {
    let locks = Shm::place(array::<Lock<u64, Shared>, _, 8>(|_| Lock::shared(0))).unwrap();
    for pattern in 0..40_320_u32 {
        let mut held: Vec<_> = locks.iter().map(|lock| lock.lock().unwrap()).collect();
        let mut choice = pattern;
        while !held.is_empty() {
            let n = held.len() as u32;
            *held.swap_remove((choice % n) as usize) += 1;
            choice /= n;
        }
    }
    assert!(locks.iter().all(|lock| *lock.lock().unwrap() == 40_320));
}

#[test]
fn thread_refuses_more_locks_than_the_kernel_would_clean_up() {
    soon(|| {
        let locks = Shm::place_slice(2_000, |_| Lock::<u64, Shared>::shared(0)).unwrap();
        let mut held: Vec<_> = locks.iter().map_while(|lock| lock.lock().ok()).collect();
        assert!((1_890..=1_900).contains(&held.len()), "{}", held.len());
        let next = &locks[held.len()];
        assert_eq!(next.try_lock().map(|taken| taken.is_some()), Err(Refused::TooMany));
        drop(held.remove(100));
        assert!(next.try_lock().unwrap().is_some(), "one released makes room for one");
    });
}

#[test]
fn guards_and_locks_show_their_data() {
    let lock = Lock::new(3);
    assert_eq!(format!("{lock:?}"), "Lock { data: 3 }");
    let guard = lock.lock();
    assert_eq!(format!("{guard:?} {lock:?}"), "Guard(3) Lock { data: <locked> }");
}
