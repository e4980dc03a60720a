//! Whether descriptors watch a ring, and whether they are readable already.
//!
//! | bits | meaning |
//! | --- | --- |
//! | `0` | a descriptor watches the ring, or did once |
//! | `1` | all descriptors were made readable, and none was cleared since |
//! | `2..64` | how often a descriptor was cleared |
//!
//! A message is *announced*: the descriptors are made readable before its record becomes ready. So no death leaves a
//! message that was not announced. A watcher that clears its descriptor looks at all records afterwards:
//!
//! | record | what the watcher does |
//! | --- | --- |
//! | ready | makes its descriptor readable again |
//! | writing, skipped | changes the record to *passed*: its producer has to announce once more before it can publish |
//! | passed | nothing, for the same reason |
//! | copying, by a living consumer | looks again after a short time: the consumer may put the message back, or die |
//! | copying, by a dead consumer | puts the message back |
//! | held, done | nothing |
//! | reserved after the look | nothing: its producer announces after the clearing |
//!
//! The protocol is correct because of the order of its steps:
//!
//! | producer | watcher |
//! | --- | --- |
//! | 1. reserves the record, or changes it from passed to skipped | 1. makes the descriptor unreadable |
//! | 2. looks at this word; raises unless bit `1` is set | 2. clears bit `1` and counts the clearing |
//! | 3. sets bit `1`, if no clearing came in between | 3. looks at all records |
//! | 4. publishes, if the record is not passed | |
//!
//! If a producer's step 2 is before a watcher's step 2, it has reserved its record before that watcher's step 3. So the
//! watcher finds the record ready, or changes it to passed. Bit `1` is set by a producer that has raised the
//! descriptors after the last clearing was counted. So this was after the step 1 of every watcher that has come to its
//! step 3.
//!
//! A closing is announced in the same way: the ring is first *closing*, then the descriptors are raised, then the ring
//! is closed. A watcher that finds the ring closing closes it.

use super::track::{Claim, Recovered, Relation, Track};
use super::word::{RecordState, RecordWord};
use crate::atomic::AtomicU64;
use crate::atomic::Ordering::{Relaxed, SeqCst};
use crate::atomic::in_one_order;
use crate::sync::scope::Refused;

const WATCHED: u64 = 1;
const RAISED: u64 = 2;
const CLEARED: u64 = 4;

/// The word. Zero bytes are the word of a ring that no descriptor has ever watched.
#[repr(transparent)]
#[derive(Debug, Default)]
pub(crate) struct Watch(AtomicU64);

impl Watch {
    /// Starts to announce messages.
    pub(crate) fn begin(&self) {
        self.0.fetch_or(WATCHED, SeqCst);
    }

    /// Makes the descriptors readable, if there are any and they may be unreadable. Called after a record is reserved
    /// and before it is published.
    #[inline(always)]
    pub(crate) fn announce(&self, raise: impl FnOnce()) {
        in_one_order();
        let seen = self.0.load(SeqCst);
        if seen & (WATCHED | RAISED) == WATCHED {
            self.raised(seen, raise);
        }
    }

    #[cold]
    fn raised(&self, seen: u64, raise: impl FnOnce()) {
        raise();
        // If a descriptor was cleared in between, the next one raises again.
        let _ = self.0.compare_exchange(seen, seen | RAISED, SeqCst, Relaxed);
    }

    /// Records that a descriptor was made unreadable. Must be called before the records are checked.
    pub(crate) fn cleared(&self) {
        let mut seen = self.0.load(SeqCst);
        while let Err(now) = self.0.compare_exchange(seen, (seen & !RAISED).wrapping_add(CLEARED), SeqCst, SeqCst) {
            seen = now;
        }
        in_one_order();
    }
}

/// The result of a watcher's check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Whether there is a message.
    pub(crate) message: bool,
    /// Whether a living consumer is copying a message, which it may put back.
    pub(crate) copying: bool,
    /// Whether a record belongs to a living participant.
    pub(crate) open: bool,
}

impl Track<'_> {
    /// Goes through all records for a watcher that has cleared its descriptor. Every message that comes from now on is
    /// announced.
    pub(crate) fn pass_all(self, dead: impl Fn(u32) -> bool, recovered: &mut Recovered) -> Result<Seen, Refused> {
        let mut result = Seen::default();
        let mut at = self.head();
        loop {
            let seen = RecordWord(self.cell(at).word.load(SeqCst));
            match self.relation(seen, at) {
                Relation::Earlier => return Ok(result),
                Relation::Later => {
                    at = self.catch_up(at)?;
                    continue;
                }
                Relation::Same => {}
            }
            match seen.state() {
                RecordState::Ready => {
                    result.message = true;
                    return Ok(result);
                }
                RecordState::Done => {}
                RecordState::Unused => return Err(Refused::Unrecoverable),
                _ if dead(seen.who()) => {
                    self.recover(Claim { at, word: seen }, recovered);
                    continue;
                }
                RecordState::Writing | RecordState::Skipped => {
                    if self.change(Claim { at, word: seen }, seen.becomes(RecordState::Passed, seen.who())).is_err() {
                        continue;
                    }
                    result.open = true;
                }
                RecordState::Passed | RecordState::Held => result.open = true,
                RecordState::Copying => {
                    result.open = true;
                    result.copying = true;
                }
            }
            at = self.step(at, seen)?;
        }
    }
}
