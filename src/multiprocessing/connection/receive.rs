//! The receiving side of a connection, which keeps a message until it is complete.

use std::cell::{Cell, RefCell};

use ossature_sys::errno::Errno;
use ossature_sys::eventfd::Until;
use ossature_sys::process::effective_user;
use ossature_sys::socket::Credentials;
use ossature_sys::stream::{Stream, StreamKind};

use super::frame::{FrameLimit, Incoming, MOST_DESCRIPTORS};
use super::handshake::is_challenge;
use super::too_short::BufferTooShort;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::{Bounds, DEPTH, Descriptors, FdCounts, Packed, Trust};

/// The received part of the next message.
#[derive(Debug)]
pub(super) struct Receiving {
    partial: RefCell<Partial>,
    /// The reason why nothing can be received; `None` if messages can be received.
    closed: Cell<Option<&'static str>>,
    /// Whether a challenge as the next message is an error: for the first message of a client that has no key.
    refuses_challenge: Cell<bool>,
    /// The default limit on the length of a message; `None` means [`FROM_A_STRANGER`] for an untrusted peer.
    most: Cell<Option<usize>>,
    /// The maximum nesting of a value.
    depth: Cell<usize>,
    /// The maximum memory of a value in bytes; `None` means the default, [`Bounds::of_stranger`] for an untrusted peer.
    decoded: Cell<Option<usize>>,
}

/// The default maximum length of a message from an untrusted peer: it fits in the memory of any machine.
const FROM_A_STRANGER: usize = 256 << 20;

#[derive(Debug)]
struct Partial {
    incoming: Incoming,
    descriptors: Descriptors,
}

const ONLY_SENDS: &str = "cannot receive: the connection is write-only (Access::Send); receive at its other end";
const CHALLENGED: &str = "cannot receive: the listener asks for a key, which this connection was made without; connect with \
                          ConnectBuilder::new().authkey(&key)";
const SPOILT: &str =
    "cannot receive: an earlier malformed message hides where the next one begins; make a new connection";

