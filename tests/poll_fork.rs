//! The poll object and the selectors across a fork. This is a binary of its own, because a child has copies of the open
//! files of other tests.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature::select::selectors::{DefaultSelector, EpollSelector, Interest, KqueueSelector, SelectSelector, Selector};
use ossature::select::{Poll, PollFlags};

#[test]
fn a_forked_child_has_a_set_of_its_own() {
    let (near, _far) = UnixStream::pair().unwrap();
    let (other, _other_far) = UnixStream::pair().unwrap();
    let mut poll = Poll::new();
    poll.register(near.as_fd(), PollFlags::OUT);
    poll.register(other.as_fd(), PollFlags::IN);
    // SAFETY: the child makes system calls and allocates (which glibc and musl allow after fork), takes no lock that
    // another thread may hold, and leaves by _exit without returning.
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
            assert_eq!(child.wait(), Ok(ossature::sys::process::ExitStatus::Code(0)));
            let found: Vec<_> = poll.poll(Duration::ZERO).unwrap().map(|(fd, _)| fd.as_raw_fd()).collect();
            assert_eq!(found, [near.as_raw_fd()], "the child's changes are its own");
        }
    }
}

/// A child's changes to an inherited selector leave the parent's selector unchanged.
fn shares_nothing<'a>(mut selector: impl Selector<&'a UnixStream, ()>, streams: [&'a UnixStream; 3]) {
    let [writable, silent, late] = streams;
    let token = selector.register(writable, Interest::WRITE, ()).unwrap();
    let other = selector.register(silent, Interest::READ, ()).unwrap();
    // SAFETY: the child makes system calls and allocates (which glibc and musl allow after fork), takes no lock that
    // another thread may hold, and leaves by _exit without returning.
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
            assert_eq!(child.wait(), Ok(ossature::sys::process::ExitStatus::Code(0)));
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
    shares_nothing(KqueueSelector::new().unwrap(), streams);
    shares_nothing(DefaultSelector::new().unwrap(), streams);
    shares_nothing(SelectSelector::new().unwrap(), streams);
}

/// Runs `body` in a child, and checks that it returns true.
fn in_a_child(body: impl FnOnce() -> bool) {
    // SAFETY: the child makes system calls and allocates (which glibc and musl allow after fork), takes no lock that
    // another thread may hold, and leaves by _exit without returning.
    match unsafe { ossature::sys::process::fork_unchecked() }.unwrap() {
        // SAFETY: _exit has no preconditions.
        None => unsafe { libc::_exit(i32::from(!body())) },
        Some(mut child) => assert_eq!(child.wait(), Ok(ossature::sys::process::ExitStatus::Code(0))),
    }
}

#[test]
fn a_forked_child_makes_its_set_once() {
    let (near, _far) = UnixStream::pair().unwrap();
    let mut selector = EpollSelector::new().unwrap();
    let token = selector.register(&near, Interest::WRITE, ()).unwrap();
    in_a_child(|| {
        let mut look = || selector.select(Duration::ZERO).is_ok_and(|found| found == [(token, Interest::WRITE)]);
        let first = look().then(|| selector.as_fd().as_raw_fd());
        let mut look = || selector.select(Duration::ZERO).is_ok_and(|found| found == [(token, Interest::WRITE)]);
        look() && first == Some(selector.as_fd().as_raw_fd())
    });
}

#[test]
fn a_forked_child_does_without_what_was_closed_behind_its_back() {
    let (near, _far) = UnixStream::pair().unwrap();
    let room = near.try_clone().unwrap();
    let (gone, _other) = UnixStream::pair().unwrap();
    let mut selector = EpollSelector::new().unwrap();
    let token = selector.register(&near, Interest::WRITE, ()).unwrap();
    selector.register(&gone, Interest::WRITE, ()).unwrap();
    in_a_child(|| {
        // The new set gets this number, so that the other one stays free.
        drop(room);
        // SAFETY: the child leaves by _exit, so nobody closes the number once more.
        let closed = unsafe { libc::close(gone.as_raw_fd()) } == 0;
        closed && selector.select(Duration::ZERO).is_ok_and(|found| found == [(token, Interest::WRITE)])
    });
}

#[test]
fn without_a_descriptor_for_a_set_the_default_selector_polls() {
    let (near, _far) = UnixStream::pair().unwrap();
    in_a_child(|| {
        let few = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
        // SAFETY: setrlimit(2) reads the limit, which lives for the whole call.
        let limited = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const few) } == 0;
        // SAFETY: dup(2) takes a number, and the copies end with the child.
        while unsafe { libc::dup(near.as_raw_fd()) } >= 0 {}
        let no_set = EpollSelector::<&UnixStream>::new().is_err();
        let found = DefaultSelector::new().is_ok_and(|mut selector| {
            selector.register(&near, Interest::WRITE, ()).is_ok_and(|token| {
                selector.select(Duration::ZERO).is_ok_and(|found| found == [(token, Interest::WRITE)])
            })
        });
        limited && no_set && found
    });
}

/// Without a descriptor for a set the child checks one object at a time, and forgets an object there when it is
/// removed.
#[test]
fn a_forked_child_without_a_set_forgets_what_is_taken_out() {
    let pairs = [(); 2].map(|()| UnixStream::pair().unwrap());
    let mut poll = Poll::new();
    poll.register(pairs[0].0.as_fd(), PollFlags::OUT);
    let first = pairs[0].0.as_raw_fd();
    let second = pairs[1].0.as_raw_fd();
    in_a_child(|| {
        let limit = |most| {
            let most = libc::rlimit { rlim_cur: most, rlim_max: 64 };
            // SAFETY: setrlimit(2) reads the limit, which lives for the whole call.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const most) == 0 }
        };
        let look = |poll: &mut Poll<BorrowedFd<'_>>| -> Vec<i32> {
            poll.poll(Duration::ZERO).map(|ready| ready.map(|(fd, _)| fd.as_raw_fd()).collect()).unwrap_or_default()
        };
        let without = limit(1) && look(&mut poll) == [first] && limit(64);
        // The set is made here, beside those that are asked one by one.
        poll.register(pairs[1].0.as_fd(), PollFlags::OUT);
        let both = look(&mut poll) == [first, second];
        let taken_out = poll.unregister(&pairs[0].0).is_ok();
        poll.register(pairs[0].0.as_fd(), PollFlags::OUT);
        without && both && taken_out && look(&mut poll) == [second, first]
    });
}
