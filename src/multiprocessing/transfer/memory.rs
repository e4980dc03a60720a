//! Shared memory inside a value that is sent: write `#[serde(with = "ossature::multiprocessing::transfer::memory")]` on
//! a field that is a [`Shm`]. Only this file of the crate guarantees that memory stays within the same program.
//!
//! The descriptor of a [`Shm`] may be sent only to processes that follow the protocol of the value in the memory. A
//! `Shm` may be made only from memory in which all processes follow it. The lists of a transfer guarantee both:
//!
//! * *In which list* a descriptor is, that of memory or another, is never read from a value's bytes, which safe code
//!   makes as it likes. The list of memory is filled by the functions `put` below alone, which are reached with a
//!   `Shm` in hand. The header of the frame says which descriptors were in the list, and only the connection writes
//!   the header.
//! * A value with memory in it is sent to processes of the same program only, and memory is taken from them only. The
//!   same holds for an end of a connection within the same program, because memory is taken over such a connection.
//! * A descriptor of a message is shown to safe code from the list of handles only, and a `Shm`'s not even then. Type,
//!   size, seals and layout are checked on attaching: no other type has the fingerprint of this one.
//!
//! This relies on one assumption: only this library uses a connection within the same program. Safe code can break the
//! assumption on purpose. It takes the bare descriptor of an end (`AsFd`, `Into<OwnedFd>`, or as a `Handle`) and reads
//! frames, or writes its own frames with `SCM_RIGHTS`. Or it reopens memory by `/proc/self/fd`. That does not misuse a
//! value. It writes the program's memory from outside, as with `/proc/self/mem`. Rust's guarantees end there: see
//! SECURITY.md.
#![allow(unsafe_code, reason = "see above: descriptors of memory stay within the same program")]

use std::os::fd::OwnedFd;

use ossature_sys::scope::Shared;
use ossature_sys::shm::{AttachError, Shareable, Shm};
use ossature_sys::sync::lock::Lock;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::fd_kind::FdKind;
use super::list::{self, refuse_to_receive};

/// Shared memory, to be sent: afterwards both sides share it.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use ossature::multiprocessing::{connection::pipe, transfer::Memory};
/// use ossature::sys::shm::Shm;
///
/// let hits = Memory(Shm::place(AtomicU32::new(0))?);
/// let (near, far) = pipe()?;
/// near.send(&hits)?;
/// let Memory(hits_there) = far.recv::<Memory<AtomicU32>>()?;
/// hits_there.fetch_add(1, Relaxed);
/// assert_eq!(hits.0.load(Relaxed), 1);
/// assert_eq!(near.send(&hits).and_then(|()| far.recv::<Memory<u64>>()).unwrap_err().kind(), ossature::ErrorKind::Incompatible);
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug)]
pub struct Memory<T: ?Sized + Shareable>(pub Shm<T>);

/// An object in shared memory that a process can attach to: a [`Shareable`] value, a slice of such values, or a lock
/// around a slice.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use ossature::multiprocessing::connection::{Connection, pipe};
/// use ossature::multiprocessing::transfer::{Attach, Memory};
/// use ossature::sys::shm::Shm;
///
/// fn receive<T: ?Sized + Attach>(connection: &Connection) -> ossature::Result<Shm<T>> {
///     connection.recv::<Memory<T>>().map(|Memory(memory)| memory)
/// }
///
/// let (near, far) = pipe()?;
/// near.send(&Memory(Shm::place(AtomicU32::new(7))?))?;
/// assert_eq!(receive::<AtomicU32>(&far)?.load(Relaxed), 7);
/// # Ok::<(), ossature::Error>(())
/// ```
pub trait Attach: Shareable {
    /// Attaches to memory of the same program, which only this module can have.
    #[doc(hidden)]
    fn attach(memory: OfSameProgram) -> Result<Shm<Self>, AttachError>;
}

/// The descriptor of memory that a process of the same program sent as memory.
#[doc(hidden)]
#[derive(Debug)]
pub struct OfSameProgram(OwnedFd);

