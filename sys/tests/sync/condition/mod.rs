//! The condition: which waiters are freed, in which order, and which are not.

pub mod deaths;

use std::ops::Deref;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use ossature_sys::futex::Cancel;
use ossature_sys::scope::{Local, Private, Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::condition::{Condition, Wait};
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rlock::RLock;

use crate::ledger::{counters, until};
use crate::world::{Alone, Processes, Threads, WithPeers, World};

stamp! { "condition":
    in all: wait_without_a_notification_is_false, notification_that_meets_nobody_is_gone, condition_is_asked_before_any_wait,
        condition_is_asked_again_when_the_time_has_run_out;
    in alone: wait_that_could_never_end_is_an_error;
    in peers: notifications_go_in_order_of_arrival_to_so_many_and_no_more, everybody_is_freed_at_once,
        later_waiter_takes_no_earlier_notification, waiter_lets_the_lock_go, freed_waiter_waits_for_the_lock,
        timed_wait_lasts_its_time, waiter_that_timed_out_leaves_the_notification_to_the_next,
        every_notification_frees_exactly_one, waits_until_the_condition_holds, waits_for_a_condition_in_vain,
        two_conditions_share_one_lock, every_level_is_let_go_and_taken_again;
    in threads: wait_ends_when_it_is_cancelled, cancelled_waiter_leaves_the_notification_to_the_next;
}

const AN_HOUR: Duration = Duration::from_secs(3600);

trait Conditions: World {
    fn lock() -> impl Deref<Target = Lock<u32, Self::Scope>>;
    fn rlock() -> impl Deref<Target = RLock<AtomicU32, Self::Scope>>;
    fn condition() -> impl Deref<Target = Condition<Self::Scope>>;
}

impl Conditions for Threads<Private> {
    fn lock() -> impl Deref<Target = Lock<u32>> {
        Box::new(Lock::new(0))
    }
    fn rlock() -> impl Deref<Target = RLock<AtomicU32>> {
        Box::new(RLock::new(AtomicU32::new(0)))
    }
    fn condition() -> impl Deref<Target = Condition> {
        Box::new(Condition::new())
    }
}

impl Conditions for Threads<Shared> {
    fn lock() -> impl Deref<Target = Lock<u32, Shared>> {
        Shm::place(Lock::shared(0)).expect("memory for a lock")
    }
    fn rlock() -> impl Deref<Target = RLock<AtomicU32, Shared>> {
        Shm::place(RLock::shared(AtomicU32::new(0))).expect("memory for a lock")
    }
    fn condition() -> impl Deref<Target = Condition<Shared>> {
        Shm::place(Condition::shared()).expect("memory for a condition")
    }
}

impl Conditions for Processes {
    fn lock() -> impl Deref<Target = Lock<u32, Shared>> {
        Threads::<Shared>::lock()
    }
    fn rlock() -> impl Deref<Target = RLock<AtomicU32, Shared>> {
        Threads::<Shared>::rlock()
    }
    fn condition() -> impl Deref<Target = Condition<Shared>> {
        Threads::<Shared>::condition()
    }
}

impl Conditions for Alone {
    fn lock() -> impl Deref<Target = Lock<u32, Local>> {
        Box::new(Lock::local(0))
    }
    fn rlock() -> impl Deref<Target = RLock<AtomicU32, Local>> {
        Box::new(RLock::local(AtomicU32::new(0)))
    }
    fn condition() -> impl Deref<Target = Condition<Local>> {
        Box::new(Condition::local())
    }
}

/// CPython: _TestCondition.test_timeout, test_wait_result.
fn wait_without_a_notification_is_false<W: Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let mut guard = W::settle(lock.lock()).unwrap();
    for limit in [Duration::ZERO, Duration::from_millis(2)] {
        let (again, notified) = W::settle(condition.wait_timeout(guard, limit)).unwrap();
        assert!(!notified);
        guard = again;
        *guard += 1;
    }
    drop(guard);
    assert_eq!(*W::settle(lock.lock()).unwrap(), 2);
}

fn notification_that_meets_nobody_is_gone<W: Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    assert_eq!(condition.notify(3) + condition.notify_all(), 0);
    let guard = W::settle(lock.lock()).unwrap();
    assert_eq!(condition.notify(1), 0);
    let (_guard, notified) = W::settle(condition.wait_timeout(guard, Duration::from_millis(2))).unwrap();
    assert!(!notified);
    assert_eq!(condition.notify_all(), 0, "who timed out is not in the queue");
}

/// CPython: ConditionTests.test_waitfor, where the condition is already true.
fn condition_is_asked_before_any_wait<W: Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let guard = W::settle(lock.lock()).unwrap();
    let mut asked = 0;
    let (_guard, ended) = W::settle(condition.wait_for(
        guard,
        |value| {
            asked += 1;
            **value == 0
        },
        None,
    ))
    .unwrap();
    assert_eq!((ended, asked), (Wait::Ready, 1));
}

