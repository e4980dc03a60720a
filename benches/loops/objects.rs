//! The objects that the pollers watch: eventfds, which every contender writes and reads through libc.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Some eventfds; the index of each in the list is its token.
pub struct Events(Vec<OwnedFd>);

impl Events {
    /// `count` eventfds, none of them ready.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| eventfd()).collect())
    }

    /// Returns all eventfds with their tokens.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &OwnedFd)> {
        (0..).zip(&self.0)
    }

    /// Makes the eventfd in the middle ready.
    pub fn raise_one(&self) {
        self.raise((self.0.len() / 2) as u64);
    }

    /// Makes all eventfds ready.
    pub fn raise_all(&self) {
        (0..self.0.len() as u64).for_each(|token| self.raise(token));
    }

    /// Makes the eventfd of `token` ready.
    pub fn raise(&self, token: u64) {
        let one = 1u64;
        // SAFETY: write(2) reads the eight bytes of `one`.
        let wrote = unsafe { libc::write(self.raw(token), (&raw const one).cast(), 8) };
        assert_eq!(wrote, 8);
    }

    /// Dispatches an event in these benches: resets the count, so that the descriptor is not ready any more.
    pub fn take(&self, token: u64) {
        take_from(self.raw(token));
    }

    fn raw(&self, token: u64) -> RawFd {
        self.0[token as usize].as_raw_fd()
    }
}

/// Resets the count of an eventfd.
pub fn take_from(fd: RawFd) {
    let mut count = 0u64;
    // SAFETY: read(2) writes at most eight bytes to `count`.
    let read = unsafe { libc::read(fd, (&raw mut count).cast(), 8) };
    assert_eq!(read, 8);
}

fn eventfd() -> OwnedFd {
    // SAFETY: eventfd(2) touches no memory.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    assert!(fd >= 0, "eventfd: {}", std::io::Error::last_os_error());
    // SAFETY: eventfd(2) just gave us this descriptor.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A count for each token, which stands for the dispatch of an event where nothing is read.
pub struct Seen(Vec<u64>);

impl Seen {
    pub fn new(tokens: usize) -> Self {
        Self(vec![0; tokens])
    }

    #[inline]
    pub fn count(&mut self, token: u64) {
        self.0[token as usize] += 1;
    }
}

impl Drop for Seen {
    /// Fails if the contender missed a descriptor, because then it has measured nothing.
    fn drop(&mut self) {
        assert!(self.0.iter().all(|count| *count == self.0[0] && *count > 0), "a descriptor had no event");
    }
}
