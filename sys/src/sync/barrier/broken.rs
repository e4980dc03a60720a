//! The reason why a wait at a barrier ended early.

use core::fmt;

use crate::sync::barrier::word::{DIED, FAILED, PANICKED, PHASE, REASON, RESETTING, TIMED_OUT};
use crate::sync::scope::Refused;

/// The reason why a wait at a barrier ended before all parties arrived.
///
/// # Examples
/// ```
/// use ossature_sys::sync::barrier::{Barrier, Broken};
///
/// let barrier = Barrier::new(2);
/// barrier.abort();
/// match barrier.wait() {
///     Ok(number) => println!("party {number} goes on"),
///     Err(Broken::Reset) => println!("once more"),
///     Err(broken) => assert_eq!(broken.to_string(), "the barrier is broken: it was aborted"),
/// }
/// ```
#[doc(alias = "BrokenBarrierError")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Broken {
    /// A wait ran out of time or was cancelled: this one, or that of another party.
    TimedOut,
    /// A thread called [`abort`](super::Barrier::abort).
    Aborted,
    /// A thread called [`reset`](super::Barrier::reset) during this wait. Later waits may succeed.
    Reset,
    /// A party died.
    Died,
    /// An action panicked.
    Panicked,
    /// An action returned an error. The party that ran it has the error itself, as
    /// [`WaitError::Action`](super::WaitError::Action).
    Failed,
    /// The wait could never complete: in scope `Local` there is one party, and a thread that already waits (in its
    /// action) cannot be another. The barrier is unchanged.
    WouldDeadlock,
    /// This thread cannot take part. The barrier is unchanged.
    Refused(Refused),
}

impl Broken {
    /// The reason for a wait that finds the barrier broken or resetting.
    pub(super) fn because(state: u64) -> Self {
        match state & REASON {
            _ if state & PHASE == RESETTING => Self::Reset,
            TIMED_OUT => Self::TimedOut,
            DIED => Self::Died,
            PANICKED => Self::Panicked,
            FAILED => Self::Failed,
            _ => Self::Aborted,
        }
    }
}

impl From<Refused> for Broken {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::WouldDeadlock => Self::WouldDeadlock,
            other => Self::Refused(other),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the barrier is broken: a party's time ran out, or its wait was cancelled",
            Self::Aborted => "the barrier is broken: it was aborted",
            Self::Reset => "the barrier was reset during the wait",
            Self::Died => "the barrier is broken: a party died",
            Self::Panicked => "the barrier is broken: its action panicked",
            Self::Failed => "the barrier is broken: its action returned an error",
            Self::WouldDeadlock => "the barrier cannot be completed: no other party can come while this thread waits",
            Self::Refused(refused) => return write!(f, "the thread cannot wait at the barrier: {refused}"),
        })
    }
}

impl core::error::Error for Broken {}
