//! Named memory and named semaphores of POSIX: files in `/dev/shm` that any program of the same user can open by name.
//!
//! CPython's `multiprocessing.shared_memory` and `_multiprocessing.SemLock` use the same files. These functions are the
//! calls alone. `ossature::multiprocessing::shared_memory` adds the lifetime of the names.
//!
//! | purpose | here | C |
//! | --- | --- | --- |
//! | a name, checked | [`Name`] | |
//! | memory | [`create`], [`open`], [`unlink`] | `shm_open`, `shm_unlink` |
//! | its pages | [`reserve`] | `posix_fallocate` |
//! | another name for the same file | [`rename`] | `renameat2` |
//! | the object of a name | [`Status`] | `fstat` |
//! | a semaphore | [`Semaphore`] | `sem_open`, `sem_init`, `sem_wait`, `sem_post`, ... |
//!
//! ```
//! use ossature_sys::mmap::Region;
//! use ossature_sys::posix_ipc::{self, Name, Status};
//!
//! let name = Name::new(format!("ossature-doc-{}", std::process::id()).as_bytes())?;
//! let memory = posix_ipc::create(&name, 0o600)?;
//! posix_ipc::reserve(&memory, 100)?;
//! let same = posix_ipc::open(&name)?; // by another process, perhaps
//! posix_ipc::unlink(&name)?;
//! let (here, there) = (Region::shared(&memory, 100)?, Region::shared(&same, 100)?);
//! here.copy_in(0, b"seen")?;
//! let mut bytes = [0; 4];
//! there.copy_out(0, &mut bytes)?;
//! assert_eq!(&bytes, b"seen");
//! assert_eq!(Status::of(&memory)?.len, 100);
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! Source: shm_open(3), sem_overview(7), renameat2(2), fallocate(2).

mod semaphore;

use core::ffi::CStr;
use core::fmt;

use rustix::fs::{CWD, FileType, Mode, OFlags, RenameFlags, Stat};

use crate::errno::{Errno, Result, retry};
use crate::fd::{self, AsFd, BorrowedFd, OwnedFd, above_standard};
use crate::{mmap, raw};

pub use semaphore::{MAX_VALUE, Semaphore};

/// The directory in which the C library keeps these files.
const FOLDER: &[u8] = b"/dev/shm/";
/// The maximum length of a file name.
const NAME_MAX: usize = 255;
const ROOM: usize = FOLDER.len() + NAME_MAX + 1;

/// The name of an object, without the slash that precedes the name in C.
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, posix_ipc::Name};
///
/// let name = Name::new(b"psm_0a1b2c3d")?;
/// assert_eq!((name.as_bytes(), name.as_c_str()), (&b"psm_0a1b2c3d"[..], c"/psm_0a1b2c3d"));
/// assert_eq!(Name::new(b"a/b").unwrap_err(), Errno::INVAL);
/// # Ok::<(), Errno>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// The path and a null byte; the rest is null bytes too.
    path: [u8; ROOM],
    len: usize,
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// `EINVAL` if the name is empty, `.` or `..`, or has a slash or a null in it. `ENAMETOOLONG` if it is longer than
    /// 255 bytes.
    pub fn new(name: &[u8]) -> Result<Self> {
        if name.len() > NAME_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(Errno::INVAL);
        }
        let mut path = [0; ROOM];
        let bytes = FOLDER.iter().chain(name);
        path.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        Ok(Self { path, len: name.len() })
    }

    /// The name without a slash.
    pub fn as_bytes(&self) -> &[u8] {
        self.path.get(FOLDER.len()..FOLDER.len() + self.len).unwrap_or_default()
    }

    /// The name in C's form, with a slash before it.
    pub fn as_c_str(&self) -> &CStr {
        c_str(self.path.get(FOLDER.len() - 1..).unwrap_or_default())
    }

    fn path(&self) -> &CStr {
        c_str(&self.path)
    }
}

/// The text before the first null byte, which every name has.
fn c_str(bytes: &[u8]) -> &CStr {
    CStr::from_bytes_until_nul(bytes).unwrap_or_default()
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_c_str().fmt(f)
    }
}

/// The result of `fstat` for an object.
///
/// # Examples
/// See the example of [`rename`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The file system and the number of the file in it. Two objects that exist at the same time never have the same
    /// `id`.
    pub id: (u64, u64),
    /// The user that owns the file.
    pub user: u32,
    /// The bits of permission, with those for set-user-ID, set-group-ID and sticky.
    pub mode: u32,
    /// The object's length in bytes.
    pub len: u64,
    /// Whether it is a regular file.
    pub is_file: bool,
}

impl Status {
    /// `fstat(fd)`.
    ///
    /// # Errors
    /// `EOVERFLOW` when the size does not fit into the result of the call.
    pub fn of(fd: impl AsFd) -> Result<Self> {
        Self::from_stat(&raw::call("fstat", || rustix::fs::fstat(fd.as_fd()))?)
    }

    /// `lstat(name)`: the status of the object that has the name now.
    ///
    /// # Errors
    /// `ENOENT` when no object has the name.
    pub fn of_name(name: &Name) -> Result<Self> {
        Self::from_stat(&raw::call("lstat", || rustix::fs::lstat(name.path()))?)
    }

