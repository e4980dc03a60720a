//! Interrupting the main thread from another.

use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::{AcqRel, Release};

use ossature_sys::futex::Cancel;
use ossature_sys::process;
use ossature_sys::signal::{self, Disposition, Signal};

use crate::error::{Error, Result};

static INTERRUPTS: Cancel = Cancel::new();
/// The number of the signal that [`interrupt_main`] simulated last; 0 for none.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// Simulates the arrival of a signal in the main thread: ends its waits that watch [`interrupts`], and if the signal
/// has a handler, has it run there. Nothing happens if the signal is ignored.
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
    match disposition {
        Disposition::Handled => signal::send(process::id(), signal).map_err(failed),
        _ => Ok(()),
    }
}

/// What ends when [`interrupt_main`] is called: a limit for the main thread's waits. It stays so until
/// [`take_interrupt`].
///
/// # Examples
/// See the example of [`interrupt_main`].
pub fn interrupts() -> &'static Cancel {
    &INTERRUPTS
}

/// The signal that [`interrupt_main`] simulated, if it did since the last call; the main thread can wait again then.
///
/// # Examples
/// See the example of [`interrupt_main`].
pub fn take_interrupt() -> Option<Signal> {
    INTERRUPTS.reset();
    signal::numbered(SIGNAL.swap(0, AcqRel))
}