impl<T: Shareable> Attach for T {
    fn attach(memory: OfSameProgram) -> Result<Shm<Self>, AttachError> {
        // SAFETY: `OfSameProgram` is made by the functions `take` below alone, of a descriptor from the list of memory
        // that the library of the same program sent; there only the functions `put` put one, that of a `Shm`. So every
        // holder attached to it in this way, inherited it, or vouched for itself.
        unsafe { Shm::from_fd(memory.0) }
    }
}

impl<T: Shareable> Attach for [T] {
    fn attach(memory: OfSameProgram) -> Result<Shm<Self>, AttachError> {
        // SAFETY: as for a single value.
        unsafe { Shm::slice_from_fd(memory.0) }
    }
}

impl<T: Shareable> Attach for Lock<[T], Shared> {
    fn attach(memory: OfSameProgram) -> Result<Shm<Self>, AttachError> {
        // SAFETY: as for a single value.
        unsafe { Shm::locked_slice_from_fd(memory.0) }
    }
}

/// Sends a copy of the memory's descriptor.
///
/// # Errors
/// When nothing is being sent, and without descriptors.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use ossature::multiprocessing::{connection::pipe, transfer::memory};
/// use ossature::sys::shm::Shm;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Job {
///     name: String,
///     #[serde(with = "memory")]
///     done: Shm<AtomicU32>,
/// }
///
/// let job = Job { name: "count".to_owned(), done: Shm::place(AtomicU32::new(0))? };
/// let (near, far) = pipe()?;
/// near.send(&job)?;
/// let there: Job = far.recv()?;
/// there.done.fetch_add(1, Relaxed);
/// assert_eq!((there.name.as_str(), job.done.load(Relaxed)), ("count", 1));
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn serialize<T: ?Sized + Shareable, S: Serializer>(shm: &Shm<T>, serializer: S) -> Result<S::Ok, S::Error> {
    put(shm)?.serialize(serializer)
}

/// Puts a copy of the memory's descriptor on the list of the value that is being sent; returns its place.
pub(super) fn put<T: ?Sized + Shareable, E: ser::Error>(shm: &Shm<T>) -> Result<u32, E> {
    // SAFETY: the copy on the list goes to processes of the same program only (see above). Such a process attaches to
    // the copy by `take`; otherwise the copy is closed.
    let descriptor = unsafe { shm.descriptor() };
    list::put(descriptor, FdKind::Memory)
}

/// Attaches to the memory that came with the value.
///
/// # Errors
/// When nothing is being received, when no such memory came or it was taken already, when it came from a stranger, and
/// for the causes of an [`AttachError`].
///
/// # Examples
/// See the example of [`serialize()`].
pub fn deserialize<'de, T: ?Sized + Attach, D: Deserializer<'de>>(deserializer: D) -> Result<Shm<T>, D::Error> {
    take(Deserialize::deserialize(deserializer)?)
}

/// Attaches to the memory at this place of the list.
pub(super) fn take<T: ?Sized + Attach, E: de::Error>(place: u32) -> Result<Shm<T>, E> {
    let memory = list::take(place, FdKind::Memory)?;
    T::attach(OfSameProgram(memory)).map_err(|error| refuse_to_receive(error.into()))
}

impl<T: ?Sized + Shareable> Serialize for Memory<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de, T: ?Sized + Attach> Deserialize<'de> for Memory<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self)
    }
}

/// One memory with many objects in it, which several owners in this process share.
///
/// A process finds a block that it has by the identity of the file, which no two files have at a time. So a sender
/// cannot make one block pass for another, whatever it writes.
pub(super) mod block {
    use std::any::{Any, TypeId};
    use std::collections::HashMap;
    use std::os::fd::OwnedFd;
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

    use ossature_sys::shm::{FileId, Shareable, Shm};
    use serde::{de, ser};

    use super::{Attach, OfSameProgram, list, refuse_to_receive};
    use crate::error::{Error, ErrorKind, Result};
    use crate::per_process::PerProcess;

