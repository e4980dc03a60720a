//! Messages between processes: Python's `multiprocessing.connection`.
//!
//! A [`Connection`] carries whole messages, bytes or serde's values, over a Unix socket, a TCP socket or a pipe. The
//! frames are CPython's, so the other side may be a CPython. A connection never reads beyond the requested message, and
//! never allocates memory for bytes that a message only announces. It never returns a part of a message, and never
//! raises SIGPIPE.
//!
//! ```
//! use std::time::Duration;
//! use ossature::multiprocessing::connection::{pipe, wait};
//!
//! let (near, far) = pipe()?;
//! // A connection moves to another thread, or a child inherits it.
//! std::thread::spawn(move || far.send(&vec!["one", "two"]));
//! assert_eq!(wait(&[&near], Duration::from_secs(60))?, [0]);
//! assert_eq!(near.recv::<Vec<String>>()?, ["one", "two"]);
//! # Ok::<(), ossature::Error>(())
//! ```
//!
//! | Python | here |
//! | --- | --- |
//! | `Pipe()`, `Pipe(False)` | [`pipe`], [`pipe_one_way`] |
//! | `send`, `recv` | [`send`](Connection::send), [`recv`](Connection::recv): postcard's form, between programs in Rust; with a CPython, `send_pickled` and `recv_pickled`: [`pickle`] |
//! | `send_bytes`, `recv_bytes`, `recv_bytes_into` | the same names; also `..._timeout` |
//! | `recv_bytes(maxlength)`, `send_bytes(b, offset, size)` | [`recv_bytes_max`](Connection::recv_bytes_max), [`send_bytes_range`](Connection::send_bytes_range) |
//! | `poll`, `fileno`, `close`, `readable`, `writable` | [`poll`](Connection::poll), `AsFd`, [`close`](Connection::close) or dropping it, the same |
//! | `wait(object_list, timeout)` | [`wait`] |
//! | `Listener`, `Client`, `address_type`, `arbitrary_address` | [`Listener`], [`connect()`], [`Address`] |
//! | `while True: listener.accept()`, and an `except` for failed handshakes | [`incoming`](Listener::incoming) |
//! | closing a connection to end another thread's `recv` | [`Sender::shutdown`], or a [`CancelFd`] as the limit of the wait |
//! | `deliver_challenge`, `answer_challenge`, `AuthenticationString` | the same names, [`Handshake`], [`AuthKey`] |
//! | one end in two threads at once corrupts messages | does not compile: a `Connection` is `Send`, not `Sync`; [`split`](Connection::split) it |
//!
//! **One reader and one writer.** If two processes read the same end at a time, or write to it, their bytes are mixed.
//! Give each process an end of its own, or use a lock.
//!
//! **Long messages.** From the same program a message may have any length. From a stranger it may have 256 MiB, unless
//! [`set_max_message`](Connection::set_max_message) sets another limit, or the call names a limit of its own.
//!
//! **The value of a message** is bounded too: the [depth](Connection::set_max_depth) of its nesting and, from a
//! stranger, the [memory](Connection::set_max_decoded) that the value takes. At most 1,048,576 items of a message may
//! take no bytes. A message beyond a bound is dropped, and the next message can be received.
//!
//! **Cancelling a wait.** Every limit may be a [`CancelFd`], alone or with a deadline:
//!
//! ```
//! use std::time::Duration;
//! use ossature::multiprocessing::connection::{CancelFd, pipe};
//!
//! let (near, far) = pipe()?;
//! let stop = CancelFd::new()?;
//! std::thread::scope(|scope| {
//!     scope.spawn(|| stop.cancel()); // another thread cancels the wait
//!     assert_eq!(near.recv_timeout::<u8>(&stop)?, None);
//!     far.send(&5_u8)?;
//!     assert_eq!(near.recv_timeout(stop.within(Duration::from_secs(1)))?, Some(5_u8), "no wait to end");
//!     Ok::<(), ossature::Error>(())
//! })?;
//! # Ok::<(), ossature::Error>(())
//! ```
//!
//! **A deadline within a message** loses nothing. The bytes that have arrived stay in the connection, and the next call
//! continues there. The bytes that were not sent stay too, and the call returns [`Sent::Partial`]. The next call or
//! [`flush`](Connection::flush) sends them; they are lost if the connection is closed before.

