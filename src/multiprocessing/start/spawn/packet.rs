//! What goes over the socket between a parent and its child before the work begins: bytes with descriptors beside them.
//!
//! A header tells how many there are of both. Then come the descriptors, as many to a message as the kernel takes, each such
//! message with one byte that means nothing; then the bytes, as a stream.

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::socket::{MOST_DESCRIPTORS, Socket};

use crate::multiprocessing::transfer::{Descriptors, Packed, Sorts};

/// What every packet begins with, so that a stranger on the socket is told from the parent.
const MAGIC: u32 = u32::from_le_bytes(*b"osP2");
/// Four numbers of 4 bytes, how many descriptors there are that are memory, ends, and of all sorts among them; and the
/// length, 8 bytes.
const HEADER: usize = 24;

/// Sends all of a packet.
///
/// # Errors
/// `ETIMEDOUT` when the other side did not take it by the deadline, `EPIPE` or `ECONNRESET` when it is gone; `ETOOMANYREFS` for
/// more descriptors than may be on their way.
pub(super) fn send(socket: &Socket, packet: &Packed, deadline: Deadline) -> Result<()> {
    let Sorts { memory, ends, all } = packet.descriptors.sorts();
    let mut head = Vec::with_capacity(HEADER + packet.bytes.len());
    for number in [MAGIC, memory as u32, ends as u32, all as u32] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    head.extend_from_slice(&(packet.bytes.len() as u64).to_le_bytes());
    if packet.descriptors.is_empty() {
        // The usual case, in one call.
        head.extend_from_slice(&packet.bytes);
        return send_all(socket, &head, deadline);
    }
    send_all(socket, &head, deadline)?;
    for some in packet.descriptors.borrowed().chunks(MOST_DESCRIPTORS) {
        socket.send_with(&[0], some, deadline)?.ok_or(Errno::TIMEDOUT)?;
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
pub(super) fn receive(socket: &Socket) -> Result<Packed> {
    let mut head = [0; HEADER];
    receive_all(socket, &mut head)?;
    let [numbers @ .., l0, l1, l2, l3, l4, l5, l6, l7] = head;
    let mut numbers = numbers.chunks_exact(4).map(|number| number.try_into().map_or(0, u32::from_le_bytes));
    let mut number = || numbers.next().unwrap_or_default();
    let (magic, memory, ends, all) = (number(), number() as usize, number() as usize, number() as usize);
    let sorts = Sorts { memory, ends, all };
    if magic != MAGIC || !sorts.is_possible() {
        return Err(Errno::PROTO);
    }
    let len = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
    let len = usize::try_from(len).map_err(|_| Errno::NOMEM)?;
    let mut descriptors = Vec::new();
    while descriptors.len() < all {
        let got = socket.recv_with::<MOST_DESCRIPTORS>(&mut [0], Deadline::NEVER)?.ok_or(Errno::TIMEDOUT)?;
        if got.descriptors_lost {
            return Err(Errno::MFILE);
        }
        if got.descriptors.is_empty() {
            return Err(if got.len == 0 { Errno::PIPE } else { Errno::PROTO });
        }
        descriptors.extend(got.descriptors);
    }
    let descriptors = Descriptors::arrived(descriptors, sorts).ok_or(Errno::PROTO)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::NOMEM)?;
    bytes.resize(len, 0);
    receive_all(socket, &mut bytes)?;
    Ok(Packed { bytes, descriptors })
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
