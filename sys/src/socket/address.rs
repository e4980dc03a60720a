//! Addresses of sockets, without an allocator.

use core::ffi::CStr;
use core::fmt;
use core::mem::{offset_of, size_of};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, SocketAddrAny};

use crate::errno::{Errno, Result};
use crate::raw;

/// The address of a socket.
///
/// # Examples
/// ```
/// use ossature_sys::socket::{Address, UnixAddress};
///
/// let loopback = Address::Ip("127.0.0.1:0".parse()?);
/// assert_eq!(Address::from(UnixAddress::UNNAMED), Address::Unix(UnixAddress::UNNAMED));
/// assert_ne!(loopback, Address::Unix(UnixAddress::UNNAMED));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "sockaddr")]
pub enum Address {
    /// An internet address and a port.
    Ip(SocketAddr),
    /// A path or an abstract name.
    Unix(UnixAddress),
    /// An address of a family that this module does not know, by the family's number. Such an address can be printed,
    /// but not used.
    Other(u16),
}

/// The address of a socket of family `Unix`: a path, an abstract name or nothing.
///
/// ```
/// use ossature_sys::socket::UnixAddress;
///
/// let address = UnixAddress::abstract_name(b"ossature")?;
/// assert_eq!(address.as_abstract(), Some(&b"ossature"[..]));
/// assert_eq!(address.as_path(), None);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
///
/// # Examples
/// An address that is a file, which the owner removes:
/// ```
/// use ossature_sys::socket::{Family, Kind, Socket, UnixAddress};
/// use std::os::unix::ffi::OsStrExt;
///
/// let file = std::env::temp_dir().join(format!("address-{}", std::process::id()));
/// let address = UnixAddress::path(file.as_os_str().as_bytes())?;
/// assert_eq!(address.as_path(), Some(file.as_os_str().as_bytes()));
/// assert!(!address.is_unnamed() && UnixAddress::UNNAMED.is_unnamed());
/// Socket::new(Family::Unix, Kind::Stream)?.bind(&address.into())?;
/// assert!(file.exists());
/// address.remove_file()?;
/// assert!(!file.exists());
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "sockaddr_un")]
pub struct UnixAddress {
    /// `sun_path`: the bytes from `len` on are zero.
    bytes: [u8; CAPACITY],
    len: u8,
}

const CAPACITY: usize = 108;

/// `struct sockaddr_un` of the kernel.
#[repr(C)]
struct SockaddrUn {
    family: u16,
    path: [u8; CAPACITY],
}

static_assertions::assert_eq_size!(SockaddrUn, libc::sockaddr_un);
static_assertions::const_assert_eq!(offset_of!(SockaddrUn, path), offset_of!(libc::sockaddr_un, sun_path));

impl UnixAddress {
    /// No name, the address of a socket that was never bound.
    pub const UNNAMED: Self = Self { bytes: [0; CAPACITY], len: 0 };

    /// A path in the file system, of 1 to 107 bytes.
    ///
    /// # Errors
    /// `ENAMETOOLONG` beyond that, `EINVAL` for an empty path or a zero within.
    pub fn path(path: &[u8]) -> Result<Self> {
        if path.is_empty() || path.contains(&0) {
            return Err(Errno::INVAL);
        }
        // One byte stays free for the zero that ends the path.
        Self::of(path, b"").filter(|address| usize::from(address.len) < CAPACITY).ok_or(Errno::NAMETOOLONG)
    }

    /// A name that is not in the file system and disappears with its socket: at most 107 bytes of any value.
    ///
    /// # Errors
    /// `ENAMETOOLONG` beyond that.
    pub fn abstract_name(name: &[u8]) -> Result<Self> {
        Self::of(b"\0", name).ok_or(Errno::NAMETOOLONG)
    }

    fn of(first: &[u8], rest: &[u8]) -> Option<Self> {
        let mut address = Self::UNNAMED;
        let len = first.len().checked_add(rest.len())?;
        let place = address.bytes.get_mut(..len)?;
        for (to, from) in place.iter_mut().zip(first.iter().chain(rest)) {
            *to = *from;
        }
        address.len = u8::try_from(len).ok()?;
        Some(address)
    }

    /// The path; `None` for another kind of address.
    pub fn as_path(&self) -> Option<&[u8]> {
        self.name().first().is_some_and(|&byte| byte != 0).then_some(self.name())
    }

    /// The abstract name; `None` for another kind of address.
    pub fn as_abstract(&self) -> Option<&[u8]> {
        self.name().strip_prefix(b"\0")
    }

