//! Signals: masks, pending signals, actions, and taking signals in order instead of being interrupted.
//!
//! A signal that is *blocked* in every thread stays pending until a thread takes it with [`wait`] (or a
//! [`SignalFd`](crate::signalfd::SignalFd)). That is the safe way to react to signals: no code runs inside a handler.
//!
//! | wanted | use |
//! | --- | --- |
//! | block signals for a while | [`block`], undone when the returned [`Masked`] is dropped |
//! | take a pending signal by a deadline | [`wait`] |
//! | send one to a thread of this process | [`raise`], [`send`], [`queue`] |
//! | ignore a signal, or have its default | [`ignore`], [`restore_default`] |
//! | end waits when a signal comes | [`sync::interrupt`](crate::sync::interrupt) |
//! | run code inside a handler | [`handle`], which is unsafe |
//!
//! ```
//! use core::time::Duration;
//! use ossature_sys::signal::{self, Signal, SignalSet};
//!
//! let hup = SignalSet::from(Signal::HUP);
//! let _blocked = signal::block(hup)?;
//! signal::raise(Signal::HUP)?;
//! let info = signal::wait(hup, Duration::from_secs(5))?.expect("it is pending");
//! assert_eq!(info.signal(), Some(Signal::HUP));
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! Source: signal(7).

mod action;
mod mask;
mod name;
mod number;
mod send;
mod set;

use core::mem::MaybeUninit;
use core::ptr;
use core::time::Duration;

pub use rustix::process::{Pid, Signal};

pub use action::{Action, Disposition, Flags, disposition, handle, ignore, reinstate, restore_default};
pub use mask::{Masked, block, mask, pending, set_mask, unblock};
pub use name::{Name, name};
pub use number::numbered;
pub use send::{queue, raise, send};
pub use set::{SignalSet, Signals};

use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::raw::{self, signal::Siginfo};

/// The real-time signal `SIGRTMIN + n`; `None` beyond `SIGRTMAX`.
///
/// Real-time signals are queued, one for each time they were sent; all others are merged while they are pending.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::signal::{self, SignalSet, realtime};
///
/// let signal = realtime(1).expect("there are about thirty");
/// let set = SignalSet::from([signal]);
/// let _blocked = signal::block(set)?;
/// signal::raise(signal)?;
/// signal::raise(signal)?; // queued, not merged
/// assert!(signal::wait(set, Duration::from_secs(5))?.is_some());
/// assert!(signal::wait(set, Duration::from_secs(5))?.is_some());
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "SIGRTMIN")]
pub fn realtime(n: u8) -> Option<Signal> {
    numbered(libc::SIGRTMIN() + i32::from(n))
}

/// The information about a signal that was taken.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{process, sched, signal::{self, Signal, SignalSet}};
///
/// let set = SignalSet::from(Signal::USR1);
/// let _blocked = signal::block(set)?;
/// signal::queue(sched::thread_id(), Signal::USR1, 7)?;
/// let info = signal::wait(set, Duration::from_secs(5))?.expect("it was queued");
/// assert_eq!((info.signal(), info.value()), (Some(Signal::USR1), Some(7)));
/// assert_eq!((info.pid(), info.uid()), (Some(process::id()), Some(process::real_user())));
/// assert!(info.code() < 0, "a program sent it");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy)]
#[doc(alias = "siginfo_t")]
pub struct Info(Siginfo);

impl Info {
    /// The signal; `None` for a signal that is reserved for libc.
    #[doc(alias = "si_signo")]
    pub fn signal(&self) -> Option<Signal> {
        numbered(self.0.signo)
    }

    /// The cause of the signal: `SI_USER`, `SI_QUEUE`, `CLD_EXITED` and so on.
    #[doc(alias = "si_code")]
    pub fn code(&self) -> i32 {
        self.0.code
    }

    /// The sender, or for SIGCHLD the child. `None` if the kernel sent the signal, or if the sender's pid namespace is
    /// not visible.
    #[doc(alias = "si_pid")]
    pub fn pid(&self) -> Option<Pid> {
        // The sender of a queued signal may write anything there.
        self.has_sender().then(|| Pid::from_raw(self.0.pid.max(0))).flatten()
    }

    /// The sender's real user id; `None` if the kernel sent the signal.
    #[doc(alias = "si_uid")]
    pub fn uid(&self) -> Option<u32> {
        self.has_sender().then_some(self.0.uid)
    }

