//! One absolute instant on the monotonic clock, passed down unchanged from the outermost call to the system call.
//!
//! A relative timeout that is handed from layer to layer grows with every retry. A [`Deadline`] is made once, so a
//! signal that interrupts the wait or a loop that waits again only sees the time left.
//!
//! | made from | means |
//! | --- | --- |
//! | [`Deadline::NEVER`], `None` | wait for as long as it takes |
//! | [`Deadline::NOW`], `Duration::ZERO` | test once, never sleep, never read the clock |
//! | a `Duration`, `Some(duration)` | that long from now; beyond the clock's range it is `NEVER` |
//!
//! For bindings to other languages, whose numbers have a wider range than a `Duration`, with Python's rules:
//!
//! | made by | like Python's | zero | negative | not-a-number | too large |
//! | --- | --- | --- | --- | --- | --- |
//! | [`Deadline::from_secs_f64`] | `select.select` | `NOW` | `EINVAL` | `EINVAL` | `ERANGE` above 2^63 ns |
//! | [`Deadline::from_millis_i64`] | `poll.poll` | `NOW` | `NEVER` | | `ERANGE` above 2^31 - 1 ms |
//!
//! ```
//! use core::time::Duration;
//! use ossature_sys::deadline::Deadline;
//!
//! let deadline = Deadline::after(Duration::from_millis(20));
//! assert!(deadline.remaining().unwrap() <= Duration::from_millis(20));
//! assert_eq!(Deadline::NEVER.remaining(), None);
//! assert_eq!(Deadline::from(None), Deadline::NEVER);
//! ```
//!
//! Source: clock_gettime(2), `CLOCK_MONOTONIC`.

use core::time::Duration;

pub use rustix::time::Timespec;

use crate::errno::{Errno, Result};

/// An instant on the monotonic clock, in nanoseconds; 0 and the largest number mean `NOW` and `NEVER`.
///
/// Differs from Python's float seconds: cannot be negative or not-a-number, so most of Python's error cases cannot be
/// written.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{deadline::Deadline, errno::Errno};
///
/// let minute = Deadline::after(Duration::from_secs(60));
/// assert!(!minute.has_passed() && minute.elapsed().is_zero());
/// assert_eq!(minute.or_sooner(Deadline::NOW), Deadline::NOW);
/// assert!(Deadline::NOW.has_passed());
///
/// // As Python's select and poll count.
/// assert!(Deadline::from_secs_f64(59.5)? < Deadline::after(Duration::from_secs(60)));
/// assert_eq!(Deadline::from_secs_f64(-1.0), Err(Errno::INVAL));
/// assert_eq!(Deadline::from_millis_i64(-1)?, Deadline::NEVER);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(u64);

const NANOS_PER_SEC: u64 = 1_000_000_000;

impl Deadline {
    /// No timeout: the wait ends only by its event.
    pub const NEVER: Self = Self(u64::MAX);
    /// An instant that has passed: the call tests once and returns, without reading the clock.
    pub const NOW: Self = Self(0);

    /// The instant `span` from now.
    ///
    /// A zero `span` is [`NOW`](Self::NOW); one beyond the range of the clock (584 years) is [`NEVER`](Self::NEVER).
    #[inline]
    pub fn after(span: Duration) -> Self {
        if span.is_zero() {
            return Self::NOW;
        }
        match u64::try_from(span.as_nanos()) {
            Ok(nanos) => Self(monotonic_nanos().saturating_add(nanos)),
            Err(_) => Self::NEVER,
        }
    }

    /// The instant `seconds` from now, with the rules of Python's `select.select`.
    ///
    /// Rounded away from zero to nanoseconds, so that a wait is never shorter than requested and only zero (of either
    /// sign) is [`NOW`](Self::NOW). Python rounds to microseconds.
    ///
    /// # Errors
    /// `EINVAL` when negative or not a number, `ERANGE` when it is 2^63 nanoseconds (292 years) or more, or infinite.
    pub fn from_secs_f64(seconds: f64) -> Result<Self> {
        // 2^63 exactly.
        const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
        if seconds.is_nan() || seconds < 0.0 {
            return Err(Errno::INVAL);
        }
        // Rounded to the nearest number that a float can represent, so that 0.1 is not a nanosecond more than a tenth.
        let nanos = seconds * NANOS_PER_SEC as f64;
        if nanos >= TOO_LARGE {
            return Err(Errno::RANGE);
        }
        let whole = nanos as u64;
        let up = u64::from((whole as f64) < nanos);
        Ok(Self::after(Duration::from_nanos(whole + up)))
    }

    /// The instant `millis` milliseconds from now, with the rules of Python's `poll.poll`: any negative number is
    /// [`NEVER`](Self::NEVER).
    ///
    /// # Errors
    /// `ERANGE` when it is above 2^31 - 1 (24 days).
    pub fn from_millis_i64(millis: i64) -> Result<Self> {
        match u64::try_from(millis) {
            Err(_) => Ok(Self::NEVER),
            Ok(millis) if millis > i32::MAX as u64 => Err(Errno::RANGE),
            Ok(millis) => Ok(Self::after(Duration::from_millis(millis))),
        }
    }

