//! The queue of processes: a table of places, each with a lease that shows the waiter's death.
//!
//! A place is a [`Lease`] and a word of 64 bits. The word has the futex half, on which the waiter sleeps, and the
//! waiter's ticket, a running number that is never 0. Every step is one compare-exchange of one word. So a killed
//! participant always leaves a state of this table, and the next participant that looks completes it:
//!
//! | lease | futex half | ticket | meaning | what the next participant does |
//! | --- | --- | --- | --- | --- |
//! | free | 0 | none | the place has no holder | |
//! | held | 0 | none | a waiter comes or goes | |
//! | held | `WAITING`, `ASLEEP` (alone, with `BELL`, or with `BELL` and `COVERS`) or `NUDGED` | its own | in the queue, in the order of its ticket | |
//! | held | 0 | its own | notified, on its way to the lock | |
//! | dead | any except notified | | died in the queue, or before, or after | frees the place |
//! | dead | 0 | its own | died with a notification that it had not used | notifies the first waiter, then frees the place; without a waiter, leaves it |
//!
//! The waiter with the oldest ticket is first. (The order of two waiters is lost if one sleeps through 2^31 arrivals.)
//! Waiters are notified in this order, so each notified waiter is before all waiters that are still in the queue.
//!
//! **A notifier** keeps the kernel's pending entry at the word that it changes. After the change the futex half of that
//! word does not look as if it had an owner. So if the notifier is killed before its wake, the kernel wakes the waiter
//! instead. A notifier of all waiters wakes them by one system call: see [`notify`](super::notify).
//!
//! **A notified waiter's** death must be seen by a waiter in the queue, which passes the notification on. Each sleeper
//! watches only what this requires:
//!
//! | sleeper | sleeps on |
//! | --- | --- |
//! | the first of the queue | its own word, the leases of the waiters that are notified and not done, the gate, the bell |
//! | any other | its own word, the lease of the waiter before it in the queue, the gate, the bell |
//! | both | in addition, the leases of held places without a ticket, whose holders come or go |
//! | a waiter that had no waiter before it | only its own word: no death concerns it |
//!
//! So the second waiter sees the first one's death, the third sees the second one's, and so on. A sleeper that sees a
//! death looks at the whole table, passes on what the dead have left, and sleeps again. A waiter that leaves the queue
//! alive *hands over*. If a waiter before it is still there, notified or waiting, it *nudges* the next waiter behind
//! it. That waiter looks again, and watches what the leaving waiter watched. A notified waiter hands over when it has
//! the lock, before it gives up its ticket. A waiter whose time ran out hands over when it has given up its ticket,
//! before it frees its place.
//!
//! **The first of the queue is not nudged.** It *covers*: it watches all waiters that may be before it, and has marked
//! its word with `COVERS` after it has looked at them. Whoever is before a leaving waiter is before this sleeper too,
//! and had its place when the sleeper looked. So the sleeper watches it. If the sleeper is woken, it takes the mark
//! away, and then looks again. (If more than 120 waiters are notified and not done, it watches 120 of them, and looks
//! again after 10 ms.) Without this rule, each of many notified waiters would wake the first one that waits again.
//!
//! | a waiter dies | who sees its death |
//! | --- | --- |
//! | before it has a ticket | no waiter needs to; the waiters that began to sleep after its claim do |
//! | in the queue | the waiter behind it |
//! | notified, until it has given up its ticket | the waiter behind it, or the first of the queue |
//! | while it passes on what a dead waiter has left | the same, and a sleeper at the gate |
//! | while it hands over | the same: it still has its lease |
//! | with no waiter in the queue | the next waiter that comes and sleeps; if all other places are held, the next thread that comes takes the place over |
//!
//! **A notification without a waiter** stays in the place of the dead. The waiter that gets it enters the queue first,
//! and then looks at the leases. If there is no other place, a thread takes this place over by one step. The lease
//! changes from dead to held, with the notification and its ticket still in the word. From that step on the thread is a
//! notified waiter, the oldest of all. If it is killed, the notification is in the place of a dead waiter again. If it
//! is refused, nothing has changed. Another participant may have passed the notification on at the same time, and then
//! clears the word. So two waiters may have the notification.
//!
//! A sleeper keeps sleeping on a lease while the place changes holders. At a death the kernel wakes one sleeper of the
//! lease, perhaps another than the waiter that has to watch the dead. So the participant that frees the place of the
//! dead first wakes all sleepers on the lease, and each of them looks again.
//!
//! These changes and looks are in one total order. A sleeper first announces its sleep in its own word, and then looks
//! at the others. A waiter that leaves changes its own word, or has been notified, and then looks for the waiters
//! behind it. So at least one of the two sees the other. A nudge changes the word of the sleeper. So a waiter that has
//! looked already, and does not sleep yet, does not miss the nudge: it cannot set `BELL` or `COVERS` any more.
//!
//! A waiter may be stopped (by a debugger or a signal) while it leaves the queue, or while it sleeps as the first. Then
//! it does not watch. If an earlier notified waiter dies, its notification waits until the stopped waiter continues, or
//! until another waiter looks at the table.
//!
//! **The first waiter.** A notifier finds it by a look at the whole table, or in the list that such a look has left:
//! see [`oldest`](super::oldest). The places of a queue come into use one after the other. A queue for more than 120
//! waiters allocates the pages of a place before the place is used.
//!
//! Orderings: entering is `Release`. A place is entered while the user's lock is held, so a notifier that has held the
//! lock since then finds the place. The steps above are `SeqCst`.

