//! How long to wait, and what may end a wait sooner.

use super::Reach;
use super::Waiter;
use crate::atomic::{
    AtomicU32,
    Ordering::{Acquire, Release},
    const_unless_loom,
};
use crate::deadline::Deadline;

/// Ends waits from outside: a flag that a waiter watches beside what it waits for.
///
/// For waits for memory. What ends a wait for a descriptor is a [`CancelFd`](crate::eventfd::CancelFd).
///
/// For the threads of one process; [`cancel`](Self::cancel) may be called by a signal handler. It stays cancelled, and
/// ends every later wait with it at once, until it is [`reset`](Self::reset). Operations that need not wait still
/// succeed.
///
/// ```
/// use core::time::Duration;
/// use ossature_sys::{futex::Cancel, sync::lock::Lock};
///
/// static STOP: Cancel = Cancel::new();
/// static LOCK: Lock<u32> = Lock::new(0);
/// let held = LOCK.lock();
/// STOP.cancel();
/// assert!(LOCK.lock_timeout(&STOP).is_none(), "held, and the wait is cancelled");
/// drop(held);
/// assert!(LOCK.lock_timeout(STOP.within(Duration::from_secs(1))).is_some(), "free: no wait to cancel");
/// ```
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::futex::Cancel;
///
/// let stop = Cancel::new();
/// assert!(!stop.is_cancelled() && !stop.within(Duration::from_secs(60)).is_over());
/// stop.cancel();
/// assert!(stop.is_cancelled() && stop.within(Duration::from_secs(60)).is_over());
/// stop.reset(); // for the next use
/// assert!(!stop.is_cancelled());
/// ```
#[derive(Debug)]
pub struct Cancel(AtomicU32);

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

const CANCELLED: u32 = 1;

impl Cancel {
    const_unless_loom! {
        /// Nothing is cancelled yet.
        pub const fn new() -> Self {
            Self(AtomicU32::new(0))
        }
    }

    /// Ends every wait that watches this, now and later.
    pub fn cancel(&self) {
        self.0.store(CANCELLED, Release);
        // There is no error to hear of: the word is mapped.
        let _ = super::wake(&self.0, u32::MAX, Reach::Private);
    }

    /// Whether it was cancelled and not reset since.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Acquire) == CANCELLED
    }

    /// Lets waits wait again. Those that the cancelling has woken and that have not looked yet may wait on.
    pub fn reset(&self) {
        self.0.store(0, Release);
    }

    /// A limit that ends a wait when this is cancelled, or after the timeout.
    pub fn within(&self, timeout: impl Into<Deadline>) -> Limit<'_> {
        Limit { deadline: timeout.into(), cancel: Some(self) }
    }
}

/// When a wait ends without what it waits for: at a [`Deadline`], when a [`Cancel`] says so, or at the sooner of both.
///
/// Made from a `Duration`, an `Option<Duration>`, a [`Deadline`] or a `&Cancel`; [`Cancel::within`] makes one of both.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{deadline::Deadline, futex::{Cancel, Limit}};
///
/// assert!(Limit::NEVER.is_never() && !Limit::NEVER.is_over());
/// assert!(Limit::NOW.is_now() && Limit::NOW.is_over());
/// let limit = Limit::from(Duration::from_secs(60));
/// assert!(limit.deadline() > Deadline::NOW && !limit.is_over());
/// let stop = Cancel::new();
/// assert!(!Limit::from(&stop).is_never(), "a cancel may end it");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Limit<'c> {
    deadline: Deadline,
    cancel: Option<&'c Cancel>,
}

impl<'c> Limit<'c> {
    /// No end but success.
    pub const NEVER: Self = Self { deadline: Deadline::NEVER, cancel: None };
    /// Look once.
    pub const NOW: Self = Self { deadline: Deadline::NOW, cancel: None };

    /// The deadline of the limit.
    #[inline]
    pub fn deadline(self) -> Deadline {
        self.deadline
    }

    /// Whether a wait with it does not even begin.
    #[inline]
    pub fn is_now(self) -> bool {
        self.deadline == Deadline::NOW
    }

    /// Whether nothing ends such a wait but success.
    #[inline]
    pub fn is_never(self) -> bool {
        self.deadline == Deadline::NEVER && self.cancel.is_none()
    }

    /// Whether the time has run out or the wait was cancelled.
    pub fn is_over(self) -> bool {
        self.is_cancelled() || self.deadline.has_passed()
    }

    /// The same, ending at `deadline` if that is sooner.
    pub(crate) fn or_sooner(self, deadline: Deadline) -> Self {
        Self { deadline: self.deadline.or_sooner(deadline), ..self }
    }

    pub(crate) fn is_cancelled(self) -> bool {
        self.cancel.is_some_and(Cancel::is_cancelled)
    }

    /// The word to watch beside the one that is waited for.
    pub(crate) fn watched(self) -> Option<Waiter<'c>> {
        self.cancel.map(|cancel| Waiter::new(&cancel.0, 0, Reach::Private))
    }
}

/// Of whatever a [`Deadline`] can be made of.
impl<T: Into<Deadline>> From<T> for Limit<'_> {
    #[inline]
    fn from(timeout: T) -> Self {
        Self { deadline: timeout.into(), cancel: None }
    }
}

impl<'c> From<&'c Cancel> for Limit<'c> {
    #[inline]
    fn from(cancel: &'c Cancel) -> Self {
        cancel.within(Deadline::NEVER)
    }
}
