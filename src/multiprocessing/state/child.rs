//! What a start method leaves the parent of the child.

use std::sync::Arc;

use ossature_sys::errno::Result;
use ossature_sys::eventfd::Until;
use ossature_sys::fd::{AsFd, OwnedFd};
use ossature_sys::process::{ExitStatus, Pid, Signal};

use super::PanicReport;

/// What the parent has after a start.
pub(crate) struct Started {
    pub(crate) handle: Arc<dyn ChildHandle>,
    /// The end to read from of the pipe that the child was given for the report of a panic; it must not block. A
    /// thread has none.
    pub(crate) report: Option<OwnedFd>,
}

/// What the parent has of a child; readable from the end of the child on. All public handles share it, and any number
/// of threads may wait for the child at once: only the kernel changes what is in here.
pub(crate) trait ChildHandle: AsFd + Send + Sync {
    /// `None` for a thread.
    fn pid(&self) -> Option<Pid>;

    /// How it ended, or `None` while it goes on or that is not known yet. Reaps and never waits; called again it may
    /// know less, so the first answer is to be kept. One thread at a time.
    fn reap(&self) -> Result<Option<ExitStatus>>;

    /// Sends a signal to it and to nobody else; one that has ended already is not an error.
    fn signal(&self, signal: Signal) -> Result<()>;

    /// Waits until there may be something to reap; false when the wait ended before.
    fn wait_for_change(&self, until: Until<'_>) -> Result<bool> {
        until.is_readable(&self)
    }

    /// Whether the end may be seen some time before its status is known.
    fn ends_before_its_status(&self) -> bool {
        false
    }

    /// Waits until the ended work is gone, if its end and its disappearance differ. False if the caller is that very
    /// thread. The caller must hold no lock.
    fn join_thread(&self) -> bool {
        true
    }

    /// Whether the calling thread is that very thread.
    fn is_this_thread(&self) -> bool {
        false
    }

    /// The panic that ended it, where that does not come through the pipe.
    fn panic(&self) -> Option<PanicReport> {
        None
    }
}
