//! A handshake on its way over a socket.

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::Until;
use ossature_sys::fd::{AsFd, BorrowedFd};
use ossature_sys::poll::{PollFd, PollFlags};
use ossature_sys::socket::Socket;

use super::frame::{FrameLimit, Incoming, Outgoing};
use super::handshake::Handshake;
use super::payload::LIMIT;
use super::wait::poll_until;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::state::Listed;

/// A socket, the handshake that goes on over it, and the message that is on its way in or out.
///
/// Never waits, and never reads beyond the handshake: what follows it belongs to the connection.
pub(super) struct HandshakeIo {
    socket: Listed<Socket>,
    handshake: Handshake,
    incoming: Incoming,
    outgoing: Outgoing,
    ahead: Ahead,
}

/// What was received and is not in a message yet.
struct Ahead {
    bytes: [u8; ROOM],
    from: usize,
    to: usize,
}

/// Two messages, as a peer that saves turns sends them, with their headers.
const ROOM: usize = 2 * (4 + LIMIT);

impl Ahead {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    /// Moves what there is and fits to `room`; says how much that was.
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
            ahead: Ahead { bytes: [0; ROOM], from: 0, to: 0 },
        }
    }

    /// Says what is to be said, as far as there is room.
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

    /// Goes on as far as it can without waiting; to be called when the socket is ready for what is
    /// [wanted](Self::wanted).
    ///
    /// What there is to be said goes out at once in the end, since every message of its own wakes the other side once
    /// more.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`] for a wrong message of the other side, which gets a reply if the protocol has one.
    /// [`ErrorKind::Closed`] when the other side has gone. [`ErrorKind::Os`] for what the system refused here.
    pub(super) fn advance(&mut self) -> Result<()> {
        while !self.handshake.is_done() && self.listen()? {
            let message = self.incoming.take();
            let heard = self.handshake.incoming(&message);
            self.prepare();
            if heard.is_err() {
                let _ = self.flush(); // the first error is the one to tell
                return heard;
            }
            // It waits for that now, unless it said more before.
            if !self.outgoing.is_empty() && self.ahead.rest().is_empty() {
                break;
            }
        }
        if self.handshake.is_done() && !self.ahead.rest().is_empty() {
            return Err(Error::new(ErrorKind::Auth, "unexpected data during the handshake"));
        }
        self.flush()
    }

    /// Reads on; says whether a message is whole.
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

    /// Receives what has arrived. While the other side has to wait for an answer, all of it belongs to the handshake.
    /// Otherwise only as much is received as belongs to the message. Returns how much of it went into the message.
    fn receive(&mut self) -> Result<Option<usize>> {
        let last = self.handshake.awaits_the_last_word();
        let room = if last { self.incoming.space() } else { &mut self.ahead.bytes };
        match self.socket.recv(room, Deadline::NOW) {
            Ok(Some(0)) => Err(Error::new(ErrorKind::Closed, format!("the other side {WENT}"))),
            Ok(Some(received)) if last => Ok(Some(received)),
            Ok(Some(received)) => {
                (self.ahead.from, self.ahead.to) = (0, received);
                Ok(Some(self.ahead.drain_into(self.incoming.space())))
            }
            Ok(None) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// What has to be the case for it to go on.
    pub(super) fn wanted(&self) -> PollFlags {
        if self.outgoing.is_empty() { PollFlags::IN } else { PollFlags::OUT }
    }

    /// Whether both sides know the key, and every message was sent.
    pub(super) fn is_done(&self) -> bool {
        self.outgoing.is_empty() && self.handshake.is_done()
    }

    /// Goes on until the end; `None` when the wait ended before.
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
            None => unreachable!("nobody shares it"),
        }
    }
}

impl AsFd for HandshakeIo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What is not a message, or one too long for a handshake.
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
