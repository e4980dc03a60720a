//! Descriptors: owned or borrowed, never a bare number, and the calls that every kind of descriptor has in common.
//!
//! ```
//! use core::time::Duration;
//! use ossature_sys::{fd, pipe};
//!
//! let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
//! assert!(fd::is_cloexec(&reader)? && fd::is_cloexec(&writer)?);
//! let second = fd::duplicate(&writer)?; // closed on exec too
//! fd::write_all(&second, b"bones", Duration::from_secs(1))?;
//! let mut buffer = [0; 16];
//! assert_eq!(fd::read(&reader, &mut buffer)?, 5);
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! Source: fcntl(2), dup(2), stdio(3).

use core::ffi::c_int;
use core::mem::ManuallyDrop;

use rustix::event::PollFd;
pub(crate) use rustix::event::PollFlags;
pub use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use rustix::io::{DupFlags, FdFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PIPE_BUF;

use crate::deadline::{Deadline, retry_until};
use crate::errno::{Errno, Result, retry};
use crate::raw;

mod at;

pub use at::{is_append, is_on_fuse, read_at, write_at};

/// Gives types that are [`AsFd`] the bare number as well, for interfaces that accept no other form.
macro_rules! as_raw_fd {
    ($($name:ty),+) => {
        $(impl $crate::fd::AsRawFd for $name {
            #[inline]
            fn as_raw_fd(&self) -> $crate::fd::RawFd {
                $crate::fd::AsRawFd::as_raw_fd(&$crate::fd::AsFd::as_fd(self))
            }
        })+
    };
}
pub(crate) use as_raw_fd;

/// The lowest number that is not a standard stream.
const ABOVE_STANDARD: RawFd = 3;

/// `fcntl(fd, F_DUPFD_CLOEXEC, 3)`: another descriptor for the same open file description, closed on exec.
///
/// Its number is never that of a standard stream, even if a standard stream is closed.
///
/// # Errors
/// `EMFILE` when the process has no descriptor left.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, pipe};
///
/// let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
/// let second = fd::duplicate(&writer)?;
/// drop(writer);
/// fd::write(&second, b"same pipe")?;
/// assert_eq!(pipe::unread(&reader)?, 9);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn duplicate(fd: impl AsFd) -> Result<OwnedFd> {
    retry(|| raw::call("fcntl", || rustix::io::fcntl_dupfd_cloexec(fd.as_fd(), ABOVE_STANDARD)))
}

/// The same descriptor, or a [duplicate] if its number is that of a standard stream.
///
/// For the private descriptors of a library. In a process whose standard error is closed, the next descriptor has
/// number 2, and printed text goes into it. A program may also replace the descriptor of a standard stream at any time.
///
/// # Errors
/// `EMFILE` when the process has no descriptor left; `fd` is closed then.
///
/// # Examples
/// ```
/// use ossature_sys::{fd::{self, AsRawFd}, pipe};
///
/// let (reader, _writer) = pipe::pipe(pipe::Flags::empty())?;
/// assert!(fd::above_standard(reader)?.as_raw_fd() >= 3);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn above_standard(fd: OwnedFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() < ABOVE_STANDARD { duplicate(&fd) } else { Ok(fd) }
}

/// `/proc/self/fd/NUMBER`, followed by at least one null byte.
pub(crate) fn path_of(number: u32) -> [u8; 25] {
    // Room for ten digits and a null.
    let mut path = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0";
    let digits = number.checked_ilog10().unwrap_or(0);
    let places = path.iter_mut().skip("/proc/self/fd/".len());
    (0..=digits).rev().zip(places).for_each(|(power, place)| *place = b'0' + (number / 10_u32.pow(power) % 10) as u8);
    path
}

/// An object that owns one descriptor, or a pair of them. A library that makes such an object for itself moves its
/// descriptor away from the numbers of the standard streams.
///
/// # Examples
/// ```
/// use ossature_sys::{fd::{AboveStandard, AsFd, AsRawFd}, eventfd::EventFd};
///
/// let event = EventFd::counter(0)?.above_standard()?;
/// assert!(event.as_fd().as_raw_fd() >= 3);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub trait AboveStandard: Sized {
    /// The same object, whose descriptor went through [`above_standard()`](above_standard()).
    ///
    /// # Errors
    /// `EMFILE` when the process has no descriptor left; the object is dropped then.
    fn above_standard(self) -> Result<Self>;
}

