//! The storm's use of [`Lock`]: two numbers that are equal whenever no participant is inside.

use core::hint::{black_box, spin_loop};
use core::time::Duration;

use ossature::sys::scope::Shared;
use ossature::sys::shareable;
use ossature::sys::shm::Shm;
use ossature::sys::sync::lock::{Guard, Lock};

use crate::board::{Board, Seat};
use crate::step::Scene;
use crate::{Check, Held, Primitive};

shareable! {
    /// Two numbers that are equal, except while a holder writes them.
    plain struct Pair {
        first: u64,
        second: u64,
    }
}

pub struct LockStorm(Shm<Lock<Pair, Shared>>);

pub fn make(_: Option<Scene>) -> Box<dyn Primitive> {
    let pair = Lock::shared(Pair { first: 0, second: 0 });
    Box::new(LockStorm(Shm::place(pair).expect("memory for the storm")))
}

/// Repairs the data after an acquire. Returns whether the data was as it must be.
fn is_whole(guard: &mut Guard<'_, Pair, Shared>) -> bool {
    if guard.abandoned() {
        // The dead holder may have been anywhere: nothing but the first number is believed.
        guard.second = guard.first;
        guard.mark_consistent();
    }
    guard.first == guard.second
}

impl Primitive for LockStorm {
    fn turn(&self, seat: Seat<'_>) {
        seat.waits();
        let mut guard = self.0.lock().expect("the lock is recoverable");
        if seat.holds() > 1 {
            seat.breaks("two participants hold the lock");
        }
        if !is_whole(&mut guard) {
            seat.breaks("the data is half-written, the lock not abandoned");
        }
        guard.first = black_box(guard.first + 1);
        for _ in 0..seat.work() {
            spin_loop();
        }
        guard.second = black_box(guard.second + 1);
        seat.leaves();
    }

    fn check(&self, _: &Board, patience: Duration) -> Check {
        let Some(mut guard) = self.0.lock_timeout(patience).expect("the lock is recoverable") else {
            return Check::Hangs("the lock is not free");
        };
        if is_whole(&mut guard) {
            Check::Whole
        } else {
            Check::Broken("the data is half-written, the lock not abandoned")
        }
    }

    fn hold(&self) -> Box<dyn Held + '_> {
        Box::new(self.0.lock().expect("the lock is recoverable"))
    }
}
