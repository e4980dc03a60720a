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
//! | held | `WAITING`, `ASLEEP` or `NUDGED` | its own | in the queue, where its ticket says | |
//! | held | 0 | its own | notified, on its way to the lock | |
//! | dead | any but notified | | died in the queue, or before, or after | frees the place |
//! | dead | 0 | its own | died with a notification that it had not used | notifies the next, then frees the place |
//!
//! Who has the oldest ticket is first. (The order of two waiters is lost if one sleeps through 2^31 arrivals.) Those
//! that are notified are notified in this order, so each of them is before all that are in the queue still.
//!
//! **A notifier** keeps the kernel's pending entry at the word that it changes. Its half never looks as if it had an
//! owner, so when the notifier is killed before its wake, the kernel wakes the waiter in its stead.
//!
//! **A notified waiter's** death must be seen by a waiter in the queue, which passes the notification on. Each sleeper
//! watches as little as will do:
//!
//! | who sleeps | sleeps on |
//! | --- | --- |
//! | the first of the queue | its own word, the leases of those who are notified and not done, the gate |
//! | any other | its own word, the lease of the waiter before it in the queue, the gate |
//! | both | besides, the leases of held places without a ticket, whose holders come or go |
//! | a waiter that had nobody before it | its own word alone: nobody's death concerns it |
//!
//! So the second hears of the first's death, the third of the second's, and so on. Whoever hears of a death looks at
//! the whole table, passes on what the dead have left, and sleeps anew. A waiter that leaves the queue alive *hands
//! over*. If a waiter before it is still there, notified or waiting, it *nudges* the next waiter behind it. That waiter
//! looks anew, and watches what the leaving waiter watched. A notified waiter hands over when it has the lock, before
//! it gives up its ticket. A waiter whose time ran out hands over when it has given up its ticket, before it frees its
//! place.
//!
//! | at this instant a waiter dies | who sees it |
//! | --- | --- |
//! | before it has a ticket | nobody needs to; but those that began to sleep after its claim do |
//! | in the queue | the waiter behind it |
//! | notified, until it has given up its ticket | the waiter behind it, or the first of the queue |
//! | while it passes on what a dead one has left | the same, and a sleeper at the gate |
//! | while it hands over | the same: it has its lease still |
//! | with nobody in the queue | the next waiter that comes |
//!
//! A sleeper stays on a lease while the holders of that place change. At a death the kernel wakes one sleeper of the
//! lease, who may not be the one that is to watch the dead. So the participant that frees the place of the dead first
//! wakes all who sleep on the lease, and each of them looks anew.
//!
//! The changes and looks that this needs are in one order. A sleeper first announces its sleep in its own word, and
//! then looks at the others. A waiter that leaves changes its own word, or has been notified, and then looks for the
//! waiters behind it. So one of the two sees the other. A nudge changes the word of the sleeper. So a waiter that has
//! looked already, and does not sleep yet, does not miss the nudge.
//!
//! A waiter may be stopped (by a debugger or a signal) while it leaves the queue, or while it sleeps as the first. Then
//! it does not watch. If an earlier notified waiter dies, its notification waits until the stopped waiter goes on, or
//! until another waiter looks at the table.
//!
//! Orderings: entering is `Release`. A place is entered while the user's lock is held, so a notifier that has had the
//! lock since finds it. What is said above is `SeqCst`.

use super::Queue;
use crate::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::atomic::{AtomicU32, in_one_order, step};
use crate::deadline::Deadline;
use crate::futex::{Limit, Reach, Waiter};
use crate::sync::gate::{SharedGate, Woke};
use crate::sync::lease::{Holder, Lease, Look};
use crate::sync::participants::{Enrolment, WatchingGate};
use crate::sync::scope::Refused;
use crate::sync::spin::Spin;
use crate::sync::split_word::SplitWord;

/// How many may wait at a time. `futex_waitv` takes 128 words, of which the gate, a place's own word and a `Cancel` are
/// three.
const PLACES: usize = 120;
/// Room for this many leases in the first look.
const FEW: usize = 8;
/// How many waiters one look at the table finds, if many are to be notified.
const MANY: usize = 32;

/// In the futex half: in the queue, looking.
const WAITING: u32 = 1 << 30;
/// In the futex half: in the queue, asleep.
const ASLEEP: u32 = 1 << 31;
/// In the futex half: in the queue, woken from its sleep to look anew.
const NUDGED: u32 = WAITING | ASLEEP;
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
struct Place<L> {
    lease: L,
    word: SplitWord,
}

impl<L: Enrolment> Place<L> {
    fn is_notified(&self) -> bool {
        is_notified(self.word.load(Acquire))
    }

