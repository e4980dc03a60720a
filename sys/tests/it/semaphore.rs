//! The semaphore in its three scopes, and the lock that anyone may release.

use core::time::Duration;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use ossature_sys::futex::Cancel;
use ossature_sys::scope::{Form, Local, Private, Refused, Scope, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::handoff::{HandoffLock, NotLocked};
use ossature_sys::sync::semaphore::{Overflow, Semaphore};

use crate::support::{soon, thread_id, until_asleep};

/// Two units, unbounded and bounded.
macro_rules! in_every_scope {
    ($($name:ident: $test:ident),+ $(,)?) => {$(
        mod $name {
            use super::*;

            #[test]
            fn private() {
                $test::<Private>(&Semaphore::new(2), &Semaphore::bounded(2));
            }

            #[test]
            fn shared() {
                let bounded = Shm::place(Semaphore::shared_bounded(2)).unwrap();
                $test::<Shared>(&Shm::place(Semaphore::shared(2)).unwrap(), &bounded);
            }

            #[test]
            fn local() {
                $test::<Local>(&Semaphore::local(2), &Semaphore::local_bounded(2));
            }
        }
    )+};
}

in_every_scope! {
    units_are_taken_until_there_is_none: is_taken,
    release_beyond_the_bound_changes_nothing: overflows,
    permit_comes_back_when_dropped: permit_returns,
    forgotten_permit_does_not_come_back: permit_is_forgotten,
    limited_wait_for_nothing_is_false: times_out,
}

fn is_taken<S: Scope>(plain: &Semaphore<S>, bounded: &Semaphore<S>) {
    for semaphore in [plain, bounded] {
        assert_eq!((semaphore.value(), semaphore.is_locked()), (2, false));
        assert_eq!(S::settle(semaphore.acquire()), Ok(()));
        assert_eq!(S::settle(semaphore.acquire_timeout(Duration::from_secs(1))), Ok(true));
        assert_eq!((semaphore.value(), semaphore.is_locked()), (0, true));
        assert_eq!(S::settle(semaphore.try_acquire()), Ok(false));
        assert_eq!(semaphore.release(2), Ok(()));
        assert_eq!(semaphore.release(0), Ok(()));
        assert_eq!(semaphore.value(), 2);
        assert_eq!(S::settle(semaphore.try_acquire()), Ok(true));
        assert_eq!(semaphore.value(), 1);
    }
}

fn overflows<S: Scope>(plain: &Semaphore<S>, bounded: &Semaphore<S>) {
    assert_eq!(bounded.release(1), Err(Overflow));
    S::settle(bounded.acquire()).unwrap();
    assert_eq!(bounded.release(2), Err(Overflow), "all or nothing");
    assert_eq!(bounded.value(), 1);
    assert_eq!(bounded.release(1), Ok(()));
    assert_eq!(plain.release(u32::MAX - 2), Ok(()));
    assert_eq!(plain.value(), u32::MAX);
    assert_eq!(plain.release(1), Err(Overflow));
    assert_eq!(plain.release(u32::MAX), Err(Overflow));
    assert_eq!(plain.value(), u32::MAX);
    assert_eq!(S::settle(plain.try_acquire()), Ok(true));
    assert_eq!(plain.value(), u32::MAX - 1);
}

fn permit_returns<S: Scope>(plain: &Semaphore<S>, bounded: &Semaphore<S>) {
    for semaphore in [plain, bounded] {
        let first = S::settle(semaphore.permit()).unwrap();
        let second = S::settle(semaphore.permit_timeout(Duration::from_secs(1))).unwrap();
        assert!(second.is_some() && semaphore.is_locked());
        assert!(S::settle(semaphore.try_permit()).unwrap().is_none());
        assert_eq!(S::settle(semaphore.try_acquire()), Ok(false));
        drop(first);
        assert_eq!(semaphore.value(), 1);
        drop(second);
        assert_eq!(semaphore.value(), 2);
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _permit = S::settle(semaphore.permit());
            std::panic::resume_unwind(Box::new("out"));
        }));
        assert!(unwound.is_err());
        assert_eq!(semaphore.value(), 2);
    }
}

fn permit_is_forgotten<S: Scope>(plain: &Semaphore<S>, bounded: &Semaphore<S>) {
    for semaphore in [plain, bounded] {
        S::settle(semaphore.permit()).unwrap().forget();
        assert_eq!(semaphore.value(), 1);
        // Whoever releases it then releases a unit without an owner.
        assert_eq!(semaphore.release(1), Ok(()));
        assert_eq!(semaphore.value(), 2);
    }
    assert_eq!(bounded.release(1), Err(Overflow));
}

