//! One object in shared memory: alone in its memory, in a block with others, or in an arena.
//!
//! A single object takes a descriptor, a mapping and at least one page. Many objects of one type can be placed in one
//! *block*: one memory file with a slice in it. All handles of a process into one block share the mapping
//! and the descriptor, and are counted; the last one unmaps the block. The kernel keeps the memory while any process
//! maps it, so an object lives as long as any handle into its block, wherever that handle is.
//!
//! A single object is sent as a [`Memory`](super::Memory) is, by the index of its descriptor in the list. An object of
//! a block is sent as that index with [`AMONG`] added, and its own index. A message with several handles of one block
//! has the descriptor once. A process that already has the block, by a handle that it made or received, uses its own
//! mapping and closes the received copy. An object in an [arena](super::arena) is sent likewise, with [`IN_ARENA`]
//! added.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use ossature_sys::shm::{Init, Shareable, Shm};
use ossature_sys::sync::arena::Handle;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::arena::Arena;
use super::kept::{Kept, forked};
use super::list::{refuse_to_receive, refuse_to_send};
use super::memory::{self, arena, block};
use crate::error::{Error, ErrorKind, Result};

/// A bit in the place of a block: an index follows. No list is so long.
const AMONG: u32 = 1 << 31;
/// A bit in the place of an arena: the object's place in it follows.
const IN_ARENA: u32 = AMONG | 1 << 30;

/// An object in shared memory.
pub(crate) struct Placed<T>(Home<T>);

/// The memory that an object is in.
enum Home<T> {
    Alone(Shm<T>),
    /// In a block; the index is below the length of the block.
    Among(Arc<Shm<[T]>>, usize),
    /// In an arena; the object is dropped before the arena.
    InArena(Handle<T>, Arc<Kept>),
}

impl<T: Shareable> Placed<T> {
    /// Makes an object alone in its memory. `object` names it in the error.
    pub(crate) fn new(init: impl Init<T>, object: &'static str) -> Result<Self> {
        Shm::place(init).map(Self::from).map_err(Error::placing_alone(object))
    }

    /// Makes `count` objects in one memory; the object at `index` is `init(index)`.
    pub(crate) fn many<I: Init<T>>(
        count: usize,
        init: impl FnMut(usize) -> I,
        object: &'static str,
    ) -> Result<impl Iterator<Item = Self>> {
        let block = match count {
            0 => None,
            _ => Some(block::new(Shm::place_slice(count, init).map_err(Error::placing(object))?)?),
        };
        let among = move |index| block.clone().map(|block| Self(Home::Among(block, index)));
        Ok((0..count).filter_map(among))
    }

    /// Makes an object in an arena.
    pub(crate) fn in_arena(arena: &Arena, init: impl Init<T>, object: &'static str) -> Result<Self> {
        Ok(Self(Home::InArena(arena.place(init, object)?, Arc::clone(&arena.0))))
    }

    /// Makes another owner of the same object: with a second mapping if the object is alone, with the same mapping
    /// otherwise.
    pub(crate) fn try_clone(&self, object: &'static str) -> Result<Self> {
        match &self.0 {
            Home::Alone(shm) => shm.try_clone().map(Self::from).map_err(Error::cloning(object)),
            Home::Among(block, index) => Ok(Self(Home::Among(Arc::clone(block), *index))),
            Home::InArena(object, arena) => Ok(Self(Home::InArena(object.clone(), Arc::clone(arena)))),
        }
    }
}

impl<T> From<Shm<T>> for Placed<T> {
    fn from(shm: Shm<T>) -> Self {
        Self(Home::Alone(shm))
    }
}

impl<T: Shareable> Deref for Placed<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match &self.0 {
            Home::Alone(shm) => shm,
            Home::Among(block, index) => &block[*index],
            Home::InArena(object, _) => object,
        }
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for Placed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shm").field(&**self).finish()
    }
}

impl<T: Shareable> Serialize for Placed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match &self.0 {
            Home::Alone(shm) => memory::serialize(shm, serializer),
            Home::Among(block, index) => (block::put::<T, S::Error>(block)? | AMONG, index).serialize(serializer),
            Home::InArena(object, kept) => {
                let (carrier, place) = arena::carrier::<S::Error>(kept)?;
                let refuse = || {
                    refuse_to_send::<S::Error>(Error::new(
                        ErrorKind::InvalidInput,
                        "the object belongs to another arena",
                    ))
                };
                (place | IN_ARENA, carrier.carry(object).ok_or_else(refuse)?).serialize(serializer)
            }
        }
    }
}

impl<'de, T: Shareable> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_tuple(2, PlacedVisitor(PhantomData))
    }
}

/// Reads a place, and an index after it if the place has one.
struct PlacedVisitor<T>(PhantomData<T>);

impl<'de, T: Shareable> Visitor<'de> for PlacedVisitor<T> {
    type Value = Placed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the place of shared memory")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> std::result::Result<Placed<T>, A::Error> {
        let missing = || A::Error::custom("the message ends before the place of shared memory");
        let place: u32 = sequence.next_element()?.ok_or_else(missing)?;
        if place & AMONG == 0 {
            return memory::take(place).map(Placed::from);
        }
        let index: usize = sequence.next_element()?.ok_or_else(missing)?;
        if place & IN_ARENA == IN_ARENA {
            let kept = arena::take::<A::Error>(place & !IN_ARENA)?;
            let taken = kept.0.at(index as u64).map_err(|errno| {
                refuse_to_receive(forked(errno, "cannot open an object of an arena that came in a message"))
            })?;
            let message = "a message names an object that is missing in its arena, or is of another type";
            let none = || refuse_to_receive(Error::new(ErrorKind::Incompatible, message));
            return taken.map(|object| Placed(Home::InArena(object, kept))).ok_or_else(none);
        }
        let block = block::take::<T, A::Error>(place & !AMONG)?;
        if index < block.len() {
            return Ok(Placed(Home::Among(block, index)));
        }
        let message = format!("a message names object {index} of a block that has {} objects", block.len());
        Err(refuse_to_receive(Error::new(ErrorKind::Decode, message)))
    }
}
