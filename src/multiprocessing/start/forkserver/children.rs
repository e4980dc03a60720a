//! The children of the fork server, by their numbers.

use ossature_sys::process::Child;
use ossature_sys::socket::Socket;

use super::message::send_forked;

/// A child of the fork server.
pub(super) struct ForkedChild {
    pub(super) process: Child,
    pub(super) role: Role,
}

/// The user of a child.
pub(super) enum Role {
    /// A child in reserve, with no client yet. The socket is the line to it; the child ends when the line is closed.
    Spare(Socket),
    /// A client, which receives the exit status over this socket.
    Client(Socket),
    /// No user any more: the socket or the line was closed.
    Nobody,
}

impl ForkedChild {
    pub(super) fn number(&self) -> u64 {
        number_of(&self.process)
    }

    /// Assigns a spare to a client, and sends the client the spare's process ID and line. If the client has ended,
    /// or too many descriptors are in flight, the client finds its socket closed. The child then finds its line closed,
    /// and ends.
    pub(super) fn give(&mut self, status: Socket) {
        let Role::Spare(line) = &self.role else { return };
        self.role = match send_forked(&status, &self.process, line) {
            Ok(()) => Role::Client(status),
            Err(_) => Role::Nobody,
        };
    }
}

pub(super) fn number_of(child: &Child) -> u64 {
    child.pid().as_raw_nonzero().get() as u64
}

/// The children in the order of their numbers, in one allocation: each forked child inherits the list and drops it.
#[derive(Default)]
pub(super) struct Children(Vec<ForkedChild>);

impl Children {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut ForkedChild> {
        let place = self.place_of(number).ok()?;
        self.0.get_mut(place)
    }

    pub(super) fn insert(&mut self, child: ForkedChild) {
        match self.place_of(child.number()) {
            // The process that had this number before was reaped, or the number would not be free.
            Ok(place) => self.0[place] = child,
            Err(place) => self.0.insert(place, child),
        }
    }

    pub(super) fn remove(&mut self, number: u64) {
        if let Ok(place) = self.place_of(number) {
            drop(self.0.remove(place));
        }
    }

    /// Closes the server's descriptors of the children and leaves the memory as it is. In a forked child, the first
    /// write to a page costs more than the page itself.
    pub(super) fn leave(mut self) {
        self.0.drain(..).for_each(drop);
        std::mem::forget(self);
    }

    fn place_of(&self, number: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&number, ForkedChild::number)
    }
}
