//! What goes over the socket between a parent and its child before the work begins: bytes with descriptors beside them.
//!
//! A header tells how many there are of both. Then come the descriptors, as many to a message as the kernel takes, each such
//! message with one byte that means nothing; then the bytes, as a stream.

use std::os::fd::{AsFd, OwnedFd};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::socket::Socket;

use crate::multiprocessing::transfer::Packed;

/// What every packet begins with, so that a stranger on the socket is told from the parent.
const MAGIC: u32 = u32::from_le_bytes(*b"osP1");
const HEADER: usize = 16;
/// The kernel's limit of descriptors in one message.
const MOST: usize = 253;

/// Sends all of a packet.
///
/// # Errors
/// `ETIMEDOUT` when the other side did not take it by the deadline, `EPIPE` or `ECONNRESET` when it is gone; `ETOOMANYREFS` for
/// more descriptors than may be on their way.
pub(super) fn send(socket: &Socket, packet: &Packed, deadline: Deadline) -> Result<()> {
    let (len, descriptors) = (packet.bytes.len() as u64, packet.descriptors.len() as u32);
    let mut head = Vec::with_capacity(HEADER + packet.bytes.len());
    head.extend_from_slice(&MAGIC.to_le_bytes());
    head.extend_from_slice(&descriptors.to_le_bytes());
    head.extend_from_slice(&len.to_le_bytes());
    if packet.descriptors.is_empty() {
        // The usual case, in one call.
        head.extend_from_slice(&packet.bytes);
        return send_all(socket, &head, deadline);
    }
    send_all(socket, &head, deadline)?;
    for some in packet.descriptors.chunks(MOST) {
        let some: Vec<_> = some.iter().map(AsFd::as_fd).collect();
        socket.send_with(&[0], &some, deadline)?.ok_or(Errno::TIMEDOUT)?;
    }
    send_all(socket, &packet.bytes, deadline)
}

fn send_all(socket: &Socket, mut bytes: &[u8], deadline: Deadline) -> Result<()> {
    while !bytes.is_empty() {
        let sent = socket.send(bytes, deadline)?.ok_or(Errno::TIMEDOUT)?;
        bytes = bytes.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// Receives a packet, for as long as it takes.
///
/// # Errors
/// `EPIPE` when the other side is gone, `EPROTO` when it speaks of something else, `EMFILE` when there is no room for its
/// descriptors.
pub(super) fn receive(socket: &Socket) -> Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut head = [0; HEADER];
    receive_all(socket, &mut head)?;
    let [m0, m1, m2, m3, d0, d1, d2, d3, length @ ..] = head;
    if u32::from_le_bytes([m0, m1, m2, m3]) != MAGIC {
        return Err(Errno::PROTO);
    }
    let count = u32::from_le_bytes([d0, d1, d2, d3]) as usize;
    let len = usize::try_from(u64::from_le_bytes(length)).map_err(|_| Errno::NOMEM)?;
    let mut descriptors = Vec::new();
    while descriptors.len() < count {
        let got = socket.recv_with::<MOST>(&mut [0], Deadline::NEVER)?.ok_or(Errno::TIMEDOUT)?;
        if got.descriptors_lost {
            return Err(Errno::MFILE);
        }
        if got.descriptors.is_empty() {
            return Err(if got.len == 0 { Errno::PIPE } else { Errno::PROTO });
        }
        descriptors.extend(got.descriptors);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::NOMEM)?;
    bytes.resize(len, 0);
    receive_all(socket, &mut bytes)?;
    Ok((bytes, descriptors))
}

fn receive_all(socket: &Socket, mut room: &mut [u8]) -> Result<()> {
    while !room.is_empty() {
        match socket.recv(room, Deadline::NEVER)? {
            Some(0) => return Err(Errno::PIPE),
            Some(got) => room = room.get_mut(got..).unwrap_or_default(),
            None => {}
        }
    }
    Ok(())
}

/// The child's last word before its work, or instead of it.
pub(in crate::multiprocessing::start) enum Answer {
    /// All is understood; what follows on the socket is the child's report.
    Begun,
    /// The work cannot be done, for this reason.
    Refused(String),
    /// The other side is gone without a word.
    Nothing,
}

const BEGUN: u8 = b'B';
const REFUSED: u8 = b'R';

impl Answer {
    /// Sends it. The parent waits for nothing else, so it is gone when this fails.
    pub(super) fn send(&self, socket: &Socket) -> Result<()> {
        let (tag, reason) = match self {
            Self::Begun => (BEGUN, ""),
            Self::Refused(reason) => (REFUSED, reason.as_str()),
            Self::Nothing => return Ok(()),
        };
        let mut bytes = vec![tag];
        bytes.extend_from_slice(reason.as_bytes());
        send_all(socket, &bytes, Deadline::NEVER)
    }

    /// Receives it; `None` when the time ran out. Never takes a byte of the report.
    pub(super) fn receive(socket: &Socket, deadline: Deadline) -> Result<Option<Self>> {
        /// More than any reason; one that is longer is cut.
        const LONGEST: usize = 16 << 10;
        let mut tag = [0];
        match socket.recv(&mut tag, deadline) {
            Ok(Some(1..)) if tag == [BEGUN] => return Ok(Some(Self::Begun)),
            Ok(Some(1..)) if tag == [REFUSED] => {}
            Ok(Some(_)) | Err(Errno::CONNRESET) => return Ok(Some(Self::Nothing)),
            Ok(None) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        let mut reason = Vec::new();
        let mut some = [0; 512];
        while reason.len() < LONGEST {
            match socket.recv(&mut some, deadline) {
                Ok(Some(got @ 1..)) => reason.extend_from_slice(some.get(..got).unwrap_or_default()),
                _ => break,
            }
        }
        Ok(Some(Self::Refused(String::from_utf8_lossy(&reason).into_owned())))
    }
}
