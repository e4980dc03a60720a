//! A set of descriptors kept by the kernel, which reports those that are ready. The cost of waiting depends on how many
//! are ready, not on how many there are.
//!
//! Each registration carries a `token` of the caller's choice, which its events return. What is ready is written into
//! the caller's array, which may be uninitialised, and the filled part is lent back.
//!
//! ```
//! use core::mem::MaybeUninit;
//! use ossature_sys::epoll::{Epoll, Interest};
//! use std::{io::Write, os::unix::net::UnixStream, time::Duration};
//!
//! let (mut near, far) = UnixStream::pair().unwrap();
//! let epoll = Epoll::new().unwrap();
//! epoll.register(&far, Interest::IN, 7).unwrap();
//! near.write_all(b"x").unwrap();
//!
//! let mut room = [MaybeUninit::uninit(); 16];
//! let events = epoll.poll(&mut room, Duration::from_secs(1)).unwrap();
//! assert_eq!((events[0].token(), events[0].flags()), (7, Interest::IN));
//! ```
//!
//! The rules of an entry's lifetime:
//!
//! * **The open file description, not the number.** A closed descriptor continues to produce events while a duplicate
//!   (dup, fork, a passed descriptor) lives, and [`Epoll::unregister`] can no longer name it. Unregister before
//!   closing, and ignore a token that you no longer know.
//! * **Fork shares the set.** A forked child has the same set, not a copy. Registrations made by one act on the other,
//!   and each event reaches only one of them. A child that needs a set of its own must make a new one.
//! * **Plain files are refused** with `EPERM`: they are always ready. [`poll`](mod@crate::poll) reports them as ready
//!   instead.
//! * **Sets nest**: an `Epoll` is readable while it has something to report, and can be registered in another, five
//!   deep and never in a circle.
//!
//! Waiting from several threads at once is allowed; each event of an [edge-triggered](Interest::ET) or
//! [one-shot](Interest::ONESHOT) entry goes to one of them.
//!
//! Source: epoll(7), epoll_create1(2), epoll_ctl(2), epoll_wait(2).

use core::ffi::c_int;
use core::fmt;
use core::mem::MaybeUninit;

use rustix::event::epoll as kernel;
use static_assertions::{assert_eq_size, assert_impl_all};

use crate::deadline::{Deadline, Timespec, retry_until};
use crate::errno::{Errno, Result};
use crate::fd::{AboveStandard, AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, above_standard};
use crate::raw;

bitflags::bitflags! {
    /// The events to wait for, the form of the report, and the events that occurred. Unknown bits are kept.
    ///
    /// [`ERR`](Self::ERR) and [`HUP`](Self::HUP) are always reported. An entry is level-triggered unless it has
    /// [`ET`](Self::ET): it is reported by every wait for as long as it is ready.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Interest: u32 {
        /// Data can be read.
        #[doc(alias = "EPOLLIN")]
        const IN = libc::EPOLLIN as u32;
        /// Urgent data can be read, such as out-of-band data on TCP.
        #[doc(alias = "EPOLLPRI")]
        const PRI = libc::EPOLLPRI as u32;
        /// Data can be written.
        #[doc(alias = "EPOLLOUT")]
        const OUT = libc::EPOLLOUT as u32;
        /// An error is pending, or the reading end of this pipe is closed; always reported.
        #[doc(alias = "EPOLLERR")]
        const ERR = libc::EPOLLERR as u32;
        /// The other side hung up; data may still wait to be read. Always reported.
        #[doc(alias = "EPOLLHUP")]
        const HUP = libc::EPOLLHUP as u32;
        /// The same as [`IN`](Self::IN).
        #[doc(alias = "EPOLLRDNORM")]
        const RDNORM = libc::EPOLLRDNORM as u32;
        /// Priority data can be read.
        #[doc(alias = "EPOLLRDBAND")]
        const RDBAND = libc::EPOLLRDBAND as u32;
        /// The same as [`OUT`](Self::OUT).
        #[doc(alias = "EPOLLWRNORM")]
        const WRNORM = libc::EPOLLWRNORM as u32;
        /// Priority data can be written.
        #[doc(alias = "EPOLLWRBAND")]
        const WRBAND = libc::EPOLLWRBAND as u32;
        /// Ignored by the kernel.
        #[doc(alias = "EPOLLMSG")]
        const MSG = libc::EPOLLMSG as u32;
        /// The peer closed a stream, or its writing half.
        #[doc(alias = "EPOLLRDHUP")]
        const RDHUP = libc::EPOLLRDHUP as u32;
        /// An event wakes at least one of the sets that watch a descriptor with this flag, but not necessarily all.
        /// Only for [`Epoll::register`], and only with `IN`, `OUT`, `ERR`, `HUP`, `WAKEUP` and `ET`.
        #[doc(alias = "EPOLLEXCLUSIVE")]
        const EXCLUSIVE = libc::EPOLLEXCLUSIVE as u32;
        /// Keeps the machine awake while an event is handled. Without `CAP_BLOCK_SUSPEND` the kernel clears it.
        #[doc(alias = "EPOLLWAKEUP")]
        const WAKEUP = libc::EPOLLWAKEUP as u32;
        /// After one event the entry is silent until [`Epoll::modify`] arms it again.
        #[doc(alias = "EPOLLONESHOT")]
        const ONESHOT = libc::EPOLLONESHOT as u32;
        /// Edge-triggered: reported when new data or room arrives, not while it remains. Read or write until `EAGAIN`.
        #[doc(alias = "EPOLLET")]
        const ET = libc::EPOLLET as u32;

        const _ = !0;
    }
}