    type Key = (FileId, TypeId);

    /// The blocks of this process that have owners.
    #[derive(Default)]
    struct Known {
        blocks: HashMap<Key, Weak<dyn Any + Send + Sync>>,
        /// The number of blocks at which the next sweep removes those without owners.
        next_sweep: usize,
    }

    static KNOWN: PerProcess<Mutex<Known>> = PerProcess::new();

    fn known() -> MutexGuard<'static, Known> {
        KNOWN.get_or_init(|_| Mutex::default()).lock().unwrap_or_else(PoisonError::into_inner)
    }

    impl Known {
        fn find<T: Shareable>(&self, key: &Key) -> Option<Arc<Shm<[T]>>> {
            self.blocks.get(key)?.upgrade()?.downcast().ok()
        }

        fn note<T: Shareable>(&mut self, key: Key, block: &Arc<Shm<[T]>>) {
            if self.blocks.len() >= self.next_sweep {
                self.blocks.retain(|_, block| block.strong_count() > 0);
                self.next_sweep = 2 * self.blocks.len() + 16;
            }
            let block: Arc<dyn Any + Send + Sync> = Arc::clone(block) as _;
            self.blocks.insert(key, Arc::downgrade(&block));
        }
    }

    /// Makes a block of memory that this process made, for several owners.
    pub(in super::super) fn new<T: Shareable>(memory: Shm<[T]>) -> Result<Arc<Shm<[T]>>> {
        let key = (memory.file_id()?, TypeId::of::<T>());
        let block = Arc::new(memory);
        known().note(key, &block);
        Ok(block)
    }

    /// Puts a copy of the block's descriptor on the list, once for a value; returns its place.
    pub(in super::super) fn put<T: Shareable, E: ser::Error>(block: &Arc<Shm<[T]>>) -> std::result::Result<u32, E> {
        // SAFETY: the copy on the list goes to processes of the same program only (see above). Such a process attaches
        // to the copy by `take`; otherwise the copy is closed.
        let descriptor = unsafe { block.descriptor() };
        list::put_once(descriptor, Arc::clone(block) as _)
    }

    /// Returns the block at this place of the list: the block that this process has already, or a new attachment.
    pub(in super::super) fn take<T: Shareable, E: de::Error>(place: u32) -> std::result::Result<Arc<Shm<[T]>>, E> {
        let block = list::take_once(place, |memory| {
            attach::<T>(memory).map(|block| block as _).map_err(refuse_to_receive::<E>)
        })?;
        block.downcast().map_err(|_| {
            let message = "a message uses one block of shared memory as two types";
            refuse_to_receive(Error::new(ErrorKind::Incompatible, message))
        })
    }

    fn attach<T: Shareable>(memory: OwnedFd) -> Result<Arc<Shm<[T]>>> {
        let key = (FileId::of(&memory)?, TypeId::of::<T>());
        let mut known = known();
        if let Some(block) = known.find(&key) {
            return Ok(block);
        }
        let block = Arc::new(<[T]>::attach(OfSameProgram(memory))?);
        known.note(key, &block);
        Ok(block)
    }
}

/// An arena, whose descriptor in a message belongs to that message alone.
pub(super) mod arena {
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use ossature_sys::shm::AttachError;
    use ossature_sys::sync::arena::{Arena, Carrier};
    use serde::{de, ser};

    use super::super::kept::{Kept, find_or, forked};
    use super::{list, refuse_to_receive};
    use crate::error::{Error, ErrorKind, Result};

    /// Returns the holder of the arena's objects in the value that is being sent, once for a value, and its place on
    /// the list.
    pub(in super::super) fn carrier<E: ser::Error>(kept: &Kept) -> std::result::Result<(Arc<Carrier>, u32), E> {
        if let Some(known) = list::put_before(|carrier: &Carrier| carrier.is_of(&kept.0)) {
            return Ok(known);
        }
        let made = kept
            .0
            .carrier()
            .map_err(|errno| list::refuse_to_send::<E>(forked(errno, "an arena or its object cannot be sent")))?;
        let carrier = Arc::new(made);
        // SAFETY: the copy on the list goes to processes of the same program only (see above). Such a process attaches
        // to the copy by `take`; otherwise the copy is closed.
        let descriptor = unsafe { carrier.descriptor() };
        let place = list::put_once(descriptor, Arc::clone(&carrier) as _)?;
        Ok((carrier, place))
    }