impl Receiving {
    pub(super) const fn new(open: bool) -> Self {
        let partial = Partial { incoming: Incoming::new(), descriptors: Descriptors::new() };
        Self {
            partial: RefCell::new(partial),
            closed: Cell::new(if open { None } else { Some(ONLY_SENDS) }),
            refuses_challenge: Cell::new(false),
            most: Cell::new(None),
            depth: Cell::new(DEPTH),
            decoded: Cell::new(None),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.closed.get().is_none()
    }

    /// Returns the maximum length of a message for calls that name no limit.
    pub(super) fn most(&self, trust: Trust) -> usize {
        self.most.get().unwrap_or(match trust {
            Trust::SameProgram => usize::MAX,
            Trust::Untrusted => FROM_A_STRANGER,
        })
    }

    pub(super) fn set_most(&self, most: usize) {
        self.most.set(Some(most));
    }

    pub(super) fn depth(&self) -> usize {
        self.depth.get()
    }

    pub(super) fn set_depth(&self, depth: usize) {
        self.depth.set(depth);
    }

    /// The maximum memory of a value, if it was set.
    pub(super) fn decoded(&self) -> Option<usize> {
        self.decoded.get()
    }

    pub(super) fn set_decoded(&self, bytes: usize) {
        self.decoded.set(Some(bytes));
    }

    /// Returns the limits for decoding a message of `length` bytes.
    pub(super) fn bounds(&self, trust: Trust, length: usize) -> Bounds {
        let memory = self.decoded.get().unwrap_or(match trust {
            Trust::SameProgram => usize::MAX,
            Trust::Untrusted => Bounds::of_stranger(length).memory,
        });
        Bounds { depth: self.depth.get(), memory, ..Bounds::SAME_PROGRAM }
    }

    pub(super) fn refuse_challenge(&self) {
        self.refuses_challenge.set(true);
    }

    pub(super) fn allow_challenge(&self) {
        self.refuses_challenge.set(false);
    }

    /// Checks that the first message to a client without a key is not a challenge.
    fn must_be_no_challenge(&self, message: &[u8]) -> Result<()> {
        if !self.refuses_challenge.replace(false) || !is_challenge(message) {
            return Ok(());
        }
        self.closed.set(Some(CHALLENGED));
        let message = "the listener requires a key; connect with ConnectBuilder::new().authkey(&key), or call answer_challenge first";
        Err(Error::new(ErrorKind::Auth, message))
    }

    /// Whether only a part of a message was received by a deadline.
    pub(super) fn is_within_a_message(&self) -> bool {
        self.partial.borrow().incoming.has_begun()
    }

    pub(super) fn must_be_open(&self) -> Result<()> {
        self.closed.get().map_or(Ok(()), |why| Err(Error::new(ErrorKind::Closed, why)))
    }

    /// Receives the next message, at most as long as `limit` says if there is one. `None` when the message was not
    /// complete by the deadline; the received part is kept.
    pub(super) fn message(
        &self,
        stream: &Stream,
        trust: Trust,
        limit: Option<usize>,
        until: Until<'_>,
    ) -> Result<Option<Packed>> {
        self.must_be_open()?;
        let mut partial = self.partial.borrow_mut();
        let limit = limit.map_or_else(|| FrameLimit::of_connection(self.most(trust)), FrameLimit::of_call);
        let whole = self.spoilt_by(partial.fill(stream, trust, limit, until))?;
        if !whole {
            return Ok(None);
        }
        let packed = Packed { bytes: partial.incoming.take(), descriptors: std::mem::take(&mut partial.descriptors) };
        self.must_be_no_challenge(&packed.bytes)?;
        Ok(Some(packed))
    }

    /// Receives the next message into a buffer, without an allocation when the message fits there.
    pub(super) fn message_into(
        &self,
        stream: &Stream,
        trust: Trust,
        buffer: &mut [u8],
        until: Until<'_>,
    ) -> Result<Option<usize>> {
        self.must_be_open()?;
        let mut partial = self.partial.borrow_mut();
        let limit = FrameLimit::of_connection(self.most(trust).max(buffer.len()));
        let got = self.spoilt_by(partial.fill_into(stream, trust, limit, buffer, until))?;
        match got {
            Into::Nothing => return Ok(None),
            Into::Buffer(len) => {
                partial.incoming.reset();
                partial.descriptors.clear();
                self.must_be_no_challenge(buffer.get(..len).unwrap_or_default())?;
                return Ok(Some(len));
            }
            Into::Own => {}
        }
        let message = partial.incoming.take();
        partial.descriptors.clear();
        self.must_be_no_challenge(&message)?;
        match buffer.get_mut(..message.len()) {
            Some(place) => {
                place.copy_from_slice(&message);
                Ok(Some(message.len()))
            }
            None => Err(BufferTooShort::new(message, buffer.len()).into()),
        }
    }

    /// Closes this side after an error that leaves no way to find the next message.
    fn spoilt_by<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            let end = error.kind() == ErrorKind::Closed; // says the same again
            let passing = error.errno().is_some_and(|errno| errno == Errno::NOMEM || errno == Errno::NOBUFS);
            self.closed.set((!(end || passing)).then_some(SPOILT));
        }
        result
    }
}

/// Where a received message is.
enum Into {
    Nothing,
    Buffer(usize),
    Own,
}

impl Partial {
    /// Receives until `incoming` has a complete message.
    fn fill(&mut self, stream: &Stream, trust: Trust, limit: FrameLimit, until: Until<'_>) -> Result<bool> {
        self.incoming.set_limit(limit)?;
        self.incoming.believe(trust == Trust::SameProgram);
        loop {
            match self.step(stream, trust, until)? {
                None => return Ok(false),
                Some(true) => return Ok(true),
                Some(false) => {}
            }
        }
    }

    /// Receives until a complete message is in `buffer`, if it fits there, and in `incoming` otherwise.
    fn fill_into(
        &mut self,
        stream: &Stream,
        trust: Trust,
        limit: FrameLimit,
        buffer: &mut [u8],
        until: Until<'_>,
    ) -> Result<Into> {
        self.incoming.set_limit(limit)?;
        self.incoming.believe(trust == Trust::SameProgram);
        loop {
            if let Some(place) = self.incoming.untouched().and_then(|len| buffer.get_mut(..len)) {
                return self.read_straight(stream, place, until);
            }
            match self.step(stream, trust, until)? {
                None => return Ok(Into::Nothing),
                Some(true) => return Ok(Into::Own),
                Some(false) => {}
            }
        }
    }

