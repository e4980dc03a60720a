//! The condition: who is freed, in which order, and who is not.

use core::time::Duration;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread;

use ossature_sys::futex::Cancel;
use ossature_sys::scope::{Private, Refused, Scope, Shared};
use ossature_sys::shm::{Racy, Shm};
use ossature_sys::sync::condition::{Condition, Wait};
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rlock::RLock;

use crate::support::{soon, thread_id, until_asleep};

/// A lock and a condition in one scope.
fn in_both(private: impl Fn(&Lock<u32>, &Condition), shared: impl Fn(&Lock<u32, Shared>, &Condition<Shared>)) {
    private(&Lock::new(0), &Condition::new());
    let lock = Shm::place(Lock::<u32, Shared>::shared(0)).unwrap();
    shared(&lock, &Shm::place(Condition::shared()).unwrap());
}

/// `count` threads that wait, in this order, and write down in which order they were freed.
fn waiters<S: Scope>(
    lock: &Lock<u32, S>,
    condition: &Condition<S>,
    count: u32,
    free: impl FnOnce(&AtomicU32),
) -> Vec<u32>
where
    Lock<u32, S>: Sync,
    Condition<S>: Sync,
{
    let freed = &AtomicU32::new(0);
    soon(|| {
        thread::scope(|scope| {
            let all: Vec<_> = (0..count)
                .map(|_| {
                    let (tell, told) = channel();
                    let waiter = scope.spawn(move || {
                        let guard = S::settle(lock.lock()).unwrap();
                        tell.send(thread_id()).unwrap();
                        let guard = S::settle(condition.wait(guard)).unwrap();
                        let place = freed.fetch_add(1, SeqCst);
                        drop(guard);
                        place
                    });
                    until_asleep(told.recv().unwrap());
                    waiter
                })
                .collect();
            free(freed);
            all.into_iter().map(|waiter| waiter.join().unwrap()).collect()
        })
    })
}

fn one_by_one<S: Scope>(lock: &Lock<u32, S>, condition: &Condition<S>)
where
    Lock<u32, S>: Sync,
    Condition<S>: Sync,
{
    let places = waiters(lock, condition, 5, |freed| {
        for expected in 1..=3 {
            assert_eq!(condition.notify(1), 1);
            while freed.load(SeqCst) != expected {
                thread::yield_now();
            }
        }
        let guard = S::settle(lock.lock()).unwrap();
        assert_eq!(condition.notify(1), 1);
        assert_eq!(condition.notify(5), 1);
        assert_eq!(condition.notify(5), 0);
        drop(guard);
    });
    assert_eq!(places[..3], [0, 1, 2]);
    assert_eq!(condition.notify_all(), 0);
}

#[test]
fn notifications_go_in_order_of_arrival_to_so_many_and_no_more() {
    in_both(one_by_one::<Private>, one_by_one::<Shared>);
}

fn late<S: Scope>(lock: &Lock<u32, S>, condition: &Condition<S>)
where
    Lock<u32, S>: Sync,
    Condition<S>: Sync,
{
    for span in [Duration::ZERO, Duration::from_millis(3)] {
        let guard = S::settle(lock.lock()).unwrap();
        let (guard, notified) = S::settle(condition.wait_timeout(guard, span)).unwrap();
        assert!(!notified);
        drop(guard);
    }
    assert_eq!(condition.notify(1), 0, "nobody is in the queue any more");
}

#[test]
fn waiter_that_timed_out_takes_no_notification() {
    in_both(late::<Private>, late::<Shared>);
}

fn cancelled<S: Scope>(lock: &Lock<u32, S>, condition: &Condition<S>)
where
    Lock<u32, S>: Sync,
    Condition<S>: Sync,
{
    let cancel = &Cancel::new();
    soon(|| {
        thread::scope(|scope| {
            let (tell, told) = channel();
            let waiter = scope.spawn(move || {
                let guard = S::settle(lock.lock()).unwrap();
                tell.send(thread_id()).unwrap();
                S::settle(condition.wait_timeout(guard, cancel)).unwrap().1
            });
            until_asleep(told.recv().unwrap());
            cancel.cancel();
            assert!(!waiter.join().unwrap());
        });
    });
    assert_eq!(condition.notify(1), 0);
}

