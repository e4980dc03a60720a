//! How a child begins: a file or a folder for each start method.
//!
//! A start method gets the child's configuration and its work. It then returns what the parent has of the child: a
//! handle and a pipe. The parent waits for the child and signals it by the handle. The child reports a panic through
//! the pipe. If a start method fails, nothing is left of the child.
//!
//! | stage | of the parent | of the child |
//! | --- | --- | --- |
//! | `launch` | forks, or executes the program, or asks the fork server | |
//! | `send_request` | sends configuration, task and arguments (`wire`) | `run_task_if_child`: receives them |
//! | `await_reply` | waits for the child's reply | replies that it begins, or why not |
//! | `run_task` | has a handle | runs the task (`child`) |

mod child;
pub(crate) mod fork;
pub(crate) mod forkserver;
mod image;
mod leaving;
mod patience;
mod pending;
mod private;
mod rights;
mod shortage;
pub(crate) mod spawn;
pub(crate) mod thread;
mod wire;

use std::sync::Arc;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::eventfd::Until;
use ossature_sys::fd::{AsFd, BorrowedFd, OwnedFd};
use ossature_sys::process::{Child, ExitStatus, Pid, Signal, id, pidfd_open, pidfd_send_signal, pidfd_wait};

use self::leaving::Leaving;
use crate::multiprocessing::process::PanicReport;

pub(crate) use child::run_task_if_child;
pub(crate) use patience::Patience;

/// What the parent has after a start.
pub(crate) struct Started {
    pub(crate) handle: ChildHandle,
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

/// What the parent has of a child. All public handles share it, and any number of threads may wait for the child at
/// once: only the kernel changes what is in here.
pub(crate) enum ChildHandle {
    /// A child of this process.
    Child { pid: Pid, pidfd: OwnedFd },
    /// A child of the fork server.
    ServerChild(forkserver::ServerChild),
    /// A thread of this process.
    Thread(Arc<thread::ThreadChild>),
}

impl From<Child> for ChildHandle {
    fn from(child: Child) -> Self {
        Self::Child { pid: child.pid(), pidfd: child.into() }
    }
}

impl ChildHandle {
    /// `None` for a thread.
    pub(crate) fn pid(&self) -> Option<Pid> {
        match self {
            Self::Child { pid, .. } => Some(*pid),
            Self::ServerChild(child) => Some(child.pid()),
            Self::Thread(_) => None,
        }
    }

    /// How it ended, or `None` while it goes on or that is not known yet. Reaps and never waits; called again it may
    /// know less, so the first answer is to be kept. One thread at a time.
    pub(crate) fn reap(&self) -> Result<Option<ExitStatus>> {
        match self {
            Self::Child { pidfd, .. } => pidfd_wait(pidfd, Deadline::NOW),
            Self::ServerChild(child) => child.reap(),
            Self::Thread(thread) => Ok(thread.exit_status()),
        }
    }

    /// Waits until the ended work is gone, if its end and its disappearance differ. False if the caller is that very
    /// thread. The caller must hold no lock.
    pub(crate) fn join_thread(&self) -> bool {
        match self {
            Self::Child { .. } | Self::ServerChild(_) => true,
            Self::Thread(thread) => thread.join(),
        }
    }

    /// Waits until there may be something to reap; false when the wait ended before.
    pub(crate) fn wait_for_change(&self, until: Until<'_>) -> Result<bool> {
        match self {
            Self::ServerChild(child) => child.wait_for_change(until),
            _ => until.is_readable(self),
        }
    }

    /// The panic that ended it, where that does not come through the pipe.
    pub(crate) fn panic(&self) -> Option<PanicReport> {
        match self {
            Self::Child { .. } | Self::ServerChild(_) => None,
            Self::Thread(thread) => thread.panic(),
        }
    }

    /// Sends a signal to it and to nobody else; one that has ended already is not an error.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        match self {
            Self::Child { pidfd, .. } => match pidfd_send_signal(pidfd, signal) {
                Err(Errno::SRCH) => Ok(()),
                sent => sent,
            },
            Self::ServerChild(child) => child.signal(signal),
            // A signal is for a whole process.
            Self::Thread(_) => Err(Errno::OPNOTSUPP),
        }
    }
}

/// Readable from its end on.
impl AsFd for ChildHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Child { pidfd, .. } => pidfd.as_fd(),
            Self::ServerChild(child) => child.as_fd(),
            Self::Thread(thread) => thread.as_fd(),
        }
    }
}