impl AboveStandard for OwnedFd {
    fn above_standard(self) -> Result<Self> {
        above_standard(self)
    }
}

impl<A: AboveStandard, B: AboveStandard> AboveStandard for (A, B) {
    fn above_standard(self) -> Result<Self> {
        Ok((self.0.above_standard()?, self.1.above_standard()?))
    }
}

/// `open("/dev/null", O_RDWR)` under the number of each standard stream that is closed. A program without std calls
/// this first in `main`; in a program with std, the runtime has done it.
///
/// A process can be started without standard streams. Its first descriptors would get their numbers then, and what the
/// program prints would go into those files. The opened streams stay open for the life of the process.
///
/// # Errors
/// `EBUSY` when another thread opens a file meanwhile; `ENOENT` and `EACCES` when there is no usable `/dev/null`.
///
/// # Examples
/// ```
/// use ossature_sys::fd;
///
/// fd::open_standard_streams()?; // they are open already: nothing is done
/// assert!(fd::is_cloexec(fd::stdin()).is_ok());
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "STDIN_FILENO")]
pub fn open_standard_streams() -> Result<()> {
    for number in 0..ABOVE_STANDARD {
        // SAFETY: fcntl(2) with F_GETFD takes any number and reads no memory.
        match raw::call_c("fcntl", || unsafe { libc::fcntl(number, libc::F_GETFD) }) {
            Err(Errno::BADF) => open_null_as(number)?,
            other => drop(other?),
        }
    }
    Ok(())
}

fn open_null_as(number: c_int) -> Result<()> {
    use rustix::fs::{Mode, OFlags, open};
    let null = retry(|| raw::call("open", || open(c"/dev/null", OFlags::RDWR, Mode::empty())))?;
    // The kernel gives the lowest free number, and all lower ones are open.
    if null.as_raw_fd() != number {
        return Err(Errno::BUSY);
    }
    let _ = null.into_raw_fd();
    Ok(())
}

/// The descriptor of standard input.
///
/// A program without std calls [`open_standard_streams`] first. If it does not, and the process was started without the
/// stream, this is the first file that the program opened. Memory stays safe: no shared memory of this crate has such a
/// number.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, process};
///
/// process::detach_stdin()?;
/// assert_eq!(fd::read(fd::stdin(), &mut [0; 16])?, 0, "the end of the input");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "STDIN_FILENO")]
#[inline]
pub const fn stdin() -> BorrowedFd<'static> {
    standard(0)
}

/// The descriptor of standard output; without std, see [`stdin`].
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::fd;
///
/// fd::write_all(fd::stdout(), b"hello\n", Duration::from_secs(1))?;
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "STDOUT_FILENO")]
#[inline]
pub const fn stdout() -> BorrowedFd<'static> {
    standard(1)
}

/// The descriptor of standard error; without std, see [`stdin`].
///
/// # Examples
/// ```
/// use ossature_sys::fd;
///
/// fd::write(fd::stderr(), b"a warning\n")?;
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "STDERR_FILENO")]
#[inline]
pub const fn stderr() -> BorrowedFd<'static> {
    standard(2)
}

const fn standard(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the numbers of the standard streams are open for the life of the process. The parent process, std's
    // runtime or `open_standard_streams` opened them. A program that breaks this reads and writes another file, as with
    // any number. The memory files of this crate do not have these numbers (`above_standard` in `shm`).
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// `fcntl(fd, F_GETFD)`: whether exec closes this descriptor.
///
/// # Errors
/// `EBADF` when `fd` is not open (which a borrowed descriptor excludes).
///
/// # Examples
/// ```
/// use ossature_sys::{eventfd::EventFd, fd};
///
/// let event = EventFd::counter(0)?;
/// assert!(fd::is_cloexec(&event)?);
/// fd::clear_cloexec(&event)?; // the program that is executed gets it
/// assert!(!fd::is_cloexec(&event)?);
/// fd::set_cloexec(&event)?;
/// assert!(fd::is_cloexec(&event)?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn is_cloexec(fd: impl AsFd) -> Result<bool> {
    Ok(raw::call("fcntl", || rustix::io::fcntl_getfd(fd.as_fd()))?.contains(FdFlags::CLOEXEC))
}

