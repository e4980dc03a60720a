//! Addresses of listeners.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ossature_sys::socket;
use serde::{Deserialize, Serialize};

use super::AuthKey;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::Trust;

/// The address of a listener: on the internet, or on this machine by path or by name.
///
/// Functions with an address parameter also accept the values that Python accepts:
///
/// | value | address |
/// | --- | --- |
/// | `("localhost", 5000)` | IPv4; for IPv6 use [`Address::Inet6`] |
/// | `"/run/echo"` | a path |
/// | `"\0echo"`, `b"\0echo"` | an abstract name, without the zero byte |
/// | `"\\\\.\\pipe\\echo"`, any other bytes, an empty text | an error on this system |
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::{Address, Family};
///
/// let address = Address::try_from("/run/echo")?;
/// assert_eq!(address.family(), Family::Unix);
/// assert_eq!(Address::from(("localhost", 80)), Address::Inet("localhost".into(), 80));
/// assert!(Address::try_from(r"\\.\pipe\echo").is_err());
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Address {
    /// A host, by name or number, and a port, of IPv4; port 0 lets the system choose. For a listener, an empty host
    /// means every interface.
    #[doc(alias = "AF_INET")]
    Inet(String, u16),
    /// A host and a port of IPv6, which Python's `multiprocessing` does not support.
    #[doc(alias = "AF_INET6")]
    Inet6(String, u16),
    /// A path of 1 to 107 bytes. Any process with write permission on the file may connect.
    #[doc(alias = "AF_UNIX")]
    Unix(PathBuf),
    /// A name of at most 107 bytes that is in no file system and disappears with its listener. Every user of this
    /// machine (of the network namespace) may connect: use a key.
    Abstract(Vec<u8>),
}

/// The kind of an [`Address`].
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::{Address, Family};
///
/// assert_eq!(Address::from(("localhost", 80)).family(), Family::Inet);
/// assert_eq!(Address::from(std::path::Path::new("/run/socket")).family(), Family::Unix);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    #[doc(alias = "AF_INET")]
    Inet,
    /// IPv6.
    #[doc(alias = "AF_INET6")]
    Inet6,
    /// Paths and abstract names on this machine: the default, as in Python.
    #[default]
    #[doc(alias = "AF_UNIX")]
    #[doc(alias = "default_family")]
    Unix,
}

impl Family {
    /// All families that this crate supports.
    #[doc(alias = "families")]
    pub const ALL: [Self; 3] = [Self::Inet, Self::Inet6, Self::Unix];

    pub(super) fn of_sockets(self) -> socket::Family {
        match self {
            Self::Inet => socket::Family::V4,
            Self::Inet6 => socket::Family::V6,
            Self::Unix => socket::Family::Unix,
        }
    }
}

impl Address {
    /// The kind of the address.
    #[doc(alias = "address_type")]
    pub fn family(&self) -> Family {
        match self {
            Self::Inet(..) => Family::Inet,
            Self::Inet6(..) => Family::Inet6,
            Self::Unix(_) | Self::Abstract(_) => Family::Unix,
        }
    }

    /// The trust in a peer at this address that has proved to know the key: shared memory comes only over the sockets
    /// of one machine.
    pub(super) fn trust_with(&self, key: &AuthKey) -> Trust {
        match self.family() {
            Family::Unix => key.trust(),
            Family::Inet | Family::Inet6 => Trust::Untrusted,
        }
    }

    /// Returns the addresses to which a socket can be bound or connected, with names looked up: at least one.
    pub(super) fn resolve(&self) -> Result<Vec<socket::Address>> {
        match self {
            Self::Inet(host, port) => look_up(self, host, *port, Ipv4Addr::UNSPECIFIED.into(), SocketAddr::is_ipv4),
            Self::Inet6(host, port) => look_up(self, host, *port, Ipv6Addr::UNSPECIFIED.into(), SocketAddr::is_ipv6),
            Self::Unix(path) => {
                let path = path.as_os_str().as_bytes();
                socket::UnixAddress::path(path).map(one).map_err(|_| unfit_path(path))
            }
            Self::Abstract(name) => {
                let too_long = |_| unfit("abstract name", name, "has at most 107");
                socket::UnixAddress::abstract_name(name).map(one).map_err(too_long)
            }
        }
    }

    /// Converts the system's address of a socket; `None` for a socket without an address.
    pub(super) fn of_socket(address: &socket::Address) -> Option<Self> {
        match address {
            socket::Address::Ip(SocketAddr::V4(v4)) => Some(Self::Inet(v4.ip().to_string(), v4.port())),
            socket::Address::Ip(SocketAddr::V6(v6)) => Some(Self::Inet6(v6.ip().to_string(), v6.port())),
            socket::Address::Unix(unix) => match (unix.as_path(), unix.as_abstract()) {
                (Some(path), _) => Some(Self::Unix(Path::new(std::ffi::OsStr::from_bytes(path)).into())),
                (_, Some(name)) => Some(Self::Abstract(name.into())),
                _ => None,
            },
            socket::Address::Other(_) => None,
        }
    }
}

