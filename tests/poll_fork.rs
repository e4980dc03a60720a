//! The poll object and the selectors across a fork: a binary of its own, because a child holds copies of whatever other tests have open.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature::select::selectors::{DefaultSelector, EpollSelector, Interest, SelectSelector, Selector};
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

/// What a child does to a selector that it inherited leaves the parent's as it was.
fn shares_nothing<'a>(mut selector: impl Selector<&'a UnixStream, ()>, streams: [&'a UnixStream; 3]) {
    let [writable, silent, late] = streams;
    let token = selector.register(writable, Interest::WRITE, ()).unwrap();
    let other = selector.register(silent, Interest::READ, ()).unwrap();
    // SAFETY: the child makes system calls and allocates (which glibc and musl allow after fork), takes no lock that another
    // thread may hold, and leaves by _exit without returning.
    match unsafe { ossature::sys::process::fork_unchecked() }.unwrap() {
        None => {
            let is = |found: ossature::Result<Vec<_>>, expected| found.is_ok_and(|found| found == [expected]);
            let taken_out = selector.unregister(token).is_ok() && selector.modify(other, Interest::WRITE, ()).is_ok();
            let changed = is(selector.select(Duration::ZERO), (other, Interest::WRITE));
            let put_in = selector.modify(other, Interest::READ, ()).is_ok()
                && selector
                    .register(late, Interest::WRITE, ())
                    .is_ok_and(|late| is(selector.select(Duration::ZERO), (late, Interest::WRITE)));
            // SAFETY: _exit has no preconditions.
            unsafe { libc::_exit(i32::from(!(taken_out && changed && put_in))) };
        }
        Some(mut child) => {
            assert_eq!(child.wait(), Ok(ossature::sys::process::Exit::Code(0)));
            assert_eq!(selector.select(Duration::ZERO).unwrap(), [(token, Interest::WRITE)]);
            // The kernel's set has it still, so it can be changed there.
            selector.modify(token, Interest::READ, ()).unwrap();
            assert_eq!(selector.select(Duration::ZERO).unwrap(), []);
        }
    }
}

#[test]
fn a_forked_child_has_a_selector_of_its_own() {
    let pairs = [(); 3].map(|()| UnixStream::pair().unwrap());
    let streams = [&pairs[0].0, &pairs[1].0, &pairs[2].0];
    shares_nothing(EpollSelector::new().unwrap(), streams);
    shares_nothing(DefaultSelector::new().unwrap(), streams);
    shares_nothing(SelectSelector::new().unwrap(), streams);
}