use core::mem::offset_of;
use core::sync::atomic::fence;

use super::Queue;
use super::oldest::List;
use super::place::{ASLEEP, BELL, COVERS, NONE, NUDGED, Place, WAITING, age, is_notified, ticket_of, waits, word};
use crate::atomic::Ordering::{AcqRel, Acquire, Release, SeqCst};
use crate::atomic::{AtomicU32, AtomicU64, in_one_order, step};
use crate::deadline::Deadline;
use crate::futex::{Limit, Reach, Waiter, waits_on_several};
use crate::sync::gate::{SharedGate, Woke};
use crate::sync::lease::{Holder, Lease, Look};
use crate::sync::participants::{Enrolment, SLOTS, WatchingGate};
use crate::sync::scope::Refused;
use crate::sync::spin::Spin;

/// The maximum number of leases that a sleeper watches. `futex_waitv` takes 128 words; the gate, the bell, a place's
/// own word twice and a `Cancel` are five of them.
const WATCHED: usize = 120;
/// The number of leases for which the first attempt has room.
const FEW: usize = 8;
/// The number of places of a queue in the model of the list.
pub(crate) const WITH_LIST: usize = 3;
/// The number of waiters that one scan of the table finds, if there is a list.
pub(super) const LISTED: usize = if cfg!(loom) { 2 } else { 256 };

/// A waiter that a scan found in the queue.
struct Waiting<'q, L> {
    age: u32,
    place: &'q Place<L>,
    seen: u64,
}

/// The table. Zero bytes are an empty table.
#[derive(Debug)]
#[repr(C)]
pub struct SharedQueue<L, G, const N: usize> {
    /// The head of the [`List`].
    head: AtomicU64,
    pub(super) gate: G,
    spin: Spin,
    /// The last ticket that was given out.
    tickets: AtomicU32,
    /// The first place that was never used. Places from here on may have no pages.
    pub(super) used: AtomicU32,
    /// Always 0: a word at which sleepers are woken together. See [`notify`](super::notify).
    pub(crate) bell: AtomicU32,
    places: [Place<L>; N],
    /// The entries of the [`List`]. Only the first [`LISTED`] are used, because one scan finds no more. These have
    /// pages before there is a list.
    entries: [AtomicU32; N],
}

impl<const N: usize> SharedQueue<Lease, SharedGate, N> {
    /// The number of bytes before the places.
    pub(crate) const HEAD: usize = offset_of!(Self, places);