mod address;
mod address_pickle;
pub(crate) mod ahead;
mod arbitrary;
mod auth;
mod bind;
mod client;
mod digest;
mod ends;
mod environment;
pub(crate) mod frame;
mod halves;
mod handshake;
mod handshake_io;
mod incoming;
mod listener;
mod passing;
mod payload;
mod pending;
pub mod pickle;
mod pipe;
mod receive;
mod rules;
mod send;
mod sent;
mod shortage;
mod too_short;
mod wait;
pub mod xmlrpc;

use std::cell::Cell;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
#[doc(inline)]
pub use ossature_sys::eventfd::{CancelFd, Until};
use ossature_sys::socket::{Credentials, Shutdown};
use ossature_sys::stream::{Stream, StreamKind};
use ossature_sys::thread_bound::OneThread;

#[doc(inline)]
pub use self::address::{Address, Family};
#[doc(inline)]
pub use self::auth::{answer_challenge, answer_challenge_timeout, deliver_challenge, deliver_challenge_timeout};
#[doc(inline)]
pub use self::client::{ConnectBuilder, connect, connect_timeout};
#[doc(inline)]
pub use self::digest::Digest;
#[doc(inline)]
pub use self::halves::{Receiver, ReuniteError, Sender};
#[doc(inline)]
pub use self::handshake::Handshake;
#[doc(inline)]
pub use self::incoming::Incoming;
#[doc(inline)]
pub use self::listener::{Listener, ListenerBuilder};
#[doc(inline)]
pub use self::payload::Payload;
#[doc(inline)]
pub use self::pipe::{pipe, pipe_one_way};
#[doc(inline)]
pub use self::sent::Sent;
#[doc(inline)]
pub use self::too_short::BufferTooShort;
pub(crate) use self::wait::poll_until;
#[doc(inline)]
pub use self::wait::wait;
#[doc(inline)]
pub use crate::multiprocessing::authkey::AuthKey;

use self::receive::{Receiving, receives};
use self::send::{Sending, sends};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::state::Listed;
use crate::multiprocessing::transfer::{Inbound, Outbound, Trust, pack, unpack};

/// One end of a channel of messages: Python's `Connection`.
///
/// # Examples
/// Values, with limits of time and size:
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::pipe;
///
/// let (near, far) = pipe()?;
/// let (now, minute) = (Duration::ZERO, Duration::from_secs(60));
/// assert!(!far.poll(now)? && far.recv_timeout::<u32>(now)?.is_none(), "nothing was sent");
///
/// near.send(&("answer", 42_u32))?;
/// assert!(far.poll(minute)?);
/// assert_eq!(far.recv_timeout::<(String, u32)>(minute)?, Some(("answer".to_owned(), 42)));
///
/// assert!(near.send_timeout(&vec![7_u32; 3], minute)?.is_complete());
/// assert_eq!(far.recv_max::<Vec<u32>>(1000)?, [7, 7, 7]);
/// near.send(&"short")?;
/// assert_eq!(far.recv_max_timeout::<String>(1000, minute)?.as_deref(), Some("short"));
/// near.send(&"much too long")?;
/// assert_eq!(far.recv_max::<String>(4).unwrap_err().kind(), ossature::ErrorKind::TooLong);
/// assert!(!far.readable() && far.writable(), "what follows in the stream is unknown");
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// Bytes, in the same ways:
///
/// ```
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::{Sent, pipe};
///
/// let (near, far) = pipe()?;
/// let (now, minute) = (Duration::ZERO, Duration::from_secs(60));
/// assert_eq!(far.recv_bytes_timeout(now)?, None, "nothing was sent");
///
/// near.send_bytes_range(b"hello world", 6, 5)?;
/// assert_eq!(far.recv_bytes_max(1000)?, b"world");
/// assert_eq!(near.send_bytes_timeout(b"one", minute)?, Sent::Complete);
/// assert_eq!(far.recv_bytes_max_timeout(1000, minute)?.as_deref(), Some(&b"one"[..]));
///
/// let mut buffer = [0; 16];
/// near.send_bytes(b"two")?;
/// let len = far.recv_bytes_into(&mut buffer)?;
/// assert_eq!(&buffer[..len], b"two");
/// near.send_bytes(b"three")?;
/// assert_eq!(far.recv_bytes_into_timeout(&mut buffer, minute)?, Some(5));
/// assert!(near.flush(now)?, "no message was sent in part");
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// What is known of an end:
///
/// ```
/// use ossature::multiprocessing::connection::{pipe, pipe_one_way};
/// use ossature::multiprocessing::transfer::Trust;
///
/// let (near, far) = pipe()?;
/// assert_eq!((near.trust(), near.max_depth(), near.max_decoded()), (Trust::SameProgram, 128, None));
/// let made_by = near.peer_credentials()?.and_then(|credentials| credentials.pid);
/// assert!(made_by.is_some_and(|pid| pid.as_raw_nonzero().get() as u32 == std::process::id()));
/// far.close();
/// assert_eq!(near.recv_bytes().unwrap_err().kind(), ossature::ErrorKind::Closed);
///
/// let (reader, writer) = pipe_one_way()?;
/// assert!(reader.readable() && !reader.writable() && !reader.is_closed());
/// assert!(writer.writable() && !writer.readable());
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "_ConnectionBase")]
pub struct Connection {
    stream: Listed<Stream>,
    trust: OneThread<Cell<Trust>>,
    receiving: OneThread<Receiving>,
    sending: OneThread<Sending>,
}

