//! The bar: epoll as C programs use it.

use std::os::fd::{AsRawFd, BorrowedFd};

/// `epoll_wait` through libc on a borrowed epoll descriptor, with its own buffer.
pub struct Raw<'a> {
    epoll: BorrowedFd<'a>,
    buffer: Vec<libc::epoll_event>,
}

impl<'a> Raw<'a> {
    pub fn on(epoll: BorrowedFd<'a>, capacity: usize) -> Self {
        Self { epoll, buffer: vec![libc::epoll_event { events: 0, u64: 0 }; capacity] }
    }

    /// Waits and passes each token to `dispatch`.
    #[inline]
    pub fn wait(&mut self, timeout: i32, mut dispatch: impl FnMut(u64)) {
        let (place, room) = (self.buffer.as_mut_ptr(), self.buffer.len() as i32);
        // SAFETY: epoll_wait(2) writes at most `room` events to `place`.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), place, room, timeout) };
        assert!(count >= 0);
        for event in &self.buffer[..count as usize] {
            dispatch(event.u64);
        }
    }
}
