//! Writing without SIGPIPE, the signal that the kernel sends to a process that writes to a pipe or socket without a
//! reader.
//!
//! | kernel | calls of one write |
//! | --- | --- |
//! | from Linux 6.18 on | `pwritev2` with `RWF_NOSIGNAL` |
//! | before, or where a sandbox forbids that | `pthread_sigmask`, `writev`, `pthread_sigmask`; after `EPIPE` also `sigtimedwait` |
//!
//! The kernel sends SIGPIPE to the thread that writes. So a thread that blocks the signal can take it from its own
//! pending signals, and no other thread gets it.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::io::{IoSlice, ReadWriteFlags};

use crate::deadline::Deadline;
use crate::errno::{Errno, Result, retry};
use crate::fd::{AsFd, BorrowedFd};
use crate::raw;
use crate::signal::{self, Signal, SignalSet};

/// `RWF_NOSIGNAL`, which neither libc nor rustix defines yet.
const NOSIGNAL: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x100);

/// `pwritev2(fd, bytes, -1, RWF_NOSIGNAL)`: writes some of `bytes` and returns their number. Never raises SIGPIPE, on a
/// pipe, a socket or any other file.
///
/// Before Linux 6.18 this thread blocks the signal during the write, and removes the signal if the write raised it.
///
/// # Errors
/// `EPIPE` when there is no reader any more, `EAGAIN` on a non-blocking descriptor that is full.
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, pipe, stream::write_without_sigpipe};
///
/// let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
/// assert_eq!(write_without_sigpipe(&writer, b"bones")?, 5);
/// drop(reader);
/// assert_eq!(write_without_sigpipe(&writer, b"bones"), Err(Errno::PIPE));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "RWF_NOSIGNAL")]
#[doc(alias = "SIGPIPE")]
pub fn write_without_sigpipe(fd: impl AsFd, bytes: &[u8]) -> Result<usize> {
    let lacks_nosignal = AtomicBool::new(false);
    let part = bytes.get(..raw::allowed("writev", bytes.len())).unwrap_or_default();
    retry(|| write(fd.as_fd(), &[IoSlice::new(part)], &lacks_nosignal))
}

/// Makes one write. `lacks_nosignal` records that the kernel does not support the flag for this file.
pub(super) fn write(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>], lacks_nosignal: &AtomicBool) -> Result<usize> {
    if !lacks_nosignal.load(Relaxed) {
        // An offset of -1 is the file's own position, as for writev.
        match raw::call("pwritev2", || rustix::io::pwritev2(fd, parts, u64::MAX, NOSIGNAL)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => lacks_nosignal.store(true, Relaxed),
            // A sandbox forbids the call. If the file itself refuses the write, the next call fails as well.
            Err(Errno::PERM) => {}
            done => return done,
        }
    }
    write_with_sigpipe_blocked(fd, parts)
}

#[cold]
fn write_with_sigpipe_blocked(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> Result<usize> {
    let broken = SignalSet::from(Signal::PIPE);
    let masked = signal::block(broken)?;
    // A signal that was pending before stays for the code that blocked it. An unblocked signal cannot be pending.
    let was_pending = masked.before().contains(Signal::PIPE) && signal::pending()?.contains(Signal::PIPE);
    let written = raw::call("writev", || rustix::io::writev(fd, parts));
    if written == Err(Errno::PIPE) && !was_pending {
        // A thread's own signals are taken before those of its process.
        let _ = signal::wait(broken, Deadline::NOW);
    }
    written
}
