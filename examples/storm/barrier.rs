//! The storm's use of [`Barrier`]: no participant passes while another is missing, and every waiter is released when
//! one dies.
//!
//! All participants have joined, so any death breaks the barrier, and the waiters return an error without a deadline.
//! Then the parent resets the barrier and checks that it cannot pass alone. The next round has a full set of parties.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::thread;

use ossature::sys::scope::Shared;
use ossature::sys::shareable;
use ossature::sys::shm::{Shm, array};
use ossature::sys::sync::barrier::{Barrier, Broken};

use crate::board::{Board, MOST, Seat, USUAL};
use crate::step::Scene;
use crate::{Check, Held, Primitive};

shareable! {
    struct Records {
        /// The number of arrivals of each participant since the barrier was last made whole.
        arrivals: [AtomicU32; MOST],
        /// The numbers that this cycle has handed out, as bits, and then those of the cycle before or after it.
        numbers: [AtomicU32; 2 * WORDS],
    }
}

/// The number of words that have a bit for each number.
const WORDS: usize = MOST.div_ceil(32);

/// The barrier has room for `N` parties.
pub struct BarrierStorm<const N: usize> {
    barrier: Shm<Barrier<Shared, N>>,
    records: Shm<Records>,
}

pub fn make(scene: Option<Scene>, participants: usize) -> Box<dyn Primitive> {
    let parties = if matches!(scene, None | Some(Scene::Inherit)) { participants } else { 3 } as u32;
    match participants {
        ..=USUAL => Box::new(BarrierStorm::<USUAL>::place(parties)),
        _ => Box::new(BarrierStorm::<MOST>::place(parties)),
    }
}

impl<const N: usize> BarrierStorm<N> {
    fn place(parties: u32) -> Self {
        let records = Records::init(array(|_| AtomicU32::new(0)), array(|_| AtomicU32::new(0)));
        Self {
            barrier: Shm::place(Barrier::shared_with_capacity(parties)).expect("memory for the storm"),
            records: Shm::place(records).expect("memory for the storm"),
        }
    }

    /// The words of the numbers of a cycle.
    fn numbers(&self, cycle: u32) -> &[AtomicU32] {
        let begin = cycle as usize % 2 * WORDS;
        &self.records.numbers[begin..begin + WORDS]
    }

    fn passed(&self, seat: Seat<'_>, arrival: u32, number: u32) {
        let parties = self.barrier.parties();
        if self.records.arrivals[..parties as usize].iter().any(|count| count.load(SeqCst) < arrival) {
            seat.breaks("a participant passed although another was missing");
        }
        let bit = 1 << (number % 32);
        let word = || &self.numbers(arrival)[number as usize / 32];
        if number >= parties || word().fetch_or(bit, SeqCst) & bit != 0 {
            seat.breaks("two participants have the same number");
        }
        if number == 0 {
            // All have left the cycle before, and none can leave the next one without this party.
            self.numbers(arrival + 1).iter().for_each(|word| word.store(0, SeqCst));
        }
    }
}

impl<const N: usize> Primitive for BarrierStorm<N> {
    fn join(&self, seat: Seat<'_>) {
        // For as long as the process lives.
        core::mem::forget(self.barrier.join().expect("a slot is free"));
        seat.leaves();
    }

    fn turn(&self, seat: Seat<'_>) {
        let arrival = self.records.arrivals[seat.index].fetch_add(1, SeqCst) + 1;
        if seat.leads() {
            seat.holds();
        } else {
            seat.waits();
        }
        match self.barrier.wait() {
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
        if board.seats().any(|seat| seat.is_doomed() && seat.is_new()) && !self.barrier.is_broken() {
            self.barrier.abort();
        }
        Ok(())
    }

    fn check(&self, _: &Board, _: Duration) -> Check {
        let barrier = &*self.barrier;
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
        self.records.arrivals.iter().chain(&self.records.numbers).for_each(|count| count.store(0, SeqCst));
        Check::Whole
    }

    fn hold(&self) -> Box<dyn Held + '_> {
        // They wait for each other.
        Box::new(())
    }

    fn is_half_done(&self) -> bool {
        // All have come, so nobody is missed any more.
        self.barrier.waiting() == 0
    }

    fn scenes(&self) -> &'static [Scene] {
        &[Scene::Wait, Scene::Wake, Scene::Stopped, Scene::Inherit]
    }
}
