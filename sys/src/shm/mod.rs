//! Shared memory as a smart pointer to a value that several processes use.
//!
//! [`Shm::place`] makes a sealed memory file, writes the value into it and maps it. A forked child has the mapping
//! already; another process [attaches](Shm::from_fd) to the descriptor. [`Shareable`] defines which types may be there:
//! numbers, their atomics, [`Racy`] cells, arrays, the primitives in scope [`Shared`](crate::scope::Shared), and
//! structs made of those with [`shareable!`](crate::shareable).
//!
//! ```
//! use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
//! use ossature_sys::{scope::Shared, shareable, shm::Shm, sync::lock::Lock};
//!
//! shareable! {
//!     /// A counter and who may change the total.
//!     pub struct Tally {
//!         hits: AtomicU32,
//!         total: Lock<u64, Shared>,
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tally = Shm::place(Tally::init(AtomicU32::new(0), Lock::shared(0)))?;
//! let again = tally.try_clone()?; // a second mapping of the same memory
//! tally.hits.fetch_add(1, Relaxed);
//! *tally.total.lock()? += 7;
//! assert_eq!((again.hits.load(Relaxed), *again.total.lock()?), (1, 7));
//! # Ok(()) }
//! ```
//!
//! **Nothing to clean up.** There is no name in the file system: the kernel frees the memory when no process maps it,
//! however the processes ended. The memory cannot shrink, and its pages are reserved, so no access raises SIGBUS.
//!
//! **Never unmapped under the kernel.** While a thread of this process holds a lock in it, a mapping is part of that
//! thread's robust list. Borrowing keeps the two in order, but `mem::forget` on a guard does not. So a drop of a `Shm`
//! checks this: a mapping in which a node is still linked is leaked, not unmapped.
//!
//! **Attached as the same type.** The memory begins with a header that records the placed type. Its [`Fingerprint`] is
//! SHA-256 over names, types, counts and offsets, so no other type has the same one. For processes of one image the
//! header also records the compiler's identity of the type. Within an image, two types with the same name and layout
//! are different types. Between two programs they are one type, so that the programs can share a definition.
//!
//! **One pid namespace.** The locks know their holders by thread id, so all processes that use the memory must be in
//! one pid namespace. Attaching checks that, without /proc. A forked child that inherits the memory is not checked. So
//! a process that has called `unshare(CLONE_NEWPID)` must not let its further children use inherited memory.
//!
//! **No descriptor, no `DerefMut`.** With the descriptor safe code could map the memory again and write to data under a
//! guard, and other processes always have references.
//!
//! ```compile_fail
//! let shm = ossature_sys::shm::Shm::place(5_u32).unwrap();
//! *shm = 6; // shared with others: use an atomic, a Racy or a Lock
//! ```
//!
//! ```compile_fail
//! use ossature_sys::shm::Shm;
//! let shm = Shm::place(String::new()); // a pointer means nothing to another process
//! ```
//!
//! Source: memfd_create(2), fcntl(2) for the seals.

mod bytes;
mod cells;
mod fields;
mod file_id;
mod fingerprint;
pub(crate) mod growing;
mod header;
mod image;
mod racy;
mod shareable;
mod slice;

use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;

pub use bytes::{as_bytes, as_bytes_mut, cells, copy_in, copy_out, from_bytes, load, store};
pub use cells::{OutOfBounds, RacySlice};
#[doc(hidden)]
pub use fields::{Fields, PlainFields};
pub use file_id::FileId;
pub use fingerprint::{Description, Fingerprint};
use header::SEALS;
pub use header::{AttachError, is_shared_memory};
pub(crate) use header::{Header, attach, fits_in_shared_memory, len_of};
pub use racy::Racy;
pub use shareable::{Init, Nodes, Plain, Shareable, Zeroed, array};
#[doc(hidden)]
pub use shareable::{InitWith, init_field, visit_field};

use self::growing::Growing;
use crate::errno::{Errno, Result};
use crate::fd::{AsFd, BorrowedFd, OwnedFd, above_standard, duplicate};
use crate::mmap::{Memfd, Region};
use crate::process::{Resource, rlimit};

/// A value in memory that several processes map.
///
/// # Examples
/// ```
/// use ossature_sys::{fd::{AsFd, duplicate}, shm::{AttachError, Shm, is_shared_memory}, sync::Lock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let count = Shm::place(Lock::shared(1_u32))?;
/// *count.try_clone()?.lock()? += 1;
/// assert_eq!(*count.lock()?, 2);
///
/// // SAFETY: the descriptor stays in this program, which maps it as what it is.
/// let memory = duplicate(unsafe { count.descriptor() })?;
/// assert!(is_shared_memory(&memory));
/// // SAFETY: as above.
/// let wrong = unsafe { Shm::<u64>::from_fd(memory) };
/// assert_eq!(wrong.unwrap_err(), AttachError::OtherType);
/// # Ok(()) }
/// ```
#[doc(alias = "SharedMemory")]
// The bound is on the methods and not here. A bound here would be checked wherever a program names the type, and the
// compiler would print its error once for each place.
pub struct Shm<T: ?Sized> {
    value: NonNull<T>,
    region: Option<Region>,
    memory: OwnedFd,
    /// [`is_linked`] for this type, for the drop, which has no bound on the type.
    is_linked: unsafe fn(NonNull<T>) -> bool,
}

// SAFETY: `Shm` owns a mapping, which belongs to the process and not to a thread, and lends `&T`; `T` is Send and Sync.
unsafe impl<T: ?Sized + Shareable> Send for Shm<T> {}
// SAFETY: as for Send.
unsafe impl<T: ?Sized + Shareable> Sync for Shm<T> {}

