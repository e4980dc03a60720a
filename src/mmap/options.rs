//! The options of a map: the arguments of Python's constructor.

use std::fs::{File, Metadata};

use ossature_sys::errno::{self, Errno};
use ossature_sys::faults;
use ossature_sys::mmap::{Flags, Protection};

use crate::error::{Error, ErrorKind};

/// The destination of writes to a map: Python's `access`, with its numbers.
///
/// # Examples
/// ```
/// use ossature::mmap::Access;
///
/// assert_eq!([Access::Default, Access::Read, Access::Write, Access::Copy].map(|access| access as u8), [0, 1, 2, 3]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Access {
    /// The access that the [flags](MmapOptions::flags) and the [protection](MmapOptions::protection) give; without them
    /// `Write`.
    #[default]
    #[doc(alias = "ACCESS_DEFAULT")]
    Default = 0,
    /// The map is read-only.
    #[doc(alias = "ACCESS_READ")]
    Read = 1,
    /// Writes reach the file.
    #[doc(alias = "ACCESS_WRITE")]
    Write = 2,
    /// Writes stay in this process. The file need not be open for writing.
    #[doc(alias = "ACCESS_COPY")]
    Copy = 3,
}

/// The options of a map: [`Mmap::options`](super::Mmap::options) creates them, and [`map`](Self::map) or a similar
/// method uses them.
///
/// Differs from Python's constructor: an offset need not be a multiple of the page size. The rest of a file is mapped
/// when no length is given, not when the length is 0.
///
/// # Examples
/// ```
/// use ossature::mmap::{Access, Flags, Mmap, Protection};
/// use ossature::sys::mmap::Memfd;
///
/// let file = Memfd::new(c"options")?;
/// file.set_len(10_000)?;
/// let mut part = Mmap::options().offset(5000).len(100).access(Access::Copy).map(&file)?;
/// part.set(0, 7)?; // invisible to other processes
/// let read_at_once = Mmap::options().flags(Flags::SHARED | Flags::POPULATE).protection(Protection::READ).map(&file)?;
/// assert_eq!((part.len(), read_at_once.len()), (100, 10_000));
/// assert_eq!((part.get(0)?, read_at_once.get(5000)?), (7, 0));
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// ```
/// use ossature::mmap::{Flags, Mmap};
///
/// // No memory is set aside for what may never be written.
/// let mut sparse = Mmap::options().len(1 << 28).flags(Flags::PRIVATE | Flags::NORESERVE).map_anonymous()?;
/// sparse.set_slice(1000..1005, b"bones")?;
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is mapped before `map`"]
pub struct MmapOptions {
    pub(super) offset: u64,
    pub(super) len: Option<usize>,
    pub(super) access: Access,
    pub(super) flags: Option<Flags>,
    pub(super) protection: Option<Protection>,
    pub(super) untracked: bool,
}

/// The kernel's arguments.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) access: Access,
    pub(super) shared: bool,
    pub(super) flags: Flags,
    pub(super) protection: Protection,
}

impl Shape {
    pub(super) fn writes(&self) -> bool {
        self.protection.contains(Protection::WRITE)
    }
}

impl MmapOptions {
    /// Sets the number of mapped bytes; the default is the rest of the file from the offset on.
    ///
    /// # Examples
    /// See the example of [`MmapOptions`].
    pub fn len(&mut self, len: usize) -> &mut Self {
        self.len = Some(len);
        self
    }

    /// Sets the offset in the file at which the map begins, in bytes; the default is 0.
    ///
    /// # Examples
    /// See the example of [`MmapOptions`].
    pub fn offset(&mut self, offset: u64) -> &mut Self {
        self.offset = offset;
        self
    }

    /// Sets the destination of writes; excludes [`flags`](Self::flags) and [`protection`](Self::protection).
    ///
    /// # Examples
    /// See the example of [`MmapOptions`].
    pub fn access(&mut self, access: Access) -> &mut Self {
        self.access = access;
        self
    }

    /// Sets the kind of the map, which contains exactly one of [`Flags::SHARED`] and [`Flags::PRIVATE`]; the default is
    /// [`Flags::SHARED`].
    ///
    /// # Examples
    /// See the example of [`MmapOptions`].
    pub fn flags(&mut self, flags: Flags) -> &mut Self {
        self.flags = Some(flags);
        self
    }

    /// Sets the allowed accesses to the bytes; the default is reading and writing.
    ///
    /// [`Protection::WRITE`] and [`Protection::EXEC`] let the bytes be read too, as most machines do.
    ///
    /// # Examples
    /// See the example of [`MmapOptions`].
    #[doc(alias = "prot")]
    pub fn protection(&mut self, protection: Protection) -> &mut Self {
        self.protection = Some(protection);
        self
    }

    /// Keeps no duplicate of the descriptor: Python's `trackfd=False`.
    ///
    /// [`file_len`](super::Mmap::file_len) and [`resize`](super::Mmap::resize) fail then. Every copy needs
    /// `process_vm_readv` or `process_vm_writev`, and is refused where a sandbox forbids these calls. A read cannot
    /// distinguish the zeros in the rest of the last page of a shortened file from the bytes of the file.
    ///
    /// # Examples
    /// ```
    /// use ossature::mmap::Mmap;
    /// use ossature::sys::{errno::Errno, mmap::Memfd};
    ///
    /// let file = Memfd::new(c"untracked")?;
    /// file.set_len(100)?;
    /// let map = Mmap::options().untracked().map(&file)?;
    /// assert_eq!(map.file_len().unwrap_err().errno(), Some(Errno::BADF));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[doc(alias = "trackfd")]
    pub fn untracked(&mut self) -> &mut Self {
        self.untracked = true;
        self
    }
}

/// Returns the metadata of the file: its kind and its length.
pub(super) fn metadata(file: &File) -> errno::Result<Metadata> {
    let errno = |error: std::io::Error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
    faults::call("fstat", || file.metadata().map_err(errno))
}

/// Returns the error of a file that the kernel does not map.
#[cold]
pub(super) fn cannot_map(errno: Errno) -> Error {
    let message = match errno {
        Errno::ACCESS => {
            "the file is not open for the access: open it for reading, and also for writing to write by the map"
        }
        Errno::NODEV => {
            "the file is of a kind that cannot be mapped: use a regular file, a memory file or a device with memory"
        }
        Errno::PERM => "a seal, the kind of the file or a sandbox forbids the map",
        _ => "the file cannot be mapped",
    };
    Error::os(errno, message)
}

#[cold]
pub(super) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

/// Returns the error of a call that the kernel refused.
pub(super) fn refused(message: &'static str) -> impl Fn(Errno) -> Error + Copy {
    move |errno| Error::os(errno, message)
}
