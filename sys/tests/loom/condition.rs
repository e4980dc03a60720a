//! The condition among threads: a notification reaches one waiter, and only one.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering::SeqCst};
use loom::thread;
use ossature_sys::futex::{Cancel, Limit};
use ossature_sys::model::condition as model;
use ossature_sys::model::{Private, Waiters, word_by_word};

use crate::{explore, explore_to};

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

/// More steps than a waiter makes, so that the waiter of the last model does not die.
const STEPS: u32 = 64;

/// A queue, and the threads that use it. The model waits for all of them at its end.
struct Crowd<const N: usize = 4> {
    queue: Arc<model::Waiters<N>>,
    /// The handles. No thread of the model stops with this lock held.
    threads: std::sync::Arc<std::sync::Mutex<Vec<thread::JoinHandle<()>>>>,
}

impl<const N: usize> Clone for Crowd<N> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), threads: self.threads.clone() }
    }
}

impl<const N: usize> Crowd<N> {
    fn new() -> Self {
        Self { queue: Arc::new(model::Waiters::new()), threads: std::sync::Arc::default() }
    }

    fn spawn(&self, body: impl FnOnce(&Self) + 'static) {
        let here = self.clone();
        let started = thread::spawn(move || body(&here));
        self.threads.lock().unwrap().push(started);
    }

    /// Starts a thread that waits, and that calls `entered` once it is in the queue.
    fn waits(&self, id: u32, entered: impl FnOnce(&Self) + 'static) {
        self.spawn(move |here| assert!(here.queue.wait(id, Limit::NEVER, || entered(here))));
    }

    /// The first waiter of the queue dies after `steps` steps. `behind` runs when that waiter is in the queue, or has
    /// died before. If that waiter had its lock again, one more waiter is notified, as a program would do.
    fn begins_with_doomed(self, steps: u32, behind: impl FnOnce(&Self)) {
        let (mut behind, mut locked) = (Some(behind), false);
        let entered = || behind.take().unwrap()(&self);
        let survived = self.queue.doomed(steps, 1, entered, || locked = true);
        assert!(survived.is_some() || steps < STEPS - 1, "the last one has no step left to die at");
        if let Some(behind) = behind.take() {
            behind(&self);
        }
        if locked {
            self.queue.notify(1);
        }
        self.ends();
    }

    fn ends(self) {
        let next = || self.threads.lock().unwrap().pop();
        while let Some(thread) = next() {
            thread.join().unwrap();
        }
    }
}

/// The second waiter gets the notification, wherever the first dies.
#[test]
fn notification_of_a_killed_waiter_goes_to_the_next() {
    for steps in 0..STEPS {
        explore(move || {
            Crowd::<4>::new().begins_with_doomed(steps, |here| {
                here.waits(2, |here| here.spawn(|here| assert!(here.queue.notify(1) < 2)));
            });
        });
    }
}

/// The third waiter gets the notification, although the second may have left before the first died.
#[test]
fn notification_of_one_that_dies_behind_another_goes_to_the_third() {
    for steps in 0..STEPS {
        explore_to(1, move || {
            Crowd::<4>::new().begins_with_doomed(steps, |here| {
                here.waits(2, |here| here.waits(3, |here| here.spawn(|here| assert!(here.queue.notify(2) < 3))));
            });
        });
    }
}

/// The third waiter gets the notification, after the time of the second has run out.
#[test]
fn notification_of_a_killed_waiter_passes_one_whose_time_is_over() {
    for steps in 0..STEPS {
        explore_to(1, move || {
            Crowd::<4>::new().begins_with_doomed(steps, |here| {
                here.spawn(|here| {
                    let cancel = Arc::new(Cancel::new());
                    let cancels = cancel.clone();
                    let third = move |here: &Crowd| {
                        here.waits(3, |here| {
                            here.spawn(move |here| {
                                here.queue.notify(1);
                                cancels.cancel();
                            });
                        });
                    };
                    if here.queue.wait(2, Limit::from(&*cancel), || third(here)) {
                        here.queue.notify(1);
                    }
                });
            });
        });
    }
}

/// A full queue has a notification in the place of a dead waiter. Wherever the thread that takes the place over dies,
/// the next one gets the notification.
#[test]
fn notification_in_a_full_queue_survives_the_thread_that_takes_it_over() {
    for steps in 0..STEPS {
        explore(move || {
            let queue = model::Waiters::<1>::new();
            queue.dies_notified(1, || assert_eq!(queue.notify(1), 1));
            let mut locked = false;
            let survived = queue.doomed(steps, 2, || (), || locked = true);
            assert!(survived == Some(true) || survived.is_none() && steps < STEPS - 1);
            assert!(locked || queue.wait(3, Limit::NEVER, || ()));
        });
    }
}

/// Each of two dead waiters leaves a notification, and each of two later waiters gets one.
#[test]
fn two_notifications_in_a_full_queue_go_to_two() {
    explore(|| {
        let here = Crowd::<2>::new();
        let second = |here: &Crowd<2>| here.queue.dies_notified(2, || assert_eq!(here.queue.notify(2), 2));
        here.queue.dies_notified(1, || here.spawn(second));
        here.clone().ends();
        assert!(here.queue.wait(3, Limit::NEVER, || ()));
        assert!(here.queue.wait(4, Limit::NEVER, || ()));
    });
}

