//! The two directions of a connection, each in its own thread.

use std::cell::Cell;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::Until;
use ossature_sys::socket::{Credentials, Shutdown};
use ossature_sys::stream::{Stream, StreamKind};
use ossature_sys::thread_bound::OneThread;

use super::receive::{Receiving, receives};
use super::send::{Sending, sends};
use super::sent::Sent;
use super::{Connection, shutdown};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::state::Listed;
use crate::multiprocessing::transfer::{Inbound, Outbound, Trust, pack, unpack};

/// The half of a [`Connection`] that receives.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::{Receiver, Sender, pipe};
/// use ossature::multiprocessing::transfer::Trust;
///
/// let (near, far) = pipe()?;
/// let (answers, questions): (Receiver, Sender) = near.split();
/// assert_eq!((answers.trust(), questions.trust()), (Trust::SameProgram, Trust::SameProgram));
///
/// let asking = std::thread::spawn(move || {
///     questions.send(&20_u32)?;
///     questions.send(&22_u32)?;
///     questions.finish() // the other side sees an end, and can still answer
/// });
/// let mut sum = 0;
/// while let Ok(number) = far.recv::<u32>() {
///     sum += number;
/// }
/// far.send(&sum)?;
/// assert_eq!(answers.recv::<u32>()?, 42);
/// asking.join().unwrap()?;
/// # Ok::<(), ossature::Error>(())
/// ```
pub struct Receiver {
    stream: Listed<Stream>,
    trust: Trust,
    pub(super) receiving: OneThread<Receiving>,
}

/// The half of a [`Connection`] that sends.
///
/// Dropping it does not end the stream: the other side sees an end only when both halves are dropped, or after
/// [`finish`](Self::finish).
///
/// # Examples
/// See the example of [`Receiver`].
pub struct Sender {
    stream: Listed<Stream>,
    trust: Trust,
    pub(super) sending: OneThread<Sending>,
}

/// The error of two ends of different connections, which returns both ends.
///
/// # Examples
/// See the example of [`Connection::reunite`].
#[derive(Debug)]
pub struct ReuniteError {
    /// The receiving end.
    pub receiver: Receiver,
    /// The sending end.
    pub sender: Sender,
}

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two ends are not of one connection: reunite the two ends of one split()")
    }
}

impl std::error::Error for ReuniteError {}

impl From<Box<ReuniteError>> for Error {
    /// Becomes [`ErrorKind::InvalidInput`]; both ends are closed.
    fn from(error: Box<ReuniteError>) -> Self {
        Self::new(ErrorKind::InvalidInput, error.to_string())
    }
}

/// Splits a connection into its two directions, and reunites them.
impl Connection {
    /// Splits the connection into a receiving and a sending end, for two threads. [`reunite`](Self::reunite) makes one
    /// connection of both again.
    ///
    /// While one thread waits in the receiving end, the sending end lends the descriptor, so that a program can
    /// [`wait`](super::wait()) for it. The sending end can also [`shut the connection down`](Sender::shutdown), which
    /// ends that wait.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::connection::pipe;
    ///
    /// let (near, far) = pipe()?;
    /// let (receiver, sender) = near.split();
    /// let echo = std::thread::spawn(move || far.send_bytes(&far.recv_bytes()?));
    /// let heard = std::thread::spawn(move || receiver.recv_bytes());
    /// sender.send_bytes(b"both at once")?;
    /// echo.join().unwrap()?;
    /// assert_eq!(heard.join().unwrap()?, b"both at once");
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn split(self) -> (Receiver, Sender) {
        let Connection { stream, trust, receiving, sending } = self;
        let trust = trust.get();
        (Receiver { stream: stream.clone(), trust, receiving }, Sender { stream, trust, sending })
    }

