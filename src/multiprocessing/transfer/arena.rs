//! Shared objects of different types behind one descriptor.
//!
//! The lower crate's [`arena`] records the holders of an object: processes, and messages in transit.
//! [`kept`](super::kept) counts the owners of an arena in this process. So an object from a message uses the mapping
//! that the process already has. A message has one [`Carrier`](arena::Carrier) for each arena, and sends its descriptor
//! once. An object is sent as the index of that descriptor and as its own position in the arena.

use std::fmt;
use std::sync::Arc;

use ossature_sys::errno::Errno;
use ossature_sys::shm::{Init, Shareable};
use ossature_sys::sync::arena::{self, Handle};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::kept::{Kept, forked, known};
use super::memory;
use crate::error::{Error, Result};

/// Memory for shared objects of different types, behind one descriptor: Python's `multiprocessing.heap.Arena`, which
/// CPython uses internally.
///
/// Each of its methods makes an object: [`value`](Self::value), [`lock`](Self::lock), [`event`](Self::event) and so on.
/// The objects are ordinary ones, which may be sent alone. A process that gets an object maps the arena's memory, once
/// for all objects. An object lasts as long as any process or any message in transit has a handle of it. An object that
/// only a killed process or a lost message had is freed. The arena itself can be sent to other processes too, which
/// then make objects in it.
///
/// Objects of one type that are made at once are made by their `many`, which is faster. An [`Array`] has memory of its
/// own; use a value that is an array, as `arena.value([0_u8; 100])`.
///
/// [`Value::new`] and similar functions do not use a hidden arena, as CPython does. A process that receives an object
/// receives the descriptor of the whole memory that contains it. So objects share memory only on request.
///
/// | Python's heap | here |
/// | --- | --- |
/// | one for the whole program, which doubles its memory file | any number, by [`new`](Self::new); each growth doubles the pages |
/// | `BufferWrapper(size)` | the methods of an arena |
/// | a killed process leaves its blocks allocated forever | they are freed |
/// | a child may not free a block of its parent | a child's handles count like its parent's |
/// | a free during an allocation is done later | the same, for a free while another process has the arena's lock after a fork |
///
/// Needs `/proc`.
///
/// ```
/// use ossature::multiprocessing::Arena;
///
/// let arena = Arena::new()?;
/// let count = arena.value(0_i64)?;
/// let lock = arena.lock()?;
/// let ready = arena.event()?;
/// *count.lock()? += 1;
/// lock.with(|| ready.set())?;
/// assert!(ready.is_set() && count.get()? == 1);
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// In other processes:
///
/// ```standalone_crate
/// use ossature::multiprocessing::{Arena, Process, Tasks, Value, freeze_support, tasks};
///
/// fn work(arena: Arena, sum: Value<u64>) -> ossature::Result<Vec<Value<u64>>> {
///     sum.with(|sum| *sum += 1)?;
///     (0..1000).map(|n| arena.value(n)).collect() // no descriptor more
/// }
/// static TASKS: Tasks = tasks![work];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let arena = Arena::new()?;
///     let sum = arena.value(0_u64)?;
///     let values = Process::spawn_result(work, (arena, sum.try_clone()?))?.join()?;
///     assert_eq!((sum.get()?, values[999].get()?), (1, 999));
///     Ok(())
/// }
/// ```
///
/// [`Array`]: crate::multiprocessing::Array
/// [`Value::new`]: crate::multiprocessing::Value::new
#[derive(Clone)]
#[doc(alias = "heap")]
#[doc(alias = "BufferWrapper")]
pub struct Arena(pub(super) Arc<Kept>);

/// The default capacity of an arena in bytes.
const CAPACITY: usize = if usize::BITS > 32 { 64 << 20 } else { 8 << 20 };

impl Arena {
    /// Makes an arena with room for 64 MiB of objects (8 MiB where addresses have 32 bits).
    ///
    /// # Errors
    /// As for [`with_capacity`](Self::with_capacity).
    pub fn new() -> Result<Self> {
        Self::with_capacity(CAPACITY)
    }

    /// Makes an arena with room for `bytes` bytes of objects: at least 64 KiB, at most 4 GiB (32 MiB where addresses
    /// have 32 bits). Each object takes a multiple of 64 bytes. Pages are allocated as objects need them.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `EMFILE` or `ENFILE` without descriptors, with `ENOMEM` or `ENOSPC` without
    /// memory or addresses. Also with `ENOENT` without `/proc`, and with `EOPNOTSUPP` if the system has no robust
    /// lists, as under some emulators.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::Arena;
    ///
    /// let arena = Arena::with_capacity(64 << 10)?;
    /// assert_eq!(arena.capacity(), 64 << 10);
    /// let all: Vec<_> = std::iter::from_fn(|| arena.raw_value(0_u64).ok()).collect();
    /// assert_eq!(all.len(), 1024, "it is full");
    /// drop(all);
    /// let kept = arena.raw_value([0_u8; 200])?;
    /// assert_eq!(arena.in_use()?, 256);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn with_capacity(bytes: usize) -> Result<Self> {
        let made = arena::Arena::new(bytes).map_err(|errno| match errno {
            Errno::NOENT | Errno::MFILE | Errno::NFILE => forked(errno, "an arena cannot be placed in shared memory"),
            errno => Error::placing("an arena")(errno),
        })?;
        let kept = Arc::new(Kept(made));
        let id = kept.0.file_id()?;
        known().note(id, &kept);
        Ok(Self(kept))
    }

    /// The capacity for objects in bytes.
    pub fn capacity(&self) -> usize {
        self.0.0.capacity()
    }

    /// Frees the objects that have no owner any more, and returns how many bytes are in use.
    ///
    /// The arena frees by itself before it takes more pages.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) with `EMFILE`, `ENFILE` or `ENOENT` after a fork, when the memory cannot be opened
    /// anew by `/proc`.
    pub fn in_use(&self) -> Result<usize> {
        self.0.0.sweep().map_err(|errno| Error::os(errno, "cannot list the objects of an arena"))
    }

    /// Makes an object; `object` names it in errors.
    pub(super) fn place<T: Shareable>(&self, init: impl Init<T>, object: &'static str) -> Result<Handle<T>> {
        self.0.0.place(init).map_err(|errno| self.refused(errno, object))
    }

    #[cold]
    fn refused(&self, errno: Errno, object: &str) -> Error {
        let message = match errno {
            Errno::NOSPC => format!(
                "{object} cannot be placed in an arena of {} bytes: it is full, or the system has no memory; drop \
                 objects, or make a larger one by `Arena::with_capacity`",
                self.capacity()
            ),
            Errno::OPNOTSUPP => return Error::placing("an object of an arena")(errno),
            errno => return forked(errno, &format!("{object} cannot be placed in an arena")),
        };
        Error::os(errno, message)
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.fmt(f)
    }
}

impl Serialize for Arena {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let (_, place) = memory::arena::carrier::<S::Error>(&self.0)?;
        place.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Arena {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        memory::arena::take::<D::Error>(Deserialize::deserialize(deserializer)?).map(Self)
    }
}
