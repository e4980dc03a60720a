//! How a waiter looks at the slots of a semaphore, and which of them a sleeper watches.
//!
//! A look begins at the slot that was given back last, the *hint*. Then it goes on at the *turn*, which each look at a
//! part of the slots moves on. Both are hints: whatever they hold, each look ends.
//!
//! | slots in use | a taker looks at | a sleeper looks, before it sleeps, at | and watches |
//! | --- | --- | --- | --- |
//! | up to 120 | all | all | all |
//! | `m`, over 120 | 128; all if its limit is over, or if the table is full | all | up to 120 for a [round](Rounds), and then it looks again |
//!
//! A taker that finds no free unit in 128 slots takes one of the count. Without units there, it announces its sleep
//! first, and then looks at all slots. So a waiter never sleeps beside a unit that was free before its look.
//!
//! | a unit comes free | who sees it |
//! | --- | --- |
//! | given back, by a holder that lives | the holder sees that others sleep, and wakes one |
//! | its holder dies, or dies while it gives the unit back | a sleeper that watches the slot, at once; if no sleeper watches it, each sleeper at the end of its round |
//!
//! **Sleepers learn of new slots.** A sleeper that watches all slots does not look again by itself. So whoever brings a
//! further slot into use, up to the first beyond those that a sleeper can watch, starts a new generation of the state
//! and wakes all sleepers. The kernel also compares the number of slots as the sleeper falls asleep. From then on each
//! sleeper looks at all slots, and at their number, after each round.
//!
//! **Many sleepers** watch different slots: each begins to watch where the one before it stopped. If there are so many
//! that they watch each slot more than twice, each of them watches fewer in its next round. A round costs about half a
//! microsecond of processor time for each watched slot, most of it in the kernel, and about 15 microseconds for the
//! rest. Beside 900 slots a thousand sleepers take a quarter of a processor, and a hundred take three percent.

use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::time::Duration;

use super::slot::{Listed, is_free, is_on_its_way};
use super::slots::{SLOTS, Slots};
use crate::atomic::AtomicU32;
use crate::deadline::Deadline;
use crate::futex::{Reach, Waiter};
use crate::sync::gate::Woke;
use crate::sync::participants::WatchingGate;
use crate::sync::scope::Scope;
use crate::sync::units::{Units, Waiting};

/// The number of slots that a sleeper watches. `futex_waitv` takes 128 words; the state twice, the count, the number
/// of slots, the gate and a `Cancel` are six of them.
pub(super) const WATCHED: usize = if cfg!(loom) { 1 } else { 120 };
/// The number of slots at which a taker looks before it takes a unit of the count.
const NEAR: usize = if cfg!(loom) { 1 } else { 128 };
/// The time between two looks of the only sleeper for each thousand slots, if it does not watch all.
const ROUND: Duration = Duration::from_millis(10);
/// The greatest number of such times between two looks of one of many sleepers.
const ROUNDS_MAX: u32 = 8;

/// How long a waiter sleeps that does not watch all slots, and how many it watches.
///
/// A round lasts `10 ms * ceil(m / 1000)` beside `m` slots, if no other waiter sleeps. As long as others go to sleep
/// meanwhile, each round is twice as long as the one before, up to eight times that long. A waiter watches half as many
/// slots as in the round before if all sleepers together have begun to watch each slot about twice since, and twice as
/// many otherwise. So each of many sleepers looks more seldom, and at little cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    /// The place where this waiter's last watch ended, not reduced to a slot.
    end: u32,
    /// The length of the last round; 0 before the first.
    times: u32,
    /// The number of slots that the waiter watches.
    watched: u32,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { end: 0, times: 0, watched: WATCHED as u32 }
    }
}

impl Rounds {
    /// Begins a round beside that many slots. `place` is where the watch of the last sleeper ended, and where the next
    /// one begins. Returns where this watch begins, the number of slots, and when the waiter looks again.
    fn next(&mut self, place: &AtomicU32, slots: usize) -> (u32, usize, Deadline) {
        // What others watch in between only moves this watch.
        let others = place.load(Relaxed).wrapping_sub(self.end);
        if self.times != 0 {
            let are_enough = u64::from(others) + u64::from(self.watched) > 2 * slots as u64;
            self.watched = if are_enough { (self.watched / 2).max(1) } else { (2 * self.watched).min(WATCHED as u32) };
        }
        self.times = match self.times {
            0 => 1,
            times if others != 0 => (2 * times).min(ROUNDS_MAX),
            times => (times / 2).max(1),
        };
        let from = place.fetch_add(self.watched, Relaxed);
        self.end = from.wrapping_add(self.watched);
        (from, self.watched as usize, Deadline::after(ROUND * self.times * slots.div_ceil(1000) as u32))
    }
}

/// What a look at the slots has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The unit in this slot is free.
    Free(usize),
    /// A unit is on its way to a slot, or from it.
    Moving,
    Nothing,
}

impl<K, L: Listed, const N: usize> Slots<K, L, N> {
    /// The slots in use with their numbers, from this one on and around.
    pub(super) fn around(&self, from: u32) -> impl Iterator<Item = (usize, &L)> {
        let slots = self.in_use();
        let from = from as usize % slots.len().max(1);
        let (before, behind) = slots.split_at(from);
        (from..).zip(behind).chain((0..).zip(before))
    }

    pub(super) fn halves(&self) -> impl Iterator<Item = u32> {
        self.in_use().iter().map(Listed::half)
    }