#[test]
fn wait_ends_when_it_is_cancelled() {
    in_both(cancelled::<Private>, cancelled::<Shared>);
}

fn asks<S: Scope>(lock: &Lock<u32, S>, condition: &Condition<S>)
where
    Lock<u32, S>: Sync,
    Condition<S>: Sync,
{
    soon(|| {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let guard = S::settle(lock.lock()).unwrap();
                let (guard, ended) =
                    S::settle(condition.wait_for(guard, |value| **value == 3, Duration::from_secs(60))).unwrap();
                assert_eq!((*guard, ended), (3, Wait::Ready));
            });
            while !waiter.is_finished() {
                let mut guard = S::settle(lock.lock()).unwrap();
                *guard = (*guard + 1).min(3);
                condition.notify_all();
            }
            waiter.join().unwrap();
        });
    });
    let mut asked = 0;
    let guard = S::settle(lock.lock()).unwrap();
    let ask = |_: &mut _| {
        asked += 1;
        false
    };
    let (_guard, ended) = S::settle(condition.wait_for(guard, ask, Duration::from_millis(2))).unwrap();
    assert_eq!((ended, asked), (Wait::TimedOut, 2));
}

#[test]
fn wait_for_asks_before_the_first_wait_and_after_the_last() {
    in_both(asks::<Private>, asks::<Shared>);
}

fn levels<T: Sync + Send, S: Scope>(lock: &RLock<T, S>, condition: &Condition<S>)
where
    RLock<T, S>: Sync,
    Condition<S>: Sync,
{
    soon(|| {
        thread::scope(|scope| {
            let (tell, told) = channel();
            let waiter = scope.spawn(move || {
                let outer = S::settle(lock.lock()).unwrap();
                let inner = S::settle(lock.lock()).unwrap();
                tell.send(thread_id()).unwrap();
                let inner = S::settle(condition.wait(inner)).unwrap();
                assert_eq!(lock.depth(), 2);
                drop(inner);
                assert_eq!(lock.depth(), 1);
                drop(outer);
            });
            until_asleep(told.recv().unwrap());
            let guard = S::settle(lock.lock()).unwrap();
            condition.notify(1);
            drop(guard);
            waiter.join().unwrap();
        });
    });
    assert!(!lock.is_locked());
}

#[test]
fn wait_lets_go_of_every_level_and_takes_them_again() {
    levels(&RLock::new(0), &Condition::new());
    let lock = Shm::place(RLock::<_, Shared>::shared(Racy::new(0_u32))).unwrap();
    levels(&*lock, &Shm::place(Condition::shared()).unwrap());
}

#[test]
fn local_wait_is_an_error_or_over_at_once() {
    let lock = Lock::local(0);
    let condition = Condition::local();
    let guard = lock.lock().unwrap();
    let (guard, notified) = condition.wait_timeout(guard, Duration::from_secs(60)).unwrap();
    assert!(!notified);
    assert_eq!(condition.wait(guard).err(), Some(Refused::WouldDeadlock));
    assert!(!lock.is_locked());
}

#[test]
fn lock_that_is_given_up_meanwhile_ends_the_wait() {
    let lock = Shm::place(Lock::<u32, Shared>::shared(0)).unwrap();
    let condition = Shm::place(Condition::shared()).unwrap();
    let (lock, condition) = (&*lock, &*condition);
    soon(|| {
        thread::scope(|scope| {
            let (tell, told) = channel();
            let waiter = scope.spawn(move || {
                let guard = lock.lock().unwrap();
                tell.send(thread_id()).unwrap();
                condition.wait(guard).err()
            });
            until_asleep(told.recv().unwrap());
            let guard = lock.lock().unwrap();
            condition.notify(1);
            guard.give_up();
            assert_eq!(waiter.join().unwrap(), Some(Refused::GivenUp));
        });
    });
}

#[test]
fn table_that_is_full_is_an_error_and_the_lock_is_free_again() {
    let lock = Shm::place(Lock::<u32, Shared>::shared(0)).unwrap();
    let condition = Shm::place(Condition::shared()).unwrap();
    waiters(&*lock, &condition, 120, |_| {
        assert_eq!(condition.wait(lock.lock().unwrap()).err(), Some(Refused::TableFull));
        assert_eq!(condition.notify_all(), 120);
    });
}