impl Default for Interest {
    /// The default of Python's `epoll.register`: `IN`, `PRI` and `OUT`.
    fn default() -> Self {
        Self::IN | Self::PRI | Self::OUT
    }
}

/// `struct epoll_event`: what one ready entry reports, in exactly the kernel's layout.
///
/// # Examples
/// ```
/// use core::{mem::MaybeUninit, time::Duration};
/// use ossature_sys::{epoll::{Epoll, Event, Interest}, eventfd::EventFd};
///
/// let epoll = Epoll::new()?;
/// epoll.register(&EventFd::counter(0)?, Interest::OUT, 3)?; // closed at once: the kernel forgets it
/// let mut room = [MaybeUninit::<Event>::uninit(); 4];
/// assert!(epoll.poll(&mut room, Duration::from_millis(1))?.is_empty());
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "epoll_event")]
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Event(kernel::Event);

// SAFETY: an event is two numbers. In the kernel's union the second may be a pointer, which is never followed.
unsafe impl Send for Event {}
// SAFETY: as for Send; nothing in it changes through a shared reference.
unsafe impl Sync for Event {}

assert_impl_all!(Epoll: Send, Sync);
assert_eq_size!(Event, libc::epoll_event);
const _: () = assert!(
    core::mem::offset_of!(kernel::Event, flags) == core::mem::offset_of!(libc::epoll_event, events)
        && core::mem::offset_of!(kernel::Event, data) == core::mem::offset_of!(libc::epoll_event, u64)
);

impl Event {
    /// The events that occurred.
    #[inline]
    pub fn flags(&self) -> Interest {
        let flags = self.0.flags; // a copy: the field is not aligned everywhere
        Interest::from_bits_retain(flags.bits())
    }

    /// The token given at registration.
    #[inline]
    pub fn token(&self) -> u64 {
        let data = self.0.data; // a copy, as above
        data.u64()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("flags", &self.flags()).field("token", &self.token()).finish()
    }
}

/// A kernel's set of descriptors to watch; closed when dropped, closed on exec.
///
/// Methods take `&self`: the kernel keeps the set and orders concurrent calls.
///
/// # Examples
/// ```
/// use core::{mem::MaybeUninit, time::Duration};
/// use ossature_sys::{epoll::{Epoll, Interest}, eventfd::EventFd};
///
/// let epoll = Epoll::new()?;
/// let event = EventFd::counter(1)?;
/// epoll.register(&event, Interest::IN, 7)?;
/// epoll.modify(&event, Interest::IN | Interest::ET, 8)?;
/// let mut room = [MaybeUninit::uninit(); 4];
/// let ready = epoll.poll(&mut room, Duration::from_secs(1))?;
/// assert_eq!((ready[0].token(), ready[0].flags()), (8, Interest::IN));
/// assert!(epoll.poll(&mut room, Duration::from_millis(1))?.is_empty(), "told once");
/// epoll.unregister(&event)?;
/// epoll.close()?;
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

/// The maximum number of events per call: for more, the kernel returns `EINVAL`.
const MOST_EVENTS: usize = i32::MAX as usize / size_of::<Event>();

