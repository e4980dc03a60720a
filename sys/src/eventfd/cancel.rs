//! Ends waits for descriptors from outside.

use super::EventFd;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::fd::{AboveStandard, AsFd, BorrowedFd, PollFlags, either_ready, ready};

/// Ends waits for descriptors from outside: a descriptor that is readable from [`cancel`](Self::cancel) until
/// [`reset`](Self::reset).
///
/// The counterpart of [`Cancel`](crate::futex::Cancel), which ends waits for memory. It ends every wait with it, now
/// and later. Operations that need not wait still succeed. A selector or an epoll set takes it as one more descriptor.
/// A forked child shares the same object, and so does every process that receives its descriptor.
///
/// Any call of this crate that takes a deadline can be ended by it, through an [`Until`]:
///
/// ```
/// use core::time::Duration;
/// use ossature_sys::{eventfd::CancelFd, pipe, stream::Stream};
///
/// let (reader, _writer) = pipe::pipe(pipe::Flags::empty())?;
/// let (reader, stop) = (Stream::new(reader)?, CancelFd::new()?);
/// # extern crate std;
/// std::thread::scope(|scope| {
///     scope.spawn(|| stop.cancel());
///     let mut buffer = [0; 16];
///     let until = stop.within(Duration::from_secs(60));
///     assert_eq!(until.when_readable(&reader, |deadline| reader.read(&mut buffer, deadline)), Ok(None));
/// });
/// assert!(stop.is_cancelled()?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
///
/// # Examples
/// ```
/// use ossature_sys::eventfd::CancelFd;
///
/// let stop = CancelFd::new()?;
/// stop.cancel()?;
/// assert!(stop.is_cancelled()?);
/// stop.reset()?; // for the next use
/// assert!(!stop.is_cancelled()?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
pub struct CancelFd(EventFd);

impl CancelFd {
    /// An object that is not cancelled yet.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left, `ENOMEM`.
    pub fn new() -> Result<Self> {
        EventFd::counter(0).map(Self)
    }

    /// Ends every wait that watches this object, now and later. A signal handler may call this.
    ///
    /// # Errors
    /// None in a process that is not being tampered with.
    pub fn cancel(&self) -> Result<()> {
        // A counter that is full is readable already.
        self.0.try_add(1).map(drop)
    }

    /// Whether the object was cancelled and not reset since.
    ///
    /// # Errors
    /// `ENOMEM` when the kernel lacks memory.
    pub fn is_cancelled(&self) -> Result<bool> {
        ready(self.as_fd(), PollFlags::IN, Deadline::NOW)
    }

    /// Permits waits again.
    ///
    /// # Errors
    /// None in a process that is not being tampered with.
    pub fn reset(&self) -> Result<()> {
        self.0.try_take().map(drop)
    }

    /// A limit that ends a wait when this object is cancelled, or after the timeout.
    pub fn within(&self, timeout: impl Into<Deadline>) -> Until<'_> {
        Until { deadline: timeout.into(), cancel: Some(self.as_fd()) }
    }
}

impl AsFd for CancelFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

crate::fd::as_raw_fd!(CancelFd);

impl AboveStandard for CancelFd {
    fn above_standard(self) -> Result<Self> {
        self.0.above_standard().map(Self)
    }
}

/// The limit of a wait for a descriptor: a [`Deadline`], a [`CancelFd`], or the sooner of both.
///
/// Made from a `Duration`, an `Option<Duration>`, a [`Deadline`] or a `&CancelFd`; [`CancelFd::within`] makes one of
/// both. Without a `CancelFd` it adds no system call to the wait.
///
/// # Examples
/// ```
/// use ossature_sys::{deadline::Deadline, eventfd::{CancelFd, EventFd, Until}};
///
/// let (stop, event) = (CancelFd::new()?, EventFd::counter(0)?);
/// let until = Until::from(&stop);
/// assert!(until.cancel().is_some() && !until.is_never() && Until::NEVER.is_never());
/// assert_eq!(until.or_sooner(Deadline::NOW).deadline(), Deadline::NOW);
/// assert!(!until.is_over()? && Until::NOW.is_over()?);
///
/// let added = until.when_writable(&event, |deadline| event.add(1, deadline).map(|added| added.then_some(())))?;
/// assert!(added.is_some() && until.is_readable(&event)?);
/// event.try_take()?;
/// stop.cancel()?;
/// assert!(!until.is_readable(&event)?, "cancelled");
/// assert_eq!(until.when_readable(&event, |deadline| event.take(deadline))?, None);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Until<'c> {
    deadline: Deadline,
    cancel: Option<BorrowedFd<'c>>,
}