    /// The value of a signal that was [queued](queue).
    #[doc(alias = "si_value")]
    pub fn value(&self) -> Option<usize> {
        matches!(self.0.code, libc::SI_QUEUE | libc::SI_TIMER | libc::SI_MESGQ).then_some(self.0.value)
    }

    fn has_sender(&self) -> bool {
        let by_process = matches!(self.0.code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL | libc::SI_MESGQ);
        by_process || self.0.signo == libc::SIGCHLD
    }
}

impl core::fmt::Debug for Info {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut shown = f.debug_struct("Info");
        shown.field("number", &self.0.signo).field("code", &self.0.code);
        shown.field("pid", &self.pid()).field("value", &self.value()).finish()
    }
}

/// The longest sleep per system call: a 32-bit libc has no field for more.
const LONGEST: Duration = Duration::from_secs(1 << 30);

/// `sigtimedwait(set, &info, timeout)`: takes one pending signal of `set`, waiting for it; `None` when no signal came
/// by the deadline.
///
/// The signals must be blocked in this thread, and for signals sent to the process in every other thread too. Otherwise
/// the signal has its usual effect instead. Signals outside of `set` that are handled meanwhile do not end the wait.
///
/// Differs from Python's `signal.sigtimedwait` in that the deadline is kept in nanoseconds.
///
/// # Errors
/// `EINVAL` for a deadline that the kernel cannot represent, which this crate never makes.
#[doc(alias = "sigtimedwait")]
#[doc(alias = "sigwaitinfo")]
pub fn wait(set: impl Into<SignalSet>, timeout: impl Into<Deadline>) -> Result<Option<Info>> {
    let deadline = timeout.into();
    let set = set.into().to_c();
    loop {
        let slice = deadline.remaining().map(|left| c_timespec(left.min(LONGEST)));
        match wait_once(&set, slice.as_ref()) {
            Err(Errno::AGAIN) if deadline.has_passed() => return Ok(None),
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done.map(Some),
        }
    }
}

fn wait_once(set: &libc::sigset_t, timeout: Option<&libc::timespec>) -> Result<Info> {
    let timeout = timeout.map_or(ptr::null(), ptr::from_ref);
    let mut info = Siginfo::ZERO;
    let place = (&raw mut info).cast::<libc::siginfo_t>();
    #[cfg(not(target_env = "musl"))]
    raw::call_c("sigtimedwait", || {
        // SAFETY: set and timeout (or null) are initialised and outlive the call; `place` is a whole siginfo_t.
        unsafe { libc::sigtimedwait(set, place, timeout) }
    })?;
    #[cfg(target_env = "musl")]
    kernel_sigtimedwait(set, place, timeout)?;
    Ok(Info(info))
}

/// The system call itself, because musl's function restarts the full timeout whenever another signal interrupts it.
#[cfg(target_env = "musl")]
fn kernel_sigtimedwait(
    set: &libc::sigset_t,
    place: *mut libc::siginfo_t,
    timeout: *const libc::timespec,
) -> Result<()> {
    /// The call with 64-bit times, which has the same number on all 32-bit machines.
    const CALL: core::ffi::c_long = if cfg!(target_pointer_width = "64") { libc::SYS_rt_sigtimedwait } else { 421 };
    /// The size of the kernel's set, which is shorter than the C library's.
    const SET_BYTES: usize = 8;
    // SAFETY: null, or a reference that the caller still has.
    let time = unsafe { timeout.as_ref() }.map(|time| [time.tv_sec as i64, time.tv_nsec as i64]);
    let time = time.as_ref().map_or(ptr::null(), |time| time.as_ptr());
    raw::call_long("sigtimedwait", || {
        // SAFETY: set and time (or null) are initialised, laid out as the kernel's, and outlive the call; `place` is a
        // whole siginfo_t.
        unsafe { libc::syscall(CALL, ptr::from_ref(set), place, time, SET_BYTES) }
    })?;
    Ok(())
}

fn c_timespec(span: Duration) -> libc::timespec {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: all zeros are a valid timespec; it is not built by its fields because some targets have padding there.
    let time = unsafe { time.assume_init_mut() };
    // At most LONGEST, which every width of the field holds.
    time.tv_sec = span.as_secs() as _;
    time.tv_nsec = span.subsec_nanos() as _;
    *time
}
