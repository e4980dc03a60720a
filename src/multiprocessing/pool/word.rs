//! The state of a slot of the board, in one word of 64 bits.
//!
//! | state | bits 0..3 | bits 3..32 | bits 32..64 | changed by, to |
//! | --- | --- | --- | --- | --- |
//! | `Free` | 0 | 0 | 0 | the parent, to `Ready` or `Packed` |
//! | `Ready` | 1 | sequence | 0 | a worker, to `Claimed`; the parent, to `Free` (cancelled) |
//! | `Packed` | 2 | sequence | 0 | the worker that received the packet of the chunk, to `Claimed`; the parent, to `Free` |
//! | `Claimed` | 3 | sequence | ticket | that worker, to `Done`; its supervisor, to `Dead`; the parent, to `Free` |
//! | `Done` | 4 | sequence | ticket | the parent, to `Free` |
//! | `Dead` | 5 | sequence | ticket | the parent, to `Free` |
//!
//! The *sequence* is the lowest 29 bits of the number of the chunk. The *ticket* is the number of one life of a worker;
//! the ticket modulo the number of entries is the worker's entry. So a worker that is killed at any instruction has
//! either claimed the chunk, and the word names the worker, or not claimed the chunk.
//!
//! Only the parent makes a slot `Ready` or `Packed`, and only from `Free`. A worker may be stopped for so long that the
//! sequence wraps around. Its claim then takes a chunk that is ready now. That is correct, because the worker reads the
//! contents of the chunk only after the claim.

/// The state of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SlotState {
    /// The slot is empty.
    Free,
    /// A chunk is ready for any worker.
    Ready,
    /// A chunk is ready, whose descriptors are in a [packet](super::packets).
    Packed,
    /// The worker with this ticket has the chunk.
    Claimed(u32),
    /// The worker with this ticket has reported every outcome of the chunk.
    Done(u32),
    /// The worker with this ticket died with the chunk.
    Dead(u32),
}

const SEQUENCE: u64 = (1 << 29) - 1;

/// The place of the slot of a chunk among `slots` slots, whose number is a power of two.
pub(super) fn place_of(sequence: u64, slots: usize) -> usize {
    sequence as usize & slots.wrapping_sub(1) // a division takes as long as the rest of a claim
}

/// Encodes a state as a word.
pub(super) fn word(state: SlotState, sequence: u64) -> u64 {
    let (number, high) = match state {
        SlotState::Free => return 0,
        SlotState::Ready => (1, 0),
        SlotState::Packed => (2, 0),
        SlotState::Claimed(ticket) => (3, ticket),
        SlotState::Done(ticket) => (4, ticket),
        SlotState::Dead(ticket) => (5, ticket),
    };
    number | (sequence & SEQUENCE) << 3 | u64::from(high) << 32
}

/// Decodes the state in a word. An unknown number counts as `Free`.
pub(super) fn state(word: u64) -> SlotState {
    let high = (word >> 32) as u32;
    match word & 7 {
        1 => SlotState::Ready,
        2 => SlotState::Packed,
        3 => SlotState::Claimed(high),
        4 => SlotState::Done(high),
        5 => SlotState::Dead(high),
        _ => SlotState::Free,
    }
}

/// Encodes a running call: a chunk and the call in it. 0 means none.
pub(super) fn running(sequence: u64, index: u32) -> u64 {
    ((sequence & u64::from(u32::MAX)) << 32) | (u64::from(index) + 1)
}

/// Decodes the running call, if it belongs to the chunk with this sequence.
pub(super) fn running_in(note: u64, sequence: u64) -> Option<u32> {
    let index = (note as u32).checked_sub(1)?;
    (note >> 32 == sequence & u64::from(u32::MAX)).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_its_state_its_chunk_and_its_worker() {
        for made in
            [SlotState::Ready, SlotState::Packed, SlotState::Claimed(u32::MAX), SlotState::Done(0), SlotState::Dead(9)]
        {
            for sequence in [0, 1, SEQUENCE, SEQUENCE + 5] {
                assert_eq!(state(word(made, sequence)), made);
                assert_ne!(word(made, sequence), word(made, sequence + 1));
            }
        }
        assert_eq!(state(word(SlotState::Free, 7)), SlotState::Free);
        assert_ne!(word(SlotState::Claimed(1), 4), word(SlotState::Claimed(2), 4));
    }

    #[test]
    fn a_note_names_one_call_of_one_chunk() {
        assert_eq!(running_in(running(5, 0), 5), Some(0));
        assert_eq!(running_in(running(5, 9), 6), None);
        assert_eq!(running_in(0, 0), None);
        assert_eq!(running_in(running(1 << 40 | 3, 4), 1 << 40 | 3), Some(4));
    }
}
