//! The header before the value: enough to refuse a process that would misread the value.

use core::alloc::Layout;
use core::fmt;
use core::mem::MaybeUninit;

use super::fingerprint::Fingerprint;
use super::image::{identity, image};
use super::shareable::Shareable;
use crate::errno::{Errno, retry};
use crate::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, above_standard};
use crate::mmap::memfd::{len_of as len_of_file, seals_of};
use crate::mmap::{Region, Seals};
use crate::process::{id, pid_namespace};
use crate::raw;
use crate::robust::{LockBackend, lock_backend};

/// The seals of a shared object, which fix its length.
pub(super) const SEALS: Seals = Seals::SHRINK.union(Seals::GROW).union(Seals::SEAL);

/// The first bytes of the memory. They are written once, before another process can have the descriptor.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    magic: u64,
    abi: u64,
    /// The size of the whole memory, header included.
    pub(crate) size: u64,
    len: u64,
    align: u64,
    fingerprint: Fingerprint,
    /// The compiler's identity of the type in the image `image`; not compared between two images.
    identity: u64,
    image: u64,
    pid_namespace: u64,
    /// The maker's process id in its own pid namespace.
    maker: u64,
}

const MAGIC: u64 = u64::from_ne_bytes(*b"ossature");

/// The version of the layouts in shared memory, incremented when a word, a node or the header changes.
const VERSION: u64 = 3;

impl Header {
    /// The header of memory for one value.
    pub(super) fn of<T: Shareable>() -> Self {
        const { fits_in_shared_memory::<T>() };
        Self::describing::<T>(Some(Layout::new::<T>()), 1, align_of::<T>())
    }

    /// The header of memory for a slice of `len` values.
    pub(super) fn of_slice<T: Shareable>(len: usize) -> Self {
        const { fits_in_shared_memory::<T>() };
        Self::describing::<[T]>(Layout::array::<T>(len).ok(), len, align_of::<T>())
    }

    /// The header of memory for one `U` around `len` values, with the layout and alignment of `U`.
    pub(crate) fn of_unsized<T: Shareable, U: ?Sized + Shareable>(
        layout: Option<Layout>,
        len: usize,
        align: usize,
    ) -> Self {
        const { fits_in_shared_memory::<T>() };
        Self::describing::<U>(layout, len, align)
    }

    /// The header of [growing](super::growing) memory for a `T` and `more` bytes after it.
    pub(super) fn of_growing<T: Shareable>(more: usize, len: usize) -> Self {
        const { fits_in_shared_memory::<T>() };
        let size = size_of::<T>().checked_add(more);
        let layout = size.and_then(|size| Layout::from_size_align(size, align_of::<T>()).ok());
        Self::describing::<T>(layout, len, align_of::<T>())
    }

    /// The header of memory for a value. The size in it is `u64::MAX` when the value cannot be addressed.
    fn describing<T: ?Sized + Shareable>(value: Option<Layout>, len: usize, align: usize) -> Self {
        let size = value
            .and_then(|value| value.size().checked_add(Self::value_offset(align)))
            .filter(|&bytes| bytes <= isize::MAX as usize)
            .map_or(u64::MAX, |bytes| bytes as u64);
        Self {
            magic: MAGIC,
            abi: abi(),
            size,
            len: len as u64,
            align: align as u64,
            fingerprint: T::FINGERPRINT,
            identity: identity::<T>(),
            image: image(),
            pid_namespace: pid_namespace().unwrap_or(UNKNOWN),
            maker: id().as_raw_nonzero().get() as u64,
        }
    }

    /// The offset of a value of that alignment: at the start of a cache line, more aligned only if the type requires
    /// it.
    pub(super) const fn value_offset(align: usize) -> usize {
        let least = size_of::<Self>();
        let align = if align < 64 { 64 } else { align };
        least.div_ceil(align) * align
    }