    /// Reads the message directly into `place`. At the deadline, or after an error, the received part moves to
    /// `incoming`.
    fn read_straight(&mut self, stream: &Stream, place: &mut [u8], until: Until<'_>) -> Result<Into> {
        let mut filled = 0;
        let ended = loop {
            let Some(rest) = place.get_mut(filled..).filter(|rest| !rest.is_empty()) else {
                return Ok(Into::Buffer(filled));
            };
            match until.when_readable(stream, |deadline| stream.read(rest, deadline)) {
                Ok(Some(0)) => break Err(self.incoming.end()),
                Ok(Some(n)) => filled += n,
                Ok(None) => break Ok(Into::Nothing),
                Err(errno) => break Err(failed(errno)),
            }
        };
        if filled > 0 {
            self.incoming.adopt(place.get(..filled).unwrap_or_default());
        }
        ended
    }

    /// Reads once. Returns whether the message is complete, or `None` when nothing came by the deadline.
    fn step(&mut self, stream: &Stream, trust: Trust, until: Until<'_>) -> Result<Option<bool>> {
        let n = match self.incoming.descriptors_due() {
            None => {
                let space = self.incoming.space();
                until.when_readable(stream, |deadline| stream.read(space, deadline)).map_err(failed)?
            }
            Some(due) => self.read_descriptors(stream, trust, due, until)?,
        };
        match n {
            None => Ok(None),
            Some(0) => Err(self.incoming.end()),
            Some(n) => self.incoming.advance(n).map(Some),
        }
    }

    #[cold]
    fn read_descriptors(
        &mut self,
        stream: &Stream,
        trust: Trust,
        due: FdCounts,
        until: Until<'_>,
    ) -> Result<Option<usize>> {
        let refused = || {
            let message = "an untrusted peer sent descriptors, which only authenticated peers and processes of the same user may send";
            Error::new(ErrorKind::NotAllowed, message)
        };
        if stream.kind() != StreamKind::UnixSocket {
            return Err(refused());
        }
        let space = self.incoming.space();
        let got = match trust {
            Trust::SameProgram => {
                until.when_readable(stream, |deadline| stream.read_with::<MOST_DESCRIPTORS>(space, deadline))
            }
            Trust::Untrusted => until.when_readable(stream, |deadline| stream.read_with_credentials(space, deadline)),
        };
        let Some(got) = got.map_err(failed)? else { return Ok(None) };
        if got.len == 0 {
            return Ok(Some(0));
        }
        if !got.descriptors_lost && got.descriptors.len() != due.all {
            let message = format!("the message announced {} descriptors, but {} came", due.all, got.descriptors.len());
            return Err(Error::new(ErrorKind::Decode, message));
        }
        if trust != Trust::SameProgram && !got.credentials.is_some_and(may_send_descriptors) {
            return Err(refused());
        }
        self.descriptors = if got.descriptors_lost {
            // The kernel had them and could not open them here. The rest of the message comes as if nothing had been.
            Descriptors::lost(due.all)
        } else {
            Descriptors::arrived(got.descriptors.into_iter().collect(), due).unwrap_or_default()
        };
        Ok(Some(got.len))
    }
}

/// The user that the kernel reports for an unknown user.
const NOBODY: u32 = 65534;

/// Whether the kernel reports that the sender of exactly these bytes runs as this user or as root. The process that
/// made the connection does not count: a pair of sockets is made by one process and used by others.
fn may_send_descriptors(sender: Credentials) -> bool {
    let is_known = sender.pid.is_some() || sender.uid != NOBODY;
    is_known && (sender.uid == 0 || sender.uid == effective_user())
}

/// Returns the error of a failed read or write.
pub(super) fn failed(errno: Errno) -> Error {
    match errno {
        Errno::PIPE | Errno::CONNRESET => {
            Error::with_errno(ErrorKind::Closed, errno, "the other side has closed the connection")
        }
        other => Error::os(other, "connection"),
    }
}

