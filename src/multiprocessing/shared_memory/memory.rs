//! A block of memory with a name.

use std::fmt;
use std::sync::Arc;

use ossature_sys::errno::Errno;
use ossature_sys::mmap::Region;
use ossature_sys::posix_ipc::{self, Name};
use ossature_sys::shm::{self, Plain, Racy};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::object::{self, Naming, Object, ObjectKind, check_file_size, failed};
use super::sweep::MODE;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::sharedctypes::Span;
use crate::multiprocessing::transfer::Handle;

/// A block of memory that any program of the same user can open by name: Python's `SharedMemory`.
///
/// The name of a block that was made here lasts as long as a process uses the block. See the [module](super), also for
/// what CPython does to names. A block needs no descriptor. Dropping it is Python's `close`.
///
/// The bytes may change at any time, so they are copied in and out, and a value of several bytes may be seen half
/// written. A [`NamedLock`](crate::multiprocessing::sync::NamedLock) excludes others, in Python too. Any program of the
/// same user can cut the file of a block short. An access to what is lost ends the process with SIGBUS. Neither this
/// library nor CPython does that.
///
/// A block that is sent to another process is opened there by its name, and is in use meanwhile.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::shared_memory::SharedMemory;
///
/// let memory = SharedMemory::create(16)?;
/// memory.write(0, b"hello")?;
/// memory.set(8, 7_i64)?;
/// let same = SharedMemory::open(memory.name())?;
/// assert_eq!((same.slice(..5), same.get::<i64>(8)?), (b"hello".to_vec(), 7));
/// let mut numbers = [0_u32; 2];
/// same.read(8, &mut numbers)?;
/// same.cells()[0].set(b'j');
/// assert_eq!(memory.as_region().len(), 16);
/// assert_eq!(memory.slice(..5), b"jello");
/// same.close();
/// # Ok::<(), ossature::Error>(())
/// ```
#[must_use = "dropping the last user of a block removes its name"]
pub struct SharedMemory(Arc<Block>);

/// The state that the clones of a block share.
struct Block {
    /// The mapping, which holds the lock, so it is dropped first.
    region: Region,
    object: Object,
}

impl SharedMemory {
    /// Makes a zeroed block under a name of CPython's form: `SharedMemory(create=True, size=size)`.
    ///
    /// # Errors
    /// As for [`SharedMemoryBuilder::create`].
    pub fn create(size: usize) -> Result<Self> {
        Self::builder().create(size)
    }

    /// Opens an existing block: `SharedMemory(name=name)`.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `ENOENT` if there is none of that name, and `EBUSY` if another program holds an
    /// exclusive lock on it for longer than a second. `EACCES` if it belongs to another user than the effective user or
    /// root: that user could truncate it (CPython opens it if its mode allows that). `EMFILE` without a descriptor,
    /// `ENOMEM`. [`InvalidInput`](ErrorKind::InvalidInput) for an invalid name, and for an empty file, which its maker
    /// may not have filled yet.
    pub fn open(name: &str) -> Result<Self> {
        let (object, fd, status) = Object::open(ObjectKind::Memory, name)?;
        let len = usize::try_from(status.len).map_err(|_| failed(Errno::NOMEM, ObjectKind::Memory, object.name()))?;
        if len == 0 {
            let message =
                format!("the shared memory {name} is empty: the process that makes it has not set its size yet");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let region = Region::shared(&fd, len).map_err(|errno| failed(errno, ObjectKind::Memory, object.name()))?;
        Ok(Self(Arc::new(Block { region, object })))
    }

    /// Makes a builder for a block with a name of the program's choice, or without tracking.
    ///
    /// # Examples
    /// See the example of [`SharedMemoryBuilder`].
    pub fn builder() -> SharedMemoryBuilder {
        SharedMemoryBuilder::default()
    }

    /// Returns the name, without the slash that C puts before it.
    pub fn name(&self) -> &str {
        self.0.object.name()
    }

    /// Returns the number of bytes: the length of the file, also if another program made the block.
    #[doc(alias = "size")]
    #[expect(clippy::len_without_is_empty, reason = "a block has at least one byte")]
    pub fn len(&self) -> usize {
        self.0.region.len()
    }

    /// Returns whether the name is removed with the last user.
    ///
    /// # Examples
    /// See the example of [`SharedMemoryBuilder`].
    pub fn is_tracked(&self) -> bool {
        self.0.object.is_tracked()
    }

    /// Copies items out of the block, from byte `offset` on. Numbers have this machine's byte order, as in CPython.
    ///
    /// # Errors
    /// [`OutOfRange`](ErrorKind::OutOfRange) if they are not all within the block; nothing is copied then.
    pub fn read<T: Plain>(&self, offset: usize, into: &mut [T]) -> Result<()> {
        let len = size_of_val(into);
        shm::copy_out(&self.0.region, offset, into).map_err(|_| self.beyond(offset, len))
    }

    /// Copies items into the block, from byte `offset` on: `shm.buf[offset:...] = ...`.
    ///
    /// # Errors
    /// [`OutOfRange`](ErrorKind::OutOfRange) if they are not all within the block; nothing is copied then.
    pub fn write<T: Plain>(&self, offset: usize, items: &[T]) -> Result<()> {
        shm::copy_in(&self.0.region, offset, items).map_err(|_| self.beyond(offset, size_of_val(items)))
    }

    /// Returns the value at byte `offset`: `struct.unpack_from(...)`.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn get<T: Plain>(&self, offset: usize) -> Result<T> {
        shm::load(&self.0.region, offset).map_err(|_| self.beyond(offset, size_of::<T>()))
    }