fn times_out<S: Scope>(plain: &Semaphore<S>, bounded: &Semaphore<S>) {
    for semaphore in [plain, bounded] {
        S::settle(semaphore.acquire()).unwrap();
        S::settle(semaphore.acquire()).unwrap();
        assert_eq!(S::settle(semaphore.acquire_timeout(Duration::from_millis(3))), Ok(false));
        assert!(S::settle(semaphore.permit_timeout(Duration::from_millis(3))).unwrap().is_none());
        assert_eq!(semaphore.value(), 0);
    }
}

#[test]
fn wait_that_could_never_end_is_an_error() {
    let semaphore = Semaphore::local(0);
    assert_eq!(semaphore.acquire(), Err(Refused::WouldDeadlock));
    assert_eq!(semaphore.permit().map(|_| ()), Err(Refused::WouldDeadlock));
    assert_eq!(semaphore.acquire_timeout(Duration::from_secs(3600)), Ok(false));
    semaphore.release(1).unwrap();
    assert_eq!(semaphore.acquire(), Ok(()));
    let lock = HandoffLock::local();
    lock.acquire().unwrap();
    assert_eq!(lock.acquire(), Err(Refused::WouldDeadlock));
    assert_eq!(lock.with(|| ()), Err(Refused::WouldDeadlock));
}

fn private() -> Semaphore {
    Semaphore::new(0)
}

fn shared() -> Shm<Semaphore<Shared>> {
    Shm::place(Semaphore::shared(0)).unwrap()
}

/// Starts threads that sleep in `wait`, and answers when they do.
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

#[test]
fn release_of_many_wakes_as_many() {
    fn check<S: Scope>(semaphore: &Semaphore<S>)
    where
        Semaphore<S>: Sync,
    {
        let served = AtomicU32::new(0);
        soon(|| {
            thread::scope(|scope| {
                let served = &served;
                let sleepers = asleep(scope, 5, move || {
                    S::settle(semaphore.acquire()).unwrap();
                    served.fetch_add(1, SeqCst);
                });
                semaphore.release(3).unwrap();
                while served.load(SeqCst) < 3 {
                    thread::yield_now();
                }
                assert_eq!((served.load(SeqCst), semaphore.value()), (3, 0));
                semaphore.release(3).unwrap();
                for sleeper in sleepers {
                    sleeper.join().unwrap();
                }
            });
        });
        assert_eq!(semaphore.value(), 1);
    }
    check(&private());
    check(&*shared());
}

#[test]
fn dropped_permit_wakes_one_who_waits() {
    fn check<S: Scope>(semaphore: &Semaphore<S>)
    where
        Semaphore<S>: Sync,
    {
        semaphore.release(1).unwrap();
        for bare in [true, false] {
            let permit = S::settle(semaphore.permit()).unwrap();
            soon(|| {
                thread::scope(|scope| {
                    let sleepers = asleep(scope, 2, move || {
                        if bare {
                            S::settle(semaphore.acquire()).unwrap();
                            semaphore.release(1).unwrap();
                        } else {
                            drop(S::settle(semaphore.permit()).unwrap());
                        }
                    });
                    drop(permit);
                    for sleeper in sleepers {
                        sleeper.join().unwrap();
                    }
                });
            });
            assert_eq!(semaphore.value(), 1);
        }
    }
    check(&private());
    check(&*shared());
}

#[test]
fn wait_ends_when_it_is_cancelled() {
    fn check<S: Scope>(semaphore: &Semaphore<S>)
    where
        Semaphore<S>: Sync,
    {
        let cancel = Cancel::new();
        soon(|| {
            thread::scope(|scope| {
                let cancel = &cancel;
                let bare = asleep(scope, 1, move || S::settle(semaphore.acquire_timeout(cancel)).unwrap());
                let permit = asleep(scope, 1, move || S::settle(semaphore.permit_timeout(cancel)).unwrap().is_some());
                cancel.cancel();
                for sleeper in bare.into_iter().chain(permit) {
                    assert!(!sleeper.join().unwrap());
                }
            });
        });
        semaphore.release(1).unwrap();
        assert_eq!(S::settle(semaphore.acquire_timeout(&cancel)), Ok(true), "what is there can be had all the same");
    }
    check(&private());
    check(&*shared());
}

#[test]
fn limited_wait_lasts_its_time() {
    fn check<S: Scope>(semaphore: &Semaphore<S>) {
        let began = Instant::now();
        assert_eq!(S::settle(semaphore.acquire_timeout(Duration::from_millis(20))), Ok(false));
        assert!(began.elapsed() >= Duration::from_millis(20));
    }
    check(&private());
    check(&*shared());
}

