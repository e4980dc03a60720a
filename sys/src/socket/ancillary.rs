//! The ancillary data of messages: descriptors and credentials.

use core::ffi::c_int;
use core::mem::{MaybeUninit, align_of, size_of};
use core::slice;

use rustix::process::Pid;

use crate::errno::Result;
use crate::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use crate::raw;

/// The credentials of a peer.
///
/// # Examples
/// ```
/// use ossature_sys::{process, socket::{Kind, Socket}};
///
/// let (near, _far) = Socket::pair(Kind::Stream)?;
/// let peer = near.peer_credentials()?.expect("a pair has credentials");
/// assert_eq!((peer.pid, peer.uid, peer.gid), (Some(process::id()), process::effective_user(), process::effective_group()));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "ucred")]
pub struct Credentials {
    /// The process; `None` when its pid namespace is not visible.
    pub pid: Option<Pid>,
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

/// The result of [`recv_with`](super::Socket::recv_with).
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{eventfd::EventFd, fd::AsFd, socket::{Kind, Received, Socket}};
///
/// let (near, far) = Socket::pair(Kind::Datagram)?;
/// near.send_with(b"long", &[EventFd::counter(0)?.as_fd()], Duration::from_secs(5))?;
/// let got: Received<4> = far.recv_with(&mut [0; 2], Duration::from_secs(5))?.expect("it was sent");
/// assert!(got.len == 2 && got.truncated, "two bytes are lost");
/// assert!(!got.descriptors_lost && got.credentials.is_none());
/// assert_eq!(got.descriptors.len(), 1);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
pub struct Received<const N: usize> {
    /// The number of bytes in the buffer; 0 at the end of a stream.
    pub len: usize,
    /// The received descriptors, closed on exec.
    pub descriptors: Descriptors<N>,
    /// The sender, when the socket passes credentials.
    pub credentials: Option<Credentials>,
    /// Whether the message was longer than the buffer, so that the rest is lost.
    #[doc(alias = "MSG_TRUNC")]
    pub truncated: bool,
    /// Whether descriptors were lost: more arrived than there was room for, so that all of them were closed, or this
    /// process reached its limit of open descriptors.
    #[doc(alias = "MSG_CTRUNC")]
    pub descriptors_lost: bool,
}

/// Up to `N` owned descriptors, in the order in which they were sent.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{eventfd::EventFd, fd::AsFd, socket::{Descriptors, Kind, Socket}};
///
/// let (near, far) = Socket::pair(Kind::Stream)?;
/// let (one, two) = (EventFd::counter(1)?, EventFd::counter(2)?);
/// near.send_with(b"x", &[one.as_fd(), two.as_fd()], Duration::from_secs(5))?;
/// let got = far.recv_with(&mut [0; 1], Duration::from_secs(5))?.expect("it was sent");
/// let descriptors: Descriptors<8> = got.descriptors;
/// assert!(descriptors.len() == 2 && !descriptors.is_empty());
/// for (fd, count) in descriptors.into_iter().zip(1..) {
///     assert_eq!(EventFd::try_from(fd)?.try_take()?, Some(count));
/// }
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
pub struct Descriptors<const N: usize> {
    held: [Option<OwnedFd>; N],
    len: usize,
}

impl<const N: usize> Descriptors<N> {
    const fn new() -> Self {
        Self { held: [const { None }; N], len: 0 }
    }

    /// The number of descriptors.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no descriptors.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps a descriptor. If there is no room, closes it and returns `false`.
    fn push(&mut self, fd: OwnedFd) -> bool {
        let Some(place) = self.held.get_mut(self.len) else { return false };
        *place = Some(fd);
        self.len += 1;
        true
    }
}

impl<const N: usize> IntoIterator for Descriptors<N> {
    type Item = OwnedFd;
    type IntoIter = core::iter::Flatten<core::array::IntoIter<Option<OwnedFd>, N>>;

    fn into_iter(self) -> Self::IntoIter {
        self.held.into_iter().flatten()
    }
}

/// One control message in a control buffer.
///
/// # Examples
/// ```
/// use ossature_sys::socket::{ControlMessage, ControlMessages};
///
/// // What the kernel writes: the length of header and data, the protocol, the kind, then the data.
/// let length = size_of::<usize>() + 2 * size_of::<i32>() + 4;
/// let bytes = [&length.to_ne_bytes()[..], &1_i32.to_ne_bytes(), &2_i32.to_ne_bytes(), &[7; 8]].concat();
/// let message = ControlMessages::new(&bytes).next();
/// assert_eq!(message, Some(ControlMessage { level: 1, kind: 2, data: &[7; 4] }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "cmsghdr")]
pub struct ControlMessage<'b> {
    /// The protocol of the message: `SOL_SOCKET` for the messages of this module.
    pub level: i32,
    /// The type of the message, for instance `SCM_RIGHTS`.
    pub kind: i32,
    /// The content of the message.
    pub data: &'b [u8],
}

/// The messages of a control buffer that `recvmsg` filled.
///
/// A buffer that ends within a message, or whose message claims to be longer than it is, ends the iteration there.
///
/// ```
/// use ossature_sys::socket::ControlMessages;
///
/// assert_eq!(ControlMessages::new(&[0xff; 40]).count(), 0);
/// ```
#[derive(Clone, Debug)]
#[doc(alias = "CMSG_NXTHDR")]
pub struct ControlMessages<'b> {
    rest: &'b [u8],
}

/// The size of the kernel's header: a `size_t` and two `int`s, regardless of libc's definition.
const HEADER: usize = size_of::<usize>() + 2 * size_of::<c_int>();

static_assertions::const_assert_eq!(HEADER, size_of::<libc::cmsghdr>());
static_assertions::const_assert!(HEADER % size_of::<usize>() == 0);

