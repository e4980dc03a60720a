//! A child that has not begun its task. If it does not begin, it is killed and reaped.

use ossature_sys::deadline::Deadline;
use ossature_sys::fd::{AsFd, BorrowedFd};
use ossature_sys::process::{Child, ExitStatus};

use super::Patience;
use crate::multiprocessing::state::leaving::STUCK;

/// A child before its task begins, as a start method holds it.
pub(super) trait Pending: AsFd {
    /// Kills the child. A child that has ended already, or that now runs as another user, is left to end by itself.
    fn kill(&mut self);

    /// Waits until the exit status of the child is known; `None` when it is not known by the deadline.
    fn wait_for_end(&mut self, until: Deadline) -> Option<ExitStatus>;

    /// Leaves a killed child that has not ended yet to a later reap.
    fn leave(self);
}

impl Pending for Child {
    fn kill(&mut self) {
        let _ = Self::kill(self); // never fails for a child of this user; another's ends when its socket does
    }

    fn wait_for_end(&mut self, until: Deadline) -> Option<ExitStatus> {
        self.wait_timeout(until).ok().flatten()
    }

    fn leave(self) {
        STUCK.add(self);
    }
}

/// A child that is killed when this value is dropped.
pub(super) struct PendingChild<C: Pending> {
    child: Option<C>,
    patience: Patience,
}

impl<C: Pending> PendingChild<C> {
    pub(super) fn new(child: C, patience: Patience) -> Self {
        Self { child: Some(child), patience }
    }

    /// Returns the child, which has begun its task.
    pub(super) fn into_started(mut self) -> C {
        match self.child.take() {
            Some(child) => child,
            None => unreachable!("the child is taken only once, by value"),
        }
    }

    /// Returns how a child ended that sent its last message, or closed its socket. Kills the child if it does not end
    /// in time.
    pub(super) fn end(mut self) -> Option<ExitStatus> {
        let until = self.patience.last();
        let end = self.child.as_mut()?.wait_for_end(until);
        match end {
            Some(_) => self.child = None,
            None => return self.kill(),
        }
        end
    }

    /// Kills a child that did not reply; returns how it ended.
    pub(super) fn killed(mut self) -> Option<ExitStatus> {
        self.kill()
    }

    fn kill(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        child.kill();
        let end = child.wait_for_end(self.patience.last());
        if end.is_none() {
            child.leave();
        }
        end
    }
}

impl<C: Pending> AsFd for PendingChild<C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.as_ref().map_or_else(|| unreachable!("taken by value"), C::as_fd)
    }
}

impl<C: Pending> Drop for PendingChild<C> {
    fn drop(&mut self) {
        self.kill();
    }
}
