//! How a daemon ends with its parent, however the parent ended, by a means that the daemon cannot block, handle or
//! forget.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread::Builder;

use ossature_sys::deadline::Deadline;
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{Pid, Signal, end_with_parent, exit};
use ossature_sys::signal::{SignalSet, raise, set_mask};

/// Kills this process as soon as its parent, the process of `pidfd`, has ended; at once if the parent has ended
/// already.
///
/// The kernel does it where it can, for `child_of`: the parent's number, if the first thread of the parent made this
/// process. The end of any other thread would count as the parent's. The fork server, which makes the children of
/// others, may be killed first. In a new pid namespace the parent has no number. In these three cases a thread of this
/// process waits.
pub(crate) fn die_with_parent(pidfd: BorrowedFd<'_>, child_of: Option<Pid>) -> io::Result<()> {
    match child_of.map(end_with_parent) {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) | None => wait_for(pidfd.try_clone_to_owned()?),
    }
}

/// A socket that raises a signal when its peer closes would spare the thread, but every forked child of the parent
/// holds the peer too.
fn wait_for(pidfd: OwnedFd) -> io::Result<()> {
    let watch = move || {
        // Without a deadline poll returns when the other process has ended, or never.
        if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Deadline::NEVER).is_ok() {
            let _ = raise(Signal::KILL);
            // The first process of a pid namespace is spared every signal of its own.
            exit(128 + 9)
        }
    };
    // A signal for the process is for the program's threads, which may have blocked it to take it from a descriptor.
    let _masked = set_mask(SignalSet::FULL)?;
    Builder::new().name("parent-death".into()).stack_size(64 << 10).spawn(watch).map(drop)
}
