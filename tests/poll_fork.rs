//! The poll object across a fork: a binary of its own, because a child holds copies of whatever other tests have open.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature::select::{Poll, PollFlags};

#[test]
fn a_forked_child_has_a_set_of_its_own() {
    let (near, _far) = UnixStream::pair().unwrap();
    let (other, _other_far) = UnixStream::pair().unwrap();
    let mut poll = Poll::new();
    poll.register(near.as_fd(), PollFlags::OUT);
    poll.register(other.as_fd(), PollFlags::IN);
    // SAFETY: the child makes system calls and allocates (which glibc and musl allow after fork), takes no lock that another
    // thread may hold, and leaves by _exit without returning.
    match unsafe { ossature::sys::process::fork_unchecked() }.unwrap() {
        None => {
            let inherited = poll.poll(Duration::ZERO).is_ok_and(|ready| ready.len() == 1);
            let taken_out = poll.unregister(&near).is_ok() && poll.modify(&other, PollFlags::OUT).is_ok();
            let changed = poll.poll(Duration::ZERO).is_ok_and(|mut ready| {
                ready.len() == 1 && ready.next().is_some_and(|(fd, _)| fd.as_raw_fd() == other.as_raw_fd())
            });
            // SAFETY: _exit has no preconditions.
            unsafe { libc::_exit(i32::from(!(inherited && taken_out && changed))) };
        }
        Some(mut child) => {
            assert_eq!(child.wait(), Ok(ossature::sys::process::Exit::Code(0)));
            let found: Vec<_> = poll.poll(Duration::ZERO).unwrap().map(|(fd, _)| fd.as_raw_fd()).collect();
            assert_eq!(found, [near.as_raw_fd()], "the child's changes are its own");
        }
    }
}
