//! The slots of a barrier between processes.
//!
//! A slot is a [lease](crate::sync::lease), which shows its holder's death, and two words that only its holder writes:
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | note | bit `0` | the holder may be inside: about to arrive, arrived, or about to leave |
//! | note | bit `1` | kept: the slot outlasts the wait |
//! | round | 0 | the holder does not sleep |
//! | round | not 0 | the holder watches for deaths until the state of that round changes |
//!
//! | lease | note and round | meaning |
//! | --- | --- | --- |
//! | free | any values | the slot has no holder |
//! | held | the holder's; during a claim, those of an earlier holder | the slot has a holder |
//! | dead | those of the dead holder | the slot is to be [reclaimed](Participants::reclaim) once the barrier is broken |
//!
//! No thread clears the words of a dead holder. A thread that claims a slot clears the slot's words first, so the old
//! values count only until then.
//!
//! **Who watches whom.** The slots form a ring. A sleeper first stores in its slot that it sleeps. Then it walks back
//! from its own slot to the nearest slot whose holder sleeps in the same round. It watches all of these slots, the last
//! one included. It watches free slots, too: the kernel's wake at a death reaches a sleeper on the word, regardless of
//! the word's value when that sleeper fell asleep. So a thread that enrols need not wake any sleeper.
//!
//! | a participant that dies | who sees its death |
//! | --- | --- |
//! | while it holds its slot and does not sleep | the next sleeper after it in the ring |
//! | after it has stored that it sleeps, while it looks at the slots before it | the same sleeper, which watches this slot, too |
//! | while it sleeps | the same sleeper |
//! | after its sleep, because the state has changed | any thread that this change or the gate wakes |
//! | while no participant sleeps | the next one that sleeps, or the last to arrive, which looks at all slots |
//!
//! A sleeper stops at the nearest other sleeper, because that one watches the slots further back. This holds as long as
//! the round lasts: before the state changes, a sleep ends only by the sleeper's death. Then the thread that watches it
//! sees the death, breaks the barrier and so wakes all others. Several participants may die at once. Each of them has a
//! nearest living sleeper behind it in the ring. That sleeper watches the dead participant itself, or a dead sleeper in
//! between.
//!
//! A sleeper that is stopped (by a debugger or a signal) sees a death when it continues.
//!
//! **Cost.** If `n` participants arrive in the order of their slots, each watches one slot. In any other order, the
//! `k`-th to arrive has about `n / k` slots to watch. So a sleeper watches the nearest eight at first. If there are
//! more, it looks again after a millisecond: by then other sleepers usually watch the rest.
//!
//! | slots before the sleeper, up to the nearest other sleeper | it watches | a death is seen |
//! | --- | --- | --- |
//! | up to 8 | all | at once |
//! | up to 120 | 8, and all after a millisecond | at once, or after that millisecond |
//! | more: `m` slots | the nearest 120, and looks at all every `10 ms * ceil(m / 1000)` | within that time |
//!
//! The table starts with one slot for each party. No sleeper watches the slots after these yet. So the number of slots
//! grows by an eighth at a time. First the new slots get pages. Then they are watched. Then all sleepers look again.
//! Then the slots are used. A participant that is killed in between leaves slots that have pages or are watched. The
//! next participant continues from there.
//!
//! | slots | have pages | are watched | may be claimed |
//! | --- | --- | --- | --- |
//! | before `used` | yes | yes | yes |
//! | from `used`, before `watched` | yes | yes | no |
//! | from `watched` on | perhaps; all of them in a table of up to 120 slots | no | no |
//!
//! Orderings: everything is `SeqCst`. The barrier's state determines when a note must be visible.

use core::mem::offset_of;
use core::time::Duration;

use crate::atomic::AtomicU32;
use crate::atomic::Ordering::SeqCst;
use crate::atomic::step;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result as ErrnoResult};
use crate::futex::{self, Limit, Reach, Wait, Waiter, touch};
use crate::mmap::page_size;
use crate::robust::RobustList;
use crate::shm::Nodes;
use crate::shm::growing::populate;
use crate::sync::gate::SharedGate;
use crate::sync::gate::{Gate, Woke};
use crate::sync::lease::{Holder, Lease, Look};
use crate::sync::participants::Participants;
use crate::sync::scope::Refused;

