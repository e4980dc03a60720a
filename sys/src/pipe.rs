//! Pipes: two descriptors and the bytes between them.
//!
//! A write of at most [`PIPE_BUF`] bytes is never mixed with another writer's, which is what makes one pipe usable by
//! many writers. How many bytes fit before a writer has to wait is the [`capacity`].
//!
//! ```
//! use ossature_sys::{fd, pipe::{self, Flags}};
//!
//! let (reader, writer) = pipe::pipe(Flags::NONBLOCK)?;
//! fd::write(&writer, b"hello")?;
//! assert_eq!(pipe::unread(&reader)?, 5);
//! let mut buffer = [0; 16];
//! assert_eq!(fd::read(&reader, &mut buffer)?, 5);
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! Source: pipe(7).

use core::ffi::CStr;

use bitflags::bitflags;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::pipe::PipeFlags;

use crate::errno::{Errno, Result, retry};
use crate::fd::{AsFd, OwnedFd, above_standard, path_of};
use crate::raw;

/// The maximum length of a write that is never mixed with another writer's, in bytes.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, pipe::{self, PIPE_BUF}};
///
/// let (reader, writer) = pipe::pipe(pipe::Flags::NONBLOCK)?;
/// assert_eq!(fd::write(&writer, &[0; PIPE_BUF])?, PIPE_BUF, "all or nothing");
/// assert_eq!(pipe::unread(&reader)?, PIPE_BUF as u64);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "select.PIPE_BUF")]
pub const PIPE_BUF: usize = 4096;
static_assertions::const_assert_eq!(PIPE_BUF, rustix::pipe::PIPE_BUF);

bitflags! {
    /// The behaviour of a pipe.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Flags: u32 {
        /// A read from an empty pipe and a write to a full pipe return `EAGAIN` instead of waiting.
        #[doc(alias = "O_NONBLOCK")]
        const NONBLOCK = PipeFlags::NONBLOCK.bits();
        /// Each write (of at most [`PIPE_BUF`] bytes) is a separate packet, and each read takes one packet.
        #[doc(alias = "O_DIRECT")]
        const DIRECT = PipeFlags::DIRECT.bits();
        const _ = !0;
    }
}

/// `pipe2(fds, flags | O_CLOEXEC)`: a new pipe, as the end to read from and the end to write to.
///
/// # Errors
/// `EMFILE` or `ENFILE` when the process or the system has no descriptor left. `ENFILE` also when the user's pipes hold
/// too many pages already. `EINVAL` for unknown flags.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, pipe::{self, Flags}};
///
/// let (reader, writer) = pipe::pipe(Flags::empty())?;
/// drop(writer);
/// assert_eq!(fd::read(&reader, &mut [0; 1])?, 0, "the end: no writer is left");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "pipe2")]
#[doc(alias = "os.pipe")]
pub fn pipe(flags: Flags) -> Result<(OwnedFd, OwnedFd)> {
    let flags = PipeFlags::from_bits_retain(flags.bits()) | PipeFlags::CLOEXEC;
    raw::call("pipe2", || rustix::pipe::pipe_with(flags))
}

/// `open("/proc/self/fd/NUMBER", O_WRONLY | O_NONBLOCK | O_CLOEXEC)`: opens the writing end of the pipe behind a
/// descriptor of this process again.
///
/// For a pipe that this process inherited from its starter, which passed the number. The inherited descriptor is not
/// touched. The new one belongs to the caller, and does not share its flags.
///
/// # Errors
/// `ENOENT` if the number is not open or `/proc` is not there, `EINVAL` if it is not a pipe, `EACCES`. `ENXIO` if it is
/// a named pipe without a reader. `EMFILE` or `ENFILE` if no descriptor is left.
///
/// # Examples
/// ```
/// use ossature_sys::{fd::{self, AsRawFd}, pipe};
///
/// let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
/// let again = pipe::open_writer(writer.as_raw_fd() as u32)?;
/// fd::write(&again, b"through both")?;
/// assert_eq!(pipe::unread(&reader)?, 12);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn open_writer(number: u32) -> Result<OwnedFd> {
    let path = path_of(number);
    let path = CStr::from_bytes_until_nul(&path).unwrap_or_default();
    let stat = raw::call("stat", || rustix::fs::stat(path))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
        return Err(Errno::INVAL);
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    above_standard(retry(|| raw::call("open", || rustix::fs::open(path, flags, Mode::empty())))?)
}

/// `fcntl(fd, F_GETPIPE_SZ)`: the number of bytes that the pipe holds before a writer must wait.
///
/// # Errors
/// `EBADF` when `fd` is not a pipe.
///
/// # Examples
/// See the example of [`set_capacity`].
#[doc(alias = "F_GETPIPE_SZ")]
pub fn capacity(fd: impl AsFd) -> Result<usize> {
    raw::call("fcntl", || rustix::pipe::fcntl_getpipe_size(fd.as_fd()))
}

/// `fcntl(fd, F_SETPIPE_SZ, bytes)`: requests a capacity and returns the actual one, which is rounded up to a power of
/// two pages.
///
/// # Errors
/// `EBUSY` when more bytes than that are in the pipe, `EPERM` beyond `/proc/sys/fs/pipe-max-size` without the
/// capability, `EINVAL` beyond 2 GiB, `ENOMEM`, `EBADF` when `fd` is not a pipe.
///
/// # Examples
/// ```
/// use ossature_sys::pipe;
///
/// let (_reader, writer) = pipe::pipe(pipe::Flags::empty())?;
/// let given = pipe::set_capacity(&writer, 10_000)?;
/// assert!(given >= 10_000);
/// assert_eq!(pipe::capacity(&writer)?, given);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "F_SETPIPE_SZ")]
pub fn set_capacity(fd: impl AsFd, bytes: usize) -> Result<usize> {
    raw::call("fcntl", || rustix::pipe::fcntl_setpipe_size(fd.as_fd(), bytes))
}

/// `ioctl(fd, FIONREAD, ...)`: the number of bytes that can be read.
///
/// # Errors
/// `ENOTTY` for a descriptor whose driver does not know the call.
#[doc(alias = "FIONREAD")]
pub fn unread(fd: impl AsFd) -> Result<u64> {
    raw::call("ioctl", || rustix::io::ioctl_fionread(fd.as_fd()))
}
