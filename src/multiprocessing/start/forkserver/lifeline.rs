//! A process that does not outlive one that is not its parent.

use std::io;
use std::os::fd::OwnedFd;
use std::thread::Builder;

use ossature_sys::deadline::Deadline;
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::Signal;
use ossature_sys::signal::raise;

/// Kills this process as soon as the process of `pidfd` has ended, however that came; at once if it has ended already.
///
/// The kernel tells a process of the end of its parent only, which here is the fork server; and that may be killed first, so it
/// cannot be the one to see to it either. A thread of this process waits: whatever else is killed, it sees the end. A socket
/// that raises a signal when its peer closes would spare the thread, but every forked child of the client holds the peer too.
pub(in crate::multiprocessing) fn end_with(pidfd: OwnedFd) -> io::Result<()> {
    let watch = move || {
        // Without a deadline it comes back when the other has ended, or never.
        if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Deadline::NEVER).is_ok() {
            let _ = raise(Signal::KILL);
        }
    };
    Builder::new().name("lifeline".into()).stack_size(64 << 10).spawn(watch).map(drop)
}
