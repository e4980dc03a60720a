//! Processes as descriptors: a pidfd refers to one process forever, even when its number is reused.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, PidfdGetfdFlags};

use super::{ExitStatus, Pid, Signal, Usage};
use crate::deadline::{Deadline, retry_until};
use crate::errno::{Errno, Result, retry};
use crate::fd::{AsFd, BorrowedFd, OwnedFd, RawFd, above_standard};
use crate::raw;
use crate::raw::process::{RawUsage, WaitFor, pidfd_exit_status, waitid};

/// `pidfd_open(pid, 0)`: a descriptor for a process, closed on exec, readable once it has ended. Its number is 3 or
/// above.
///
/// For a process other than a child of this one `pid` is only a number. Before the call, the process may end and
/// another process may get the number. Check through another channel (its parent, its socket) after opening.
///
/// # Errors
/// `ESRCH` when there is no such process, `EMFILE` when no descriptor is left, `EINVAL` when `pid` is a thread that
/// does not lead its process.
///
/// # Examples
/// ```standalone_crate
/// use core::time::Duration;
/// use ossature_sys::process::{ExitStatus, Signal, fork, pidfd_open, pidfd_send_signal, pidfd_wait};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let child = fork(|| 5)?;
/// let pidfd = pidfd_open(child.pid())?;
/// pidfd_send_signal(&pidfd, Signal::CONT)?;
/// assert_eq!(pidfd_wait(&pidfd, Duration::from_secs(10))?, Some(ExitStatus::Code(5)));
/// # Ok(()) }
/// ```
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    above_standard(raw::call("pidfd_open", || rustix::process::pidfd_open(pid, PidfdFlags::empty()))?)
}

/// `pidfd_send_signal(pidfd, signal, NULL, 0)`: sends a signal to this exact process, never to another.
///
/// # Errors
/// `ESRCH` when it has ended and was reaped, `EPERM` when it belongs to another user.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Signal, id, pidfd_open, pidfd_send_signal};
///
/// pidfd_send_signal(pidfd_open(id())?, Signal::CONT)?; // a signal that does nothing to a running process
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn pidfd_send_signal(pidfd: impl AsFd, signal: Signal) -> Result<()> {
    raw::call("pidfd_send_signal", || rustix::process::pidfd_send_signal(pidfd.as_fd(), signal))
}

/// `pidfd_getfd(pidfd, target, 0)`: a copy of another process's descriptor `target`, closed on exec.
///
/// # Errors
/// `EBADF` when it has no such descriptor, `EPERM` when this process may not trace it, `ESRCH` when it has ended,
/// `EMFILE` when no descriptor is left here.
///
/// # Safety
/// `target` must not be a descriptor of memory to which references exist, in this process or in a process that shares
/// the memory. Such memory is a [`Shm`](crate::shm::Shm) of any process, or a mapped file to which a program lends
/// references. With the descriptor, the caller could write to referenced memory.
///
/// `target` must not be a descriptor whose owner relies on being the only owner either, as the end of a connection over
/// which a library uses its own protocol.
///
/// A check of the descriptor cannot replace this contract: shared memory has a descriptor before the memory differs
/// from another file.
///
/// ```compile_fail
/// use ossature_sys::process::{id, pidfd_getfd, pidfd_open};
/// let taken = pidfd_getfd(pidfd_open(id()).unwrap(), 3);
/// ```
///
/// # Examples
/// ```
/// use ossature_sys::{fd::{AsRawFd, write}, pipe, process::{id, pidfd_getfd, pidfd_open}};
///
/// let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
/// // SAFETY: a pipe is not memory, and no code relies on being the only owner of this pipe.
/// let copy = unsafe { pidfd_getfd(pidfd_open(id())?, writer.as_raw_fd()) }?;
/// write(&copy, b"copied")?;
/// assert_eq!(pipe::unread(&reader)?, 6);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub unsafe fn pidfd_getfd(pidfd: impl AsFd, target: RawFd) -> Result<OwnedFd> {
    raw::call("pidfd_getfd", || rustix::process::pidfd_getfd(pidfd.as_fd(), target, PidfdGetfdFlags::empty()))
}

