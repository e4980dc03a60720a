//! The sending side of a connection. The unsent rest of a message stays here and is sent first.

use std::cell::{Cell, RefCell};

use ossature_sys::eventfd::Until;
use ossature_sys::stream::{Stream, StreamKind};

use super::frame::{Header, MOST_DESCRIPTORS, Outgoing};
use super::pickle::Encoder;
use super::receive::failed;
use super::sent::Sent;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::{Descriptors, Packed, Trust};

/// The maximum size, header included, of a message that is copied after its header on the stack and sent by the
/// shortest call. The kernel gathers the parts of larger messages.
const SMALL: usize = 512;

/// The size from which the header is sent by a call of its own. Behind the four bytes of a header, the kernel's pieces
/// of a message begin within a word. They are then copied a fifth slower at both ends.
const LONG: usize = 256 << 10;

/// The unsent part of the last message.
#[derive(Debug)]
pub(super) struct Sending {
    rest: RefCell<Rest>,
    /// The reason why nothing can be sent; `None` if messages can be sent.
    closed: Cell<Option<&'static str>>,
    /// The encoder of pickles.
    encoder: Cell<Encoder>,
}

#[derive(Debug, Default)]
struct Rest {
    outgoing: Outgoing,
    /// The descriptors that go with the byte after the next `before` bytes.
    descriptors: Descriptors,
    before: usize,
}

const ONLY_RECEIVES: &str = "cannot send: the connection is read-only (Access::Receive); send at its other end";
const BROKE: &str = "cannot send: an earlier error cut a message off, and the other side would take what follows for its rest; \
                     make a new connection";

impl Sending {
    pub(super) fn new(open: bool) -> Self {
        Self { rest: RefCell::default(), closed: Cell::new((!open).then_some(ONLY_RECEIVES)), encoder: Cell::default() }
    }

    pub(super) fn encoder(&self) -> Encoder {
        self.encoder.get()
    }

    pub(super) fn set_encoder(&self, encoder: Encoder) {
        self.encoder.set(encoder);
    }

    pub(super) fn is_open(&self) -> bool {
        self.closed.get().is_none()
    }

    /// Whether a part of a message is not sent yet.
    pub(super) fn is_within_a_message(&self) -> bool {
        !self.rest.borrow().outgoing.is_empty()
    }

    fn must_be_open(&self) -> Result<()> {
        self.closed.get().map_or(Ok(()), |why| Err(Error::new(ErrorKind::Closed, why)))
    }

    /// Sends the rest of earlier messages; false when something was still unsent at the deadline.
    pub(super) fn flush(&self, stream: &Stream, until: Until<'_>) -> Result<bool> {
        self.must_be_open()?;
        let mut rest = self.rest.borrow_mut();
        if rest.outgoing.is_empty() { Ok(true) } else { self.torn_by(rest.flush(stream, until)) }
    }

