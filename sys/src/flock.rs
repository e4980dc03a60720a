//! Locks on files. The kernel releases such a lock when its holder ends, for any reason.
//!
//! Such a lock is advisory: it excludes only other takers of the lock. The lock belongs to an open file description, so
//! two threads that open the same file exclude each other as two processes do.
//!
//! ```
//! use ossature_sys::flock::FileLock;
//!
//! let path = std::env::temp_dir().join(format!("lock-{}", std::process::id()));
//! let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
//! let held = FileLock::try_create(&name).unwrap().expect("not locked");
//! assert!(FileLock::try_create(&name).unwrap().is_none(), "it is held");
//! drop(held);
//! std::fs::remove_file(path).unwrap();
//! ```
//!
//! A byte of a file can be locked too, by [`try_lock_byte`], which is how one file has many locks.
//!
//! Source: flock(2), open(2), fcntl_locking(2).

use core::ffi::{CStr, c_int};

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::errno::{Errno, Result, retry};
use crate::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, above_standard};
use crate::raw;

/// A lock on a file, until it is dropped.
///
/// # Examples
/// ```
/// use ossature_sys::flock::FileLock;
/// use std::{ffi::CString, fs, os::unix::ffi::OsStrExt};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let path = std::env::temp_dir().join(format!("shared-{}", std::process::id()));
/// fs::write(&path, b"")?;
/// let name = CString::new(path.as_os_str().as_bytes())?;
/// let reader = FileLock::try_shared(&name)?.expect("not locked");
/// let second = FileLock::try_shared(&name)?.expect("readers share it");
/// assert!(FileLock::try_exclusive(&name)?.is_none(), "it is read");
/// drop((reader, second));
/// assert!(FileLock::try_exclusive(&name)?.is_some());
/// fs::remove_file(path)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[doc(alias = "flock")]
#[must_use = "dropping this releases the lock"]
pub struct FileLock {
    fd: OwnedFd,
}

impl FileLock {
    /// `open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600)` and `flock(fd, LOCK_EX | LOCK_NB)`:
    /// locks a lock file, and makes the file if there is none. `None` while another holder, in any process, has a lock
    /// on the file.
    ///
    /// # Errors
    /// `EACCES`, `ENOENT`, `ENOTDIR`, `EISDIR`, `EROFS` for the path, `ELOOP` for a symbolic link. `EMFILE` or `ENFILE`
    /// when no descriptor is left. `EOPNOTSUPP` and others from file systems without such locks. `ENOLCK`, `ENOMEM`,
    /// `ENOSPC`.
    #[doc(alias = "LOCK_EX")]
    pub fn try_create(path: &CStr) -> Result<Option<Self>> {
        Self::try_open(path, OFlags::RDWR | OFlags::CREATE, FlockOperation::NonBlockingLockExclusive)
    }

    /// `open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)` and `flock(fd, LOCK_EX | LOCK_NB)`: locks an
    /// existing file. The last part of the path must not be a symbolic link. `None` while another holder, in any
    /// process, has a lock on the file.
    ///
    /// # Errors
    /// As for [`try_create`](Self::try_create).
    pub fn try_exclusive(path: &CStr) -> Result<Option<Self>> {
        Self::try_open(path, OFlags::RDONLY, FlockOperation::NonBlockingLockExclusive)
    }

    /// [`try_exclusive`](Self::try_exclusive) with `LOCK_SH`: other holders, in any process, may have shared locks on
    /// the file too, but not an exclusive lock. `None` while another holder has an exclusive lock.
    ///
    /// A forked child has a copy of the lock. The lock is released when one of the processes drops it, or when the last
    /// of them ends.
    ///
    /// # Errors
    /// As for [`try_exclusive`](Self::try_exclusive).
    #[doc(alias = "LOCK_SH")]
    pub fn try_shared(path: &CStr) -> Result<Option<Self>> {
        Self::try_open(path, OFlags::RDONLY, FlockOperation::NonBlockingLockShared)
    }

    fn try_open(path: &CStr, flags: OFlags, operation: FlockOperation) -> Result<Option<Self>> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = retry(|| raw::call("open", || rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)))?;
        // Code that replaces a standard stream would release the lock.
        let fd = above_standard(fd)?;
        Ok(try_lock(fd.as_fd(), operation)?.then_some(Self { fd }))
    }
}

impl AsFd for FileLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

crate::fd::as_raw_fd!(FileLock);

impl Drop for FileLock {
    /// `flock(fd, LOCK_UN)`: releases the lock even if a process that was forked meanwhile has a copy of the
    /// descriptor.
    fn drop(&mut self) {
        // This call fails only for a descriptor that is not open. Closing the descriptor releases the lock, too.
        let _ = rustix::fs::flock(&self.fd, FlockOperation::Unlock);
    }
}

