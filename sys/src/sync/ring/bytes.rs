//! The bytes of a message: how much room they take, where they are stored, and what describes them.

use super::error::RingError;
use super::memory::{GRANULE, Ring};
use super::track::Claim;
use super::word::BESIDE_MAX;
use crate::mmap::copy;
use crate::sync::scope::Refused;

/// The result of [`Participant::recv`](super::Participant::recv). See the example of [`Ring`](super::Ring).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The length of the message in bytes.
    pub len: usize,
    /// The tag that the sender gave the message.
    pub tag: u32,
}

/// The number of granules of a message, if the ring takes messages of that length.
pub(super) fn granules_in(ring: &Ring, len: usize) -> Result<u64, RingError> {
    let max = ring.max_message();
    if len > max { Err(RingError::TooLong { len, max }) } else { Ok(granules_for(len)) }
}

/// The number of granules of a message. An empty message takes one.
pub(super) fn granules_for(len: usize) -> u64 {
    len.div_ceil(GRANULE).max(1) as u64
}

pub(super) fn info(len: usize, tag: u32) -> u64 {
    (len as u64) << 32 | u64::from(tag)
}

/// Packs a message that is short enough to be stored beside the word of its record, in place of the info.
#[inline]
pub(super) fn beside(message: &[u8]) -> Option<u64> {
    // The usual length needs no call.
    if let Ok(whole) = message.try_into() {
        return Some(u64::from_ne_bytes(whole));
    }
    let mut bytes = [0; BESIDE_MAX];
    bytes.get_mut(..message.len())?.copy_from_slice(message);
    Some(u64::from_ne_bytes(bytes))
}

/// The length and the tag of a message. The length is checked, not trusted.
#[inline]
pub(super) fn measured(claim: Claim, info: u64) -> Result<Received, RingError> {
    let len = (info >> 32) as usize;
    if len > claim.word.granules() as usize * GRANULE {
        return Err(Refused::Unrecoverable.into());
    }
    Ok(Received { len, tag: info as u32 })
}

/// Copies out a message that this participant has taken, or that is ready. In the second case other participants may
/// overwrite the bytes during the copy.
#[inline(always)]
pub(super) fn copy_out(ring: &Ring, claim: Claim, info: u64, bytes: &mut [u8]) -> Result<Received, RingError> {
    let beside = claim.word.beside();
    let received = match beside {
        Some(len) => Received { len, tag: 0 },
        None => measured(claim, info)?,
    };
    let Some(place) = bytes.get_mut(..received.len) else {
        return Err(RingError::TooSmall { needed: received.len });
    };
    if let Some(len) = beside {
        let message = info.to_ne_bytes();
        match <&mut [u8; BESIDE_MAX]>::try_from(&mut *place) {
            Ok(whole) => *whole = message,
            Err(_) => place.copy_from_slice(message.get(..len).unwrap_or_default()),
        }
        return Ok(received);
    }
    // SAFETY: the record is in the ring's memory and at least that long (`measured`), and so is the buffer.
    // Others write the memory by such copies and by atomics only.
    unsafe { copy::load(ring.message_at(claim).as_ptr(), place.as_mut_ptr(), received.len) };
    Ok(received)
}
