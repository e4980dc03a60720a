//! The storm's use of a semaphore's permits: no unit is ever lost or doubled, whichever participant dies.
//!
//! With a few participants there is one unit. Between two kills the parent takes the unit bare and releases it, so that
//! the next permit has to move it to a slot again.
//!
//! With many, the semaphore has room for a thousand permits. Each participant has one permit for as long as it lives.
//! For a second permit, which it takes in each turn, there is only one unit for sixteen participants. So the sleepers
//! are beside more slots than one of them can watch. Between two kills all units are counted: those of the living, and
//! those that the parent can take, as permits and bare.

use core::hint::spin_loop;
use core::time::Duration;

use ossature::sys::scope::Shared;
use ossature::sys::shm::Shm;
use ossature::sys::sync::semaphore::Semaphore;

use crate::board::{Board, Seat, USUAL};
use crate::step::Scene;
use crate::{Check, Held, Primitive};

/// The number of permits that the semaphore of many participants has room for.
const ROOM: usize = 1_000;

pub struct PermitStorm<const N: usize> {
    semaphore: Shm<Semaphore<Shared, N>>,
    /// The number of participants that have a permit as long as they live.
    crowd: u32,
    /// The number of other units.
    others: u32,
}

pub fn make(scene: Option<Scene>, participants: usize) -> Box<dyn Primitive> {
    if participants > USUAL && scene.is_none() {
        let crowd = participants as u32;
        return Box::new(PermitStorm::<ROOM>::place(crowd, crowd.div_ceil(16)));
    }
    let storm = PermitStorm::<USUAL>::place(0, 1);
    if scene.is_some() {
        // After this a waiter sleeps without looks before. Looks would be most of the instructions.
        storm.semaphore.acquire().expect("it is free");
        let _ = storm.semaphore.acquire_timeout(Duration::from_nanos(1));
        storm.semaphore.release(1).expect("it was taken");
    }
    Box::new(storm)
}

impl<const N: usize> PermitStorm<N> {
    fn place(crowd: u32, others: u32) -> Self {
        let units = crowd + others;
        let semaphore = Shm::place(Semaphore::shared_with_capacity(units, units)).expect("memory for the storm");
        Self { semaphore, crowd, others }
    }
}

impl<const N: usize> Primitive for PermitStorm<N> {
    fn join(&self, _: Seat<'_>) {
        if self.crowd != 0 {
            // For as long as the process lives.
            core::mem::forget(self.semaphore.permit().expect("a slot is free"));
        }
    }

    fn turn(&self, seat: Seat<'_>) {
        seat.waits();
        let permit = self.semaphore.permit().expect("a slot is free");
        if seat.holds() > 1 && self.others == 1 {
            seat.breaks("two participants hold the only permit");
        }
        for _ in 0..seat.work() {
            spin_loop();
        }
        seat.leaves();
        drop(permit);
    }

    fn check(&self, board: &Board, patience: Duration) -> Check {
        let kept = if self.crowd == 0 { 0 } else { board.living().count() as u32 };
        let free = self.crowd + self.others - kept;
        let mut permits = Vec::new();
        while permits.len() < free as usize {
            let Some(permit) = self.semaphore.permit_timeout(patience).expect("a slot is free") else {
                return Check::Hangs("the unit of a permit is lost");
            };
            permits.push(permit);
        }
        let one_more = self.semaphore.try_permit().expect("one more acquire is not an error").is_some()
            || self.semaphore.try_acquire() != Ok(false);
        drop(permits);
        if one_more || self.semaphore.value() != free || self.semaphore.release(1).is_ok() {
            return Check::Broken("the semaphore has a unit too many");
        }
        if (0..free).any(|_| self.semaphore.acquire_timeout(patience) != Ok(true))
            || self.semaphore.release(free).is_err()
            || self.semaphore.release(1).is_ok()
        {
            return Check::Broken("the bound ignores the permits");
        }
        Check::Whole
    }

    fn hold(&self) -> Box<dyn Held + '_> {
        Box::new(self.semaphore.permit().expect("a slot is free"))
    }
}
