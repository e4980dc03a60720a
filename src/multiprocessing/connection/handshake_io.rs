//! A handshake over a socket.

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::Until;
use ossature_sys::fd::{AsFd, BorrowedFd};
use ossature_sys::poll::{PollFd, PollFlags};
use ossature_sys::socket::Socket;

use super::frame::{FrameLimit, Incoming, Outgoing};
use super::handshake::{FAILURE, Handshake, WELCOME};
use super::payload::LIMIT;
use super::wait::poll_until;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::state::Listed;

/// A socket, the handshake over it, and the message that is being received or sent.
///
/// Never waits, and never reads beyond the handshake: what follows it belongs to the connection.
pub(super) struct HandshakeIo {
    socket: Listed<Socket>,
    handshake: Handshake,
    incoming: Incoming,
    outgoing: Outgoing,
    ahead: Box<Ahead>,
}

/// The received bytes that are not in a message yet.
struct Ahead {
    bytes: [u8; ROOM],
    from: usize,
    to: usize,
}

/// The length of two messages with their headers, because a peer that saves turns sends two at once.
const ROOM: usize = 2 * (4 + LIMIT);

/// The length of the last message with its header: each of the two is as long.
const LAST_WORD: usize = 4 + WELCOME.len();
const _: () = assert!(WELCOME.len() == FAILURE.len());

impl Ahead {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    /// Moves as many bytes as fit into `room`; returns their number.
    fn drain_into(&mut self, room: &mut [u8]) -> usize {
        let poured = room.iter_mut().zip(self.rest()).map(|(to, from)| *to = *from).count();
        self.from += poured;
        poured
    }
}

impl HandshakeIo {
    pub(super) fn new(socket: Socket, handshake: Handshake) -> Self {
        Self {
            socket: Listed::new(socket),
            handshake,
            incoming: Incoming::with_limit(FrameLimit::of_handshake(LIMIT)),
            outgoing: Outgoing::default(),
            ahead: Box::new(Ahead { bytes: [0; ROOM], from: 0, to: 0 }),
        }
    }

    /// Sends the pending bytes, as far as the socket accepts them.
    pub(super) fn flush(&mut self) -> Result<()> {
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

    /// Advances as far as possible without waiting; call it when the socket is ready for the [wanted](Self::wanted)
    /// events.
    ///
    /// All pending messages are sent at once in the end, because each separate message wakes the other side once more.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`] for a wrong message of the other side, which gets a reply if the protocol has one.
    /// [`ErrorKind::Closed`] when the other side has disconnected. [`ErrorKind::Os`] for an error of a system call.
    pub(super) fn advance(&mut self) -> Result<()> {
        while !self.handshake.is_done() && self.listen()? {
            let message = self.incoming.take();
            let heard = self.handshake.incoming(&message);
            self.prepare();
            if heard.is_err() {
                let _ = self.flush(); // the first error is the one to tell
                return heard;
            }
            // The peer waits for these messages now, unless it has already sent more bytes.
            if !self.outgoing.is_empty() && self.ahead.rest().is_empty() {
                break;
            }
        }
        if self.handshake.is_done() && !self.ahead.rest().is_empty() {
            return Err(Error::new(ErrorKind::Auth, "unexpected data during the handshake"));
        }
        self.flush()
    }

    /// Receives bytes; returns whether a message is complete.
    fn listen(&mut self) -> Result<bool> {
        loop {
            let received = match self.ahead.drain_into(self.incoming.space()) {
                0 => self.receive()?,
                poured => Some(poured),
            };
            match received {
                Some(received) if self.incoming.advance(received).map_err(no_message)? => return Ok(true),
                Some(_) => {}
                None => return Ok(false),
            }
        }
    }

    /// Receives the available bytes. While the other side has to wait for an answer, all bytes belong to the handshake.
    /// The last message has a known length, and the bytes after it belong to the connection. Returns the number of
    /// bytes added to the message.
    fn receive(&mut self) -> Result<Option<usize>> {
        let last = self.handshake.awaits_the_last_word();
        // A message of another length fails the handshake, so it may be received wrongly. Its rest is received exactly.
        let is_rest = last && self.incoming.has_begun();
        let room = match last {
            true if is_rest => self.incoming.space(),
            true => self.ahead.bytes.get_mut(..LAST_WORD).unwrap_or_default(),
            false => &mut self.ahead.bytes,
        };
        match self.socket.recv(room, Deadline::NOW) {
            Ok(Some(0)) => Err(Error::new(ErrorKind::Closed, format!("the other side {WENT}"))),
            Ok(Some(received)) if is_rest => Ok(Some(received)),
            Ok(Some(received)) => {
                (self.ahead.from, self.ahead.to) = (0, received);
                Ok(Some(self.ahead.drain_into(self.incoming.space())))
            }
            Ok(None) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The events that the handshake waits for.
    pub(super) fn wanted(&self) -> PollFlags {
        if self.outgoing.is_empty() { PollFlags::IN } else { PollFlags::OUT }
    }

    /// Whether both sides know the key, and every message was sent.
    pub(super) fn is_done(&self) -> bool {
        self.outgoing.is_empty() && self.handshake.is_done()
    }

    /// Advances until the end; `None` when the wait ended before.
    pub(super) fn run(mut self, until: Until<'_>) -> Result<Option<Socket>> {
        self.flush()?;
        while !self.is_done() {
            if poll_until(&mut [PollFd::new(&*self.socket, self.wanted())], until)? == 0 {
                return Ok(None);
            }
            self.advance()?;
        }
        Ok(Some(self.into_socket()))
    }

    pub(super) fn into_socket(self) -> Socket {
        match self.socket.into_inner() {
            Some(socket) => socket,
            None => unreachable!("the socket has no other owner"),
        }
    }
}

impl AsFd for HandshakeIo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Converts the error of bytes that are not a message, or of a message that is too long for a handshake.
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