    /// Checks that `memory`, whose header is `found`, matches this header.
    pub(super) fn admit(&self, found: &Self, memory: &OwnedFd) -> Result<(), AttachError> {
        if found.abi != self.abi {
            return Err(AttachError::OtherAbi);
        }
        if (found.fingerprint, found.align, found.len, found.size)
            != (self.fingerprint, self.align, self.len, self.size)
        {
            return Err(AttachError::OtherType);
        }
        // The identities of two images cannot be compared.
        if found.image == self.image && found.identity != self.identity {
            return Err(AttachError::OtherType);
        }
        let here = match (found.pid_namespace, self.pid_namespace) {
            (UNKNOWN, _) | (_, UNKNOWN) => found.maker_is_seen_from_here(memory),
            (found, own) => found == own,
        };
        if here { Ok(()) } else { Err(AttachError::OtherPidNamespace) }
    }

    /// Whether the maker has the same number here as in its own pid namespace. The maker is the owner of the memory's
    /// file. The kernel returns the owner's number in the namespace of the caller. The number is 0 if the owner has
    /// ended or is not visible there.
    fn maker_is_seen_from_here(&self, memory: &OwnedFd) -> bool {
        owner(memory.as_fd()).is_ok_and(|owner| owner != 0 && owner == self.maker)
    }
}

/// Checks every type at compile time.
pub(crate) const fn fits_in_shared_memory<T>() {
    // The model checker's atomics have such an alignment, but no model places them.
    assert!(cfg!(loom) || !core::mem::needs_drop::<T>(), "what lives in shared memory has no Drop");
    // A page is the most that a mapping's beginning is aligned to everywhere.
    assert!(align_of::<T>() <= 4096, "a value in shared memory cannot be aligned to more than 4096 bytes");
    assert!(size_of::<T>() > 0, "a value without size has nothing to share: put it beside a number or into a `Lock`");
}

/// The version of the layouts, the backend of the locks, the word size and the libc, each in one or more bytes.
fn abi() -> u64 {
    let libc = if cfg!(target_env = "musl") { 2 } else { 1 };
    let backend = match lock_backend() {
        LockBackend::Node => 1,
        LockBackend::Pthread => 2,
        LockBackend::Unsupported => 3,
    };
    VERSION << 24 | backend << 16 | (size_of::<usize>() as u64) << 8 | libc
}

/// Reads the header of memory that another process made, after a check that the memory cannot shrink.
pub(super) fn read(memory: &OwnedFd) -> Result<Header, AttachError> {
    // The call fails for every other kind of file.
    if !seals_of(memory.as_fd()).map_err(|_| AttachError::NotSealed)?.contains(SEALS) {
        return Err(AttachError::NotSealed);
    }
    let size = len_of_file(memory.as_fd()).map_err(AttachError::Os)?;
    let mut bytes = [0; size_of::<Header>()];
    let read =
        retry(|| raw::call("pread", || rustix::io::pread(memory.as_fd(), &mut bytes, 0))).map_err(AttachError::Os)?;
    if read != bytes.len() {
        return Err(AttachError::NotOurs);
    }
    let mut header = MaybeUninit::<Header>::uninit();
    // SAFETY: both have the size of a header, and do not overlap.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), header.as_mut_ptr().cast(), bytes.len()) };
    // SAFETY: every byte was written, and a header is numbers only.
    let header = unsafe { header.assume_init() };
    if header.magic != MAGIC {
        return Err(AttachError::NotOurs);
    }
    if header.size != size {
        return Err(AttachError::OtherType);
    }
    Ok(header)
}

/// Whether a descriptor is, or may be, the descriptor of a [`Shm`](super::Shm).
///
/// For code that hands received descriptors to safe code. Safe code must not have such a descriptor, because it could
/// write under a reference. A descriptor whose kind is not known counts as shared memory.
///
/// # Examples
/// ```
/// use ossature_sys::{mmap::Memfd, shm::is_shared_memory};
///
/// let memory = Memfd::new(c"other")?;
/// assert!(!is_shared_memory(&memory.into()));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn is_shared_memory(fd: &OwnedFd) -> bool {
    !matches!(read(fd), Err(AttachError::NotSealed | AttachError::NotOurs))
}