impl<'c> Until<'c> {
    /// No limit: only success ends the wait.
    pub const NEVER: Self = Self { deadline: Deadline::NEVER, cancel: None };
    /// The limit of a call that tests once.
    pub const NOW: Self = Self { deadline: Deadline::NOW, cancel: None };

    /// The deadline of the wait.
    #[inline]
    pub fn deadline(self) -> Deadline {
        self.deadline
    }

    /// The descriptor that ends the wait when it is readable.
    #[inline]
    pub fn cancel(self) -> Option<BorrowedFd<'c>> {
        self.cancel
    }

    /// Whether only success ends a wait with this limit.
    #[inline]
    pub fn is_never(self) -> bool {
        self.deadline == Deadline::NEVER && self.cancel.is_none()
    }

    /// Whether the time has run out or the wait was cancelled.
    ///
    /// # Errors
    /// `ENOMEM` when the kernel lacks memory.
    pub fn is_over(self) -> Result<bool> {
        match self.cancel {
            _ if self.deadline.has_passed() => Ok(true),
            Some(cancel) => ready(cancel, PollFlags::IN, Deadline::NOW),
            None => Ok(false),
        }
    }

    /// The same limit, ending at `deadline` if that is sooner.
    #[inline]
    #[must_use]
    pub fn or_sooner(self, deadline: Deadline) -> Self {
        Self { deadline: self.deadline.or_sooner(deadline), ..self }
    }

    /// Waits until `fd` is readable; false when the wait ended before.
    ///
    /// # Errors
    /// `ENOMEM` when the kernel lacks memory.
    pub fn is_readable(self, fd: &(impl AsFd + ?Sized)) -> Result<bool> {
        match self.cancel {
            None => ready(fd.as_fd(), PollFlags::IN, self.deadline),
            Some(cancel) => either_ready(fd.as_fd(), PollFlags::IN, cancel, self.deadline).map(|[ready, _]| ready),
        }
    }

    /// Makes a call that takes a deadline and waits until `fd` is readable, such as `read`, `recv`, `accept` or `take`.
    ///
    /// Without a [`CancelFd`] this is the call itself, with the deadline. With a `CancelFd` the call is made with
    /// [`Deadline::NOW`] before and after a wait for both descriptors.
    ///
    /// # Errors
    /// Those of the call; `ENOMEM` when the kernel lacks memory.
    #[inline]
    pub fn when_readable<T, E: From<Errno>>(
        self,
        fd: &(impl AsFd + ?Sized),
        call: impl FnMut(Deadline) -> core::result::Result<Option<T>, E>,
    ) -> core::result::Result<Option<T>, E> {
        self.when(fd.as_fd(), PollFlags::IN, call)
    }

    /// [`when_readable`](Self::when_readable) for a call that waits for room, such as `write` or `send`.
    ///
    /// # Errors
    /// Those of the call; `ENOMEM` when the kernel lacks memory.
    #[inline]
    pub fn when_writable<T, E: From<Errno>>(
        self,
        fd: &(impl AsFd + ?Sized),
        call: impl FnMut(Deadline) -> core::result::Result<Option<T>, E>,
    ) -> core::result::Result<Option<T>, E> {
        self.when(fd.as_fd(), PollFlags::OUT, call)
    }

    #[inline]
    fn when<T, E: From<Errno>>(
        self,
        fd: BorrowedFd<'_>,
        wanted: PollFlags,
        mut call: impl FnMut(Deadline) -> core::result::Result<Option<T>, E>,
    ) -> core::result::Result<Option<T>, E> {
        let Some(cancel) = self.cancel else { return call(self.deadline) };
        loop {
            let answer = call(Deadline::NOW)?;
            if answer.is_some() || self.deadline == Deadline::NOW {
                return Ok(answer);
            }
            let [_, cancelled] = either_ready(fd, wanted, cancel, self.deadline)?;
            if cancelled || self.deadline.has_passed() {
                // A result that came at the last moment is not lost.
                return call(Deadline::NOW);
            }
        }
    }
}

/// Makes a limit of anything that converts into a [`Deadline`].
impl<T: Into<Deadline>> From<T> for Until<'_> {
    #[inline]
    fn from(timeout: T) -> Self {
        Self { deadline: timeout.into(), cancel: None }
    }
}

impl<'c> From<&'c CancelFd> for Until<'c> {
    #[inline]
    fn from(cancel: &'c CancelFd) -> Self {
        cancel.within(Deadline::NEVER)
    }
}