impl Epoll {
    /// `epoll_create1(EPOLL_CLOEXEC)`: an empty set.
    ///
    /// Differs from Python: there is no size hint and no flag to get wrong.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when the process or the system has no descriptor left, `ENOMEM`.
    #[doc(alias = "epoll_create1")]
    pub fn new() -> Result<Self> {
        raw::call("epoll_create1", || kernel::create(kernel::CreateFlags::CLOEXEC)).map(|fd| Self { fd })
    }

    /// `epoll_ctl(epoll, EPOLL_CTL_ADD, fd, event)`: watches `fd`; its events come back with `token`.
    ///
    /// # Errors
    /// * `EEXIST`: `fd` is registered already; use [`modify`](Self::modify).
    /// * `EPERM`: `fd` cannot be watched because it is always ready (a plain file, a directory, `/dev/null`).
    /// * `EINVAL`: `fd` is this set itself, or [`Interest::EXCLUSIVE`] came with a flag with which it cannot be
    ///   combined, or for another set.
    /// * `ELOOP`: `fd` is a set that contains this one, or sets would nest more than five deep. In the second case
    ///   Linux 5.10 returns `EINVAL` if one of the sets also holds another kind of descriptor.
    /// * `ENOSPC`: the user's limit of watches (`/proc/sys/fs/epoll/max_user_watches`); `ENOMEM`.
    #[doc(alias = "EPOLL_CTL_ADD")]
    pub fn register(&self, fd: impl AsFd, interest: Interest, token: u64) -> Result<()> {
        let (flags, data) = to_kernel(interest, token);
        raw::call("epoll_ctl", || kernel::add(&self.fd, fd.as_fd(), data, flags))
    }

    /// `epoll_ctl(epoll, EPOLL_CTL_MOD, fd, event)`: changes what a registered `fd` is watched for, and its token.
    ///
    /// It also arms a one-shot entry again.
    ///
    /// # Errors
    /// * `ENOENT`: `fd` is not registered.
    /// * `EINVAL`: `interest` or the entry has [`Interest::EXCLUSIVE`], which only
    ///   [`register`](Self::register) may set.
    #[doc(alias = "EPOLL_CTL_MOD")]
    pub fn modify(&self, fd: impl AsFd, interest: Interest, token: u64) -> Result<()> {
        let (flags, data) = to_kernel(interest, token);
        raw::call("epoll_ctl", || kernel::modify(&self.fd, fd.as_fd(), data, flags))
    }

    /// `epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL)`: stops watching `fd`.
    ///
    /// Events that an earlier [`poll`](Self::poll) has reported are not withdrawn.
    ///
    /// # Errors
    /// `ENOENT` when `fd` is not registered, `EBADF` when it is not open (which a borrowed descriptor excludes).
    #[doc(alias = "EPOLL_CTL_DEL")]
    pub fn unregister(&self, fd: impl AsFd) -> Result<()> {
        raw::call("epoll_ctl", || kernel::delete(&self.fd, fd.as_fd()))
    }

