//! Interruption of the main thread by another.

use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::sync::{Mutex, PoisonError};

use ossature_sys::eventfd::CancelFd;
use ossature_sys::fd::AboveStandard;
use ossature_sys::futex::Cancel;
use ossature_sys::process;
use ossature_sys::signal::{self, Disposition, Signal};
use ossature_sys::sync::interrupt;

use crate::error::{Error, Result};

static INTERRUPTS: Cancel = Cancel::new();
/// The number of the signal that [`interrupt_main`] simulated last; 0 for none.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// Simulates the arrival of a signal in the main thread. It ends the main thread's waits that watch [`interrupts`], and
/// if the signal has a handler, the handler runs there. Nothing happens if the signal is ignored.
///
/// Differs from Python: a signal without a handler ends the waits as well, as Python's own handler of `SIGINT` does.
/// The default action of the signal, such as ending the process, is never done.
///
/// # Errors
/// `EAGAIN` for a real-time signal when too many are queued. (A number that is not a signal makes no `Signal`.)
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use ossature::sys::signal::Signal;
/// use ossature::thread;
/// use ossature::threading::Event;
///
/// # ossature::sys::signal::restore_default(Signal::INT)?; // a shell ignores it for what runs beside it
/// let never = Event::new();
/// thread::start_new_thread(|| thread::interrupt_main(Signal::INT).unwrap())?;
/// assert!(!never.wait_timeout(thread::interrupts().within(Duration::from_secs(60))));
/// assert_eq!(thread::take_interrupt(), Some(Signal::INT));
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn interrupt_main(signal: Signal) -> Result<()> {
    let failed = |errno| Error::os(errno, "can't interrupt the main thread");
    let disposition = signal::disposition(signal).map_err(failed)?;
    if disposition == Disposition::Ignored {
        return Ok(());
    }
    SIGNAL.store(signal.as_raw(), Release);
    INTERRUPTS.cancel();
    let (asked, event) = interrupt::interrupting();
    if let Some(event) = event {
        event.cancel().map_err(failed)?;
    }
    match disposition {
        // The handler of `interrupt_on` has nothing more to do.
        Disposition::Handled if asked.contains(signal) => Ok(()),
        Disposition::Handled => signal::send(process::id(), signal).map_err(failed),
        _ => Ok(()),
    }
}

/// Returns a limit for the main thread's waits, which [`interrupt_main`] ends. The limit stays ended until
/// [`take_interrupt`].
///
/// # Examples
/// See the example of [`interrupt_main`].
pub fn interrupts() -> &'static Cancel {
    &INTERRUPTS
}

/// Returns the signal that [`interrupt_main`] simulated since the last call, if any; the main thread can wait again
/// then.
///
/// # Examples
/// See the example of [`interrupt_main`].
pub fn take_interrupt() -> Option<Signal> {
    if let (_, Some(event)) = interrupt::interrupting() {
        let _ = event.reset(); // fails only where a sandbox forbids the call
    }
    INTERRUPTS.reset();
    let simulated = signal::numbered(SIGNAL.swap(0, AcqRel));
    interrupt::interrupted().or(simulated)
}

/// Makes a signal, such as `SIGINT` of Ctrl-C, end waits from now on. These are the waits of the main thread that watch
/// [`interrupts`], and every wait for a pool of processes. The library does so only in a program that calls this.
///
/// A wait for a [`Pool`](crate::multiprocessing::Pool) then fails with [`Interrupted`](crate::ErrorKind::Interrupted),
/// and the pool ends with all its workers. Call this before the first pool is made: the processes of such a pool leave
/// the signal to this process.
///
/// Until [`take_interrupt`] a second signal has its default, which ends the program. So does the signal in a forked
/// child.
///
/// Python does this in every program, by a handler of `SIGINT` that raises `KeyboardInterrupt` in the main thread.
///
/// # Errors
/// `EINVAL` for `SIGKILL` and `SIGSTOP`; `EMFILE` or `ENFILE` when no descriptor is left.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::sys::signal::{Signal, raise};
/// use ossature::thread;
/// use ossature::threading::Event;
///
/// thread::interrupt_on(Signal::INT)?;
/// raise(Signal::INT)?; // as if the user presses Ctrl-C
/// let never = Event::new();
/// assert!(!never.wait_timeout(thread::interrupts().within(Duration::from_secs(60))));
/// assert_eq!(thread::take_interrupt(), Some(Signal::INT));
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "KeyboardInterrupt")]
#[doc(alias = "default_int_handler")]
#[doc(alias = "set_wakeup_fd")]
#[doc(alias = "ctrl_c")]
pub fn interrupt_on(signal: Signal) -> Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let failed = |errno| Error::os(errno, "cannot install a signal handler that ends waits");
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner); // it guards no value
    let event = match interrupt::interrupting() {
        (_, Some(event)) => event,
        (_, None) => Box::leak(Box::new(CancelFd::new().and_then(AboveStandard::above_standard).map_err(failed)?)),
    };
    interrupt::interrupt_on(signal, &INTERRUPTS, event).map(drop).map_err(failed)
}

/// Returns the descriptor that is readable while an interrupt is pending, if the program has enabled interrupts.
#[cfg(feature = "multiprocessing")]
pub(crate) fn interrupt_event() -> Option<&'static CancelFd> {
    interrupt::interrupting().1
}
