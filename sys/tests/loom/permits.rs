//! The permits of a semaphore: no unit of a permit is ever lost, whichever participant dies.
//!
//! The table has three slots, of which a sleeper watches one.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use ossature_sys::futex::{Cancel, Limit};
use ossature_sys::model::permits::Permits;
use ossature_sys::model::{die, pass_time, sleepers};

use crate::{explore, explore_to};

/// Kills after 0, 1, 2, ... steps, until `model` returns that the participant survived in every execution.
fn at_every_step(switches: usize, model: impl Fn(u32) -> bool + Sync + Send + Copy + 'static) {
    for steps in 0.. {
        let has_died = std::sync::Arc::new(AtomicBool::new(false));
        let noted = has_died.clone();
        explore_to(switches, move || {
            if model(steps) {
                noted.store(true, SeqCst);
            }
        });
        if !has_died.load(SeqCst) {
            assert!(steps > 20, "it does more");
            return;
        }
    }
}

/// Starts a thread that takes a permit and gives it back.
fn user(permits: &Arc<Permits>, id: u32) -> JoinHandle<()> {
    let permits = permits.clone();
    thread::spawn(move || assert!(permits.use_one(id, Limit::NEVER)))
}

/// Starts a participant that uses a permit, and is killed after `steps` steps. Runs `then` at its end. Returns whether
/// it died.
fn doomed_user(permits: &Arc<Permits>, steps: u32, then: fn()) -> JoinHandle<bool> {
    let permits = permits.clone();
    thread::spawn(move || {
        let died = Permits::doomed(steps, || permits.use_one(2, Limit::NEVER)).is_none();
        then();
        died
    })
}

#[test]
fn one_unit_serves_everybody() {
    explore(|| {
        let permits = Arc::new(Permits::new(1));
        let other = user(&permits, 2);
        assert!(permits.use_one(1, Limit::NEVER));
        other.join().unwrap();
        assert_eq!(permits.value(), 1);
    });
}

#[test]
fn release_beside_a_held_permit_serves_a_sleeper() {
    explore(|| {
        let permits = Arc::new(Permits::new(1));
        assert!(permits.keep(1, Limit::NEVER));
        let others = [2, 3].map(|id| user(&permits, id));
        permits.release(1);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(permits.value(), 1);
    });
}

#[test]
fn cancelled_taker_leaves_the_unit_to_another() {
    explore_to(1, || {
        let (permits, cancel) = (Arc::new(Permits::new(1)), Arc::new(Cancel::new()));
        assert!(permits.keep(1, Limit::NEVER));
        let hasty = {
            let (permits, cancel) = (permits.clone(), cancel.clone());
            thread::spawn(move || permits.use_one(2, Limit::from(&*cancel)))
        };
        let patient = user(&permits, 3);
        cancel.cancel();
        permits.release(1);
        hasty.join().unwrap();
        patient.join().unwrap();
        assert_eq!(permits.value(), 1);
    });
}

/// One slot, which the sleeper watches.
#[test]
fn killed_user_of_the_only_unit_leaves_it_to_the_sleeper() {
    at_every_step(2, |steps| {
        let permits = Arc::new(Permits::new(1));
        let doomed_one = doomed_user(&permits, steps, || {});
        assert!(permits.use_one(1, Limit::NEVER));
        let died = doomed_one.join().unwrap();
        assert_eq!(permits.value(), 1, "no unit is lost, and none is there twice");
        died
    });
}

/// The first slot is held. A unit comes, and the doomed participant or the patient one brings it to a second slot,
/// which nobody has watched.
#[test]
fn killed_user_of_a_further_slot_leaves_the_unit_to_a_sleeper_that_did_not_watch_it() {
    at_every_step(1, |steps| {
        let permits = Arc::new(Permits::new(1));
        assert!(permits.keep(1, Limit::NEVER));
        let doomed_one = doomed_user(&permits, steps, pass_time);
        let patient = user(&permits, 3);
        permits.release(1);
        let died = doomed_one.join().unwrap();
        patient.join().unwrap();
        assert_eq!(permits.value(), 1);
        died
    });
}

fn until(so: &AtomicBool) {
    while !so.load(SeqCst) {
        thread::yield_now();
    }
}

fn until_sleep(count: usize) {
    while sleepers() < count {
        thread::yield_now();
    }
}

/// Many sleepers watch the only slot, which is held. A unit comes. Its release and its taker wake two sleepers, and the
/// sleeper that completes the work of a dead taker wakes one more. These give up. The taker brings a second slot into
/// use, and dies. The last sleeper must know of the slot, although no wake was for it alone.
fn last_sleeper_learns_of_a_further_slot(sleepers: usize, steps: u32) -> bool {
    let (permits, cancel) = (Arc::new(Permits::new(1)), Arc::new(Cancel::new()));
    assert!(permits.keep(1, Limit::NEVER));
    let hasty: Vec<_> = (1..sleepers)
        .map(|number| {
            let (permits, cancel) = (permits.clone(), cancel.clone());
            let hasty = thread::spawn(move || permits.use_one(1 + number as u32, Limit::from(&*cancel)));
            until_sleep(number);
            hasty
        })
        .collect();
    let patient = user(&permits, 8);
    until_sleep(sleepers);
    permits.release(1);
    let died = Permits::doomed(steps, || permits.keep(9, Limit::NEVER)).is_none();
    cancel.cancel();
    for hasty in hasty {
        hasty.join().unwrap();
    }
    if !died {
        assert!(Permits::doomed(0, die).is_none());
    }
    pass_time();
    patient.join().unwrap();
    assert_eq!(permits.value(), 1);
    died
}

