//! How a child begins: one file for each way. Nothing else knows.
//!
//! A start method gets the child's passport and its work, and answers with what the parent has of the child then: its
//! life, to wait for and to signal, and the pipe through which the child reports a panic. If it fails, nothing is left
//! of it.

pub(crate) mod fork;
pub(crate) mod forkserver;
mod leaving;
mod patience;
mod private;
mod rights;
mod shortage;
pub(crate) mod spawn;
pub(crate) mod thread;

use std::sync::Arc;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::eventfd::Until;
use ossature_sys::fd::{AsFd, BorrowedFd, OwnedFd};
use ossature_sys::process::{Child, ExitStatus, Pid, Signal, id, pidfd_open, pidfd_send_signal, pidfd_wait};

use self::leaving::Leaving;
use crate::multiprocessing::process::PanicReport;

pub(crate) use patience::Patience;

/// What the parent has after a start.
pub(crate) struct Started {
    pub(crate) life: Life,
    /// The end to read from of the pipe that was given to `bootstrap::run`; it must not block. A thread has none.
    pub(crate) report: Option<OwnedFd>,
}

/// This process's descriptor, for a child that is to know its parent by it.
fn own_pidfd() -> crate::error::Result<OwnedFd> {
    pidfd_open(id()).map_err(shortage::of("cannot start a process: opening a pidfd for this process failed"))
}

/// Children that were killed before their task began, and whose end the kernel delays. They sleep uninterruptibly, or a
/// tracer holds them.
static STUCK: Leaving = Leaving::new();

/// Reaps the ended children for which there is no handle.
pub(in crate::multiprocessing) fn reap() {
    STUCK.reap();
    forkserver::reap();
}

/// Closes, in a forked child, the descriptors of its parent's children for which there is no handle.
pub(in crate::multiprocessing) fn let_go_in_child() {
    STUCK.let_go_in_child();
    forkserver::let_go_in_child();
}

/// The life of a child, for the parent. Shared by all handles, and waited for by as many threads as like to: nothing
/// here changes but by the kernel.
pub(crate) enum Life {
    /// A child of this process.
    Child { pid: Pid, pidfd: OwnedFd },
    /// A child of the fork server.
    Ward(forkserver::Ward),
    /// A thread of this process.
    Thread(Arc<thread::Life>),
}

impl From<Child> for Life {
    fn from(child: Child) -> Self {
        Self::Child { pid: child.pid(), pidfd: child.into() }
    }
}

impl Life {
    /// `None` for a thread.
    pub(crate) fn pid(&self) -> Option<Pid> {
        match self {
            Self::Child { pid, .. } => Some(*pid),
            Self::Ward(ward) => Some(ward.pid()),
            Self::Thread(_) => None,
        }
    }

    /// How it ended, or `None` while it goes on or that is not known yet. Reaps and never waits; called again it may
    /// know less, so the first answer is to be kept. One thread at a time.
    pub(crate) fn reap(&self) -> Result<Option<ExitStatus>> {
        match self {
            Self::Child { pidfd, .. } => pidfd_wait(pidfd, Deadline::NOW),
            Self::Ward(ward) => ward.reap(),
            Self::Thread(life) => Ok(life.exit_status()),
        }
    }

    /// Waits until the ended work is gone, if its end and its disappearance differ. False if the caller is that very
    /// thread. The caller must hold no lock.
    pub(crate) fn part(&self) -> bool {
        match self {
            Self::Child { .. } | Self::Ward(_) => true,
            Self::Thread(life) => life.part(),
        }
    }

    /// Waits until there may be something to reap; false when the wait ended before.
    pub(crate) fn wait_for_news(&self, until: Until<'_>) -> Result<bool> {
        match self {
            Self::Ward(ward) => ward.wait_for_news(until),
            _ => until.is_readable(self),
        }
    }

    /// The panic that ended it, where that does not come through the pipe.
    pub(crate) fn panic(&self) -> Option<PanicReport> {
        match self {
            Self::Child { .. } | Self::Ward(_) => None,
            Self::Thread(life) => life.panic(),
        }
    }

    /// Sends a signal to it and to nobody else; one that has ended already is not an error.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        match self {
            Self::Child { pidfd, .. } => match pidfd_send_signal(pidfd, signal) {
                Err(Errno::SRCH) => Ok(()),
                sent => sent,
            },
            Self::Ward(ward) => ward.signal(signal),
            // A signal is for a whole process.
            Self::Thread(_) => Err(Errno::OPNOTSUPP),
        }
    }
}

/// Readable from its end on.
impl AsFd for Life {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Child { pidfd, .. } => pidfd.as_fd(),
            Self::Ward(ward) => ward.as_fd(),
            Self::Thread(life) => life.as_fd(),
        }
    }
}
