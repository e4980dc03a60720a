//! Signals as records that are read from a descriptor, so that one loop can wait for them and for other events.
//!
//! The traps, all of them the kernel's:
//!
//! * The signals must be blocked in *every* thread, or the process-directed ones (SIGINT from a terminal, SIGCHLD) do
//!   what they usually do in some thread that does not block them. Block them first thing in `main`, before any thread
//!   starts: threads inherit the mask.
//! * A signal sent to one thread is read only by that thread. A thread that reads gets its own signals and those of
//!   the process.
//! * Pending signals that are not real-time are merged: one SIGCHLD may represent many children.
//! * **Blocked signals stay blocked in forked children, and in programs that the process executes.** A child that does
//!   not read them does not end by SIGTERM. Unblock them in the child, by [`unblock`](crate::signal::unblock) or
//!   [`Plan::blocked_signals`](crate::process::Plan::blocked_signals). The processes of `ossature::multiprocessing`
//!   begin with SIGTERM and SIGINT unblocked.
//! * In an epoll set the descriptor reports the signals of the process that *registered* it, not of one that inherited
//!   it.
//!
//! ```
//! use core::time::Duration;
//! use ossature_sys::{signal::{self, Signal, SignalSet}, signalfd::SignalFd};
//!
//! let set = SignalSet::from(Signal::USR2);
//! let _blocked = signal::block(set)?;
//! let signals = SignalFd::new(set)?;
//! signal::raise(Signal::USR2)?;
//! let info = signals.read_one(Duration::from_secs(5))?.expect("it was raised");
//! assert_eq!(info.signal(), Some(Signal::USR2));
//! assert!(signals.read_one(Duration::ZERO)?.is_none());
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! Source: signalfd(2).

use core::mem::{MaybeUninit, size_of, size_of_val};
use core::slice;

use rustix::process::{Pid, Signal};

use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::fd::{AboveStandard, AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, PollFlags, above_standard, by_deadline};
use crate::raw;
use crate::signal::{SignalSet, numbered};

/// One signal that was read.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{process, sched, signal::{self, Signal, SignalSet}, signalfd::SignalFd};
///
/// let set = SignalSet::from(Signal::USR1);
/// let _blocked = signal::block(set)?;
/// let signals = SignalFd::new(set)?;
/// signal::queue(sched::thread_id(), Signal::USR1, 7)?;
/// let info = signals.read_one(Duration::from_secs(5))?.expect("it was queued");
/// assert_eq!((info.signal(), info.value()), (Some(Signal::USR1), 7));
/// assert_eq!((info.pid(), info.uid()), (Some(process::id()), process::real_user()));
/// assert!(info.code() < 0 && info.status() == 0, "a program sent it, and no child ended");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy)]
#[repr(transparent)]
#[doc(alias = "signalfd_siginfo")]
pub struct Info(libc::signalfd_siginfo);

static_assertions::const_assert_eq!(size_of::<Info>(), 128);

impl Info {
    /// The signal; `None` for a signal that is reserved for libc.
    #[doc(alias = "ssi_signo")]
    pub fn signal(&self) -> Option<Signal> {
        numbered(self.0.ssi_signo as i32)
    }

    /// The cause of the signal: `SI_USER`, `SI_QUEUE`, `CLD_EXITED` and so on.
    #[doc(alias = "ssi_code")]
    pub fn code(&self) -> i32 {
        self.0.ssi_code
    }

    /// The sender, or for SIGCHLD the child; `None` if the kernel sent the signal.
    #[doc(alias = "ssi_pid")]
    pub fn pid(&self) -> Option<Pid> {
        // The sender of a queued signal may write anything there.
        Pid::from_raw(i32::try_from(self.0.ssi_pid).unwrap_or(0))
    }

    /// The sender's real user id.
    #[doc(alias = "ssi_uid")]
    pub fn uid(&self) -> u32 {
        self.0.ssi_uid
    }

    /// The value that was queued with the signal, or 0.
    #[doc(alias = "ssi_ptr")]
    pub fn value(&self) -> u64 {
        self.0.ssi_ptr
    }

    /// For SIGCHLD, the exit status or the signal that ended the child.
    #[doc(alias = "ssi_status")]
    pub fn status(&self) -> i32 {
        self.0.ssi_status
    }
}

