//! The children of the fork server, by their numbers.

use ossature_sys::process::Child;
use ossature_sys::socket::Socket;

use super::message::tell_born;

/// A child.
pub(super) struct Nursling {
    pub(super) child: Child,
    pub(super) link: Link,
}

/// What there is of a child beside its pidfd.
pub(super) enum Link {
    /// The line to one that nobody asked for yet. It ends with the line.
    Spare(Socket),
    /// Where its end is to be told.
    Client(Socket),
    /// Nobody is to be told.
    Nobody,
}

impl Nursling {
    pub(super) fn number(&self) -> u64 {
        number_of(&self.child)
    }

    /// Gives a spare to a client, and tells it. A client that cannot be told, because it went away meanwhile or too
    /// many descriptors are on their way, finds its socket closed, and the child its line, and ends.
    pub(super) fn give(&mut self, status: Socket) {
        let Link::Spare(line) = &self.link else { return };
        self.link = match tell_born(&status, &self.child, line) {
            Ok(()) => Link::Client(status),
            Err(_) => Link::Nobody,
        };
    }
}

pub(super) fn number_of(child: &Child) -> u64 {
    child.pid().as_raw_nonzero().get() as u64
}

/// In the order of their numbers, in one piece of memory: each child is born with it and has to part with it.
#[derive(Default)]
pub(super) struct Nursery(Vec<Nursling>);

impl Nursery {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Nursling> {
        let place = self.place_of(number).ok()?;
        self.0.get_mut(place)
    }

    pub(super) fn insert(&mut self, nursling: Nursling) {
        match self.place_of(nursling.number()) {
            // Its namesake was reaped, or the number would not be free.
            Ok(place) => self.0[place] = nursling,
            Err(place) => self.0.insert(place, nursling),
        }
    }

    pub(super) fn remove(&mut self, number: u64) {
        if let Ok(place) = self.place_of(number) {
            drop(self.0.remove(place));
        }
    }

    /// Closes what the children have here and leaves the memory as it is: a forked child pays for every page that it is
    /// the first to write to, more than for the page.
    pub(super) fn leave(mut self) {
        self.0.drain(..).for_each(drop);
        std::mem::forget(self);
    }

    fn place_of(&self, number: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&number, Nursling::number)
    }
}
