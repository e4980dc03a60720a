//! Files without a name: memory that a descriptor owns, with properties that seals guarantee.

use core::ffi::CStr;

use bitflags::bitflags;
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};

use crate::errno::{Errno, Result, retry};
use crate::fd::{AboveStandard, AsFd, AsRawFd, BorrowedFd, OwnedFd, above_standard, path_of};
use crate::raw;

bitflags! {
    /// The operations that are impossible on a [`Memfd`] forever, for every process.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Seals: u32 {
        /// No more seals.
        #[doc(alias = "F_SEAL_SEAL")]
        const SEAL = SealFlags::SEAL.bits();
        /// The file never gets shorter, so no mapping of it ever faults with SIGBUS.
        #[doc(alias = "F_SEAL_SHRINK")]
        const SHRINK = SealFlags::SHRINK.bits();
        /// The file never gets longer.
        #[doc(alias = "F_SEAL_GROW")]
        const GROW = SealFlags::GROW.bits();
        /// The file's bytes never change.
        #[doc(alias = "F_SEAL_WRITE")]
        const WRITE = SealFlags::WRITE.bits();
        /// The file gets no new writers; existing writable mappings still work.
        #[doc(alias = "F_SEAL_FUTURE_WRITE")]
        const FUTURE_WRITE = SealFlags::FUTURE_WRITE.bits();
        /// The file never becomes executable (Linux 6.3; [`Memfd::new`] sets it where it exists).
        #[doc(alias = "F_SEAL_EXEC")]
        const EXEC = SealFlags::EXEC.bits();
        const _ = !0;
    }
}

/// The number of bytes that one call of the kernel reserves: a huge page.
const STEP: u64 = 2 << 20;

/// A file in memory without a name, closed on exec, which accepts seals.
///
/// It lives as long as a descriptor or a mapping of it does, so that nothing is left behind when every holder is
/// killed.
///
/// # Examples
/// ```
/// use ossature_sys::mmap::{Memfd, Region, Seals};
///
/// let memory = Memfd::new(c"counts")?;
/// memory.set_len(4096)?;
/// memory.add_seals(Seals::SHRINK | Seals::GROW)?;
/// let (here, there) = (Region::shared(&memory, 4096)?, Region::shared(&memory, 4096)?);
/// here.copy_in(100, b"seen by all")?;
/// let mut bytes = [0; 11];
/// there.copy_out(100, &mut bytes)?;
/// assert_eq!(&bytes, b"seen by all");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
///
/// ```
/// use ossature_sys::{errno::Errno, mmap::{Memfd, Seals}};
///
/// let memory = Memfd::new(c"fixed")?;
/// memory.reserve(4096)?;
/// memory.add_seals(Seals::SHRINK | Seals::GROW | Seals::SEAL)?;
/// assert_eq!(memory.set_len(8192), Err(Errno::PERM));
/// let again = Memfd::from_fd(memory.into())?;
/// assert_eq!(again.len()?, 4096);
/// assert!(again.seals()?.contains(Seals::GROW));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Debug)]
#[doc(alias = "memfd_create")]
pub struct Memfd(OwnedFd);

impl Memfd {
    /// `memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL)`: an empty file.
    ///
    /// The name is only for display in /proc; it need not be unique. Before Linux 6.3 it is made without
    /// `MFD_NOEXEC_SEAL`.
    ///
    /// # Errors
    /// `EINVAL` when the name is longer than 249 bytes, `EMFILE` and `ENFILE` when there is no descriptor left.
    pub fn new(name: &CStr) -> Result<Self> {
        let sealable = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let create = |flags| retry(|| raw::call("memfd_create", || rustix::fs::memfd_create(name, flags))).map(Self);
        match create(sealable | MemfdFlags::NOEXEC_SEAL) {
            // An older kernel refuses an unknown flag. A name that is too long fails again with the same error.
            Err(Errno::INVAL) => create(sealable),
            done => done,
        }
    }

