//! The two directions of a connection, each in a thread of its own.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::socket::Shutdown;
use ossature_sys::stream::{Stream, StreamKind};

use super::Connection;
use super::receive::{Receiving, receives};
use super::send::{Sending, sends};
use super::sent::Sent;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::{Inbound, Outbound, Trust, pack, unpack};
use crate::multiprocessing::util::Listed;

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
    pub(super) receiving: Receiving,
}

/// The half of a [`Connection`] that sends.
///
/// Dropping it does not tell the other side, which sees an end when both halves are gone; [`finish`](Self::finish) does.
///
/// # Examples
/// See the example of [`Receiver`].
pub struct Sender {
    stream: Listed<Stream>,
    trust: Trust,
    pub(super) sending: Sending,
}

pub(super) fn split(connection: Connection) -> (Receiver, Sender) {
    let Connection { stream, trust, receiving, sending, .. } = connection;
    let trust = trust.get();
    (Receiver { stream: stream.clone(), trust, receiving }, Sender { stream, trust, sending })
}

impl Receiver {
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream's entry in the list of this process's descriptors.
    pub(crate) fn listed(&self) -> &Listed<Stream> {
        &self.stream
    }

    /// How far the other side is believed.
    pub fn trust(&self) -> Trust {
        self.trust
    }
}

impl Sender {
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream's entry in the list of this process's descriptors.
    pub(crate) fn listed(&self) -> &Listed<Stream> {
        &self.stream
    }

    /// How far the other side is believed.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// Ends this direction: the other side receives what was sent, and then an end. The other half goes on.
    ///
    /// Nobody can send any more then who has this end, a forked copy included. (A pipe of one direction ends when nobody has its
    /// writing end any more; there this only sends what was kept.)
    ///
    /// # Errors
    /// As for [`flush`](Self::flush), which it waits for; [`Os`](ErrorKind::Os) with `ENOTCONN`.
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
