//! Making and accepting connections by a deadline.

use core::time::Duration;

use rustix::net::sockopt::{self, Timeout};

use super::{Address, FLAGS, Socket};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, retry};
use crate::fd::{AsFd, PollFlags, by_deadline, ready, set_blocking, set_nonblocking};
use crate::raw;

/// The longest wait for one setting of `SO_SNDTIMEO`, far within its range on every machine.
const LONGEST: Duration = Duration::from_secs(3600);

impl Socket {
    /// `connect(fd, address, ...)`: connects, waiting until the peer answers; `false` when the peer did not answer by
    /// the deadline.
    ///
    /// After `false` an internet socket still tries: another call continues to wait, and dropping the socket gives up.
    /// A socket of family `Unix` waits for room in the listener's queue; meanwhile no other thread should use it. For
    /// datagrams this sets the destination of [`send`](Self::send) and returns at once.
    ///
    /// # Errors
    /// `ECONNREFUSED` when there is no listener, `ENOENT` for a path that does not exist, `EACCES`, `ENETUNREACH`,
    /// `EHOSTUNREACH`. `ETIMEDOUT` when the network gave up before the deadline. `EISCONN` when it is connected
    /// already, `EPROTOTYPE` when the other side is of another kind.
    pub fn connect(&self, address: &Address, timeout: impl Into<Deadline>) -> Result<bool> {
        let deadline = timeout.into();
        match (retry(|| self.connect_once(address)), address) {
            (Err(Errno::INPROGRESS | Errno::ALREADY), _) => self.wait_until_connected(deadline),
            (Err(Errno::AGAIN), Address::Unix(_)) => self.connect_when_there_is_room(address, deadline),
            (done, _) => done.map(|()| true),
        }
    }

    fn connect_once(&self, address: &Address) -> Result<()> {
        raw::call("connect", || rustix::net::connect(&self.0, address))
    }

    fn wait_until_connected(&self, deadline: Deadline) -> Result<bool> {
        if !ready(self.as_fd(), PollFlags::OUT, deadline)? {
            return Ok(false);
        }
        raw::call("getsockopt", || sockopt::socket_error(&self.0))?.map(|()| true)
    }

    /// Connects by a blocking call with a send timeout, because no poll reports room in the queue of a listener of
    /// family `Unix`.
    #[cold]
    fn connect_when_there_is_room(&self, address: &Address, deadline: Deadline) -> Result<bool> {
        while !deadline.has_passed() {
            // Zero would mean "forever".
            let slice = deadline.remaining().map(|left| left.clamp(Duration::from_micros(1), LONGEST));
            self.set_send_timeout(slice)?;
            let connected = set_blocking(self).and_then(|()| self.connect_once(address));
            let restored = set_nonblocking(self).and(self.set_send_timeout(None));
            match connected {
                Err(Errno::AGAIN | Errno::INTR) => restored?,
                done => return done.and(restored).map(|()| true),
            }
        }
        Ok(false)
    }

    fn set_send_timeout(&self, span: Option<Duration>) -> Result<()> {
        raw::call("setsockopt", || sockopt::set_socket_timeout(&self.0, Timeout::Send, span))
    }

    /// `accept4(fd, address, ..., SOCK_CLOEXEC | SOCK_NONBLOCK)`: accepts a connection, waiting for it, and returns the
    /// peer's address too; `None` when no connection came by the deadline.
    ///
    /// Connections that the peer gave up before they could be taken are skipped.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left (the connection keeps waiting), `EINVAL` when the socket does
    /// not [listen](Self::listen), `EOPNOTSUPP` for datagrams, `ENOMEM`, `ENOBUFS`.
    #[doc(alias = "accept4")]
    pub fn accept(&self, timeout: impl Into<Deadline>) -> Result<Option<(Self, Address)>> {
        let accepted = by_deadline(self.as_fd(), PollFlags::IN, timeout.into(), || {
            match raw::call("accept4", || rustix::net::acceptfrom_with(&self.0, FLAGS)) {
                Err(Errno::CONNABORTED) => Err(Errno::AGAIN),
                done => done,
            }
        })?;
        Ok(accepted.map(|(fd, peer)| {
            let address = peer.map_or(Address::Other(0), |any| Address::from_any(&any));
            (Self(fd), address)
        }))
    }
}
