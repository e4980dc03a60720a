//! Objects of an arena in a message in transit.

use core::fmt;

use super::bits;
use super::{Arena, Handle, enter, extent, holders, reopen};
use crate::errno::Result;
use crate::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::shm::Shareable;

/// A separate holder for a message: the objects that it [carries](Self::carry) exist as long as any copy of its
/// descriptor is open, also in a message in transit.
///
/// The receiver attaches to the arena, unless it has the arena already, takes the objects [at](Arena::at) their places,
/// and closes the descriptor only then.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::{fd::duplicate, shm::Racy, sync::arena::{Arena, Carrier}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let arena = Arena::new(1 << 20)?;
/// let cell = arena.place(Racy::new(5_u32))?;
/// let carrier: Carrier = arena.carrier()?;
/// let place = carrier.carry(&cell).expect("it is of the same arena");
/// // SAFETY: the descriptor stays in this program, which uses it as an arena's.
/// let message = duplicate(unsafe { carrier.descriptor() })?;
/// drop((cell, carrier));
/// assert_eq!(arena.sweep()?, 64, "the message has it");
///
/// // SAFETY: as above.
/// let there = unsafe { Arena::from_fd(&message) }?; // as another process has it
/// let came = there.at::<Racy<u32>>(place)?.expect("it is there");
/// drop(message);
/// assert_eq!((came.get(), arena.sweep()?), (5, 64));
/// drop(came);
/// assert_eq!(arena.sweep()?, 0);
/// # Ok(()) }
/// ```
#[must_use = "what it carries is held only while its descriptor is open"]
pub struct Carrier {
    arena: Arena,
    fd: OwnedFd,
    holder: usize,
}

impl Arena {
    /// Makes a holder for a message.
    ///
    /// # Errors
    /// As for [`from_fd`](Self::from_fd).
    ///
    /// # Examples
    /// See the example of [`Carrier`].
    pub fn carrier(&self) -> Result<Carrier> {
        let memory = self.memory();
        let fd = reopen(self.local().own.lock().fd.as_fd())?;
        let mut state = enter(memory)?;
        let extent = extent(memory, &state);
        let holder = holders::become_one(memory, &mut state, extent, fd.as_fd())?;
        drop(state);
        Ok(Carrier { arena: self.clone(), fd, holder })
    }
}

impl Carrier {
    /// Holds an object for the receivers of the descriptor, and returns its [place](Handle::place); `None` for an
    /// object of another arena.
    pub fn carry<T: Shareable>(&self, object: &Handle<T>) -> Option<u64> {
        if !self.is_of(object.arena()) {
            return None;
        }
        // The caller holds the object, so no sweep frees it meanwhile, and its granules have pages in every row.
        let (first, end) = object.range();
        bits::set(self.arena.memory().row(self.holder), first, end);
        Some(first as u64)
    }

    /// Whether this carries objects of this arena.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::sync::arena::Arena;
    ///
    /// let (arena, other) = (Arena::new(1 << 20)?, Arena::new(1 << 20)?);
    /// let carrier = arena.carrier()?;
    /// assert!(carrier.is_of(&arena) && !carrier.is_of(&other));
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn is_of(&self, arena: &Arena) -> bool {
        self.arena.is(arena)
    }

    /// The descriptor, for sending.
    ///
    /// # Safety
    /// It only goes to processes that use the memory through `Arena`.
    pub unsafe fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier").field("arena", &self.arena).field("holder", &self.holder).finish()
    }
}
