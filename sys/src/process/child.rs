//! A child process: its number, its descriptor, and its exit status, which is collected once.

use core::fmt;
use core::mem::ManuallyDrop;

use super::{ExitStatus, Pid, Signal, Usage, generation, pidfd};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, retry};
use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::raw::process::{RawUsage, WaitFor, Waited, waitid};

/// A child process, reaped at most once. A signal never reaches another process that got the same number.
///
/// As a descriptor it is the child's pidfd, Python's *sentinel*. The descriptor is readable once the child has ended,
/// so it can be used in a poll, an epoll or a select.
///
/// Dropping it never waits. A child that has ended is reaped. A child that still runs continues, and is a zombie from
/// its end until this process ends; to prevent that, wait for the child. In a forked child that inherited this,
/// dropping only closes that process's copy of the descriptor.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::process::{Argument, Plan, Signal};
///
/// let arguments = [Argument::new(c"sleep"), Argument::new(c"60"), Argument::END];
/// let mut child = Plan::new(c"/bin/sleep", &arguments)?.start()?;
/// assert_eq!(child.try_wait()?, None, "it still runs");
/// assert_eq!(child.wait_timeout(Duration::from_millis(1))?, None);
///
/// child.signal(Signal::CONT)?;
/// child.terminate()?; // a request, which the program may ignore
/// child.kill()?; // an end, which it may not
/// let end = child.wait()?;
/// assert!(end.signal().is_some());
/// assert_eq!(child.exit_status(), Some(end), "kept, without a system call");
/// assert!(child.usage().is_some());
/// println!("process {} ended by {end}", child.pid());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "sentinel")]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    generation: u32,
    end: Option<ExitStatus>,
    usage: Option<Usage>,
}

impl Child {
    pub(super) fn new(pid: Pid, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd, generation: generation(), end: None, usage: None }
    }

    /// The number of the child. After the child was waited for, another process may get the number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// `waitid(P_PIDFD, ...)`: waits until the child has ended, reaps it and returns its exit status; later calls
    /// return the same status.
    ///
    /// When the child was reaped elsewhere, the kernel supplies the status (Linux 6.15), otherwise it is
    /// [`ExitStatus::Unknown`]. A forked child that inherited this may wait too: it sees the end without reaping.
    ///
    /// # Errors
    /// None in a process that is not being tampered with.
    #[doc(alias = "waitpid")]
    #[doc(alias = "join")]
    pub fn wait(&mut self) -> Result<ExitStatus> {
        // Without a deadline there is always an end.
        self.wait_timeout(Deadline::NEVER)?.ok_or(Errno::TIMEDOUT)
    }

    /// [`wait`](Self::wait) with a deadline; `None` when the time ran out.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: impl Into<Deadline>) -> Result<Option<ExitStatus>> {
        if self.end.is_some() {
            return Ok(self.end);
        }
        let Some(end) = pidfd::wait(self.pidfd.as_fd(), timeout.into())? else { return Ok(None) };
        // A process that only saw the end may get the status later, when the parent has reaped: do not settle for
        // "unknown".
        if end.exit != ExitStatus::Unknown || self.is_ours() {
            self.end = Some(end.exit);
            self.usage = end.usage;
        }
        Ok(Some(end.exit))
    }

    /// [`wait`](Self::wait) without waiting: `None` while the child runs.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    #[doc(alias = "poll")]
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.wait_timeout(Deadline::NOW)
    }

    /// The child's exit status, if the child was waited for already. Makes no system call.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.end
    }

    /// The child's resource usage, if this process reaped the child.
    #[doc(alias = "wait4")]
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// `pidfd_send_signal(...)`: sends a signal to the child.
    ///
    /// # Errors
    /// `ESRCH` when it was reaped, `EPERM` when it changed to another user.
    #[doc(alias = "send_signal")]
    pub fn signal(&self, signal: Signal) -> Result<()> {
        pidfd::pidfd_send_signal(&self.pidfd, signal)
    }

    /// Kills the child with `SIGKILL`. A child that has already ended is not an error.
    ///
    /// # Errors
    /// `EPERM` when it changed to another user.
    #[doc(alias = "SIGKILL")]
    pub fn kill(&self) -> Result<()> {
        match self.signal(Signal::KILL) {
            Err(Errno::SRCH) => Ok(()),
            sent => sent,
        }
    }

    /// Requests the end of the child, with `SIGTERM`. A child that has already ended is not an error.
    ///
    /// # Errors
    /// `EPERM` when it changed to another user.
    #[doc(alias = "SIGTERM")]
    pub fn terminate(&self) -> Result<()> {
        match self.signal(Signal::TERM) {
            Err(Errno::SRCH) => Ok(()),
            sent => sent,
        }
    }

    /// Whether this process started the child, and is not a forked copy of the process that did.
    fn is_ours(&self) -> bool {
        self.generation == generation()
    }

    /// Records the end of the child for a tracer, which receives it by a wait of its own.
    pub(crate) fn ended(&mut self, waited: Waited, usage: &RawUsage) -> ExitStatus {
        let exit = ExitStatus::from_waited(waited);
        self.end = Some(exit);
        self.usage = Some(Usage::from_raw(usage));
        exit
    }
}

/// `waitid(P_ALL, ..., WEXITED | WNOHANG)`: reaps any child of this process that has ended, and returns its number and
/// exit status; `None` if no child has ended.
///
/// For a process that has only orphans as children: the first process of a pid namespace, or a
/// [subreaper](super::become_subreaper). The call also reaps a child with a handle; that handle then reports
/// [`ExitStatus::Unknown`].
///
/// # Errors
/// None that the system documents for this request.
///
/// # Examples
/// ```standalone_crate
/// use core::time::Duration;
/// use ossature_sys::poll::{PollFd, PollFlags, poll};
/// use ossature_sys::process::{ExitStatus, fork, reap_any};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert_eq!(reap_any()?, None);
/// let child = fork(|| 3)?;
/// poll(&mut [PollFd::new(&child, PollFlags::IN)], Duration::from_secs(10))?;
/// assert_eq!(reap_any()?, Some((child.pid(), ExitStatus::Code(3))));
/// # Ok(()) }
/// ```
#[doc(alias = "waitid")]
pub fn reap_any() -> Result<Option<(Pid, ExitStatus)>> {
    match retry(|| waitid(WaitFor::Any, libc::WEXITED | libc::WNOHANG, &mut RawUsage::default())) {
        Ok(waited) => Ok(waited.and_then(|waited| Some((Pid::from_raw(waited.pid)?, ExitStatus::from_waited(waited))))),
        Err(Errno::CHILD) => Ok(None),
        Err(errno) => Err(errno),
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

crate::fd::as_raw_fd!(Child);

/// The pidfd alone. Its owner reaps the child by [`pidfd_wait`](super::pidfd_wait), from any number of threads.
impl From<Child> for OwnedFd {
    fn from(child: Child) -> Self {
        let child = ManuallyDrop::new(child);
        // SAFETY: the field is valid for reads, and as `child` is never dropped or used again this is its only owner;
        // the other fields have nothing to free.
        unsafe { core::ptr::read(&child.pidfd) }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("pid", &self.pid).field("pidfd", &self.pidfd).field("end", &self.end).finish()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.end.is_none() && self.is_ours() {
            // An error cannot be reported here; the child is left alone then.
            let _ = self.try_wait();
        }
    }
}
