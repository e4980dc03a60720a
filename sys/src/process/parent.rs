//! A process that does not outlive its parent.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, Ordering::SeqCst};

use super::{Pid, Signal, set_parent_death_signal};
use crate::errno::{Errno, Result};
use crate::signal::{self, Flags, SignalSet};

/// The number of the parent whose end is this process's.
static PARENT: AtomicI32 = AtomicI32::new(0);

/// Kills this process with `SIGKILL` as soon as `parent`, its parent, is no more, however that ended; at once if it is gone
/// already.
///
/// The kernel's notice (see [`set_parent_death_signal`]) also comes when only the *thread* that forked has ended. So it is
/// given as a real-time signal, `SIGRTMAX - 1`, whose handler looks whether this process has another parent now; if not, the
/// notice stays in force. The signal is let through in the calling thread; a program that blocks it in all of its threads
/// is not ended.
///
/// Children of this process do not inherit it. An exec takes the handler away and leaves the notice, which then ends
/// the new program whenever it comes.
///
/// # Errors
/// `EINVAL` when the kernel or the libc does not know that signal: nothing is in force.
#[doc(alias = "PR_SET_PDEATHSIG")]
pub fn end_with_parent(parent: Pid) -> Result<()> {
    let notice = signal::numbered(libc::SIGRTMAX() - 1).ok_or(Errno::INVAL)?;
    PARENT.store(parent.as_raw_nonzero().get(), SeqCst);
    // SAFETY: the handler makes two system calls, which leave errno alone unless they fail, and these cannot; it is a
    // function of the program; the signal is no fault of an instruction.
    unsafe { signal::handle(notice, noticed, Flags::RESTART, SignalSet::EMPTY) }?;
    signal::unblock(SignalSet::from([notice]))?.keep();
    set_parent_death_signal(Some(notice))?;
    // It may have died before the kernel was asked for the notice.
    end_if_orphaned();
    Ok(())
}

extern "C" fn noticed(_: c_int) {
    end_if_orphaned();
}

fn end_if_orphaned() {
    if Pid::as_raw(rustix::process::getppid()) != PARENT.load(SeqCst) {
        // A process may always signal itself; there is nobody left to hear of an error. Not under the fault hook, which is
        // no business of a signal handler.
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    }
}
