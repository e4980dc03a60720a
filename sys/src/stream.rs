//! Streams of bytes over sockets, pipes and other files, with a single system call where the wait has no limit.
//!
//! A [`Socket`](crate::socket::Socket) is internally non-blocking, so a wait takes three calls: a first attempt,
//! `ppoll`, and a second attempt. A [`Stream`] leaves the descriptor in the mode it has. Pipes and connections that
//! other programs made are blocking: there a wait without a deadline is the single call that moves the bytes. With a
//! deadline it is `ppoll` and a call that cannot wait. A write without a reader never raises SIGPIPE, on a socket or a
//! pipe, regardless of the program's action for that signal.
//!
//! | under a deadline | reading | writing |
//! | --- | --- | --- |
//! | socket | `MSG_DONTWAIT` | `MSG_DONTWAIT` |
//! | pipe, terminal | after `ppoll` reports data | after `ppoll` reports room, at most `PIPE_BUF` bytes |
//!
//! So a second reader of the same pipe, which may take the bytes in between, makes the first one wait beyond its
//! deadline.
//!
//! ```
//! use core::time::Duration;
//! use ossature_sys::{pipe, stream::Stream};
//!
//! let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
//! let (reader, writer) = (Stream::new(reader)?, Stream::new(writer)?);
//! assert_eq!(writer.write([b"head", b"body"], Duration::from_secs(1))?, Some(8));
//! let mut buffer = [0; 16];
//! assert_eq!(reader.read(&mut buffer, Duration::from_secs(1))?, Some(8));
//! assert_eq!(reader.read(&mut buffer, Duration::ZERO)?, None); // nothing there
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! Source: read(2), writev(2), pwritev2(2), recv(2), sendmsg(2), socket(7).

mod sigpipe;

use core::sync::atomic::AtomicBool;
use core::time::Duration;

use rustix::io::IoSlice;
use rustix::net::{AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, sockopt};
use rustix::pipe::PIPE_BUF;

pub use self::sigpipe::write_without_sigpipe;

use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::fd::{AsFd, BorrowedFd, OwnedFd, Placeholder, PollFlags, by_deadline, ready};
use crate::raw;
use crate::socket::{Credentials, Received, Shutdown, rights};

/// An open stream of bytes, in its descriptor's mode, blocking or not.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{eventfd::EventFd, fd::{AsFd, Placeholder}, process, socket::{Kind, Shutdown, Socket}};
/// use ossature_sys::stream::{Stream, StreamKind};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let patience = Duration::from_secs(5);
/// let (near, far) = Socket::pair(Kind::Stream)?;
/// let (near, far) = (Stream::new(near.into())?, Stream::new(far.into())?);
/// assert_eq!(near.kind(), StreamKind::UnixSocket);
/// assert_eq!(near.peer_credentials()?.and_then(|peer| peer.pid), Some(process::id()));
///
/// let event = EventFd::counter(0)?;
/// near.write_with(b"one", &[event.as_fd()], patience)?;
/// let got = far.read_with::<1>(&mut [0; 3], patience)?.expect("it was written");
/// assert_eq!((got.len, got.descriptors.len()), (3, 1));
///
/// near.write_with_credentials(b"two", &[], patience)?;
/// let got = far.read_with_credentials::<1>(&mut [0; 3], patience)?.expect("it was written");
/// assert_eq!(got.credentials.and_then(|sender| sender.pid), Some(process::id()));
///
/// near.shutdown(Shutdown::Write)?;
/// assert_eq!(far.read(&mut [0; 3], patience)?, Some(0), "the end");
/// far.detach(&Placeholder::new()?)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Stream {
    fd: OwnedFd,
    carrier: StreamKind,
    /// Whether the kernel refused the flag that prevents SIGPIPE.
    lacks_nosignal: AtomicBool,
}

/// The kind of file behind a stream.
///
/// # Examples
/// See the example of [`Stream`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "Carrier")]
pub enum StreamKind {
    /// A socket of family `Unix`, which transfers descriptors too.
    #[doc(alias = "AF_UNIX")]
    UnixSocket,
    /// Another socket.
    Socket,
    /// A pipe or another file.
    File,
}