fn condition_is_asked_again_when_the_time_has_run_out<W: Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let guard = W::settle(lock.lock()).unwrap();
    let mut asked = 0;
    let (_guard, ended) = W::settle(condition.wait_for(
        guard,
        |_| {
            asked += 1;
            false
        },
        Duration::from_millis(2),
    ))
    .unwrap();
    assert_eq!((ended, asked), (Wait::TimedOut, 2));
}

fn wait_that_could_never_end_is_an_error<W: Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let guard = W::settle(lock.lock()).unwrap();
    // With a limit it is over at once: nobody could notify meanwhile.
    let (guard, notified) = W::settle(condition.wait_timeout(guard, AN_HOUR)).unwrap();
    assert!(!notified);
    assert_eq!(W::settle(condition.wait(guard)).err(), Some(Refused::WouldDeadlock));
    assert!(!lock.is_locked());
    let guard = W::settle(lock.lock()).unwrap();
    assert_eq!(W::settle(condition.wait_for(guard, |_| false, None)).err(), Some(Refused::WouldDeadlock));
    assert!(!lock.is_locked());
}

/// CPython: ConditionTests.test_notify, _TestCondition.test_notify, test_notify_n.
fn notifications_go_in_order_of_arrival_to_so_many_and_no_more<W: WithPeers + Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let (lock, condition) = (&*lock, &*condition);
    for _ in 0..2 {
        W::with_peers(
            6,
            |me| {
                me.until_told(me.index() as u32 + 1);
                let guard = W::settle(lock.lock()).unwrap();
                me.about_to_wait();
                drop(W::settle(condition.wait(guard)).unwrap());
            },
            |peers| {
                peers.line_up();
                let guard = W::settle(lock.lock()).unwrap();
                assert_eq!(condition.notify(0), 0);
                assert_eq!(condition.notify(1), 1);
                drop(guard);
                peers.until_ended(0);
                assert_eq!(condition.notify(3), 3, "without the lock too");
                (1..=3).for_each(|index| peers.until_ended(index));
                (4..=5).for_each(|index| peers.until_asleep(index, 1));
                assert_eq!(condition.notify(1), 1);
                peers.until_ended(4);
                peers.until_asleep(5, 1);
                assert_eq!(condition.notify(5), 1);
                assert_eq!(condition.notify(5), 0);
            },
        );
    }
}

/// CPython: ConditionTests.test_notify, its last phase; _TestCondition.test_notify_all.
fn everybody_is_freed_at_once<W: WithPeers + Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        6,
        |me| {
            for limit in [Some(Duration::from_millis(2)), None] {
                let guard = W::settle(lock.lock()).unwrap();
                me.about_to_wait();
                let (mut guard, notified) = W::settle(condition.wait_timeout(guard, limit)).unwrap();
                assert_eq!(notified, limit.is_none());
                *guard += 1;
            }
        },
        |peers| {
            peers.until_all_sleep(2);
            let guard = W::settle(lock.lock()).unwrap();
            assert_eq!(*guard, 6, "each has timed out once");
            assert_eq!(condition.notify_all(), 6);
        },
    );
    assert_eq!(*W::settle(lock.lock()).unwrap(), 12);
    assert_eq!(condition.notify_all(), 0);
}

fn later_waiter_takes_no_earlier_notification<W: WithPeers + Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        2,
        |me| {
            if me.index() == 1 {
                me.until_told(1);
            }
            let guard = W::settle(lock.lock()).unwrap();
            me.about_to_wait();
            drop(W::settle(condition.wait(guard)).unwrap());
        },
        |peers| {
            peers.until_asleep(0, 1);
            let guard = W::settle(lock.lock()).unwrap();
            assert_eq!(condition.notify(5), 1);
            peers.tell(1);
            drop(guard);
            peers.until_ended(0);
            peers.until_asleep(1, 1);
            assert_eq!(condition.notify(1), 1);
        },
    );
}

fn waiter_lets_the_lock_go<W: WithPeers + Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        1,
        |me| {
            let guard = W::settle(lock.lock()).unwrap();
            me.about_to_wait();
            let guard = W::settle(condition.wait(guard)).unwrap();
            assert_eq!(*guard, 9, "what the notifier wrote is seen");
        },
        |peers| {
            peers.until_asleep(0, 1);
            let mut guard = W::settle(lock.try_lock()).unwrap().expect("nobody holds it");
            *guard = 9;
            condition.notify(1);
        },
    );
}