    /// What the lease says, and the word, looked at in this order: so the word is that of the holder, or of a later
    /// one. The word of the dead is theirs: it may be cleared, and a later waiter would never be notified without its
    /// own.
    fn look(&self) -> (Look, u64) {
        loop {
            let lease = self.lease.look();
            let word = self.word.load(SeqCst);
            if lease.holder() != Holder::Dead || self.lease.look() == lease {
                return (lease, word);
            }
        }
    }

    /// Frees a place whose holder died, when nothing is left to do for it. Both are as they were seen.
    fn reclaim(&self, lease: Look, word: u64) {
        // While the place is still that of the dead: the woken ones see that, and look anew.
        self.lease.wake_watchers();
        step();
        // The word first: a free place has none. Whoever loses one of these two races finds it done by another.
        let _ = self.word.change(word, NONE, AcqRel);
        if self.word.load(Acquire) == NONE {
            self.lease.reclaim(lease);
        }
    }
}

/// The oldest waiters of a queue, at most `MOST`, in order.
struct Oldest<'q, L, const MOST: usize> {
    found: [Option<Waiting<'q, L>>; MOST],
    count: usize,
}

struct Waiting<'q, L> {
    age: u32,
    place: &'q Place<L>,
    seen: u64,
}

impl<'q, L: Enrolment, const MOST: usize> Oldest<'q, L, MOST> {
    /// The oldest of the waiters that came before `now`.
    fn of(places: &'q [Place<L>], now: u32, most: usize) -> Self {
        let mut oldest = Self { found: [const { None }; MOST], count: 0 };
        for place in places {
            let (lease, seen) = place.look();
            let age = age(seen, now);
            let is_older = |than: &Option<Waiting<'_, L>>| than.as_ref().is_none_or(|than| age > than.age);
            let filled = oldest.found.get(..oldest.count).unwrap_or_default();
            let at = filled.iter().position(is_older).unwrap_or(oldest.count);
            if !waits(seen) || age == 0 || at >= most.min(MOST) {
                continue;
            }
            if lease.holder() == Holder::Dead {
                place.reclaim(lease, seen);
                continue;
            }
            oldest.count = (oldest.count + 1).min(most.min(MOST));
            if let Some(behind) = oldest.found.get_mut(at..oldest.count) {
                behind.rotate_right(1);
                if let Some(first) = behind.first_mut() {
                    *first = Some(Waiting { age, place, seen });
                }
            }
        }
        oldest
    }

    fn iter(&self) -> impl Iterator<Item = &Waiting<'q, L>> {
        self.found.iter().take(self.count).flatten()
    }
}

/// The table. Zero bytes are an empty one.
#[derive(Debug)]
#[repr(C)]
pub struct SharedQueue<L = Lease, G = SharedGate, const N: usize = PLACES> {
    gate: G,
    spin: Spin,
    /// The ticket that was given last.
    tickets: AtomicU32,
    /// Places from here on were never used.
    used: AtomicU32,
    places: [Place<L>; N],
}

impl SharedQueue {
    /// Whether a thread of this process waits here through this mapping.
    pub(crate) fn is_linked_here(&self) -> bool {
        self.in_use().iter().any(|place| place.lease.is_linked_here())
    }
}

impl<L, G, const N: usize> SharedQueue<L, G, N> {
    #[cfg(loom)]
    pub(crate) fn of(gate: G, lease: impl Fn() -> L) -> Self {
        let place = |_| Place { lease: lease(), word: SplitWord::new(NONE) };
        let number = || AtomicU32::new(0);
        Self { gate, spin: Spin::new(), tickets: number(), used: number(), places: core::array::from_fn(place) }
    }

