//! The storm's use of [`Barrier`]: no participant passes while another is missing, and every waiter is released when
//! one dies.
//!
//! All participants have joined, so any death breaks the barrier, and the waiters return an error without a deadline.
//! Then the parent resets the barrier and checks that it cannot pass alone. The next round has a full set of parties.

use core::array::from_fn;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::thread;

use ossature::sys::scope::Shared;
use ossature::sys::shareable;
use ossature::sys::shm::{Shm, array};
use ossature::sys::sync::barrier::{Barrier, Broken};

use crate::board::{Board, PARTICIPANTS, Seat};
use crate::step::Scene;
use crate::{Check, Held, Primitive};

shareable! {
    struct Stage {
        barrier: Barrier<Shared>,
        /// The number of arrivals of each participant since the barrier was last made whole.
        arrivals: [AtomicU32; PARTICIPANTS],
        /// The numbers that this cycle has handed out, and those of the cycle before or after it, as bits.
        numbers: [AtomicU32; 2],
    }
}

pub struct BarrierStorm(Shm<Stage>);

pub fn make(scene: Option<Scene>) -> Box<dyn Primitive> {
    let parties = if matches!(scene, None | Some(Scene::Inherit)) { PARTICIPANTS } else { 3 };
    let zeros = array(|_| AtomicU32::new(0));
    let stage = Stage::init(Barrier::shared(parties as u32), zeros, array(|_| AtomicU32::new(0)));
    Box::new(BarrierStorm(Shm::place(stage).expect("memory for the storm")))
}

impl BarrierStorm {
    fn passed(&self, seat: Seat<'_>, arrival: u32, number: u32) {
        let parties = self.0.barrier.parties() as usize;
        let counts: [u32; PARTICIPANTS] = from_fn(|index| self.0.arrivals[index].load(SeqCst));
        if counts[..parties].iter().any(|&count| count < arrival) {
            seat.breaks("a participant passed although another was missing");
        }
        let bit = 1 << number;
        let [this, other] = [0, 1].map(|cycle| &self.0.numbers[(arrival + cycle) as usize % 2]);
        if number >= parties as u32 || this.fetch_or(bit, SeqCst) & bit != 0 {
            seat.breaks("two participants have the same number");
        }
        if number == 0 {
            // All have left the cycle before, and none can leave the next one without this party.
            other.store(0, SeqCst);
        }
    }
}

impl Primitive for BarrierStorm {
    fn join(&self, seat: Seat<'_>) {
        // For as long as the process lives.
        core::mem::forget(self.0.barrier.join().expect("a slot is free"));
        seat.leaves();
    }

    fn turn(&self, seat: Seat<'_>) {
        let arrival = self.0.arrivals[seat.index].fetch_add(1, SeqCst) + 1;
        if seat.leads() {
            seat.holds();
        } else {
            seat.waits();
        }
        match self.0.barrier.wait() {
            Ok(number) => self.passed(seat, arrival, number),
            Err(Broken::Died | Broken::Aborted) if seat.sees_doom() => thread::yield_now(),
            Err(_) => seat.breaks("the barrier is broken without a death"),
        }
        seat.leaves();
    }

    fn is_inside(&self, dead: Seat<'_>) -> bool {
        dead.is_holding() || dead.is_waiting()
    }

    fn can_spare(&self, _: Seat<'_>) -> bool {
        false
    }

    fn relieve(&self, board: &Board) -> Result<(), &'static str> {
        // One that died before it had joined is missed by nobody.
        if board.seats().any(|seat| seat.is_doomed() && seat.is_new()) && !self.0.barrier.is_broken() {
            self.0.barrier.abort();
        }
        Ok(())
    }

    fn check(&self, _: &Board, _: Duration) -> Check {
        let barrier = &self.0.barrier;
        if !barrier.is_broken() {
            return Check::Broken("a death did not break the barrier");
        }
        let whole = |_| !barrier.is_broken() && barrier.waiting() == 0;
        if !barrier.reset().is_ok_and(whole) {
            return Check::Broken("the barrier cannot be made whole");
        }
        if barrier.wait_timeout(Duration::from_micros(10)) != Err(Broken::TimedOut) {
            return Check::Broken("one participant passed alone");
        }
        if !barrier.reset().is_ok_and(whole) {
            return Check::Broken("the barrier cannot be made whole again");
        }
        self.0.arrivals.iter().chain(&self.0.numbers).for_each(|count| count.store(0, SeqCst));
        Check::Whole
    }

    fn hold(&self) -> Box<dyn Held + '_> {
        // They wait for each other.
        Box::new(())
    }

    fn is_half_done(&self) -> bool {
        // All have come, so nobody is missed any more.
        self.0.barrier.waiting() == 0
    }

    fn scenes(&self) -> &'static [Scene] {
        &[Scene::Wait, Scene::Wake, Scene::Stopped, Scene::Inherit]
    }
}