    /// Replaces the value at byte `offset`: `struct.pack_into(...)`.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn set<T: Plain>(&self, offset: usize, value: T) -> Result<()> {
        self.write(offset, &[value])
    }

    /// Copies the bytes of a range, without the indices out of range: `bytes(shm.buf[2:5])`.
    pub fn slice(&self, span: impl Span) -> Vec<u8> {
        let range = span.resolve(self.len());
        let mut bytes = vec![0; range.len()];
        let copied = self.read(range.start, &mut bytes);
        debug_assert!(copied.is_ok(), "the range was cut to what there is");
        bytes
    }

    /// Lends the bytes as cells, to read and write single bytes in place.
    pub fn cells(&self) -> &[Racy<u8>] {
        shm::cells(&self.0.region).unwrap_or_default() // it may be read and written: that is how it was mapped
    }

    /// Lends the mapping, for the operations that only a [`Region`] has: atomic words, advice to the kernel.
    pub fn as_region(&self) -> &Region {
        &self.0.region
    }

    /// Makes a second handle of the same block, for another owner in this process. The block is in use until its last
    /// handle is dropped, also after its name was removed.
    ///
    /// # Errors
    /// None today: the handles share one mapping. The result is that of [`TryClone`](crate::TryClone).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::shared_memory::SharedMemory;
    ///
    /// let memory = SharedMemory::create(8)?;
    /// let writer = memory.try_clone()?;
    /// std::thread::spawn(move || writer.set(0, 7_u64)).join().expect("no panic")?;
    /// assert_eq!(memory.get::<u64>(0)?, 7);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self(self.0.clone()))
    }

    /// Drops this handle. The block is unmapped with its last handle in this process.
    pub fn close(self) {
        drop(self);
    }

    /// Removes the name. The memory lasts until its last user drops it, and another block may take the name at once.
    ///
    /// Differs from Python: a name that another block has meanwhile is left alone.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `ENOENT` if the block no longer has a name, `EACCES` or `EPERM` if it belongs to
    /// another user.
    ///
    /// # Examples
    /// See the example of [`SharedMemoryBuilder`].
    pub fn unlink(&self) -> Result<()> {
        self.0.object.unlink()
    }

    pub(super) fn beyond(&self, offset: usize, len: usize) -> Error {
        let message =
            format!("{len} bytes from {offset} on are not within {}, which has {} bytes", self.name(), self.len());
        Error::new(ErrorKind::OutOfRange, message)
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedMemory({:?}, size={})", self.name(), self.len())
    }
}

/// Removes a name, whichever block has it: `SharedMemory(name).unlink()`.
///
/// # Errors
/// [`Os`](ErrorKind::Os) with `ENOENT` if no block has the name, `EACCES` or `EPERM` if it belongs to another user.
/// [`InvalidInput`](ErrorKind::InvalidInput) for an invalid name.
///
/// # Examples
/// See the example of [`SharedMemoryBuilder`].
#[doc(alias = "shm_unlink")]
pub fn unlink(name: &str) -> Result<()> {
    object::unlink(ObjectKind::Memory, name)
}