    /// Whether a thread of this process waits on this queue through this mapping.
    pub(crate) fn is_linked_here(&self) -> bool {
        self.in_use().iter().any(|place| place.lease.is_linked_here())
    }
}

impl<L, G, const N: usize> SharedQueue<L, G, N> {
    #[cfg(loom)]
    pub(crate) fn of(gate: G, lease: impl Fn() -> L) -> Self {
        let place = |_| Place::new(lease());
        let number = || AtomicU32::new(0);
        let (places, entries) = (core::array::from_fn(place), core::array::from_fn(|_| number()));
        let (tickets, used, bell) = (number(), number(), number());
        Self { head: AtomicU64::new(0), gate, spin: Spin::new(), tickets, used, bell, places, entries }
    }

    /// A notifier scans all places, and makes no list, while at most this many are in use. One model has lists.
    pub(super) const UNLISTED: usize = if !cfg!(loom) {
        16
    } else if N == WITH_LIST {
        0
    } else {
        N
    };

    pub(super) fn list(&self) -> List<'_> {
        List { head: &self.head, entries: self.entries.get(..LISTED).unwrap_or(&self.entries) }
    }

    pub(super) fn in_use(&self) -> &[Place<L>] {
        // Acquire: a place's ticket was given after this number was raised.
        self.places.get(..self.used.load(Acquire) as usize).unwrap_or(&self.places)
    }

    /// Takes a ticket: the next number, but never 0.
    fn ticket(&self) -> u32 {
        match self.tickets.fetch_add(1, AcqRel).wrapping_add(1) {
            0 => self.ticket(),
            ticket => ticket,
        }
    }

    /// The ticket that the next waiter will get.
    pub(super) fn now(&self) -> u32 {
        self.tickets.load(Acquire).wrapping_add(1)
    }
}

/// The place of a dead waiter whose notification waits for the next waiter.
struct Left<'q, L> {
    place: &'q Place<L>,
    lease: Look,
    ticket: u32,
}

/// The waiters that a sleeper found before it.
struct Before {
    /// The number of words to sleep on, including its own.
    count: usize,
    /// Whether there was not enough room for all of them.
    is_more: bool,
    is_dead: bool,
    /// Whether no other waiter before it is in the queue.
    is_first: bool,
}

impl<L: Enrolment, G: WatchingGate, const N: usize> SharedQueue<L, G, N> {
    /// Claims a place, which is not in the queue yet. If only the place of a dead holder was free, and this holder has
    /// left a notification, the caller has taken the notification over. The second value is its ticket then.
    fn claim(&self) -> Result<(&Place<L>, Option<u32>), Refused> {
        loop {
            let used = self.used.load(Acquire);
            let mut is_dead = false;
            for place in self.in_use() {
                match place.lease.look().holder() {
                    Holder::Nobody if place.lease.claim()? => return Ok((place, None)),
                    Holder::Dead => is_dead = true,
                    Holder::Nobody | Holder::Thread(_) => {}
                }
            }
            if (used as usize) < N {
                // The waiters in the queue handle the dead, and pass on what these have left.
                self.add_places(used)?;
            } else if is_dead {
                // Another participant has changed the table whenever this has to be repeated.
                if let Some(left) = self.gate.protected(|| self.complete()) {
                    left.place.lease.wake_watchers();
                    step();
                    if left.place.lease.inherit(left.lease)? {
                        return Ok((left.place, Some(left.ticket)));
                    }
                }
            } else {
                return Err(Refused::TableFull);
            }
        }
    }

    /// Adds places that were never used. Other threads may take them.
    fn add_places(&self, used: u32) -> Result<(), Refused> {
        let more = (used + 1 + if N > SLOTS { used / 8 } else { 0 }).min(N as u32);
        if N > SLOTS {
            if used as usize <= Self::UNLISTED {
                L::back(self.list().entries, |entry| entry)?;
            }
            let part = self.places.get(used as usize..more as usize).unwrap_or_default();
            L::back(part, |place| place.word.futex())?;
        }
        // Before any thread claims them, so that each look at the table sees them.
        self.used.fetch_max(more, Release);
        Ok(())
    }

