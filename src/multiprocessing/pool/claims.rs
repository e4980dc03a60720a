//! The steps by which chunks are claimed and buried, and by which workers and the parent fall asleep and are woken:
//! what they do to the words of the board, and nothing else. The model checker runs these lines.

use super::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use super::atomic::{AtomicU32, AtomicU64, fence};
use super::word::{State, state, word};

/// Claims the next chunk that is ready for anybody; the place of its slot. `slot` gives the word of a place.
pub(super) fn claim<'w>(
    published: &AtomicU64,
    next: &AtomicU64,
    slots: usize,
    slot: impl Fn(usize) -> Option<&'w AtomicU64>,
    ticket: u32,
) -> Option<usize> {
    let published = published.load(Acquire);
    let from = next.load(Acquire);
    let mut at = from;
    while at < published {
        let place = (at % slots as u64) as usize;
        let slot = slot(place)?;
        let ready = word(State::Ready, at);
        if slot.load(Acquire) == ready {
            let claimed = word(State::Claimed(ticket), at);
            // Acquire, to see the chunk; and in one order with the doom of the one before.
            if slot.compare_exchange(ready, claimed, SeqCst, Relaxed).is_ok() {
                next.fetch_max(at + 1, AcqRel);
                return Some(place);
            }
        }
        at += 1; // it is claimed, or its number was skipped, and never becomes ready again
    }
    if at > from {
        next.fetch_max(at, AcqRel);
    }
    None
}

/// Makes the chunk of a dead worker `Dead`, if that worker has it. `tell` notes what the parent must know, and answers the
/// number of the chunk.
pub(super) fn bury(slot: &AtomicU64, ticket: u32, tell: impl FnOnce() -> u64) -> bool {
    let before = slot.load(Acquire);
    if state(before) != State::Claimed(ticket) {
        return false;
    }
    let sequence = tell();
    // The parent may have freed it: the chunk was finished then.
    slot.compare_exchange(before, word(State::Dead(ticket), sequence), AcqRel, Relaxed).is_ok()
}

/// Says that a worker is about to sleep on `work`, and what that word is. The worker looks for work afterwards.
pub(super) fn announce(asleep: &AtomicU64, bit: u64, work: &AtomicU32) -> u32 {
    asleep.fetch_or(bit, SeqCst);
    let seen = work.load(SeqCst);
    fence(SeqCst); // against that of `has_sleepers`
    seen
}

/// Whether workers may sleep, after work for them was stored.
pub(super) fn has_sleepers<'w>(asleep: impl IntoIterator<Item = &'w AtomicU64>) -> bool {
    fence(SeqCst); // the work before the look
    asleep.into_iter().any(|bits| bits.load(SeqCst) != 0)
}

/// Says that the parent is about to sleep, and wants to hear of outcomes once every chunk below `from` is claimed. The
/// parent looks for news afterwards.
pub(super) fn listen(listening: &AtomicU64, from: u64) {
    listening.store(from.saturating_add(1), SeqCst);
    fence(SeqCst); // against that of `takes_listening`
}

/// Whether the parent listens, and `is_meant` accepts the number from which it listens. Only one caller hears `true`.
pub(super) fn takes_listening(listening: &AtomicU64, is_meant: impl FnOnce(u64) -> bool) -> bool {
    fence(SeqCst); // the news before the look
    let from = listening.load(SeqCst).checked_sub(1);
    from.is_some_and(is_meant) && listening.swap(0, SeqCst) != 0
}