/// The directions in which a connection transfers messages.
///
/// # Examples
/// See the example of [`Connection::from_fd`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// The connection only receives.
    Receive,
    /// The connection only sends.
    Send,
    /// The connection receives and sends.
    Both,
}

impl Connection {
    /// Makes a connection from an open socket or pipe: Python's `Connection(handle, readable, writable)`. The peer is
    /// untrusted.
    ///
    /// The descriptor stays in the mode, blocking or not, that it has.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) when the kernel does not report the kind of the descriptor.
    ///
    /// # Examples
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use ossature::multiprocessing::connection::{Access, Connection};
    ///
    /// let (one, other) = UnixStream::pair()?;
    /// let other = Connection::from_fd(other.into(), Access::Receive)?;
    /// std::io::Write::write_all(&mut &one, b"\0\0\0\x02hi")?;
    /// assert_eq!(other.recv_bytes()?, b"hi");
    /// assert!(other.send_bytes(b"no").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_fd(fd: OwnedFd, access: Access) -> Result<Self> {
        Self::with_trust(fd, access, Trust::Untrusted)
    }

    pub(crate) fn with_trust(fd: OwnedFd, access: Access, trust: Trust) -> Result<Self> {
        let stream = Stream::new(fd).map_err(|errno| Error::os(errno, "connection"))?;
        Ok(Self {
            stream: Listed::new(stream),
            trust: OneThread::new(Cell::new(trust)),
            receiving: OneThread::new(Receiving::new(access != Access::Send)),
            sending: OneThread::new(Sending::new(access != Access::Receive)),
        })
    }

    /// Whether this end can receive messages. An end that only sends cannot, and neither can an end that refused a
    /// message as too long or malformed.
    pub fn readable(&self) -> bool {
        self.receiving.is_open()
    }

    /// Whether this end can send messages: not if the end only receives, nor after an error within a message.
    pub fn writable(&self) -> bool {
        self.sending.is_open()
    }

    /// Whether this end can neither receive nor send.
    #[doc(alias = "closed")]
    pub fn is_closed(&self) -> bool {
        !self.readable() && !self.writable()
    }

    /// Closes this end, as dropping it does. The [unsent rest](Sent::Partial) of a message is lost, and the other side
    /// gets an error. Using this end afterwards does not compile.
    pub fn close(self) {}

    /// Returns the credentials of the process that made the other end, as the kernel reports them; `None` for pipes and
    /// TCP.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `ENOMEM`.
    #[doc(alias = "SO_PEERCRED")]
    pub fn peer_credentials(&self) -> Result<Option<Credentials>> {
        Ok(self.stream.peer_credentials()?)
    }

    /// How far the peer is trusted.
    pub fn trust(&self) -> Trust {
        self.trust.get()
    }

    /// Sets the trust, after the peer has proved that it knows the key. Over anything but a Unix socket, only bytes are
    /// exchanged.
    pub(crate) fn set_trust(&self, trust: Trust) {
        self.trust.set(trust);
    }

    /// The stream below, for a caller that frames its messages itself.
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream's entry in the list of this process's descriptors.
    pub(crate) fn listed(&self) -> &Listed<Stream> {
        &self.stream
    }

    /// Makes a challenge as the first message an error, because this end has no key.
    fn refuse_challenge(&self) {
        self.receiving.refuse_challenge();
    }

    /// Allows a challenge again, because this end does a handshake itself.
    pub(crate) fn allow_challenge(&self) {
        self.receiving.allow_challenge();
    }

    /// Whether this end has received or sent only a part of a message.
    pub(crate) fn is_within_a_message(&self) -> bool {
        self.receiving.is_within_a_message() || self.sending.is_within_a_message()
    }

    /// Ends both directions, for every process that has this end, a forked copy included. Then receiving finds the end
    /// of the stream at either side, and sending is an error. The descriptor stays open until the connection is
    /// dropped.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a pipe, whose ends only close;
    /// [`Os`](ErrorKind::Os) with `ENOTCONN`.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::connection::pipe;
    ///
    /// let (near, far) = pipe()?;
    /// near.shutdown()?;
    /// assert_eq!(far.recv_bytes().unwrap_err().kind(), ossature::ErrorKind::Closed);
    /// assert!(near.send_bytes(b"too late").is_err());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn shutdown(&self) -> Result<()> {
        shutdown(&self.stream)
    }
}