    /// Wakes a sleeper to check again.
    fn nudge(&self, sleeper: &Waiting<'_, L>) {
        let (place, nudged) = (sleeper.place, word(ticket_of(sleeper.seen), NUDGED));
        G::protected_word(place.word.futex(), || {
            let mut seen = sleeper.seen;
            // The sleeper may be on its way to the bell.
            while [ASLEEP, ASLEEP | BELL].iter().any(|asleep| seen == word(ticket_of(nudged), *asleep)) {
                step();
                seen = place.word.change(seen, nudged, SeqCst).map_or_else(|now| now, |_| nudged);
            }
            if seen == nudged {
                self.gate.wake(place.word.futex(), 1);
            }
        });
    }

    /// Passes on the notifications of dead waiters. Must be called in a stretch that the gate protects, because the
    /// call must wake each waiter that it notifies. Returns a place with a notification for which there was no waiter.
    /// Such a place stays as it is. So a later waiter sees it, or takes it over.
    fn complete(&self) -> Option<Left<'_, L>> {
        let mut left = None;
        for place in self.in_use() {
            let (lease, word) = place.look();
            if lease.holder() != Holder::Dead {
                if is_notified(word) {
                    // The thread that passed this on may have died before its wake.
                    self.gate.wake(place.word.futex(), 1);
                }
                continue;
            }
            if is_notified(word) && !self.tell_first() {
                left = Some(Left { place, lease, ticket: ticket_of(word) });
                continue;
            }
            step();
            place.reclaim(lease, word);
        }
        left
    }

    /// Makes sure that the waiters before this one are watched. Called by a waiter that leaves the queue, while it has
    /// its lease.
    fn hand_over(&self, mine: &Place<L>, ticket: u32) {
        in_one_order();
        // A load of a lease or of the tickets is not `SeqCst`.
        fence(SeqCst);
        let now = self.now();
        let own = age(word(ticket, 0), now);
        let (mut is_dead, mut is_before, mut next) = (false, false, None::<Waiting<'_, L>>);
        for place in self.in_use().iter().filter(|place| !core::ptr::eq(*place, mine)) {
            let (lease, seen) = place.look();
            let age = age(seen, now);
            match lease.holder() {
                Holder::Nobody => {}
                Holder::Dead => {
                    is_dead |= is_notified(seen);
                    // A notifier may be about to notify the dead waiter, of which only this thread knew.
                    is_before |= waits(seen) && age > own;
                }
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
            let _ = self.gate.protected(|| self.complete());
        }
        let has_to_look = |next: &Waiting<'_, L>| next.seen as u32 & ASLEEP != 0 && next.seen as u32 & COVERS == 0;
        if let Some(next) = next.filter(|next| is_before && has_to_look(next)) {
            self.nudge(&next);
        }
    }

    /// Waits until `mine` is notified. Returns false if the limit is over and `mine` has left the queue.
    fn sleep(&self, mine: &Place<L>, ticket: u32, limit: Limit<'_>) -> bool {
        if !limit.is_now() {
            if self.spin.until(|| mine.is_notified()) {
                return true;
            }
            self.sleep_in_queue(mine, ticket, limit);
        }
        // Out of the queue, unless a notifier was faster.
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
            // The whole word: damaged memory may hold another ticket, and no thread notifies this waiter by that one.
            if seen != word(ticket, ASLEEP) && mine.word.change(seen, word(ticket, ASLEEP), SeqCst).is_err() {
                continue;
            }
            in_one_order();
            let woke = self.sleep_once::<{ FEW + 5 }>(mine, ticket, limit);
            let woke = woke.or_else(|| self.sleep_once::<{ WATCHED + 5 }>(mine, ticket, limit));
            // A waiter that sees a death does not sleep, so it looks at the limit here.
            let is_over = woke == Some(Woke::PeerDied) && limit.is_over();
            if is_over || matches!(woke, Some(Woke::TimedOut | Woke::Never)) {
                return;
            }
        }
    }

    /// Sleeps on its own word and on the leases of the waiters before it. Returns `None` if these are too many.
    fn sleep_once<const WORDS: usize>(&self, mine: &Place<L>, ticket: u32, limit: Limit<'_>) -> Option<Woke> {
        // A kernel that has no sleep on several words does not see the bell at once.
        let has_bell = waits_on_several();
        let mut words = [Waiter::new(mine.word.futex(), ASLEEP, Reach::Shared); WORDS];
        let before = self.before(mine, ticket, words.get_mut(..WORDS - 4).unwrap_or_default());
        if before.is_more && WORDS < WATCHED {
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
            let asleep = if !has_bell { ASLEEP } else { ASLEEP | BELL | if before.is_first { COVERS } else { 0 } };
            if let Some(own) = words.first_mut() {
                *own = Waiter::new(mine.word.futex(), asleep, Reach::Shared);
            }
            let is_at_bell = || {
                step();
                mine.word.change(word(ticket, ASLEEP), word(ticket, asleep), SeqCst).is_ok()
            };
            let woke = if before.is_dead {
                Woke::PeerDied
            } else if has_bell && !is_at_bell() {
                Woke::Look
            } else {
                let bell = has_bell.then_some(&self.bell);
                match self.gate.sleep_on(&mut words, before.count, bell, until) {
                    // A lease that was watched: its holder died.
                    (Woke::Look, at) if (1..before.count).contains(&at) => Woke::PeerDied,
                    (Woke::TimedOut, _) if !limit.is_over() => Woke::Look,
                    (woke, _) => woke,
                }
            };
            if woke == Woke::PeerDied {
                // This waiter itself is in the queue. If its ticket does not count as old, the time of 2^31 tickets has
                // passed, or the memory was overwritten. It then takes the notification, and does not look for ever.
                if let Some(left) = self.complete() {
                    if self.tell(mine, ticket) {
                        left.place.reclaim(left.lease, word(left.ticket, 0));
                    }
                }
            }
            woke
        }))
    }

    /// Finds the waiters that `mine` must watch, by the table at the top of this file. Writes their leases behind the
    /// first word.
    fn before<'q>(&'q self, mine: &Place<L>, ticket: u32, words: &mut [Waiter<'q>]) -> Before {
        let now = self.now();
        let own = age(word(ticket, 0), now);
        let mut before = Before { count: 1, is_more: false, is_dead: false, is_first: false };
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
                // It died before another waiter watched it.
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
        before.is_first = nearest.is_none();
        before
    }
}

/// How soon a sleeper checks again if it has more to watch than one sleep takes.
const AGAIN: core::time::Duration = core::time::Duration::from_millis(10);

impl<L: Enrolment, G: WatchingGate, const N: usize> Queue for SharedQueue<L, G, N> {
    fn wait<R>(
        &self,
        limit: Limit<'_>,
        let_go: impl FnOnce(),
        take_again: impl FnOnce() -> R,
    ) -> Result<(bool, R), Refused> {
        let (mine, left) = self.claim()?;
        let ticket = left.unwrap_or_else(|| self.ticket());
        if left.is_none() {
            step();
            mine.word.store(word(ticket, WAITING), Release);
        }
        let_go();
        if left.is_none() && !self.sleep(mine, ticket, limit) {
            self.hand_over(mine, ticket);
            mine.lease.release();
            return Ok((false, take_again()));
        }
        // Until the lock is this thread's again, its death must pass the notification to another waiter.
        let answer = take_again();
        self.hand_over(mine, ticket);
        step();
        mine.word.store(NONE, Release);
        mine.lease.release();
        Ok((true, answer))
    }

    fn notify(&self, count: u32) -> u32 {
        self.notify_first(count)
    }
}
