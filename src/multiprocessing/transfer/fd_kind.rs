//! The descriptors of a message, sorted by kind.
//!
//! The kind of a descriptor is sent beside the value, never in it. Safe code can make any bytes of a value, and these
//! must not turn a file into memory. So each kind has a list of its own, and an index refers to one of the lists. The
//! header of a message contains the lengths of the lists, and the connection writes the header.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The kind of object that a descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FdKind {
    /// Shared memory, which only [`memory`](super::memory) adds.
    Memory,
    /// An end of a connection whose other end belongs to the same program, which only a connection adds.
    End,
    /// Any other object.
    Handle,
}

/// The number of descriptors of each kind: the first are memory, then come the ends, and the rest are handles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FdCounts {
    pub(crate) memory: usize,
    pub(crate) ends: usize,
    pub(crate) all: usize,
}

impl FdCounts {
    /// Whether these counts are possible: the memories and the ends are not more than all descriptors.
    pub(crate) fn is_possible(self) -> bool {
        self.memory.checked_add(self.ends).is_some_and(|some| some <= self.all)
    }

    /// Returns the range of the descriptors of a kind.
    pub(super) fn range(self, kind: FdKind) -> Range<usize> {
        let ends = self.memory.saturating_add(self.ends);
        match kind {
            FdKind::Memory => 0..self.memory,
            FdKind::End => self.memory..ends,
            FdKind::Handle => ends..self.all,
        }
    }
}

/// The descriptors that are sent with the bytes of a value.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    list: Vec<OwnedFd>,
    fd_counts: FdCounts,
    /// The number of descriptors that arrived but that this process could not open. Without them the message is
    /// useless, although its bytes are complete.
    lost: usize,
}

impl Descriptors {
    pub(crate) const fn new() -> Self {
        Self { list: Vec::new(), fd_counts: FdCounts { memory: 0, ends: 0, all: 0 }, lost: 0 }
    }

    /// Joins the descriptors of a value.
    pub(super) fn of(memory: Vec<OwnedFd>, ends: Vec<OwnedFd>, handles: Vec<OwnedFd>) -> Self {
        let all = memory.len() + ends.len() + handles.len();
        let fd_counts = FdCounts { memory: memory.len(), ends: ends.len(), all };
        let mut list = memory;
        list.extend(ends);
        list.extend(handles);
        Self { list, fd_counts, lost: 0 }
    }

    /// Makes the descriptors that arrived with a message with these counts; `None` when the counts are impossible.
    pub(crate) fn arrived(list: Vec<OwnedFd>, fd_counts: FdCounts) -> Option<Self> {
        (list.len() == fd_counts.all && fd_counts.is_possible()).then_some(Self { list, fd_counts, lost: 0 })
    }

    /// Stands for `count` descriptors that this process could not open.
    pub(crate) fn lost(count: usize) -> Self {
        Self { lost: count, ..Self::new() }
    }

    /// The number of descriptors that this process could not open.
    pub(crate) fn count_lost(&self) -> usize {
        self.lost
    }

    /// Whether no descriptor arrived, including lost ones.
    pub(crate) fn is_none(&self) -> bool {
        self.list.is_empty() && self.lost == 0
    }

    pub(crate) fn fd_counts(&self) -> FdCounts {
        self.fd_counts
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether any descriptor is for processes of the same program only: memory, or an end of a connection over which
    /// memory may come.
    pub(crate) fn are_for_the_same_program(&self) -> bool {
        self.fd_counts.memory > 0 || self.fd_counts.ends > 0
    }

    /// Borrows all descriptors, in their order.
    pub(crate) fn borrowed(&self) -> Vec<BorrowedFd<'_>> {
        self.list.iter().map(AsFd::as_fd).collect()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn into_parts(self) -> (Vec<OwnedFd>, FdCounts) {
        (self.list, self.fd_counts)
    }
}
