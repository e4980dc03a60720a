//! The steps by which chunks are claimed, and reclaimed after a death. This file also has the steps by which workers
//! and the parent fall asleep and are woken. It contains only the operations on the words of the board, and the model
//! checker runs these lines.

use super::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use super::atomic::{AtomicU32, AtomicU64, fence};
use super::word::{SlotState, place_of, state, word};

/// Claims the next ready chunk, and returns the place of its slot. `slot` returns the word of a place. If the next
/// chunk is probably ready, the first step is to claim it: to look before costs another transfer of its cache line.
pub(super) fn claim<'w>(
    published: &AtomicU64,
    next: &AtomicU64,
    slots: usize,
    slot: impl Fn(usize) -> Option<&'w AtomicU64>,
    ticket: u32,
    is_probable: bool,
) -> Option<usize> {
    let from = next.load(Acquire);
    let claim_at = |at: u64, is_probable: bool| {
        let place = place_of(at, slots);
        let slot = slot(place)?;
        let ready = word(SlotState::Ready, at);
        if !is_probable && slot.load(Acquire) != ready {
            return None;
        }
        let claimed = word(SlotState::Claimed(ticket), at);
        // Acquire, to see the chunk; and in one order with the doom of the one before.
        slot.compare_exchange(ready, claimed, SeqCst, Relaxed).ok()?;
        // Never lower than it was: a worker that ends in silence must have found its own chunk below the hint before it
        // woke the parent. A store could lower the hint that another worker has raised since `from` was read.
        next.fetch_max(at + 1, AcqRel);
        Some(place)
    };
    // The parent writes `published` often, and the slot itself tells that its chunk is ready. So this reads the word
    // only if the first chunk is not ready.
    if let Some(place) = claim_at(from, is_probable) {
        return Some(place);
    }
    let published = published.load(Acquire);
    let mut at = from;
    while at < published {
        if let Some(place) = claim_at(at, false) {
            return Some(place);
        }
        at += 1; // it is claimed, or its number was skipped, and never becomes ready again
    }
    if at > from {
        next.fetch_max(at, AcqRel);
    }
    None
}

/// Marks the chunk of a dead worker as `Dead`, if that worker has it. `tell` stores the facts that the parent needs,
/// and returns the number of the chunk.
pub(super) fn record_death(slot: &AtomicU64, ticket: u32, tell: impl FnOnce() -> u64) -> bool {
    let before = slot.load(Acquire);
    if state(before) != SlotState::Claimed(ticket) {
        return false;
    }
    let sequence = tell();
    // The parent may have freed it: the chunk was finished then.
    slot.compare_exchange(before, word(SlotState::Dead(ticket), sequence), AcqRel, Relaxed).is_ok()
}

/// Announces that a worker is about to sleep on its word `wakes`, and returns the value of that word. The worker looks
/// for work afterwards.
pub(super) fn announce(asleep: &AtomicU64, bit: u64, wakes: &AtomicU32) -> u32 {
    let seen = wakes.load(SeqCst); // before the bit, with which a wake begins
    asleep.fetch_or(bit, SeqCst);
    fence(SeqCst); // against that of `wake_sleepers`
    seen
}

/// Wakes at most `count` sleeping workers, the first ones first, after work for them was stored. `wake` wakes the
/// worker of a bit in the word at a place, and returns whether the worker slept.
///
/// The bit of a woken worker is cleared, so that the next wake goes to another worker. A worker that did not sleep
/// looks again by itself, unless it was stopped or killed at that point. So another worker is woken in its place.
pub(super) fn wake_sleepers<'w>(
    asleep: impl IntoIterator<Item = &'w AtomicU64>,
    count: u32,
    wake: impl Fn(usize, u32) -> bool,
) {
    fence(SeqCst); // the work before the look
    let mut left = count;
    for (place, asleep) in asleep.into_iter().enumerate() {
        while left > 0 {
            let bits = asleep.load(SeqCst);
            if bits == 0 {
                break;
            }
            let at = bits.trailing_zeros();
            let was_asleep = asleep.fetch_and(!(1 << at), SeqCst) & 1 << at != 0; // nobody else wakes it
            if was_asleep && wake(place, at) {
                left -= 1;
            }
        }
    }
}

/// Announces that the parent is about to sleep and must be woken for outcomes once every chunk below `from` is claimed.
/// The parent looks for news afterwards.
pub(super) fn listen(listening: &AtomicU64, from: u64) {
    listening.store(from.saturating_add(1), SeqCst);
    fence(SeqCst); // against that of `takes_listening`
}

/// Whether the parent listens, and `is_meant` accepts the number from which it listens. Only one caller receives
/// `true`.
pub(super) fn takes_listening(listening: &AtomicU64, is_meant: impl FnOnce(u64) -> bool) -> bool {
    fence(SeqCst); // the news before the look; `Worker::chunk` also relies on this fence
    let from = listening.load(SeqCst).checked_sub(1);
    from.is_some_and(is_meant) && listening.swap(0, SeqCst) != 0
}