    /// Reunites the two ends of a [`split`](Self::split). Partly received and partly sent messages are kept.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::connection::{Connection, pipe};
    ///
    /// let (near, far) = pipe()?;
    /// let (receiver, sender) = near.split();
    /// let near = Connection::reunite(receiver, sender)?;
    /// near.send_bytes(b"one again")?;
    /// assert_eq!(far.recv_bytes()?, b"one again");
    ///
    /// let (receiver, _) = near.split();
    /// let (_, sender) = far.split();
    /// let error = Connection::reunite(receiver, sender).unwrap_err(); // of two connections
    /// let (receiver, sender) = (error.receiver, error.sender); // given back
    /// # drop((receiver, sender));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ReuniteError`] with both ends if they are not of one connection.
    #[doc(alias = "join")]
    pub fn reunite(receiver: Receiver, sender: Sender) -> std::result::Result<Self, Box<ReuniteError>> {
        if receiver.stream.place() != sender.stream.place() {
            return Err(Box::new(ReuniteError { receiver, sender }));
        }
        let Receiver { stream, trust, receiving } = receiver;
        Ok(Connection { stream, trust: OneThread::new(Cell::new(trust)), receiving, sending: sender.sending })
    }
}

/// The methods that both halves share with a connection.
macro_rules! half {
    ($($Half:ident)*) => {$(
        impl $Half {
            /// Ends both directions, for every holder of this end, including forked copies. A thread that waits in the
            /// other half gets [`Closed`](ErrorKind::Closed). The descriptor stays open until both halves are dropped.
            ///
            /// # Examples
            /// ```
            /// use ossature::{ErrorKind, multiprocessing::connection::pipe};
            ///
            /// let (near, _far) = pipe()?;
            /// let (receiver, sender) = near.split();
            /// let reader = std::thread::spawn(move || receiver.recv_bytes());
            /// sender.shutdown()?; // whether the thread waits already or will
            /// assert_eq!(reader.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
            /// # Ok::<(), ossature::Error>(())
            /// ```
            ///
            /// # Errors
            /// [`Unsupported`](ErrorKind::Unsupported) for a pipe, whose ends only close;
            /// [`Os`](ErrorKind::Os) with `ENOTCONN`.
            pub fn shutdown(&self) -> Result<()> {
                shutdown(&self.stream)
            }

            /// The credentials of the process that made the other end, as the kernel reports them; `None` for pipes and
            /// TCP.
            ///
            /// # Errors
            /// [`Os`](ErrorKind::Os) with `ENOMEM`.
            pub fn peer_credentials(&self) -> Result<Option<Credentials>> {
                Ok(self.stream.peer_credentials()?)
            }
        }
    )*};
}

half!(Receiver Sender);

impl Receiver {
    /// Whether this end receives, as [`Connection::readable`].
    pub fn readable(&self) -> bool {
        self.receiving.is_open()
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream's entry in the list of this process's descriptors.
    pub(crate) fn listed(&self) -> &Listed<Stream> {
        &self.stream
    }

    /// The trust in the peer.
    pub fn trust(&self) -> Trust {
        self.trust
    }
}

impl Sender {
    /// Whether this end sends, as [`Connection::writable`].
    pub fn writable(&self) -> bool {
        self.sending.is_open()
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream's entry in the list of this process's descriptors.
    pub(crate) fn listed(&self) -> &Listed<Stream> {
        &self.stream
    }

    /// The trust in the peer.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// Ends this direction: the other side receives the sent bytes, and then an end. The other half stays open.
    ///
    /// Afterwards no holder of this end can send, including forked copies. A one-way pipe ends when its last writing
    /// end is closed; there this method only sends the buffered bytes.
    ///
    /// # Errors
    /// As for [`flush`](Self::flush), which it waits for; [`Os`](ErrorKind::Os) with `ENOTCONN`.
    ///
    /// # Examples
    /// See the example of [`Receiver`].
    pub fn finish(self) -> Result<()> {
        self.flush(Deadline::NEVER)?;
        if self.stream.kind() != StreamKind::File {
            self.stream.shutdown(Shutdown::Write).map_err(|errno| Error::os(errno, "connection"))?;
        }
        Ok(())
    }
}

receives!(Receiver);
sends!(Sender);

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

as_raw_fd!(Receiver, Sender);

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.as_fd()).finish()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.as_fd()).finish()
    }
}
