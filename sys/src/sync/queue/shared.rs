//! The queue of processes: a table of places, each with a lease that tells when the waiter dies.
//!
//! A place is a [`Lease`] and a word. Every step is one compare-exchange of one word, so whatever a killed participant leaves
//! is a state of this table, and the next one who looks completes it:
//!
//! | lease | word | meaning | what the next one does |
//! | --- | --- | --- | --- |
//! | free | none | nobody's place | |
//! | held | none | somebody is coming or going | |
//! | held | waiting or asleep, ticket | in the queue, where its ticket says | |
//! | held | notified | on its way to the lock | wakes it: its notifier may be dead |
//! | dead | none, waiting, asleep | died in the queue, or before, or after | frees the place |
//! | dead | notified | died with a notification that it had not used | notifies the next, then frees the place |
//!
//! The word also holds the ticket, thirty bits of a running number: who has the oldest is first. (The order of two waiters is
//! lost if one sleeps through 2^29 arrivals.)
//!
//! Who watches whom: a sleeper sleeps on its own word, on the gate, and on the leases of those before it. Only those can
//! have been notified while it still sleeps, so should one of them die with a notification, somebody who needs it hears of it.
//!
//! Orderings: giving a ticket and notifying are `Release`, looking at words `Acquire`. A place is entered while the user's lock
//! is held, so a notifier that has had the lock since finds it.

use core::mem::MaybeUninit;

use super::Queue;
use crate::atomic::AtomicU32;
use crate::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::futex::{Limit, Reach, Waiter};
use crate::scope::Refused;
use crate::sync::gate::{Gate, SharedGate, Woke};
use crate::sync::lease::{Holder, Lease};
use crate::sync::spin::Spin;

/// How many may wait at a time. `futex_waitv` takes 128 words, of which the gate, a place's own word and a `Cancel` are three.
const PLACES: usize = 120;

const NONE: u32 = 0;
const WAITING: u32 = 1;
const ASLEEP: u32 = 2;
const NOTIFIED: u32 = 3;
const STATUS: u32 = 3;
/// One ticket, above the status.
const TICKET: u32 = 4;

/// One waiter's place, on a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
struct Place {
    lease: Lease,
    word: AtomicU32,
}

impl Place {
    /// Frees a place whose holder died, when nothing is left to do for it. `word` is what it said.
    fn bury(&self, word: u32) {
        // The word first: a free place has none. Whoever loses one of these two races finds it done by another.
        let _ = self.word.compare_exchange(word, NONE, AcqRel, Relaxed);
        if self.word.load(Acquire) & STATUS == NONE {
            self.lease.bury();
        }
    }
}

/// The table. Zero bytes are an empty one.
#[derive(Debug)]
#[repr(C)]
pub struct SharedQueue {
    gate: SharedGate,
    spin: Spin,
    /// The next ticket.
    tickets: AtomicU32,
    /// Places from here on were never used.
    used: AtomicU32,
    places: [Place; PLACES],
}

impl SharedQueue {
    /// Whether a thread of this process waits here through this mapping.
    pub(crate) fn is_linked_here(&self) -> bool {
        self.in_use().iter().any(|place| place.lease.is_linked_here())
    }

    fn in_use(&self) -> &[Place] {
        // Acquire: a place's ticket was given after this number was raised.
        self.places.get(..self.used.load(Acquire) as usize).unwrap_or(&self.places)
    }

    /// A place of one's own, not in the queue yet.
    fn claim(&self) -> Result<&Place, Refused> {
        let mut dead = false;
        for _ in 0..2 {
            for (index, place) in self.places.iter().enumerate() {
                match place.lease.holder() {
                    Holder::Nobody => {
                        // Before the claim, so that whoever looks at the table sees it.
                        if self.used.load(Relaxed) as usize <= index {
                            self.used.fetch_max(index as u32 + 1, Release);
                        }
                        if place.lease.claim()? {
                            return Ok(place);
                        }
                    }
                    Holder::Dead => dead = true,
                    Holder::Thread(_) => {}
                }
            }
            if !dead {
                break;
            }
            self.gate.covered(|| self.complete());
        }
        Err(Refused::TableFull)
    }

    /// The tickets that are given out by now.
    fn now(&self) -> u32 {
        self.tickets.load(Acquire)
    }

    /// Notifies the living waiter that came first, if it came before `now`; false when there is none. In a covered stretch.
    fn notify_first(&self, now: u32) -> bool {
        loop {
            let mut first: Option<(&Place, u32)> = None;
            for place in self.in_use() {
                let word = place.word.load(Acquire);
                if waits(word) && age(word, now) > first.map_or(0, |(_, oldest)| age(oldest, now)) {
                    if matches!(place.lease.holder(), Holder::Thread(_)) {
                        first = Some((place, word));
                    } else {
                        place.bury(word);
                    }
                }
            }
            let Some((place, word)) = first else { return false };
            let notified = word & !STATUS | NOTIFIED;
            if place.word.compare_exchange(word, notified, AcqRel, Relaxed).is_ok() {
                if word & STATUS == ASLEEP {
                    self.gate.wake(&place.word, 1);
                }
                return true;
            }
        }
    }

