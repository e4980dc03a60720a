//! Locks on files that the kernel releases when their holder ends, however it ends.
//!
//! Such a lock is advisory: it keeps out only those who ask for it too. It belongs to an open file description, so two threads
//! that open the same file exclude each other as two processes do.
//!
//! ```
//! use ossature_sys::flock::FileLock;
//!
//! let held = FileLock::try_directory(c"/").unwrap();
//! if held.is_some() {
//!     assert!(FileLock::try_directory(c"/").unwrap().is_none(), "it is held");
//! }
//! ```
//!
//! Source: flock(2), open(2).

use core::ffi::CStr;

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::errno::{Errno, Result, retry};
use crate::fd::OwnedFd;
use crate::raw;

/// An exclusive lock on a file, until it is dropped.
#[derive(Debug)]
#[doc(alias = "flock")]
#[must_use = "dropping this releases the lock"]
pub struct FileLock {
    fd: OwnedFd,
}

impl FileLock {
    /// `open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)` and `flock(fd, LOCK_EX | LOCK_NB)`: locks a directory; `None` while another
    /// holds the lock. Nothing is written there.
    ///
    /// Whoever may read the directory may hold the lock, for as long as the holder likes.
    ///
    /// # Errors
    /// `EACCES`, `ENOENT`, `ENOTDIR` for the path; `EMFILE` or `ENFILE` when no descriptor is left; `EBADF`, `EOPNOTSUPP` and others
    /// from file systems without such locks, NFS for instance; `ENOLCK`, `ENOMEM`.
    #[doc(alias = "LOCK_EX")]
    pub fn try_directory(path: &CStr) -> Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry(|| raw::call("open", || rustix::fs::open(path, flags, Mode::empty())))?;
        match retry(|| raw::call("flock", || rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive))) {
            Ok(()) => Ok(Some(Self { fd })),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for FileLock {
    /// `flock(fd, LOCK_UN)`, since a process that was forked meanwhile may have a copy of the descriptor, and the lock with it.
    fn drop(&mut self) {
        // It can fail for a descriptor that is not open only; and closing it is the second way.
        let _ = rustix::fs::flock(&self.fd, FlockOperation::Unlock);
    }
}
