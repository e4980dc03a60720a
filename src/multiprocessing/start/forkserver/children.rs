//! The children of the fork server, by their numbers.

use ossature_sys::errno::Errno;
use ossature_sys::process::Child;
use ossature_sys::socket::Socket;

use super::message::{Work, send_forked, send_refused, send_work};

/// A child of the fork server.
pub(super) struct ForkedChild {
    pub(super) process: Child,
    pub(super) role: Role,
}

/// The user of a child.
pub(super) enum Role {
    /// A child in reserve, with no client yet. It receives its work over this socket, and ends when the socket is
    /// closed.
    Spare(Socket),
    /// A client, which receives the exit status over this socket.
    Client(Socket),
    /// No user any more: the socket was closed.
    Nobody,
}

impl ForkedChild {
    pub(super) fn number(&self) -> u64 {
        number_of(&self.process)
    }

    /// Assigns a spare to a client, and sends the spare its work. If either fails, the spare finds its socket closed,
    /// and ends.
    pub(super) fn give(&mut self, status: Socket, work: &Work) {
        let Role::Spare(orders) = &self.role else { return };
        // The client first: whatever begins has been named to it.
        self.role = match send_forked(&status, &self.process) {
            // A client that has the name finds its line closed.
            Ok(()) if send_work(orders, work).is_err() => Role::Nobody,
            Ok(()) => Role::Client(status),
            Err(errno) => {
                say_unnamed(&status, errno);
                Role::Nobody
            }
        };
    }

    /// Sends the client of a new child the child's process ID. A child that cannot be named is killed, because it may
    /// have begun, and its client may have given up.
    pub(super) fn name(&mut self) {
        let Role::Client(status) = &self.role else { return };
        if let Err(errno) = send_forked(status, &self.process) {
            let _ = self.process.kill(); // never fails: the child has not been reaped
            say_unnamed(status, errno);
            self.role = Role::Nobody;
        }
    }
}

/// Sends a client that still listens the reason why it has no child.
fn say_unnamed(status: &Socket, errno: Errno) {
    let _ = send_refused(status, errno, "it cannot send the number of the new process"); // a client that is gone needs none
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