/// The waiter that sees the death has a notification already. The notification of the dead stays for the next one.
#[test]
fn notification_without_a_waiter_stays_for_the_next() {
    explore(|| {
        let here = Crowd::<4>::new();
        here.queue.dies_notified(1, || here.waits(2, |here| assert_eq!(here.queue.notify(2), 2)));
        here.clone().ends();
        assert!(here.queue.wait(3, Limit::NEVER, || ()));
    });
}

/// The waiters that a killed notifier has chosen are woken, and the next notifier wakes the others.
#[test]
fn killed_notifier_leaves_nobody_asleep() {
    for steps in 0..16 {
        explore(move || {
            let here = Crowd::<4>::new();
            let notifies = move |here: &Crowd| {
                let survived = here.queue.doomed_notify(steps, 2);
                assert!(survived == Some(2) || survived.is_none() && steps < 15);
                here.queue.notify(2);
            };
            here.waits(1, move |here| here.waits(2, move |here| here.spawn(notifies)));
            here.ends();
        });
    }
}

/// The same for a notifier of all: of two waiters, of which the second sleeps at the bell.
#[test]
fn killed_notifier_of_all_leaves_nobody_asleep() {
    for steps in 0..20 {
        explore(move || {
            let here = Crowd::<4>::new();
            let notifies = move |here: &Crowd| {
                let survived = here.queue.doomed_notify(steps, u32::MAX);
                assert!(survived == Some(2) || survived.is_none() && steps < 19);
                here.queue.notify(2);
            };
            here.waits(1, move |here| here.waits(2, move |here| here.spawn(notifies)));
            here.ends();
        });
    }
}

/// A sleeper that the notifier's death wakes is about to sleep. The kernel compares its words one by one.
#[test]
fn killed_notifier_of_all_leaves_nobody_on_the_way_to_sleep() {
    for steps in 0..20 {
        explore_to(1, move || {
            let here = Crowd::<4>::new();
            let notifies = move |here: &Crowd| {
                here.queue.doomed_notify(steps, u32::MAX);
                here.queue.notify(2);
            };
            let second = move |here: &Crowd| {
                let entered = || here.spawn(notifies);
                word_by_word(|| assert!(here.queue.wait(2, Limit::NEVER, entered)));
            };
            here.waits(1, move |here| here.spawn(second));
            here.ends();
        });
    }
}

/// Three waiters, two of which sleep at the bell. The one that the notifier's death wakes wakes the other.
#[test]
fn killed_notifier_of_all_leaves_none_of_three_asleep() {
    for steps in 0..24 {
        explore_to(1, move || {
            let here = Crowd::<4>::new();
            let notifies = move |here: &Crowd| {
                let survived = here.queue.doomed_notify(steps, u32::MAX);
                assert!(survived == Some(3) || survived.is_none() && steps < 23);
                here.queue.notify(3);
            };
            let third = move |here: &Crowd| here.waits(3, move |here| here.spawn(notifies));
            here.waits(1, move |here| here.waits(2, third));
            here.ends();
        });
    }
}

/// Two waiters are notified, and then the third begins to wait. It watches both, so it gets the notification of the
/// first, although the second does not nudge it.
#[test]
fn sleeper_behind_two_notified_waiters_sees_the_death_of_the_first() {
    explore(|| {
        let here = Crowd::<4>::new();
        let third = |here: &Crowd| {
            // Without the second one, if this one has got the notification of the first already.
            if here.queue.notify_all() == 2 {
                assert!(here.queue.wait(3, Limit::NEVER, || ()));
            }
        };
        here.queue.dies_notified(1, || here.waits(2, move |here| here.spawn(third)));
        here.ends();
    });
}

/// A waiter sleeps although a process has overwritten the bell, and does not look all the time.
#[test]
fn overwritten_bell_keeps_nobody_awake() {
    explore(|| {
        let here =
            Crowd::<4> { queue: Arc::new(model::Waiters::with_another_bell()), threads: std::sync::Arc::default() };
        here.waits(1, |here| here.waits(2, |here| here.spawn(|here| assert_eq!(here.queue.notify_all(), 2))));
        here.ends();
    });
}

/// Two waiters of a queue whose notifiers leave a list. `notifies` runs when both are in the queue. Its second argument
/// becomes true once the second waiter is notified.
fn two_with_a_list(notifies: impl FnOnce(&Crowd<3>, &AtomicBool) + 'static) {
    let here = Crowd::<3>::new();
    here.waits(1, |here| {
        here.spawn(|here| {
            let is_notified = Arc::new(AtomicBool::new(false));
            let told = is_notified.clone();
            let entered = || here.spawn(move |here| notifies(here, &told));
            assert!(here.queue.wait(2, Limit::NEVER, entered));
            is_notified.store(true, SeqCst);
        });
    });
    here.ends();
}

/// Wherever a notifier dies, its list keeps the order: the first waiter is notified before the second.
#[test]
fn list_of_a_killed_notifier_loses_no_waiter() {
    for steps in 0..24 {
        explore_to(1, move || {
            two_with_a_list(move |here, is_second_notified| {
                let survived = here.queue.doomed_notify(steps, 1);
                assert!(survived == Some(1) || survived.is_none() && steps < 23);
                assert!(!is_second_notified.load(SeqCst));
                assert_eq!(here.queue.notify(1), 1);
                let rest = here.queue.notify(1);
                assert!(rest == 0 || survived.is_none());
            });
        });
    }
}

#[test]
fn two_notifiers_with_a_list_notify_two() {
    explore_to(1, || {
        two_with_a_list(|here, _| {
            here.spawn(|here| assert_eq!(here.queue.notify(1), 1));
            assert_eq!(here.queue.notify(1), 1);
        });
    });
}
