//! The word of a barrier: two numbers, the phase, and the reason for a break.
//!
//! | state, bits | meaning |
//! | --- | --- |
//! | `0..16` | arrived: how many wait in this cycle |
//! | `16..32` | leaving: the number of parties of the last complete cycle that have not left yet |
//! | `32..34` | the phase |
//! | `34..37` | why it is broken |
//! | `37` | a thread may sleep on the upper half |
//! | `38` | a thread waits there until all of the last cycle have left |
//! | `39` | whether the number of complete cycles is odd |
//! | `40..64` | how often the upper half has changed, except bits 37 and 38 |
//!
//! The two numbers mean nothing while the barrier is broken or resetting: they may count the dead. Both are 0 when it
//! fills again. By then no party is inside, as the participants' notes show.

pub(super) const ARRIVED: u64 = 1;
pub(super) const LEAVING: u64 = 1 << 16;
/// The maximum of either number.
pub(super) const MOST: u32 = 0xffff;
pub(super) const COUNTS: u64 = 0xffff_ffff;

pub(super) const PHASE: u64 = 0b11 << 32;
pub(super) const FILLING: u64 = 0;
pub(super) const ACTING: u64 = 1 << 32;
pub(super) const RESETTING: u64 = 2 << 32;
pub(super) const BROKEN: u64 = 3 << 32;

pub(super) const REASON: u64 = 0b111 << 34;
pub(super) const TIMED_OUT: u64 = 1 << 34;
pub(super) const ABORTED: u64 = 2 << 34;
pub(super) const DIED: u64 = 3 << 34;
pub(super) const PANICKED: u64 = 4 << 34;
pub(super) const FAILED: u64 = 5 << 34;

pub(super) const SLEEPERS: u64 = 1 << 37;
pub(super) const EMPTYING: u64 = 1 << 38;
pub(super) const CYCLE: u64 = 1 << 39;
pub(super) const CHANGE: u64 = 1 << 40;

pub(super) fn arrived(state: u64) -> u32 {
    state as u32 & MOST
}

pub(super) fn leaving(state: u64) -> u32 {
    state as u32 >> 16
}

/// The half on which threads sleep.
pub(super) fn half(state: u64) -> u32 {
    (state >> 32) as u32
}

/// Whether two states differ in more than the counts and the bits of sleepers.
pub(super) fn changed(one: u64, other: u64) -> bool {
    (one ^ other) & !(COUNTS | SLEEPERS | EMPTYING) != 0
}
