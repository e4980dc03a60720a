//! A signal that ends waits: the ready-made handler that a program needs for Ctrl-C.

use core::ffi::c_int;
use core::ptr;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64};

use crate::errno::Result;
use crate::eventfd::CancelFd;
use crate::futex::Cancel;
use crate::process;
use crate::signal::{Action, Flags, Signal, SignalSet, handle, numbered, raise, restore_default};

/// The process that installed the handler. In a forked copy the handler does what the signal does by default.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// One bit for each signal; bit 0 is signal 1.
static ASKED: AtomicU64 = AtomicU64::new(0);
static WAITS: AtomicPtr<Cancel> = AtomicPtr::new(ptr::null_mut());
static EVENT: AtomicPtr<CancelFd> = AtomicPtr::new(ptr::null_mut());
/// The number of the signal that came last; 0 for none.
static LAST: AtomicI32 = AtomicI32::new(0);

/// `sigaction(signal, {handler}, &before)`: makes the signal end the waits that watch `waits` or `event`, from now on.
/// Returns what the signal did before.
///
/// If the signal comes a second time while `waits` is still cancelled, it has its default action again, which ends most
/// programs. So a program that does not react can be ended. In a forked copy of this process the signal has its default
/// action from its first arrival on.
///
/// A later call with another `waits` or `event` replaces both for all signals.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::eventfd::CancelFd;
/// use ossature_sys::futex::Cancel;
/// use ossature_sys::signal::{Signal, SignalSet, raise};
/// use ossature_sys::sync::interrupt::{interrupt_on, interrupted, interrupting};
///
/// static WAITS: Cancel = Cancel::new();
/// let event: &'static CancelFd = Box::leak(Box::new(CancelFd::new()?));
/// interrupt_on(Signal::INT, &WAITS, event)?;
/// assert_eq!(interrupting().0, SignalSet::from(Signal::INT));
/// raise(Signal::INT)?; // the user presses Ctrl-C
/// assert!(WAITS.is_cancelled() && event.is_cancelled()?);
/// assert_eq!((interrupted(), interrupted()), (Some(Signal::INT), None));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "signal.set_wakeup_fd")]
#[doc(alias = "default_int_handler")]
pub fn interrupt_on(signal: Signal, waits: &'static Cancel, event: &'static CancelFd) -> Result<Action> {
    if OWNER.swap(own_number(), AcqRel) != own_number() {
        ASKED.store(0, Release); // what a parent asked for is not asked for here
        LAST.store(0, Release);
    }
    WAITS.store(ptr::from_ref(waits).cast_mut(), Release);
    EVENT.store(ptr::from_ref(event).cast_mut(), Release);
    // SAFETY: the handler makes async-signal-safe calls only (a futex call, a write, sigaction, raise), takes no lock,
    // allocates nothing and restores errno. It is a function, which lives forever. It does not handle faults of an
    // instruction unless the program requests that. Then it ends the process at the second arrival of the signal.
    let before = unsafe { handle(signal, interrupt, Flags::RESTART, SignalSet::EMPTY) }?;
    ASKED.fetch_or(bit(signal.as_raw()), AcqRel);
    Ok(before)
}

/// The signals that end waits in this process, and the event that they make readable: none before [`interrupt_on`], and
/// none in a forked copy.
///
/// # Examples
/// See the example of [`interrupt_on`].
pub fn interrupting() -> (SignalSet, Option<&'static CancelFd>) {
    if OWNER.load(Acquire) != own_number() {
        return (SignalSet::EMPTY, None);
    }
    let asked = ASKED.load(Acquire);
    let set = (1..=64).filter(|number| asked & bit(*number) != 0).filter_map(numbered).collect();
    // SAFETY: the pointer is null, or it came from a `&'static CancelFd`.
    (set, unsafe { EVENT.load(Acquire).as_ref() })
}

/// Returns the signal that came last and ended waits, once.
///
/// # Examples
/// See the example of [`interrupt_on`].
pub fn interrupted() -> Option<Signal> {
    numbered(LAST.swap(0, AcqRel))
}

fn bit(number: i32) -> u64 {
    1 << ((number - 1) & 63)
}

fn own_number() -> i32 {
    process::id().as_raw_nonzero().get()
}

extern "C" fn interrupt(number: c_int) {
    // SAFETY: __errno_location(3) has no preconditions and returns the calling thread's own errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the pointer is valid for the life of the thread, and no other thread uses the place.
    let before = unsafe { *errno };
    arrived(number);
    // SAFETY: as above.
    unsafe { *errno = before };
}

fn arrived(number: c_int) {
    // SAFETY: the pointer is null, or it came from a `&'static Cancel`.
    let waits = unsafe { WAITS.load(Acquire).as_ref() };
    // SAFETY: the pointer is null, or it came from a `&'static CancelFd`.
    let event = unsafe { EVENT.load(Acquire).as_ref() };
    let own = OWNER.load(Acquire) == own_number();
    match (waits, event, numbered(number)) {
        (Some(waits), Some(event), _) if own && !waits.is_cancelled() => {
            LAST.store(number, Release);
            waits.cancel();
            let _ = event.cancel(); // a counter that is full is readable already
        }
        // The signal is blocked until the handler returns, and then does what it does by default.
        (_, _, Some(signal)) => {
            let _ = restore_default(signal).and_then(|_| raise(signal)); // both are possible for a signal that came
        }
        (_, _, None) => {}
    }
}
