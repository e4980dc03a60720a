//! The storm's use of [`Lock`]: two numbers that are equal whenever nobody is inside.

use core::hint::{black_box, spin_loop};
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;

use ossature::sys::scope::Shared;
use ossature::sys::shareable;
use ossature::sys::shm::Shm;
use ossature::sys::sync::lock::{Guard, Lock};

use crate::kills::Seat;
use crate::{Check, Held, Primitive};

shareable! {
    /// Equal, but for a holder that is between the two.
    plain struct Pair {
        first: u64,
        second: u64,
    }
}

shareable! {
    struct Stage {
        lock: Lock<Pair, Shared>,
        /// How many are inside, as they say themselves; a death inside leaves it one too high until that is repaired.
        inside: AtomicU32,
        broken: AtomicU32,
    }
}

pub struct LockStorm(Shm<Stage>);

impl LockStorm {
    pub fn new() -> Self {
        let pair = Lock::shared(Pair { first: 0, second: 0 });
        Self(Shm::place(Stage::init(pair, AtomicU32::new(0), AtomicU32::new(0))).expect("memory for the storm"))
    }

    /// What everyone does who has just taken the lock. Answers whether the data was as it must be.
    fn enter(&self, guard: &mut Guard<'_, Pair, Shared>) -> bool {
        if guard.abandoned() {
            // The dead holder may have been anywhere: nothing but the first number is believed.
            self.0.inside.store(0, SeqCst);
            guard.second = guard.first;
            guard.repair();
        }
        self.0.inside.fetch_add(1, SeqCst) == 0 && guard.first == guard.second
    }

    fn leave(&self) {
        self.0.inside.fetch_sub(1, SeqCst);
    }
}

impl Primitive for LockStorm {
    fn turn(&self, seat: &Seat) {
        seat.waits();
        let mut guard = self.0.lock.lock().expect("nobody gives the lock up");
        seat.holds();
        if !self.enter(&mut guard) {
            self.0.broken.fetch_add(1, SeqCst);
        }
        guard.first = black_box(guard.first + 1);
        for _ in 0..seat.work() {
            spin_loop();
        }
        guard.second = black_box(guard.second + 1);
        self.leave();
        seat.leaves();
    }

    fn check(&self, patience: Duration) -> Check {
        let Some(mut guard) = self.0.lock.lock_timeout(patience).expect("nobody gives the lock up") else {
            return Check::Hangs;
        };
        let whole = self.enter(&mut guard);
        self.leave();
        if whole { Check::Whole } else { Check::Broken }
    }

    fn hold(&self) -> Box<dyn Held + '_> {
        Box::new(self.0.lock.lock().expect("nobody gives the lock up"))
    }

    fn broken(&self) -> u32 {
        self.0.broken.load(SeqCst)
    }
}
