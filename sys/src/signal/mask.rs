//! The signal mask of the calling thread.

use core::ffi::c_int;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr;

use super::SignalSet;
use crate::errno::Result;
use crate::raw;
use crate::thread_bound::StaysInItsThread;

/// `pthread_sigmask(SIG_BLOCK, NULL, &mask)`: the signals that are blocked in this thread.
///
/// # Errors
/// None that the system documents; the fault hook may give one.
///
/// # Examples
/// See the example of [`Masked`].
#[doc(alias = "pthread_sigmask")]
pub fn mask() -> Result<SignalSet> {
    change(libc::SIG_BLOCK, None).map(|before| SignalSet::from_c(&before))
}

/// `pthread_sigmask(SIG_BLOCK, set, &before)`: also blocks these signals, until the returned [`Masked`] is dropped.
///
/// SIGKILL and SIGSTOP cannot be blocked; the kernel ignores them.
///
/// **Children inherit the mask**, over an exec too. A child that starts while SIGTERM and SIGINT are blocked does not
/// end by them, unless the child unblocks them. [`Plan::blocked_signals`](crate::process::Plan::blocked_signals) sets
/// the mask with which a program begins. The processes of `ossature::multiprocessing` begin with these two signals
/// unblocked.
///
/// # Errors
/// None that the system documents; the fault hook may give one.
#[doc(alias = "SIG_BLOCK")]
#[doc(alias = "signal.pthread_sigmask")]
pub fn block(set: impl Into<SignalSet>) -> Result<Masked> {
    Masked::by(libc::SIG_BLOCK, set.into())
}

/// `pthread_sigmask(SIG_UNBLOCK, set, &before)`: unblocks these signals, until the returned [`Masked`] is dropped.
///
/// Pending signals take effect before this returns.
///
/// # Errors
/// None that the system documents; the fault hook may give one.
///
/// # Examples
/// See the example of [`Masked`].
#[doc(alias = "SIG_UNBLOCK")]
pub fn unblock(set: impl Into<SignalSet>) -> Result<Masked> {
    Masked::by(libc::SIG_UNBLOCK, set.into())
}

/// `pthread_sigmask(SIG_SETMASK, set, &before)`: blocks exactly these signals, until the returned [`Masked`] is
/// dropped.
///
/// # Errors
/// None that the system documents; the fault hook may give one.
///
/// # Examples
/// See the example of [`Masked`].
#[doc(alias = "SIG_SETMASK")]
pub fn set_mask(set: impl Into<SignalSet>) -> Result<Masked> {
    Masked::by(libc::SIG_SETMASK, set.into())
}

/// `sigpending(&set)`: the blocked signals that were sent to this thread or to the process and are still pending.
///
/// # Errors
/// None that the system documents; the fault hook may give one.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::signal::{self, Signal};
///
/// let _blocked = signal::block(Signal::USR1)?;
/// signal::raise(Signal::USR1)?;
/// assert!(signal::pending()?.contains(Signal::USR1));
/// signal::wait(Signal::USR1, Duration::from_secs(5))?; // takes it
/// assert!(signal::pending()?.is_empty());
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "sigpending")]
#[doc(alias = "signal.sigpending")]
pub fn pending() -> Result<SignalSet> {
    let mut set = MaybeUninit::zeroed();
    // SAFETY: the pointer is valid for a write of a sigset_t.
    raw::call_c("sigpending", || unsafe { libc::sigpending(set.as_mut_ptr()) })?;
    // SAFETY: sigpending succeeded, so it wrote the set (which was zeroed anyway).
    Ok(SignalSet::from_c(&unsafe { set.assume_init() }))
}

/// A change of this thread's mask. Dropping it restores the previous mask.
///
/// Drop several of them in reverse order, as scopes do. It stays in its thread.
///
/// # Examples
/// ```
/// use ossature_sys::signal::{self, Signal, SignalSet};
///
/// let set = SignalSet::from(Signal::USR1);
/// let blocked = signal::block(set)?;
/// assert!(!blocked.before().contains(Signal::USR1) && signal::mask()?.contains(Signal::USR1));
/// drop(blocked); // the former mask is back
/// assert!(!signal::mask()?.contains(Signal::USR1));
/// signal::set_mask(set)?.keep(); // for good
/// assert_eq!(signal::mask()?, set);
/// drop(signal::unblock(set)?); // unblocked and blocked again: a pending signal would arrive here
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[must_use = "dropping this puts the former mask back"]
pub struct Masked {
    before: libc::sigset_t,
    this_thread: PhantomData<StaysInItsThread>,
}

impl Masked {
    fn by(how: c_int, set: SignalSet) -> Result<Self> {
        let before = change(how, Some(&set.to_c()))?;
        Ok(Self { before, this_thread: PhantomData })
    }

    /// The signals that were blocked before.
    pub fn before(&self) -> SignalSet {
        SignalSet::from_c(&self.before)
    }

    /// Keeps the change permanently.
    pub fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        // pthread_sigmask fails only for an unknown `how`. The call does not pass the fault hook here, because a test
        // with a mask that cannot be restored would prove nothing.
        // SAFETY: the set came from pthread_sigmask itself; a null old set is allowed.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut()) };
    }
}

impl core::fmt::Debug for Masked {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Masked").field("before", &self.before()).finish()
    }
}

/// Changes the mask (or only reads it, without a set), and returns the previous one.
fn change(how: c_int, set: Option<&libc::sigset_t>) -> Result<libc::sigset_t> {
    let set = set.map_or(ptr::null(), ptr::from_ref);
    let mut before = MaybeUninit::zeroed();
    raw::call_errno("pthread_sigmask", || {
        // SAFETY: `set` is null or an initialised set that outlives the call; `before` is valid for a write.
        unsafe { libc::pthread_sigmask(how, set, before.as_mut_ptr()) }
    })?;
    // SAFETY: pthread_sigmask succeeded, so it wrote the former mask (which was zeroed anyway).
    Ok(unsafe { before.assume_init() })
}
