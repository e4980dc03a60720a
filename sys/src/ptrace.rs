//! The part of ptrace(2) that a test of death needs: run a child one instruction at a time, and kill it between two.
//!
//! The child asks to be traced with [`stop_for_tracer`]. Its parent waits for the stop with [`wait`] and then steps or
//! resumes the child. A single thread of the parent makes all these calls.
//!
//! The kernel takes these orders by number only, and reserves the number of a child until the child is reaped. So each
//! order first asks the child's pidfd whether the child was reaped. If another thread reaps the child in that very
//! moment, the order reaches no process. The kernel obeys only the tracer, and no other traced child of this thread has
//! the number. This module has no `PTRACE_SEIZE`, because that request would take any process that has the number by
//! then.
//!
//! ```standalone_crate
//! use core::time::Duration;
//! use ossature_sys::process::{ExitStatus, Signal, fork};
//! use ossature_sys::ptrace::{self, State};
//!
//! let mut child = fork(|| {
//!     ptrace::stop_for_tracer().unwrap();
//!     3
//! })
//! .unwrap();
//! let patience = Duration::from_secs(10);
//! assert_eq!(ptrace::wait(&mut child, patience).unwrap(), Some(State::Stopped(Signal::STOP.as_raw())));
//! ptrace::resume(&child).unwrap();
//! assert_eq!(ptrace::wait(&mut child, patience).unwrap(), Some(State::Ended(ExitStatus::Code(3))));
//! ```
//!
//! Source: ptrace(2), waitid(2).

use core::ffi::c_long;
use core::time::Duration;

use crate::deadline::Deadline;
use crate::errno::{Errno, Result, retry};
use crate::fd::AsFd;
use crate::process::{Child, ExitStatus, Signal, id};
use crate::raw;
use crate::raw::process::{self as raw_process, RawUsage, WaitFor};

const TRACEME: c_long = 0;
const CONT: c_long = 7;
const SINGLESTEP: c_long = 9;

/// The state of a traced child that does not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The child is stopped by this signal: `SIGTRAP` after a step, `SIGSTOP`, or a signal that is about to be
    /// delivered.
    Stopped(i32),
    /// The child has ended, and was reaped.
    Ended(ExitStatus),
}

/// `ptrace(PTRACE_TRACEME)` and `raise(SIGSTOP)`, in a child: stops until the parent resumes the child.
///
/// The tracer is the *thread* of the parent that forked.
///
/// # Errors
/// `EPERM` when this process is traced already or tracing is forbidden.
#[doc(alias = "PTRACE_TRACEME")]
pub fn stop_for_tracer() -> Result<()> {
    // SAFETY: PTRACE_TRACEME takes no arguments.
    unsafe { raw_process::ptrace(TRACEME, 0, 0) }?;
    raw::call("kill", || rustix::process::kill_process(id(), Signal::STOP))
}

/// `ptrace(PTRACE_SINGLESTEP, child)`: runs one instruction of a stopped child; [`wait`] returns when the step is done.
///
/// A system call counts as one instruction, however long it sleeps.
///
/// # Errors
/// `ESRCH` when the child is not stopped or has ended, `EIO` where the processor has no single step (32-bit ARM,
/// RISC-V).
///
/// # Examples
/// ```standalone_crate
/// use core::time::Duration;
/// use ossature_sys::{errno::Errno, process::{ExitStatus, Signal, fork}, ptrace::{self, State}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut child = fork(|| {
///     ptrace::stop_for_tracer().unwrap();
///     3
/// })?;
/// let patience = Duration::from_secs(10);
/// ptrace::wait(&mut child, patience)?;
/// match ptrace::single_step(&child) {
///     Ok(()) => assert_eq!(ptrace::wait(&mut child, patience)?, Some(State::Stopped(Signal::TRAP.as_raw()))),
///     Err(errno) => assert_eq!(errno, Errno::IO), // the processor cannot
/// }
/// ptrace::resume(&child)?;
/// assert_eq!(ptrace::wait(&mut child, patience)?, Some(State::Ended(ExitStatus::Code(3))));
/// # Ok(()) }
/// ```
#[doc(alias = "PTRACE_SINGLESTEP")]
pub fn single_step(child: &Child) -> Result<()> {
    order(child, SINGLESTEP, 0)
}