/// `fcntl(fd, F_SETFD, FD_CLOEXEC)`: exec closes this descriptor.
///
/// # Errors
/// `EBADF` when `fd` is not open.
///
/// # Examples
/// See the example of [`is_cloexec`].
#[doc(alias = "FD_CLOEXEC")]
pub fn set_cloexec(fd: impl AsFd) -> Result<()> {
    raw::call("fcntl", || rustix::io::fcntl_setfd(fd.as_fd(), FdFlags::CLOEXEC))
}

/// `fcntl(fd, F_SETFD, 0)`: exec leaves this descriptor open.
///
/// Everything that this crate opens is closed on exec; this passes a descriptor to the program that is executed.
///
/// # Errors
/// `EBADF` when `fd` is not open.
///
/// # Examples
/// See the example of [`is_cloexec`].
#[doc(alias = "set_inheritable")]
pub fn clear_cloexec(fd: impl AsFd) -> Result<()> {
    raw::call("fcntl", || rustix::io::fcntl_setfd(fd.as_fd(), FdFlags::empty()))
}

/// `ioctl(fd, FIONBIO, &1)`: reads and writes on this open file description return `EAGAIN` instead of waiting.
///
/// # Errors
/// `ENOTTY` for a descriptor whose driver does not know the call.
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, fd, pipe};
///
/// let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
/// fd::set_nonblocking(&reader)?;
/// assert_eq!(fd::read(&reader, &mut [0; 1]), Err(Errno::AGAIN));
/// fd::set_blocking(&reader)?; // a read waits again
/// fd::write(&writer, b"x")?;
/// assert_eq!(fd::read(&reader, &mut [0; 1]), Ok(1));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "O_NONBLOCK")]
pub fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    raw::call("ioctl", || rustix::io::ioctl_fionbio(fd.as_fd(), true))
}

/// `ioctl(fd, FIONBIO, &0)`: reads and writes on this open file description wait.
///
/// # Errors
/// `ENOTTY` for a descriptor whose driver does not know the call.
///
/// # Examples
/// See the example of [`set_nonblocking`].
pub fn set_blocking(fd: impl AsFd) -> Result<()> {
    raw::call("ioctl", || rustix::io::ioctl_fionbio(fd.as_fd(), false))
}

/// `fcntl(fd, F_GETFL)`: whether the descriptor was opened for reading, and whether for writing. A socket is open for
/// both.
///
/// # Errors
/// `EBADF` when `fd` is not open or names a place only (`O_PATH`).
///
/// # Examples
/// ```
/// let (reader, writer) = ossature_sys::pipe::pipe(ossature_sys::pipe::Flags::empty())?;
/// assert_eq!(ossature_sys::fd::access(&reader)?, (true, false));
/// assert_eq!(ossature_sys::fd::access(&writer)?, (false, true));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "F_GETFL")]
#[doc(alias = "O_ACCMODE")]
pub fn access(fd: impl AsFd) -> Result<(bool, bool)> {
    use rustix::fs::OFlags;
    let flags = raw::call("fcntl", || rustix::fs::fcntl_getfl(fd.as_fd()))?;
    if flags.contains(OFlags::PATH) {
        return Err(Errno::BADF);
    }
    let mode = flags & OFlags::RWMODE;
    Ok((mode != OFlags::WRONLY, mode == OFlags::WRONLY || mode == OFlags::RDWR))
}

