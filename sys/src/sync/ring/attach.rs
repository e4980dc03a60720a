//! The descriptors of a ring, with which another process attaches to it.

use core::sync::atomic::Ordering::{Acquire, Release};

use super::memory::{Control, Ring, more};
use crate::errno::Result as ErrnoResult;
use crate::eventfd::EventFd;
use crate::fd::{AboveStandard, AsFd, BorrowedFd, OwnedFd, duplicate};
use crate::shm::AttachError;
use crate::shm::growing::Growing;

impl Ring {
    /// Makes a ring that can have a [`Readiness`](super::Readiness). It has an eventfd(2) beside its memory, which
    /// every process that attaches also needs.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::{fd::duplicate, sync::ring::Ring};
    ///
    /// let ring = Ring::pollable(1 << 16)?;
    /// // SAFETY: the descriptor stays in this program, which uses it as a ring.
    /// let memory = duplicate(unsafe { ring.descriptor() })?;
    /// let event = duplicate(ring.event().unwrap())?;
    /// // SAFETY: as above.
    /// let there = unsafe { Ring::from_fds(memory, event) }?;
    /// assert_eq!(there.capacity(), 1 << 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pollable(capacity: usize) -> ErrnoResult<Self> {
        // Not 0, so that a descriptor is readable whenever its set registers the event.
        let event = EventFd::counter(1)?.above_standard()?;
        let mut ring = Self::new(capacity)?;
        ring.event = Some(event);
        ring.control().pollable.store(1, Release);
        Ok(ring)
    }

    /// Attaches to a ring that another process made.
    ///
    /// # Errors
    /// As for [`Shm::from_fd`](crate::shm::Shm::from_fd). [`NeedsEvent`](AttachError::NeedsEvent) for a
    /// [`pollable`](Self::pollable) ring.
    ///
    /// # Safety
    /// Every process that has the descriptor uses the memory through `Ring` only.
    ///
    /// # Examples
    /// See the example of [`Ring`].
    pub unsafe fn from_fd(memory: OwnedFd) -> Result<Self, AttachError> {
        Self::attach(memory, None)
    }

    /// Attaches to a [`pollable`](Self::pollable) ring that another process made, by the descriptors of its memory and
    /// of its [`event`](Self::event). With a different event, readers that wait on a descriptor are not notified of
    /// this process's messages.
    ///
    /// # Errors
    /// As for [`from_fd`](Self::from_fd).
    ///
    /// # Safety
    /// As for [`from_fd`](Self::from_fd).
    ///
    /// # Examples
    /// See the example of [`pollable`](Self::pollable).
    pub unsafe fn from_fds(memory: OwnedFd, event: OwnedFd) -> Result<Self, AttachError> {
        let event = EventFd::try_from(event).map_err(AttachError::Os)?;
        Self::attach(memory, Some(event.above_standard().map_err(AttachError::Os)?))
    }

    fn attach(memory: OwnedFd, event: Option<EventFd>) -> Result<Self, AttachError> {
        let (memory, granules) = Growing::attach::<Control>(memory, more)?;
        let ring = Self { memory, granules, event };
        if ring.event.is_none() && ring.control().pollable.load(Acquire) != 0 {
            return Err(AttachError::NeedsEvent);
        }
        Ok(ring)
    }

    /// Maps the same ring a second time.
    ///
    /// # Errors
    /// `EMFILE` without descriptors, `ENOMEM` without room for the mapping.
    ///
    /// # Examples
    /// See the example of [`Ring`].
    pub fn try_clone(&self) -> ErrnoResult<Self> {
        let again =
            |event: &EventFd| duplicate(event).and_then(EventFd::try_from).and_then(AboveStandard::above_standard);
        let event = self.event.as_ref().map(again).transpose()?;
        Ok(Self { memory: self.memory.try_clone()?, granules: self.granules, event })
    }

    /// Returns the descriptor of the memory, to pass to a process that will [attach](Self::from_fd).
    ///
    /// # Safety
    /// The descriptor only goes to processes that use it through `Ring`.
    pub unsafe fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.descriptor()
    }

    /// Returns the second descriptor of a [`pollable`](Self::pollable) ring, to hand over with the first.
    ///
    /// Do not wait for this descriptor: a [`Readiness`](super::Readiness) is for that.
    ///
    /// # Examples
    /// See the example of [`pollable`](Self::pollable).
    pub fn event(&self) -> Option<BorrowedFd<'_>> {
        self.event.as_ref().map(AsFd::as_fd)
    }
}