/// Threads that take and give back as fast as they can, more of them than units.
fn hammer<S: Scope>(semaphore: &Semaphore<S>, turns: u32, turn: impl Fn(u32) + Sync)
where
    Semaphore<S>: Sync,
{
    semaphore.release(2).unwrap();
    let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
    crate::support::within(Duration::from_secs(60), || {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..turns {
                        S::settle(semaphore.acquire()).unwrap();
                        most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                        inside.fetch_sub(1, SeqCst);
                        semaphore.release(1).unwrap();
                        turn(round);
                    }
                });
            }
        });
    });
    assert!(most.load(SeqCst) <= 2);
    assert_eq!(semaphore.value(), 2);
}

#[test]
fn hammered_private_semaphore_keeps_its_count() {
    hammer(&private(), 100_000, |_| {});
}

#[test]
fn hammered_shared_semaphore_keeps_its_count() {
    hammer(&*shared(), 100_000, |_| {});
}

#[test]
fn permits_and_bare_units_mix() {
    fn check<S: Scope>(semaphore: &Semaphore<S>)
    where
        Semaphore<S>: Sync,
    {
        hammer(semaphore, 10_000, |round| match round % 3 {
            0 => drop(S::settle(semaphore.permit()).unwrap()),
            1 => drop(S::settle(semaphore.permit_timeout(Duration::from_micros(30))).unwrap()),
            _ => drop(S::settle(semaphore.try_permit()).unwrap()),
        });
    }
    check(&private());
    check(&*shared());
}

#[test]
fn private_permit_may_be_dropped_by_another_thread() {
    static SEMAPHORE: Semaphore = Semaphore::bounded(1);
    let permit = SEMAPHORE.permit();
    thread::spawn(move || drop(permit)).join().unwrap();
    assert_eq!(SEMAPHORE.value(), 1);
}

/// As many as a sleeper can watch; without an owner there may be any number.
#[test]
fn shared_semaphore_has_120_permits_at_a_time() {
    let semaphore = Shm::place(Semaphore::shared(200)).unwrap();
    let mut permits: Vec<_> = (0..120).map(|_| semaphore.permit().unwrap()).collect();
    if Shared::form() == Form::Node {
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
    let semaphore = Shm::place(Semaphore::shared_bounded(1)).unwrap();
    if Shared::form() == Form::Pthread {
        return println!("SKIPPED: permits have no owner here");
    }
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
fn held_permit_counts_for_the_bound() {
    let semaphore = Shm::place(Semaphore::shared_bounded(2)).unwrap();
    let permit = semaphore.permit().unwrap();
    if Shared::form() == Form::Node {
        assert_eq!(semaphore.release(1), Err(Overflow));
    }
    drop(permit);
    assert_eq!(semaphore.value(), 2);
}

mod handoff {
    use super::*;

    fn check<S: Scope>(lock: &HandoffLock<S>) {
        assert!(!lock.locked());
        assert_eq!(lock.release(), Err(NotLocked));
        S::settle(lock.acquire()).unwrap();
        assert!(lock.locked());
        assert_eq!(S::settle(lock.try_acquire()), Ok(false));
        assert_eq!(S::settle(lock.acquire_timeout(Duration::from_millis(3))), Ok(false));
        assert_eq!(lock.release(), Ok(()));
        assert_eq!(lock.release(), Err(NotLocked));
        assert_eq!(S::settle(lock.with(|| lock.locked())), Ok(true));
        assert!(!lock.locked());
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = S::settle(lock.with(|| std::panic::resume_unwind(Box::new("out"))));
        }));
        assert!(unwound.is_err() && !lock.locked());
        assert_eq!(S::settle(lock.try_acquire()), Ok(true));
    }

    #[test]
    fn is_taken_and_released_in_every_scope() {
        check(&HandoffLock::new());
        check(&HandoffLock::local());
        check(&*Shm::place(HandoffLock::shared()).unwrap());
    }

    #[test]
    fn another_thread_releases_it() {
        fn check<S: Scope>(lock: &HandoffLock<S>)
        where
            HandoffLock<S>: Sync,
        {
            S::settle(lock.acquire()).unwrap();
            soon(|| {
                thread::scope(|scope| {
                    let sleepers = asleep(scope, 1, move || S::settle(lock.acquire()));
                    scope.spawn(move || lock.release()).join().unwrap().unwrap();
                    for sleeper in sleepers {
                        sleeper.join().unwrap().unwrap();
                    }
                });
            });
            assert!(lock.locked());
        }
        check(&HandoffLock::new());
        check(&*Shm::place(HandoffLock::shared()).unwrap());
    }
}