/// The default number of slots in a table. A larger table allocates pages for the further slots when they are needed.
pub(crate) const SLOTS: usize = 120;

/// The number of words that a sleeper watches, beside the state (twice), the gate and a `Cancel`. The kernel's maximum
/// is 128 in all.
const WATCHED: usize = 120;
/// The number of words that a sleeper watches at first.
const NEAR: usize = 8;
/// The time after which a sleeper checks again if there were more words than it watched at first.
const SOON: Duration = Duration::from_millis(1);
/// The time between two checks of a sleeper for each thousand words, if there are more than it can watch.
const ROUND: Duration = Duration::from_millis(10);

/// The maximum number of passes over the slots, if the slots keep changing.
const PASSES: u32 = 1000;

const INSIDE: u32 = 1;
const KEPT: u32 = 2;

/// A word that shows its holder's death. The model checker has its own implementation.
pub trait Enrolment: Sized {
    /// Takes the word for the calling thread. Returns false if it is not free.
    ///
    /// # Errors
    /// Why the thread cannot have it.
    fn claim(&self) -> Result<bool, Refused>;
    /// Takes the word of a holder that was seen dead for the calling thread, in one step. Returns false if the word has
    /// changed since.
    ///
    /// # Errors
    /// Why the thread cannot have it.
    fn inherit(&self, seen: Look) -> Result<bool, Refused>;
    /// Gives the word back.
    fn release(&self);
    /// Whether the calling thread holds the word.
    fn is_mine(&self) -> bool;
    /// Reads the word.
    fn look(&self) -> Look;
    /// Frees the word if its holder was seen dead.
    fn reclaim(&self, seen: Look);
    /// Returns what to sleep on until the word differs from `seen` or its holder dies.
    fn watch(&self, seen: Look) -> Waiter<'_>;
    /// Wakes all sleepers on the word, regardless of its state when they fell asleep.
    fn wake_watchers(&self);
    /// The indices of the words that the calling thread may hold, `size` bytes apart. These are all of them if that is
    /// not known.
    fn may_be_mine(first: &Self, size: usize, count: usize) -> impl Iterator<Item = usize>;
    /// Allocates pages for a part of a table; `word` returns a word of an item. Each page that does not have its
    /// memory yet must contain such a word.
    ///
    /// # Errors
    /// [`NoMemory`](Refused::NoMemory).
    fn back<T>(part: &[T], word: impl Fn(&T) -> &AtomicU32) -> Result<(), Refused>;
}

impl Enrolment for Lease {
    fn claim(&self) -> Result<bool, Refused> {
        Self::claim(self)
    }

    fn inherit(&self, seen: Look) -> Result<bool, Refused> {
        Self::inherit(self, seen)
    }

    fn release(&self) {
        Self::release(self);
    }

    fn is_mine(&self) -> bool {
        Self::is_mine(self)
    }

    fn look(&self) -> Look {
        Self::look(self)
    }

    fn reclaim(&self, seen: Look) {
        Self::reclaim(self, seen);
    }

    fn watch(&self, seen: Look) -> Waiter<'_> {
        Self::watch(self, seen)
    }

    fn wake_watchers(&self) {
        Self::wake_watchers(self);
    }

    fn may_be_mine(first: &Self, size: usize, count: usize) -> impl Iterator<Item = usize> {
        Self::may_be_mine(first, size, count)
    }

    fn back<T>(part: &[T], word: impl Fn(&T) -> &AtomicU32) -> Result<(), Refused> {
        match populate(part) {
            Ok(()) => Ok(()),
            Err(Errno::NOMEM | Errno::FAULT) => Err(Refused::NoMemory),
            // The kernel does not know the call, or a sandbox forbids it. Each page without memory has such a
            // word (see the trait). The first page usually has bytes before the part, and so its memory already.
            Err(_) => {
                let mut touched = None;
                for word in part.iter().map(word) {
                    let page = Some(core::ptr::from_ref(word).addr() / page_size());
                    if touched != page {
                        touch(word).map_err(|_| Refused::NoMemory)?;
                        touched = page;
                    }
                }
                Ok(())
            }
        }
    }
}

