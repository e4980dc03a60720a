//! Sockets: creating, binding, connecting, accepting, sending and receiving, with descriptors and credentials.
//!
//! A [`Socket`] is closed on exec and non-blocking inside; every wait is a `ppoll(2)` that keeps the deadline. Sending
//! to a closed peer is `EPIPE` and never a SIGPIPE.
//!
//! | credentials of the peer | use |
//! | --- | --- |
//! | of a connection, when it was made | [`Socket::peer_credentials`] |
//! | of each message | [`Socket::set_pass_credentials`] and [`Socket::recv_with`] |
//!
//! ```
//! use core::time::Duration;
//! use ossature_sys::{fd::AsFd, socket::{Kind, Socket}};
//!
//! let (near, far) = Socket::pair(Kind::Stream)?;
//! near.send_with(b"an event", &[ossature_sys::eventfd::EventFd::counter(3)?.as_fd()], Duration::from_secs(5))?;
//! let mut buffer = [0; 16];
//! let got = far.recv_with::<1>(&mut buffer, Duration::from_secs(5))?.expect("it was sent");
//! assert_eq!(&buffer[..got.len], b"an event");
//! let event = got.descriptors.into_iter().next().expect("the descriptor came along");
//! assert_eq!(ossature_sys::eventfd::EventFd::try_from(event)?.try_take()?, Some(3));
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! Source: socket(7), unix(7), ip(7).

mod address;
mod ancillary;
mod connect;
pub(crate) mod rights;
mod transfer;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

pub use address::{Address, UnixAddress};
pub(crate) use ancillary::peer_credentials as peer_credentials_of;
pub use ancillary::{ControlMessage, ControlMessages, Credentials, Descriptors, Received};
pub use rights::MOST_DESCRIPTORS;
pub use rustix::net::Shutdown;

use crate::errno::{Errno, Result};
use crate::fd::{AboveStandard, AsFd, BorrowedFd, OwnedFd, Placeholder, RawFd, above_standard, set_nonblocking};
use crate::raw;

/// The kind of a socket's addresses.
///
/// # Examples
/// ```
/// use ossature_sys::socket::{Address, Family, Kind, Socket};
///
/// let socket = Socket::new(Family::V4, Kind::Datagram)?;
/// socket.bind(&Address::Ip("127.0.0.1:0".parse()?))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Paths and abstract names on this machine.
    #[doc(alias = "AF_UNIX")]
    Unix,
    /// Internet addresses of version 4.
    #[doc(alias = "AF_INET")]
    V4,
    /// Internet addresses of version 6.
    #[doc(alias = "AF_INET6")]
    V6,
}

/// The way in which a socket transfers bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Bytes in order, without message boundaries.
    #[doc(alias = "SOCK_STREAM")]
    Stream,
    /// Separate messages.
    #[doc(alias = "SOCK_DGRAM")]
    Datagram,
    /// Messages in order over a connection.
    #[doc(alias = "SOCK_SEQPACKET")]
    SeqPacket,
}

impl Kind {
    fn to_c(self) -> SocketType {
        match self {
            Self::Stream => SocketType::STREAM,
            Self::Datagram => SocketType::DGRAM,
            Self::SeqPacket => SocketType::SEQPACKET,
        }
    }
}

/// `getsockopt(fd, SOL_SOCKET, SO_TYPE, ...)`: the kind of a socket that was made elsewhere; `None` for a type that is
/// not a [`Kind`]. Changes nothing.
///
/// # Errors
/// `ENOTSOCK` for a descriptor that is not a socket.
///
/// # Examples
/// ```
/// use ossature_sys::socket::{Kind, kind_of};
///
/// let (near, _far) = std::os::unix::net::UnixDatagram::pair()?;
/// assert_eq!(kind_of(&near)?, Some(Kind::Datagram));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "SO_TYPE")]
pub fn kind_of(fd: impl AsFd) -> Result<Option<Kind>> {
    let kind = raw::call("getsockopt", || sockopt::socket_type(&fd))?;
    Ok([Kind::Stream, Kind::Datagram, Kind::SeqPacket].into_iter().find(|known| known.to_c() == kind))
}

/// `getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, ...)`: whether a socket that was made elsewhere
/// [listens](Socket::listen). Changes nothing.
///
/// # Errors
/// `ENOTSOCK` for a descriptor that is not a socket.
///
/// # Examples
/// ```
/// use ossature_sys::socket::is_listening;
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// assert!(is_listening(&listener)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "SO_ACCEPTCONN")]
pub fn is_listening(fd: impl AsFd) -> Result<bool> {
    raw::call("getsockopt", || sockopt::socket_acceptconn(&fd))
}

