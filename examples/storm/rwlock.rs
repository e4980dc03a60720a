//! The storm's use of [`RwLock`]: two numbers that are equal whenever no participant writes, with many readers and one
//! writer.
//!
//! A writer that is not alone is a violation, and so are different numbers in a lock that is not abandoned. So are a
//! reader's share that is left at rest, and an abandoned lock without a dead writer.

use core::array::from_fn;
use core::cell::Cell;
use core::hint::{black_box, spin_loop};
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::thread;

use ossature::sys::scope::Shared;
use ossature::sys::shareable;
use ossature::sys::shm::{Shm, array};
use ossature::sys::sync::rwlock::{ReadGuard, RwLock, WriteGuard};

use crate::board::{Board, MOST, Seat, USUAL};
use crate::step::Scene;
use crate::{Check, Held, Primitive};

shareable! {
    /// Two numbers that are equal, except while a writer writes them.
    plain struct Pair {
        first: u64,
        second: u64,
    }
}

shareable! {
    struct Writers {
        /// 1 while the participant writes or waits to write.
        writers: [AtomicU32; MOST],
    }
}

/// `N` is the number of readers that the lock has room for.
pub struct RwLockStorm<const N: usize> {
    /// By itself, so that the lock of many begins with the memory of a few.
    lock: Shm<RwLock<Pair, Shared, N>>,
    writers: Shm<Writers>,
    /// Whether a turn reads and writes, so that one run of a scene covers the instructions of both.
    both: bool,
    /// Whether a participant that wrote, or waited to write, has died since the last check.
    writer_died: Cell<bool>,
}

pub fn make(scene: Option<Scene>, participants: usize) -> Box<dyn Primitive> {
    match participants {
        ..=USUAL => Box::new(RwLockStorm::<USUAL>::place(scene)),
        _ => Box::new(RwLockStorm::<MOST>::place(scene)),
    }
}

/// Whether the data is as a participant must find it after an acquire.
fn is_whole(pair: &Pair, abandoned: bool) -> bool {
    abandoned || pair.first == pair.second
}

const HALF: &str = "the data is half-written, the lock not abandoned";

impl<const N: usize> RwLockStorm<N> {
    fn place(scene: Option<Scene>) -> Self {
        let pair = RwLock::shared_with_capacity(Pair { first: 0, second: 0 });
        let lock: Shm<RwLock<Pair, Shared, N>> = Shm::place(pair).expect("memory for the storm");
        let writers = Writers::init(array(|_| AtomicU32::new(0)));
        let writers = Shm::place(writers).expect("memory for the storm");
        if scene.is_some() {
            // After two looks in vain a writer leaves out the third. That look would be most of the instructions.
            let reads = lock.read().expect("the lock is recoverable");
            thread::scope(|scope| {
                let writer = scope.spawn(|| (0..2).for_each(|_| drop(lock.write_timeout(Duration::from_millis(1)))));
                writer.join().expect("the writer does not panic"); // a scope alone returns before the thread has left
            });
            drop(reads);
        }
        Self { lock, writers, both: scene.is_some(), writer_died: Cell::new(false) }
    }

    fn reading(&self) -> ReadGuard<'_, Pair, Shared> {
        self.lock.read().expect("the lock is recoverable")
    }

    fn writing(&self) -> WriteGuard<'_, Pair, Shared> {
        self.lock.write().expect("the lock is recoverable")
    }

    fn read(&self, seat: Seat<'_>) {
        seat.waits();
        let guard = self.reading();
        seat.holds();
        if !is_whole(&guard, guard.abandoned()) {
            seat.breaks(HALF);
        }
        let again = (seat.chance(4) == 0).then(|| self.reading());
        for _ in 0..seat.work() {
            spin_loop();
        }
        let pair: &Pair = &guard;
        if !is_whole(black_box(pair), guard.abandoned()) {
            seat.breaks("a writer writes beside a reader");
        }
        seat.leaves();
        drop(guard);
        drop(again);
    }

    fn write(&self, seat: Seat<'_>) {
        let writes = &self.writers.writers[seat.index];
        writes.store(1, SeqCst);
        seat.waits();
        let mut guard = self.writing();
        if seat.holds() > 1 {
            seat.breaks("a writer is not alone");
        }
        if !is_whole(&guard, guard.abandoned()) {
            seat.breaks(HALF);
        }
        repair(&mut guard);
        guard.first = black_box(guard.first + 1);
        for _ in 0..seat.work() {
            spin_loop();
        }
        guard.second = black_box(guard.second + 1);
        seat.leaves();
        drop(guard);
        writes.store(0, SeqCst);
    }
}

/// Repairs the data. The dead writer may have stopped anywhere, so only the first number is trusted.
fn repair(guard: &mut WriteGuard<'_, Pair, Shared>) {
    if guard.abandoned() {
        guard.second = guard.first;
        guard.mark_consistent();
    }
}

impl<const N: usize> Primitive for RwLockStorm<N> {
    fn turn(&self, seat: Seat<'_>) {
        if !self.both {
            return if seat.chance(3) == 0 { self.write(seat) } else { self.read(seat) };
        }
        if seat.leads() {
            self.write(seat);
            self.read(seat);
        } else {
            self.read(seat);
            self.write(seat);
        }
    }

    fn is_inside(&self, dead: Seat<'_>) -> bool {
        // A writer that waits has the turn, or was chosen for it, or sleeps on its word. So it is part of the protocol.
        // It did not count before the storm with 500 participants. There most participants wait, and so too few of the
        // dead held the lock for the storm's bar.
        dead.is_holding() || self.writers.writers[dead.index].load(SeqCst) != 0
    }

    fn bury(&self, dead: Seat<'_>) {
        if self.writers.writers[dead.index].swap(0, SeqCst) != 0 {
            self.writer_died.set(true);
        }
    }

    fn check(&self, _: &Board, patience: Duration) -> Check {
        let lock = &self.lock;
        let writer_died = self.writer_died.replace(false);
        let Some(mut guard) = lock.write_timeout(patience).expect("the lock is recoverable") else {
            return Check::Hangs("a writer does not get the lock");
        };
        if guard.abandoned() && !writer_died {
            return Check::Broken("the data is abandoned, but no writer died");
        }
        if !is_whole(&guard, guard.abandoned()) {
            return Check::Broken(HALF);
        }
        repair(&mut guard);
        drop(guard);
        if lock.readers() != 0 {
            return Check::Broken("a reader's share is left");
        }
        let shares: [_; 2] = from_fn(|_| lock.try_read().expect("the lock is recoverable").is_some());
        if shares != [true; 2] || lock.is_locked() { Check::Broken("the lock is not free") } else { Check::Whole }
    }

    fn hold(&self) -> Box<dyn Held + '_> {
        Box::new(self.writing())
    }
}
