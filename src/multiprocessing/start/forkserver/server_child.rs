//! A child of the fork server, as the process that requested it sees it.

use std::sync::OnceLock;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::eventfd::Until;
use ossature_sys::fd::{AsFd, BorrowedFd, OwnedFd};
use ossature_sys::poll::{PollFd, PollFlags};
use ossature_sys::process::{ExitStatus, Pid, Signal, pidfd_send_signal, pidfd_wait};
use ossature_sys::socket::Socket;

use super::message::{Reply, recv_reply};
use crate::multiprocessing::connection::poll_until;
use crate::multiprocessing::start::pending::Pending;
use crate::multiprocessing::state::ChildHandle;

/// A child process of the fork server, which sends its exit status to this process.
///
/// This process sees the child's end and signals the child through its pidfd, which needs no server. Only the server
/// receives the exit status, and sends it over the status socket, however late: a server may be slow or stopped. If the
/// server has ended, the kernel reports the status (since Linux 6.15); an older kernel does not.
#[derive(Debug)]
pub(super) struct ServerChild {
    pid: Pid,
    pidfd: OwnedFd,
    status: Socket,
    /// Set when both the server and the child have ended: the deadline for reading the exit status from the kernel.
    orphaned: OnceLock<Deadline>,
}

/// How long the new parent of a child may take to reap it. The kernel knows the exit status only after that.
const PATIENCE: Duration = Duration::from_millis(50);
/// The pause between two reads.
const PAUSE: Duration = Duration::from_millis(1);

impl ServerChild {
    pub(super) fn new(pid: Pid, pidfd: OwnedFd, status: Socket) -> Self {
        Self { pid, pidfd, status, orphaned: OnceLock::new() }
    }

    /// Waits until the exit status of the child is known.
    fn wait(&self, deadline: Deadline) -> Result<Option<ExitStatus>> {
        while self.wait_for_change(deadline.into())? {
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

    /// The exit status that the kernel keeps after the new parent has reaped the child.
    fn status_from_kernel(&self) -> Result<Option<ExitStatus>> {
        match pidfd_wait(&self.pidfd, Deadline::NOW)? {
            Some(ExitStatus::Unknown) if !self.orphaned.get_or_init(|| Deadline::after(PATIENCE)).has_passed() => {
                Ok(None)
            }
            known => Ok(known),
        }
    }
}

impl ChildHandle for ServerChild {
    fn pid(&self) -> Option<Pid> {
        Some(self.pid)
    }

    /// How the child ended, or `None` while that is unknown, which may last until shortly after its end. Never waits.
    /// The caller keeps the result, which is returned only once.
    fn reap(&self) -> Result<Option<ExitStatus>> {
        match recv_reply(&self.status, Deadline::NOW)? {
            Some(Reply::Ended(exit)) => Ok(Some(exit)),
            Some(_) => self.status_from_kernel(),
            None => Ok(None),
        }
    }

    /// Sends a signal to the child and to no other process.
    ///
    /// # Errors
    /// `EPERM` when the child belongs to another user by now. A child that has ended already is not an error.
    fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Err(Errno::SRCH) => Ok(()),
            sent => sent,
        }
    }

    /// Waits until there may be something to reap; returns false when the wait ended before.
    fn wait_for_change(&self, until: Until<'_>) -> Result<bool> {
        let mut list = [PollFd::new(&self.status, PollFlags::IN)];
        poll_until(&mut list, until)?;
        let [status] = list;
        if !status.revents().contains(PollFlags::HUP) {
            return Ok(!status.revents().is_empty());
        }
        // The server has sent everything, or has ended, and the child continues.
        if self.status.peek(&mut [0; 8], Deadline::NOW) != Ok(Some(0)) {
            return Ok(true);
        }
        until.is_readable(&self.pidfd)
    }

    fn ends_before_its_status(&self) -> bool {
        true
    }
}

impl Pending for ServerChild {
    fn kill(&mut self) {
        let _ = self.signal(Signal::KILL); // the server reaps it
    }

    fn wait_for_end(&mut self, until: Deadline) -> Option<ExitStatus> {
        self.wait(until).ok().flatten()
    }

    fn leave(self) {}
}

/// The descriptor is readable from the child's end on.
impl AsFd for ServerChild {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