#[test]
fn sleeper_learns_of_a_further_slot_from_the_taker_that_uses_it() {
    at_every_step(0, |steps| last_sleeper_learns_of_a_further_slot(3, steps));
}

#[test]
fn sleeper_learns_of_a_further_slot_beside_a_mender() {
    at_every_step(0, |steps| last_sleeper_learns_of_a_further_slot(4, steps));
}

/// Two sleepers watch the only slot, which is held. The participant that brings a second slot into use dies. One
/// sleeper does its work, gets the unit, and dies with it.
#[test]
fn killed_taker_and_killed_mender_leave_the_unit_to_a_sleeper() {
    at_every_step(1, |steps| {
        let permits = Arc::new(Permits::new(1));
        assert!(permits.keep(1, Limit::NEVER));
        let dies_with_it = {
            let permits = permits.clone();
            thread::spawn(move || {
                let take_and_die = || {
                    permits.keep(2, Limit::NEVER);
                    die();
                };
                assert!(Permits::doomed(u32::MAX, take_and_die).is_none());
                pass_time();
            })
        };
        let patient = user(&permits, 3);
        until_sleep(2);
        permits.release(1);
        let died = Permits::doomed(steps, || permits.use_one(4, Limit::NEVER)).is_none();
        pass_time();
        dies_with_it.join().unwrap();
        patient.join().unwrap();
        assert_eq!(permits.value(), 1);
        died
    });
}

/// Four sleepers watch the only slot, which is held. A participant has brought a second slot into use, and dies before
/// it says so. The first sleeper completes its work, and gets the unit. Two others give up, which the dead participant
/// and the first sleeper have woken. Then the first sleeper dies with the unit. The last sleeper must know of the slot
/// from it.
#[test]
fn sleeper_learns_of_a_further_slot_from_the_mender() {
    at_every_step(0, |steps| {
        let (permits, cancel) = (Arc::new(Permits::new(1)), Arc::new(Cancel::new()));
        let [has_it, may_die] = [(); 2].map(|()| std::sync::Arc::new(AtomicBool::new(false)));
        assert!(permits.keep(1, Limit::NEVER));
        let mender = {
            let (permits, has_it, may_die) = (permits.clone(), has_it.clone(), may_die.clone());
            thread::spawn(move || {
                let take_and_die = || {
                    assert!(permits.keep(2, Limit::NEVER));
                    has_it.store(true, SeqCst);
                    until(&may_die);
                    die();
                };
                assert!(Permits::doomed(u32::MAX, take_and_die).is_none());
                pass_time();
            })
        };
        until_sleep(1);
        let hasty = [3, 4].map(|id| {
            let (permits, cancel) = (permits.clone(), cancel.clone());
            let hasty = thread::spawn(move || permits.use_one(id, Limit::from(&*cancel)));
            until_sleep(id as usize - 1);
            hasty
        });
        let patient = user(&permits, 5);
        until_sleep(4);
        permits.release(1);
        let died = Permits::doomed(steps, || permits.keep(9, Limit::NEVER)).is_none();
        if !died {
            permits.release(1);
        }
        until(&has_it);
        cancel.cancel();
        for hasty in hasty {
            hasty.join().unwrap();
        }
        may_die.store(true, SeqCst);
        mender.join().unwrap();
        pass_time();
        patient.join().unwrap();
        assert_eq!(permits.value(), 1);
        died
    });
}

/// Two slots are in use, and the sleeper watches one of them.
#[test]
fn killed_holder_among_more_than_a_sleeper_watches_is_seen_in_time() {
    at_every_step(2, |steps| {
        let permits = Arc::new(Permits::new(2));
        assert!(permits.keep(1, Limit::NEVER));
        let doomed_one = doomed_user(&permits, steps, pass_time);
        assert!(permits.use_one(3, Limit::NEVER));
        let died = doomed_one.join().unwrap();
        assert_eq!(permits.value(), 1);
        died
    });
}

#[test]
fn killed_bare_taker_has_the_unit_of_a_slot_or_leaves_it() {
    at_every_step(1, |steps| {
        let permits = Arc::new(Permits::new(1));
        assert!(permits.use_one(1, Limit::NEVER), "which leaves the unit in a slot");
        let patient = user(&permits, 3);
        let outcome = Permits::doomed(steps, || permits.take_bare(2, Limit::NEVER));
        pass_time();
        // One more does no harm, if the killed participant has left its unit.
        permits.release(1);
        patient.join().unwrap();
        assert!(matches!((outcome, permits.value()), (Some(true), 1) | (None, 1 | 2)));
        outcome.is_none()
    });
}

#[test]
fn killed_forgetful_holder_has_lost_its_unit_or_leaves_it() {
    at_every_step(1, |steps| {
        let permits = Arc::new(Permits::new(1));
        let patient = user(&permits, 3);
        let outcome = Permits::doomed(steps, || permits.forget_one(2));
        pass_time();
        permits.release(1);
        patient.join().unwrap();
        assert!(matches!((outcome, permits.value()), (Some(()), 1) | (None, 1 | 2)));
        outcome.is_none()
    });
}