/// `fstat(fd, ...)`: whether this is a character device, such as a terminal or `/dev/null`.
///
/// # Errors
/// `EBADF` when `fd` is not open.
///
/// # Examples
/// ```
/// use ossature_sys::fd::is_character_device;
///
/// assert!(is_character_device(std::fs::File::open("/dev/null")?)?);
/// assert!(!is_character_device(std::fs::File::open("/")?)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn is_character_device(fd: impl AsFd) -> Result<bool> {
    let kind = rustix::fs::FileType::from_raw_mode(raw::call("fstat", || rustix::fs::fstat(fd.as_fd()))?.st_mode);
    Ok(kind == rustix::fs::FileType::CharacterDevice)
}

/// A socket without a peer. A process puts this placeholder under the number of a descriptor that it gives up, while
/// the object that owns the descriptor lives on. See [`Stream::detach`](crate::stream::Stream::detach) and
/// [`Socket::detach`](crate::socket::Socket::detach).
///
/// A read returns the end and a write fails with `EPIPE`, both at once. Every poll reports the placeholder as ready,
/// and the placeholder does not listen.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{fd::Placeholder, socket::{Kind, Socket}, stream::Stream};
///
/// let (near, _far) = Socket::pair(Kind::Stream)?;
/// let stream = Stream::new(near.into())?;
/// stream.detach(&Placeholder::new()?)?;
/// assert_eq!(stream.read(&mut [0; 1], Duration::from_secs(1))?, Some(0), "the end");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
pub struct Placeholder(OwnedFd);

impl Placeholder {
    /// `socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds)`; one of the two sockets is closed
    /// again.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left, `ENOMEM`.
    pub fn new() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (end, other) =
            raw::call("socketpair", || rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None))?;
        drop(other);
        above_standard(end).map(Self)
    }

    /// `dup3(placeholder, fd, O_CLOEXEC)`: from now on `fd` refers to the placeholder. Its previous file is closed,
    /// unless other descriptors refer to that file.
    ///
    /// For the owner of `fd` only. Code to which the owner has lent `fd` finds the placeholder too, so the owner's
    /// promises must not depend on the file.
    ///
    /// # Errors
    /// `EBUSY` while another thread opens a file under that number, which cannot happen while `fd` is open.
    pub(crate) fn replace(&self, fd: &OwnedFd) -> Result<()> {
        // SAFETY: the number is that of an open descriptor, and the second owner of it is never dropped.
        let mut same = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) });
        retry(|| raw::call("dup3", || rustix::io::dup3(&self.0, &mut same, DupFlags::CLOEXEC)))
    }
}

/// `read(fd, ...)`: reads at most `buffer.len()` bytes; 0 is the end of the file.
///
/// # Errors
/// `EAGAIN` on a non-blocking descriptor with nothing to read.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, pipe};
///
/// let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
/// assert_eq!(fd::write(&writer, b"bones")?, 5);
/// let mut buffer = [0; 16];
/// assert_eq!(fd::read(&reader, &mut buffer)?, 5);
/// assert_eq!(&buffer[..5], b"bones");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> Result<usize> {
    let fd = fd.as_fd();
    retry(|| {
        let len = raw::allowed("read", buffer.len());
        let buffer = buffer.get_mut(..len).unwrap_or_default();
        raw::call("read", || rustix::io::read(fd, buffer))
    })
}

/// `write(fd, ...)`: writes some of `bytes` and returns their number.
///
/// # Errors
/// `EAGAIN` on a non-blocking descriptor that is full, `EPIPE` when no reader is left.
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, fd, pipe};
///
/// let (_reader, writer) = pipe::pipe(pipe::Flags::NONBLOCK)?;
/// let full = pipe::capacity(&writer)?;
/// assert_eq!(fd::write(&writer, &vec![0; full])?, full);
/// assert_eq!(fd::write(&writer, b"x"), Err(Errno::AGAIN), "no room");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn write(fd: impl AsFd, bytes: &[u8]) -> Result<usize> {
    let fd = fd.as_fd();
    retry(|| {
        let len = raw::allowed("write", bytes.len());
        let bytes = bytes.get(..len).unwrap_or_default();
        raw::call("write", || rustix::io::write(fd, bytes))
    })
}

