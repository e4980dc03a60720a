//! The disposition of a signal: the default action, ignored, or a handler.

use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr;

use bitflags::bitflags;
use rustix::process::Signal;

use super::SignalSet;
use crate::errno::Result;
use crate::raw;

bitflags! {
    /// The options of a handler.
    ///
    /// # Examples
    /// See the example of [`handle`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Flags: u32 {
        /// Interrupted calls restart where the kernel supports it (waits with a deadline do not).
        #[doc(alias = "SA_RESTART")]
        const RESTART = libc::SA_RESTART as u32;
        /// The signal is not blocked while its handler runs.
        #[doc(alias = "SA_NODEFER")]
        const NODEFER = libc::SA_NODEFER as u32;
        /// The handler runs on the alternate stack, if there is one.
        #[doc(alias = "SA_ONSTACK")]
        const ONSTACK = libc::SA_ONSTACK as u32;
        /// The handler runs once, then the default action is restored.
        #[doc(alias = "SA_RESETHAND")]
        const RESETHAND = libc::SA_RESETHAND as u32;
        /// SIGCHLD only for children that end, not for children that stop or continue.
        #[doc(alias = "SA_NOCLDSTOP")]
        const NOCLDSTOP = libc::SA_NOCLDSTOP as u32;
        /// Children that end leave no exit status.
        #[doc(alias = "SA_NOCLDWAIT")]
        const NOCLDWAIT = libc::SA_NOCLDWAIT as u32;
        const _ = !0;
    }
}

/// The disposition of a signal.
///
/// # Examples
/// See the example of [`disposition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// The system's default action: ends, stops or continues the process, or does nothing.
    #[doc(alias = "SIG_DFL")]
    Default,
    /// The signal is discarded.
    #[doc(alias = "SIG_IGN")]
    Ignored,
    /// A handler runs.
    Handled,
}

/// The previous action of a signal, for [`reinstate`].
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::signal::{Action, Disposition, Signal, disposition, ignore, reinstate};
///
/// let before: Action = ignore(Signal::USR1)?;
/// assert_eq!(before.disposition(), Disposition::Default);
/// assert_eq!(disposition(Signal::USR1)?, Disposition::Ignored);
/// // SAFETY: the action names no handler.
/// unsafe { reinstate(Signal::USR1, before) }?;
/// assert_eq!(disposition(Signal::USR1)?, Disposition::Default);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy)]
#[doc(alias = "sigaction")]
pub struct Action(libc::sigaction);

impl Action {
    /// The disposition of this action.
    pub fn disposition(&self) -> Disposition {
        match self.0.sa_sigaction {
            libc::SIG_DFL => Disposition::Default,
            libc::SIG_IGN => Disposition::Ignored,
            _ => Disposition::Handled,
        }
    }
}

impl core::fmt::Debug for Action {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Action").field(&self.disposition()).finish()
    }
}

/// `sigaction(signal, NULL, &action)`: the current disposition of the signal, in the whole process.
///
/// # Errors
/// None for a [`Signal`]; the fault hook may give one.
///
/// # Examples
/// ```
/// use ossature_sys::signal::{Disposition, Signal, disposition};
///
/// assert_eq!(disposition(Signal::PIPE)?, Disposition::Ignored, "by Rust's runtime");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "signal.getsignal")]
pub fn disposition(signal: Signal) -> Result<Disposition> {
    change(signal, None).map(|action| action.disposition())
}

/// `sigaction(signal, {SIG_IGN}, &before)`: ignores the signal from now on, in the whole process and in programs that
/// it executes; returns the previous action.
///
/// With SIGCHLD ignored children leave no exit status behind.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
///
/// # Examples
/// See the example of [`Action`].
#[doc(alias = "SIG_IGN")]
pub fn ignore(signal: Signal) -> Result<Action> {
    change(signal, Some(&action(libc::SIG_IGN, Flags::empty(), SignalSet::EMPTY)))
}

/// `sigaction(signal, {SIG_DFL}, &before)`: restores the default action of the signal, in the whole process; returns
/// the previous action.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::signal::{Disposition, Signal, disposition, restore_default};
///
/// restore_default(Signal::PIPE)?; // a program that ends quietly when its output has no reader
/// assert_eq!(disposition(Signal::PIPE)?, Disposition::Default);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "SIG_DFL")]
pub fn restore_default(signal: Signal) -> Result<Action> {
    change(signal, Some(&action(libc::SIG_DFL, Flags::empty(), SignalSet::EMPTY)))
}

/// `sigaction(signal, {handler, flags, blocked}, &before)`: runs `handler` in the thread that the signal interrupts,
/// with `blocked` blocked meanwhile; returns the previous action.
///
/// Python runs its handlers later, between two bytecodes of the main thread; this one really interrupts. [`wait`] and
/// [`SignalFd`](crate::signalfd::SignalFd) need no such care.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
///
/// # Safety
/// * `handler` must be async-signal-safe (signal-safety(7)): no allocation, no lock, no panic, errno as it found it.
/// * It must stay callable for as long as it is installed.
/// * For SIGSEGV, SIGBUS, SIGFPE and SIGILL it must not return to an instruction that the language assumes never to
///   fail.
///
/// [`wait`]: super::wait
///
/// # Examples
/// ```standalone_crate
/// use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
/// use ossature_sys::signal::{Flags, Signal, SignalSet, handle, raise};
///
/// static SEEN: AtomicBool = AtomicBool::new(false);
/// extern "C" fn note(_signal: i32) {
///     SEEN.store(true, Relaxed);
/// }
/// // SAFETY: the handler stores to an atomic and does nothing else, and a function lives forever.
/// unsafe { handle(Signal::USR1, note, Flags::RESTART, SignalSet::EMPTY) }?;
/// raise(Signal::USR1)?;
/// assert!(SEEN.load(Relaxed));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "signal.signal")]
pub unsafe fn handle(
    signal: Signal,
    handler: extern "C" fn(c_int),
    flags: Flags,
    blocked: SignalSet,
) -> Result<Action> {
    // A handler with one argument: the flag for three arguments would be wrong.
    let flags = flags - Flags::from_bits_retain(libc::SA_SIGINFO as u32);
    change(signal, Some(&action(handler as usize, flags, blocked)))
}

/// `sigaction(signal, before, NULL)`: restores a previous action of the signal.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
///
/// # Safety
/// A handler that `before` names must still be callable and fit `signal`: the obligations of [`handle`] hold for it.
///
/// # Examples
/// See the example of [`Action`].
pub unsafe fn reinstate(signal: Signal, before: Action) -> Result<Action> {
    change(signal, Some(&before.0))
}

fn action(handler: usize, flags: Flags, blocked: SignalSet) -> libc::sigaction {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zeros are a valid sigaction: the default, no flags, an empty mask, no restorer.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = handler;
    action.sa_flags = flags.bits() as _;
    action.sa_mask = blocked.to_c();
    *action
}

/// Changes the action of a signal (or only reads it, without a new action), and returns the previous one.
fn change(signal: Signal, action: Option<&libc::sigaction>) -> Result<Action> {
    let action = action.map_or(ptr::null(), ptr::from_ref);
    let mut before = MaybeUninit::zeroed();
    raw::call_c("sigaction", || {
        // SAFETY: `action` is null or whole and outlives the call, `before` is valid for a write. The caller of
        // `handle` or `reinstate` promises that a handler may run.
        unsafe { libc::sigaction(signal.as_raw(), action, before.as_mut_ptr()) }
    })?;
    // SAFETY: sigaction succeeded, so it wrote the former action (which was zeroed anyway).
    Ok(Action(unsafe { before.assume_init() }))
}
