//! The handle of the child that a start method returns to the parent.

use std::sync::Arc;

use ossature_sys::errno::Result;
use ossature_sys::eventfd::Until;
use ossature_sys::fd::{AsFd, OwnedFd};
use ossature_sys::process::{ExitStatus, Pid, Signal};

use super::PanicReport;

/// The result of a start, for the parent.
pub(crate) struct Started {
    pub(crate) handle: Arc<dyn ChildHandle>,
    /// The read end of the pipe for the child's panic report; it must not block. A thread has none.
    pub(crate) report: Option<OwnedFd>,
}

/// The parent's handle of a child; readable from the end of the child on. All public handles share it. Any number of
/// threads may wait for the child at once, because only the kernel changes the state here.
pub(crate) trait ChildHandle: AsFd + Send + Sync {
    /// The process ID; `None` for a thread.
    fn pid(&self) -> Option<Pid>;

    /// How the child ended, or `None` while it runs or its status is unknown. Reaps and never waits. A second call may
    /// return less, so the caller keeps the first result. One thread at a time.
    fn reap(&self) -> Result<Option<ExitStatus>>;

    /// Sends a signal to the child and to no other process; a child that has ended already is not an error.
    fn signal(&self, signal: Signal) -> Result<()>;

    /// Waits until there may be something to reap; returns false when the wait ended before.
    fn wait_for_change(&self, until: Until<'_>) -> Result<bool> {
        until.is_readable(&self)
    }

    /// Whether the end may be seen some time before its status is known.
    fn ends_before_its_status(&self) -> bool {
        false
    }

    /// Waits until the thread that ended has exited, if its end and its exit differ. Returns false if the caller is
    /// that thread. The caller must hold no lock.
    fn join_thread(&self) -> bool {
        true
    }

    /// Whether the calling thread is the child's own thread.
    fn is_this_thread(&self) -> bool {
        false
    }

    /// The panic that ended the child, unless it comes through the pipe.
    fn panic(&self) -> Option<PanicReport> {
        None
    }
}