    /// Closes this side after an error within a message: the peer would take later bytes for the rest of that message.
    fn torn_by<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.closed.set(Some(BROKE));
        }
        result
    }

    /// Sends a message, as far as the stream accepts it by the deadline.
    pub(super) fn message(&self, stream: &Stream, message: &[u8], until: Until<'_>) -> Result<Sent> {
        if !self.flush(stream, until)? {
            return Ok(Sent::Nothing);
        }
        let header = Header::of(message.len());
        let (mut head, mut body) = (header.as_bytes(), message);
        let mut both = [0; SMALL];
        if let Some(room) = both.get_mut(..head.len() + body.len()) {
            let (first, second) = room.split_at_mut(head.len());
            first.copy_from_slice(head);
            second.copy_from_slice(body);
            (head, body) = (room, &[]);
        }
        let mut begun = false;
        loop {
            let now = if head.is_empty() || body.len() < LONG { [head, body] } else { [head, &[]] };
            let n = match until.when_writable(stream, |deadline| stream.write(now, deadline)) {
                Ok(Some(n)) => n,
                Ok(None) => break,
                Err(errno) if begun => return self.torn_by(Err(failed(errno))),
                Err(errno) => return Err(failed(errno)),
            };
            begun = true;
            let beyond = n.saturating_sub(head.len());
            head = head.get(n..).unwrap_or_default();
            body = body.get(beyond..).unwrap_or_default();
            if head.is_empty() && body.is_empty() {
                return Ok(Sent::Complete);
            }
        }
        if !begun {
            return Ok(Sent::Nothing);
        }
        let mut rest = self.rest.borrow_mut();
        rest.outgoing.push_raw(head);
        rest.outgoing.push_raw(body);
        Ok(Sent::Partial)
    }

    /// Sends a value, with the descriptors in it.
    pub(super) fn packed(&self, stream: &Stream, trust: Trust, packed: Packed, until: Until<'_>) -> Result<Sent> {
        let Packed { bytes, descriptors } = packed;
        if descriptors.is_empty() {
            return self.message(stream, &bytes, until);
        }
        refuse(stream, trust, &descriptors)?;
        if !self.flush(stream, until)? {
            return Ok(Sent::Nothing);
        }
        let mut rest = self.rest.borrow_mut();
        rest.outgoing.push_raw(Header::with_descriptors(bytes.len(), descriptors.fd_counts()).as_bytes());
        rest.outgoing.push_raw(&bytes);
        let total = rest.outgoing.rest().len();
        (rest.descriptors, rest.before) = (descriptors, 4);
        let flushed = rest.flush(stream, until);
        if rest.outgoing.rest().len() == total {
            *rest = Rest::default(); // not a byte went
            return flushed.map(|_| Sent::Nothing);
        }
        self.torn_by(flushed.map(|all| if all { Sent::Complete } else { Sent::Partial }))
    }
}

impl Rest {
    fn flush(&mut self, stream: &Stream, until: Until<'_>) -> Result<bool> {
        while !self.outgoing.is_empty() {
            let rest = self.outgoing.rest();
            let n = match (self.descriptors.is_empty(), rest.get(..self.before)) {
                (true, _) => until.when_writable(stream, |deadline| stream.write([rest, &[]], deadline)),
                (_, Some(before @ [_, ..])) => {
                    until.when_writable(stream, |deadline| stream.write([before, &[]], deadline))
                }
                // A stranger accepts descriptors only together with the credentials of the sender.
                _ => {
                    let descriptors = self.descriptors.borrowed();
                    until.when_writable(stream, |deadline| stream.write_with_credentials(rest, &descriptors, deadline))
                }
            };
            let Some(n) = n.map_err(failed)? else { return Ok(false) };
            if self.before == 0 {
                self.descriptors.clear(); // they rode on the first of these bytes
            }
            self.before = self.before.saturating_sub(n);
            self.outgoing.advance(n);
        }
        Ok(true)
    }
}