impl Stream {
    /// `getsockopt(fd, SOL_SOCKET, SO_DOMAIN, ...)`: takes a descriptor and determines its kind.
    ///
    /// # Errors
    /// `EBADF` when it is not open (which owning it excludes).
    pub fn new(fd: OwnedFd) -> Result<Self> {
        let carrier = match raw::call("getsockopt", || sockopt::socket_domain(&fd)) {
            Ok(AddressFamily::UNIX) => StreamKind::UnixSocket,
            Ok(_) => StreamKind::Socket,
            Err(Errno::NOTSOCK) => StreamKind::File,
            Err(error) => return Err(error),
        };
        Ok(Self { fd, carrier, lacks_nosignal: AtomicBool::new(false) })
    }

    /// The kind of file behind the stream.
    #[inline]
    pub fn kind(&self) -> StreamKind {
        self.carrier
    }

    /// `read(fd, ...)` or `recv(fd, ...)`: waits for bytes, reads some and returns their number. 0 means the end of the
    /// stream or an empty buffer. `None` means that no bytes came by the deadline.
    ///
    /// # Errors
    /// `ECONNRESET` when the peer closed a socket without reading everything, `EBADF` for a descriptor that is not open
    /// for reading.
    #[inline]
    pub fn read(&self, buffer: &mut [u8], timeout: impl Into<Deadline>) -> Result<Option<usize>> {
        let (fd, deadline) = (self.as_fd(), timeout.into());
        if self.carrier != StreamKind::File {
            let flags = if deadline == Deadline::NEVER { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
            return by_deadline(fd, PollFlags::IN, deadline, || {
                let part = buffer.get_mut(..raw::allowed("recv", buffer.len())).unwrap_or_default();
                raw::call("recv", || rustix::net::recv(fd, part, flags)).map(|(len, _)| len)
            });
        }
        if deadline != Deadline::NEVER && !ready(fd, PollFlags::IN, deadline)? {
            return Ok(None);
        }
        by_deadline(fd, PollFlags::IN, deadline, || {
            let part = buffer.get_mut(..raw::allowed("read", buffer.len())).unwrap_or_default();
            raw::call("read", || rustix::io::read(fd, part))
        })
    }

    /// `setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, ...)`: sets the longest wait of
    /// [`read_in_one_call`](Self::read_in_one_call); `None` for no limit. The timeout belongs to the socket, not to
    /// this descriptor of it. The other methods use their own deadlines.
    ///
    /// # Errors
    /// `ENOTSOCK` when this is not a socket, `EINVAL` for a zero duration.
    #[doc(alias = "SO_RCVTIMEO")]
    pub fn set_receive_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        raw::call("setsockopt", || sockopt::set_socket_timeout(&self.fd, sockopt::Timeout::Recv, timeout))
    }