/// `getsockname(fd, ...)`: the local address of a socket that was made elsewhere, like [`Socket::local_address`].
/// Changes nothing.
///
/// # Errors
/// `ENOTSOCK` for a descriptor that is not a socket, `ENOBUFS` when the system is out of memory.
///
/// # Examples
/// ```
/// use ossature_sys::socket::{Address, address_of};
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// assert_eq!(address_of(&listener)?, Address::Ip(listener.local_addr()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "getsockname")]
pub fn address_of(fd: impl AsFd) -> Result<Address> {
    raw::call("getsockname", || rustix::net::getsockname(&fd)).map(|any| Address::from_any(&any))
}

/// The flags with which this crate makes every socket.
const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// An open socket, internally non-blocking.
///
/// A conversion from an `OwnedFd` switches it to non-blocking, and so every other descriptor of the same open file
/// description. A conversion into an `OwnedFd` leaves it non-blocking ([`set_nonblocking`] undoes that).
///
/// # Examples
/// A connection:
/// ```
/// use core::time::Duration;
/// use ossature_sys::socket::{Address, Family, Kind, Shutdown, Socket};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let patience = Duration::from_secs(10);
/// let listener = Socket::new(Family::V4, Kind::Stream)?;
/// listener.set_reuse_address()?;
/// listener.bind(&Address::Ip("127.0.0.1:0".parse()?))?;
/// listener.listen(5)?;
///
/// let client = Socket::new(Family::V4, Kind::Stream)?;
/// assert!(client.connect(&listener.local_address()?, patience)?);
/// client.set_no_delay()?;
/// let (server, from) = listener.accept(patience)?.expect("a client connects");
/// assert_eq!(from, client.local_address()?);
/// assert_eq!(server.peer_address()?, from);
///
/// client.send(b"bones", patience)?;
/// client.shutdown(Shutdown::Write)?;
/// let mut buffer = [0; 16];
/// assert_eq!(server.peek(&mut buffer, patience)?, Some(5));
/// assert_eq!(server.recv(&mut buffer, patience)?, Some(5));
/// assert_eq!(server.recv(&mut buffer, patience)?, Some(0), "the end");
///
/// listener.clear_reuse_address()?;
/// server.clear_no_delay()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[doc(alias = "socket.socket")]
pub struct Socket(OwnedFd);

impl Socket {
    /// `socket(family, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)`: a socket without a name.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left, `EAFNOSUPPORT` and `EPROTONOSUPPORT` if the system lacks the
    /// family or protocol, `ENOMEM`, `ENOBUFS`.
    #[doc(alias = "socket")]
    pub fn new(family: Family, kind: Kind) -> Result<Self> {
        let family = match family {
            Family::Unix => AddressFamily::UNIX,
            Family::V4 => AddressFamily::INET,
            Family::V6 => AddressFamily::INET6,
        };
        raw::call("socket", || rustix::net::socket_with(family, kind.to_c(), FLAGS, None)).map(Self)
    }

