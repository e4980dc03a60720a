//! Why a wait at a barrier ended without the others.

use core::fmt;

use crate::sync::barrier::word::{DIED, FAILED, PANICKED, PHASE, REASON, RESETTING, TIMED_OUT};
use crate::sync::scope::Refused;

/// Why a wait at a barrier ended without the others.
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
    /// A wait ran out of time or was cancelled: this one, or another's.
    TimedOut,
    /// Somebody called [`abort`](super::Barrier::abort).
    Aborted,
    /// Somebody called [`reset`](super::Barrier::reset) during this wait. Later ones may go well.
    Reset,
    /// A party died.
    Died,
    /// An action panicked.
    Panicked,
    /// An action answered an error. The party that ran it has the error itself, as
    /// [`WaitError::Action`](super::WaitError::Action).
    Failed,
    /// Nobody could ever complete this wait: in scope `Local` there is one party, and a thread that is inside already
    /// (in its action) cannot be another. The barrier is as it was.
    WouldDeadlock,
    /// This thread cannot take part. The barrier is as it was.
    Refused(Refused),
}

impl Broken {
    /// Why a wait that finds the barrier broken or resetting ends.
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
            Self::Failed => "the barrier is broken: its action answered an error",
            Self::WouldDeadlock => "the other parties of the barrier could never come while this thread waits",
            Self::Refused(refused) => return write!(f, "the thread cannot wait at the barrier: {refused}"),
        })
    }
}

impl core::error::Error for Broken {}
