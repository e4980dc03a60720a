//! The queue of processes: a table of places, each with a lease that tells when the waiter dies.
//!
//! A place is a [`Lease`] and a word of 64 bits: the futex half, on which its waiter sleeps, and the waiter's ticket, a
//! running number that is never 0. Every step is one compare-exchange of one word, so whatever a killed participant
//! leaves is a state of this table, and the next one who looks completes it:
//!
//! | lease | futex half | ticket | meaning | what the next one does |
//! | --- | --- | --- | --- | --- |
//! | free | 0 | none | nobody's place | |
//! | held | 0 | none | somebody is coming or going | |
//! | held | `WAITING` or `ASLEEP` | its own | in the queue, where its ticket says | |
//! | held | 0 | its own | notified, on its way to the lock | |
//! | dead | any but notified | | died in the queue, or before, or after | frees the place |
//! | dead | 0 | its own | died with a notification that it had not used | notifies the next, then frees the place |
//!
//! Who has the oldest ticket is first. (The order of two waiters is lost if one sleeps through 2^31 arrivals.)
//!
//! **A notifier** keeps the kernel's pending entry at the word that it changes. Its half never looks as if it had an
//! owner, so when the notifier is killed before its wake, the kernel wakes the waiter in its stead.
//!
//! **A notified waiter's** death is seen by those behind it: a sleeper sleeps on its own word and on the leases of
//! those that were before it. Only those can have been notified while it still sleeps, so should one die with a
//! notification, somebody who needs it hears of it. A watcher is protected by the gate until it has passed the
//! notification on. A sleeper that had nobody before it neither watches nor inherits anything, and sleeps on its own
//! word alone.
//!
//! Orderings: entering and notifying are `Release`, looking at words `Acquire`. A place is entered while the user's
//! lock is held, so a notifier that has had the lock since finds it.

use super::Queue;
use crate::atomic::AtomicU32;
use crate::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::futex::{self, Limit, Reach, Wait, Waiter};
use crate::robust::RobustList;
use crate::sync::gate::{Gate, SharedGate, Woke};
use crate::sync::lease::{Holder, Lease, Look};
use crate::sync::scope::Refused;
use crate::sync::spin::Spin;
use crate::sync::split_word::SplitWord;

/// How many may wait at a time. `futex_waitv` takes 128 words, of which the gate, a place's own word and a `Cancel` are
/// three.
const PLACES: usize = 120;

/// In the futex half: in the queue, looking.
const WAITING: u32 = 1 << 30;
/// In the futex half: in the queue, asleep.
const ASLEEP: u32 = 1 << 31;
/// The word of a place that nobody waits at.
const NONE: u64 = 0;

/// The word of a waiter: of one that was notified, if it is neither waiting nor asleep.
const fn word(ticket: u32, half: u32) -> u64 {
    ((ticket as u64) << 32) | half as u64
}

const fn ticket_of(word: u64) -> u32 {
    (word >> 32) as u32
}

/// Whether a place with this word is in the queue.
const fn waits(word: u64) -> bool {
    word as u32 != 0
}

const fn is_notified(word: u64) -> bool {
    word != NONE && word as u32 == 0
}

/// How many tickets before `now` a waiter arrived; 0 for one that arrived later.
const fn age(word: u64, now: u32) -> u32 {
    let age = now.wrapping_sub(ticket_of(word));
    if age > u32::MAX / 2 { 0 } else { age }
}

/// One waiter's place, on a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
struct Place {
    lease: Lease,
    word: SplitWord,
}

impl Place {
    fn is_notified(&self) -> bool {
        is_notified(self.word.load(Acquire))
    }

    /// What the lease says, and the word, looked at in this order: so the word is that of the holder, or of a later
    /// one. The word of the dead is theirs: it may be cleared, and a later waiter would never be notified without its
    /// own.
    fn look(&self) -> (Look, u64) {
        loop {
            let lease = self.lease.look();
            let word = self.word.load(Acquire);
            if lease.holder() != Holder::Dead || self.lease.look() == lease {
                return (lease, word);
            }
        }
    }

    /// Frees a place whose holder died, when nothing is left to do for it. Both are as they were seen.
    fn reclaim(&self, lease: Look, word: u64) {
        // The word first: a free place has none. Whoever loses one of these two races finds it done by another.
        let _ = self.word.change(word, NONE, AcqRel);
        if self.word.load(Acquire) == NONE {
            self.lease.reclaim(lease);
        }
    }
}

