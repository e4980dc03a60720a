//! A child of the fork server, for the process that asked for it.

use std::sync::OnceLock;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::eventfd::Until;
use ossature_sys::fd::{AsFd, BorrowedFd, OwnedFd};
use ossature_sys::poll::{PollFd, PollFlags};
use ossature_sys::process::{ExitStatus, Pid, Signal, pidfd_send_signal, pidfd_wait};
use ossature_sys::socket::Socket;

use super::message::{Word, hear};
use crate::multiprocessing::connection::poll_until;

/// A process whose parent is the fork server, and which is told of by it.
///
/// Its end and the signals to it go by its pidfd, which needs no server. How it ended only the server learns, and says
/// on the status socket, however late: a server may be slow or stopped. Only if it is gone the kernel is asked (Linux
/// 6.15), and otherwise nobody knows.
#[derive(Debug)]
pub(crate) struct Ward {
    pid: Pid,
    pidfd: OwnedFd,
    status: Socket,
    /// Set when the server is gone and so is the child: until when the kernel is asked how.
    orphaned: OnceLock<Deadline>,
}

/// How long whoever took over from the server may take to reap a child that has ended, which the kernel needs to tell
/// how.
const PATIENCE: Duration = Duration::from_millis(50);
/// How often to look again meanwhile.
const PAUSE: Duration = Duration::from_millis(1);

impl Ward {
    pub(super) fn new(pid: Pid, pidfd: OwnedFd, status: Socket) -> Self {
        Self { pid, pidfd, status, orphaned: OnceLock::new() }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, or `None` while that is not known yet, which may be a little longer than it lives. Never waits.
    /// The answer is to be kept: it is said once.
    pub(crate) fn reap(&self) -> Result<Option<ExitStatus>> {
        match hear(&self.status, Deadline::NOW)? {
            Some(Word::Ended(exit)) => Ok(Some(exit)),
            Some(_) => self.witness(),
            None => Ok(None),
        }
    }

    /// Waits until there may be something to reap; false when the wait ended before.
    pub(crate) fn wait_for_news(&self, until: Until<'_>) -> Result<bool> {
        let mut list = [PollFd::new(&self.status, PollFlags::IN)];
        poll_until(&mut list, until)?;
        let [status] = list;
        if !status.revents().contains(PollFlags::HUP) {
            return Ok(!status.revents().is_empty());
        }
        // The server has said everything, or is gone and the child goes on.
        if self.status.peek(&mut [0; 8], Deadline::NOW) != Ok(Some(0)) {
            return Ok(true);
        }
        until.is_readable(&self.pidfd)
    }

    /// Waits until it is known how it ended.
    pub(super) fn wait(&self, deadline: Deadline) -> Result<Option<ExitStatus>> {
        while self.wait_for_news(deadline.into())? {
            if let Some(exit) = self.reap()? {
                return Ok(Some(exit));
            }
            if deadline.has_passed() {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(None)
    }

    /// What the kernel remembers, once whoever took over from the server has reaped the child.
    fn witness(&self) -> Result<Option<ExitStatus>> {
        match pidfd_wait(&self.pidfd, Deadline::NOW)? {
            Some(ExitStatus::Unknown) if !self.orphaned.get_or_init(|| Deadline::after(PATIENCE)).has_passed() => {
                Ok(None)
            }
            known => Ok(known),
        }
    }

    /// Sends a signal to it and to nobody else.
    ///
    /// # Errors
    /// `EPERM` when it became another user's. One that has ended already is not an error.
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
