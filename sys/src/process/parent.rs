//! Ends a process together with its parent.

use super::{Pid, Signal, set_parent_death_signal};
use crate::errno::{Errno, Result};

/// Has the kernel kill this process with `SIGKILL` as soon as the *thread* that made it has ended, in any way. Kills it
/// at once if the parent `parent` has already ended. The process cannot block, handle or ignore that.
///
/// So this is for a process that the first thread of its parent made. That thread lasts as long as the parent, unless
/// it calls `pthread_exit`, which no Rust program does by itself. A process that was made by another thread, or must
/// know the end of another process, polls a pidfd.
///
/// The children of this process do not inherit it. An exec leaves it in force. An exec of a program with set-user-ID,
/// set-group-ID or capabilities ends it, and so does every change of the effective user or group. Call this again after
/// that. See [`set_parent_death_signal`].
///
/// # Errors
/// `ESRCH` when the parent is outside of this process's pid namespace, as for the first process of a new namespace.
/// Such a parent has no number here by which to check that it still runs. Nothing is set then.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{end_with_parent, fork, id};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let parent = id();
/// let mut child = fork(|| u8::from(end_with_parent(parent).is_ok()))?;
/// assert_eq!(child.wait()?.code(), Some(1));
/// # Ok(()) }
/// ```
#[doc(alias = "PR_SET_PDEATHSIG")]
pub fn end_with_parent(parent: Pid) -> Result<()> {
    super::parent_id().ok_or(Errno::SRCH)?;
    set_parent_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the call; then another process is the parent.
    if super::parent_id() != Some(parent) {
        // A process may always signal itself; an error could not be reported.
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    }
    Ok(())
}