impl core::fmt::Debug for Info {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut shown = f.debug_struct("Info");
        shown.field("number", &self.0.ssi_signo).field("code", &self.0.ssi_code);
        shown.field("pid", &self.pid()).field("value", &self.0.ssi_ptr).finish()
    }
}

/// A descriptor from which blocked signals are read.
///
/// Children inherit the blocked signals, and then do not end by SIGTERM: see the [module](self).
///
/// # Examples
/// ```
/// use core::{mem::MaybeUninit, time::Duration};
/// use ossature_sys::{signal::{self, Signal, SignalSet}, signalfd::SignalFd};
///
/// let both = SignalSet::from([Signal::USR1, Signal::USR2]);
/// let _blocked = signal::block(both)?;
/// let signals = SignalFd::new(Signal::USR1)?;
/// signals.set(both)?;
/// signal::raise(Signal::USR1)?;
/// signal::raise(Signal::USR2)?;
/// let mut room = [MaybeUninit::uninit(); 8];
/// assert_eq!(signals.read(&mut room, Duration::from_secs(5))?.len(), 2);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// `signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK)`: a descriptor for these signals, which must be
    /// [blocked](crate::signal::block) separately: see the traps above.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left, `ENOMEM`.
    #[doc(alias = "signalfd")]
    pub fn new(set: impl Into<SignalSet>) -> Result<Self> {
        let fd = change(-1, set.into())?;
        // SAFETY: signalfd(-1, ..) returned a new descriptor that no other code owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// `signalfd(fd, set, ...)`: makes the descriptor read these signals instead, from now on.
    ///
    /// # Errors
    /// `EINVAL` for a descriptor of another kind, which this type excludes.
    pub fn set(&self, set: impl Into<SignalSet>) -> Result<()> {
        change(self.0.as_raw_fd(), set.into()).map(drop)
    }

    /// `read(fd, info, ...)`: takes one pending signal, waiting for it; `None` when no signal came by the deadline.
    ///
    /// # Errors
    /// `EBADF` when the descriptor is not open, which this type excludes.
    pub fn read_one(&self, timeout: impl Into<Deadline>) -> Result<Option<Info>> {
        let mut one = [MaybeUninit::uninit()];
        Ok(self.read(&mut one, timeout)?.first().copied())
    }

    /// `read(fd, infos, ...)`: takes pending signals into `buffer`, waiting for the first; empty when no signal came by
    /// the deadline (and when `buffer` has no room).
    ///
    /// # Errors
    /// `EBADF` when the descriptor is not open, which this type excludes.
    pub fn read<'b>(&self, buffer: &'b mut [MaybeUninit<Info>], timeout: impl Into<Deadline>) -> Result<&'b [Info]> {
        if buffer.is_empty() {
            return Ok(&[]);
        }
        let len = size_of_val(buffer);
        let start = buffer.as_mut_ptr().cast::<MaybeUninit<u8>>();
        // SAFETY: the same memory as `buffer`, as bytes that need not be initialised, borrowed for as long.
        let bytes: &'b mut [MaybeUninit<u8>] = unsafe { slice::from_raw_parts_mut(start, len) };
        let read = by_deadline(self.as_fd(), PollFlags::IN, timeout.into(), || {
            // The kernel takes whole records only, so the transfer is never shortened below one.
            let room = raw::allowed("read", len).max(size_of::<Info>());
            let (part, _) = bytes.split_at_mut_checked(room).ok_or(Errno::INVAL)?;
            raw::call("read", || rustix::io::read(&self.0, part)).map(|(filled, _)| filled.len())
        })?;
        let count = read.unwrap_or(0) / size_of::<Info>();
        // SAFETY: the kernel wrote `count` whole records at the start of `buffer`, plain integers, and they stay
        // borrowed for as long as the answer.
        Ok(unsafe { slice::from_raw_parts(bytes.as_ptr().cast::<Info>(), count) })
    }
}

fn change(fd: i32, set: SignalSet) -> Result<i32> {
    let set = set.to_c();
    // SAFETY: the set is initialised and outlives the call.
    raw::call_c("signalfd", || unsafe { libc::signalfd(fd, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

crate::fd::as_raw_fd!(SignalFd);

impl AboveStandard for SignalFd {
    fn above_standard(self) -> Result<Self> {
        above_standard(self.0).map(Self)
    }
}

impl From<SignalFd> for OwnedFd {
    fn from(signals: SignalFd) -> Self {
        signals.0
    }
}
