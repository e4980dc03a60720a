//! The storm's use of a semaphore's permits: one unit, which must exist exactly once, whichever participant dies.
//!
//! Between two kills the parent takes the unit bare and releases it, so that the next permit has to move it to a slot
//! again.

use core::hint::spin_loop;
use core::time::Duration;

use ossature::sys::scope::Shared;
use ossature::sys::shm::Shm;
use ossature::sys::sync::semaphore::Semaphore;

use crate::board::{Board, Seat};
use crate::step::Scene;
use crate::{Check, Held, Primitive};

pub struct PermitStorm(Shm<Semaphore<Shared>>);

pub fn make(scene: Option<Scene>) -> Box<dyn Primitive> {
    let semaphore = Shm::place(Semaphore::shared_bounded(1)).expect("memory for the storm");
    if scene.is_some() {
        // Teaches it that looking before sleeping does not pay: that would be most of the instructions.
        semaphore.acquire().expect("it is free");
        let _ = semaphore.acquire_timeout(Duration::from_nanos(1));
        semaphore.release(1).expect("it was taken");
    }
    Box::new(PermitStorm(semaphore))
}

impl Primitive for PermitStorm {
    fn turn(&self, seat: Seat<'_>) {
        seat.waits();
        let permit = self.0.permit().expect("one unit, so one permit");
        if seat.holds() > 1 {
            seat.breaks("two participants hold the only permit");
        }
        for _ in 0..seat.work() {
            spin_loop();
        }
        seat.leaves();
        drop(permit);
    }

    fn check(&self, _: &Board, patience: Duration) -> Check {
        let Some(permit) = self.0.permit_timeout(patience).expect("one unit, so one permit") else {
            return Check::Hangs("the unit of a permit is lost");
        };
        let second = self.0.try_permit().expect("a second acquire is not an error").is_some()
            || self.0.try_acquire() != Ok(false);
        drop(permit);
        if second || self.0.value() != 1 || self.0.release(1).is_ok() {
            return Check::Broken("the semaphore has a unit too many");
        }
        if self.0.acquire_timeout(patience) != Ok(true) || self.0.release(1).is_err() || self.0.release(1).is_ok() {
            return Check::Broken("the bound ignores the permits");
        }
        Check::Whole
    }

    fn hold(&self) -> Box<dyn Held + '_> {
        Box::new(self.0.permit().expect("one unit, so one permit"))
    }
}