    /// `dup3(placeholder, fd, O_CLOEXEC)`: closes this socket in this process, and puts the placeholder under its
    /// number, as [`Stream::detach`](crate::stream::Stream::detach) does. `accept` on a socket that listened then fails
    /// with `EINVAL`.
    ///
    /// # Errors
    /// None in a process that is not being tampered with.
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use ossature_sys::{fd::Placeholder, socket::{Kind, Socket}};
    ///
    /// let (near, far) = Socket::pair(Kind::Stream)?;
    /// near.detach(&Placeholder::new()?)?;
    /// assert_eq!(far.recv(&mut [0; 1], Duration::from_secs(5))?, Some(0), "the other end is closed");
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "dup3")]
    pub fn detach(&self, placeholder: &Placeholder) -> Result<()> {
        placeholder.replace(&self.0)
    }

    /// `socketpair(AF_UNIX, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds)`: two sockets connected to each other.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left, `ENOMEM`.
    #[doc(alias = "socketpair")]
    #[doc(alias = "socket.socketpair")]
    pub fn pair(kind: Kind) -> Result<(Self, Self)> {
        let made = raw::call("socketpair", || rustix::net::socketpair(AddressFamily::UNIX, kind.to_c(), FLAGS, None));
        made.map(|(one, other)| (Self(one), Self(other)))
    }

    /// `pidfd_getfd(pidfd, number, 0)`: a copy of the socket that the process of `pidfd` has under that number.
    ///
    /// Success proves that the kernel would let the caller trace that process. The caller has the users and groups of
    /// that process and no fewer capabilities, or may trace every process.
    ///
    /// # Errors
    /// `EPERM` when the caller may not trace that process, `ESRCH` when that process has ended. `EBADF` when the number
    /// is not open there, `ENOTSOCK` when the number is not a socket's. `EMFILE` when no descriptor is left here.
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use ossature_sys::{fd::AsRawFd, process, socket::{Kind, Socket}};
    ///
    /// let (near, far) = Socket::pair(Kind::Stream)?;
    /// let copy = Socket::of_process(process::pidfd_open(process::id())?, near.as_raw_fd())?;
    /// copy.send(b"x", Duration::from_secs(5))?;
    /// assert_eq!(far.recv(&mut [0; 1], Duration::from_secs(5))?, Some(1));
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "pidfd_getfd")]
    pub fn of_process(pidfd: impl AsFd, number: RawFd) -> Result<Self> {
        let flags = rustix::process::PidfdGetfdFlags::empty();
        let fd = raw::call("pidfd_getfd", || rustix::process::pidfd_getfd(pidfd.as_fd(), number, flags))?;
        kind_of(&fd)?;
        Self::try_from(above_standard(fd)?)
    }

    /// `bind(fd, address, ...)`: binds the socket to a local address.
    ///
    /// Binding to a path makes a file there, which remains until it is removed. Binding to [`UnixAddress::UNNAMED`]
    /// lets the kernel choose an abstract name, and to port 0 a port.
    ///
    /// # Errors
    /// `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` for the address, `ENOENT` and `ENOTDIR` for a path, `EINVAL` when the
    /// socket has an address or the address is of another family.
    pub fn bind(&self, address: &Address) -> Result<()> {
        raw::call("bind", || rustix::net::bind(&self.0, address))
    }

    /// `listen(fd, backlog)`: accepts connections; about `backlog` of them may wait to be accepted.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a socket of datagrams, `EADDRINUSE` for a taken port, `EINVAL` for a connected socket or one
    /// of family [`Family::Unix`] without an address.
    pub fn listen(&self, backlog: u32) -> Result<()> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        raw::call("listen", || rustix::net::listen(&self.0, backlog))
    }

    /// `shutdown(fd, how)`: ends one direction or both, for every descriptor of this socket.
    ///
    /// # Errors
    /// `ENOTCONN` when an internet socket is not connected.
    pub fn shutdown(&self, how: Shutdown) -> Result<()> {
        raw::call("shutdown", || rustix::net::shutdown(&self.0, how))
    }

    /// `getsockname(fd, ...)`: the local address of the socket.
    ///
    /// # Errors
    /// `ENOBUFS` when the system is out of memory.
    #[doc(alias = "getsockname")]
    pub fn local_address(&self) -> Result<Address> {
        address_of(self)
    }

    /// `getpeername(fd, ...)`: the address of the peer.
    ///
    /// # Errors
    /// `ENOTCONN` when it is not connected.
    #[doc(alias = "getpeername")]
    pub fn peer_address(&self) -> Result<Address> {
        peer_address(self)
    }

    /// `setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1)`: a port may be bound while connections of its former owner are
    /// still closing.
    ///
    /// # Errors
    /// `ENOTSOCK` for a descriptor that is not a socket.
    #[doc(alias = "SO_REUSEADDR")]
    pub fn set_reuse_address(&self) -> Result<()> {
        raw::call("setsockopt", || sockopt::set_socket_reuseaddr(&self.0, true))
    }

    /// `setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 0)`: such a port may not be bound.
    ///
    /// # Errors
    /// As [`set_reuse_address`](Self::set_reuse_address).
    pub fn clear_reuse_address(&self) -> Result<()> {
        raw::call("setsockopt", || sockopt::set_socket_reuseaddr(&self.0, false))
    }

    /// `setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1)`: a small segment is sent at once, even if the previous one is not
    /// acknowledged yet.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a socket that is not of the internet, `EINVAL` for a connection that has ended.
    #[doc(alias = "TCP_NODELAY")]
    pub fn set_no_delay(&self) -> Result<()> {
        raw::call("setsockopt", || sockopt::set_tcp_nodelay(&self.0, true))
    }

    /// `setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 0)`: a small segment waits for that acknowledgement.
    ///
    /// # Errors
    /// As [`set_no_delay`](Self::set_no_delay).
    pub fn clear_no_delay(&self) -> Result<()> {
        raw::call("setsockopt", || sockopt::set_tcp_nodelay(&self.0, false))
    }

    /// `setsockopt(fd, SOL_SOCKET, SO_PASSCRED, 1)`: each received message carries the credentials of its sender.
    ///
    /// # Errors
    /// `EOPNOTSUPP` (on newer kernels) for sockets of another family than [`Family::Unix`].
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use ossature_sys::{process, socket::{Kind, Socket}};
    ///
    /// let (near, far) = Socket::pair(Kind::Datagram)?;
    /// far.set_pass_credentials()?;
    /// near.send(b"x", Duration::from_secs(5))?;
    /// let got = far.recv_with::<0>(&mut [0; 1], Duration::from_secs(5))?.expect("it was sent");
    /// assert_eq!(got.credentials.and_then(|sender| sender.pid), Some(process::id()));
    /// far.clear_pass_credentials()?;
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "SO_PASSCRED")]
    pub fn set_pass_credentials(&self) -> Result<()> {
        raw::call("setsockopt", || sockopt::set_socket_passcred(&self.0, true))
    }

    /// `setsockopt(fd, SOL_SOCKET, SO_PASSCRED, 0)`: messages carry no credentials.
    ///
    /// # Errors
    /// As [`set_pass_credentials`](Self::set_pass_credentials).
    pub fn clear_pass_credentials(&self) -> Result<()> {
        raw::call("setsockopt", || sockopt::set_socket_passcred(&self.0, false))
    }

    /// `getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ...)`: the credentials of the process that made the connection (or the
    /// pair); `None` when the socket has no peer.
    ///
    /// These are the credentials of that moment: the peer may have changed them or passed its end on since.
    ///
    /// # Errors
    /// `ENOTSOCK` for a descriptor that is not a socket.
    ///
    /// # Examples
    /// See the example of [`Credentials`].
    #[doc(alias = "SO_PEERCRED")]
    pub fn peer_credentials(&self) -> Result<Option<Credentials>> {
        ancillary::peer_credentials(self.as_fd())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

crate::fd::as_raw_fd!(Socket);

impl TryFrom<OwnedFd> for Socket {
    type Error = Errno;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        set_nonblocking(&fd)?;
        Ok(Self(fd))
    }
}

