//! The exit sequence of a process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::process::at_exit;

use crate::error::{Error, Result};
use crate::multiprocessing::logging::{debug, info, set_late, warning};
use crate::multiprocessing::state::{OwnState, Process, active_children, process_state};
use crate::thread::report_panics;

/// Registers the exit sequence to run at the normal end of the program, once per program; children inherit it.
pub(crate) fn arm() -> Result<()> {
    static ARMED: AtomicBool = AtomicBool::new(false);
    if !ARMED.load(Relaxed) && !ARMED.swap(true, SeqCst) {
        if let Err(errno) = at_exit(last_call) {
            ARMED.store(false, SeqCst);
            return Err(Error::os(errno, "cannot register the exit sequence of the process"));
        }
    }
    Ok(())
}

extern "C" fn last_call() {
    set_late();
    // The panic hook has reported it, and unwinding into C would abort.
    let _ = catch_unwind(AssertUnwindSafe(exit_sequence));
}

/// Runs the exit sequence once: finalizers of priority 0 and above, the end of the daemons, the wait for the other
/// children. Then come the end of the daemons started meanwhile, and the other finalizers.
#[inline(always)] // a forked child would pay for another page of code
pub(crate) fn exit_sequence() {
    let state = process_state();
    if state.exiting.swap(true, SeqCst) {
        return;
    }
    info!("process shutting down");
    debug!("running all \"atexit\" finalizers with priority >= 0");
    run_finalizers(state, Some(0));
    // Most children have no children, and the first use of this code would cost page faults.
    if !state.children.is_empty() {
        end_children();
    }
    // A running thread may have started more daemons meanwhile: a thread that waits for a pool restarts its supervisor.
    // A wait for them would not end.
    if !state.children.is_empty() {
        end_daemons();
    }
    debug!("running the remaining \"atexit\" finalizers");
    run_finalizers(state, None);
}

/// Ends the daemons, and waits for the other children.
#[inline(never)]
fn end_children() {
    end_daemons();
    for child in active_children().into_iter().filter(|child| !child.daemon()) {
        info!("calling join() for process {}", child.name());
        let _ = child.join();
    }
}

/// Runs the finalizers with an exit priority of at least `least`; with `None` all of them.
#[inline]
fn run_finalizers(state: &'static OwnState, least: Option<i32>) {
    let has_none = state.finalizers.lock().list.is_empty();
    if !has_none {
        run_all(state, least); // most children have none, and the first use of this code costs page faults
    }
}

#[inline(never)]
fn run_all(state: &'static OwnState, least: Option<i32>) {
    let mut due: Vec<(i32, u64)> = {
        let finalizers = state.finalizers.lock();
        let with_priority = finalizers.list.iter().filter_map(|(number, entry)| Some((entry.priority?, *number)));
        with_priority.filter(|(priority, _)| least.is_none_or(|least| *priority >= least)).collect()
    };
    // Highest first, and the newest first among equals.
    due.sort_unstable();
    for (_, number) in due.into_iter().rev() {
        // A finalizer that ran before may have cancelled this one.
        let entry = state.finalizers.lock().list.remove(&number);
        if let Some(entry) = entry {
            report_panics(entry.callback);
        }
    }
}

/// Sends `SIGTERM` to the daemons, and `SIGKILL` to those that have not ended within the grace time.
#[inline(never)]
fn end_daemons() {
    let mut daemons = active_children();
    daemons.retain(|child| child.daemon() && child.pid().is_some());
    if daemons.is_empty() {
        return; // without a look at the clock, of which a short-lived child would pay the first
    }
    for child in &daemons {
        info!("calling terminate() for daemon {}", child.name());
        let _ = child.terminate(); // it may have ended meanwhile, or become another user's
    }
    let deadline = Deadline::from(*grace());
    let lives_on = |child: &Process| child.join_timeout(deadline).is_ok_and(|end| end.is_none());
    daemons.retain(lives_on);
    for child in &daemons {
        warning!("killing daemon {}, which did not end at SIGTERM", child.name());
        if child.kill().is_ok() {
            let _ = child.join(); // the kernel ends it
        }
    }
}

static GRACE: Mutex<Option<Duration>> = Mutex::new(Some(Duration::from_secs(5)));

fn grace() -> MutexGuard<'static, Option<Duration>> {
    GRACE.lock().unwrap_or_else(PoisonError::into_inner) // no change leaves it half made
}

/// Sets how long the daemons of this process may take in total, from the `SIGTERM` at its normal end until they are
/// killed. The default is 5 s; `None` sets no limit.
///
/// Daemons that a thread starts meanwhile have the same time once more.
///
/// Differs from Python, which waits forever for a daemon that ignores `SIGTERM` or is stopped. A forked child has the
/// grace of its parent, any other the usual one.
///
/// # Examples
/// See the example of [`is_exiting`].
pub fn set_daemon_grace(time: impl Into<Option<Duration>>) {
    *grace() = time.into();
}

/// Whether the end of this process has begun.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::multiprocessing::util::{Finalize, is_exiting, set_daemon_grace};
/// use ossature::multiprocessing::{Process, pipe};
///
/// fn main() -> ossature::Result<()> {
///     let (near, far) = pipe()?;
///     let process = Process::fork_with(far, |far| {
///         Finalize::at_exit(10, move || drop(far.send(&is_exiting()))).leave();
///         assert!(!is_exiting());
///     })?;
///     assert!(near.recv::<bool>()? && process.join()?.success());
///
///     // This daemon gets SIGTERM at the end of main, and SIGKILL if it has not ended a second later.
///     set_daemon_grace(Duration::from_secs(1));
///     Process::builder().daemon(true).fork(|| -> u8 { loop { std::thread::park() } })?;
///     Ok(())
/// }
/// ```
pub fn is_exiting() -> bool {
    process_state().exiting.load(SeqCst)
}