/// A gate whose sleepers can watch several words.
pub trait WatchingGate: Gate {
    /// Sleeps on the first `count` words, and on the gate and the bell. Returns the index of the word that was woken,
    /// if any. There is room after the first `count` for four more, or for three if there is no bell.
    fn sleep_on<'w>(
        &'w self,
        words: &mut [Waiter<'w>],
        count: usize,
        bell: Option<&'w AtomicU32>,
        limit: Limit<'w>,
    ) -> (Woke, usize);
    /// Sleeps while the word holds `expected`, and on nothing else. Returns `None` if the kernel would not report this
    /// thread's death.
    fn sleep_alone(word: &AtomicU32, expected: u32, limit: Limit<'_>) -> Option<Woke>;
    /// Runs a critical stretch with that word pending. If the thread is killed in the stretch, one sleeper on the word
    /// is woken, unless the word looks then as if it had an owner. So it must not while a wake is owed.
    fn protected_word<R>(word: &AtomicU32, critical: impl FnOnce() -> R) -> R;
}

impl WatchingGate for SharedGate {
    fn sleep_on<'w>(
        &'w self,
        words: &mut [Waiter<'w>],
        count: usize,
        bell: Option<&'w AtomicU32>,
        limit: Limit<'w>,
    ) -> (Woke, usize) {
        Self::sleep_on(self, words, count, bell, limit)
    }

    fn sleep_alone(word: &AtomicU32, expected: u32, limit: Limit<'_>) -> Option<Woke> {
        RobustList::current()?;
        Some(match futex::sleep(word, expected, Reach::Shared, limit) {
            Wait::Woken | Wait::Changed => Woke::Look,
            Wait::TimedOut => Woke::TimedOut,
        })
    }

    fn protected_word<R>(word: &AtomicU32, critical: impl FnOnce() -> R) -> R {
        let Some(here) = RobustList::here() else { return critical() };
        here.set_pending_word(word);
        let answer = critical();
        here.clear_pending();
        answer
    }
}

#[derive(Debug)]
#[repr(C)]
struct Slot<L> {
    lease: L,
    note: AtomicU32,
    round: AtomicU32,
}

impl<L: Enrolment> Slot<L> {
    fn has_inside(&self) -> bool {
        self.note.load(SeqCst) & INSIDE != 0 && matches!(self.lease.look().holder(), Holder::Thread(_))
    }

    fn note(&self, note: u32) {
        step();
        self.note.store(note, SeqCst);
        step();
    }
}

/// The slots. Zero bytes are a table of free slots.
#[derive(Debug)]
#[repr(C)]
pub struct SlotTable<L, const N: usize> {
    /// The number of slots, from the first, that may be claimed.
    used: AtomicU32,
    /// The number of slots that are watched: at least `used`, and more while further slots are about to be used.
    watched: AtomicU32,
    slots: [Slot<L>; N],
}

impl<const N: usize> SlotTable<Lease, N> {
    /// The number of bytes before the slots.
    pub(crate) const HEAD: usize = offset_of!(Self, slots);

    /// Sets the number of slots in use at the start. Called before any other thread uses the table.
    ///
    /// # Errors
    /// `ENOMEM` without memory for them.
    pub(crate) fn begin_with(&self, parties: u32) -> ErrnoResult<()> {
        let slots = parties.min(N as u32);
        self.back(0, slots).map_err(|_| Errno::NOMEM)?;
        self.watched.store(slots, SeqCst);
        self.used.store(slots, SeqCst);
        Ok(())
    }
}

impl<L, const N: usize> SlotTable<L, N> {
    fn first(&self, many: &AtomicU32) -> &[Slot<L>] {
        self.slots.get(..many.load(SeqCst) as usize).unwrap_or(&self.slots)
    }

    fn used(&self) -> &[Slot<L>] {
        self.first(&self.used)
    }

    fn watched(&self) -> &[Slot<L>] {
        self.first(&self.watched)
    }
}

impl<L: Enrolment, const N: usize> SlotTable<L, N> {
    #[cfg(loom)]
    pub(crate) fn of(parties: u32, lease: impl Fn() -> L) -> Self {
        let slot = |_| Slot { lease: lease(), note: AtomicU32::new(0), round: AtomicU32::new(0) };
        let many = || AtomicU32::new(parties);
        Self { used: many(), watched: many(), slots: core::array::from_fn(slot) }
    }