/// Returns the error of a path that cannot be the path of a socket.
fn unfit_path(path: &[u8]) -> Error {
    match path.iter().position(|&byte| byte == 0) {
        _ if path.is_empty() => Error::new(ErrorKind::InvalidInput, EMPTY),
        Some(at) => Error::new(ErrorKind::InvalidInput, format!("address {}: {}, byte {at}", quoted(path), ZERO)),
        None => unfit("path of a socket", path, "has at most 107; a path from the working directory may be shorter"),
    }
}

fn unfit(what: &str, bytes: &[u8], limit: &str) -> Error {
    let message = format!("address {}: it has {} bytes, and the {what} {limit}", quoted(bytes), bytes.len());
    Error::new(ErrorKind::InvalidInput, message)
}

const EMPTY: &str = "an address is empty; Address::arbitrary makes one";
const ZERO: &str =
    "a path cannot contain a zero byte (an abstract name is Address::Abstract, or a text that begins with a zero byte)";

/// Formats the bytes as text, shortened if there are many.
fn quoted(bytes: &[u8]) -> String {
    let beginning = bytes.get(..QUOTED).unwrap_or(bytes);
    let more = if beginning.len() < bytes.len() { "..." } else { "" };
    format!("\"{}{more}\"", beginning.escape_ascii())
}

const QUOTED: usize = 40;

fn one(address: socket::UnixAddress) -> Vec<socket::Address> {
    vec![address.into()]
}

fn look_up(
    address: &Address,
    host: &str,
    port: u16,
    every: IpAddr,
    wanted: fn(&SocketAddr) -> bool,
) -> Result<Vec<socket::Address>> {
    if host.is_empty() {
        return Ok(vec![SocketAddr::new(every, port).into()]);
    }
    let found = (host, port).to_socket_addrs().map_err(|error| {
        let errno = error.raw_os_error().map(ossature_sys::errno::Errno::from_raw_os_error);
        let message = format!("cannot look up the host of {address}: {error}");
        Error::caused(ErrorKind::Os, errno, error).with_message(message)
    })?;
    let found: Vec<_> = found.filter(wanted).map(Into::into).collect();
    if found.is_empty() {
        let message = format!("{address}: the host has no address of family {:?}", address.family());
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(found)
}

impl From<(&str, u16)> for Address {
    fn from((host, port): (&str, u16)) -> Self {
        Self::Inet(host.into(), port)
    }
}

impl From<(String, u16)> for Address {
    fn from((host, port): (String, u16)) -> Self {
        Self::Inet(host, port)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self::Inet(v4.ip().to_string(), v4.port()),
            SocketAddr::V6(v6) => Self::Inet6(v6.ip().to_string(), v6.port()),
        }
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Unix(path.into())
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

/// Accepts the text of a path or an abstract name; [`ErrorKind::InvalidInput`] for Windows' named pipes, an empty text,
/// and a path that contains a zero byte.
impl TryFrom<&str> for Address {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        match text.strip_prefix('\0') {
            Some(name) => Ok(Self::Abstract(name.into())),
            None if text.is_empty() || text.contains('\0') => Err(unfit_path(text.as_bytes())),
            None if text.starts_with(r"\\") => {
                let why = "family AF_PIPE is not recognized on this system";
                Err(Error::new(ErrorKind::InvalidInput, format!("address {}: {why}", quoted(text.as_bytes()))))
            }
            None => Ok(Self::Unix(text.into())),
        }
    }
}

/// As for `&str`.
impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.as_str().try_into()
    }
}

/// Accepts an abstract name after a zero byte; [`ErrorKind::InvalidInput`] for any other bytes.
impl TryFrom<&[u8]> for Address {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self> {
        match bytes.strip_prefix(b"\0") {
            Some(name) => Ok(Self::Abstract(name.into())),
            None => {
                let message = format!(
                    "address {}: the bytes do not begin with a zero byte, so they are not an abstract name",
                    quoted(bytes)
                );
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }
}

/// As for `&[u8]`.
impl<const N: usize> TryFrom<&[u8; N]> for Address {
    type Error = Error;

    fn try_from(bytes: &[u8; N]) -> Result<Self> {
        bytes[..].try_into()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(host, port) => write!(f, "{host}:{port}"),
            Self::Inet6(host, port) => write!(f, "[{host}]:{port}"),
            Self::Unix(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
        }
    }
}
