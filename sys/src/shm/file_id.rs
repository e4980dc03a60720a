//! The identity of the memory file of a descriptor.

use super::{Shareable, Shm};
use crate::errno::Result;
use crate::fd::AsFd;
use crate::raw;

/// The identity of a memory file: the same for all descriptors of a file, and different for files that exist at the
/// same time.
///
/// # Examples
/// ```
/// use ossature_sys::shm::Shm;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (one, other) = (Shm::place(1_u32)?, Shm::place(1_u32)?);
/// assert_eq!(one.file_id()?, one.try_clone()?.file_id()?);
/// assert_ne!(one.file_id()?, other.file_id()?);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// `fstat(fd, ...)`: the file's device and inode.
    ///
    /// # Errors
    /// None that fstat(2) has for an open descriptor; a sandbox may refuse the call.
    pub fn of(memory: impl AsFd) -> Result<Self> {
        let stat = raw::call("fstat", || rustix::fs::fstat(memory.as_fd()))?;
        Ok(Self { device: stat.st_dev as u64, inode: stat.st_ino as u64 })
    }
}

impl<T: ?Sized + Shareable> Shm<T> {
    /// The identity of the memory file that contains the value.
    ///
    /// # Errors
    /// As for [`FileId::of`].
    ///
    /// # Examples
    /// See the example of [`FileId`].
    pub fn file_id(&self) -> Result<FileId> {
        FileId::of(&self.memory)
    }
}