    /// Allocates pages for slots that were never used.
    fn back(&self, from: u32, to: u32) -> Result<(), Refused> {
        let part = self.slots.get(from as usize..to as usize).filter(|_| N > SLOTS);
        part.map_or(Ok(()), |part| L::back(part, |slot| &slot.round))
    }

    /// Takes a free slot and clears what a dead holder left in it. Returns `None` if the passes found no free slot.
    ///
    /// One pass over the slots may find none, although some slot was free at every instant. A slot behind the pass may
    /// be given back just before a slot ahead of it is taken. So the result is `None` only if two passes have seen the
    /// same slots, or after [`PASSES`] passes. Others have then changed slots all the time.
    fn take_free(&self, near: u32) -> Result<Option<usize>, Refused> {
        let slots = self.used();
        let near = near as usize % slots.len().max(1);
        let (before, behind) = slots.split_at(near);
        let mut last = None;
        for _ in 0..PASSES {
            let mut seen = 0;
            for (at, slot) in behind.iter().chain(before).enumerate() {
                let lease = slot.lease.look();
                seen = lease.number(seen);
                if lease.holder() == Holder::Nobody && slot.lease.claim()? {
                    if slot.note.load(SeqCst) != 0 {
                        slot.note(0);
                    }
                    if slot.round.load(SeqCst) != 0 {
                        slot.round.store(0, SeqCst);
                    }
                    return Ok(Some((near + at) % slots.len()));
                }
            }
            if last == Some(seen) {
                break;
            }
            last = Some(seen);
        }
        Ok(None)
    }

    /// Watches slots from `mine` back to the nearest one that sleeps in the same round.
    fn watch_before<'s>(&'s self, mine: usize, round: u32, words: &mut [Waiter<'s>]) -> Before {
        let slots = self.watched();
        let (before, behind) = slots.split_at(mine.min(slots.len()));
        let behind = behind.get(1..).unwrap_or_default();
        let mut seen = Before { watched: 0, all: 0, is_dead: false };
        for slot in before.iter().rev().chain(behind.iter().rev()) {
            // The lease first: a round that is read after it is that of its holder, or of a later one.
            let lease = slot.lease.look();
            if lease.holder() == Holder::Dead {
                seen.is_dead = true;
                return seen;
            }
            if let Some(word) = words.get_mut(seen.watched) {
                *word = slot.lease.watch(lease);
                seen.watched += 1;
            } else if words.len() == NEAR {
                seen.all += 1;
                return seen;
            }
            seen.all += 1;
            if lease.holder() != Holder::Nobody && slot.round.load(SeqCst) == round {
                return seen;
            }
        }
        seen
    }
}

/// What a sleeper found before its slot.
struct Before {
    watched: usize,
    /// The number of such slots, or the maximum plus one if there are more than are watched.
    all: usize,
    is_dead: bool,
}

impl Before {
    /// When to check again because not all words are watched.
    fn look_again(&self) -> Deadline {
        match (self.watched == self.all, self.watched) {
            (true, _) => Deadline::NEVER,
            (false, NEAR) => Deadline::after(SOON),
            (false, _) => Deadline::after(ROUND * self.all.div_ceil(1000) as u32),
        }
    }
}

/// A sleeper, and the word that it sleeps on.
struct Sleeper<'s, G> {
    gate: &'s G,
    slot: usize,
    state: &'s AtomicU32,
    expected: u32,
    round: u32,
    limit: Limit<'s>,
}

impl<L: Enrolment, const N: usize> SlotTable<L, N> {
    /// Sleeps once, with room for `WORDS` words beside those that it watches. Returns `None` if the caller must check
    /// again.
    fn sleep_once<const WORDS: usize>(&self, by: &Sleeper<'_, impl WatchingGate>) -> Option<Woke> {
        let mut words = [Waiter::new(by.state, by.expected, Reach::Shared); WORDS];
        let before = self.watch_before(by.slot, by.round, words.get_mut(1..WORDS - 3).unwrap_or_default());
        if before.is_dead {
            return Some(Woke::PeerDied);
        }
        match by.gate.sleep_on(&mut words, 1 + before.watched, None, by.limit.or_sooner(before.look_again())) {
            (Woke::TimedOut, _) if !by.limit.is_over() => None,
            // A lease that was watched: its holder died.
            (Woke::Look, at) if (1..=before.watched).contains(&at) => Some(Woke::PeerDied),
            (woke, _) => Some(woke),
        }
    }
}