/// Checks that this stream may carry these descriptors.
fn refuse(stream: &Stream, trust: Trust, descriptors: &Descriptors) -> Result<()> {
    if stream.kind() != StreamKind::UnixSocket {
        let message = "cannot send open files, connections and shared memory except over a Unix socket: use pipe(), not pipe_one_way() or TCP";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let count = descriptors.fd_counts().all;
    if count > MOST_DESCRIPTORS {
        let message = format!("a message carries at most {MOST_DESCRIPTORS} descriptors, and this value has {count}");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    if descriptors.are_for_the_same_program() && trust != Trust::SameProgram {
        let message = "cannot send shared memory, or an end of a connection that may carry it, to another program: use pipe(), or a Unix socket with an authentication key";
        return Err(Error::new(ErrorKind::NotAllowed, message));
    }
    Ok(())
}

/// Defines the methods of sending types, which have `self.stream()`, `self.trust()` and `self.sending`. A macro for two
/// public types, because callers would have to import a trait.
macro_rules! sends {
    ($Face:ident) => {
        impl $Face {
            /// Sends a value, with the open files and the shared memory in it, at most 253 descriptors: see
            /// [`transfer`](crate::multiprocessing::transfer).
            ///
            /// **Bytes.** A value that is a `Vec<u8>`, `[u8]`, `String` or `str` is copied whole. Inside another value
            /// a `String` is copied whole too, and so is what serialises as bytes (`serde_bytes::ByteBuf`). A `Vec<u8>`
            /// inside another value is a list to serde, and is sent byte by byte. That takes two to three times as long
            /// as a `String`, and ten times without optimisation. [`send_bytes`](Self::send_bytes) makes no copy.
            ///
            /// # Errors
            /// As for [`send_bytes`](Self::send_bytes). [`InvalidInput`](crate::ErrorKind::InvalidInput) when the value
            /// cannot be serialised, or has descriptors that cannot be sent over this connection, or more than 253.
            /// [`NotAllowed`](crate::ErrorKind::NotAllowed) for shared memory to a stranger, and for an end of a
            /// connection within the program. Nothing is sent then.
            pub fn send<T: Outbound + ?Sized>(&self, value: &T) -> Result<()> {
                self.send_timeout(value, Deadline::NEVER).map(drop)
            }

            /// Does what [`send`](Self::send) does within the deadline, with the result of
            /// [`send_bytes_timeout`](Self::send_bytes_timeout).
            ///
            /// # Errors
            /// As for [`send`](Self::send).
            pub fn send_timeout<'c, T: Outbound + ?Sized>(
                &self,
                value: &T,
                timeout: impl Into<Until<'c>>,
            ) -> Result<Sent> {
                self.sending.packed(self.stream(), self.trust(), pack(value)?, timeout.into())
            }

            /// Sends one message: Python's `send_bytes(buffer)`. An empty message is a message, too.
            ///
            /// # Errors
            /// [`Closed`](crate::ErrorKind::Closed) when the other side has closed the connection (with `EPIPE` or
            /// `ECONNRESET`), or when this is not open for sending; [`Os`](crate::ErrorKind::Os).
            pub fn send_bytes(&self, message: &[u8]) -> Result<()> {
                self.send_bytes_timeout(message, Deadline::NEVER).map(drop)
            }

            /// Sends one message, and returns [how much of the message](crate::multiprocessing::connection::Sent) was
            /// sent by the deadline.
            ///
            /// The connection keeps the rest of a message that was sent in part. The next call, or
            /// [`flush`](Self::flush), sends the rest before anything else; closing the connection loses the rest. The
            /// rest of an earlier message counts against this deadline.
            ///
            /// # Errors
            /// As for [`send_bytes`](Self::send_bytes).
            pub fn send_bytes_timeout<'c>(&self, message: &[u8], timeout: impl Into<Until<'c>>) -> Result<Sent> {
                self.sending.message(self.stream(), message, timeout.into())
            }

            /// Sends the `size` bytes of the buffer from `offset` on: Python's `send_bytes(buffer, offset, size)`.
            ///
            /// # Errors
            /// As for [`send_bytes`](Self::send_bytes); [`OutOfRange`](crate::ErrorKind::OutOfRange) when they are not
            /// all in `buffer`.
            pub fn send_bytes_range(&self, buffer: &[u8], offset: usize, size: usize) -> Result<()> {
                let wrong = || {
                    let message =
                        format!("offset {offset} and size {size} exceed the buffer of {} bytes", buffer.len());
                    Error::new(ErrorKind::OutOfRange, message)
                };
                self.send_bytes(buffer.get(offset..).and_then(|rest| rest.get(..size)).ok_or_else(wrong)?)
            }

            /// Sends the bytes that earlier calls kept; false when some are still unsent at the deadline.
            ///
            /// # Errors
            /// As for [`send_bytes`](Self::send_bytes).
            pub fn flush<'c>(&self, timeout: impl Into<Until<'c>>) -> Result<bool> {
                self.sending.flush(self.stream(), timeout.into())
            }
        }
    };
}

pub(super) use sends;