/// Waits until the process of `pidfd` has ended, and returns its exit status. `None` when the time ran out.
///
/// This reaps a child (use [`Child::wait`](super::Child::wait) for a [`Child`](super::Child)). For any other process
/// this reports the end, and the status if the kernel reports it. The status is [`ExitStatus::Unknown`] before Linux
/// 6.15, and as long as its parent has not reaped it.
///
/// # Errors
/// `EBADF` when the descriptor is not a pidfd.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::process::{id, pidfd_open, pidfd_wait};
///
/// assert_eq!(pidfd_wait(pidfd_open(id())?, Duration::from_millis(1))?, None, "this process runs");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn pidfd_wait(pidfd: impl AsFd, timeout: impl Into<Deadline>) -> Result<Option<ExitStatus>> {
    Ok(wait(pidfd.as_fd(), timeout.into())?.map(|end| end.exit))
}

/// The result of a wait: an exit status, and the usage.
pub(super) struct Waited {
    pub(super) exit: ExitStatus,
    /// The resource usage, which only the process that reaps receives.
    pub(super) usage: Option<Usage>,
}

pub(super) fn wait(pidfd: BorrowedFd<'_>, deadline: Deadline) -> Result<Option<Waited>> {
    /// The interval between attempts while the kernel reports an ended process that cannot be reaped yet, because it
    /// has a tracer.
    const PAUSE: Duration = Duration::from_millis(1);
    let sleep = if deadline == Deadline::NEVER { 0 } else { libc::WNOHANG };
    loop {
        match reap(pidfd, sleep) {
            Ok(Some(end)) => return Ok(Some(end)),
            Ok(None) if deadline.has_passed() => return Ok(None),
            Ok(None) => {}
            Err(Errno::CHILD) => return witness(pidfd, deadline),
            Err(other) => return Err(other),
        }
        if !ended(pidfd, deadline)? {
            return Ok(None);
        }
        match reap(pidfd, libc::WNOHANG) {
            Ok(None) => pause(PAUSE),
            // A child that another thread reaped meanwhile is witnessed in the next round.
            Err(Errno::CHILD) => {}
            done => return done,
        }
    }
}

/// `waitid(P_PIDFD, pidfd, WEXITED | options)`.
fn reap(pidfd: BorrowedFd<'_>, options: i32) -> Result<Option<Waited>> {
    let mut usage = RawUsage::default();
    let waited = retry(|| waitid(WaitFor::Pidfd(pidfd), libc::WEXITED | options, &mut usage))?;
    Ok(waited.map(|waited| Waited { exit: ExitStatus::from_waited(waited), usage: Some(Usage::from_raw(&usage)) }))
}

/// The end of a process that the caller does not reap: not a child, or reaped elsewhere.
fn witness(pidfd: BorrowedFd<'_>, deadline: Deadline) -> Result<Option<Waited>> {
    if !ended(pidfd, deadline)? {
        return Ok(None);
    }
    // If the kernel returns an error (ESRCH, or ENOTTY from a kernel that keeps none), the status is unknown.
    let status = pidfd_exit_status(pidfd).ok().flatten();
    Ok(Some(Waited { exit: status.map_or(ExitStatus::Unknown, ExitStatus::from_status), usage: None }))
}

/// Waits until a pidfd is readable, which means that the process has ended.
fn ended(pidfd: BorrowedFd<'_>, deadline: Deadline) -> Result<bool> {
    retry_until(deadline, |left| {
        let mut list = [PollFd::new(&pidfd, PollFlags::IN)];
        Ok(raw::call("ppoll", || poll(&mut list, left))? > 0)
    })
}

/// Sleeps for about `span`.
pub(crate) fn pause(span: Duration) {
    let span = rustix::time::Timespec { tv_sec: span.as_secs() as i64, tv_nsec: span.subsec_nanos() as _ };
    // A pause cut short by a signal is a shorter pause: nothing depends on its length.
    let _ = raw::call("nanosleep", || {
        let _ = rustix::thread::nanosleep(&span);
        Ok(())
    });
}
