//! The messages between the fork server, its clients and its children.
//!
//! | from | on | message | descriptors |
//! | --- | --- | --- | --- |
//! | client | the socket that all clients share | the order: any child or a fresh child, and the start message, if it is short | the status socket, the child's end of the line, those of the start message |
//! | server | the status socket | the child's process ID | its pidfd |
//! | server | the status socket | or the reason why there is no child: it cannot be made, or the sender is another user | |
//! | server | the status socket | at the end of the child, its exit status | |
//! | server | the socket of a spare | the order | the child's end of the line, those of the start message |
//!
//! A client sends a long start message over the line, to the child itself. The replies of the child come over the line.

use std::os::fd::{AsFd, OwnedFd};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::fd::AboveStandard;
use ossature_sys::process::{Child, ExitStatus, Pid};
use ossature_sys::socket::Socket;
use zeroize::Zeroize;

use crate::multiprocessing::start::wire::StartMessage;

const FORK: u8 = b'F';
const FORK_FRESH: u8 = b'f';
const FORKED: u8 = b'P';
const REFUSED: u8 = b'E';
const ENDED: u8 = b'X';

/// The kind of child that a client requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ChildKind {
    /// A spare, if there is one.
    Any,
    /// A child that is forked for this request.
    Fresh,
}

/// A client's order of a child.
pub(super) struct Order {
    pub(super) kind: ChildKind,
    pub(super) status: Socket,
    pub(super) work: Work,
}

/// What a child does: the child's end of the line to its client, and the start message.
pub(super) struct Work {
    pub(super) line: Socket,
    pub(super) message: Incoming,
}

/// The start message of an order.
pub(super) enum Incoming {
    /// The bytes and the descriptors.
    Here(Vec<u8>, Vec<OwnedFd>),
    /// The message follows over the line.
    OverTheLine,
}

/// A message received from the shared socket.
pub(super) enum Received {
    Order(Order),
    /// An order of another user, with the status socket to send the refusal over.
    OtherUser(Socket, Option<u32>),
    /// A message that is not an order.
    Invalid,
    /// No process can send an order any more.
    Closed,
}

/// The longest order with its start message.
const LONGEST: usize = 4096;
/// The maximum number of descriptors of an order, with the status socket and the line.
const MOST: usize = 32;

/// The memory into which orders are received.
pub(super) type Room = Box<[u8; LONGEST]>;

pub(super) fn room() -> Room {
    Box::new([0; LONGEST])
}

/// Whether a start message fits into an order. A longer one is sent over the line.
pub(super) fn is_short(message: &StartMessage<'_>) -> bool {
    message.bytes().len() < LONGEST && message.descriptors().len() <= MOST - 2
}

/// Sends an order: a request for a child, with the status socket and the line of the child.
///
/// # Errors
/// `EPIPE` or `ECONNRESET` when the server has ended, `ETIMEDOUT` when it does not respond.
pub(super) fn send_order(
    server: &Socket,
    kind: ChildKind,
    [status, line]: [&Socket; 2],
    message: &StartMessage<'_>,
    deadline: Deadline,
) -> Result<()> {
    let mut bytes = vec![match kind {
        ChildKind::Any => FORK,
        ChildKind::Fresh => FORK_FRESH,
    }];
    let mut descriptors = vec![status.as_fd(), line.as_fd()];
    if is_short(message) {
        bytes.extend_from_slice(message.bytes());
        descriptors.extend_from_slice(message.descriptors());
    }
    server.send_with(&bytes, &descriptors, deadline)?.ok_or(Errno::TIMEDOUT).map(drop)
}

/// Receives an order of one of these users from the shared socket, which passes credentials. Does not wait.
pub(super) fn recv_order(requests: &Socket, users: [u32; 2], room: &mut Room) -> Result<Received> {
    let Some(got) = requests.recv_with::<MOST>(&mut room[..], Deadline::NOW)? else { return Ok(Received::Invalid) };
    if got.len == 0 {
        // A message without bytes has a sender, the end of the socket has none.
        return Ok(if got.credentials.is_some() { Received::Invalid } else { Received::Closed });
    }
    let is_whole = !got.truncated && !got.descriptors_lost;
    let user = got.credentials.map(|who| who.uid);
    let mut descriptors = got.descriptors.into_iter();
    let status = descriptors.next().map(|fd| Socket::try_from(fd).and_then(AboveStandard::above_standard));
    let (Some(Ok(status)), Some((kind, message)), true) =
        (status, room.get(..got.len).and_then(<[u8]>::split_first), is_whole)
    else {
        return Ok(Received::Invalid);
    };
    let kind = match *kind {
        FORK => ChildKind::Any,
        FORK_FRESH => ChildKind::Fresh,
        _ => return Ok(Received::Invalid),
    };
    if !user.is_some_and(|user| users.contains(&user)) {
        return Ok(Received::OtherUser(status, user));
    }
    let work = work(message, descriptors);
    // The children after this one get a copy of this memory.
    room.get_mut(..got.len).unwrap_or_default().zeroize();
    Ok(work.map_or(Received::Invalid, |work| Received::Order(Order { kind, status, work })))
}