/// Defines the methods of receiving types, which have `self.stream()`, `self.trust()` and `self.receiving`. A macro for
/// two public types, because callers would have to import a trait.
macro_rules! receives {
    ($Face:ident) => {
        impl $Face {
            /// Waits for the next message, and returns the value that
            /// [`send`](crate::multiprocessing::connection::Connection::send) sent.
            ///
            /// **A message has no tag with its type**, so a type with a fitting form is accepted: an `i32` of 1 is read
            /// as a `u32` of 2. A sender may name another type of the same form: a `&str` is received as a `String`, a
            /// slice as a `Vec`, a reference as the value. A tag by the type's name would refuse such correct programs.
            /// A tag in debug builds alone would keep debug and release programs from talking to each other. Where
            /// types can be mistaken, give each connection one enum as its message.
            ///
            /// # Errors
            /// As for [`recv_bytes`](Self::recv_bytes). [`Decode`](crate::ErrorKind::Decode) when the message is not a
            /// `T`, or costs more than [`max_depth`](Self::max_depth) or [`max_decoded`](Self::max_decoded) allows.
            /// [`NotAllowed`](crate::ErrorKind::NotAllowed) and [`Incompatible`](crate::ErrorKind::Incompatible) for
            /// shared memory that cannot be taken. [`Os`](crate::ErrorKind::Os) with `EMFILE` when this process may not
            /// open the descriptors of the message. The message is lost then, and the next one can be received.
            pub fn recv<T: Inbound>(&self) -> Result<T> {
                self.recv_timeout(Deadline::NEVER)?.ok_or_else(|| Errno::TIMEDOUT.into())
            }

            /// [`recv`](Self::recv) within the deadline; `None` when the deadline has passed, or when a
            /// [`CancelFd`](crate::multiprocessing::connection::CancelFd) ended the wait.
            ///
            /// The deadline bounds the arrival of the whole message. A message that has arrived is decoded to its end,
            /// because half a value cannot be kept. Decoding takes time in proportion to the message's length.
            ///
            /// # Errors
            /// As for [`recv`](Self::recv).
            pub fn recv_timeout<'c, T: Inbound>(&self, timeout: impl Into<Until<'c>>) -> Result<Option<T>> {
                self.recv_within(None, timeout.into())
            }

            /// [`recv`](Self::recv) for a value whose message has at most `limit` bytes, whatever
            /// [`max_message`](Self::max_message) says.
            ///
            /// # Errors
            /// As for [`recv`](Self::recv) and [`recv_bytes_max`](Self::recv_bytes_max).
            pub fn recv_max<T: Inbound>(&self, limit: usize) -> Result<T> {
                self.recv_max_timeout(limit, Deadline::NEVER)?.ok_or_else(|| Errno::TIMEDOUT.into())
            }

            /// Does what [`recv_max`](Self::recv_max) does within the deadline; `None` when the deadline has passed.
            ///
            /// # Errors
            /// As for [`recv_max`](Self::recv_max).
            pub fn recv_max_timeout<'c, T: Inbound>(
                &self,
                limit: usize,
                timeout: impl Into<Until<'c>>,
            ) -> Result<Option<T>> {
                self.recv_within(Some(limit), timeout.into())
            }

            fn recv_within<T: Inbound>(&self, limit: Option<usize>, until: Until<'_>) -> Result<Option<T>> {
                let message = self.receiving.message(self.stream(), self.trust(), limit, until)?;
                let Some(message) = message else { return Ok(None) };
                let bounds = self.receiving.bounds(self.trust(), message.bytes.len());
                unpack(message, self.trust(), bounds).map(Some)
            }

            /// Waits for the next message, as bytes: Python's `recv_bytes()`. Descriptors that came along are closed.
            ///
            /// # Errors
            /// [`Closed`](crate::ErrorKind::Closed) when the other side has closed the connection (Python's
            /// `EOFError`), also within a message. [`Decode`](crate::ErrorKind::Decode) for bytes that are not a
            /// message, [`TooLong`](crate::ErrorKind::TooLong) for a message beyond [`max_message`](Self::max_message);
            /// nothing can be received after either. [`Auth`](crate::ErrorKind::Auth) if the listener asks this client
            /// for a key and the client has none. [`Os`](crate::ErrorKind::Os).
            pub fn recv_bytes(&self) -> Result<Vec<u8>> {
                self.recv_bytes_timeout(Deadline::NEVER)?.ok_or_else(|| Errno::TIMEDOUT.into())
            }

            /// Does what [`recv_bytes`](Self::recv_bytes) does for a message of at most `limit` bytes, whatever
            /// [`max_message`](Self::max_message) says: Python's `recv_bytes(maxlength)`.
            ///
            /// # Errors
            /// As for [`recv_bytes`](Self::recv_bytes); [`TooLong`](crate::ErrorKind::TooLong) for a longer message. It
            /// is not read, so nothing can be received any more.
            pub fn recv_bytes_max(&self, limit: usize) -> Result<Vec<u8>> {
                self.recv_bytes_max_timeout(limit, Deadline::NEVER)?.ok_or_else(|| Errno::TIMEDOUT.into())
            }

            /// [`recv_bytes`](Self::recv_bytes) within the deadline; `None` when the deadline has passed. The part of a
            /// message that was received by then is kept, and the next call continues with it.
            ///
            /// # Errors
            /// As for [`recv_bytes`](Self::recv_bytes).
            pub fn recv_bytes_timeout<'c>(&self, timeout: impl Into<Until<'c>>) -> Result<Option<Vec<u8>>> {
                let message = self.receiving.message(self.stream(), self.trust(), None, timeout.into())?;
                Ok(message.map(|message| message.bytes))
            }

            /// [`recv_bytes_max`](Self::recv_bytes_max) within the deadline.
            ///
            /// # Errors
            /// As for [`recv_bytes_max`](Self::recv_bytes_max).
            pub fn recv_bytes_max_timeout<'c>(
                &self,
                limit: usize,
                timeout: impl Into<Until<'c>>,
            ) -> Result<Option<Vec<u8>>> {
                let message = self.receiving.message(self.stream(), self.trust(), Some(limit), timeout.into())?;
                Ok(message.map(|message| message.bytes))
            }

            /// Waits for the next message, puts it at the beginning of the buffer, and returns its length.
            ///
            /// # Errors
            /// As for [`recv_bytes`](Self::recv_bytes); [`TooLong`](crate::ErrorKind::TooLong) for a message longer
            /// than the buffer: its [source](std::error::Error::source) is a
            /// [`BufferTooShort`](crate::multiprocessing::connection::BufferTooShort), which has the message, and the
            /// next one can be received. (One beyond [`max_message`](Self::max_message) too is not read, and nothing
            /// can be received any more.)
            pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize> {
                self.recv_bytes_into_timeout(buffer, Deadline::NEVER)?.ok_or_else(|| Errno::TIMEDOUT.into())
            }

            /// Does what [`recv_bytes_into`](Self::recv_bytes_into) does within the deadline; `None` when the deadline
            /// has passed. Then the buffer's content is unspecified.
            ///
            /// # Errors
            /// As for [`recv_bytes_into`](Self::recv_bytes_into).
            pub fn recv_bytes_into_timeout<'c>(
                &self,
                buffer: &mut [u8],
                timeout: impl Into<Until<'c>>,
            ) -> Result<Option<usize>> {
                self.receiving.message_into(self.stream(), self.trust(), buffer, timeout.into())
            }

            /// The maximum length of a message for calls that name no limit; `usize::MAX` means no limit.
            ///
            /// Unless [set](Self::set_max_message) it is 256 MiB from a
            /// [stranger](crate::multiprocessing::transfer::Trust), and unlimited from the same program. Without a
            /// limit a stranger could make this process allocate all memory.
            ///
            /// Differs from Python, which has no limit.
            pub fn max_message(&self) -> usize {
                self.receiving.most(self.trust())
            }

            /// Sets the maximum length of a message for calls that name no limit; `None` sets no limit.
            ///
            /// It holds for this end in this process, and not for where the end is sent.
            ///
            /// # Examples
            /// ```
            /// use std::os::unix::net::UnixStream;
            /// use ossature::multiprocessing::connection::{Access, Connection};
            ///
            /// let (one, other) = UnixStream::pair()?;
            /// let near = Connection::from_fd(one.into(), Access::Both)?;
            /// let far = Connection::from_fd(other.into(), Access::Both)?;
            /// assert_eq!(far.max_message(), 256 << 20);
            /// far.set_max_message(1000);
            /// near.send_bytes(&[0; 1001])?;
            /// assert_eq!(far.recv_bytes().unwrap_err().kind(), ossature::ErrorKind::TooLong);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn set_max_message(&self, most: impl Into<Option<usize>>) {
                self.receiving.set_most(most.into().unwrap_or(usize::MAX));
            }

            /// The maximum nesting of a received value: 128, unless [set](Self::set_max_depth).
            ///
            /// Differs from Python, whose limit is that of recursion.
            pub fn max_depth(&self) -> usize {
                self.receiving.depth()
            }

            /// Sets the maximum nesting of a received value, also of a value from the same program.
            ///
            /// Each struct, enum, tuple, array, sequence, map, newtype and `Some` around another value is one level. A
            /// linked list takes two levels for each link. So 128 levels are 64 nodes of `struct L(u8,
            /// Option<Box<L>>)`. Decoding a level takes stack, so a thread that reads deeper values needs a larger
            /// stack. The limit holds for this end in this process. The depth of a
            /// [pickle](crate::multiprocessing::connection::pickle) is also limited to
            /// [`MAX_DEPTH`](crate::multiprocessing::connection::pickle::MAX_DEPTH).
            ///
            /// # Examples
            /// ```
            /// use ossature::multiprocessing::connection::pipe;
            /// use serde::{Deserialize, Serialize};
            ///
            /// #[derive(Debug, Serialize, Deserialize)]
            /// enum List {
            ///     End,
            ///     Item(u8, Box<List>),
            /// }
            ///
            /// let (near, far) = pipe()?;
            /// let list = (0..200).fold(List::End, |rest, item| List::Item(item, Box::new(rest)));
            /// near.send(&list)?;
            /// assert_eq!(far.recv::<List>().unwrap_err().kind(), ossature::ErrorKind::Decode);
            /// far.set_max_depth(1000);
            /// near.send(&list)?;
            /// assert!(far.recv::<List>().is_ok());
            /// # Ok::<(), ossature::Error>(())
            /// ```
            pub fn set_max_depth(&self, depth: usize) {
                self.receiving.set_depth(depth);
            }

            /// The maximum memory of a received value in bytes, if it was [set](Self::set_max_decoded); `usize::MAX`
            /// means no limit.
            ///
            /// `None` if no limit was set. Then a value from a [stranger](crate::multiprocessing::transfer::Trust) may
            /// take 16 MiB plus 32 bytes for each byte of its message. A value from the same program has no limit.
            ///
            /// Differs from Python, which has no limit.
            pub fn max_decoded(&self) -> Option<usize> {
                self.receiving.decoded()
            }

            /// Sets how many bytes of memory a received value may take; `None` sets no limit.
            ///
            /// A few bytes of a message may stand for much memory: each `None` of a `Vec<Option<[u64; 32]>>` is one
            /// byte of the message and 264 bytes of memory. The limit counts the contents of sequences, maps, texts and
            /// boxes, at the size of their types, before their allocation. A collection may reserve more than its
            /// items: a `Vec` up to as much again, a hash table up to three times as much. A sequence beyond the limit
            /// may reserve at most 1 MiB. The limit does not count this reserve, or memory that a type allocates
            /// without serde's knowledge. It holds for this end in this process.
            ///
            /// For a pickle this limit is the decoder's
            /// [`max_memory`](crate::multiprocessing::connection::pickle::Decoder::max_memory).
            ///
            /// # Examples
            /// ```
            /// use ossature::multiprocessing::connection::pipe;
            ///
            /// let (near, far) = pipe()?;
            /// far.set_max_decoded(100_000);
            /// near.send(&vec![None::<[u64; 32]>; 1000])?;
            /// let error = far.recv::<Vec<Option<[u64; 32]>>>().unwrap_err();
            /// assert_eq!(error.kind(), ossature::ErrorKind::Decode);
            /// # Ok::<(), ossature::Error>(())
            /// ```
            pub fn set_max_decoded(&self, bytes: impl Into<Option<usize>>) {
                self.receiving.set_decoded(bytes.into().unwrap_or(usize::MAX));
            }

            /// Waits until a message or the end of the stream is there, and returns whether one is. Receives nothing.
            ///
            /// Differs from Python: the time is named. `Duration::ZERO` is Python's `poll()`, `None` its `poll(None)`.
            ///
            /// # Errors
            /// [`Closed`](crate::ErrorKind::Closed) when this is not open for receiving, [`Os`](crate::ErrorKind::Os)
            /// with `ENOMEM`.
            pub fn poll<'c>(&self, timeout: impl Into<Until<'c>>) -> Result<bool> {
                self.receiving.must_be_open()?;
                Ok(timeout.into().is_readable(self.stream())?)
            }
        }
    };
}

pub(super) use receives;