impl<const N: usize> SlotTable<Lease, N> {
    pub(crate) fn note_nodes(&self, visit: &mut Nodes) {
        for slot in self.watched() {
            visit.note(slot.lease.is_linked_here());
        }
    }
}

impl<G: WatchingGate, L: Enrolment, const N: usize> Participants<G> for SlotTable<L, N> {
    fn mine(&self) -> Option<usize> {
        let slots = self.used();
        let first = &slots.first()?.lease;
        let mut found = None;
        for at in L::may_be_mine(first, size_of::<Slot<L>>(), slots.len()) {
            let Some(slot) = slots.get(at).filter(|slot| slot.lease.is_mine()) else { continue };
            if slot.note.load(SeqCst) & INSIDE != 0 {
                return Some(at);
            }
            found = Some(at);
        }
        found
    }

    fn claim(&self, near: u32, widen: impl Fn()) -> Result<Option<usize>, Refused> {
        loop {
            if let Some(slot) = self.take_free(near)? {
                return Ok(Some(slot));
            }
            if <Self as Participants<G>>::has_dead(self) {
                return Ok(None);
            }
            // Others may take the slots that are added here.
            let used = self.used.load(SeqCst);
            let more = (used + used / 8 + 1).min(N as u32);
            if more <= used {
                return Err(Refused::TableFull);
            }
            self.back(used, more)?;
            self.watched.fetch_max(more, SeqCst);
            step();
            widen();
            self.used.fetch_max(more, SeqCst);
        }
    }

    fn keep(&self, slot: usize) {
        if let Some(slot) = self.slots.get(slot) {
            slot.note(KEPT);
        }
    }

    fn release_kept(&self, slot: usize) {
        let Some(slot) = self.slots.get(slot).filter(|slot| slot.lease.is_mine()) else { return };
        let note = slot.note.load(SeqCst);
        slot.note(note & !KEPT);
        if note & INSIDE == 0 {
            slot.lease.release();
        }
    }

    fn release_unless_kept(&self, slot: usize) {
        if let Some(slot) = self.slots.get(slot) {
            if slot.note.load(SeqCst) & KEPT == 0 && slot.lease.is_mine() {
                slot.lease.release();
            }
        }
    }

    fn is_inside(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(Slot::has_inside)
    }

    fn enter(&self, slot: usize) {
        if let Some(slot) = self.slots.get(slot) {
            slot.note(slot.note.load(SeqCst) | INSIDE);
        }
    }

    fn leave(&self, slot: usize) {
        if let Some(slot) = self.slots.get(slot) {
            slot.note(slot.note.load(SeqCst) & !INSIDE);
        }
    }

    fn inside(&self) -> u32 {
        self.watched().iter().filter(|slot| slot.has_inside()).count() as u32
    }

    fn has_dead(&self) -> bool {
        self.watched().iter().any(|slot| slot.lease.look().holder() == Holder::Dead)
    }

    fn reclaim(&self) {
        for slot in self.watched() {
            let lease = slot.lease.look();
            if lease.holder() == Holder::Dead {
                slot.lease.reclaim(lease);
                step();
            }
        }
    }

    fn sleep(&self, gate: &G, slot: usize, state: &AtomicU32, expected: u32, round: u32, limit: Limit<'_>) -> Woke {
        let Some(mine) = self.slots.get(slot) else { return Woke::Look };
        mine.round.store(round, SeqCst);
        step();
        let by = Sleeper { gate, slot, state, expected, round, limit };
        let woke = self.sleep_once::<{ NEAR + 4 }>(&by).unwrap_or_else(|| {
            loop {
                if let Some(woke) = self.sleep_once::<{ WATCHED + 4 }>(&by) {
                    break woke;
                }
            }
        });
        mine.round.store(0, SeqCst);
        woke
    }
}
