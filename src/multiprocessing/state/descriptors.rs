//! The list of the descriptors that this library made for a process. A forked child keeps only the ones that it was
//! given.
//!
//! The list holds a weak reference to each owner of a descriptor: the end of a connection, or the socket of a listener.
//! A child that was forked [with ends](crate::multiprocessing::process::ProcessBuilder::fork_with) goes through its
//! copy of the list. The child puts a placeholder under the number of each descriptor that is not among those ends. An
//! object in the child's copy of memory still owns that number. Its calls report that the other side has ended.

use std::sync::Weak;

use ossature_sys::errno::Result;
use ossature_sys::fd::Placeholder;
use ossature_sys::socket::Socket;
use ossature_sys::stream::Stream;

/// The owner of a descriptor, which can put a placeholder under the descriptor's number.
pub(crate) trait Detach: Send + Sync {
    fn detach(&self, placeholder: &Placeholder) -> Result<()>;
}

impl Detach for Stream {
    fn detach(&self, placeholder: &Placeholder) -> Result<()> {
        Self::detach(self, placeholder)
    }
}

impl Detach for Socket {
    fn detach(&self, placeholder: &Placeholder) -> Result<()> {
        Self::detach(self, placeholder)
    }
}

/// The owners in a process. The list drops its dead entries before it grows.
#[derive(Default)]
pub(crate) struct List {
    owners: Vec<Weak<dyn Detach>>,
    /// The length at which the list next drops its dead entries.
    room: usize,
}

impl List {
    pub(crate) const fn new() -> Self {
        Self { owners: Vec::new(), room: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    pub(super) fn push(&mut self, owner: Weak<dyn Detach>) {
        if self.owners.len() >= self.room {
            self.owners.retain(|owner| owner.strong_count() > 0);
            self.room = (2 * self.owners.len()).max(64);
        }
        self.owners.push(owner);
    }

    /// Detaches all owners except those at the `kept` addresses.
    pub(crate) fn detach_all_but(&self, kept: &[usize], placeholder: &Placeholder) -> Result<()> {
        let owners = self.owners.iter().filter(|owner| !kept.contains(&owner.as_ptr().addr()));
        owners.filter_map(Weak::upgrade).try_for_each(|owner| owner.detach(placeholder))
    }
}
