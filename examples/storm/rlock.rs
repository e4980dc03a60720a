//! The storm's use of [`RLock`]: held one to three levels deep, and two numbers that are equal whenever nobody is
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
    /// Equal, but for a holder that is between the two.
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
        self.0.lock().expect("nobody gives the lock up")
    }

    /// What everyone does who has just taken the first level: what is wrong, if anything is.
    fn fault(&self, guard: &RLockGuard<'_, Pair, Shared>) -> Option<&'static str> {
        if guard.abandoned() {
            guard.second.store(guard.first.load(SeqCst), SeqCst);
            guard.mark_consistent();
        }
        if self.0.depth() != 1 {
            return Some("the first level is not the first");
        }
        (guard.first.load(SeqCst) != guard.second.load(SeqCst))
            .then_some("the data is half-written and nobody was told")
    }
}

impl Primitive for RLockStorm {
    fn turn(&self, seat: Seat<'_>) {
        seat.waits();
        let outer = self.level();
        if seat.holds() > 1 {
            seat.breaks("two hold the lock");
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
            seat.breaks("a level was not given back");
        }
        seat.leaves();
    }

    fn check(&self, _: &Board, patience: Duration) -> Check {
        let Some(guard) = self.0.lock_timeout(patience).expect("nobody gives the lock up") else {
            return Check::Hangs("the lock is not free");
        };
        self.fault(&guard).map_or(Check::Whole, Check::Broken)
    }

    fn hold(&self) -> Box<dyn Held + '_> {
        Box::new(self.level())
    }
}