/// CPython: ConditionTests.test_notify: no waiter has moved before the notifier releases the lock.
fn freed_waiter_waits_for_the_lock<W: WithPeers + Conditions>() {
    let (lock, condition, inside) = (W::lock(), W::condition(), counters());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        3,
        |me| {
            let guard = W::settle(lock.lock()).unwrap();
            me.about_to_wait();
            let guard = W::settle(condition.wait(guard)).unwrap();
            assert_eq!(inside[0].fetch_add(1, SeqCst), 0, "alone with the lock");
            inside[0].fetch_sub(1, SeqCst);
            drop(guard);
        },
        |peers| {
            peers.until_all_sleep(1);
            let guard = W::settle(lock.lock()).unwrap();
            inside[0].store(7, SeqCst);
            assert_eq!(condition.notify_all(), 3);
            // Asleep again, or still: none of them can have gone on.
            peers.until_all_sleep(1);
            inside[0].store(0, SeqCst);
            drop(guard);
        },
    );
}

/// CPython: ConditionTests.test_timeout.
fn timed_wait_lasts_its_time<W: WithPeers + Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let (lock, condition) = (&*lock, &*condition);
    let span = Duration::from_millis(15);
    W::with_peers(
        5,
        |_| {
            let guard = W::settle(lock.lock()).unwrap();
            let began = Instant::now();
            let (_guard, notified) = W::settle(condition.wait_timeout(guard, span)).unwrap();
            assert!(!notified);
            assert!(began.elapsed() >= span, "{:?}", began.elapsed());
        },
        |_| (),
    );
}

fn waiter_that_timed_out_leaves_the_notification_to_the_next<W: WithPeers + Conditions>() {
    let (lock, condition, came) = (W::lock(), W::condition(), counters());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        2,
        |me| {
            me.until_told(me.index() as u32 + 1);
            let guard = W::settle(lock.lock()).unwrap();
            came[0].fetch_add(1, SeqCst);
            let limit = if me.index() == 0 { Duration::from_millis(20) } else { AN_HOUR };
            let (_guard, notified) = W::settle(condition.wait_timeout(guard, limit)).unwrap();
            assert_eq!(notified, me.index() == 1);
        },
        |peers| {
            for index in 0..2 {
                peers.tell(index + 1);
                // It has the lock before it counts, and lets it go when it is in the queue.
                until("it waits", || {
                    came[0].load(SeqCst) == index + 1 && W::settle(lock.try_lock()).unwrap().is_some()
                });
            }
            peers.until_ended(0);
            assert_eq!(condition.notify(1), 1);
        },
    );
}

/// No notification is lost or invented: as many waits return a notification as notifications report a waiter.
fn every_notification_frees_exactly_one<W: WithPeers + Conditions>() {
    const WAITS: u32 = 150;
    let (lock, condition, count) = (W::lock(), W::condition(), counters());
    let (lock, condition) = (&*lock, &*condition);
    let (freed, met, over) = (&count[0], &count[1], &count[2]);
    W::with_peers(
        3,
        |me| {
            for turn in 0..WAITS {
                let guard = W::settle(lock.lock()).unwrap();
                let limit = Duration::from_micros(u64::from(turn * (me.index() as u32 + 1) % 60));
                let (_guard, notified) = W::settle(condition.wait_timeout(guard, limit)).unwrap();
                freed.fetch_add(notified.into(), SeqCst);
            }
            over.fetch_add(1, SeqCst);
        },
        |_| {
            let mut turn = 0;
            while over.load(SeqCst) < 3 {
                turn += 1;
                // With the lock and without, one and several.
                let _guard = (turn % 2 == 0).then(|| W::settle(lock.lock()).unwrap());
                met.fetch_add(condition.notify(turn % 3 + 1), SeqCst);
            }
        },
    );
    assert_eq!(freed.load(SeqCst), met.load(SeqCst));
}

/// CPython: ConditionTests.test_waitfor, _TestCondition.test_waitfor.
fn waits_until_the_condition_holds<W: WithPeers + Conditions>() {
    let (lock, condition, asked) = (W::lock(), W::condition(), counters());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        2,
        |me| {
            let guard = W::settle(lock.lock()).unwrap();
            let limit = (me.index() == 1).then_some(AN_HOUR);
            let (guard, ended) = W::settle(condition.wait_for(
                guard,
                |value| {
                    asked[0].fetch_add(1, SeqCst);
                    **value == 4
                },
                limit,
            ))
            .unwrap();
            assert_eq!((ended, *guard), (Wait::Ready, 4));
        },
        |_| {
            for value in 1..=4 {
                until("both have looked", || asked[0].load(SeqCst) == 2 * value);
                let mut guard = W::settle(lock.lock()).unwrap();
                *guard = value;
                assert_eq!(condition.notify(2), 2, "who has looked in vain is in the queue once the lock is free");
            }
        },
    );
    assert_eq!(asked[0].load(SeqCst), 10);
}