impl AboveStandard for Socket {
    fn above_standard(self) -> Result<Self> {
        above_standard(self.0).map(Self)
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.0
    }
}

/// `getpeername(socket, ...)`: the address of the peer, for any descriptor of a connected socket.
///
/// # Errors
/// `ENOTCONN` when it is not connected, `ENOTSOCK` for a descriptor that is not a socket.
///
/// # Examples
/// ```
/// use ossature_sys::socket::{Kind, Socket, peer_address};
///
/// let (near, _far) = Socket::pair(Kind::Stream)?;
/// assert_eq!(peer_address(&near)?, near.peer_address()?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn peer_address(socket: impl AsFd) -> Result<Address> {
    let socket = socket.as_fd();
    let any = raw::call("getpeername", || rustix::net::getpeername(socket))?;
    Ok(any.map_or(Address::Unix(UnixAddress::UNNAMED), |any| Address::from_any(&any)))
}

/// `setsockopt` with `SO_KEEPALIVE`, `TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `TCP_KEEPCNT` and `TCP_USER_TIMEOUT`: the kernel
/// probes a silent peer after `idle`, then every `interval`. After `count` probes without an answer the connection
/// ends. Data that the peer does not acknowledge ends the connection after the same time.
///
/// # Errors
/// `EOPNOTSUPP` or `ENOPROTOOPT` for a socket that is not a TCP socket, `EINVAL` for a span of 0 or above 32,767
/// seconds.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::socket::{Family, Kind, Socket, set_keep_alive};
///
/// let socket = Socket::new(Family::V4, Kind::Stream)?;
/// set_keep_alive(&socket, Duration::from_secs(60), Duration::from_secs(10), 6)?;
/// let local = Socket::new(Family::Unix, Kind::Stream)?;
/// assert!(set_keep_alive(&local, Duration::from_secs(60), Duration::from_secs(10), 6).is_err());
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "SO_KEEPALIVE")]
#[doc(alias = "TCP_USER_TIMEOUT")]
pub fn set_keep_alive(
    socket: impl AsFd,
    idle: core::time::Duration,
    interval: core::time::Duration,
    count: u32,
) -> Result<()> {
    let socket = socket.as_fd();
    raw::call("setsockopt", || sockopt::set_socket_keepalive(socket, true))?;
    raw::call("setsockopt", || sockopt::set_tcp_keepidle(socket, idle))?;
    raw::call("setsockopt", || sockopt::set_tcp_keepintvl(socket, interval))?;
    raw::call("setsockopt", || sockopt::set_tcp_keepcnt(socket, count))?;
    let all = idle.saturating_add(interval.saturating_mul(count)).as_millis();
    let all = u32::try_from(all).unwrap_or(u32::MAX);
    raw::call("setsockopt", || sockopt::set_tcp_user_timeout(socket, all))
}