/// The number of values, from the header; [`Header::admit`] checks it against the size.
pub(crate) fn len_of(memory: &OwnedFd) -> Result<usize, AttachError> {
    usize::try_from(read(memory)?.len).map_err(|_| AttachError::OtherType)
}

/// The number for a pid namespace that the kernel did not report, which never equals another.
const UNKNOWN: u64 = 0;

/// Makes this process the owner of the memory's open file description, which all copies of the descriptor share.
///
/// The owner never gets a signal, because a memory file is always ready.
pub(super) fn own(memory: BorrowedFd<'_>) {
    let number = id().as_raw_nonzero().get();
    // If a sandbox refuses the call, only a system that does not report the pid namespace is affected.
    let _ = retry(|| {
        raw::call_c("fcntl", || {
            // SAFETY: F_SETOWN takes a number.
            unsafe { libc::fcntl(memory.as_raw_fd(), libc::F_SETOWN, number) }
        })
    });
}

/// The owner's number in the pid namespace of this process; 0 if no owner is visible here.
fn owner(memory: BorrowedFd<'_>) -> crate::errno::Result<u64> {
    let number = retry(|| {
        raw::call_c("fcntl", || {
            // SAFETY: F_GETOWN takes nothing.
            unsafe { libc::fcntl(memory.as_raw_fd(), libc::F_GETOWN) }
        })
    })?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// The reason why a process cannot attach to memory.
///
/// # Examples
/// ```
/// use ossature_sys::{mmap::Memfd, shm::{AttachError, Shm}};
///
/// let memory = Memfd::new(c"other")?;
/// // SAFETY: no other code has the descriptor.
/// let error = unsafe { Shm::<u32>::from_fd(memory.into()) }.unwrap_err();
/// assert_eq!(error, AttachError::NotSealed);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// The descriptor is not a memory file that is sealed against shrinking and growing.
    NotSealed,
    /// The memory does not begin with this library's header.
    NotOurs,
    /// Another version, libc or word size made the memory, or a process with another backend of the locks.
    OtherAbi,
    /// The memory holds another type: other fields, offsets, length or size.
    OtherType,
    /// The memory was made in another pid namespace. Before Linux 6.11 and without /proc, this is also the error if the
    /// maker has ended.
    OtherPidNamespace,
    /// The memory belongs to a pollable ring, and the ring's event is missing.
    NeedsEvent,
    /// A system call failed.
    Os(Errno),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSealed => {
                "shared memory: the descriptor is not a memory file sealed against shrinking; make it with Shm::place"
            }
            Self::NotOurs => "shared memory: no header of this library; pass the descriptor of a Shm",
            Self::OtherAbi => "shared memory: made by another version, libc or word size; build both programs alike",
            Self::OtherType => {
                "shared memory: holds another type; both sides must name the same struct with the same fields"
            }
            Self::OtherPidNamespace => {
                "shared memory: made in another pid namespace, where thread ids mean other threads; share within one (without /proc, before \
                 Linux 6.11: while the process that made the memory lives)"
            }
            Self::NeedsEvent => "shared memory: a pollable ring has a second descriptor; pass both to Ring::from_fds",
            Self::Os(errno) => return write!(f, "shared memory: {errno}"),
        })
    }
}

impl core::error::Error for AttachError {}

pub(crate) fn attach(memory: OwnedFd, expected: Header) -> Result<(OwnedFd, Region), AttachError> {
    let found = read(&memory)?;
    expected.admit(&found, &memory)?;
    let len = usize::try_from(expected.size).map_err(|_| AttachError::Os(Errno::NOMEM))?;
    let memory = above_standard(memory).map_err(AttachError::Os)?;
    let region = Region::shared(&memory, len).map_err(AttachError::Os)?;
    Ok((memory, region))
}
