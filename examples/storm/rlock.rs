//! The storm's use of [`RLock`]: held one to three levels deep. Two numbers are equal whenever no participant is
//! inside.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;

use ossature::sys::scope::Shared;
use ossature::sys::shareable;
use ossature::sys::shm::Shm;
use ossature::sys::sync::rlock::{RLock, RLockGuard};

use crate::board::{Board, Seat};
use crate::step::Scene;
use crate::{Check, Held, Primitive};

shareable! {
    /// Two numbers that are equal, except while a holder writes them.
    struct Pair {
        first: AtomicU32,
        second: AtomicU32,
    }
}

pub struct RLockStorm(Shm<RLock<Pair, Shared>>);

pub fn make(_: Option<Scene>) -> Box<dyn Primitive> {
    let pair = RLock::shared(Pair::init(AtomicU32::new(0), AtomicU32::new(0)));
    Box::new(RLockStorm(Shm::place(pair).expect("memory for the storm")))
}

impl RLockStorm {
    fn level(&self) -> RLockGuard<'_, Pair, Shared> {
        self.0.lock().expect("the lock is recoverable")
    }

    /// Repairs the data after the first acquire. Returns the fault, if there is one.
    fn fault(&self, guard: &RLockGuard<'_, Pair, Shared>) -> Option<&'static str> {
        if guard.abandoned() {
            guard.second.store(guard.first.load(SeqCst), SeqCst);
            guard.mark_consistent();
        }
        if self.0.depth() != 1 {
            return Some("the first level is not level 1");
        }
        (guard.first.load(SeqCst) != guard.second.load(SeqCst))
            .then_some("the data is half-written, the lock not abandoned")
    }
}

impl Primitive for RLockStorm {
    fn turn(&self, seat: Seat<'_>) {
        seat.waits();
        let outer = self.level();
        if seat.holds() > 1 {
            seat.breaks("two participants hold the lock");
        }
        if let Some(fault) = self.fault(&outer) {
            seat.breaks(fault);
        }
        let deeper = seat.chance(3);
        let middle = (deeper >= 1).then(|| self.level());
        let inner = (deeper >= 2).then(|| self.level());
        if self.0.depth() != 1 + deeper {
            seat.breaks("the levels do not add up");
        }
        outer.first.fetch_add(1, SeqCst);
        drop(inner);
        for _ in 0..seat.work() {
            spin_loop();
        }
        drop(middle);
        outer.second.fetch_add(1, SeqCst);
        if self.0.depth() != 1 {
            seat.breaks("a level was not released");
        }
        seat.leaves();
    }

    fn check(&self, _: &Board, patience: Duration) -> Check {
        let Some(guard) = self.0.lock_timeout(patience).expect("the lock is recoverable") else {
            return Check::Hangs("the lock is not free");
        };
        self.fault(&guard).map_or(Check::Whole, Check::Broken)
    }

    fn hold(&self) -> Box<dyn Held + '_> {
        Box::new(self.level())
    }
}