/// `ptrace(PTRACE_CONT, child)`: resumes a stopped child, without the signal that stopped it.
///
/// # Errors
/// `ESRCH` when the child is not stopped or has ended.
#[doc(alias = "PTRACE_CONT")]
pub fn resume(child: &Child) -> Result<()> {
    order(child, CONT, 0)
}

/// [`resume`] that delivers `signal`, for a child that a signal stopped.
///
/// # Errors
/// As [`resume`].
///
/// # Examples
/// ```standalone_crate
/// use core::time::Duration;
/// use ossature_sys::{process::{Signal, fork}, ptrace::{self, State}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut child = fork(|| {
///     ptrace::stop_for_tracer().unwrap();
///     3
/// })?;
/// let patience = Duration::from_secs(10);
/// ptrace::wait(&mut child, patience)?;
/// ptrace::resume_with(&child, Signal::TERM)?;
/// match ptrace::wait(&mut child, patience)? {
///     Some(State::Ended(end)) => assert_eq!(end.signal(), Some(Signal::TERM.as_raw())),
///     other => panic!("{other:?}"),
/// }
/// # Ok(()) }
/// ```
pub fn resume_with(child: &Child, signal: Signal) -> Result<()> {
    order(child, CONT, c_long::from(signal.as_raw()))
}

/// Waits until a traced child stops or has ended; `None` when the time ran out and the child still runs.
///
/// # Errors
/// `ECHILD` when the child was reaped elsewhere.
pub fn wait(child: &mut Child, timeout: impl Into<Deadline>) -> Result<Option<State>> {
    /// The number of attempts without a sleep: a step takes only a few microseconds.
    const LOOKS: u32 = 200;
    const PAUSE: Duration = Duration::from_micros(50);
    let deadline = timeout.into();
    if let Some(exit) = child.exit_status() {
        return Ok(Some(State::Ended(exit)));
    }
    // A pidfd becomes readable at the end only, not at a stop: with a deadline this code has to poll.
    let sleep = if deadline == Deadline::NEVER { 0 } else { libc::WNOHANG };
    let mut looks = 0;
    loop {
        let options = libc::WEXITED | libc::WSTOPPED | libc::__WALL | sleep;
        let mut usage = RawUsage::default();
        let seen = retry(|| raw_process::waitid(WaitFor::Pidfd(child.as_fd()), options, &mut usage))?;
        match seen {
            Some(stop) if matches!(stop.code, libc::CLD_TRAPPED | libc::CLD_STOPPED) => {
                // The low byte is the signal; the next byte is the kind of event, for tracers that requested events.
                return Ok(Some(State::Stopped(stop.status & 0xff)));
            }
            Some(end) => {
                let exit = child.ended(end, &usage);
                return Ok(Some(State::Ended(exit)));
            }
            None if deadline.has_passed() => return Ok(None),
            None => {}
        }
        looks += 1;
        if looks < LOOKS {
            rustix::thread::sched_yield();
        } else {
            crate::process::pause(PAUSE);
        }
    }
}

fn order(child: &Child, request: c_long, data: c_long) -> Result<()> {
    // The number may belong to another process once the child is reaped. A clone of the pidfd can reap it unseen, so
    // ask the kernel.
    let look = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    let looked = retry(|| raw_process::waitid(WaitFor::Pidfd(child.as_fd()), look, &mut RawUsage::default()));
    looked.map_err(|errno| if errno == Errno::CHILD { Errno::SRCH } else { errno })?;
    let pid = c_long::from(child.pid().as_raw_nonzero().get());
    // SAFETY: the requests of this file take a signal number, no pointer. The number was that of a child that was not
    // reaped, and the kernel refuses requests for a process that this thread does not trace.
    unsafe { raw_process::ptrace(request, pid, data) }
}
