//! Timers with a descriptor that becomes readable when they expire.
//!
//! | clock | counts | stops in suspend | jumps when it is set |
//! | --- | --- | --- | --- |
//! | [`Clock::Monotonic`] | from boot | yes | no |
//! | [`Clock::Boottime`] | from boot | no | no |
//! | [`Clock::Realtime`] | from 1970 | no | yes |
//!
//! Spans and instants are `Duration`s; an instant is the time since the zero of the timer's clock. A time beyond the
//! range of the kernel's seconds never comes, as everywhere in this crate. The descriptor is non-blocking inside:
//! [`TimerFd::expirations`] sleeps in `ppoll(2)`, which keeps the deadline.
//!
//! ```
//! use core::time::Duration;
//! use ossature_sys::timerfd::{Clock, TimerFd};
//!
//! let timer = TimerFd::new(Clock::Monotonic)?;
//! timer.set_once(Duration::from_millis(2))?;
//! assert_eq!(timer.expirations(Duration::from_secs(5))?, Some(1));
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! Source: timerfd_create(2).

use core::time::Duration;

use rustix::time::{ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};

use crate::deadline::{Deadline, Timespec};
use crate::errno::{Errno, Result};
use crate::fd::{AboveStandard, AsFd, BorrowedFd, OwnedFd, PollFlags, above_standard, by_deadline, read_u64};
use crate::raw;

/// The clock of a timer.
///
/// # Examples
/// ```
/// use ossature_sys::timerfd::Clock;
///
/// assert!(Clock::Monotonic.now() <= Clock::Monotonic.now());
/// assert!(Clock::Realtime.now().as_secs() > 1_000_000_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// The time since boot, without the time in suspend.
    #[doc(alias = "CLOCK_MONOTONIC")]
    Monotonic,
    /// The time since boot, with the time in suspend.
    #[doc(alias = "CLOCK_BOOTTIME")]
    Boottime,
    /// The time since 1970, as set by users and by the network.
    #[doc(alias = "CLOCK_REALTIME")]
    Realtime,
}

impl Clock {
    /// `clock_gettime(clock, ...)`: the time since the clock's zero (zero for a wall clock set before 1970).
    pub fn now(self) -> Duration {
        from_timespec(rustix::time::clock_gettime(match self {
            Self::Monotonic => ClockId::Monotonic,
            Self::Boottime => ClockId::Boottime,
            Self::Realtime => ClockId::Realtime,
        }))
    }
}

/// A timer with a descriptor.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::timerfd::{Clock, TimerFd};
///
/// let patience = Duration::from_secs(5);
/// let timer = TimerFd::new(Clock::Monotonic)?;
/// timer.set_every(Duration::from_millis(1), Duration::from_millis(1))?;
/// assert!(timer.expirations(patience)?.is_some());
/// assert!(timer.expirations(patience)?.is_some());
///
/// timer.set_at(Clock::Monotonic.now() + Duration::from_secs(3600))?;
/// assert!(timer.remaining()?.is_some_and(|left| left <= Duration::from_secs(3600)));
/// timer.disarm()?;
/// assert_eq!(timer.remaining()?, None);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
pub struct TimerFd(OwnedFd);

impl TimerFd {
    /// `timerfd_create(clock, TFD_CLOEXEC | TFD_NONBLOCK)`: a timer that is not set.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left, `ENOMEM`.
    #[doc(alias = "timerfd_create")]
    pub fn new(clock: Clock) -> Result<Self> {
        let clock = match clock {
            Clock::Monotonic => TimerfdClockId::Monotonic,
            Clock::Boottime => TimerfdClockId::Boottime,
            Clock::Realtime => TimerfdClockId::Realtime,
        };
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        raw::call("timerfd_create", || rustix::time::timerfd_create(clock, flags)).map(Self)
    }

    /// `timerfd_settime(fd, 0, {0, after}, NULL)`: expires once, `after` from now.
    ///
    /// A zero `after` expires at once; the kernel's "zero disarms" is [`disarm`](Self::disarm).
    ///
    /// # Errors
    /// `EBADF` when the descriptor is not open, which this type excludes.
    #[doc(alias = "timerfd_settime")]
    pub fn set_once(&self, after: Duration) -> Result<()> {
        self.set(TimerfdTimerFlags::empty(), after, Duration::ZERO)
    }

    /// `timerfd_settime(fd, 0, {every, first}, NULL)`: expires `first` from now and then every `every`.
    ///
    /// Expirations that were not taken are counted, not queued: a late reader sees how many it missed.
    ///
    /// # Errors
    /// `EINVAL` when `every` is zero.
    pub fn set_every(&self, first: Duration, every: Duration) -> Result<()> {
        if every.is_zero() {
            return Err(Errno::INVAL);
        }
        self.set(TimerfdTimerFlags::empty(), first, every)
    }