    fn from_stat(stat: &Stat) -> Result<Self> {
        Ok(Self {
            id: (stat.st_dev as u64, stat.st_ino as u64),
            user: stat.st_uid,
            mode: stat.st_mode & 0o7777,
            len: u64::try_from(stat.st_size).map_err(|_| Errno::OVERFLOW)?,
            is_file: FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile,
        })
    }
}

/// `shm_open(name, O_CREAT | O_EXCL | O_RDWR, mode)`: creates empty memory with a new name, closed on exec.
///
/// # Errors
/// `EEXIST` if an object has the name, `ENOENT` if there is no `/dev/shm`, `EACCES`, `EROFS`, `ENOSPC`; `EMFILE` or
/// `ENFILE` if no descriptor is left.
///
/// # Examples
/// See the example of the [module](self).
#[doc(alias = "shm_open")]
pub fn create(name: &Name, mode: u32) -> Result<OwnedFd> {
    open_as(name, OFlags::CREATE | OFlags::EXCL, Mode::from_raw_mode(mode))
}

/// `shm_open(name, O_RDWR)`: opens existing memory, closed on exec.
///
/// # Errors
/// `ENOENT` if no object has the name, `EACCES` if it belongs to another user, `ELOOP` for a symbolic link; `EMFILE` or
/// `ENFILE` if no descriptor is left.
///
/// # Examples
/// See the example of the [module](self).
#[doc(alias = "shm_open")]
pub fn open(name: &Name) -> Result<OwnedFd> {
    open_as(name, OFlags::empty(), Mode::empty())
}

fn open_as(name: &Name, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = retry(|| raw::call("open", || rustix::fs::open(name.path(), flags, mode)))?;
    above_standard(fd)
}

/// `shm_unlink(name)`: removes the name. The memory exists until no process maps it or has it open.
///
/// # Errors
/// `ENOENT` if no object has the name, `EACCES` or `EPERM` if it belongs to another user.
///
/// # Examples
/// See the example of the [module](self).
#[doc(alias = "shm_unlink")]
pub fn unlink(name: &Name) -> Result<()> {
    raw::call("unlink", || rustix::fs::unlink(name.path()))
}

/// `renameat2(from, to, RENAME_NOREPLACE)`: renames an object, in one step.
///
/// # Errors
/// `EEXIST` if the new name is in use, `ENOENT` if no object has the old name. `EACCES` or `EPERM` for the object of
/// another user, `EINVAL` if the file system cannot do it.
///
/// # Examples
/// ```
/// use ossature_sys::posix_ipc::{self, Name, Status};
///
/// let [old, new] = ["old", "new"].map(|word| format!("ossature-doc-{word}-{}", std::process::id()));
/// let (old, new) = (Name::new(old.as_bytes())?, Name::new(new.as_bytes())?);
/// let memory = posix_ipc::create(&old, 0o600)?;
/// posix_ipc::rename(&old, &new)?;
/// assert_eq!(Status::of_name(&new)?.id, Status::of(&memory)?.id);
/// posix_ipc::set_mode(&memory, 0o400)?;
/// assert_eq!(Status::of_name(&new)?.mode, 0o400);
/// posix_ipc::unlink(&new)?;
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn rename(from: &Name, to: &Name) -> Result<()> {
    let (from, to) = (from.path(), to.path());
    raw::call("renameat2", || rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE))
}

/// `fchmod(fd, mode)`.
///
/// # Errors
/// `EPERM` if the object belongs to another user.
///
/// # Examples
/// See the example of [`rename`].
#[doc(alias = "fchmod")]
pub fn set_mode(fd: impl AsFd, mode: u32) -> Result<()> {
    retry(|| raw::call("fchmod", || rustix::fs::fchmod(fd.as_fd(), Mode::from_raw_mode(mode))))
}

/// `fallocate(fd, 0, 0, len)`: reserves the memory for `len` bytes now and extends the object to `len`. So a full file
/// system is an error here, not a SIGBUS later. Where the file system has no such call, the bytes are written, which
/// makes an empty object that long. After an error, the object may have a part of the memory.
///
/// # Errors
/// `ENOSPC` if the file system is full or at its limit, `ENOMEM` for more than the machine has, `EFBIG` beyond
/// `RLIMIT_FSIZE`, after a signal; `EINVAL` if `len` is 0.
///
/// # Examples
/// See the example of the [module](self).
#[doc(alias = "posix_fallocate")]
pub fn reserve(fd: impl AsFd, len: u64) -> Result<()> {
    let fd = fd.as_fd();
    match mmap::memfd::reserve(fd, len) {
        // The first step returns this, so the file is unchanged.
        Err(Errno::OPNOTSUPP) => write_zeroes(fd, len),
        done => done,
    }
}

/// Extends an empty file to `len` zeros.
fn write_zeroes(fd: BorrowedFd<'_>, len: u64) -> Result<()> {
    let zeroes = [0; 4096];
    let mut left = len;
    while left > 0 {
        // At most 4,096, so it fits any usize.
        let part = left.min(zeroes.len() as u64) as usize;
        match fd::write(fd, zeroes.get(..part).unwrap_or_default())? {
            0 => return Err(Errno::NOSPC),
            written => left -= written as u64,
        }
    }
    Ok(())
}