impl<'b> ControlMessages<'b> {
    /// Parses `bytes`, which must begin at the first header.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    fn parse(&self) -> Option<(ControlMessage<'b>, &'b [u8])> {
        let (len, rest) = self.rest.split_first_chunk::<{ size_of::<usize>() }>()?;
        let (level, rest) = rest.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let len = usize::from_ne_bytes(*len).checked_sub(HEADER)?;
        let data = rest.get(..len)?;
        // The next header is aligned like a `size_t`; the last message may do without the padding.
        let padded = len.checked_next_multiple_of(size_of::<usize>())?;
        let message = ControlMessage { level: i32::from_ne_bytes(*level), kind: i32::from_ne_bytes(*kind), data };
        Some((message, rest.get(padded..).unwrap_or_default()))
    }
}

impl<'b> Iterator for ControlMessages<'b> {
    type Item = ControlMessage<'b>;

    fn next(&mut self) -> Option<ControlMessage<'b>> {
        let parsed = self.parse();
        self.rest = parsed.map_or(&[], |(_, rest)| rest);
        parsed.map(|(message, _)| message)
    }
}

impl core::iter::FusedIterator for ControlMessages<'_> {}

/// Room for credentials, the header of the descriptors, and `N` descriptors.
#[repr(C)]
struct Control<const N: usize> {
    /// Words that align the first header.
    fixed: [usize; FIXED],
    descriptors: [c_int; N],
}

/// The room for two headers, the twelve bytes of credentials, and the padding after them.
const FIXED: usize = (2 * HEADER + size_of::<libc::ucred>().next_multiple_of(size_of::<usize>())) / size_of::<usize>();

impl<const N: usize> Control<N> {
    /// The length of the buffer, without the padding that may follow at the end of the structure.
    const LEN: usize = FIXED * size_of::<usize>() + N * size_of::<c_int>();

    fn bytes(&self) -> &[u8] {
        let start = (&raw const *self).cast::<u8>();
        // SAFETY: the first LEN bytes of the structure are its two arrays of integers without a gap, initialised and
        // borrowed for as long as the answer.
        unsafe { slice::from_raw_parts(start, Self::LEN) }
    }
}

static_assertions::const_assert!(align_of::<Control<1>>() >= align_of::<libc::cmsghdr>());

/// `SCM_PIDFD` of newer kernels: a descriptor that a socket from elsewhere may be set to send along.
const SCM_PIDFD: c_int = 4;

pub(super) fn receive<const N: usize>(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received<N>> {
    let mut control = Control { fixed: [0; FIXED], descriptors: [0; N] };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut header = MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: all zeros are a valid msghdr: null pointers of length zero.
    let header = unsafe { header.assume_init_mut() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = Control::<N>::LEN as _;

    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    let place = &raw mut *header;
    let len = raw::call("recvmsg", || {
        // SAFETY: the header's pointers are to `buffer` and `control`, with their true lengths, and outlive the call.
        match unsafe { libc::recvmsg(fd.as_raw_fd(), place, flags) } {
            -1 => Err(raw::last_errno()),
            len => Ok(len),
        }
    })?;

    let told = control.bytes().get(..header.msg_controllen as usize).unwrap_or_default();
    let mut descriptors = Descriptors::<N>::new();
    let mut credentials = None;
    let mut lost = header.msg_flags & libc::MSG_CTRUNC != 0;
    for message in ControlMessages::new(told).filter(|message| message.level == libc::SOL_SOCKET) {
        match message.kind {
            libc::SCM_RIGHTS => own(message.data, |fd| lost |= !descriptors.push(fd)),
            SCM_PIDFD => own(message.data, drop),
            libc::SCM_CREDENTIALS => credentials = read_credentials(message.data),
            _ => {}
        }
    }
    if lost {
        descriptors = Descriptors::new();
    }
    Ok(Received {
        // Not negative, and at most the buffer's length: MSG_TRUNC was not among the flags.
        len: len as usize,
        descriptors,
        credentials,
        truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        descriptors_lost: lost,
    })
}

/// Takes ownership of descriptors whose numbers the kernel has just written into a control message.
fn own(numbers: &[u8], mut keep: impl FnMut(OwnedFd)) {
    for number in numbers.chunks_exact(size_of::<c_int>()) {
        let number = number.try_into().map_or(-1, c_int::from_ne_bytes);
        if number >= 0 {
            // SAFETY: recvmsg just opened this descriptor for us, and no other code knows its number.
            keep(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
}

/// Reads the process, the user and the group.
fn read_credentials(data: &[u8]) -> Option<Credentials> {
    let (pid, rest) = data.split_first_chunk::<4>()?;
    let (uid, rest) = rest.split_first_chunk::<4>()?;
    let gid = rest.first_chunk::<4>()?;
    let pid = Pid::from_raw(i32::from_ne_bytes(*pid).max(0));
    Some(Credentials { pid, uid: u32::from_ne_bytes(*uid), gid: u32::from_ne_bytes(*gid) })
}

pub(crate) fn peer_credentials(fd: BorrowedFd<'_>) -> Result<Option<Credentials>> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let (place, room) = ((&raw mut peer).cast(), &raw mut len);
    raw::call_c("getsockopt", || {
        // SAFETY: `place` has room for the `len` bytes of a ucred, plain integers; both outlive the call.
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, place, room) }
    })?;
    // The kernel's value if there is no peer.
    let nobody = peer.pid == 0 && peer.uid == u32::MAX;
    Ok((!nobody).then(|| Credentials { pid: Pid::from_raw(peer.pid.max(0)), uid: peer.uid, gid: peer.gid }))
}
