//! Messages in CPython's frames, as two state machines without I/O.
//!
//! | on the wire | meaning |
//! | --- | --- |
//! | `0..=0x7fff_ffff` as 4 bytes, the highest first | that many bytes follow |
//! | `0xffff_ffff`, then 8 bytes, the highest first | that many bytes follow; sent only beyond `0x7fff_ffff`, taken for any length |
//! | `0x80_ee_mm_nn`, then 8 bytes | that many bytes follow, and `nn` descriptors, 1 to 253, are sent with the first of the 8 bytes; the first `mm` of them are shared memory, the next `ee` ends of connections within the same program. Only this crate uses this form: CPython neither sends nor accepts it |
//! | anything else | an error: the peer speaks another protocol, or lost the position in the stream |
//!
//! A machine never requests a byte beyond the current message. So another process that shares the connection finds the
//! next message whole. A machine allocates memory only as bytes arrive, whatever length an untrusted peer announces.
//! The length that a process of this program announces is [trusted](Incoming::believe), up to a bound.
//!
//! **Driving them without blocking** (an event loop, or a handshake beside others): for each connection keep an
//! [`Incoming`] made by [`with_limit`](Incoming::with_limit), and an [`Outgoing`].
//!
//! ```text
//! readable:  let n = stream.read(incoming.space(), Deadline::NOW)?;        // or any non-blocking read
//!            None                         nothing there: wait until readable
//!            Some(0)                      return Err(incoming.end());      // end of file, at or within a message
//!            Some(n) => if incoming.advance(n)? { let message: Vec<u8> = incoming.take(); /* handle; then the next one */ }
//!            (again, until None)
//! to send:   outgoing.push(message);
//! writable:  while !outgoing.is_empty() { match stream.write([outgoing.rest(), &[]], Deadline::NOW)? {
//!                None => wait until writable, Some(n) => outgoing.advance(n) } }
//! ```
//!
//! An error of [`advance`](Incoming::advance) is final: where the next message begins is not known, so close the
//! connection. Made by `with_limit` the machine refuses descriptors, and a message longer than the limit as soon as its
//! header is there.

use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::FdCounts;

/// The number of bytes that are allocated at once for an announced message; beyond it, twice the received bytes.
const AT_ONCE: usize = 1 << 20;

/// The number of bytes that are allocated at once for a message from a process of this program. The kernel provides
/// such memory as bytes are written to it.
const AT_ONCE_OF_SAME_PROGRAM: usize = 256 << 20;

/// The header that is followed by 8 bytes of length.
const LONG: u32 = 0xffff_ffff;
/// The header, without the number of descriptors, that is followed by 8 bytes of length with descriptors.
const WITH_FDS: u32 = 0x8000_0000;
/// The maximum number of descriptors of a message.
pub(crate) const MOST_DESCRIPTORS: usize = ossature_sys::socket::MOST_DESCRIPTORS;

/// The header of a message: 4 or 12 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    bytes: [u8; 12],
    len: usize,
}

impl Header {
    /// Returns the header of a message of `len` bytes.
    pub(crate) fn of(len: usize) -> Self {
        match u32::try_from(len) {
            Ok(short) if short <= i32::MAX as u32 => {
                let mut bytes = [0; 12];
                bytes[..4].copy_from_slice(&short.to_be_bytes());
                Self { bytes, len: 4 }
            }
            _ => Self::long(LONG, len),
        }
    }

    /// Returns the header of a message with descriptors, 1 to [`MOST_DESCRIPTORS`]. They are sent with the 5th byte.
    pub(crate) fn with_descriptors(len: usize, fd_counts: FdCounts) -> Self {
        let [ends, memory, all] =
            [fd_counts.ends, fd_counts.memory, fd_counts.all].map(|count| count.min(MOST_DESCRIPTORS) as u32);
        Self::long(WITH_FDS | ends << 16 | memory << 8 | all, len)
    }

