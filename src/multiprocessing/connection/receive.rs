//! The receiving side of a connection: a message that has begun to arrive stays here until it is whole.

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

/// What has come of the next message.
#[derive(Debug)]
pub(super) struct Receiving {
    partial: RefCell<Partial>,
    /// Why nothing can be received; `None` if it can.
    closed: Cell<Option<&'static str>>,
    /// Whether a challenge as the next message is an error: for the first message of a client that has no key.
    refuses_challenge: Cell<bool>,
    /// The longest message that is taken unless a call says otherwise; `None` is as [`FROM_A_STRANGER`] says.
    most: Cell<Option<usize>>,
    /// How deep a value may be nested.
    depth: Cell<usize>,
    /// How many bytes of memory a value may take; `None` is the default, [`Bounds::of_stranger`].
    decoded: Cell<Option<usize>>,
}

/// How long a message of a stranger may be if nobody said: what one machine has, however small, though not many times.
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
    "cannot receive: after an earlier bad message nobody knows where the next one begins; make a new connection";

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

    /// The longest message that is taken unless a call says otherwise.
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

    /// The memory that a value may take, if it was set.
    pub(super) fn decoded(&self) -> Option<usize> {
        self.decoded.get()
    }

    pub(super) fn set_decoded(&self, bytes: usize) {
        self.decoded.set(Some(bytes));
    }

    /// What decoding a message of `length` bytes may cost.
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
        let message = "the listener asks for a key: connect with ConnectBuilder::new().authkey(&key), or call answer_challenge first";
        Err(Error::new(ErrorKind::Auth, message))
    }

    /// Whether a message stopped half-way here at the end of somebody's time.
    pub(super) fn is_within_a_message(&self) -> bool {
        self.partial.borrow().incoming.has_begun()
    }

    pub(super) fn must_be_open(&self) -> Result<()> {
        self.closed.get().map_or(Ok(()), |why| Err(Error::new(ErrorKind::Closed, why)))
    }

    /// The next message, which may be as long as the call's limit says, if it names one. `None` when the message was
    /// not whole by the deadline; what has come is kept.
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

    /// The next message into a buffer, without asking for memory when it fits there.
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

    /// After an error that leaves no way to find the next message, nothing can be received any more.
    fn spoilt_by<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            let end = error.kind() == ErrorKind::Closed; // says the same again
            let passing = error.errno().is_some_and(|errno| errno == Errno::NOMEM || errno == Errno::NOBUFS);
            self.closed.set((!(end || passing)).then_some(SPOILT));
        }
        result
    }
}

/// Where a message went.
enum Into {
    Nothing,
    Buffer(usize),
    Own,
}

impl Partial {
    /// Receives until `incoming` has a whole message.
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

    /// Receives until there is a whole message in `buffer`, if it fits there, and in `incoming` otherwise.
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

    /// Reads the message to where it is wanted; what has come at the end of the time, or before an error, moves to
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

    /// Reads once: whether the message is whole, or `None` when nothing came by the deadline.
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
            let message = "a stranger sent descriptors: they are taken only from authenticated peers and from processes of the same user";
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
            let message = format!("{} descriptors were announced and {} came", due.all, got.descriptors.len());
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

/// The user whom the kernel names where it knows none.
const NOBODY: u32 = 65534;

/// Whether the kernel says of the sender of these very bytes that it runs as this user, or as root. (Who made the
/// connection is not an answer: a pair of sockets is this process's own, whoever has the other end by now.)
fn may_send_descriptors(sender: Credentials) -> bool {
    let is_known = sender.pid.is_some() || sender.uid != NOBODY;
    is_known && (sender.uid == 0 || sender.uid == effective_user())
}

/// The error of a read or a write.
pub(super) fn failed(errno: Errno) -> Error {
    match errno {
        Errno::PIPE | Errno::CONNRESET => {
            Error::with_errno(ErrorKind::Closed, errno, "the other side has closed the connection")
        }
        other => Error::os(other, "connection"),
    }
}

/// The methods of what receives: `self.stream()`, `self.trust()`, `self.receiving`. A macro, because two public
/// types have them: callers would have to import a trait.
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
            /// open as many more descriptors as came along. The message is gone then, and the next one can be received.
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

            /// The same within the deadline; `None` when that is over.
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

            /// The same for a message of at most `limit` bytes, whatever [`max_message`](Self::max_message) says:
            /// Python's `recv_bytes(maxlength)`.
            ///
            /// # Errors
            /// As for [`recv_bytes`](Self::recv_bytes); [`TooLong`](crate::ErrorKind::TooLong) for a longer message. It
            /// is not read, so nothing can be received any more.
            pub fn recv_bytes_max(&self, limit: usize) -> Result<Vec<u8>> {
                self.recv_bytes_max_timeout(limit, Deadline::NEVER)?.ok_or_else(|| Errno::TIMEDOUT.into())
            }

            /// [`recv_bytes`](Self::recv_bytes) within the deadline; `None` when that is over. What has come of a
            /// message by then is kept, and the next call goes on with it.
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

            /// Waits for the next message, puts it at the beginning of the buffer and says how long it is.
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

            /// The same within the deadline; `None` when that is over, and then the buffer's content is unspecified.
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

            /// The longest message that is taken by calls that name no limit; `usize::MAX` means no limit.
            ///
            /// Unless [set](Self::set_max_message) it is 256 MiB from a
            /// [stranger](crate::multiprocessing::transfer::Trust), who could otherwise have this process ask for
            /// memory until there is none, and no limit from the same program.
            ///
            /// Differs from Python, which has none.
            pub fn max_message(&self) -> usize {
                self.receiving.most(self.trust())
            }

            /// Sets the longest message that is taken by calls that name no limit; `None` sets no limit.
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

            /// How deep a received value may be nested: 128, unless [set](Self::set_max_depth).
            ///
            /// Differs from Python, whose limit is that of recursion.
            pub fn max_depth(&self) -> usize {
                self.receiving.depth()
            }

            /// Sets how deep a received value may be nested, also one from the same program.
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

            /// How many bytes of memory a received value may take, as [set](Self::set_max_decoded); `usize::MAX`
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

            /// Waits until there is something to receive, an end included, and says whether there is; nothing is taken.
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
