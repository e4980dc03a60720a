//! The limit of a wait: a deadline, a cancellation, or both.

use super::Reach;
use super::Waiter;
use crate::atomic::{
    AtomicU32,
    Ordering::{Acquire, Release},
    const_unless_loom,
};
use crate::deadline::Deadline;

/// Ends waits from outside: a flag that a waiter watches together with the word that it waits for.
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
        /// An object that is not cancelled yet.
        pub const fn new() -> Self {
            Self(AtomicU32::new(0))
        }
    }

    /// Ends every wait that watches this object, now and later.
    pub fn cancel(&self) {
        self.0.store(CANCELLED, Release);
        // There is no error to report: the word is mapped.
        let _ = super::wake(&self.0, u32::MAX, Reach::Private);
    }

    /// Whether the object was cancelled and not reset since.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Acquire) == CANCELLED
    }

    /// Permits waits again. A waiter that was woken by the cancellation, but has not seen the flag yet, may continue to
    /// wait.
    pub fn reset(&self) {
        self.0.store(0, Release);
    }

    /// A limit that ends a wait when this object is cancelled, or after the timeout.
    pub fn within(&self, timeout: impl Into<Deadline>) -> Limit<'_> {
        Limit { deadline: timeout.into(), cancel: Some(self) }
    }
}

/// The limit of a wait: a [`Deadline`], a [`Cancel`], or the sooner of both.
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
    /// No limit: only success ends the wait.
    pub const NEVER: Self = Self { deadline: Deadline::NEVER, cancel: None };
    /// The limit of a call that tests once.
    pub const NOW: Self = Self { deadline: Deadline::NOW, cancel: None };

    /// The deadline of the limit.
    #[inline]
    pub fn deadline(self) -> Deadline {
        self.deadline
    }

    /// Whether a wait with this limit ends at once.
    #[inline]
    pub fn is_now(self) -> bool {
        self.deadline == Deadline::NOW
    }

    /// Whether only success ends a wait with this limit.
    #[inline]
    pub fn is_never(self) -> bool {
        self.deadline == Deadline::NEVER && self.cancel.is_none()
    }

    /// Whether the time has run out or the wait was cancelled.
    pub fn is_over(self) -> bool {
        self.is_cancelled() || self.deadline.has_passed()
    }

    /// The same limit, ending at `deadline` if that is sooner.
    pub(crate) fn or_sooner(self, deadline: Deadline) -> Self {
        Self { deadline: self.deadline.or_sooner(deadline), ..self }
    }

    pub(crate) fn is_cancelled(self) -> bool {
        self.cancel.is_some_and(Cancel::is_cancelled)
    }

    /// The word of the [`Cancel`], to be watched beside the word of the wait.
    pub(crate) fn watched(self) -> Option<Waiter<'c>> {
        self.cancel.map(|cancel| Waiter::new(&cancel.0, 0, Reach::Private))
    }
}

/// Makes a limit of anything that converts into a [`Deadline`].
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
