//! A child that this process forked or executed itself, and holds a pidfd of.

use std::sync::Arc;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::fd::{AsFd, BorrowedFd, OwnedFd};
use ossature_sys::process::{Child, ExitStatus, Pid, Signal, pidfd_send_signal, pidfd_wait};

use crate::multiprocessing::state::ChildHandle;

pub(super) struct OwnChild {
    pid: Pid,
    pidfd: OwnedFd,
}

impl OwnChild {
    pub(super) fn handle(child: Child) -> Arc<dyn ChildHandle> {
        Arc::new(Self { pid: child.pid(), pidfd: child.into() })
    }
}

impl ChildHandle for OwnChild {
    fn pid(&self) -> Option<Pid> {
        Some(self.pid)
    }

    fn reap(&self) -> Result<Option<ExitStatus>> {
        pidfd_wait(&self.pidfd, Deadline::NOW)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Err(Errno::SRCH) => Ok(()),
            sent => sent,
        }
    }
}

impl AsFd for OwnChild {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