    /// The instant in nanoseconds of the monotonic clock, which all processes of a machine share; for use in shared
    /// memory.
    ///
    /// # Examples
    /// ```
    /// use core::time::Duration;
    /// use ossature_sys::deadline::Deadline;
    ///
    /// let soon = Deadline::after(Duration::from_secs(1));
    /// assert_eq!(Deadline::from_nanos(soon.as_nanos()), soon);
    /// assert_eq!(Deadline::from_nanos(u64::MAX), Deadline::NEVER);
    /// ```
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The instant for a number of nanoseconds from [`as_nanos`](Self::as_nanos).
    ///
    /// # Examples
    /// See the example of [`as_nanos`](Self::as_nanos).
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The time left: `None` for [`NEVER`](Self::NEVER), zero once the instant has passed.
    #[inline]
    pub fn remaining(self) -> Option<Duration> {
        self.nanos_left().map(Duration::from_nanos)
    }

    /// Whether the instant has passed.
    #[inline]
    pub fn has_passed(self) -> bool {
        self.nanos_left() == Some(0)
    }

    /// How long ago the instant passed. Zero for an instant in the future, and for [`NOW`](Self::NOW), which is not an
    /// instant.
    #[inline]
    pub fn elapsed(self) -> Duration {
        match self {
            Self::NOW => Duration::ZERO,
            Self(at) => Duration::from_nanos(monotonic_nanos().saturating_sub(at)),
        }
    }

    /// The sooner of two deadlines.
    #[inline]
    pub fn or_sooner(self, other: Self) -> Self {
        self.min(other)
    }

    /// The time left as the kernel's seconds and nanoseconds; `None` for `NEVER`.
    #[inline]
    pub(crate) fn timespec_left(self) -> Option<Timespec> {
        self.nanos_left().map(to_timespec)
    }

    /// The instant itself on `CLOCK_MONOTONIC`, for calls that take an absolute time; `None` for `NEVER`.
    #[cfg(target_os = "linux")]
    #[inline]
    pub(crate) fn timespec_at(self) -> Option<Timespec> {
        (self != Self::NEVER).then(|| to_timespec(self.0))
    }

    #[inline]
    fn nanos_left(self) -> Option<u64> {
        match self {
            Self::NEVER => None,
            Self::NOW => Some(0),
            Self(at) => Some(at.saturating_sub(monotonic_nanos())),
        }
    }
}

#[inline]
fn to_timespec(nanos: u64) -> Timespec {
    // The quotient of two u64 by 10^9 is below 2^35, so neither field can lose a bit.
    Timespec { tv_sec: (nanos / NANOS_PER_SEC) as i64, tv_nsec: (nanos % NANOS_PER_SEC) as _ }
}

/// The monotonic clock in nanoseconds since boot.
#[inline]
fn monotonic_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // The monotonic clock starts at boot, so both fields are non-negative.
    (now.tv_sec as u64).saturating_mul(NANOS_PER_SEC).saturating_add(now.tv_nsec as u64)
}

impl From<Duration> for Deadline {
    #[inline]
    fn from(span: Duration) -> Self {
        Self::after(span)
    }
}

impl From<Option<Duration>> for Deadline {
    #[inline]
    fn from(span: Option<Duration>) -> Self {
        span.map_or(Self::NEVER, Self::after)
    }
}

impl core::fmt::Debug for Deadline {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::NEVER => f.write_str("Deadline::NEVER"),
            Self::NOW => f.write_str("Deadline::NOW"),
            later => write!(f, "Deadline({:?} left)", later.remaining().unwrap_or_default()),
        }
    }
}

/// Repeats `call` while a signal handler interrupts it, and passes it the time left until the deadline each time.
///
/// `None` means [`Deadline::NEVER`]; once the deadline has passed, `call` gets zero, so that it tests once more and
/// does not sleep.
///
/// # Errors
/// Whatever `call` returns, other than `EINTR`.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{deadline::{Deadline, retry_until}, errno::Errno};
///
/// let mut answers = [Err(Errno::INTR), Ok(())].into_iter();
/// let minute = Deadline::after(Duration::from_secs(60));
/// let answer = retry_until(minute, |left| {
///     assert!(left.is_some_and(|left| left.tv_sec <= 60), "a call gets what is left");
///     answers.next().unwrap()
/// });
/// assert_eq!(answer, Ok(()));
/// ```
#[inline]
pub fn retry_until<T>(deadline: Deadline, mut call: impl FnMut(Option<&Timespec>) -> Result<T>) -> Result<T> {
    loop {
        let left = deadline.timespec_left();
        match call(left.as_ref()) {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}
