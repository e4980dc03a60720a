//! The state word of a record: its state, lap, length and owner.
//!
//! | bits | meaning |
//! | --- | --- |
//! | `0..3` | the state |
//! | `3..16` | the number of the participant |
//! | `16..32` | the length in granules; 0: up to the end of the lap; above [`GRANULES_MAX`]: one granule, whose message is [beside the word](RecordWord::beside) |
//! | `32..64` | the lap, which repeats after 2^32 |
//!
//! | state | meaning | whose number |
//! | --- | --- | --- |
//! | 0 | no record has begun at this granule, or its memory was given back since | |
//! | writing | reserved by a producer | the producer's |
//! | skipped | the same, and a consumer has gone past the record | the producer's |
//! | ready | a message | the producer's; 0 if the message was taken before |
//! | copying | a consumer copies the message out | the consumer's |
//! | held | a consumer reads the message in place | the consumer's |
//! | done | no message any more: read, given up, or padding | |
//! | passed | skipped, and a watcher that has cleared its descriptor has gone past the record, or a consumer that is about to sleep | the producer's |
//!
//! | from | to | changed by |
//! | --- | --- | --- |
//! | any state of an earlier lap | writing, done (padding) | a producer |
//! | writing | skipped | a consumer that finds the producer alive |
//! | writing, skipped | passed | a [watcher](super::watch) that finds the producer alive, or a consumer that sleeps unless it finds a message |
//! | passed | skipped | the producer, before it announces the message once more and [warns](super::grounds) the consumers |
//! | writing, skipped | ready | the producer |
//! | writing, skipped, passed | done | the producer that gives up; any participant, if the producer died |
//! | ready | copying, held | a consumer |
//! | ready | done | a consumer that has copied the message already |
//! | copying, held | done | the consumer |
//! | copying | ready | the consumer that puts the message back; any participant, if the consumer died |
//! | held | done | any participant, if the consumer died |
//!
//! Each change is one compare-exchange from the exact word that was seen. So a participant that was stopped for a long
//! time changes nothing that has moved on, unless exactly 2^32 laps have passed, or memory was [given
//! back](super::track) meanwhile.

use core::fmt;

/// A record's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordState {
    Unused,
    Writing,
    Skipped,
    Ready,
    Copying,
    Held,
    Done,
    Passed,
}

/// The word.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RecordWord(pub(crate) u64);

/// The bits of the word that hold the length.
const SIZES: u64 = (1 << 16) - 1;
/// The maximum length in bytes of a message beside the word.
pub(crate) const BESIDE_MAX: usize = size_of::<u64>();
/// The maximum number of granules of a record.
pub(crate) const GRANULES_MAX: u64 = SIZES - 1 - BESIDE_MAX as u64;
/// The highest number of a participant that the word can hold.
pub(crate) const WHO_MAX: u32 = (1 << 13) - 1;

impl RecordWord {
    /// Makes a word of these parts; each must be within its bounds.
    pub(crate) fn of(state: RecordState, who: u32, granules: u64, lap: u32) -> Self {
        debug_assert!(who <= WHO_MAX && granules <= GRANULES_MAX);
        Self(u64::from(lap) << 32 | granules << 16 | u64::from(who) << 3 | state as u64)
    }

    /// Returns the same record in another state and with another participant.
    pub(crate) fn becomes(self, state: RecordState, who: u32) -> Self {
        Self(self.0 & !0xffff | u64::from(who) << 3 | state as u64)
    }

    pub(crate) fn state(self) -> RecordState {
        match self.0 & 7 {
            0 => RecordState::Unused,
            1 => RecordState::Writing,
            2 => RecordState::Skipped,
            3 => RecordState::Ready,
            4 => RecordState::Copying,
            5 => RecordState::Held,
            6 => RecordState::Done,
            _ => RecordState::Passed,
        }
    }

    /// The participant's number.
    pub(crate) fn who(self) -> u32 {
        (self.0 >> 3) as u32 & WHO_MAX
    }

    pub(crate) fn granules(self) -> u64 {
        let size = self.size();
        if size > GRANULES_MAX { 1 } else { size }
    }

    fn size(self) -> u64 {
        self.0 >> 16 & SIZES
    }

    /// The length of a message that is stored beside the word, in place of its info. Such a short message is on one
    /// cache line with its word.
    pub(crate) fn beside(self) -> Option<usize> {
        self.size().checked_sub(GRANULES_MAX + 1).map(|len| len as usize)
    }

    /// Returns the same record, with a message of at most [`BESIDE_MAX`] bytes beside the word.
    pub(crate) fn with_beside(self, len: usize) -> Self {
        debug_assert!(len <= BESIDE_MAX && self.granules() == 1);
        Self(self.0 & !(SIZES << 16) | (GRANULES_MAX + 1 + len as u64) << 16)
    }

    pub(crate) fn lap(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Debug for RecordWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} by {} of {} in lap {}", self.state(), self.who(), self.granules(), self.lap())
    }
}

/// The number of granules that stay when memory is given back: those of 1 MiB.
pub(crate) const KEEP: u64 = 1 << 14;

/// The bits of `mark` that hold the number of granules with memory.
pub(crate) const BACKED: u64 = u32::MAX as u64;
