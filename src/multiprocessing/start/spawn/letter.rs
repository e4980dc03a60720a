//! What goes over the socket between a parent and its child before the work begins: a letter to the child, and its
//! answer.
//!
//! A letter is two packets, the order and the arguments: a header that tells how many bytes and descriptors there are
//! of each, then the bytes of both, as one stream. The descriptors come along with the first bytes of it, as many with
//! each message as the kernel takes. So a short letter is one call on both sides.

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::fd::{BorrowedFd, OwnedFd};
use ossature_sys::socket::{MOST_DESCRIPTORS, Socket};

use crate::multiprocessing::process::unsettled::{self, Unsettled};
use crate::multiprocessing::transfer::{Descriptors, Packed, Sorts};

/// What every letter begins with, so that a stranger on the socket is told from the parent.
const MAGIC: [u8; 4] = *b"osP3";
/// Of each packet: how many descriptors there are that are memory, ends, and of all sorts among them, 4 bytes each; and
/// the length, 8 bytes.
const PACKET: usize = 20;
const HEADER: usize = MAGIC.len() + 2 * PACKET;

/// Order and arguments, ready to be sent.
pub(in crate::multiprocessing::start) struct Letter<'a> {
    bytes: Vec<u8>,
    descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> Letter<'a> {
    pub(in crate::multiprocessing::start) fn of(packets: [&'a Packed; 2]) -> Self {
        let len: usize = packets.iter().map(|packet| packet.bytes.len()).sum();
        let mut bytes = Vec::with_capacity(HEADER + len);
        bytes.extend_from_slice(&MAGIC);
        for packet in packets {
            let Sorts { memory, ends, all } = packet.descriptors.sorts();
            for number in [memory, ends, all] {
                bytes.extend_from_slice(&(number as u32).to_le_bytes());
            }
            bytes.extend_from_slice(&(packet.bytes.len() as u64).to_le_bytes());
        }
        let mut descriptors = Vec::new();
        for packet in packets {
            bytes.extend_from_slice(&packet.bytes);
            descriptors.extend(packet.descriptors.borrowed());
        }
        Self { bytes, descriptors }
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// `ETIMEDOUT` when the other side did not take it by the deadline, `EPIPE` or `ECONNRESET` when it is gone;
    /// `ETOOMANYREFS` for more descriptors than may be on their way.
    pub(super) fn send(&self, socket: &Socket, deadline: Deadline) -> Result<()> {
        let (mut bytes, mut descriptors) = (&self.bytes[..], &self.descriptors[..]);
        while !bytes.is_empty() {
            let (some, more) = descriptors.split_at(descriptors.len().min(MOST_DESCRIPTORS));
            // A byte for each message of descriptors, and all the others with the last one; there are more than enough.
            let part = if more.is_empty() { bytes } else { bytes.get(..1).unwrap_or_default() };
            let sent = match some {
                [] => socket.send(part, deadline)?,
                some => socket.send_with(part, some, deadline)?,
            };
            let sent = sent.ok_or(Errno::TIMEDOUT)?;
            (bytes, descriptors) = (bytes.get(sent..).unwrap_or_default(), more);
        }
        Ok(())
    }
}

/// Receives order and arguments, for as long as it takes. Nothing comes behind them.
///
/// # Errors
/// `EPIPE` when the other side is gone, `EPROTO` when it speaks of something else, `EMFILE` when there is no room for
/// its descriptors.
pub(super) fn receive(socket: &Socket) -> Result<[Packed; 2]> {
    let mut descriptors = Vec::new();
    let mut room = [0; 1024];
    let mut len = 0;
    while len < HEADER {
        len += some(socket, room.get_mut(len..).unwrap_or_default(), &mut descriptors)?;
    }
    let (header, rest) = room.get(..len).and_then(|got| got.split_at_checked(HEADER)).ok_or(Errno::PROTO)?;
    let (order, arguments) =
        header.strip_prefix(&MAGIC).and_then(|packets| packets.split_at_checked(PACKET)).ok_or(Errno::PROTO)?;
    let [(order, order_len), (arguments, arguments_len)] = [measures(order)?, measures(arguments)?];
    let whole = order_len.checked_add(arguments_len).ok_or(Errno::NOMEM)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(whole).map_err(|_| Errno::NOMEM)?;
    bytes.extend_from_slice(rest);
    let mut len = bytes.len();
    bytes.resize(whole.max(len), 0);
    while len < whole {
        len += some(socket, bytes.get_mut(len..).unwrap_or_default(), &mut descriptors)?;
    }
    if len > whole || order.all > descriptors.len() {
        return Err(Errno::PROTO);
    }
    let (of_arguments, further) = (descriptors.split_off(order.all), bytes.split_off(order_len));
    let packed = |bytes, list, sorts| -> Result<Packed> {
        let descriptors = Descriptors::arrived(list, sorts).ok_or(Errno::PROTO)?;
        Ok(Packed { bytes, descriptors })
    };
    Ok([packed(bytes, descriptors, order)?, packed(further, of_arguments, arguments)?])
}

/// What the header says of a packet.
fn measures(packet: &[u8]) -> Result<(Sorts, usize)> {
    let (numbers, len) = packet.split_at_checked(12).ok_or(Errno::PROTO)?;
    let mut numbers = numbers.chunks_exact(4).map(|number| number.try_into().map_or(0, u32::from_le_bytes) as usize);
    let mut number = || numbers.next().unwrap_or_default();
    let sorts = Sorts { memory: number(), ends: number(), all: number() };
    let len = len.try_into().map(u64::from_le_bytes).map_err(|_| Errno::PROTO)?;
    Ok((sorts, usize::try_from(len).map_err(|_| Errno::NOMEM)?))
}

/// Receives some bytes, and keeps what comes along with them.
fn some(socket: &Socket, room: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<usize> {
    let got = socket.recv_with::<MOST_DESCRIPTORS>(room, Deadline::NEVER)?.ok_or(Errno::TIMEDOUT)?;
    if got.descriptors_lost {
        return Err(Errno::MFILE);
    }
    descriptors.extend(got.descriptors);
    if got.len == 0 { Err(Errno::PIPE) } else { Ok(got.len) }
}

/// Sends a few bytes, for which the socket always has room.
pub(super) fn send_all(socket: &Socket, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let sent = socket.send(bytes, Deadline::NEVER)?.ok_or(Errno::TIMEDOUT)?;
        bytes = bytes.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// Waits for a byte, and says whether a letter comes next; consumes nothing. `None` if the other side is gone.
pub(super) fn is_next(socket: &Socket) -> Result<Option<bool>> {
    // The first byte of a letter with many descriptors arrives alone.
    let mut first = [0];
    match socket.peek(&mut first, Deadline::NEVER)? {
        None | Some(0) => Ok(None),
        Some(_) => Ok(Some(MAGIC.starts_with(&first))),
    }
}

/// The answer of a child before its work, or instead of its work.
pub(in crate::multiprocessing::start) enum Answer {
    /// The child takes its letter over the present socket.
    Ready,
    /// The child takes its letter only over the socket that it has under this number.
    Prove(i32),
    /// All is understood; what follows on the socket is the child's report.
    Begun,
    /// The work cannot be done, for this reason.
    Refused(String),
    /// An option of the builder failed. The parent words the reason.
    Unsettled(Unsettled),
    /// The other side is gone without a word.
    Nothing,
}

const READY: u8 = b'G';
const PROVE: u8 = b'P';
const BEGUN: u8 = b'B';
const REFUSED: u8 = b'R';
const UNSETTLED: u8 = b'U';

impl Answer {
    /// Sends it. The parent waits for nothing else, so it is gone when this fails.
    pub(super) fn send(&self, socket: &Socket) -> Result<()> {
        let (number, report);
        let (tag, rest) = match self {
            Self::Ready => (READY, &[][..]),
            Self::Prove(descriptor) => {
                number = descriptor.to_le_bytes();
                (PROVE, &number[..])
            }
            Self::Begun => (BEGUN, &[][..]),
            Self::Refused(reason) => (REFUSED, reason.as_bytes()),
            Self::Unsettled(unsettled) => {
                report = unsettled.to_bytes();
                (UNSETTLED, &report[..])
            }
            Self::Nothing => return Ok(()),
        };
        let mut bytes = vec![tag];
        bytes.extend_from_slice(rest);
        send_all(socket, &bytes)
    }

    /// Receives it; `None` when the time ran out. Never takes a byte of the report.
    pub(super) fn receive(socket: &Socket, deadline: Deadline) -> Result<Option<Self>> {
        /// More than any reason; one that is longer is cut.
        const LONGEST: usize = 16 << 10;
        let mut tag = [0];
        match socket.recv(&mut tag, deadline) {
            Ok(Some(1..)) if tag == [BEGUN] => return Ok(Some(Self::Begun)),
            Ok(Some(1..)) if tag == [READY] => return Ok(Some(Self::Ready)),
            Ok(Some(1..)) if tag == [PROVE] => {
                let mut number = [0; 4];
                return match socket.recv(&mut number, deadline)? {
                    Some(4) => Ok(Some(Self::Prove(i32::from_le_bytes(number)))),
                    Some(_) => Err(Errno::PROTO),
                    None => Ok(None),
                };
            }
            Ok(Some(1..)) if tag == [UNSETTLED] => {
                let mut report = [0; unsettled::LEN];
                return match socket.recv(&mut report, deadline)? {
                    Some(unsettled::LEN) => Ok(Some(Self::Unsettled(Unsettled::from_bytes(report)))),
                    Some(_) => Err(Errno::PROTO),
                    None => Ok(None),
                };
            }
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