    /// `epoll_pwait2(epoll, events, n, timeout, NULL)`: waits until something is ready, fills `events` from the front
    /// and lends back the filled part; empty when the time ran out.
    ///
    /// When more are ready than `events` has room for, the next calls report the others first. The timeout has the
    /// resolution of nanoseconds (kernels before 5.11: milliseconds, rounded up). The clock is not read with
    /// [`Deadline::NOW`] and [`Deadline::NEVER`], nor when something is ready at once.
    ///
    /// # Errors
    /// `EINVAL` when `events` is empty, or this was made from a descriptor that is not an epoll set.
    #[inline(always)] // a few instructions around the system call; out of line they double
    #[doc(alias("epoll_wait", "epoll_pwait", "epoll_pwait2"))]
    pub fn poll<'e>(&self, events: &'e mut [MaybeUninit<Event>], timeout: impl Into<Deadline>) -> Result<&'e [Event]> {
        let deadline = timeout.into();
        let first = self.wait(events, if deadline == Deadline::NEVER { -1 } else { 0 });
        let filled = match first {
            Ok(filled) if filled > 0 => filled,
            Ok(_) => self.wait_on(events, deadline, None)?,
            Err(error) => self.wait_on(events, deadline, Some(error))?,
        };
        // SAFETY: the kernel has written the first `filled` elements, at most `events.len()` of them.
        Ok(unsafe { core::slice::from_raw_parts(events.as_ptr().cast(), filled) })
    }

    /// Closes the set and returns the result of `close`, which dropping the set ignores.
    ///
    /// # Errors
    /// `EBADF` when something else closed the descriptor before.
    pub fn close(self) -> Result<()> {
        let fd = self.fd.into_raw_fd();
        // SAFETY: this value owns the descriptor, and gives it up here.
        match raw::call_c("close", || unsafe { libc::close(fd) }) {
            // Linux has released the number even then: close(2), "Dealing with error returns from close()".
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes one `epoll_wait`, in whole milliseconds, or without a timeout for -1.
    ///
    /// Through libc and not rustix, because the latter's `epoll_pwait` makes the kernel check the signal mask, too.
    #[inline]
    fn wait(&self, events: &mut [MaybeUninit<Event>], millis: c_int) -> Result<usize> {
        let room = events.len().min(MOST_EVENTS) as c_int;
        let place = events.as_mut_ptr().cast();
        raw::call_c("epoll_wait", || {
            // SAFETY: the kernel writes at most `room` events from `place` on, which are ours, in the layout asserted
            // above.
            unsafe { libc::epoll_wait(self.fd.as_raw_fd(), place, room, millis) }
        })
        .map(|filled| filled as usize) // not negative: that is the error branch
    }

    /// Waits for the rest of the deadline, after a first call found nothing ready, was interrupted or failed.
    #[cold]
    #[inline(never)]
    fn wait_on(&self, events: &mut [MaybeUninit<Event>], deadline: Deadline, error: Option<Errno>) -> Result<usize> {
        match error {
            None if deadline == Deadline::NOW => return Ok(0),
            None | Some(Errno::INTR) => {}
            Some(error) => return Err(error),
        }
        let waited = retry_until(deadline, |left| match left {
            None => self.wait(events, -1),
            Some(left) => self.pwait2(events, left),
        });
        match waited {
            // Before 5.11 there is no epoll_pwait2; some sandboxes return EPERM, which the call itself never does.
            Err(Errno::NOSYS | Errno::PERM) => self.wait_in_millis(events, deadline),
            done => done,
        }
    }

    fn pwait2(&self, events: &mut [MaybeUninit<Event>], left: &Timespec) -> Result<usize> {
        /// The time structure of the calls with 64-bit time, on every target.
        #[repr(C)]
        struct KernelTimespec {
            sec: i64,
            nsec: i64,
        }
        let left = KernelTimespec { sec: left.tv_sec, nsec: wide(left.tv_nsec) };
        let room = events.len().min(MOST_EVENTS) as c_int;
        let place = events.as_mut_ptr();
        let no_mask = core::ptr::null::<core::ffi::c_void>();
        raw::call_long("epoll_pwait2", || {
            // SAFETY: the kernel writes at most `room` events from `place` on, which are ours, in the layout asserted
            // above, and reads one timespec that outlives the call; no signal mask is given.
            unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    self.fd.as_raw_fd(),
                    place,
                    room,
                    &raw const left,
                    no_mask,
                    0usize,
                )
            }
        })
        .map(|filled| filled as usize) // not negative: that is the error branch
    }

    /// The form for kernels before 5.11: whole milliseconds, rounded up so that a short wait does not become a busy
    /// loop.
    fn wait_in_millis(&self, events: &mut [MaybeUninit<Event>], deadline: Deadline) -> Result<usize> {
        loop {
            let millis = deadline.remaining().map_or(-1, |left| {
                let whole = left.as_nanos().div_ceil(1_000_000);
                c_int::try_from(whole).unwrap_or(c_int::MAX)
            });
            match self.wait(events, millis) {
                Err(Errno::INTR) => {}
                Ok(0) if !deadline.has_passed() => {}
                done => return done,
            }
        }
    }
}

/// Widens nanoseconds, which have 32 bits on some targets and 64 on others.
fn wide(nanos: impl Into<i64>) -> i64 {
    nanos.into()
}

#[inline]
fn to_kernel(interest: Interest, token: u64) -> (kernel::EventFlags, kernel::EventData) {
    (kernel::EventFlags::from_bits_retain(interest.bits()), kernel::EventData::new_u64(token))
}

impl AsFd for Epoll {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

crate::fd::as_raw_fd!(Epoll);

impl From<OwnedFd> for Epoll {
    /// Adopts a set made elsewhere (Python's `epoll.fromfd`). Ownership excludes a second owner, which would close the
    /// set too.
    #[inline]
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl AboveStandard for Epoll {
    fn above_standard(self) -> Result<Self> {
        above_standard(self.fd).map(|fd| Self { fd })
    }
}

impl From<Epoll> for OwnedFd {
    #[inline]
    fn from(epoll: Epoll) -> Self {
        epoll.fd
    }
}