    /// Adopts a descriptor as a memfd, perhaps of another process.
    ///
    /// Makes no assumptions about the file: every later call asks the kernel.
    ///
    /// # Errors
    /// `EINVAL` when `fd` is not a file that takes seals.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let memory = Self(fd);
        memory.seals().map(|_| memory)
    }

    /// `fstat(fd)`: the length in bytes.
    ///
    /// # Errors
    /// `EBADF` when the descriptor is not open (which owning it excludes).
    #[expect(clippy::len_without_is_empty, reason = "a file is asked for its length, and the asking may fail")]
    pub fn len(&self) -> Result<u64> {
        len_of(self.as_fd())
    }

    /// `ftruncate(fd, len)`: sets the length; new bytes read as zero and use no memory until they are touched.
    ///
    /// # Errors
    /// `EPERM` when a seal forbids it, `EINVAL` and `EFBIG` when `len` is beyond what a file can have.
    #[doc(alias = "ftruncate")]
    pub fn set_len(&self, len: u64) -> Result<()> {
        retry(|| raw::call("ftruncate", || rustix::fs::ftruncate(&self.0, len)))
    }

    /// `fallocate(fd, 0, 0, len)`: reserves the memory for the first `len` bytes now, and extends the file to `len` if
    /// it is shorter. So a lack of memory is an error here, not a SIGBUS later.
    ///
    /// The kernel allocates pages until there are none and then kills processes, so this call refuses more than the
    /// memory and swap of the machine together. The caller must avoid lengths below that limit that are still too much.
    /// For 2 MiB or less this is not checked.
    ///
    /// It takes several calls of the kernel, so that a signal interrupts one of them and not all. After an error, the
    /// file may be longer and have a part of its memory.
    ///
    /// # Errors
    /// `ENOSPC` and `ENOMEM` when there is not enough memory, `EPERM` when a seal forbids it, `EINVAL` when `len` is
    /// 0.
    #[doc(alias = "fallocate")]
    pub fn reserve(&self, len: u64) -> Result<()> {
        reserve(self.as_fd(), len)
    }

    /// Like [`reserve`](Self::reserve), only for the bytes from `from` to `to`, which are not used yet: after an error
    /// they are zero and have no memory. The cost does not depend on `from`.
    ///
    /// # Errors
    /// As for [`reserve`](Self::reserve); `EINVAL` unless `from` is less than `to`.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::mmap::Memfd;
    ///
    /// let memory = Memfd::new(c"grows")?;
    /// memory.reserve(4096)?;
    /// memory.reserve_more(4096, 12288)?;
    /// assert_eq!(memory.len()?, 12288);
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "fallocate")]
    pub fn reserve_more(&self, from: u64, to: u64) -> Result<()> {
        is_possible(to)?;
        allocate(self.as_fd(), from, to).inspect_err(|_| {
            // The first error is the one to report.
            let _ = punch(self.as_fd(), from, to);
        })
    }

    /// `fcntl(fd, F_ADD_SEALS, seals)`: sets seals, which can never be removed.
    ///
    /// # Errors
    /// `EBUSY` for [`Seals::WRITE`] while a writable shared mapping exists anywhere, `EPERM` after [`Seals::SEAL`],
    /// `EINVAL` for a seal that the kernel does not know.
    #[doc(alias = "F_ADD_SEALS")]
    pub fn add_seals(&self, seals: Seals) -> Result<()> {
        let seals = SealFlags::from_bits_retain(seals.bits());
        retry(|| raw::call("fcntl", || rustix::fs::fcntl_add_seals(&self.0, seals)))
    }

    /// `fcntl(fd, F_GET_SEALS)`: the seals of the file.
    ///
    /// # Errors
    /// `EINVAL` when the descriptor is not a file that takes seals.
    #[doc(alias = "F_GET_SEALS")]
    pub fn seals(&self) -> Result<Seals> {
        seals_of(self.as_fd())
    }
}

/// `open("/proc/self/fd/NUMBER", O_RDWR | O_CLOEXEC)`: a new open file description of the same file, with its own
/// locks.
pub(crate) fn reopen(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    let path = path_of(fd.as_raw_fd().unsigned_abs());
    let path = CStr::from_bytes_until_nul(&path).unwrap_or_default();
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    above_standard(retry(|| raw::call("open", || rustix::fs::open(path, flags, Mode::empty())))?)
}

/// [`Memfd::reserve`] for any file in memory.
pub(crate) fn reserve(fd: BorrowedFd<'_>, len: u64) -> Result<()> {
    is_possible(len)?;
    allocate(fd, 0, len)
}

/// Refuses more memory than the machine has. A length of one step is left to the kernel: every machine has that much,
/// and most objects are that small.
fn is_possible(len: u64) -> Result<()> {
    if len <= STEP {
        return Ok(());
    }
    let machine = retry(|| raw::call("sysinfo", || Ok(rustix::system::sysinfo())))?;
    let pages = (machine.totalram as u64).saturating_add(machine.totalswap as u64);
    if len > pages.saturating_mul(u64::from(machine.mem_unit)) { Err(Errno::NOMEM) } else { Ok(()) }
}

/// `fallocate(fd, 0, from, to - from)`, in steps. After an error, the memory of the earlier steps stays reserved, and
/// existing content does not change.
///
/// A signal makes the kernel free the pages of a call and start the call again. With a signal every few milliseconds,
/// one long call would never end.
pub(crate) fn allocate(fd: BorrowedFd<'_>, from: u64, to: u64) -> Result<()> {
    let mut at = from;
    loop {
        let end = to.min((at / STEP + 1).saturating_mul(STEP));
        let len = end.saturating_sub(at);
        retry(|| raw::call("fallocate", || rustix::fs::fallocate(fd, FallocateFlags::empty(), at, len)))?;
        at = end;
        if at >= to {
            return Ok(());
        }
    }
}

/// `fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, to - from)`: returns pages to the kernel.
pub(crate) fn punch(fd: BorrowedFd<'_>, from: u64, to: u64) -> Result<()> {
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if from >= to {
        return Ok(());
    }
    retry(|| raw::call("fallocate", || rustix::fs::fallocate(fd, hole, from, to - from)))
}

/// The size of any file.
pub(crate) fn len_of(fd: BorrowedFd<'_>) -> Result<u64> {
    let stat = raw::call("fstat", || rustix::fs::fstat(fd))?;
    u64::try_from(stat.st_size).map_err(|_| Errno::OVERFLOW)
}

/// The seals of any descriptor.
pub(crate) fn seals_of(fd: BorrowedFd<'_>) -> Result<Seals> {
    let seals = retry(|| raw::call("fcntl", || rustix::fs::fcntl_get_seals(fd)))?;
    Ok(Seals::from_bits_retain(seals.bits()))
}

impl AsFd for Memfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

crate::fd::as_raw_fd!(Memfd);

impl AboveStandard for Memfd {
    fn above_standard(self) -> Result<Self> {
        above_standard(self.0).map(Self)
    }
}

impl From<Memfd> for OwnedFd {
    fn from(memory: Memfd) -> Self {
        memory.0
    }
}