impl<T: Shareable> Shm<T> {
    /// Makes shared memory with a value in it. A number is its own initialiser. Shared primitives and
    /// [`shareable!`](crate::shareable) structs have a function that makes an initialiser.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` without descriptors, `ENOMEM` or `ENOSPC` when the pages cannot be reserved. `EFBIG` when
    /// the value is larger than a file may be (`RLIMIT_FSIZE`, `ulimit -f`; no signal is sent). `EOPNOTSUPP` for a type
    /// with a lock if [`Shared::backend`](crate::scope::Shared::backend) is
    /// [`Unsupported`](crate::scope::LockBackend::Unsupported): the kernel has no robust lists, so no process would
    /// detect a holder's death.
    pub fn place(init: impl Init<T>) -> Result<Self> {
        let (memory, region) =
            if T::BACKED < size_of::<T>() { Growing::make_for::<T>()? } else { make(Header::of::<T>())? };
        let value = value_in::<T>(&region);
        // SAFETY: the region is new, large enough and aligned for a header and a `T` (`Header::of`), and no other code
        // has it.
        unsafe { init.init(value.as_ptr()) }?;
        Ok(Self::over(value, region, memory))
    }

    /// Attaches to memory that another process made.
    ///
    /// # Errors
    /// [`AttachError`]: the memory is not sealed, is too short, or is of another program, type or ABI. Or it was made
    /// in another pid namespace, where the ids in its locks mean other threads.
    ///
    /// # Safety
    /// Every process that has the descriptor follows the protocol of `T`: it uses the memory through `Shm` only, or as
    /// `Shm` would. Seals, size and header are checked; the meaning of the bytes cannot be checked.
    pub unsafe fn from_fd(memory: OwnedFd) -> core::result::Result<Self, AttachError> {
        let (memory, region) = attach(memory, Header::of::<T>())?;
        Ok(Self::over(value_in::<T>(&region), region, memory))
    }

    /// A second mapping of the same memory.
    ///
    /// # Errors
    /// `EMFILE` without descriptors, `ENOMEM` without room for the mapping.
    pub fn try_clone(&self) -> Result<Self> {
        let (memory, region) = self.map_again()?;
        Ok(Self::over(value_in::<T>(&region), region, memory))
    }
}

impl<T: ?Sized + Shareable> Shm<T> {
    /// Makes a `Shm` of a valid `value` in `region`, which maps `memory`.
    pub(crate) fn over(value: NonNull<T>, region: Region, memory: OwnedFd) -> Self {
        Self { value, region: Some(region), memory, is_linked: is_linked::<T> }
    }

    /// The descriptor, for a process that will [attach](Shm::from_fd).
    ///
    /// # Safety
    /// It only goes to processes that follow the protocol of `T`, and is not mapped or written by other means. This
    /// process lends `&mut` references into the memory through guards.
    pub unsafe fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    pub(crate) fn map_again(&self) -> Result<(OwnedFd, Region)> {
        let memory = above_standard(duplicate(&self.memory)?)?;
        let region = Region::shared(&memory, self.region.as_ref().map_or(0, Region::len))?;
        Ok((memory, region))
    }
}

impl<T: ?Sized + Shareable> Deref for Shm<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the value was initialised before any code got the `Shm`, stays mapped as long as it, and is
        // Shareable: other processes store only valid values there, through atomics or guards.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized> Drop for Shm<T> {
    fn drop(&mut self) {
        // SAFETY: the value is still mapped, and valid.
        if unsafe { (self.is_linked)(self.value) } {
            // The kernel and this process's threads still know addresses in here.
            self.region.take().map(Region::leak);
        }
    }
}

/// A number that distinguishes the type from others, in processes of one image. It combines half of the fingerprint and
/// the compiler's identity in one word. Never 0.
pub(crate) fn kind_of<T: Shareable>() -> u64 {
    (T::FINGERPRINT.first_word() ^ image::identity::<T>().rotate_left(32)) | 1
}

/// Whether a thread of this process holds a lock in the value through this mapping.
///
/// # Safety
/// `value` points to a valid value in a mapping.
pub(crate) unsafe fn is_linked<T: ?Sized + Shareable>(value: NonNull<T>) -> bool {
    let mut nodes = Nodes::default();
    // SAFETY: the caller's promise.
    unsafe { T::nodes(value.as_ptr(), &mut nodes) };
    nodes.any_linked()
}

impl<T: ?Sized + Shareable + fmt::Debug> fmt::Debug for Shm<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shm").field(&&**self).finish()
    }
}

pub(crate) fn make(header: Header) -> Result<(OwnedFd, Region)> {
    let len = usize::try_from(header.size).map_err(|_| Errno::NOMEM)?;
    let memory = Memfd::new(c"ossature")?;
    // Beyond this limit the kernel sends SIGXFSZ, which by default ends the program.
    if rlimit(Resource::Fsize)?.current.is_some_and(|most| header.size > most) {
        return Err(Errno::FBIG);
    }
    // This makes the file that long, too.
    memory.reserve(header.size)?;
    memory.add_seals(SEALS)?;
    header::own(memory.as_fd());
    let region = Region::shared(&memory, len)?;
    // SAFETY: the region is new, page-aligned and longer than a header.
    unsafe { region.as_ptr().cast::<Header>().write(header) };
    Ok((above_standard(memory.into())?, region))
}

/// The address of the value after the header, for which `Header::of` made room.
pub(crate) fn value_in<T>(region: &Region) -> NonNull<T> {
    // SAFETY: the region is longer than the value's offset (`Header::of`).
    unsafe { region.as_ptr().add(Header::value_offset(align_of::<T>())) }.cast()
}
