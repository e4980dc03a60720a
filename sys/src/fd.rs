//! Descriptors: owned or borrowed, never a bare number, and what every kind of descriptor has in common.
//!
//! Source: fcntl(2), dup(2).

pub use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use rustix::io::FdFlags;

use crate::errno::{Result, retry};
use crate::raw;

/// `fcntl(fd, F_DUPFD_CLOEXEC, 0)`: another descriptor for the same open file description, closed on exec.
///
/// # Errors
/// `EMFILE` when the process has no descriptor left.
pub fn duplicate(fd: impl AsFd) -> Result<OwnedFd> {
    raw::call("fcntl", || rustix::io::fcntl_dupfd_cloexec(fd.as_fd(), 0))
}

/// `fcntl(fd, F_GETFD)`: whether exec closes this descriptor.
///
/// # Errors
/// `EBADF` when `fd` is not open (which a borrowed descriptor excludes).
pub fn is_cloexec(fd: impl AsFd) -> Result<bool> {
    Ok(raw::call("fcntl", || rustix::io::fcntl_getfd(fd.as_fd()))?.contains(FdFlags::CLOEXEC))
}

/// `fcntl(fd, F_SETFD, ...)`: whether exec shall close this descriptor.
///
/// Everything that this crate opens is closed on exec; hand a descriptor to an exec'd program by clearing it there.
///
/// # Errors
/// `EBADF` when `fd` is not open.
pub fn set_cloexec(fd: impl AsFd, on: bool) -> Result<()> {
    let flags = if on { FdFlags::CLOEXEC } else { FdFlags::empty() };
    raw::call("fcntl", || rustix::io::fcntl_setfd(fd.as_fd(), flags))
}

/// `ioctl(fd, FIONBIO, ...)`: whether reads and writes on this open file description return `EAGAIN` instead of waiting.
///
/// # Errors
/// `ENOTTY` for a descriptor whose driver does not know the call.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> Result<()> {
    raw::call("ioctl", || rustix::io::ioctl_fionbio(fd.as_fd(), on))
}

/// `read(fd, ...)`: reads at most `buffer.len()` bytes; 0 is the end of the file.
///
/// # Errors
/// `EAGAIN` on a non-blocking descriptor with nothing to read.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> Result<usize> {
    let fd = fd.as_fd();
    retry(|| {
        let len = raw::allowed("read", buffer.len());
        raw::call("read", || rustix::io::read(fd, &mut buffer[..len]))
    })
}

/// `write(fd, ...)`: writes some of `bytes` and says how many.
///
/// # Errors
/// `EAGAIN` on a non-blocking descriptor that is full, `EPIPE` when nobody reads any more.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> Result<usize> {
    let fd = fd.as_fd();
    retry(|| {
        let len = raw::allowed("write", bytes.len());
        raw::call("write", || rustix::io::write(fd, &bytes[..len]))
    })
}
