//! READ and WRITE: entries in the epoll sets, and the amount to read or the room to write.

use core::ffi::c_int;
use core::mem::size_of;

use super::file::number;
use super::state::QueueState;
use super::table::{At, Kind, Slot};
use crate::deadline::Deadline;
use crate::epoll::{Epoll, Interest};
use crate::errno::{Errno, Result};
use crate::fd::{AsRawFd, BorrowedFd, PollFlags, ready};
use crate::kqueue::{Filter, Flags, Notes};
use crate::{pipe, raw};

/// The epoll interest of a knote's entry.
pub(super) fn interest(slot: &Slot) -> Interest {
    if slot.is_disabled() {
        // Epoll reports a hang-up of any entry; it reports this one once, which is ignored.
        return Interest::ET | Interest::ONESHOT;
    }
    let wanted = if slot.filter == Filter::READ.number() { Interest::IN | Interest::RDHUP } else { Interest::OUT };
    let flags = Flags::from_bits_retain(slot.flags);
    if flags.contains(Flags::CLEAR) || has_low_water(slot) {
        // Bytes below the mark would be reported over and over, so the active list checks such a knote.
        return wanted | Interest::ET;
    }
    if flags.contains(Flags::DISPATCH) { wanted | Interest::ONESHOT } else { wanted }
}

pub(super) fn has_low_water(slot: &Slot) -> bool {
    Notes::from_bits_retain(slot.notes).contains(Notes::LOWAT)
}

/// The state of a descriptor for a knote.
pub(super) struct Level {
    /// Bytes to read, connections to accept, or room to write.
    pub(super) data: i64,
    /// Whether the knote is to be reported.
    pub(super) is_ready: bool,
}

impl QueueState {
    fn set_of(&mut self, filter: Filter) -> Result<&Epoll> {
        if filter == Filter::READ { Ok(&self.set) } else { self.writes() }
    }

    /// Adds a knote's descriptor to its set, or changes its entry there.
    ///
    /// # Errors
    /// `EBADF` when the descriptor is not open, `ENOENT` when the entry was removed with its file.
    pub(super) fn enter(&mut self, at: At, is_new: bool) -> Result<()> {
        let slot = *self.table.at(at);
        let (filter, token) = (Filter::from_number(slot.filter), self.token(at));
        // SAFETY: epoll_ctl takes a number to watch, and returns EBADF for one that is not open.
        let fd = unsafe { BorrowedFd::borrow_raw(number(slot.ident)?) };
        let wanted = interest(&slot);
        let set = self.set_of(filter)?;
        if !is_new {
            return set.modify(fd, wanted, token);
        }
        match set.register(fd, wanted, token) {
            // An entry that an earlier removal could not name.
            Err(Errno::EXIST) => set.modify(fd, wanted, token),
            entered => entered,
        }
    }

    /// Checks the descriptor of a knote, for which epoll reported `found`.
    ///
    /// # Errors
    /// `EBADF` when the descriptor is not open.
    pub(super) fn level(&self, slot: &Slot, found: Interest) -> Result<Level> {
        // SAFETY: the calls below only take a number; one that is not open gives EBADF.
        let fd = unsafe { BorrowedFd::borrow_raw(number(slot.ident)?) };
        let is_read = slot.filter == Filter::READ.number();
        if slot.kind() == Kind::Always {
            let data = if is_read { super::file::unread(fd)? } else { super::file::stat(fd).map(|_| None)? };
            return Ok(Level { data: data.unwrap_or(0), is_ready: data != Some(0) });
        }
        let data = if is_read { unread(fd)? } else { room(fd)? };
        let is_enough = !has_low_water(slot) || data >= slot.data;
        Ok(Level { data, is_ready: is_enough || is_over(slot, found) })
    }
}

/// Whether epoll's flags mean that no more data (READ) or room (WRITE) will come.
pub(super) fn is_over(slot: &Slot, found: Interest) -> bool {
    let end = if slot.filter == Filter::READ.number() { Interest::RDHUP } else { Interest::ERR };
    found.intersects(end | Interest::HUP)
}

/// Polls the descriptor of a knote directly.
pub(super) fn is_ready(slot: &Slot) -> bool {
    let Ok(number) = number(slot.ident) else { return false };
    // SAFETY: poll takes a number, and returns POLLNVAL for one that is not open.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let wanted = if slot.filter == Filter::READ.number() { PollFlags::IN } else { PollFlags::OUT };
    ready(fd, wanted, Deadline::NOW).unwrap_or(true)
}

/// The amount to read: bytes, or connections of a listener. 1 where the kernel does not report it.
fn unread(fd: BorrowedFd<'_>) -> Result<i64> {
    match pipe::unread(fd) {
        Ok(bytes) => Ok(i64::try_from(bytes).unwrap_or(i64::MAX)),
        Err(Errno::BADF) => Err(Errno::BADF),
        // An eventfd or a timer: a file without bytes. It is not a listener either, which returns EINVAL.
        Err(Errno::NOTTY) => Ok(1),
        Err(_) => Ok(backlog(fd).unwrap_or(1)),
    }
}

/// The number of connections that wait at a TCP listener.
#[cold]
fn backlog(fd: BorrowedFd<'_>) -> Option<i64> {
    /// The value of `tcpi_state`, the first byte of `struct tcp_info`, for `TCP_LISTEN`.
    const LISTEN: u8 = 10;
    /// The words of `struct tcp_info` to read. The seventh is `tcpi_unacked`, for a listener the length of its queue.
    const WORDS: usize = 7;
    let mut info = [0_u32; WORDS];
    let mut len = size_of::<[u32; WORDS]>() as libc::socklen_t;
    raw::call_c("getsockopt", || {
        let place = info.as_mut_ptr().cast();
        // SAFETY: the kernel writes at most `len` bytes at `place`, which is that long, and the length.
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, place, &mut len) }
    })
    .ok()?;
    let [first, .., waiting] = info;
    (first.to_ne_bytes().first() == Some(&LISTEN)).then_some(i64::from(waiting))
}

/// The free room in the buffer of a socket or pipe. 1 where the kernel does not report it.
fn room(fd: BorrowedFd<'_>) -> Result<i64> {
    match raw::call("getsockopt", || rustix::net::sockopt::socket_send_buffer_size(fd)) {
        Ok(size) => {
            let mut waiting: c_int = 0;
            raw::call_c("ioctl", || {
                // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ, writes one int.
                unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ as _, &mut waiting) }
            })?;
            Ok((size as i64 - i64::from(waiting)).max(0))
        }
        Err(Errno::BADF) => Err(Errno::BADF),
        Err(_) => match (pipe::capacity(fd), pipe::unread(fd)) {
            (Ok(size), Ok(waiting)) => Ok((size as i64 - waiting as i64).max(0)), // both far below 2^63
            _ => Ok(1),
        },
    }
}
