//! The end of a process, in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};

use ossature_sys::process::at_exit;

use super::finalize::run_finalizers;
use crate::error::{Error, Result};
use crate::multiprocessing::logging::{debug, info};
use crate::multiprocessing::process::active_children;
use crate::multiprocessing::process::era::era;

/// Has the exit sequence run at the normal end of the program, once in its life; children have it from their parent.
pub(crate) fn arm() -> Result<()> {
    static ARMED: AtomicBool = AtomicBool::new(false);
    if !ARMED.load(Relaxed) && !ARMED.swap(true, SeqCst) {
        if let Err(errno) = at_exit(last_call) {
            ARMED.store(false, SeqCst);
            return Err(Error::os(errno, "cannot register the end of the process"));
        }
    }
    Ok(())
}

extern "C" fn last_call() {
    // The panic hook has reported it, and unwinding into C would abort.
    let _ = catch_unwind(AssertUnwindSafe(exit_sequence));
}

/// Finalizers of priority 0 and above, the end of the daemons, the wait for all children, the other finalizers. Once.
pub(crate) fn exit_sequence() {
    let era = era();
    if era.exiting.swap(true, SeqCst) {
        return;
    }
    info!("process shutting down");
    debug!("running all \"atexit\" finalizers with priority >= 0");
    run_finalizers(era, Some(0));
    let children = active_children();
    for child in children.iter().filter(|child| child.daemon() && child.pid().is_some()) {
        info!("calling terminate() for daemon {}", child.name());
        let _ = child.terminate(); // it may have ended meanwhile, or become another user's
    }
    drop(children);
    // A thread that is a daemon is not waited for: nothing could make it end.
    for child in active_children().into_iter().filter(|child| child.pid().is_some() || !child.daemon()) {
        info!("calling join() for process {}", child.name());
        let _ = child.join();
    }
    debug!("running the remaining \"atexit\" finalizers");
    run_finalizers(era, None);
}

/// Whether the end of this process has begun.
pub fn is_exiting() -> bool {
    era().exiting.load(SeqCst)
}