    /// `recv(fd, ...)`, once: waits for bytes within the timeout of the [socket](Self::set_receive_timeout), and
    /// returns their number. `None` if no bytes came by then, if a signal came, or at once on a non-blocking
    /// descriptor.
    ///
    /// A read with a deadline takes two calls, because only `ppoll` takes a deadline.
    ///
    /// # Errors
    /// As for [`read`](Self::read), and `ENOTSOCK` when this is not a socket.
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use std::os::unix::net::UnixStream;
    /// use ossature_sys::stream::Stream;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (near, far) = UnixStream::pair()?;
    /// let (near, far) = (Stream::new(near.into())?, Stream::new(far.into())?);
    /// far.set_receive_timeout(Some(Duration::from_millis(10)))?;
    /// let mut buffer = [0; 4];
    /// assert_eq!(far.read_in_one_call(&mut buffer)?, None, "nothing came");
    /// near.write([b"head", b""], None)?;
    /// assert_eq!(far.read_in_one_call(&mut buffer)?, Some(4));
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn read_in_one_call(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let part = buffer.get_mut(..raw::allowed("recv", buffer.len())).unwrap_or_default();
        match raw::call("recv", || rustix::net::recv(&self.fd, part, RecvFlags::empty())) {
            Ok((len, _)) => Ok(Some(len)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// `pwritev2(fd, ..., RWF_NOSIGNAL)`, `send(fd, ..., MSG_NOSIGNAL)` or `sendmsg`: waits for room, writes some bytes
    /// of the two parts, in their order, as if they were one part, and returns their number. `None` if there was no
    /// room by the deadline.
    ///
    /// Without a deadline, on a blocking descriptor, all of them are written unless a signal interrupts. Before Linux
    /// 6.18 a write to a pipe takes three calls, `pthread_sigmask(3)`, `writev(2)` and `pthread_sigmask(3)`, as
    /// [`write_without_sigpipe`] does.
    ///
    /// # Errors
    /// `EPIPE` when there is no reader any more, never with a SIGPIPE; `ECONNRESET`,
    /// `EBADF` for a descriptor that is not open for writing.
    #[inline]
    pub fn write(&self, parts: [&[u8]; 2], timeout: impl Into<Deadline>) -> Result<Option<usize>> {
        let deadline = timeout.into();
        match (self.carrier, parts) {
            (StreamKind::File, parts) => self.write_file(parts, deadline),
            (_, [only, []] | [[], only]) => by_deadline(self.as_fd(), PollFlags::OUT, deadline, || {
                let only = only.get(..raw::allowed("send", only.len())).unwrap_or_default();
                raw::call("send", || rustix::net::send(&self.fd, only, send_flags(deadline)))
            }),
            (_, parts) => by_deadline(self.as_fd(), PollFlags::OUT, deadline, || {
                let parts = beginning(parts, raw::allowed("sendmsg", total(parts))).map(IoSlice::new);
                let mut none = SendAncillaryBuffer::default();
                raw::call("sendmsg", || rustix::net::sendmsg(&self.fd, &parts, &mut none, send_flags(deadline)))
            }),
        }
    }

    /// [`write`](Self::write) until all of `bytes` are written or the deadline has passed; returns the number written.
    ///
    /// # Errors
    /// As for [`write`](Self::write). The number of bytes written before an error is not returned.
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use ossature_sys::{pipe, stream::Stream};
    ///
    /// let (_reader, writer) = pipe::pipe(pipe::Flags::empty())?;
    /// assert_eq!(Stream::new(writer)?.write_all(b"ossature", Duration::from_secs(1))?, 8);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn write_all(&self, bytes: &[u8], timeout: impl Into<Deadline>) -> Result<usize> {
        let deadline = timeout.into();
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.write([rest, &[]], deadline)? {
                Some(0) => return Err(Errno::IO),
                Some(len) => rest = rest.get(len..).unwrap_or_default(),
                None => break,
            }
        }
        Ok(bytes.len() - rest.len())
    }

    fn write_file(&self, parts: [&[u8]; 2], deadline: Deadline) -> Result<Option<usize>> {
        let fd = self.as_fd();
        let mut most = total(parts);
        if deadline != Deadline::NEVER {
            if !ready(fd, PollFlags::OUT, deadline)? {
                return Ok(None);
            }
            // A pipe that is ready has room for that many: a longer write would wait for the rest.
            most = most.min(PIPE_BUF);
        }
        by_deadline(fd, PollFlags::OUT, deadline, || {
            let parts = beginning(parts, raw::allowed("writev", most)).map(IoSlice::new);
            sigpipe::write(fd, &parts, &self.lacks_nosignal)
        })
    }

    /// `recvmsg(fd, {buffer, SCM_RIGHTS}, MSG_CMSG_CLOEXEC)`: reads some bytes, with up to `N` descriptors; `None` when
    /// nothing came by the deadline.
    ///
    /// No descriptor leaks, whatever the peer sends, as for [`Socket::recv_with`](crate::socket::Socket::recv_with).
    ///
    /// # Errors
    /// As for [`read`](Self::read), and `ENOTSOCK` when this is not a socket.
    pub fn read_with<const N: usize>(
        &self,
        buffer: &mut [u8],
        timeout: impl Into<Deadline>,
    ) -> Result<Option<Received<N>>> {
        rights::receive_by(self.as_fd(), buffer, timeout.into())
    }

    /// `recvmsg(fd, {buffer, SCM_RIGHTS, SCM_CREDENTIALS}, MSG_CMSG_CLOEXEC)` under `SO_PASSCRED`: like
    /// [`read_with`](Self::read_with), and returns the sender of these bytes, which may differ from
    /// [the process that made the connection](Self::peer_credentials).
    ///
    /// The option is set for this call only. So for bytes that were sent before the call without
    /// [credentials](Self::write_with_credentials) the sender is not known: no process, and the user id for an unknown
    /// user.
    ///
    /// # Errors
    /// As for [`read_with`](Self::read_with); `EOPNOTSUPP` (on newer kernels) for a socket of another family.
    #[doc(alias = "SO_PASSCRED")]
    pub fn read_with_credentials<const N: usize>(
        &self,
        buffer: &mut [u8],
        timeout: impl Into<Deadline>,
    ) -> Result<Option<Received<N>>> {
        let asked = raw::call("getsockopt", || sockopt::socket_passcred(&self.fd))?;
        if !asked {
            raw::call("setsockopt", || sockopt::set_socket_passcred(&self.fd, true))?;
        }
        let got = rights::receive_by(self.as_fd(), buffer, timeout.into());
        if !asked {
            // If it stayed set, it would only add credentials that no code reads.
            let _ = raw::call("setsockopt", || sockopt::set_socket_passcred(&self.fd, false));
        }
        got
    }

    /// `sendmsg(fd, {bytes, SCM_RIGHTS}, MSG_NOSIGNAL)`: writes some of `bytes`, with these descriptors beside the
    /// first of them. `None` when there was no room by the deadline; then nothing was written.
    ///
    /// # Errors
    /// As for [`write`](Self::write). `EINVAL` for descriptors without a byte to carry them or more than 253 of them,
    /// `ENOTSOCK` when this is not a socket. `EOPNOTSUPP` when it is not a socket of this machine (there the kernel
    /// would drop the descriptors without an error). `ETOOMANYREFS` when this user has too many in transit.
    pub fn write_with(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        timeout: impl Into<Deadline>,
    ) -> Result<Option<usize>> {
        self.write_from(rights::Sender::Unnamed, bytes, descriptors, timeout.into())
    }

    /// `sendmsg(fd, {bytes, SCM_RIGHTS, SCM_CREDENTIALS}, MSG_NOSIGNAL)`: like [`write_with`](Self::write_with), with
    /// the id of this process and of its effective user as [the sender](Self::read_with_credentials).
    ///
    /// # Errors
    /// As for [`write_with`](Self::write_with).
    #[doc(alias = "SCM_CREDENTIALS")]
    pub fn write_with_credentials(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        timeout: impl Into<Deadline>,
    ) -> Result<Option<usize>> {
        self.write_from(rights::Sender::Named, bytes, descriptors, timeout.into())
    }

    fn write_from(
        &self,
        sender: rights::Sender,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<Option<usize>> {
        match self.carrier {
            StreamKind::UnixSocket => rights::send_by(self.as_fd(), bytes, descriptors, sender, deadline),
            StreamKind::Socket => Err(Errno::OPNOTSUPP),
            StreamKind::File => Err(Errno::NOTSOCK),
        }
    }

    /// `shutdown(fd, how)`: ends one direction or both, for all descriptors of this socket.
    ///
    /// # Errors
    /// `ENOTSOCK` when this is not a socket, `ENOTCONN` when it is not connected.
    pub fn shutdown(&self, how: Shutdown) -> Result<()> {
        raw::call("shutdown", || rustix::net::shutdown(&self.fd, how))
    }

    /// `dup3(placeholder, fd, O_CLOEXEC)`: closes this stream in this process, and puts the placeholder under its
    /// number. From now on a read returns the end, and a write fails with `EPIPE`.
    ///
    /// For a forked child that inherited the object but must not have the stream. The number stays taken, so that the
    /// object never refers to another file.
    ///
    /// # Errors
    /// None in a process that is not being tampered with.
    #[doc(alias = "dup3")]
    pub fn detach(&self, placeholder: &Placeholder) -> Result<()> {
        placeholder.replace(&self.fd)
    }

    /// `getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ...)`: the credentials of the process that made the connection (or the
    /// pair); `None` when they are not known.
    ///
    /// # Errors
    /// `ENOMEM`. For another object than a socket of this machine the result is `None`, not an error.
    #[doc(alias = "SO_PEERCRED")]
    pub fn peer_credentials(&self) -> Result<Option<Credentials>> {
        match self.carrier {
            StreamKind::UnixSocket => crate::socket::peer_credentials_of(self.as_fd()),
            StreamKind::Socket | StreamKind::File => Ok(None),
        }
    }
}

/// The flags of sending: the kernel waits if the wait has no limit, otherwise this crate waits.
#[inline]
fn send_flags(deadline: Deadline) -> SendFlags {
    if deadline == Deadline::NEVER { SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL | SendFlags::DONTWAIT }
}

#[inline]
fn total(parts: [&[u8]; 2]) -> usize {
    parts.iter().fold(0, |sum, part| sum.saturating_add(part.len()))
}

/// The first `len` bytes of the two parts.
#[inline]
fn beginning(parts: [&[u8]; 2], len: usize) -> [&[u8]; 2] {
    let [first, second] = parts;
    let first = first.get(..len).unwrap_or(first);
    let second = second.get(..len.saturating_sub(first.len())).unwrap_or(second);
    [first, second]
}

impl AsFd for Stream {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

crate::fd::as_raw_fd!(Stream);

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> Self {
        stream.fd
    }
}