    /// `timerfd_settime(fd, TFD_TIMER_ABSTIME, {0, instant}, NULL)`: expires once, when the timer's clock shows
    /// `instant`, or at once if that has passed.
    ///
    /// # Errors
    /// `EBADF` when the descriptor is not open, which this type excludes.
    #[doc(alias = "TFD_TIMER_ABSTIME")]
    pub fn set_at(&self, instant: Duration) -> Result<()> {
        self.set(TimerfdTimerFlags::ABSTIME, instant, Duration::ZERO)
    }

    /// `timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, {0, instant}, NULL)`: like
    /// [`set_at`](Self::set_at), but [`expirations`](Self::expirations) fails with `ECANCELED` after the wall clock is
    /// set.
    ///
    /// For a timer on [`Clock::Realtime`]; the kernel ignores this flag for other clocks.
    ///
    /// # Errors
    /// `ECANCELED` when the clock was set since the last look (the timer is set anyway).
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use ossature_sys::{errno::Errno, timerfd::{Clock, TimerFd}};
    ///
    /// let timer = TimerFd::new(Clock::Realtime)?;
    /// timer.set_at_unless_clock_is_set(Clock::Realtime.now())?;
    /// match timer.expirations(Duration::from_secs(5)) {
    ///     Err(Errno::CANCELED) => println!("the clock was set: compute the instant again"),
    ///     expirations => assert_eq!(expirations?, Some(1)),
    /// }
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "TFD_TIMER_CANCEL_ON_SET")]
    pub fn set_at_unless_clock_is_set(&self, instant: Duration) -> Result<()> {
        self.set(TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, instant, Duration::ZERO)
    }

    /// `timerfd_settime(fd, 0, {0, 0}, NULL)`: stops the timer, and drops expirations that were not taken.
    ///
    /// # Errors
    /// `EBADF` when the descriptor is not open, which this type excludes.
    pub fn disarm(&self) -> Result<()> {
        self.set_raw(TimerfdTimerFlags::empty(), ZERO, ZERO)
    }

    /// `timerfd_gettime(fd, ...)`: returns the time until the next expiration; zero if an interval's expiration is due.
    /// `None` if the timer is not set or has expired for the last time.
    ///
    /// # Errors
    /// `EBADF` when the descriptor is not open, which this type excludes.
    #[doc(alias = "timerfd_gettime")]
    pub fn remaining(&self) -> Result<Option<Duration>> {
        let state = raw::call("timerfd_gettime", || rustix::time::timerfd_gettime(&self.0))?;
        let left = from_timespec(state.it_value);
        // The kernel also returns zero for an expiration that is due and that no interrupt has counted yet.
        let is_set = !left.is_zero() || !from_timespec(state.it_interval).is_zero();
        Ok(is_set.then_some(left))
    }

    /// `read(fd, &count, 8)`: returns how often the timer has expired since it was set or last read. Waits for the
    /// first expiration, and returns `None` if there was none by the deadline.
    ///
    /// # Errors
    /// `ECANCELED` when the wall clock was set under
    /// [`set_at_unless_clock_is_set`](Self::set_at_unless_clock_is_set).
    pub fn expirations(&self, timeout: impl Into<Deadline>) -> Result<Option<u64>> {
        by_deadline(self.as_fd(), PollFlags::IN, timeout.into(), || read_u64(self.as_fd()))
    }

    fn set(&self, flags: TimerfdTimerFlags, value: Duration, every: Duration) -> Result<()> {
        // Zero would disarm; one nanosecond is the kernel's nearest "at once".
        self.set_raw(flags, to_timespec(value.max(Duration::from_nanos(1))), to_timespec(every))
    }

    fn set_raw(&self, flags: TimerfdTimerFlags, value: Timespec, every: Timespec) -> Result<()> {
        let state = Itimerspec { it_interval: every, it_value: value };
        raw::call("timerfd_settime", || rustix::time::timerfd_settime(&self.0, flags, &state)).map(drop)
    }
}

const ZERO: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

fn to_timespec(span: Duration) -> Timespec {
    // The kernel counts in nanoseconds, and treats a later time, beyond some 292 years, as its last instant.
    let tv_sec = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    // Below 10^9, which every width of the field holds.
    Timespec { tv_sec, tv_nsec: span.subsec_nanos() as _ }
}

fn from_timespec(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl AsFd for TimerFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

crate::fd::as_raw_fd!(TimerFd);

impl AboveStandard for TimerFd {
    fn above_standard(self) -> Result<Self> {
        above_standard(self.0).map(Self)
    }
}

impl From<TimerFd> for OwnedFd {
    fn from(timer: TimerFd) -> Self {
        timer.0
    }
}
