//! A counter in the kernel that some threads add to and others take from, with a descriptor to wait on.
//!
//! | made by | a take gives | and leaves |
//! | --- | --- | --- |
//! | [`EventFd::counter`] | everything added so far | 0 |
//! | [`EventFd::semaphore`] | 1 | one less |
//!
//! The descriptor is readable while the number is not 0. It is non-blocking inside: the waits of this module sleep in
//! `ppoll(2)`, which keeps the deadline.
//!
//! ```
//! use ossature_sys::{deadline::Deadline, eventfd::EventFd};
//!
//! let event = EventFd::counter(0)?;
//! assert_eq!(event.take(Deadline::NOW)?, None);
//! event.try_add(2)?;
//! event.try_add(3)?;
//! assert_eq!(event.take(Deadline::NOW)?, Some(5));
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! A [`CancelFd`] is a counter that ends waits for other descriptors.
//!
//! Source: eventfd(2).

mod cancel;

use core::time::Duration;

use rustix::event::EventfdFlags;

use crate::deadline::{Deadline, retry_until};
use crate::errno::{Errno, Result, retry};
use crate::fd::{AboveStandard, AsFd, BorrowedFd, OwnedFd, PollFlags, above_standard, by_deadline, read_u64, ready};
use crate::raw;

pub use self::cancel::{CancelFd, Until};

/// An event counter or semaphore with a descriptor.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::eventfd::EventFd;
///
/// let tokens = EventFd::semaphore(2)?;
/// assert_eq!(tokens.try_take()?, Some(1), "one at a time");
/// assert_eq!(tokens.take(Duration::from_secs(1))?, Some(1));
/// assert_eq!(tokens.take(Duration::from_millis(1))?, None);
/// assert!(tokens.try_add(1)? && tokens.add(1, Duration::from_secs(1))?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
#[doc(alias = "os.eventfd")]
pub struct EventFd(OwnedFd);

/// The time that [`EventFd::add`] sleeps between attempts where the kernel does not wake it.
const SLICE: Duration = Duration::from_millis(1);

impl EventFd {
    /// `eventfd(start, EFD_CLOEXEC | EFD_NONBLOCK)`: a counter, of which a take gives everything.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left, `ENOMEM`.
    #[doc(alias = "eventfd")]
    pub fn counter(start: u32) -> Result<Self> {
        Self::with_flags(start, EventfdFlags::empty())
    }

    /// `eventfd(start, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE)`: a semaphore, of which a take gives 1.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left, `ENOMEM`.
    #[doc(alias = "EFD_SEMAPHORE")]
    pub fn semaphore(start: u32) -> Result<Self> {
        Self::with_flags(start, EventfdFlags::SEMAPHORE)
    }

    fn with_flags(start: u32, flags: EventfdFlags) -> Result<Self> {
        let flags = flags | EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        raw::call("eventfd", || rustix::event::eventfd(start, flags)).map(Self)
    }

    /// `write(fd, &amount, 8)`: adds without waiting; `false` when the sum would not fit (it is at most 2⁶⁴ - 2).
    ///
    /// # Errors
    /// `EINVAL` for an amount of 2⁶⁴ - 1, which never fits.
    #[doc(alias = "os.eventfd_write")]
    pub fn try_add(&self, amount: u64) -> Result<bool> {
        match retry(|| self.write(amount)) {
            Err(Errno::AGAIN) => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// Adds, waiting until the sum fits; `false` when it did not fit by the deadline.
    ///
    /// The kernel reports room as soon as 1 fits: a wait for more room tries again every millisecond.
    ///
    /// # Errors
    /// `EINVAL` for an amount of 2⁶⁴ - 1, which never fits.
    pub fn add(&self, amount: u64, timeout: impl Into<Deadline>) -> Result<bool> {
        let deadline = timeout.into();
        let mut room_for_one = false;
        while !self.try_add(amount)? {
            if deadline.has_passed() {
                return Ok(false);
            }
            if room_for_one {
                let slice = deadline.or_sooner(Deadline::after(SLICE));
                retry_until(slice, |left| raw::call("ppoll", || rustix::event::poll(&mut [], left)))?;
            }
            room_for_one = ready(self.as_fd(), PollFlags::OUT, deadline)?;
        }
        Ok(true)
    }

    /// `read(fd, &value, 8)`: takes without waiting; `None` when the number is 0.
    ///
    /// # Errors
    /// `EBADF` when the descriptor is not open, which this type excludes.
    pub fn try_take(&self) -> Result<Option<u64>> {
        self.take(Deadline::NOW)
    }

    /// Takes, waiting until the number is not 0; `None` when it was still 0 at the deadline.
    ///
    /// Python's `os.eventfd_read` has no timeout.
    ///
    /// # Errors
    /// `EBADF` when the descriptor is not open, which this type excludes.
    #[doc(alias = "os.eventfd_read")]
    pub fn take(&self, timeout: impl Into<Deadline>) -> Result<Option<u64>> {
        by_deadline(self.as_fd(), PollFlags::IN, timeout.into(), || read_u64(self.as_fd()))
    }

    fn write(&self, amount: u64) -> Result<()> {
        // An event counter takes 8 bytes or nothing, so there is no short write to continue.
        raw::call("write", || rustix::io::write(&self.0, &amount.to_ne_bytes())).map(drop)
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

crate::fd::as_raw_fd!(EventFd);

/// Adopts an event counter that was made elsewhere, and makes it non-blocking.
impl TryFrom<OwnedFd> for EventFd {
    type Error = Errno;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        crate::fd::set_nonblocking(&fd)?;
        Ok(Self(fd))
    }
}

impl AboveStandard for EventFd {
    fn above_standard(self) -> Result<Self> {
        above_standard(self.0).map(Self)
    }
}

impl From<EventFd> for OwnedFd {
    fn from(event: EventFd) -> Self {
        event.0
    }
}