    fn in_use(&self) -> &[Place<L>] {
        // Acquire: a place's ticket was given after this number was raised.
        self.places.get(..self.used.load(Acquire) as usize).unwrap_or(&self.places)
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
}

/// What a sleeper found before it.
struct Before {
    /// How many words to sleep on, its own included.
    count: usize,
    /// Whether there was no room for all.
    is_more: bool,
    is_dead: bool,
}

impl<L: Enrolment, G: WatchingGate, const N: usize> SharedQueue<L, G, N> {
    /// A place of one's own, not in the queue yet.
    fn claim(&self) -> Result<&Place<L>, Refused> {
        let mut dead = false;
        for _ in 0..2 {
            for (index, place) in self.places.iter().enumerate() {
                match place.lease.look().holder() {
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

    /// Notifies a waiter, if it is still in the queue with the ticket that was seen.
    fn tell(&self, waiter: &Waiting<'_, L>) -> bool {
        let mut seen = waiter.seen;
        loop {
            step();
            match waiter.place.word.change(seen, word(ticket_of(seen), 0), SeqCst) {
                Ok(_) if seen as u32 & ASLEEP == 0 => return true,
                Ok(_) => {
                    self.gate.wake(waiter.place.word.futex(), 1);
                    return true;
                }
                Err(now) if waits(now) && ticket_of(now) == ticket_of(seen) => seen = now,
                Err(_) => return false,
            }
        }
    }

    /// Has a sleeper look anew.
    fn nudge(&self, sleeper: &Waiting<'_, L>) {
        let (place, asleep) = (sleeper.place, word(ticket_of(sleeper.seen), ASLEEP));
        G::protected_word(place.word.futex(), || {
            let nudged = word(ticket_of(asleep), NUDGED);
            step();
            let before = place.word.change(asleep, nudged, SeqCst).unwrap_or_else(|now| now);
            if before == asleep || before == nudged {
                self.gate.wake(place.word.futex(), 1);
            }
        });
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
                while Oldest::<_, 1>::of(self.in_use(), now, 1).iter().next().is_some_and(|first| !self.tell(first)) {}
            }
            step();
            place.reclaim(lease, word);
        }
    }

    /// To be called by a waiter that leaves the queue, while it has its lease. Makes sure that the waiters before it
    /// are watched.
    fn hand_over(&self, mine: &Place<L>, ticket: u32) {
        in_one_order();
        let now = self.now();
        let own = age(word(ticket, 0), now);
        let (mut is_dead, mut is_before, mut next) = (false, false, None::<Waiting<'_, L>>);
        for place in self.in_use().iter().filter(|place| !core::ptr::eq(*place, mine)) {
            let (lease, seen) = place.look();
            let age = age(seen, now);
            match lease.holder() {
                Holder::Nobody => {}
                Holder::Dead => is_dead |= is_notified(seen),
                Holder::Thread(_) if seen == NONE => {}
                Holder::Thread(_) if age > own => is_before = true,
                Holder::Thread(_) => {
                    if waits(seen) && next.as_ref().is_none_or(|next| age > next.age) {
                        next = Some(Waiting { age, place, seen });
                    }
                }
            }
        }
        if is_dead {
            self.gate.protected(|| self.complete());
        }
        if let Some(next) = next.filter(|next| is_before && next.seen as u32 & ASLEEP != 0) {
            self.nudge(&next);
        }
    }

    /// Waits until `mine` is notified; false when the limit is over and it is out of the queue.
    fn sleep(&self, mine: &Place<L>, ticket: u32, limit: Limit<'_>) -> bool {
        if !limit.is_now() {
            if self.spin.until(|| mine.is_notified()) {
                return true;
            }
            self.sleep_in_queue(mine, ticket, limit);
        }
        // Out of the queue, unless somebody was faster and notified it.
        let mut seen = mine.word.load(Acquire);
        while !is_notified(seen) {
            step();
            match mine.word.change(seen, NONE, SeqCst) {
                Ok(_) => return false,
                Err(now) => seen = now,
            }
        }
        true
    }

    /// Sleeps until `mine` is notified or the limit is over.
    fn sleep_in_queue(&self, mine: &Place<L>, ticket: u32, limit: Limit<'_>) {
        loop {
            let seen = mine.word.load(Acquire);
            if is_notified(seen) {
                return;
            }
            step();
            if seen as u32 != ASLEEP && mine.word.change(seen, word(ticket, ASLEEP), SeqCst).is_err() {
                continue;
            }
            in_one_order();
            let woke = self.sleep_once::<{ FEW + 3 }>(mine, ticket, limit);
            let woke = woke.or_else(|| self.sleep_once::<{ PLACES + 3 }>(mine, ticket, limit));
            if matches!(woke, Some(Woke::TimedOut | Woke::Never)) {
                return;
            }
        }
    }

    /// Sleeps on the own word and on the leases of those before it; `None` if these are too many.
    fn sleep_once<const WORDS: usize>(&self, mine: &Place<L>, ticket: u32, limit: Limit<'_>) -> Option<Woke> {
        let mut words = [Waiter::new(mine.word.futex(), ASLEEP, Reach::Shared); WORDS];
        let before = self.before(mine, ticket, words.get_mut(..WORDS - 2).unwrap_or_default());
        if before.is_more && WORDS < PLACES {
            return None;
        }
        if before.count == 1 && !before.is_dead {
            if let Some(woke) = G::sleep_alone(mine.word.futex(), ASLEEP, limit) {
                return Some(woke);
            }
        }
        // If not even that many words are enough, the sleeper looks again soon.
        let until = if before.is_more { limit.or_sooner(Deadline::after(AGAIN)) } else { limit };
        Some(self.gate.protected(|| {
            let woke = if before.is_dead {
                Woke::PeerDied
            } else {
                match self.gate.sleep_on(&mut words, before.count, until) {
                    // A lease that was watched: its holder died.
                    (Woke::Look, at) if (1..before.count).contains(&at) => Woke::PeerDied,
                    (Woke::TimedOut, _) if !limit.is_over() => Woke::Look,
                    (woke, _) => woke,
                }
            };
            if woke == Woke::PeerDied {
                self.complete();
            }
            woke
        }))
    }

    /// Whom `mine` must watch, as the table at the top of this file says. Their leases are written behind the first
    /// word.
    fn before<'q>(&'q self, mine: &Place<L>, ticket: u32, words: &mut [Waiter<'q>]) -> Before {
        let now = self.now();
        let own = age(word(ticket, 0), now);
        let mut before = Before { count: 1, is_more: false, is_dead: false };
        let mut watch = |lease: &'q L, seen: Look| match words.get_mut(before.count) {
            Some(word) => {
                *word = lease.watch(seen);
                before.count += 1;
            }
            None => before.is_more = true,
        };
        let mut nearest: Option<(u32, &'q Place<L>, Look)> = None;
        let (mut notified, mut is_dead) = (false, false);
        for place in self.in_use().iter().filter(|place| !core::ptr::eq(*place, mine)) {
            let (lease, seen) = place.look();
            let age = age(seen, now);
            match lease.holder() {
                Holder::Nobody => {}
                // It died before anyone watched it.
                Holder::Dead => is_dead = true,
                Holder::Thread(_) if seen == NONE => watch(&place.lease, lease),
                Holder::Thread(_) if age <= own => {}
                Holder::Thread(_) if is_notified(seen) => notified = true,
                Holder::Thread(_) => {
                    if nearest.is_none_or(|(nearest, ..)| age < nearest) {
                        nearest = Some((age, place, lease));
                    }
                }
            }
        }
        match nearest {
            Some((_, place, lease)) => watch(&place.lease, lease),
            None if notified => {
                for place in self.in_use() {
                    let (lease, seen) = place.look();
                    match lease.holder() {
                        Holder::Thread(_) if is_notified(seen) && age(seen, now) > own => watch(&place.lease, lease),
                        Holder::Dead => is_dead = true,
                        _ => {}
                    }
                }
            }
            None => {}
        }
        before.is_dead = is_dead;
        before
    }
}

/// How soon a sleeper looks again that has more to watch than one sleep takes.
const AGAIN: core::time::Duration = core::time::Duration::from_millis(10);

impl<L: Enrolment, G: WatchingGate, const N: usize> Queue for SharedQueue<L, G, N> {
    fn wait<R>(
        &self,
        limit: Limit<'_>,
        let_go: impl FnOnce(),
        take_again: impl FnOnce() -> R,
    ) -> Result<(bool, R), Refused> {
        let mine = self.claim()?;
        let ticket = self.ticket();
        step();
        mine.word.store(word(ticket, WAITING), Release);
        let_go();
        if !self.sleep(mine, ticket, limit) {
            self.hand_over(mine, ticket);
            mine.lease.release();
            return Ok((false, take_again()));
        }
        // Until the lock is this thread's again, its death must give the notification to another.
        let answer = take_again();
        self.hand_over(mine, ticket);
        step();
        mine.word.store(NONE, Release);
        mine.lease.release();
        Ok((true, answer))
    }

    fn notify(&self, count: u32) -> u32 {
        if self.used.load(Acquire) == 0 {
            return 0;
        }
        let now = self.now();
        if count == 1 { self.notify_some::<1>(now, 1) } else { self.notify_some::<MANY>(now, count) }
    }
}

impl<L: Enrolment, G: WatchingGate, const N: usize> SharedQueue<L, G, N> {
    /// Notifies the oldest of those that came before `now`, in their order.
    fn notify_some<const AT_ONCE: usize>(&self, now: u32, count: u32) -> u32 {
        let mut notified = 0;
        while notified < count {
            let oldest = Oldest::<_, AT_ONCE>::of(self.in_use(), now, (count - notified) as usize);
            if oldest.count == 0 {
                break;
            }
            for waiter in oldest.iter() {
                notified += u32::from(G::protected_word(waiter.place.word.futex(), || self.tell(waiter)));
            }
        }
        notified
    }
}
