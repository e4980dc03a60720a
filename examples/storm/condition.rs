//! The storm's use of [`Condition`]: producers and consumers at a small queue under a lock.
//!
//! A consumer must not sleep while there is an item, nor a producer while there is a free place. Each put and each take
//! notifies one waiter, and every second put notifies all. A notification for a dead waiter goes to the next. If the
//! queue is empty (or full) while the others rest, the parent puts (or takes) items, with a notification for each, and
//! that must be enough.

use core::time::Duration;

use ossature::sys::scope::Shared;
use ossature::sys::shareable;
use ossature::sys::shm::Shm;
use ossature::sys::sync::condition::Condition;
use ossature::sys::sync::lock::{Guard, Lock};

use crate::board::{Board, MOST, Seat, USUAL};
use crate::step::Scene;
use crate::{Check, Held, Primitive};

const ROOM: u64 = 3;

shareable! {
    /// The items are numbers in order.
    plain struct Ring {
        items: [u64; 3],
        put: u64,
        taken: u64,
    }
}

/// `N` is the number of waiters that a condition has room for.
struct Stage<const N: usize> {
    ring: Shm<Lock<Ring, Shared>>,
    more: Shm<Condition<Shared, N>>,
    less: Shm<Condition<Shared, N>>,
}

pub struct ConditionStorm<const N: usize> {
    stage: Stage<N>,
    scene: Option<Scene>,
}

pub fn make(scene: Option<Scene>, participants: usize) -> Box<dyn Primitive> {
    match participants {
        ..=USUAL => Box::new(ConditionStorm { stage: Stage::<USUAL>::place(), scene }),
        _ => Box::new(ConditionStorm { stage: Stage::<MOST>::place(), scene }),
    }
}

impl<const N: usize> Stage<N> {
    fn place() -> Self {
        let ring = Ring { items: [0; 3], put: 0, taken: 0 };
        let condition = || Shm::place(Condition::shared_with_capacity()).expect("memory for the storm");
        Self {
            ring: Shm::place(Lock::shared(ring)).expect("memory for the storm"),
            more: condition(),
            less: condition(),
        }
    }
}

type Inside<'s> = Guard<'s, Ring, Shared>;

impl Ring {
    fn is_empty(&self) -> bool {
        self.put == self.taken
    }

    fn is_full(&self) -> bool {
        self.put == self.taken + ROOM
    }

    fn put(&mut self) {
        let at = (self.put % ROOM) as usize;
        self.items[at] = self.put;
        self.put += 1;
    }

    /// Whether the item was the expected one.
    fn take(&mut self) -> bool {
        let item = self.items[(self.taken % ROOM) as usize];
        self.taken += 1;
        item == self.taken - 1
    }
}

impl<const N: usize> ConditionStorm<N> {
    fn enter(&self) -> Inside<'_> {
        self.mended(self.stage.ring.lock().expect("the lock is recoverable"))
    }

    /// Repairs the ring after an acquire. The put or take of a dead holder is discarded with all items. All waiters
    /// look again, because the dead holder may have owed a notification.
    fn mended<'s>(&self, mut ring: Inside<'s>) -> Inside<'s> {
        if ring.abandoned() {
            ring.taken = ring.put;
            ring.mark_consistent();
            self.stage.more.notify_all();
            self.stage.less.notify_all();
        }
        ring
    }

    fn wait_on<'s>(&self, condition: &Condition<Shared, N>, ring: Inside<'s>) -> Inside<'s> {
        self.mended(condition.wait(ring).expect("few wait, and the lock is recoverable"))
    }

    fn produces(&self, seat: Seat<'_>) -> bool {
        if self.scene.is_some() { seat.leads() } else { seat.index % 2 == 0 }
    }

    fn put(&self, mut ring: Inside<'_>) {
        ring.put();
        self.stage.more.notify(1);
    }

    fn take_all(&self) {
        let mut ring = self.enter();
        ring.taken = ring.put;
    }
}

/// An empty queue, whose drop puts an item for the longest waiter or, if that one dies, for the next.
struct Empty<'s, const N: usize>(&'s ConditionStorm<N>);

impl<const N: usize> Drop for Empty<'_, N> {
    fn drop(&mut self) {
        self.0.put(self.0.enter());
    }
}

impl<const N: usize> Primitive for ConditionStorm<N> {
    fn turn(&self, seat: Seat<'_>) {
        seat.waits();
        let alone = |seat: Seat<'_>| {
            if seat.holds() > 1 && self.scene.is_none() {
                seat.breaks("two participants hold the lock");
            }
        };
        if self.produces(seat) {
            if self.scene.is_some() {
                // The others come now, while it does not hold the lock yet.
                seat.holds();
            }
            let mut ring = self.enter();
            while ring.is_full() {
                ring = self.wait_on(&self.stage.less, ring);
            }
            alone(seat);
            // In a scene it has two to wake.
            let items = if self.scene.is_some() { 2 } else { 1 };
            (0..items).for_each(|_| ring.put());
            if self.scene.is_some() || ring.put % 2 == 0 {
                self.stage.more.notify_all();
            } else {
                self.stage.more.notify(items);
            }
            seat.leaves();
        } else {
            let mut ring = self.enter();
            while ring.is_empty() {
                ring = self.wait_on(&self.stage.more, ring);
            }
            alone(seat);
            if !ring.take() {
                seat.breaks("an item was taken twice or never");
            }
            self.stage.less.notify(1);
            seat.leaves();
        }
    }

    fn is_inside(&self, dead: Seat<'_>) -> bool {
        dead.is_holding() || dead.is_waiting()
    }

    fn relieve(&self, board: &Board) -> Result<(), &'static str> {
        let mut ring = self.enter();
        let waits = |produces| board.living().any(|seat| self.produces(seat) == produces && seat.is_waiting());
        if ring.is_empty() && waits(false) {
            self.put(ring);
        } else if ring.is_full() && waits(true) {
            ring.take();
            self.stage.less.notify(1);
        }
        Ok(())
    }

    fn check(&self, _: &Board, patience: Duration) -> Check {
        let ring = self.stage.ring.lock_timeout(patience).expect("the lock is recoverable");
        let Some(ring) = ring.map(|ring| self.mended(ring)) else {
            return Check::Hangs("the lock is not free");
        };
        if ring.put - ring.taken <= ROOM {
            Check::Whole
        } else {
            Check::Broken("the queue holds more items than its capacity")
        }
    }

    fn hold(&self) -> Box<dyn Held + '_> {
        Box::new(Empty(self))
    }

    fn barge(&self) -> Option<Box<dyn Held + '_>> {
        self.take_all();
        Some(self.hold())
    }
}
