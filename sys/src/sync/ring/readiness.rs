//! A descriptor that shows when a ring has messages.
//!
//! Each watcher has an epoll set of its own, in which the ring's event is edge-triggered. The event is written and
//! never read, so no watcher takes an event away from another. Clearing removes the event from the set; making the set
//! readable registers the event again. The set belongs to the process, so a watcher that is killed while it clears
//! loses its descriptor, too.

use core::fmt;
use core::mem::MaybeUninit;
use core::ops::Deref;
use core::time::Duration;

use super::error::RingError;
use super::flow::{Flow, Look, look};
use super::memory::Ring;
use crate::deadline::Deadline;
use crate::epoll::{Epoll, Event, Interest};
use crate::errno::{Errno, Result as ErrnoResult};
use crate::fd::{AboveStandard, AsFd, BorrowedFd};
use crate::process::generation;
use crate::sync::gate::Gate;
use crate::timerfd::{Clock, TimerFd};

/// A descriptor of a [`pollable`](Ring::pollable) ring: readable while there may be a message, or the ring is closed.
///
/// It may be readable although there is no message. It is never unreadable while there is one, even if a participant is
/// killed. A thread that finds it readable receives without waiting until the ring is empty, and then
/// [clears](Self::clear) it. If a killed or stopped receiver had begun to copy a message, it becomes readable within
/// 10 ms.
///
/// It belongs to the process that made it. A forked child makes its own.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{futex::Limit, poll::{PollFd, PollFlags, poll}, sync::ring::{Readiness, Ring}};
///
/// let ring = Ring::pollable(1 << 16)?;
/// let readiness = Readiness::new(&ring)?;
/// let is_readable = || poll(&mut [PollFd::new(&readiness, PollFlags::IN)], Duration::ZERO).map(|count| count == 1);
/// let mut user = ring.join()?;
/// assert!(readiness.clear()? && !is_readable()?);
/// user.send(b"news")?;
/// assert!(is_readable()? && !readiness.clear()? && is_readable()?, "there is a message");
/// while let Some(message) = user.read_timeout(Limit::NOW)? {
///     assert_eq!(&*message, b"news");
/// }
/// assert!(readiness.clear()? && !is_readable()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Readiness<R: Deref<Target = Ring>> {
    ring: R,
    /// The address of the ring's memory, to check `R`, which the caller supplies.
    base: usize,
    forks: u32,
    epoll: Epoll,
    /// The timer for a check after a short time.
    timer: TimerFd,
}

/// How soon a watcher checks again if another participant is copying a message.
const SLICE: Duration = Duration::from_millis(10);
/// The number of registered descriptors: the event, the timer, and one more.
const MOST: usize = 3;

impl<R: Deref<Target = Ring>> Readiness<R> {
    /// Makes a descriptor for the ring. It is readable at first.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a ring that is not [`pollable`](Ring::pollable); `EMFILE` and `ENFILE` without descriptors,
    /// `ENOMEM`.
    pub fn new(ring: R) -> ErrnoResult<Self> {
        let target: &Ring = &ring;
        let epoll = Epoll::new()?.above_standard()?;
        let timer = TimerFd::new(Clock::Monotonic)?.above_standard()?;
        let event = target.event().ok_or(Errno::OPNOTSUPP)?;
        // From here on messages are announced; the first look finds earlier messages.
        target.watch().begin();
        epoll.register(event, Interest::IN | Interest::ET, 0)?;
        epoll.register(&timer, Interest::IN | Interest::ET, 0)?;
        let base = core::ptr::from_ref(target.control()).addr();
        Ok(Self { ring, base, forks: generation(), epoll, timer })
    }

    /// Returns the reference or the pointer that keeps the ring.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::sync::ring::{Readiness, Ring};
    ///
    /// let readiness = Readiness::new(Box::new(Ring::pollable(1 << 16)?))?;
    /// assert!(readiness.keeper().is_empty()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keeper(&self) -> &R {
        &self.ring
    }

    /// Makes the descriptor readable while `fd` is readable, too.
    ///
    /// # Errors
    /// As for [`Epoll::register`].
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use ossature_sys::{pipe::{self, Flags}, poll::{PollFd, PollFlags, poll}, sync::ring::{Readiness, Ring}};
    ///
    /// let (ring, (reader, writer)) = (Ring::pollable(1 << 16)?, pipe::pipe(Flags::empty())?);
    /// let readiness = Readiness::new(&ring)?;
    /// readiness.also(&reader)?;
    /// assert!(readiness.clear()?);
    /// drop(writer); // the pipe has ended
    /// assert_eq!(poll(&mut [PollFd::new(&readiness, PollFlags::IN)], Duration::from_secs(1))?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn also(&self, fd: impl AsFd) -> ErrnoResult<()> {
        self.epoll.register(fd, Interest::IN, 0)
    }

    /// Makes the descriptor unreadable until there may be a message. Returns false, and leaves the descriptor readable,
    /// if there is a message or the ring is closed and empty.
    ///
    /// Called by a receiver that found no message. In a forked child this changes nothing, and returns whether the ring
    /// is empty.
    ///
    /// # Errors
    /// [`OtherRing`](RingError::OtherRing), [`Os`](RingError::Os); as for [`Ring::len`].
    pub fn clear(&self) -> Result<bool, RingError> {
        let ring: &Ring = &self.ring;
        if core::ptr::from_ref(ring.control()).addr() != self.base {
            return Err(RingError::OtherRing);
        }
        if self.forks != generation() {
            return ring.is_empty();
        }
        let mut events = [const { MaybeUninit::<Event>::uninit() }; MOST];
        self.epoll.poll(&mut events, Deadline::NOW).map_err(RingError::Os)?;
        let seen = ring.gate().protected(|| look(ring));
        let kept = match seen {
            Ok(Look::Done) => return Ok(true),
            Ok(Look::Again) => self.timer.set_once(SLICE),
            Ok(Look::Readable) | Err(_) => match ring.event() {
                Some(event) => self.epoll.modify(event, Interest::IN | Interest::ET, 0),
                None => Err(Errno::OPNOTSUPP),
            },
        };
        if let Err(errno) = kept {
            // The others look once in vain.
            ring.raise();
            return Err(RingError::Os(errno));
        }
        Ok(seen? == Look::Again)
    }
}

impl<R: Deref<Target = Ring>> AsFd for Readiness<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl<R: Deref<Target = Ring>> crate::fd::AsRawFd for Readiness<R> {
    fn as_raw_fd(&self) -> crate::fd::RawFd {
        crate::fd::AsRawFd::as_raw_fd(&self.as_fd())
    }
}

impl<R: Deref<Target = Ring>> fmt::Debug for Readiness<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readiness").field(&self.epoll).finish()
    }
}