    /// Completes what the dead have left undone. In a covered stretch.
    fn complete(&self) {
        let now = self.now();
        for place in self.in_use() {
            let holder = place.lease.holder();
            let word = place.word.load(Acquire);
            match (holder, word & STATUS) {
                (Holder::Dead, NOTIFIED) => {
                    self.notify_first(now);
                    place.bury(word);
                }
                (Holder::Dead, _) => place.bury(word),
                (Holder::Thread(_), NOTIFIED) => {
                    self.gate.wake(&place.word, 1);
                }
                _ => {}
            }
        }
    }

    /// Waits until `mine` is notified; false when the limit is over and it is out of the queue.
    fn sleep(&self, mine: &Place, ticket: u32, limit: Limit<'_>) -> bool {
        let notified = || mine.word.load(Acquire) & STATUS == NOTIFIED;
        if !limit.is_now() && self.spin.until(notified) {
            return true;
        }
        let (waiting, asleep) = (ticket | WAITING, ticket | ASLEEP);
        self.gate.covered(|| {
            let mut seen = waiting;
            if !limit.is_now() && mine.word.compare_exchange(waiting, asleep, Relaxed, Relaxed).is_ok() {
                seen = asleep;
                while !notified() {
                    match self.sleep_once(mine, asleep, limit) {
                        Woke::Look => {}
                        Woke::Inherit => self.complete(),
                        Woke::TimedOut | Woke::Never => break,
                    }
                }
            }
            // Out of the queue, unless somebody was faster and notified it.
            mine.word.compare_exchange(seen, NONE, AcqRel, Relaxed).is_err()
        })
    }

    /// Sleeps on the own word and on the leases of those before it.
    fn sleep_once(&self, mine: &Place, asleep: u32, limit: Limit<'_>) -> Woke {
        let mut words = [const { MaybeUninit::uninit() }; PLACES + 3];
        let now = self.now();
        let mut words = Words::new(&mut words, Waiter::new(&mine.word, asleep, Reach::Shared));
        for place in self.in_use() {
            // Whoever waits behind this one is notified after it.
            let word = place.word.load(Acquire);
            if waits(word) && age(word, now) <= age(asleep, now) {
                continue;
            }
            match place.lease.holder() {
                Holder::Thread(_) => words.push(place.lease.watch()),
                // It died before anyone watched it.
                Holder::Dead => return Woke::Inherit,
                Holder::Nobody => {}
            }
        }
        let (words, count) = words.filled();
        match self.gate.sleep_on(words, count, limit) {
            // A lease that was watched: its holder died.
            (Woke::Look, at) if (1..count).contains(&at) => Woke::Inherit,
            (woke, _) => woke,
        }
    }
}

/// Whether a place with this word is in the queue.
fn waits(word: u32) -> bool {
    matches!(word & STATUS, WAITING | ASLEEP)
}

/// How many tickets before `now` a waiter arrived; 0 for one that arrived later.
fn age(word: u32, now: u32) -> u32 {
    let age = now.wrapping_sub(word / TICKET) & (u32::MAX / TICKET);
    if age > u32::MAX / TICKET / 2 { 0 } else { age }
}

/// The words of one sleep, the own one first.
struct Words<'a, 'w> {
    words: &'a mut [MaybeUninit<Waiter<'w>>],
    own: Waiter<'w>,
    count: usize,
}

impl<'a, 'w> Words<'a, 'w> {
    fn new(words: &'a mut [MaybeUninit<Waiter<'w>>], own: Waiter<'w>) -> Self {
        let mut this = Self { words, own, count: 0 };
        this.push(own);
        this
    }

    fn push(&mut self, word: Waiter<'w>) {
        if let Some(place) = self.words.get_mut(self.count) {
            place.write(word);
            self.count += 1;
        }
    }

    /// The words, with room behind them for two more, which [`SharedGate::sleep_on`] asks for; and how many they are.
    fn filled(mut self) -> (&'a mut [Waiter<'w>], usize) {
        let count = self.count;
        self.push(self.own);
        self.push(self.own);
        let filled = self.words.get_mut(..self.count).unwrap_or_default();
        let first = filled.as_mut_ptr().cast::<Waiter<'w>>();
        // SAFETY: the first `self.count` words were written by `push`, and `filled` is lent for as long.
        (unsafe { core::slice::from_raw_parts_mut(first, filled.len()) }, count)
    }
}

impl Queue for SharedQueue {
    fn wait<R>(
        &self,
        limit: Limit<'_>,
        let_go: impl FnOnce(),
        take_again: impl FnOnce() -> R,
    ) -> Result<(bool, R), Refused> {
        let mine = self.claim()?;
        let ticket = self.tickets.fetch_add(1, Release).wrapping_mul(TICKET);
        mine.word.store(ticket | WAITING, Release);
        let_go();
        if !self.sleep(mine, ticket, limit) {
            mine.lease.release();
            return Ok((false, take_again()));
        }
        // Until the lock is this thread's again, its death must give the notification to another.
        let answer = take_again();
        mine.word.store(NONE, Release);
        mine.lease.release();
        Ok((true, answer))
    }

    fn notify(&self, count: u32) -> u32 {
        if self.used.load(Acquire) == 0 || count == 0 {
            return 0;
        }
        self.gate.covered(|| {
            let now = self.now();
            let mut notified = 0;
            while notified < count && self.notify_first(now) {
                notified += 1;
            }
            notified
        })
    }
}
