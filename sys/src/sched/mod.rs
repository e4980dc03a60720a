//! The place, time and priority of threads: the calls for a scheduler in user space.
//!
//! A *thread* is named by its number (`gettid`); `None` is the calling one. A process is named by its first thread, and
//! only that thread is meant. New threads and processes inherit all of this unless [`Flags::RESET_ON_FORK`] says
//! otherwise.
//!
//! ```
//! use ossature_sys::sched::{self, CpuSet, Policy};
//!
//! // Stay where we are, and run only when no other thread wants to.
//! let allowed = sched::affinity(None)?;
//! sched::set_affinity(None, &CpuSet::of([sched::current_cpu()]))?;
//! sched::set_policy(None, Policy::Batch { nice: 0 })?;
//! assert_eq!(sched::policy(None)?, Policy::Batch { nice: 0 });
//! sched::set_affinity(None, &allowed)?;
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! Source: sched(7), sched_setattr(2), sched_setaffinity(2), getpriority(2), getcpu(2), membarrier(2), prctl(2).

mod barrier;
mod cpuset;
mod policy;
mod thread;

use core::num::NonZeroU64;
use core::time::Duration;

pub use rustix::process::Pid;

pub use barrier::{
    Barriers, barriers, membarrier_global, membarrier_global_expedited, membarrier_private,
    membarrier_private_sync_core, register_global, register_private, register_private_sync_core,
};
pub use cpuset::{CpuSet, Cpus, affinity, set_affinity};
pub use policy::{Flags, Policy, Scheduling, policy, scheduling, set_policy, set_scheduling};
pub use thread::{set_thread_name, thread_id};

use crate::errno::{Errno, Result};
use crate::raw;

/// A processor and the memory node that it belongs to.
///
/// # Examples
/// ```
/// use ossature_sys::sched::{self, CpuSet, Place};
///
/// sched::set_affinity(None, &CpuSet::of([sched::current_cpu()]))?; // stay here
/// let Place { cpu, node } = sched::place()?;
/// assert_eq!(cpu, sched::current_cpu());
/// println!("processor {cpu} of node {node}");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    /// The number of the processor, as in a [`CpuSet`].
    pub cpu: usize,
    /// The number of the NUMA node.
    pub node: usize,
}

/// `getcpu(cpu, node)`: the place where the calling thread runs; it may have changed on return, unless the thread is
/// bound.
///
/// # Errors
/// `ENOSYS` in a sandbox that forbids it.
///
/// # Examples
/// See the example of [`Place`].
#[doc(alias = "getcpu")]
pub fn place() -> Result<Place> {
    let (cpu, node) = raw::sched::getcpu()?;
    Ok(Place { cpu: cpu as usize, node: node as usize })
}

/// `sched_getcpu()`: [`place`] without the node, through the vDSO where there is one.
#[doc(alias = "sched_getcpu")]
pub fn current_cpu() -> usize {
    // The call cannot fail, so it does not pass the fault hook.
    rustix::thread::sched_getcpu()
}

/// `sysconf(_SC_NPROCESSORS_ONLN)`: the number of processors that are online, usable by this process or not; `None` if
/// libc does not know. musl counts the usable ones.
///
/// # Examples
/// ```
/// if let Some(online) = ossature_sys::sched::online_cpus() {
///     println!("{online} processors");
/// }
/// ```
#[doc(alias = "os.cpu_count")]
#[doc(alias = "_SC_NPROCESSORS_ONLN")]
pub fn online_cpus() -> Option<usize> {
    // SAFETY: sysconf(3) takes a number and has no other precondition; one that it does not know gives -1.
    let answer = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(answer).ok().filter(|count| *count > 0)
}

/// `sched_yield()`: lets other threads of the same priority run first.
///
/// Under the ordinary policies this hardly affects which thread runs next. To wait for another thread, sleep on a
/// futex.
///
/// # Examples
/// ```
/// ossature_sys::sched::yield_now();
/// ```
#[doc(alias = "sched_yield")]
#[doc(alias = "yield")]
pub fn yield_now() {
    // The call cannot fail, so it does not pass the fault hook.
    rustix::thread::sched_yield();
}

/// `getpriority(PRIO_PROCESS, thread)`: the nice value, -20 (favoured) to 19.
///
/// # Errors
/// `ESRCH` when there is no such thread.
#[doc(alias = "getpriority")]
pub fn nice(thread: Option<Pid>) -> Result<i32> {
    raw::call("getpriority", || rustix::process::getpriority_process(thread))
}

/// `setpriority(PRIO_PROCESS, thread, nice)`: sets the nice value; beyond -20 and 19 it is clamped.
///
/// # Errors
/// `EACCES` when it would be favoured without the privilege or the limit (`RLIMIT_NICE`), `EPERM` when the thread is
/// another user's, `ESRCH` when there is none.
///
/// # Examples
/// ```
/// use ossature_sys::sched::{nice, set_nice};
///
/// let lower = (nice(None)? + 1).min(19);
/// set_nice(None, lower)?;
/// assert_eq!(nice(None)?, lower);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "setpriority")]
pub fn set_nice(thread: Option<Pid>, nice: i32) -> Result<()> {
    raw::call("setpriority", || rustix::process::setpriority_process(thread, nice))
}

/// `prctl(PR_GET_TIMERSLACK)`: the time by which the calling thread's timed waits may end late, which saves wake-ups.
///
/// # Errors
/// None that the kernel documents for this request.
///
/// # Examples
/// See the example of [`set_timer_slack`].
#[doc(alias = "PR_GET_TIMERSLACK")]
pub fn timer_slack() -> Result<Duration> {
    Ok(Duration::from_nanos(raw::call("prctl", rustix::thread::current_timer_slack)?))
}

/// `prctl(PR_SET_TIMERSLACK, slack)`: sets the time by which the calling thread's timed waits may end late. Threads
/// under a real-time policy have no slack, regardless of this value.
///
/// # Errors
/// `EINVAL` for zero (which to the kernel means the default: [`reset_timer_slack`]), `ERANGE` beyond the width of a C
/// long.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::sched::{reset_timer_slack, set_timer_slack, timer_slack};
///
/// set_timer_slack(Duration::from_millis(1))?;
/// assert_eq!(timer_slack()?, Duration::from_millis(1));
/// reset_timer_slack()?;
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "PR_SET_TIMERSLACK")]
pub fn set_timer_slack(slack: Duration) -> Result<()> {
    let nanos = u64::try_from(slack.as_nanos()).map_err(|_| Errno::RANGE)?;
    let nanos = NonZeroU64::new(nanos).ok_or(Errno::INVAL)?;
    raw::call("prctl", || rustix::thread::set_current_timer_slack(Some(nanos)))
}

/// `prctl(PR_SET_TIMERSLACK, 0)`: restores the calling thread's initial slack, usually 50 microseconds.
///
/// # Errors
/// None that the kernel documents for this request.
///
/// # Examples
/// See the example of [`set_timer_slack`].
pub fn reset_timer_slack() -> Result<()> {
    raw::call("prctl", || rustix::thread::set_current_timer_slack(None))
}

/// The number by which these calls name a thread; 0 is the calling one.
fn number(thread: Option<Pid>) -> i32 {
    thread.map_or(0, |thread| thread.as_raw_nonzero().get())
}
