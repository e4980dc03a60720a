//! Sending and receiving by a deadline.

use rustix::fd::BorrowedFd;
use rustix::net::RecvFlags;

use super::ancillary::Received;
use super::rights::SEND;
use super::{Address, Socket, rights};
use crate::deadline::Deadline;
use crate::errno::Result;
use crate::fd::{AsFd, PollFlags, by_deadline};
use crate::raw;

impl Socket {
    /// `send(fd, bytes, MSG_NOSIGNAL)`: sends some of `bytes` (all of a message) and returns their number, waiting for
    /// room; `None` when there was no room by the deadline.
    ///
    /// # Errors
    /// `EPIPE` or `ECONNRESET` when the peer has closed, `ENOTCONN`, `EMSGSIZE` for a message that never fits,
    /// `ENOBUFS`.
    pub fn send(&self, bytes: &[u8], timeout: impl Into<Deadline>) -> Result<Option<usize>> {
        by_deadline(self.as_fd(), PollFlags::OUT, timeout.into(), || {
            let part = bytes.get(..raw::allowed("send", bytes.len())).unwrap_or_default();
            raw::call("send", || rustix::net::send(&self.0, part, SEND))
        })
    }

    /// `sendto(fd, bytes, MSG_NOSIGNAL, address, ...)`: sends a message to an address, waiting for room; `None` when
    /// there was no room by the deadline.
    ///
    /// # Errors
    /// As for [`send`](Self::send), and `ECONNREFUSED`, `ENOENT`, `EACCES` for the address.
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use ossature_sys::socket::{Address, Family, Kind, Socket, UnixAddress};
    ///
    /// let (near, far) = (Socket::new(Family::Unix, Kind::Datagram)?, Socket::new(Family::Unix, Kind::Datagram)?);
    /// for socket in [&near, &far] {
    ///     socket.bind(&Address::Unix(UnixAddress::UNNAMED))?; // the kernel chooses a name
    /// }
    /// near.send_to(b"bones", &far.local_address()?, Duration::from_secs(5))?;
    /// let got = far.recv_from(&mut [0; 16], Duration::from_secs(5))?;
    /// assert_eq!(got, Some((5, near.local_address()?)));
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "sendto")]
    pub fn send_to(&self, bytes: &[u8], address: &Address, timeout: impl Into<Deadline>) -> Result<Option<usize>> {
        by_deadline(self.as_fd(), PollFlags::OUT, timeout.into(), || {
            raw::call("sendto", || rustix::net::sendto(&self.0, bytes, SEND, address))
        })
    }

    /// `sendmsg(fd, {bytes, SCM_RIGHTS}, MSG_NOSIGNAL)`: sends some of `bytes` (all of a message), with these
    /// descriptors beside the first of them. `None` when there was no room by the deadline; then nothing was sent.
    ///
    /// The receiver gets new descriptors of the same open files; the sender may close its own at once.
    ///
    /// # Errors
    /// As for [`send`](Self::send). `EINVAL` for descriptors without a byte to carry them or more than 253 of them.
    /// `ETOOMANYREFS` when this user has too many in transit.
    #[doc(alias = "SCM_RIGHTS")]
    #[doc(alias = "socket.send_fds")]
    pub fn send_with(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        timeout: impl Into<Deadline>,
    ) -> Result<Option<usize>> {
        rights::send_by(self.as_fd(), bytes, descriptors, rights::Sender::Unnamed, timeout.into())
    }

    /// `recv(fd, buffer, 0)`: waits for bytes, receives some and returns their number: 0 at the end of a stream, `None`
    /// when no bytes came by the deadline. A socket of messages returns one message; the part that does not fit is
    /// lost.
    ///
    /// Descriptors that arrive with the bytes are closed: [`recv_with`](Self::recv_with) returns them.
    ///
    /// # Errors
    /// `ECONNRESET` when the peer closed without reading everything, `ENOTCONN`, `ECONNREFUSED`.
    pub fn recv(&self, buffer: &mut [u8], timeout: impl Into<Deadline>) -> Result<Option<usize>> {
        self.recv_flags(buffer, RecvFlags::DONTWAIT, timeout.into())
    }

    /// `recv(fd, buffer, MSG_PEEK)`: like [`recv`](Self::recv), but leaves the bytes in the socket.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    #[doc(alias = "MSG_PEEK")]
    pub fn peek(&self, buffer: &mut [u8], timeout: impl Into<Deadline>) -> Result<Option<usize>> {
        self.recv_flags(buffer, RecvFlags::DONTWAIT | RecvFlags::PEEK, timeout.into())
    }

    fn recv_flags(&self, buffer: &mut [u8], flags: RecvFlags, deadline: Deadline) -> Result<Option<usize>> {
        by_deadline(self.as_fd(), PollFlags::IN, deadline, || {
            let part = buffer.get_mut(..raw::allowed("recv", buffer.len())).unwrap_or_default();
            raw::call("recv", || rustix::net::recv(&self.0, part, flags)).map(|(len, _)| len)
        })
    }

    /// `recvfrom(fd, buffer, 0, address, ...)`: receives one message and returns its source address too; `None` when no
    /// message came by the deadline.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    ///
    /// # Examples
    /// See the example of [`send_to`](Self::send_to).
    #[doc(alias = "recvfrom")]
    pub fn recv_from(&self, buffer: &mut [u8], timeout: impl Into<Deadline>) -> Result<Option<(usize, Address)>> {
        let got = by_deadline(self.as_fd(), PollFlags::IN, timeout.into(), || {
            raw::call("recvfrom", || rustix::net::recvfrom(&self.0, &mut *buffer, RecvFlags::DONTWAIT))
        })?;
        Ok(got.map(|(len, _, from)| (len, from.map_or(Address::Other(0), |any| Address::from_any(&any)))))
    }

    /// `recvmsg(fd, {buffer, control}, MSG_CMSG_CLOEXEC)`: receives some bytes or one message, with up to `N`
    /// descriptors. Under [`set_pass_credentials`](Self::set_pass_credentials) it also returns the sender. `None` when
    /// nothing came by the deadline.
    ///
    /// No descriptor leaks, whatever the peer sends: if more descriptors come than there is room for, all are closed
    /// and [`Received::descriptors_lost`] is set.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    #[doc(alias = "recvmsg")]
    #[doc(alias = "MSG_CMSG_CLOEXEC")]
    #[doc(alias = "socket.recv_fds")]
    pub fn recv_with<const N: usize>(
        &self,
        buffer: &mut [u8],
        timeout: impl Into<Deadline>,
    ) -> Result<Option<Received<N>>> {
        rights::receive_by(self.as_fd(), buffer, timeout.into())
    }
}