    /// `unlink(path)`: removes the file of a path. A socket that is bound to the path stays open, but clients can no
    /// longer connect to it.
    ///
    /// # Errors
    /// `EINVAL` for another kind of address; `ENOENT`, `EACCES`, `EPERM`, `EISDIR`, `EROFS` and others for the path.
    #[doc(alias = "unlink")]
    pub fn remove_file(&self) -> Result<()> {
        let path = self.as_path().and_then(|_| CStr::from_bytes_until_nul(&self.bytes).ok()).ok_or(Errno::INVAL)?;
        raw::call("unlink", || rustix::fs::unlink(path))
    }

    /// Whether the address has no name.
    pub fn is_unnamed(&self) -> bool {
        self.len == 0
    }

    fn name(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.as_path(), self.as_abstract()) {
            (Some(path), _) => write!(f, "\"{}\"", path.escape_ascii()),
            (_, Some(name)) => write!(f, "abstract \"{}\"", name.escape_ascii()),
            _ => f.write_str("unnamed"),
        }
    }
}

impl Address {
    /// Reads the bytes of a C `sockaddr`; a truncated address is [`Other`](Self::Other).
    ///
    /// ```
    /// use ossature_sys::socket::Address;
    ///
    /// let bytes = [&2u16.to_ne_bytes()[..], &[0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    /// assert_eq!(Address::from_bytes(&bytes), Address::Ip("127.0.0.1:80".parse().unwrap()));
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let Some((family, rest)) = bytes.split_first_chunk::<2>() else { return Self::Other(0) };
        let family = u16::from_ne_bytes(*family);
        let known = match AddressFamily::from_raw(family) {
            AddressFamily::INET => v4(rest),
            AddressFamily::INET6 => v6(rest),
            AddressFamily::UNIX => unix(rest),
            _ => None,
        };
        known.unwrap_or(Self::Other(family))
    }

    pub(super) fn from_any(any: &SocketAddrAny) -> Self {
        let mut copy = [0u8; 128];
        let take = |from: *const SocketAddrOpaque, len: SocketAddrLen| {
            let len = copy.len().min(len as usize);
            // SAFETY: `with_sockaddr` promises `len` readable bytes at `from`; `copy` has room for as many and is
            // memory of its own.
            unsafe { core::ptr::copy_nonoverlapping(from.cast::<u8>(), copy.as_mut_ptr(), len) };
            len
        };
        // SAFETY: the closure only reads the bytes that it is promised.
        let len = unsafe { any.with_sockaddr(take) };
        Self::from_bytes(copy.get(..len).unwrap_or_default())
    }
}

/// Reads a port and an address of version 4.
fn v4(rest: &[u8]) -> Option<Address> {
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let ip = Ipv4Addr::from(*rest.first_chunk::<4>()?);
    Some(Address::Ip(SocketAddrV4::new(ip, u16::from_be_bytes(*port)).into()))
}

/// Reads a port, a flow, an address of version 6 and a scope.
fn v6(rest: &[u8]) -> Option<Address> {
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (flow, rest) = rest.split_first_chunk::<4>()?;
    let (ip, rest) = rest.split_first_chunk::<16>()?;
    let scope = u32::from_ne_bytes(*rest.first_chunk::<4>()?);
    let (port, flow) = (u16::from_be_bytes(*port), u32::from_be_bytes(*flow));
    Some(Address::Ip(SocketAddrV6::new(Ipv6Addr::from(*ip), port, flow, scope).into()))
}

/// Reads a path with or without its null byte, or a null byte and a name. The kernel's result may be one byte longer
/// than its structure.
fn unix(rest: &[u8]) -> Option<Address> {
    let name = match rest {
        [0, ..] => rest,
        path => path.split(|&byte| byte == 0).next().unwrap_or_default(),
    };
    UnixAddress::of(name, b"").map(Address::Unix)
}

// SAFETY: the closure is given a pointer to a whole structure of the family that it names (or, for `Other`, to the two
// bytes of the family alone) and the number of its bytes that count, and it lives until the closure returns.
unsafe impl SocketAddrArg for Address {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        match self {
            // SAFETY: this function and that one may assume the same of `f`.
            Self::Ip(address) => unsafe { address.with_sockaddr(f) },
            Self::Unix(address) => {
                let un = SockaddrUn { family: AddressFamily::UNIX.as_raw(), path: address.bytes };
                // A path counts with its zero, an abstract name without one.
                let zero = usize::from(address.as_path().is_some());
                let len = offset_of!(SockaddrUn, path) + usize::from(address.len) + zero;
                f((&raw const un).cast(), len.min(size_of::<SockaddrUn>()) as SocketAddrLen)
            }
            Self::Other(family) => f((&raw const *family).cast(), size_of::<u16>() as SocketAddrLen),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<UnixAddress> for Address {
    fn from(address: UnixAddress) -> Self {
        Self::Unix(address)
    }
}
