//! The pending timers, the soonest first.
//!
//! The queue is a heap. A cancelled timer stays in it, without its callback, until it reaches the top or until
//! cancelled timers are the larger half: so cancelling touches nothing but a count.

use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ossature_sys::deadline::Deadline;

use super::shot::{PENDING, Shot};

/// The number by which cancelled timers may exceed pending ones before the heap removes them.
const SPARE: usize = 64;

/// A timer and the time at which it is due.
struct Entry {
    at: Deadline,
    /// The order of start: of two timers with the same instant, the one that was started first comes first.
    turn: u64,
    shot: Arc<Shot>,
}

impl Ord for Entry {
    /// Orders the soonest timer as the greatest.
    fn cmp(&self, other: &Self) -> Order {
        (other.at, other.turn).cmp(&(self.at, self.turn))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Order::Equal
    }
}

impl Eq for Entry {}

/// The pending timers of one process.
#[derive(Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Entry>,
    /// The numbers of pending and of cancelled timers in the heap.
    live: usize,
    dead: usize,
    turn: u64,
}

impl Queue {
    /// The number of pending timers.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Adds a pending timer.
    pub(super) fn push(&mut self, at: Deadline, shot: Arc<Shot>) {
        self.turn += 1;
        self.heap.push(Entry { at, turn: self.turn, shot });
        self.live += 1;
    }

    /// When the soonest timer is due; `None` when none is pending.
    pub(super) fn first(&mut self) -> Option<Deadline> {
        loop {
            let entry = self.heap.peek()?;
            if entry.shot.state.phase.load(Relaxed) == PENDING {
                return Some(entry.at);
            }
            self.heap.pop();
            self.dead -= 1;
        }
    }

    /// Takes the soonest timer, if it is due, and returns the instant at which it became due.
    pub(super) fn pop_due(&mut self) -> Option<(Deadline, Arc<Shot>)> {
        self.first().filter(|at| at.has_passed())?;
        let entry = self.heap.pop()?;
        self.live -= 1;
        Some((entry.at, entry.shot))
    }

    /// Takes a pending timer out, at any position.
    pub(super) fn remove(&mut self, shot: &Arc<Shot>) {
        self.heap.retain(|entry| !Arc::ptr_eq(&entry.shot, shot));
        self.live -= 1;
    }

    /// Records that one of the timers has just been cancelled.
    pub(super) fn note_cancelled(&mut self) {
        self.live -= 1;
        self.dead += 1;
        if self.dead > self.live + SPARE {
            self.heap.retain(|entry| entry.shot.state.phase.load(Relaxed) == PENDING);
            self.dead = 0;
        }
    }
}