    fn long(first: u32, len: usize) -> Self {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&first.to_be_bytes());
        bytes[4..].copy_from_slice(&(len as u64).to_be_bytes());
        Self { bytes, len: 12 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

/// The numbers of descriptors in a header, if it has them.
fn fd_counts(header: u32) -> Option<FdCounts> {
    let [top, ends, memory, all] = header.to_be_bytes();
    let fd_counts = FdCounts { memory: memory.into(), ends: ends.into(), all: all.into() };
    let possible = u32::from(top) == WITH_FDS >> 24 && (1..=MOST_DESCRIPTORS).contains(&fd_counts.all);
    (possible && fd_counts.is_possible()).then_some(fd_counts)
}

/// The maximum length of a message, and the origin of that limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameLimit {
    bytes: usize,
    whose: &'static str,
}

impl FrameLimit {
    /// No limit except that of memory.
    pub(crate) const NONE: Self = Self { bytes: isize::MAX as usize, whose: "that memory can hold" };

    /// The limit of the connection, which can be set.
    pub(crate) const fn of_connection(bytes: usize) -> Self {
        Self { bytes, whose: "that this connection allows; set_max_message allows more" }.possible()
    }

    /// The limit that a call names.
    pub(crate) const fn of_call(bytes: usize) -> Self {
        Self { bytes, whose: "that this call allows" }.possible()
    }

    /// The limit of a protocol.
    pub(crate) const fn of_handshake(bytes: usize) -> Self {
        Self { bytes, whose: "that a handshake allows" }.possible()
    }

    const fn possible(self) -> Self {
        if self.bytes < Self::NONE.bytes { self } else { Self::NONE }
    }
}

/// A message that is being received.
#[derive(Debug)]
pub(crate) struct Incoming {
    header: [u8; 12],
    /// The number of received bytes of the header.
    have: u8,
    /// The length of the header, as far as it is known.
    need: u8,
    fd_counts: FdCounts,
    takes_descriptors: bool,
    limit: FrameLimit,
    /// The number of bytes that are allocated before a byte of the message has arrived.
    at_once: usize,
    /// The length of the message, once the header is complete.
    len: Option<usize>,
    /// The message, followed by space for more of it.
    body: Vec<u8>,
    filled: usize,
}

impl Incoming {
    /// Creates a machine for messages of any length, including descriptors.
    pub(crate) const fn new() -> Self {
        Self {
            header: [0; 12],
            have: 0,
            need: 4,
            fd_counts: FdCounts { memory: 0, ends: 0, all: 0 },
            takes_descriptors: true,
            limit: FrameLimit::NONE,
            at_once: AT_ONCE,
            len: None,
            body: Vec::new(),
            filled: 0,
        }
    }

    /// Creates a machine for messages within the limit, without descriptors.
    pub(crate) const fn with_limit(limit: FrameLimit) -> Self {
        let mut machine = Self::new();
        machine.limit = limit;
        machine.takes_descriptors = false;
        machine
    }

    /// Sets the limit, also for the message that has begun.
    ///
    /// # Errors
    /// [`TooLong`](ErrorKind::TooLong) when that one is known to be longer.
    pub(crate) fn set_limit(&mut self, limit: FrameLimit) -> Result<()> {
        self.limit = limit;
        self.len.map_or(Ok(()), |len| self.check(len as u64).map(drop))
    }

    /// Sets whether the memory of a whole message is allocated as soon as its length is known: the other side is a
    /// process of this program.
    pub(crate) fn believe(&mut self, same_program: bool) {
        self.at_once = if same_program { AT_ONCE_OF_SAME_PROGRAM } else { AT_ONCE };
    }

