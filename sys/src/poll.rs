//! Waiting for many descriptors at once, each for its own events: ppoll with a nanosecond [`Deadline`].
//!
//! The caller's array holds the requests and receives the results; nothing is kept between calls, so each call costs
//! time in proportion to the array. For thousands of descriptors of which few are ready see [`epoll`](crate::epoll).
//!
//! ```
//! use ossature_sys::poll::{PollFd, PollFlags, poll};
//! use std::{io::Write, os::unix::net::UnixStream, time::Duration};
//!
//! let (mut near, far) = UnixStream::pair().unwrap();
//! near.write_all(b"x").unwrap();
//! let mut fds = [PollFd::new(&far, PollFlags::IN), PollFd::new(&near, PollFlags::IN)];
//! assert_eq!(poll(&mut fds, Duration::from_secs(1)).unwrap(), 1);
//! assert_eq!(fds[0].revents(), PollFlags::IN);
//! assert!(fds[1].revents().is_empty());
//! ```
//!
//! To end a thin call from outside, poll its descriptor beside a [`CancelFd`](crate::eventfd::CancelFd), or let an
//! [`Until`](crate::eventfd::Until) do so.
//!
//! Source: poll(2).

use static_assertions::{assert_eq_align, assert_eq_size};

use crate::deadline::{Deadline, retry_until};
use crate::errno::Result;
use crate::fd::{AsFd, BorrowedFd};
use crate::raw;

bitflags::bitflags! {
    /// The events to wait for, and the events that occurred. Unknown bits are kept.
    ///
    /// [`ERR`](Self::ERR), [`HUP`](Self::HUP) and [`NVAL`](Self::NVAL) are always reported.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PollFlags: u16 {
        /// Data can be read (a connection can be accepted, the end of the file has been reached).
        #[doc(alias = "POLLIN")]
        const IN = libc::POLLIN as u16;
        /// Urgent data or a state change: out-of-band data on TCP, a pseudo-terminal in packet mode, or cgroups.
        #[doc(alias = "POLLPRI")]
        const PRI = libc::POLLPRI as u16;
        /// Data can be written; a large write may still block.
        #[doc(alias = "POLLOUT")]
        const OUT = libc::POLLOUT as u16;
        /// An error is pending, or the reading end of this pipe is closed.
        #[doc(alias = "POLLERR")]
        const ERR = libc::POLLERR as u16;
        /// The peer hung up. Data may still be pending: read until 0 before closing.
        #[doc(alias = "POLLHUP")]
        const HUP = libc::POLLHUP as u16;
        /// The descriptor is not open.
        #[doc(alias = "POLLNVAL")]
        const NVAL = libc::POLLNVAL as u16;
        /// The same as [`IN`](Self::IN).
        #[doc(alias = "POLLRDNORM")]
        const RDNORM = libc::POLLRDNORM as u16;
        /// Priority data can be read; Linux rarely sets this bit.
        #[doc(alias = "POLLRDBAND")]
        const RDBAND = libc::POLLRDBAND as u16;
        /// The same as [`OUT`](Self::OUT).
        #[doc(alias = "POLLWRNORM")]
        const WRNORM = libc::POLLWRNORM as u16;
        /// Priority data can be written.
        #[doc(alias = "POLLWRBAND")]
        const WRBAND = libc::POLLWRBAND as u16;
        /// Unused by Linux.
        #[doc(alias = "POLLMSG")]
        const MSG = 0x0400; // libc lacks it; <asm-generic/poll.h>, which all our targets include unchanged
        /// The peer closed a stream, or its writing half.
        #[doc(alias = "POLLRDHUP")]
        const RDHUP = libc::POLLRDHUP as u16;

        const _ = !0;
    }
}

impl Default for PollFlags {
    /// The default of Python's `poll.register`: `IN`, `PRI` and `OUT`.
    fn default() -> Self {
        Self::IN | Self::PRI | Self::OUT
    }
}

