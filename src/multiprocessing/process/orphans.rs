//! A process above the program, which reaps what nobody else waits for.

use std::mem::MaybeUninit;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::process::{
    Child, Exit, become_subreaper, continue_in_child, is_subreaper, reap_any, resign_subreaper,
};
use ossature_sys::signal::{Signal, SignalSet, set_mask};
use ossature_sys::signalfd::SignalFd;

use crate::error::{Error, Result};

/// Puts a process above this program that reaps orphans: the processes whose parents ended without waiting for them. For a program that
/// is the first process of a container, where they would stay zombies for ever, or that wants none of its descendants to leave it.
///
/// The program goes on *in a child* of the process that called this: there it returns. The caller stays behind as a subreaper
/// (`PR_SET_CHILD_SUBREAPER`). It hands every signal that it is sent on to the program, reaps each orphan as soon as that has ended, and
/// ends as the program ends: with its exit code, or with 128 and the number of the signal that ended it.
///
/// So no exit of a child with a handle is ever taken away, neither of this library's nor of `std`'s: the program's own children are
/// not that process's. And the program is not the first process of its namespace any more, which the kernel spares the
/// default actions of signals.
///
/// Call it in `main`, behind [`freeze_support`](crate::multiprocessing::freeze_support) and before everything else: what was made
/// before (finalizers, handles of children) belongs to the process that stays behind. The program has another number than
/// the process that was started. Signals from the keyboard reach both by themselves, and are not handed on.
///
/// # Errors
/// As [`Builder::fork`](super::Builder::fork), for one is made: [`MultiThreaded`](crate::ErrorKind::MultiThreaded) beside other threads. The
/// program goes on in this very process then, and nothing is changed.
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
    let signals = SignalFd::new(handed_on()).map_err(failed)?;
    let was_subreaper = is_subreaper().map_err(failed)?;
    become_subreaper().map_err(failed)?; // which the child is not
    // Whatever comes from here on is read from the descriptor, in the process that stays; in the child the mask is put back.
    let masked = set_mask(handed_on()).map_err(failed)?;
    let forked = continue_in_child(|program| watch(program, &signals));
    if forked.is_err() && !was_subreaper {
        let _ = resign_subreaper(); // as it did not fail in the other direction
    }
    drop(masked);
    Ok(forked?)
}

/// The signals that the program gets from the process above it. Those by which a terminal stops a job stop both.
fn handed_on() -> SignalSet {
    [Signal::TSTP, Signal::TTIN, Signal::TTOU, Signal::CONT].into_iter().fold(SignalSet::FULL, SignalSet::without)
}

/// The whole life of the process that stays behind; answers with what it is to end with.
fn watch(mut program: Child, signals: &SignalFd) -> u8 {
    /// What a signal of the kernel's own says of itself: from the keyboard, which the program gets as well.
    const SI_KERNEL: i32 = 0x80;
    const PAUSE: Duration = Duration::from_millis(100);
    let mut room = [const { MaybeUninit::uninit() }; 8];
    loop {
        while let Ok(Some((pid, exit))) = reap_any() {
            if pid == program.pid() {
                return code_of(exit);
            }
        }
        // Somebody may have waited for it by the wrong means, a tracer say.
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

fn code_of(exit: Exit) -> u8 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal { signal, .. } => 128 + signal as u8, // signals go up to 64
        Exit::Unknown => 255,
    }
}