/// `flock(fd, LOCK_SH | LOCK_NB)`: a shared lock on an open file; returns whether the caller got the lock.
///
/// The lock belongs to the open file description. It lasts until the last copy of the descriptor is closed, in this
/// process and in those that it forked. It also lasts while a process maps the file through one of these descriptors.
///
/// # Errors
/// `EOPNOTSUPP` and others from file systems without such locks; `ENOLCK`, `ENOMEM`.
///
/// # Examples
/// ```
/// use ossature_sys::{flock, mmap::{Memfd, Region}};
/// use std::os::fd::AsRawFd;
///
/// let memory = Memfd::new(c"used")?;
/// memory.set_len(4096)?;
/// let other = std::fs::File::open(format!("/proc/self/fd/{}", memory.as_raw_fd())).unwrap();
/// assert!(flock::try_lock_shared(&memory)?);
/// let region = Region::shared(&memory, 4096)?;
/// drop(memory);
/// assert!(!flock::try_lock_exclusive(&other)?, "the mapping keeps the lock");
/// drop(region);
/// assert!(flock::try_lock_exclusive(&other)?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn try_lock_shared(fd: impl AsFd) -> Result<bool> {
    try_lock(fd.as_fd(), FlockOperation::NonBlockingLockShared)
}

/// `flock(fd, LOCK_EX | LOCK_NB)`: like [`try_lock_shared`], for an exclusive lock.
///
/// # Errors
/// As for [`try_lock_shared`].
///
/// # Examples
/// See the example of [`try_lock_shared`].
pub fn try_lock_exclusive(fd: impl AsFd) -> Result<bool> {
    try_lock(fd.as_fd(), FlockOperation::NonBlockingLockExclusive)
}

fn try_lock(fd: BorrowedFd<'_>, operation: FlockOperation) -> Result<bool> {
    match retry(|| raw::call("flock", || rustix::fs::flock(fd, operation))) {
        Err(Errno::AGAIN) => Ok(false),
        done => done.map(|()| true),
    }
}

/// `fcntl(fd, F_OFD_SETLK, {F_WRLCK, SEEK_SET, offset, 1})`: an exclusive lock on one byte of an open file; returns
/// whether the caller got the lock. The byte need not exist.
///
/// The lock belongs to the open file description. It lasts until the last copy of the descriptor is closed, in this
/// process, in those that it forked, and in messages that carry a copy. Locking a byte twice through one description
/// changes nothing.
///
/// # Errors
/// `EBADF` unless the file is open for writing. `EOVERFLOW` for an offset that no file has here. `ENOLCK`, `ENOMEM`.
///
/// # Examples
/// ```
/// use ossature_sys::{flock, mmap::Memfd};
/// use std::{fs::File, os::fd::AsRawFd};
///
/// let memory = Memfd::new(c"bytes")?;
/// let other = File::options().read(true).write(true).open(format!("/proc/self/fd/{}", memory.as_raw_fd())).unwrap();
/// assert!(flock::try_lock_byte(&memory, 7)?);
/// assert!(flock::try_lock_byte(&other, 8)?, "another byte");
/// assert!(!flock::try_lock_byte(&other, 7)? && flock::is_byte_locked(&other, 7)?);
/// assert!(!flock::is_byte_locked(&memory, 7)?, "its own lock does not count");
/// drop(memory);
/// assert!(!flock::is_byte_locked(&other, 7)?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "F_OFD_SETLK")]
pub fn try_lock_byte(fd: impl AsFd, offset: u64) -> Result<bool> {
    match byte_lock(fd.as_fd(), libc::F_OFD_SETLK, offset) {
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        done => done.map(|_| true),
    }
}

/// `fcntl(fd, F_OFD_GETLK, {F_WRLCK, SEEK_SET, offset, 1})`: whether another open file description has a lock on that
/// byte.
///
/// # Errors
/// As for [`try_lock_byte`].
///
/// # Examples
/// See the example of [`try_lock_byte`].
#[doc(alias = "F_OFD_GETLK")]
pub fn is_byte_locked(fd: impl AsFd, offset: u64) -> Result<bool> {
    byte_lock(fd.as_fd(), libc::F_OFD_GETLK, offset).map(|found| c_int::from(found.l_type) != libc::F_UNLCK as c_int)
}

fn byte_lock(fd: BorrowedFd<'_>, command: c_int, offset: u64) -> Result<libc::flock> {
    // SAFETY: the structure is numbers only.
    let mut byte: libc::flock = unsafe { core::mem::zeroed() };
    byte.l_type = libc::F_WRLCK as _;
    byte.l_whence = libc::SEEK_SET as _;
    byte.l_start = offset.try_into().map_err(|_| Errno::OVERFLOW)?;
    byte.l_len = 1;
    retry(|| {
        raw::call_c("fcntl", || {
            // SAFETY: both commands take a pointer to a lock, which is valid for reads and writes.
            unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw mut byte) }
        })
    })?;
    Ok(byte)
}
