//! A child of the fork server, for the process that asked for it.

use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::fd::{AsFd, BorrowedFd, OwnedFd};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{Exit, Pid, Signal, pidfd_send_signal, pidfd_wait};
use ossature_sys::socket::Socket;

use super::message::{Word, hear};

/// A process whose parent is the fork server, and which is told of by it.
///
/// Its end and the signals to it go by its pidfd, which needs no server. How it ended only the server learns, and says on the
/// status socket; if the server is gone by then, the kernel is asked (Linux 6.15), and otherwise nobody knows.
#[derive(Debug)]
pub(crate) struct Ward {
    pid: Pid,
    pidfd: OwnedFd,
    status: Socket,
}

/// How long the server may take to say how a child ended that has ended.
const PATIENCE: Duration = Duration::from_secs(2);

impl Ward {
    pub(super) fn new(pid: Pid, pidfd: OwnedFd, status: Socket) -> Self {
        Self { pid, pidfd, status }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, or `None` while it goes on. The answer is to be kept: it is said once.
    pub(crate) fn reap(&self) -> Result<Option<Exit>> {
        self.wait(Deadline::NOW)
    }

    /// Waits until it has ended, and then for the word of how, which is on its way.
    pub(super) fn wait(&self, deadline: Deadline) -> Result<Option<Exit>> {
        if poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], deadline)? == 0 {
            return Ok(None);
        }
        match hear(&self.status, Deadline::after(PATIENCE))? {
            Some(Word::Ended(exit)) => Ok(Some(exit)),
            _ => self.witness(),
        }
    }

    /// What the kernel remembers, once whoever took over from the server has reaped the child.
    fn witness(&self) -> Result<Option<Exit>> {
        for _ in 0..20 {
            match pidfd_wait(&self.pidfd, Deadline::NOW)? {
                Some(Exit::Unknown) => std::thread::sleep(Duration::from_millis(1)),
                known => return Ok(known),
            }
        }
        Ok(Some(Exit::Unknown))
    }

    /// Sends a signal to it and to nobody else.
    ///
    /// # Errors
    /// `EPERM` when it became another user's. One that has ended already is no error.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Err(Errno::SRCH) => Ok(()),
            sent => sent,
        }
    }
}

/// Readable from its end on.
impl AsFd for Ward {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
