//! One message of a handshake.

use std::ops::Deref;

/// The maximum length of a handshake message; a longer message is refused before it is read.
pub(super) const LIMIT: usize = 256;

/// One message of a handshake, of at most 256 bytes.
///
/// # Examples
/// See the example of [`Handshake`](super::Handshake).
#[derive(Clone)]
pub struct Payload {
    bytes: [u8; LIMIT],
    len: usize,
}

impl Payload {
    /// Joins the parts. The messages of the handshake take at most a quarter of the limit; longer ones would be cut.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut payload = Self { bytes: [0; LIMIT], len: 0 };
        for (place, byte) in payload.bytes.iter_mut().zip(parts.iter().copied().flatten()) {
            *place = *byte;
            payload.len += 1;
        }
        payload
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}