/// Reads the part of an order that is for the child.
fn work(message: &[u8], mut descriptors: impl Iterator<Item = OwnedFd>) -> Option<Work> {
    let line = Socket::try_from(descriptors.next()?).and_then(AboveStandard::above_standard).ok()?;
    let message = match message {
        [] => Incoming::OverTheLine,
        bytes => {
            let descriptors = descriptors.map(AboveStandard::above_standard).collect::<Result<_>>().ok()?;
            Incoming::Here(bytes.to_vec(), descriptors)
        }
    };
    Some(Work { line, message })
}

/// Sends a spare its work. Does not wait.
///
/// # Errors
/// `EPIPE` or `ECONNRESET` when the spare has ended, `ETOOMANYREFS` when too many descriptors are in transit.
pub(super) fn send_work(spare: &Socket, Work { line, message }: &Work) -> Result<()> {
    let mut bytes = vec![FORK];
    let mut descriptors = vec![line.as_fd()];
    if let Incoming::Here(message, more) = message {
        bytes.extend_from_slice(message);
        descriptors.extend(more.iter().map(AsFd::as_fd));
    }
    spare.send_with(&bytes, &descriptors, Deadline::NOW)?.ok_or(Errno::AGAIN).map(drop)
}

/// Receives, as a spare, its work; waits until it comes.
///
/// # Errors
/// `EPIPE` when the server has ended or needs no spare, `EMFILE` when there is no room for the descriptors.
pub(super) fn recv_work(server: &Socket, room: &mut Room) -> Result<Work> {
    let got = server.recv_with::<MOST>(&mut room[..], Deadline::NEVER)?.ok_or(Errno::TIMEDOUT)?;
    if got.descriptors_lost {
        return Err(Errno::MFILE);
    }
    let message = room.get(1..got.len).ok_or(Errno::PIPE)?;
    work(message, got.descriptors.into_iter()).ok_or(Errno::PROTO)
}

/// A child, as sent to its client.
#[derive(Debug)]
pub(super) struct Forked {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

/// A message of the server about one child.
#[derive(Debug)]
pub(super) enum Reply {
    Forked(Forked),
    Refused(Errno, String),
    Ended(ExitStatus),
    /// The server has closed the connection.
    Closed,
}

/// Sends the process ID of a child and its pidfd.
///
/// # Errors
/// `EPIPE` or `ECONNRESET` when the client has ended, `ETOOMANYREFS` when too many descriptors are in transit,
/// `ENOBUFS`.
pub(super) fn send_forked(status: &Socket, child: &Child) -> Result<()> {
    let message = tagged(FORKED, child.pid().as_raw_nonzero().get());
    status.send_with(&message, &[child.as_fd()], Deadline::NOW)?.ok_or(Errno::AGAIN).map(drop)
}

/// Sends the reason why there is no child.
pub(super) fn send_refused(status: &Socket, errno: Errno, reason: &str) -> Result<()> {
    let mut message = tagged(REFUSED, errno.raw_os_error()).to_vec();
    message.extend_from_slice(reason.as_bytes());
    status.send(&message, Deadline::NOW).map(drop)
}

/// Sends the exit status of the child.
pub(super) fn send_ended(status: &Socket, exit: ExitStatus) -> Result<()> {
    let (kind, number) = match exit {
        ExitStatus::Code(code) => (0, i32::from(code)),
        ExitStatus::Signal { signal, core_dumped: false } => (1, signal),
        ExitStatus::Signal { signal, core_dumped: true } => (2, signal),
        ExitStatus::Unknown => (3, 0),
    };
    let [tag, a, b, c, d] = tagged(ENDED, number);
    status.send(&[tag, a, b, c, d, kind], Deadline::NOW).map(drop)
}

fn tagged(tag: u8, number: i32) -> [u8; 5] {
    let [a, b, c, d] = number.to_le_bytes();
    [tag, a, b, c, d]
}

/// Receives the next message of the server; `None` when the time ran out.
pub(super) fn recv_reply(status: &Socket, deadline: Deadline) -> Result<Option<Reply>> {
    let mut room = [0; 1024];
    let got = match status.recv_with::<1>(&mut room, deadline) {
        Ok(Some(got)) => got,
        Ok(None) => return Ok(None),
        Err(Errno::CONNRESET) => return Ok(Some(Reply::Closed)),
        Err(errno) => return Err(errno),
    };
    let pidfd = got.descriptors.into_iter().next();
    let Some(([tag, a, b, c, d], rest)) = room.get(..got.len).and_then(|message| message.split_first_chunk()) else {
        return Ok(Some(Reply::Closed));
    };
    let number = i32::from_le_bytes([*a, *b, *c, *d]);
    Ok(Some(match (*tag, pidfd) {
        (FORKED, Some(pidfd)) => {
            let pid = Pid::from_raw(number).ok_or(Errno::PROTO)?;
            Reply::Forked(Forked { pid, pidfd: pidfd.above_standard()? })
        }
        // No room here for it.
        (FORKED, None) => return Err(Errno::MFILE),
        (REFUSED, _) => Reply::Refused(Errno::from_raw_os_error(number), String::from_utf8_lossy(rest).into_owned()),
        (ENDED, _) => Reply::Ended(match rest {
            [0] => ExitStatus::Code(number as u8),
            [core @ (1 | 2)] => ExitStatus::Signal { signal: number, core_dumped: *core == 2 },
            _ => ExitStatus::Unknown,
        }),
        _ => Reply::Closed,
    }))
}
