//! The condition among threads: a notification goes to one who waits, and to one only.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use ossature_sys::futex::{Cancel, Limit};
use ossature_sys::model::{Private, Waiters};

use crate::explore;

struct Stage {
    lock: Private,
    waiters: Waiters,
    items: UnsafeCell<u32>,
}

// SAFETY: the items are touched under the lock only, which loom itself checks.
unsafe impl Sync for Stage {}
// SAFETY: as for Sync.
unsafe impl Send for Stage {}

impl Stage {
    fn new() -> Arc<Self> {
        Arc::new(Self { lock: Private::new(), waiters: Waiters::new(), items: UnsafeCell::new(0) })
    }

    fn with<R>(&self, run: impl FnOnce(&mut u32) -> R) -> R {
        // SAFETY: the caller holds the lock; loom fails the model if another thread is here too.
        self.items.with_mut(|items| run(unsafe { &mut *items }))
    }
}

#[test]
fn every_item_finds_its_taker() {
    explore(|| {
        let stage = Stage::new();
        let takers = [(); 2].map(|()| {
            let stage = stage.clone();
            thread::spawn(move || {
                stage.lock.take();
                while stage.with(|items| *items == 0) {
                    assert!(stage.waiters.wait(&stage.lock, Limit::NEVER), "never without a notification");
                }
                stage.with(|items| *items -= 1);
                stage.lock.release();
            })
        });
        for _ in 0..2 {
            stage.lock.take();
            stage.with(|items| *items += 1);
            stage.waiters.notify(1);
            stage.lock.release();
        }
        for taker in takers {
            taker.join().unwrap();
        }
        assert_eq!(stage.waiters.notify(1), 0);
    });
}

#[test]
fn notification_without_the_lock_is_not_lost() {
    explore(|| {
        let stage = Stage::new();
        let taker = {
            let stage = stage.clone();
            thread::spawn(move || {
                stage.lock.take();
                while stage.with(|items| *items == 0) {
                    stage.waiters.wait(&stage.lock, Limit::NEVER);
                }
                stage.lock.release();
            })
        };
        stage.lock.take();
        stage.with(|items| *items += 1);
        stage.lock.release();
        stage.waiters.notify(1);
        taker.join().unwrap();
    });
}

#[test]
fn waiter_whose_time_runs_out_leaves_the_notification_to_the_next() {
    explore(|| {
        let (stage, cancel) = (Stage::new(), Arc::new(Cancel::new()));
        let hasty = {
            let (stage, cancel) = (stage.clone(), cancel.clone());
            thread::spawn(move || {
                stage.lock.take();
                let notified = stage.waiters.wait(&stage.lock, Limit::from(&*cancel));
                stage.lock.release();
                u32::from(notified)
            })
        };
        let patient = {
            let stage = stage.clone();
            thread::spawn(move || {
                stage.lock.take();
                while stage.with(|items| *items == 0) {
                    stage.waiters.wait(&stage.lock, Limit::NEVER);
                }
                stage.lock.release();
            })
        };
        cancel.cancel();
        stage.lock.take();
        stage.with(|items| *items += 1);
        // One for each who is there: none is told to one that has left.
        let met = stage.waiters.notify(2);
        stage.lock.release();
        let notified = hasty.join().unwrap();
        patient.join().unwrap();
        assert!(notified <= met, "{notified} of {met}");
        assert_eq!(stage.waiters.notify(2), 0);
    });
}

#[test]
fn one_notification_frees_one() {
    explore(|| {
        let (stage, cancel) = (Stage::new(), Arc::new(Cancel::new()));
        let waiters = [(); 2].map(|()| {
            let (stage, cancel) = (stage.clone(), cancel.clone());
            thread::spawn(move || {
                stage.lock.take();
                let notified = stage.waiters.wait(&stage.lock, Limit::from(&*cancel));
                stage.lock.release();
                u32::from(notified)
            })
        });
        let met = stage.waiters.notify(1);
        cancel.cancel();
        let freed: u32 = waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum();
        assert_eq!(freed, met);
    });
}
