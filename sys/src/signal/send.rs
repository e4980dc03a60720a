//! Sending signals to threads of this process.

use rustix::process::{Pid, Signal, getpid, getuid};

use crate::errno::Result;
use crate::raw::{self, signal::Siginfo};

/// `raise(signal)`: sends the signal to the calling thread; unless blocked, the signal takes effect before the call
/// returns.
///
/// Python's `signal.raise_signal`.
///
/// # Errors
/// `EAGAIN` when the user's queue of real-time signals is full.
#[doc(alias = "signal.raise_signal")]
pub fn raise(signal: Signal) -> Result<()> {
    // SAFETY: raise(3) has no preconditions on memory; `Signal` holds a valid number.
    raw::call_c("raise", || unsafe { libc::raise(signal.as_raw()) }).map(drop)
}

/// `tgkill(getpid(), thread, signal)`: sends the signal to one thread of this process, by its kernel id.
///
/// A new thread may have got the id of an ended one: keep the thread alive meanwhile.
///
/// # Errors
/// `ESRCH` when this process has no such thread, `EAGAIN` when the user's queue of real-time signals is full.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{sched, signal::{self, Signal, SignalSet}};
///
/// let set = SignalSet::from(Signal::USR1);
/// let _blocked = signal::block(set)?;
/// signal::send(sched::thread_id(), Signal::USR1)?;
/// let info = signal::wait(set, Duration::from_secs(5))?.expect("it was sent");
/// assert_eq!(info.signal(), Some(Signal::USR1));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "tgkill")]
#[doc(alias = "signal.pthread_kill")]
pub fn send(thread: Pid, signal: Signal) -> Result<()> {
    let (process, thread) = (getpid().as_raw_pid(), thread.as_raw_pid());
    raw::call_long("tgkill", || {
        // SAFETY: tgkill takes three integers and no memory.
        unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal.as_raw()) }
    })
    .map(drop)
}

/// `rt_tgsigqueueinfo(getpid(), thread, signal, &info)`: sends the signal with a value to one thread of this process.
///
/// [`Info::value`](super::Info::value) returns the value to the thread that takes the signal.
///
/// # Errors
/// `ESRCH` when this process has no such thread, `EAGAIN` when the user's queue of signals is full.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{sched, signal::{self, Signal, SignalSet}};
///
/// let set = SignalSet::from(Signal::USR1);
/// let _blocked = signal::block(set)?;
/// signal::queue(sched::thread_id(), Signal::USR1, 42)?;
/// let info = signal::wait(set, Duration::from_secs(5))?.expect("it was queued");
/// assert_eq!(info.value(), Some(42));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "rt_tgsigqueueinfo")]
#[doc(alias = "pthread_sigqueue")]
pub fn queue(thread: Pid, signal: Signal, value: usize) -> Result<()> {
    let process = getpid().as_raw_pid();
    let mut info = Siginfo::ZERO;
    info.signo = signal.as_raw();
    info.code = libc::SI_QUEUE;
    info.pid = process;
    info.uid = getuid().as_raw();
    info.value = value;
    let (number, thread, info) = (signal.as_raw(), thread.as_raw_pid(), &raw const info);
    raw::call_long("rt_tgsigqueueinfo", || {
        // SAFETY: `info` points to a whole siginfo_t that outlives the call; the kernel only reads it.
        unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, number, info) }
    })
    .map(drop)
}