/// CPython: ConditionTests.test_waitfor_timeout, _TestCondition.test_waitfor_timeout.
fn waits_for_a_condition_in_vain<W: WithPeers + Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let (lock, condition) = (&*lock, &*condition);
    let span = Duration::from_millis(20);
    W::with_peers(
        1,
        |_| {
            let guard = W::settle(lock.lock()).unwrap();
            let began = Instant::now();
            let (_guard, ended) = W::settle(condition.wait_for(guard, |value| **value == 4, span)).unwrap();
            assert_eq!(ended, Wait::TimedOut);
            assert!(began.elapsed() >= span, "the time is for all waits together: {:?}", began.elapsed());
        },
        |_| {
            for _ in 0..3 {
                *W::settle(lock.lock()).unwrap() += 1;
                condition.notify(1);
            }
        },
    );
}

/// A queue of at most two: a lost wake-up would stop it.
fn two_conditions_share_one_lock<W: WithPeers + Conditions>() {
    const ITEMS: u32 = 500;
    let (lock, filled, emptied) = (W::lock(), W::condition(), W::condition());
    let (lock, filled, emptied, taken) = (&*lock, &*filled, &*emptied, counters());
    W::with_peers(
        4,
        |me| {
            for _ in 0..ITEMS {
                let guard = W::settle(lock.lock()).unwrap();
                if me.index() % 2 == 0 {
                    let (mut items, ended) = W::settle(emptied.wait_for(guard, |items| **items < 2, None)).unwrap();
                    assert_eq!(ended, Wait::Ready);
                    *items += 1;
                    filled.notify(1);
                } else {
                    let (mut items, ended) = W::settle(filled.wait_for(guard, |items| **items > 0, None)).unwrap();
                    assert_eq!(ended, Wait::Ready);
                    *items -= 1;
                    taken[0].fetch_add(1, SeqCst);
                    emptied.notify(1);
                }
            }
        },
        |_| (),
    );
    assert_eq!((*W::settle(lock.lock()).unwrap(), taken[0].load(SeqCst)), (0, 2 * ITEMS));
}

/// CPython: ConditionTests.test_acquire.
fn every_level_is_let_go_and_taken_again<W: WithPeers + Conditions>() {
    let (lock, condition) = (W::rlock(), W::condition());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        1,
        |me| {
            let outer = W::settle(lock.lock()).unwrap();
            let middle = W::settle(lock.lock()).unwrap();
            let inner = W::settle(lock.lock()).unwrap();
            me.about_to_wait();
            let inner = condition.wait(inner).unwrap();
            assert_eq!((lock.depth(), inner.load(SeqCst)), (3, 5));
            let (inner, notified) = condition.wait_timeout(inner, Duration::from_millis(1)).unwrap();
            assert_eq!((lock.depth(), notified), (3, false));
            drop((inner, middle));
            assert!(lock.is_mine());
            drop(outer);
            assert!(!lock.is_mine());
        },
        |peers| {
            peers.until_asleep(0, 1);
            let guard = W::settle(lock.try_lock()).unwrap().expect("no level is left");
            guard.store(5, SeqCst);
            condition.notify(1);
        },
    );
    assert!(!lock.is_locked());
}

fn wait_ends_when_it_is_cancelled<W: WithPeers + Conditions>() {
    let (lock, condition, cancel) = (W::lock(), W::condition(), Cancel::new());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        2,
        |me| {
            let guard = W::settle(lock.lock()).unwrap();
            me.about_to_wait();
            if me.index() == 0 {
                assert!(!W::settle(condition.wait_timeout(guard, &cancel)).unwrap().1);
            } else {
                let (_guard, ended) = W::settle(condition.wait_for(guard, |_| false, cancel.within(AN_HOUR))).unwrap();
                assert_eq!(ended, Wait::TimedOut);
            }
        },
        |peers| {
            peers.until_all_sleep(1);
            cancel.cancel();
        },
    );
    assert_eq!(condition.notify(1), 0, "they are out of the queue");
}

fn cancelled_waiter_leaves_the_notification_to_the_next<W: WithPeers + Conditions>() {
    let (lock, condition, cancel) = (W::lock(), W::condition(), Cancel::new());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        2,
        |me| {
            me.until_told(me.index() as u32 + 1);
            let guard = W::settle(lock.lock()).unwrap();
            me.about_to_wait();
            let limit = if me.index() == 0 { cancel.within(None) } else { AN_HOUR.into() };
            assert_eq!(W::settle(condition.wait_timeout(guard, limit)).unwrap().1, me.index() == 1);
        },
        |peers| {
            peers.line_up();
            cancel.cancel();
            peers.until_ended(0);
            assert_eq!(condition.notify(1), 1);
        },
    );
}
