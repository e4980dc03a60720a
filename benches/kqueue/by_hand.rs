//! epoll(7), poll(2) and related calls by hand: what a program writes without an event queue.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// An epoll set.
#[derive(Debug)]
pub struct Set(OwnedFd);

impl AsFd for Set {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A buffer for `len` events.
pub fn room(len: usize) -> Vec<libc::epoll_event> {
    vec![libc::epoll_event { events: 0, u64: 0 }; len]
}

impl Set {
    pub fn new() -> Self {
        // SAFETY: epoll_create1(2) takes a number.
        Self(owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }))
    }

    pub fn add(&self, fd: impl AsFd) {
        let fd = fd.as_fd().as_raw_fd();
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: fd as u64 };
        // SAFETY: epoll_ctl(2) reads one event.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) });
    }

    pub fn delete(&self, fd: impl AsFd) {
        let nothing = std::ptr::null_mut();
        // SAFETY: EPOLL_CTL_DEL reads no event.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_fd().as_raw_fd(), nothing) });
    }

    /// Waits, and returns the events.
    pub fn wait<'r>(&self, room: &'r mut [libc::epoll_event]) -> &'r [libc::epoll_event] {
        let (place, len) = (room.as_mut_ptr(), room.len() as i32); // a thousand at most
        // SAFETY: epoll_wait(2) writes at most `len` events, for which there is room.
        let filled = check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), place, len, -1) });
        &room[..filled as usize] // not negative
    }
}

/// Waits for any of some descriptors, and returns the number of ready ones.
pub fn poll(fds: &mut [libc::pollfd]) -> usize {
    // SAFETY: poll(2) reads and writes as many records as it is told.
    check(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, -1) }) as usize // not negative
}

/// The entry by which poll(2) watches a descriptor for input.
pub fn readable(fd: impl AsFd) -> libc::pollfd {
    libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 }
}

/// The number of unread bytes at a descriptor, as in `data` of a kevent; 1 at a descriptor that does not report a
/// number.
pub fn unread(fd: i32) -> i32 {
    let mut bytes = 0;
    // SAFETY: FIONREAD writes one int.
    if unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut bytes) } == 0 { bytes } else { 1 }
}

/// A timer that expires once.
pub fn timer(after: Duration) -> OwnedFd {
    // SAFETY: timerfd_create(2) takes numbers.
    let timer = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) });
    let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let first = libc::timespec { tv_sec: after.as_secs() as libc::time_t, tv_nsec: 0 };
    let times = libc::itimerspec { it_interval: none, it_value: first };
    // SAFETY: timerfd_settime(2) reads one record, and writes none where it is given null.
    check(unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const times, std::ptr::null_mut()) });
    timer
}

/// An eventfd.
pub fn event() -> OwnedFd {
    // SAFETY: eventfd(2) takes numbers.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// Adds 1 to an eventfd.
pub fn post(event: &OwnedFd) {
    let one = 1_u64;
    // SAFETY: write(2) reads eight bytes.
    assert_eq!(unsafe { libc::write(event.as_raw_fd(), (&raw const one).cast(), 8) }, 8);
}

/// Resets the count of an eventfd.
pub fn take(event: &OwnedFd) {
    let mut count = 0_u64;
    // SAFETY: read(2) writes at most eight bytes.
    assert_eq!(unsafe { libc::read(event.as_raw_fd(), (&raw mut count).cast(), 8) }, 8);
}

/// A pidfd of a process.
pub fn pidfd(pid: i32) -> OwnedFd {
    // SAFETY: pidfd_open(2) takes numbers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32) // a descriptor
}

fn owned(fd: i32) -> OwnedFd {
    let fd = check(fd);
    // SAFETY: the answer is a new descriptor that nobody else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn check(answer: i32) -> i32 {
    assert!(answer >= 0, "{}", std::io::Error::last_os_error());
    answer
}
