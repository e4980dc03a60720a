//! The units of a semaphore: none is lost and none is duplicated, whichever participant dies.

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use ossature_sys::futex::{Cancel, Limit};
use ossature_sys::model::{KillableUnits, doomed, stopped};

use crate::explore;

/// More steps than any participant makes here, so that the last of them does not die.
const STEPS: u32 = 8;

fn taker(units: &Arc<KillableUnits>) -> JoinHandle<()> {
    let units = units.clone();
    thread::spawn(move || assert!(units.take(Limit::NEVER)))
}

#[test]
fn one_release_of_two_serves_two() {
    explore(|| {
        let units = Arc::new(KillableUnits::new(0));
        let takers = [(); 2].map(|()| taker(&units));
        units.give(2);
        for taker in takers {
            taker.join().unwrap();
        }
        assert_eq!(units.value(), 0);
    });
}

#[test]
fn two_releases_serve_two() {
    explore(|| {
        let units = Arc::new(KillableUnits::new(0));
        let takers = [(); 2].map(|()| taker(&units));
        units.give(1);
        units.give(1);
        for taker in takers {
            taker.join().unwrap();
        }
        assert_eq!(units.value(), 0);
    });
}

#[test]
fn unit_that_goes_round_serves_everybody() {
    explore(|| {
        let units = Arc::new(KillableUnits::new(1));
        let others = [(); 2].map(|()| {
            let units = units.clone();
            thread::spawn(move || {
                assert!(units.take(Limit::NEVER));
                units.give(1);
            })
        });
        assert!(units.take(Limit::NEVER));
        units.give(1);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(units.value(), 1);
    });
}

#[test]
fn cancelled_taker_leaves_the_unit_to_another() {
    explore(|| {
        let (units, cancel) = (Arc::new(KillableUnits::new(0)), Arc::new(Cancel::new()));
        let hasty = {
            let (units, cancel) = (units.clone(), cancel.clone());
            thread::spawn(move || {
                if units.take(Limit::from(&*cancel)) {
                    units.give(1);
                }
            })
        };
        let patient = taker(&units);
        cancel.cancel();
        units.give(1);
        hasty.join().unwrap();
        patient.join().unwrap();
        assert_eq!(units.value(), 0);
    });
}

#[test]
fn killed_release_is_done_or_not_begun() {
    for steps in 0..STEPS {
        explore(move || {
            let units = Arc::new(KillableUnits::new(0));
            let takers = [(); 2].map(|()| taker(&units));
            // One more than is needed, so that what is left says whether the killed one gave.
            let survived = doomed(steps, || units.give(2)).is_some();
            units.give(2);
            for taker in takers {
                taker.join().unwrap();
            }
            assert!(matches!((units.value(), survived), (2, _) | (0, false)));
        });
    }
}

#[test]
fn what_a_killed_release_gave_is_had_by_those_who_sleep() {
    for steps in 0..STEPS {
        explore(move || {
            let units = Arc::new(KillableUnits::new(0));
            let taker = taker(&units);
            let survived = doomed(steps, || units.give(2)).is_some();
            if !survived && units.value() == 0 {
                // Not begun, or one of two is taken: one more does no harm.
                units.give(2);
            }
            taker.join().unwrap();
            assert!(units.value() >= 1);
        });
    }
}

/// The releaser is stopped before its wake, and then the taker's time is over.
#[test]
fn unit_of_a_stopped_releaser_is_taken_in_the_last_look() {
    for steps in 0..STEPS {
        explore(move || {
            let (units, cancel) = (Arc::new(KillableUnits::new(0)), Arc::new(Cancel::new()));
            let taker = {
                let (units, cancel) = (units.clone(), cancel.clone());
                thread::spawn(move || units.take(Limit::from(&*cancel)))
            };
            let _ = stopped(steps, || units.give(1));
            let value = units.value();
            cancel.cancel();
            assert!(taker.join().unwrap() || value == 0);
        });
    }
}

#[test]
fn killed_taker_leaves_the_wake_to_another() {
    for steps in 0..STEPS {
        explore(move || {
            let units = Arc::new(KillableUnits::new(0));
            let doomed_one = {
                let units = units.clone();
                // Who took a unit has it, dead or alive: it is given back for it below.
                thread::spawn(move || doomed(steps, || units.take(Limit::NEVER)))
            };
            let patient = taker(&units);
            units.give(2);
            let outcome = doomed_one.join().unwrap();
            patient.join().unwrap();
            assert!(matches!((outcome, units.value()), (Some(true), 0) | (None, 0 | 1)));
        });
    }
}