/// `struct pollfd`: a borrowed descriptor, the events to wait for, and the events that occurred.
///
/// ```compile_fail,E0505
/// use ossature_sys::poll::{PollFd, PollFlags};
/// let file = std::fs::File::open("/dev/null").unwrap();
/// let entry = PollFd::new(&file, PollFlags::IN);
/// drop(file); // a closed descriptor cannot be polled: its number may be another's by then
/// entry.revents();
/// ```
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{eventfd::EventFd, fd::{AsFd, AsRawFd}, poll::{PollFd, PollFlags, poll}};
///
/// let event = EventFd::counter(0)?;
/// let mut entry = PollFd::from_borrowed(event.as_fd(), PollFlags::IN);
/// assert_eq!(entry.fd().as_raw_fd(), event.as_raw_fd());
/// entry.set_events(PollFlags::OUT);
/// assert_eq!(entry.events(), PollFlags::OUT);
/// assert_eq!(poll(core::slice::from_mut(&mut entry), Duration::from_secs(1))?, 1);
/// assert_eq!(entry.revents(), PollFlags::OUT);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "pollfd")]
#[derive(Clone, Debug)]
#[repr(C)]
pub struct PollFd<'fd> {
    fd: BorrowedFd<'fd>, // documented to be laid out as a C `int`
    events: u16,
    revents: u16,
}

assert_eq_size!(PollFd<'_>, libc::pollfd);
assert_eq_align!(PollFd<'_>, libc::pollfd);
assert_eq_size!(PollFd<'_>, rustix::event::PollFd<'_>);
assert_eq_align!(PollFd<'_>, rustix::event::PollFd<'_>);
const _: () = assert!(core::mem::offset_of!(PollFd<'_>, fd) == core::mem::offset_of!(libc::pollfd, fd));
const _: () = assert!(core::mem::offset_of!(PollFd<'_>, events) == core::mem::offset_of!(libc::pollfd, events));
const _: () = assert!(core::mem::offset_of!(PollFd<'_>, revents) == core::mem::offset_of!(libc::pollfd, revents));

impl<'fd> PollFd<'fd> {
    /// An entry that waits for `events` on `fd`.
    #[inline]
    pub fn new<F: AsFd + ?Sized>(fd: &'fd F, events: PollFlags) -> Self {
        Self::from_borrowed(fd.as_fd(), events)
    }

    /// An entry for a descriptor that is borrowed already.
    #[inline]
    pub fn from_borrowed(fd: BorrowedFd<'fd>, events: PollFlags) -> Self {
        Self { fd, events: events.bits(), revents: 0 }
    }

    /// The events to wait for.
    #[inline]
    pub fn events(&self) -> PollFlags {
        PollFlags::from_bits_retain(self.events)
    }

    /// Changes the events to wait for, from the next call on.
    #[inline]
    pub fn set_events(&mut self, events: PollFlags) {
        self.events = events.bits();
    }

    /// The events that the last [`poll`] found; empty before the first call.
    #[inline]
    pub fn revents(&self) -> PollFlags {
        PollFlags::from_bits_retain(self.revents)
    }

    /// The descriptor, for the lifetime of its borrow.
    #[inline]
    pub fn fd(&self) -> BorrowedFd<'fd> {
        self.fd
    }
}

impl AsFd for PollFd<'_> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
    }
}

/// `ppoll(fds, n, timeout)`: waits until an event occurs, and returns the number of entries with events.
///
/// Differs from Python: the timeout is in nanoseconds, and `Ok(0)` is running out of time. An empty array sleeps.
/// A descriptor that is not open is not an error; its entry reports [`PollFlags::NVAL`].
///
/// # Errors
/// `EINVAL` for more entries than the process may have descriptors (`RLIMIT_NOFILE`), `ENOMEM` when the kernel lacks
/// memory.
#[inline]
#[doc(alias = "ppoll")]
pub fn poll(fds: &mut [PollFd<'_>], timeout: impl Into<Deadline>) -> Result<usize> {
    let fds = fds as *mut [PollFd<'_>] as *mut [rustix::event::PollFd<'_>];
    // SAFETY: both types are documented to be `struct pollfd` (sizes, alignments and our offsets are asserted above),
    // every bit pattern of the flags is valid in both, and the exclusive borrow of the slice is handed on.
    let fds = unsafe { &mut *fds };
    retry_until(timeout.into(), |left| raw::call("ppoll", || rustix::event::poll(fds, left)))
}