    /// Looks for a free unit: at the hinted slot, and then at some others, or at all.
    pub(super) fn look(&self, looks_at_all: bool) -> Seen {
        let (slots, hint) = (self.in_use(), self.hint.load(Relaxed) as usize);
        let mut is_moving = false;
        if let Some(half) = slots.get(hint).map(Listed::half) {
            if is_free(half) {
                return Seen::Free(hint);
            }
            is_moving = is_on_its_way(half);
        }
        let turn = self.turn.load(Relaxed);
        let is_part = slots.len() > NEAR;
        for (at, slot) in self.around(turn).take(if looks_at_all { N } else { NEAR }) {
            let half = slot.half();
            if is_free(half) {
                if is_part {
                    self.turn.store(at as u32, Relaxed);
                }
                return Seen::Free(at);
            }
            is_moving |= is_on_its_way(half);
        }
        if is_part {
            self.turn.store((turn as usize % slots.len() + NEAR) as u32, Relaxed);
        }
        if is_moving { Seen::Moving } else { Seen::Nothing }
    }

    /// Looks at the hinted slot, and at all others if they are few.
    pub(super) fn glance(&self) -> bool {
        let can_be_taken = |half| is_free(half) || is_on_its_way(half);
        let slots = self.in_use();
        if slots.len() <= NEAR {
            return self.halves().any(can_be_taken);
        }
        slots.get(self.hint.load(Relaxed) as usize).is_some_and(|slot| can_be_taken(slot.half()))
    }

    /// [`Permits::sleep`](super::Permits::sleep).
    pub(super) fn look_and_sleep<S>(
        &self,
        units: &Units<S, N>,
        expected: u32,
        waiting: &mut Waiting<'_>,
    ) -> Option<Woke>
    where
        S: Scope<Gate: WatchingGate>,
    {
        let limit = waiting.limit;
        let used = self.used.load(SeqCst);
        let state = Waiter::new(units.word(), expected, Reach::Shared);
        // No thread is ever woken at these two words, so the cheaper kind of word is enough.
        let none = Waiter::new(units.count_word(), 0, Reach::Private);
        let no_more = Waiter::new(&self.used, used, Reach::Private);
        if used == 0 {
            // In a table of few slots the generation tells of the first one.
            let count = if N > SLOTS || cfg!(loom) { 3 } else { 2 };
            return Some(units.gate().sleep_on(&mut [state, none, no_more, state, state, state], count, None, limit).0);
        }
        let slots = self.in_use();
        let is_part = slots.len() > WATCHED;
        let (from, most, again) =
            if is_part { waiting.rounds.next(&self.watched, slots.len()) } else { (0, WATCHED, Deadline::NEVER) };
        let mut words = [state; WATCHED + 6];
        let mut watched = 0;
        for (at, slot) in self.around(from) {
            let half = slot.half();
            if is_free(half) || is_on_its_way(half) {
                // The next look of this waiter begins here.
                self.hint.store(at as u32, Relaxed);
                return is_free(half).then_some(Woke::Look);
            }
            if let Some(word) = words.get_mut(1..=most).and_then(|words| words.get_mut(watched)) {
                *word = slot.watch(half);
                watched += 1;
            }
        }
        for (word, last) in words.iter_mut().skip(1 + watched).zip([none, no_more]) {
            *word = last;
        }
        Some(match units.gate().sleep_on(&mut words, 3 + watched, None, limit.or_sooner(again)) {
            // A holder's death wakes one who watches its slot.
            (Woke::Look, at) if (1..=watched).contains(&at) => Woke::PeerDied,
            // A sleeper that did not watch all slots looks at them once more at the end.
            (Woke::TimedOut, _) if is_part || !limit.is_over() => Woke::Look,
            (woke, _) => woke,
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use std::collections::BTreeSet;
    use std::vec;

    use super::*;

    /// A sleeper begins its next round at once, because between two rounds it looks at all slots.
    #[test]
    fn sleepers_together_watch_each_slot_but_not_much_more_than_twice() {
        for (sleepers, slots) in [(2, 200), (10, 900), (40, 900), (100, 900), (1_000, 900), (1_000, 200), (60, 5_000)] {
            let place = AtomicU32::new(0);
            let mut rounds = vec![Rounds::default(); sleepers];
            let mut watches = vec![(0, 0); sleepers];
            // The sleepers come one after the other. The shortest round has as many steps as there are sleepers.
            let mut ends: BTreeSet<_> = (0..sleepers).map(|sleeper| (sleeper, sleeper)).collect();
            let end = 100 * sleepers * ROUNDS_MAX as usize;
            while let Some((now, sleeper)) = ends.pop_first().filter(|&(now, _)| now < end) {
                let Some((rounds, watch)) = rounds.get_mut(sleeper).zip(watches.get_mut(sleeper)) else { return };
                let (from, watched, _) = rounds.next(&place, slots);
                *watch = (from as usize, watched);
                ends.insert((now + sleepers * rounds.times as usize, sleeper));
                // They have settled by then. To add up all watches takes long.
                if now > end / 2 && sleeper % 100 == 0 {
                    let mut seen = vec![0_u32; slots];
                    for at in watches.iter().flat_map(|&(from, watched)| from..from + watched) {
                        if let Some(seen) = seen.get_mut(at % slots) {
                            *seen += 1;
                        }
                    }
                    assert!(seen.iter().all(|&seen| seen != 0), "{sleepers} sleepers leave out one of {slots} slots");
                    let most = (3 * slots).max(sleepers);
                    let all: u32 = seen.iter().sum();
                    assert!(all as usize <= most, "{sleepers} sleepers watch {slots} slots {all} times");
                }
            }
        }
    }
}