/// The table. Zero bytes are an empty one.
#[derive(Debug)]
#[repr(C)]
pub struct SharedQueue {
    gate: SharedGate,
    spin: Spin,
    /// The ticket that was given last.
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
            self.gate.protected(|| self.complete());
        }
        Err(Refused::TableFull)
    }

    /// A ticket: the next number, but not 0.
    fn ticket(&self) -> u32 {
        match self.tickets.fetch_add(1, AcqRel).wrapping_add(1) {
            0 => self.ticket(),
            ticket => ticket,
        }
    }

    /// One more than the ticket that was given last.
    fn now(&self) -> u32 {
        self.tickets.load(Acquire).wrapping_add(1)
    }

    /// The living waiter that came first, if it came before `now`, and its word.
    fn first(&self, now: u32) -> Option<(&Place, u64)> {
        let mut first: Option<(&Place, u64)> = None;
        for place in self.in_use() {
            let (lease, word) = place.look();
            if waits(word) && age(word, now) > first.map_or(0, |(_, oldest)| age(oldest, now)) {
                if lease.holder() == Holder::Dead {
                    place.reclaim(lease, word);
                } else {
                    first = Some((place, word));
                }
            }
        }
        first
    }

    /// Notifies a waiter whose word is still as it was seen.
    fn tell(&self, place: &Place, seen: u64) -> bool {
        let told = place.word.change(seen, word(ticket_of(seen), 0), AcqRel).is_ok();
        if told && seen as u32 == ASLEEP {
            self.gate.wake(place.word.futex(), 1);
        }
        told
    }

    /// Passes on what the dead have left. To be called in a stretch that the gate covers: whom it tells it must wake.
    fn complete(&self) {
        let now = self.now();
        for place in self.in_use() {
            let (lease, word) = place.look();
            if lease.holder() != Holder::Dead {
                if is_notified(word) {
                    // Whoever passed this on may have died before its wake.
                    self.gate.wake(place.word.futex(), 1);
                }
                continue;
            }
            if is_notified(word) {
                while self.first(now).is_some_and(|(first, seen)| !self.tell(first, seen)) {}
            }
            place.reclaim(lease, word);
        }
    }

    /// Waits until `mine` is notified; false when the limit is over and it is out of the queue.
    fn sleep(&self, mine: &Place, ticket: u32, limit: Limit<'_>) -> bool {
        if !limit.is_now() && self.spin.until(|| mine.is_notified()) {
            return true;
        }
        let (waiting, asleep) = (word(ticket, WAITING), word(ticket, ASLEEP));
        let mut seen = waiting;
        if !limit.is_now() && mine.word.change(waiting, asleep, Relaxed).is_ok() {
            seen = asleep;
            self.sleep_alone_or_covered(mine, asleep, limit);
        }
        // Out of the queue, unless somebody was faster and notified it.
        mine.word.change(seen, NONE, AcqRel).is_err()
    }

    /// Sleeps until `mine` is notified or the limit is over.
    fn sleep_alone_or_covered(&self, mine: &Place, asleep: u64, limit: Limit<'_>) {
        let now = self.now();
        let before = |place: &Place| {
            // Whoever waits behind this one is notified after it.
            let word = place.word.load(Acquire);
            place.lease.holder() != Holder::Nobody && !(waits(word) && age(word, now) <= age(asleep, now))
        };
        if !self.in_use().iter().any(before) && RobustList::current().is_some() {
            while !mine.is_notified() {
                if futex::sleep(mine.word.futex(), ASLEEP, Reach::Shared, limit) == Wait::TimedOut {
                    return;
                }
            }
            return;
        }
        self.gate.protected(|| {
            while !mine.is_notified() {
                match self.sleep_once(mine, before, limit) {
                    Woke::Look => {}
                    Woke::PeerDied => self.complete(),
                    Woke::TimedOut | Woke::Never => return,
                }
            }
        });
    }

    /// Sleeps on the own word and on the leases of those before it.
    fn sleep_once(&self, mine: &Place, before: impl Fn(&Place) -> bool, limit: Limit<'_>) -> Woke {
        let mut words = [Waiter::new(mine.word.futex(), ASLEEP, Reach::Shared); PLACES + 3];
        let mut count = 1;
        for place in self.in_use().iter().filter(|place| before(place)) {
            let lease = place.lease.look();
            match lease.holder() {
                Holder::Thread(_) => {
                    if let Some(word) = words.get_mut(count) {
                        *word = place.lease.watch(lease);
                        count += 1;
                    }
                }
                // It died before anyone watched it.
                Holder::Dead => return Woke::PeerDied,
                Holder::Nobody => {}
            }
        }
        match self.gate.sleep_on(&mut words, count, limit) {
            // A lease that was watched: its holder died.
            (Woke::Look, at) if (1..count).contains(&at) => Woke::PeerDied,
            (woke, _) => woke,
        }
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
        let ticket = self.ticket();
        mine.word.store(word(ticket, WAITING), Release);
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
        if self.used.load(Acquire) == 0 {
            return 0;
        }
        let now = self.now();
        let mut notified = 0;
        while notified < count {
            let Some((first, seen)) = self.first(now) else { break };
            notified += u32::from(SharedGate::protected_at(&first.word, || self.tell(first, seen)));
        }
        notified
    }
}