/// The settings of a block before it is made.
///
/// # Examples
/// ```
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::shared_memory::{SharedMemory, SharedMemoryBuilder, unlink};
///
/// let name = format!("ossature-doc-block-{}", std::process::id());
/// let builder: SharedMemoryBuilder = SharedMemory::builder().name(&name);
/// let memory = builder.create_with(8, |memory| Ok(memory.copy_in(0, b"complete")?))?;
/// assert!(memory.is_tracked());
/// assert_eq!(SharedMemory::builder().name(&name).create(8).unwrap_err().kind(), ErrorKind::Os); // EEXIST
/// memory.unlink()?;
///
/// // A name that lasts until a program removes it:
/// SharedMemory::builder().name(&name).track(false).create(8)?.close();
/// assert!(!SharedMemory::open(&name)?.is_tracked());
/// unlink(&name)?;
/// assert!(SharedMemory::open(&name).is_err());
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "`create` makes the block"]
pub struct SharedMemoryBuilder {
    name: Option<String>,
    untracked: bool,
}

impl SharedMemoryBuilder {
    /// Sets the name, with or without the slash of C. Without this call the name has CPython's form: `psm_` and 8
    /// digits.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Sets whether the name is removed with the last user, which is the default. With false the name stays until
    /// [`unlink`](SharedMemory::unlink): Python's `track=False`.
    pub fn track(self, track: bool) -> Self {
        Self { untracked: !track, ..self }
    }

    /// Makes a zeroed block of `size` bytes.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `EEXIST` if something has the name, `ENOSPC` if `/dev/shm` is full, `ENOMEM` for more
    /// than the machine has, `EFBIG` beyond `RLIMIT_FSIZE`. Also with `EMFILE` or `ENFILE` without a descriptor,
    /// `ENOENT` and `EACCES` if there is no usable `/dev/shm`. [`InvalidInput`](ErrorKind::InvalidInput) for a size of
    /// 0 and for an invalid name.
    pub fn create(self, size: usize) -> Result<SharedMemory> {
        self.create_with(size, |_| Ok(()))
    }

    /// Does what [`create`](Self::create) does, and fills the block: no process can open the block before `fill` has
    /// returned.
    ///
    /// # Errors
    /// As for [`create`](Self::create), and those of `fill`, after which there is no block.
    pub fn create_with(self, size: usize, fill: impl FnOnce(&Region) -> Result<()>) -> Result<SharedMemory> {
        if size == 0 {
            return Err(Error::new(ErrorKind::InvalidInput, "the size of shared memory must be above 0"));
        }
        let naming = self.name.as_deref().map_or(Naming::Random, Naming::Given);
        let named = self.name.as_deref().unwrap_or_default();
        let make = |private: &Name| posix_ipc::create(private, MODE).map(|fd| (fd, ()));
        let (object, _, region) = Object::create(ObjectKind::Memory, naming, !self.untracked, make, |fd, ()| {
            let region = reserve(fd, size).map_err(|errno| failed(errno, ObjectKind::Memory, named))?;
            fill(&region)?;
            Ok(region)
        })?;
        Ok(SharedMemory(Arc::new(Block { region, object })))
    }
}

/// Reserves the memory, and maps it.
fn reserve(fd: &std::os::fd::OwnedFd, size: usize) -> ossature_sys::errno::Result<Region> {
    check_file_size(size)?;
    posix_ipc::reserve(fd, size as u64)?;
    Region::shared(fd, size)
}

/// Serialises the name, with a descriptor that keeps the block in use until it is received.
impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let keeper = self.0.object.keeper().map_err(ser::Error::custom)?;
        (self.name(), Handle(keeper)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let (name, Handle(keeper)) = <(String, Handle<std::os::fd::OwnedFd>)>::deserialize(deserializer)?;
        let memory = Self::open(&name).map_err(de::Error::custom)?;
        match memory.0.object.is_kept_by(&keeper) {
            true => Ok(memory),
            false => Err(de::Error::custom(format!("{name} is a different block from the one that was sent"))),
        }
    }
}