    /// An arena that arrived, with the descriptor that holds its objects until the whole value is read.
    struct Came {
        kept: Arc<Kept>,
        _carrier: OwnedFd,
    }

    /// Returns the arena at this place of the list: the arena that this process has already, or a new attachment.
    pub(in super::super) fn take<E: de::Error>(place: u32) -> std::result::Result<Arc<Kept>, E> {
        let block = list::take_once(place, |memory| {
            let kept = find_or(&memory, attach).map_err(refuse_to_receive::<E>)?;
            Ok(Arc::new(Came { kept, _carrier: memory }) as _)
        })?;
        let came = block.downcast::<Came>().map_err(|_| {
            let message = "a message uses one block of shared memory as two types";
            refuse_to_receive::<E>(Error::new(ErrorKind::Incompatible, message))
        })?;
        Ok(Arc::clone(&came.kept))
    }

    fn attach(memory: &OwnedFd) -> Result<Arena> {
        // SAFETY: the memory is from the list of memory that the library of the same program sent, where only the
        // functions of this file put one; a header of another type is refused.
        unsafe { Arena::from_fd(memory) }.map_err(|error| match error {
            AttachError::Os(errno) => forked(errno, "an arena that came in a message cannot be opened"),
            error => error.into(),
        })
    }
}

/// A ring of messages, and the sockets of its packets, inside a value that is sent.
pub(crate) mod ring {
    use ossature_sys::sync::ring::{Packets, Ring};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{FdKind, refuse_to_receive};
    use crate::error::Error;
    use crate::multiprocessing::transfer::list::{put, take};

    /// Sends copies of the descriptors: of the memory, of its event, and of both ends over which memory may come.
    pub(crate) fn serialize<S: Serializer>(ring: &Ring, packets: &Packets, serializer: S) -> Result<S::Ok, S::Error> {
        // SAFETY: the copy on the list goes to processes of the same program only (see above). Such a process attaches
        // to the copy by `deserialize`; otherwise the copy is closed.
        let descriptor = unsafe { ring.descriptor() };
        let memory: u32 = put(descriptor, FdKind::Memory)?;
        // The event is not memory: nothing but readiness is lost if safe code puts another handle in its place.
        let event: Option<u32> = ring.event().map(|event| put(event, FdKind::Handle)).transpose()?;
        let [near, far] = packets.ends();
        let ends: (u32, u32) = (put(near, FdKind::End)?, put(far, FdKind::End)?);
        (memory, event, ends).serialize(serializer)
    }

    /// Attaches to the memory that came with the value, and takes the event and the ends.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(Ring, Packets), D::Error> {
        let (memory, event, (near, far)) = <(u32, Option<u32>, (u32, u32))>::deserialize(deserializer)?;
        let memory = take(memory, FdKind::Memory)?;
        let event = event.map(|event| take(event, FdKind::Handle)).transpose()?;
        let (near, far) = (take(near, FdKind::End)?, take(far, FdKind::End)?);
        let packets = Packets::from_ends(near, far).map_err(|errno| {
            refuse_to_receive::<D::Error>(Error::os(
                errno,
                "the sockets of a queue that came in a message cannot be opened",
            ))
        })?;
        let ring = match event {
            // SAFETY: the memory is from the list of memory that the library of the same program sent, where only
            // `serialize` functions of this file put one; a header of another type is refused.
            Some(event) => unsafe { Ring::from_fds(memory, event) },
            // SAFETY: as above.
            None => unsafe { Ring::from_fd(memory) },
        };
        let ring = ring.map_err(|error| refuse_to_receive::<D::Error>(error.into()))?;
        Ok((ring, packets))
    }
}
