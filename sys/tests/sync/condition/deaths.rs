//! The condition when a participant dies, is stopped or gives up.

use std::sync::atomic::Ordering::SeqCst;

use ossature_sys::scope::Refused;
use ossature_sys::sync::condition::Wait;

use super::Conditions;
use crate::ledger::{counters, until};
use crate::world::Killable;

stamp! { "condition":
    in shared: lock_given_up_meanwhile_ends_the_wait, abandoned_data_is_not_looked_at;
    in processes: killed_waiters_are_passed_over, notifier_does_not_wait_for_a_stopped_waiter,
        killed_holder_does_not_notify;
}

fn lock_given_up_meanwhile_ends_the_wait<W: Killable + Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        1,
        |me| {
            let guard = lock.lock().unwrap();
            me.about_to_wait();
            assert_eq!(condition.wait(guard).err(), Some(Refused::Unrecoverable));
        },
        |peers| {
            peers.until_asleep(0, 1);
            let guard = lock.lock().unwrap();
            condition.notify(1);
            guard.mark_unrecoverable();
        },
    );
}

fn abandoned_data_is_not_looked_at<W: Killable + Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        1,
        |me| {
            let guard = lock.lock().unwrap();
            me.about_to_wait();
            let (mut guard, ended) = condition
                .wait_for(
                    guard,
                    |value| {
                        assert!(!value.abandoned());
                        false
                    },
                    None,
                )
                .unwrap();
            assert_eq!(ended, Wait::Abandoned);
            guard.mark_consistent();
            let (_guard, ended) = condition.wait_for(guard, |_| true, None).unwrap();
            assert_eq!(ended, Wait::Ready);
        },
        |peers| {
            peers.until_asleep(0, 1);
            let guard = lock.lock().unwrap();
            condition.notify(1);
            guard.abandon();
        },
    );
}

fn killed_waiters_are_passed_over<W: Killable + Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        5,
        |me| {
            me.until_told(me.index() as u32 + 1);
            let guard = lock.lock().unwrap();
            me.about_to_wait();
            let guard = condition.wait(guard).unwrap();
            assert!(!guard.abandoned(), "who waits does not hold the lock");
        },
        |peers| {
            peers.line_up();
            peers.kill(0);
            peers.kill(2);
            for (dead, next) in [(0, 1), (2, 3)] {
                assert_eq!(condition.notify(1), 1, "{dead} is passed over");
                peers.until_ended(next);
            }
            peers.until_asleep(4, 1);
            assert_eq!(condition.notify_all(), 1);
        },
    );
}

fn notifier_does_not_wait_for_a_stopped_waiter<W: Killable + Conditions>() {
    let (lock, condition) = (W::lock(), W::condition());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        3,
        |me| {
            me.until_told(me.index() as u32 + 1);
            let guard = lock.lock().unwrap();
            me.about_to_wait();
            drop(condition.wait(guard).unwrap());
        },
        |peers| {
            peers.line_up();
            peers.stop(0);
            assert_eq!(condition.notify(2), 2);
            peers.until_ended(1);
            assert_eq!(condition.notify(1), 1);
            peers.until_ended(2);
            peers.go_on(0);
        },
    );
}

fn killed_holder_does_not_notify<W: Killable + Conditions>() {
    let (lock, condition, held) = (W::lock(), W::condition(), counters());
    let (lock, condition) = (&*lock, &*condition);
    W::with_peers(
        2,
        |me| {
            if me.index() == 1 {
                me.until_told(1);
                let _guard = lock.lock().unwrap();
                held[0].store(1, SeqCst);
                loop {
                    std::thread::park();
                }
            }
            let guard = lock.lock().unwrap();
            me.about_to_wait();
            let guard = condition.wait(guard).unwrap();
            assert!(guard.abandoned());
        },
        |peers| {
            peers.until_asleep(0, 1);
            peers.tell(1);
            until("the doomed one holds the lock", || held[0].load(SeqCst) == 1);
            peers.kill(1);
            peers.until_asleep(0, 1);
            assert_eq!(condition.notify(1), 1);
        },
    );
}