/// `write(fd, ...)` until all of `bytes` are written or the deadline has passed; returns the number written.
///
/// Before each write under a deadline, `ppoll` reports room, and then at most `PIPE_BUF` bytes are written. So a pipe
/// or terminal in blocking mode does not hold the caller beyond the deadline. After the deadline, what there is room
/// for is still written. For a socket use [`Stream::write_all`](crate::stream::Stream::write_all).
///
/// # Errors
/// `EPIPE` when no reader is left; before that the kernel sends SIGPIPE, which by default ends the process. `EIO` for a
/// device that takes no byte. The number of bytes written before an error is not returned.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{fd, pipe};
///
/// let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
/// assert_eq!(fd::write_all(&writer, b"ossature", None)?, 8);
/// // The pipe has room for 64 KiB, and no process reads.
/// assert!(fd::write_all(&writer, &[0; 1 << 20], Duration::from_millis(10))? < 1 << 20);
/// # drop(reader);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn write_all(fd: impl AsFd, bytes: &[u8], timeout: impl Into<Deadline>) -> Result<usize> {
    let (fd, deadline) = (fd.as_fd(), timeout.into());
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut part = rest;
        if deadline != Deadline::NEVER {
            if !ready(fd, PollFlags::OUT, deadline)? {
                break;
            }
            part = rest.get(..PIPE_BUF).unwrap_or(rest);
        }
        match write(fd, part) {
            Ok(0) => return Err(Errno::IO),
            Ok(len) => rest = rest.get(len..).unwrap_or_default(),
            Err(Errno::AGAIN) if deadline.has_passed() => break,
            Err(Errno::AGAIN) => drop(ready(fd, PollFlags::OUT, deadline)?),
            Err(errno) => return Err(errno),
        }
    }
    Ok(bytes.len() - rest.len())
}

/// Waits until `fd` is ready for `wanted` or the deadline has passed; returns whether it is ready.
///
/// An error or a hang-up counts as ready, because the call that follows reports it.
pub(crate) fn ready(fd: BorrowedFd<'_>, wanted: PollFlags, deadline: Deadline) -> Result<bool> {
    let mut one = [PollFd::from_borrowed_fd(fd, wanted)];
    Ok(retry_until(deadline, |left| raw::call("ppoll", || rustix::event::poll(&mut one, left)))? != 0)
}

/// [`ready`] for the first descriptor, or [`PollFlags::IN`] for the second.
pub(crate) fn either_ready(
    fd: BorrowedFd<'_>,
    wanted: PollFlags,
    other: BorrowedFd<'_>,
    deadline: Deadline,
) -> Result<[bool; 2]> {
    let mut both = [PollFd::from_borrowed_fd(fd, wanted), PollFd::from_borrowed_fd(other, PollFlags::IN)];
    retry_until(deadline, |left| raw::call("ppoll", || rustix::event::poll(&mut both, left)))?;
    Ok(both.map(|entry| !entry.revents().is_empty()))
}

/// Repeats `attempt`, a call that returns `EAGAIN` instead of sleeping, until it succeeds or the deadline has passed.
///
/// The attempt comes first and once more after the wait, so `NOW` costs exactly one call. What arrives at the last
/// moment is not lost. A competitor that is always quicker cannot hold the caller beyond the deadline.
pub(crate) fn by_deadline<T>(
    fd: BorrowedFd<'_>,
    wanted: PollFlags,
    deadline: Deadline,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<Option<T>> {
    loop {
        match retry(&mut attempt) {
            Err(Errno::AGAIN) if deadline.has_passed() => return Ok(None),
            Err(Errno::AGAIN) => ready(fd, wanted, deadline)?,
            done => return done.map(Some),
        };
    }
}

/// Reads the number that an event counter or a timer returns.
pub(crate) fn read_u64(fd: BorrowedFd<'_>) -> Result<u64> {
    let mut value = [0; 8];
    match raw::call("read", || rustix::io::read(fd, &mut value[..]))? {
        8 => Ok(u64::from_ne_bytes(value)),
        // Both kinds of descriptor give 8 bytes or an error; anything else is another kind of descriptor.
        _ => Err(Errno::INVAL),
    }
}
