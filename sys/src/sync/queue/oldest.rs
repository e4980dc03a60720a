//! Which waiter is first: a list of the oldest waiters, so that a notifier seldom scans all places.
//!
//! A notifier that has looked at all places knows the oldest waiters in their order. The notifier notifies as many as
//! the caller requests, and leaves the others in the *list* for later notifiers. The list has a head and entries:
//!
//! | word | bits | meaning |
//! | --- | --- | --- |
//! | head | `0..16` | next: the waiters of the entries before this one have left the queue |
//! | head | `16..32` | version; 0 before the first list |
//! | head | `32..64` | now: the list has waiters whose tickets are older than this one |
//! | entry | `0..16` | the number of a place |
//! | entry | `16..32` | version: the entry is in the list if the head has the same version; 0 ends any list |
//!
//! | from | to | changed by |
//! | --- | --- | --- |
//! | head of a version | the next version, with another now, next 0 | a notifier that has looked at all places |
//! | entry of an older version | of this version | the same notifier, the oldest waiter first |
//! | entry after the last one | 0 | the same notifier |
//! | next | a greater next | a notifier that has notified waiters of the list |
//!
//! **The list is only a hint.** The place of an entry shows whether its waiter is in the queue: its word waits, and its
//! ticket is older than now. If a later waiter has taken the place, its ticket is later. At the end of the list, a
//! notifier looks at all places. So no waiter is lost, whatever the list contains.
//!
//! **The order.** A waiter that has left the queue does not come back with its ticket. So a list that once had the
//! oldest waiters still has the oldest ones, if a notifier skips those that have left. But a look does not find a
//! waiter that has a ticket and has not written it yet. So a notifier that sees a held place without a ticket makes no
//! list.
//!
//! | a notifier is killed, or stopped | what the next one finds |
//! | --- | --- |
//! | before it changes the head | the list before |
//! | before an entry | an entry of an older version there: the list ends before it |
//! | before it moves next | entries of waiters that have left, which it skips |
//!
//! Each version has one writer. A version repeats after 65,534 others. (If a writer is killed or stopped half-way, the
//! list of that later version may have its entries, and some waiters may lose their order.)

use super::place::{NONE, Place, age, waits};
use crate::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::atomic::{AtomicU32, AtomicU64, step};
use crate::sync::lease::Holder;
use crate::sync::participants::Enrolment;

/// A waiter as one look at the table found it.
#[derive(Clone, Copy)]
pub(super) struct Found {
    /// The waiter's age: how many tickets before the scan it arrived.
    pub(super) age: u32,
    /// The number of the waiter's place.
    pub(super) at: u32,
}

/// The oldest waiters of a queue, at most `MOST`, in order.
pub(super) struct Oldest<const MOST: usize> {
    found: [Found; MOST],
    count: usize,
    /// Whether there may be an older waiter, which has taken a ticket but not written it yet.
    is_coming: bool,
}

impl<const MOST: usize> Oldest<MOST> {
    /// Finds the oldest of the waiters that came before `now`. Frees the places of waiters that died in the queue.
    pub(super) fn of<L: Enrolment>(places: &[Place<L>], now: u32) -> Self {
        let mut oldest = Self { found: [Found { age: 0, at: 0 }; MOST], count: 0, is_coming: false };
        for (at, place) in places.iter().enumerate() {
            let (lease, seen) = place.look();
            if seen == NONE {
                oldest.is_coming |= matches!(lease.holder(), Holder::Thread(_));
            }
            let age = age(seen, now);
            if !waits(seen) || age == 0 {
                continue;
            }
            if lease.holder() == Holder::Dead {
                place.reclaim(lease, seen);
                continue;
            }
            oldest.add(Found { age, at: at as u32 });
        }
        oldest
    }

    fn add(&mut self, found: Found) {
        let filled = self.found.get(..self.count).unwrap_or_default();
        // The places are usually in the order of their waiters.
        let at = filled.iter().rposition(|than| than.age >= found.age).map_or(0, |older| older + 1);
        if at >= MOST {
            return;
        }
        self.count = (self.count + 1).min(MOST);
        if let Some(behind) = self.found.get_mut(at..self.count) {
            behind.rotate_right(1);
            if let Some(first) = behind.first_mut() {
                *first = found;
            }
        }
    }

    pub(super) fn found(&self) -> &[Found] {
        self.found.get(..self.count).unwrap_or(&self.found)
    }

    /// Stores the found waiters from index `from` on in the list, for later notifiers. `now` is the `now` of the scan.
    pub(super) fn leave(&self, from: usize, now: u32, list: &List<'_>) {
        let rest = self.found().get(from..).unwrap_or_default();
        if !self.is_coming && !rest.is_empty() {
            list.write(now, rest);
        }
    }
}

const VERSION: u32 = 1 << 16;

/// The version of a head or an entry.
const fn version_of(word: u32) -> u32 {
    word & !(VERSION - 1)
}

/// The list of one queue. Zero bytes are an empty list.
pub(super) struct List<'q> {
    pub(super) head: &'q AtomicU64,
    pub(super) entries: &'q [AtomicU32],
}

impl List<'_> {
    fn write(&self, now: u32, waiters: &[Found]) {
        let before = self.head.load(Relaxed);
        let version = match version_of(before as u32).wrapping_add(VERSION) {
            0 => VERSION,
            next => next,
        };
        step();
        if self.head.compare_exchange(before, (u64::from(now) << 32) | u64::from(version), AcqRel, Relaxed).is_err() {
            return; // another notifier writes a list
        }
        for (entry, waiter) in self.entries.iter().zip(waiters) {
            step();
            entry.store(version | waiter.at, Release);
        }
        step();
        if let Some(end) = self.entries.get(waiters.len()) {
            end.store(0, Release);
        }
    }

    /// Calls `tell` with the place number of each waiter of the list, until `tell` returns false. The second argument
    /// is now: a ticket that is later than all tickets of the list.
    pub(super) fn each(&self, mut tell: impl FnMut(usize, u32) -> bool) {
        let head = self.head.load(Acquire);
        let (now, version) = ((head >> 32) as u32, version_of(head as u32));
        if version == 0 {
            return;
        }
        let next = (head as u32 & (VERSION - 1)) as usize;
        let mut done = 0;
        for entry in self.entries.get(next..).unwrap_or_default() {
            let entry = entry.load(Acquire);
            if version_of(entry) != version || !tell((entry & (VERSION - 1)) as usize, now) {
                break;
            }
            done += 1;
        }
        if done != 0 {
            step();
            let _ = self.head.compare_exchange(head, head + done, AcqRel, Relaxed);
        }
    }
}