receives!(Connection);
sends!(Connection);

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

as_raw_fd!(Connection);

/// Makes a connection from an open socket or pipe end. The descriptor's access mode decides whether the connection
/// receives and sends. The peer is untrusted: no shared memory comes over such a connection. [`Connection::from_fd`]
/// takes the access from the caller.
///
/// # Examples
/// ```
/// use std::os::fd::OwnedFd;
/// use std::os::unix::net::UnixStream;
/// use ossature::multiprocessing::connection::Connection;
///
/// let (one, other) = UnixStream::pair()?;
/// let one = Connection::try_from(OwnedFd::from(one))?;
/// let other = Connection::try_from(OwnedFd::from(other))?;
/// one.send_bytes(b"hi")?;
/// assert_eq!(other.recv_bytes()?, b"hi");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl TryFrom<OwnedFd> for Connection {
    type Error = Error;

    /// # Errors
    /// [`Os`](ErrorKind::Os) for a descriptor that is neither readable nor writable.
    fn try_from(fd: OwnedFd) -> Result<Self> {
        let access = match ossature_sys::fd::access(&fd).map_err(|errno| Error::os(errno, "connection"))? {
            (true, true) => Access::Both,
            (true, false) => Access::Receive,
            (false, _) => Access::Send,
        };
        Self::from_fd(fd, access)
    }
}

/// Returns the descriptor alone: a message that was received or sent in part is lost.
impl From<Connection> for OwnedFd {
    fn from(connection: Connection) -> Self {
        match connection.stream.into_inner() {
            Some(stream) => stream.into(),
            None => unreachable!("halves, which share the stream, cannot become a connection again"),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("fd", &self.as_fd())
            .field("readable", &self.readable())
            .field("writable", &self.writable())
            .field("trust", &self.trust())
            .finish_non_exhaustive()
    }
}

/// Ends both directions of a stream.
fn shutdown(stream: &Stream) -> Result<()> {
    if stream.kind() == StreamKind::File {
        let message =
            "cannot shut down a pipe, which can only be closed; end the wait of the other thread with a CancelFd";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    stream.shutdown(Shutdown::Both).map_err(|errno| Error::os(errno, "connection"))
}
