//! The message from a parent to its child before the work begins.
//!
//! The message is two packets, the request and the arguments. A header contains the number of bytes and descriptors of
//! each. The bytes of both follow, as one stream. The descriptors are sent with the first bytes of the stream, in each
//! system call as many as the kernel accepts. So a short message is one call on both sides.

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::fd::{BorrowedFd, OwnedFd};
use ossature_sys::socket::{MOST_DESCRIPTORS, Socket};

use crate::multiprocessing::transfer::{Descriptors, FdCounts, Packed};

/// The first bytes of every message, which distinguish the parent from another process on the socket.
const MAGIC: [u8; 4] = *b"osP3";
/// The size of a packet's header: how many descriptors are memory, how many are ends, and how many there are in all, 4
/// bytes each; then the length, 8 bytes.
const PACKET: usize = 20;
const HEADER: usize = MAGIC.len() + 2 * PACKET;

/// The request and the arguments, ready to be sent.
pub(in crate::multiprocessing::start) struct StartMessage<'a> {
    bytes: Vec<u8>,
    descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> StartMessage<'a> {
    pub(in crate::multiprocessing::start) fn of(packets: [&'a Packed; 2]) -> Self {
        let len: usize = packets.iter().map(|packet| packet.bytes.len()).sum();
        let mut bytes = Vec::with_capacity(HEADER + len);
        bytes.extend_from_slice(&MAGIC);
        for packet in packets {
            let FdCounts { memory, ends, all } = packet.descriptors.fd_counts();
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

    pub(in crate::multiprocessing::start) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(in crate::multiprocessing::start) fn descriptors(&self) -> &[BorrowedFd<'a>] {
        &self.descriptors
    }

    /// Sends the whole message.
    ///
    /// # Errors
    /// `ETIMEDOUT` when the other side did not take it by the deadline, `EPIPE` or `ECONNRESET` when it has ended;
    /// `ETOOMANYREFS` for more descriptors than may be in transit.
    pub(in crate::multiprocessing::start) fn send(&self, socket: &Socket, deadline: Deadline) -> Result<()> {
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

/// Receives the request and the arguments, without a time limit. Nothing follows them.
///
/// # Errors
/// `EPIPE` when the other side has ended, `EPROTO` when it sends another message, `EMFILE` when there is no room for
/// its descriptors.
pub(in crate::multiprocessing::start) fn receive(socket: &Socket) -> Result<[Packed; 2]> {
    let mut descriptors = Vec::new();
    let mut room = [0; 1024];
    let mut len = 0;
    while len < HEADER {
        len += some(socket, room.get_mut(len..).unwrap_or_default(), &mut descriptors)?;
    }
    let (header, rest) = room.get(..len).and_then(|got| got.split_at_checked(HEADER)).ok_or(Errno::PROTO)?;
    let [(request, request_len), (arguments, arguments_len)] = lengths(header)?;
    let whole = request_len.checked_add(arguments_len).ok_or(Errno::NOMEM)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(whole).map_err(|_| Errno::NOMEM)?;
    bytes.extend_from_slice(rest);
    let mut len = bytes.len();
    bytes.resize(whole.max(len), 0);
    while len < whole {
        len += some(socket, bytes.get_mut(len..).unwrap_or_default(), &mut descriptors)?;
    }
    if len > whole {
        return Err(Errno::PROTO);
    }
    split([(request, request_len), (arguments, arguments_len)], bytes, descriptors)
}

/// Reads a whole message that came in another one, with these descriptors.
///
/// # Errors
/// `EPROTO` when the bytes are not such a message.
pub(in crate::multiprocessing::start) fn open(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<[Packed; 2]> {
    let (header, rest) = bytes.split_at_checked(HEADER).ok_or(Errno::PROTO)?;
    let lengths = lengths(header)?;
    let [(_, request), (_, arguments)] = lengths;
    if request.checked_add(arguments) != Some(rest.len()) {
        return Err(Errno::PROTO);
    }
    split(lengths, rest.to_vec(), descriptors)
}

/// Divides the content of a message into its packets.
fn split(
    [(request, request_len), (arguments, _)]: [(FdCounts, usize); 2],
    mut bytes: Vec<u8>,
    mut descriptors: Vec<OwnedFd>,
) -> Result<[Packed; 2]> {
    if request.all > descriptors.len() {
        return Err(Errno::PROTO);
    }
    let (of_arguments, further) = (descriptors.split_off(request.all), bytes.split_off(request_len));
    let packed = |bytes, list, fd_counts| -> Result<Packed> {
        let descriptors = Descriptors::arrived(list, fd_counts).ok_or(Errno::PROTO)?;
        Ok(Packed { bytes, descriptors })
    };
    Ok([packed(bytes, descriptors, request)?, packed(further, of_arguments, arguments)?])
}

/// Reads the header of a message: the counts and the length of each packet.
fn lengths(header: &[u8]) -> Result<[(FdCounts, usize); 2]> {
    let packets = header.strip_prefix(&MAGIC).and_then(|packets| packets.split_at_checked(PACKET));
    let (request, arguments) = packets.ok_or(Errno::PROTO)?;
    Ok([measures(request)?, measures(arguments)?])
}

/// Reads the counts and the length of a packet from its header.
fn measures(packet: &[u8]) -> Result<(FdCounts, usize)> {
    let (numbers, len) = packet.split_at_checked(12).ok_or(Errno::PROTO)?;
    let mut numbers = numbers.chunks_exact(4).map(|number| number.try_into().map_or(0, u32::from_le_bytes) as usize);
    let mut number = || numbers.next().unwrap_or_default();
    let fd_counts = FdCounts { memory: number(), ends: number(), all: number() };
    let len = len.try_into().map(u64::from_le_bytes).map_err(|_| Errno::PROTO)?;
    Ok((fd_counts, usize::try_from(len).map_err(|_| Errno::NOMEM)?))
}

/// Receives some bytes, and keeps the descriptors that come with them.
fn some(socket: &Socket, room: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<usize> {
    let got = socket.recv_with::<MOST_DESCRIPTORS>(room, Deadline::NEVER)?.ok_or(Errno::TIMEDOUT)?;
    if got.descriptors_lost {
        return Err(Errno::MFILE);
    }
    descriptors.extend(got.descriptors);
    if got.len == 0 { Err(Errno::PIPE) } else { Ok(got.len) }
}

/// Sends a few bytes, for which the socket always has room.
pub(in crate::multiprocessing::start) fn send_all(socket: &Socket, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let sent = socket.send(bytes, Deadline::NEVER)?.ok_or(Errno::TIMEDOUT)?;
        bytes = bytes.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// Waits for a byte, and returns whether a message comes next; consumes nothing. `None` if the other side has closed
/// the socket.
pub(in crate::multiprocessing::start) fn is_next(socket: &Socket) -> Result<Option<bool>> {
    // The first byte of a message with many descriptors arrives alone.
    let mut first = [0];
    match socket.peek(&mut first, Deadline::NEVER)? {
        None | Some(0) => Ok(None),
        Some(_) => Ok(Some(MAGIC.starts_with(&first))),
    }
}