    /// The buffer for the next bytes: never empty, and never beyond the end of this message.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let Some(len) = self.len else {
            return self.header.get_mut(usize::from(self.have)..usize::from(self.need)).unwrap_or_default();
        };
        if self.filled == self.body.len() {
            let more = if self.filled == 0 { self.at_once } else { self.filled };
            let room = len.min(self.filled.saturating_add(more));
            if self.filled == 0 {
                self.body = vec![0; room]; // zeroed by the kernel, when it is large
            } else {
                self.body.resize(room, 0);
            }
        }
        self.body.get_mut(self.filled..).unwrap_or_default()
    }

    /// Counts `n` bytes that were written at the beginning of [`space`](Self::space), and returns whether the message
    /// is complete.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) for what is not a header, [`TooLong`](ErrorKind::TooLong) for a message beyond the
    /// limit.
    pub(crate) fn advance(&mut self, n: usize) -> Result<bool> {
        if let Some(len) = self.len {
            self.filled = self.filled.saturating_add(n).min(self.body.len());
            return Ok(self.filled == len);
        }
        self.have = self.need.min(self.have.saturating_add(u8::try_from(n).unwrap_or(u8::MAX)));
        if self.have < self.need {
            return Ok(false);
        }
        let [first, middle, last] = [0, 4, 8].map(|at| self.word(at));
        let len = match first {
            short if short <= i32::MAX as u32 => u64::from(short),
            _ if self.have == 12 => u64::from(middle) << 32 | u64::from(last),
            LONG => return self.needs_more(FdCounts::default()),
            other => {
                if let Some(fd_counts) = fd_counts(other).filter(|_| self.takes_descriptors) {
                    return self.needs_more(fd_counts);
                }
                let message = format!("bad message: it begins with {other:#010x}, which is not a length");
                return Err(Error::new(ErrorKind::Decode, message));
            }
        };
        let len = self.check(len)?;
        self.len = Some(len);
        Ok(len == 0)
    }

    fn needs_more(&mut self, fd_counts: FdCounts) -> Result<bool> {
        self.need = 12;
        self.fd_counts = fd_counts;
        Ok(false)
    }

    fn word(&self, at: usize) -> u32 {
        self.header.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    fn check(&self, len: u64) -> Result<usize> {
        let FrameLimit { bytes, whose } = self.limit;
        usize::try_from(len).ok().filter(|&len| len <= bytes).ok_or_else(|| {
            let message = format!("bad message length: {len} bytes exceed the {bytes} bytes {whose}");
            Error::new(ErrorKind::TooLong, message)
        })
    }

    /// The numbers of descriptors that arrive with the very next byte.
    pub(crate) fn descriptors_due(&self) -> Option<FdCounts> {
        (self.fd_counts.all > 0 && self.have == 4).then_some(self.fd_counts)
    }

    /// The length of the message while no byte of it has arrived.
    pub(crate) fn untouched(&self) -> Option<usize> {
        self.len.filter(|_| self.filled == 0)
    }

    /// The number of missing bytes of the message, once its length is known.
    pub(crate) fn missing(&self) -> Option<usize> {
        self.len.map(|len| len.saturating_sub(self.filled))
    }

    /// The number of received bytes of the message.
    pub(crate) fn held(&self) -> usize {
        self.filled
    }

    /// Whether a part of a message has been received.
    pub(crate) fn has_begun(&self) -> bool {
        self.have > 0
    }

    /// Takes over the beginning of the message that was received elsewhere.
    pub(crate) fn adopt(&mut self, beginning: &[u8]) {
        let len = self.len.unwrap_or_default().min(beginning.len().max(self.at_once));
        self.body = vec![0; len];
        let place = self.body.get_mut(..beginning.len());
        self.filled = place.map_or(0, |place| {
            place.copy_from_slice(beginning);
            beginning.len()
        });
    }

    /// Returns the whole message; the machine is ready for the next one.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut message = std::mem::take(&mut self.body);
        message.truncate(self.filled);
        self.reset();
        message
    }

    /// Drops the message, to be ready for the next one.
    pub(crate) fn reset(&mut self) {
        (self.have, self.need, self.fd_counts, self.len, self.filled) = (0, 4, FdCounts::default(), None, 0);
        self.body = Vec::new();
    }

    /// Returns the error of an end of the stream at this point.
    pub(crate) fn end(&self) -> Error {
        let message = if self.has_begun() {
            "the other side closed the connection within a message (got end of file during message)"
        } else {
            "the other side has closed the connection"
        };
        Error::new(ErrorKind::Closed, message)
    }
}

/// Messages to send.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    /// Adds a message.
    pub(crate) fn push(&mut self, message: &[u8]) {
        self.push_raw(Header::of(message.len()).as_bytes());
        self.push_raw(message);
    }

    /// Adds bytes that are already framed, or a part of a message.
    pub(crate) fn push_raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes that are not written yet.
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Counts bytes that were written.
    pub(crate) fn advance(&mut self, n: usize) {
        self.sent = self.sent.saturating_add(n).min(self.bytes.len());
        if self.sent == self.bytes.len() {
            (self.bytes, self.sent) = (Vec::new(), 0);
        }
    }

    /// Whether everything is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }
}
