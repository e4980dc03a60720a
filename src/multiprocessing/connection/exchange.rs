//! A handshake on its way over a socket.

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AsFd, BorrowedFd};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::socket::Socket;

use super::frame::{Incoming, Outgoing};
use super::handshake::Handshake;
use super::payload::LIMIT;
use crate::error::{Error, ErrorKind, Result};

/// A socket, the handshake that goes on over it, and the message that is on its way in or out.
///
/// Never waits, and never reads beyond the message that it is owed: what follows the handshake belongs to the connection.
pub(super) struct Exchange {
    socket: Socket,
    handshake: Handshake,
    incoming: Incoming,
    outgoing: Outgoing,
}

impl Exchange {
    pub(super) fn new(socket: Socket, handshake: Handshake) -> Self {
        Self { socket, handshake, incoming: Incoming::with_limit(LIMIT), outgoing: Outgoing::default() }
    }

    /// Says what is to be said, as far as there is room.
    pub(super) fn speak(&mut self) -> Result<()> {
        self.prepare();
        while !self.outgoing.is_empty() {
            match self.socket.send(self.outgoing.rest(), Deadline::NOW) {
                Ok(Some(sent)) => self.outgoing.advance(sent),
                Ok(None) => return Ok(()),
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(())
    }

    fn prepare(&mut self) {
        while let Some(message) = self.handshake.outgoing() {
            self.outgoing.push(&message);
        }
    }

    /// Goes on as far as it can without waiting; to be called when the socket is ready for what is [wanted](Self::wanted).
    ///
    /// What there is to be said goes out at once in the end, since every message of its own wakes the other side once more.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`] for what the other side said wrong, which has been told so then, if it has to be;
    /// [`ErrorKind::Closed`] when it has gone; [`ErrorKind::Os`] for what the system refused here.
    pub(super) fn advance(&mut self) -> Result<()> {
        while !self.handshake.is_done() && self.listen()? {
            let message = self.incoming.take();
            let heard = self.handshake.incoming(&message);
            self.prepare();
            if heard.is_err() {
                let _ = self.speak(); // the first error is the one to tell
                return heard;
            }
        }
        self.speak()
    }

    /// Reads on; says whether a message is whole.
    fn listen(&mut self) -> Result<bool> {
        loop {
            match self.socket.recv(self.incoming.space(), Deadline::NOW) {
                Ok(Some(0)) => return Err(Error::new(ErrorKind::Closed, format!("the other side {WENT}"))),
                Ok(Some(received)) if self.incoming.advance(received).map_err(no_message)? => return Ok(true),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(false),
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// What has to be the case for it to go on.
    pub(super) fn wanted(&self) -> PollFlags {
        if self.outgoing.is_empty() { PollFlags::IN } else { PollFlags::OUT }
    }

    /// Whether both sides know the key, and everything was said.
    pub(super) fn is_done(&self) -> bool {
        self.outgoing.is_empty() && self.handshake.is_done()
    }

    /// Goes on until the end; `None` when that was not reached by the deadline.
    pub(super) fn run(mut self, deadline: Deadline) -> Result<Option<Socket>> {
        self.speak()?;
        while !self.is_done() {
            let ready = poll(&mut [PollFd::new(&self.socket, self.wanted())], deadline)?;
            if ready == 0 {
                return Ok(None);
            }
            self.advance()?;
        }
        Ok(Some(self.into_socket()))
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }
}

impl AsFd for Exchange {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What is no message, or one too long for a handshake.
fn no_message(error: Error) -> Error {
    Error::caused(ErrorKind::Auth, None, error)
}

const WENT: &str = "closed the connection in the middle of the handshake";

fn failed(errno: Errno) -> Error {
    match errno {
        Errno::PIPE | Errno::CONNRESET => Error::with_errno(ErrorKind::Closed, errno, format!("the other side {WENT}")),
        other => Error::os(other, "handshake"),
    }
}
