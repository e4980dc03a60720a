//! A process above the program that reaps orphans.

use std::mem::MaybeUninit;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::fd::AboveStandard;
use ossature_sys::process::{
    Child, ExitStatus, become_subreaper, continue_in_child, is_subreaper, reap_any, resign_subreaper,
};
use ossature_sys::signal::{Signal, SignalSet, set_mask};
use ossature_sys::signalfd::SignalFd;

use crate::error::{Error, Result};

/// Puts a process above this program that reaps orphans: processes whose parents ended without waiting for them. Use
/// this call in a program that is the first process of a container, where orphans would stay zombies forever. The call
/// also serves a program that keeps all its descendants below itself.
///
/// This call forks and returns *in the child*, where the program continues. The calling process stays above the program
/// as a subreaper (`PR_SET_CHILD_SUBREAPER`). The subreaper forwards every signal to the program and reaps each orphan
/// as soon as the orphan ends. The subreaper ends when the program ends: with the program's exit code, or with 128 plus
/// the number of the signal that ended the program.
///
/// The program's own children are not children of the subreaper. So the subreaper never reaps a child for which this
/// library or `std` has a handle. The program is no longer the first process of its namespace, so signals have their
/// default actions.
///
/// Call it in `main`, after [`freeze_support`](crate::multiprocessing::freeze_support) and before everything else.
/// Finalizers and handles of children that were made before belong to the subreaper. The program has another process id
/// than the process that was started: take the sockets of a service manager before
/// ([`Listener::from_environment`](crate::multiprocessing::connection::Listener::from_environment)). A `SIGKILL` to the
/// subreaper cannot be forwarded, and leaves the program running. Signals from the keyboard reach both processes, so
/// the subreaper does not forward them.
///
/// # Errors
/// As [`ProcessBuilder::fork`](super::ProcessBuilder::fork): [`MultiThreaded`](crate::ErrorKind::MultiThreaded) while
/// other threads run. Then the program continues in the calling process, and nothing is changed.
///
/// # Examples
/// ```no_run
/// use ossature::multiprocessing::{Tasks, freeze_support, process::reap_orphans, tasks};
///
/// fn work() {}
/// static TASKS: Tasks = tasks![work];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     if std::process::id() == 1 {
///         reap_orphans()?;
///     }
///     // ...
///     Ok(())
/// }
/// ```
#[doc(alias = "PR_SET_CHILD_SUBREAPER")]
#[doc(alias = "init")]
pub fn reap_orphans() -> Result<()> {
    let failed = |errno| Error::os(errno, "cannot stay behind to reap orphans");
    let signals = SignalFd::new(handed_on()).and_then(AboveStandard::above_standard).map_err(failed)?;
    let was_subreaper = is_subreaper().map_err(failed)?;
    become_subreaper().map_err(failed)?; // which the child is not
    // From here on the process that stays reads signals from the descriptor. The child restores the mask.
    let masked = set_mask(handed_on()).map_err(failed)?;
    let forked = continue_in_child(|program| watch(program, &signals));
    if forked.is_err() && !was_subreaper {
        let _ = resign_subreaper(); // as it did not fail in the other direction
    }
    drop(masked);
    Ok(forked?)
}

/// The signals that the subreaper forwards to the program. The signals by which a terminal stops a job stop both
/// processes.
fn handed_on() -> SignalSet {
    [Signal::TSTP, Signal::TTIN, Signal::TTOU, Signal::CONT].into_iter().fold(SignalSet::FULL, SignalSet::without)
}

/// Runs the subreaper, and returns its exit code.
fn watch(mut program: Child, signals: &SignalFd) -> u8 {
    /// The code of a signal that the kernel sent, for example for a key; the program receives such a signal as well.
    const SI_KERNEL: i32 = 0x80;
    const PAUSE: Duration = Duration::from_millis(100);
    let mut room = [const { MaybeUninit::uninit() }; 8];
    loop {
        while let Ok(Some((pid, exit))) = reap_any() {
            if pid == program.pid() {
                return code_of(exit);
            }
        }
        // Another process may have taken the end of the program, for example a tracer.
        if let Ok(Some(exit)) = program.try_wait() {
            return code_of(exit);
        }
        let Ok(infos) = signals.read(&mut room, Deadline::NEVER) else {
            let _ = program.wait_timeout(PAUSE); // nothing can be handed on now
            continue;
        };
        for signal in infos.iter().filter(|info| info.code() != SI_KERNEL).filter_map(|info| info.signal()) {
            if signal != Signal::CHILD {
                let _ = program.signal(signal); // it may have ended just now
            }
        }
    }
}

fn code_of(exit: ExitStatus) -> u8 {
    match exit {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal { signal, .. } => 128 + signal as u8, // signals go up to 64
        ExitStatus::Unknown => 255,
    }
}
