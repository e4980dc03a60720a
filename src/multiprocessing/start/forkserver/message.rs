//! The messages between the fork server and its clients.
//!
//! | from | on | message | descriptors |
//! | --- | --- | --- | --- |
//! | client | the socket that all clients share | one byte: a request for any child, or for a fresh child | the status socket |
//! | server | the status socket | the child's process ID | its pidfd, the line to it |
//! | server | the status socket | or the reason why there is no child: it cannot be made, or the sender is another user | |
//! | server | the status socket | at the end of the child, its exit status | |
//!
//! The client sends the request and the arguments of a start over the line to the child itself. So the child accepts a
//! request only from the process that has the other end of the line.

use std::os::fd::{AsFd, OwnedFd};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::fd::AboveStandard;
use ossature_sys::process::{Child, ExitStatus, Pid};
use ossature_sys::socket::Socket;

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

/// A request for a child.
pub(super) struct Request {
    pub(super) kind: ChildKind,
    pub(super) status: Socket,
}

/// A message received from the shared socket.
pub(super) enum Incoming {
    Request(Request),
    /// A request of another user, with the status socket to send the refusal over.
    OtherUser(Socket, Option<u32>),
    /// A message that is not a request.
    Invalid,
    /// No process can send a request any more.
    Closed,
}

/// Sends a request for a child.
///
/// # Errors
/// `EPIPE` or `ECONNRESET` when the server has ended, `ETIMEDOUT` when it does not respond.
pub(super) fn send_request(server: &Socket, request: &Request, deadline: Deadline) -> Result<()> {
    let kind = match request.kind {
        ChildKind::Any => FORK,
        ChildKind::Fresh => FORK_FRESH,
    };
    server.send_with(&[kind], &[request.status.as_fd()], deadline)?.ok_or(Errno::TIMEDOUT).map(drop)
}

/// Receives a request of one of these users from the shared socket, which passes credentials. Does not wait.
pub(super) fn recv_request(requests: &Socket, users: [u32; 2]) -> Result<Incoming> {
    let mut byte = [0];
    let Some(got) = requests.recv_with::<1>(&mut byte, Deadline::NOW)? else { return Ok(Incoming::Invalid) };
    if got.len == 0 {
        return Ok(Incoming::Closed);
    }
    let user = got.credentials.map(|who| who.uid);
    let status =
        got.descriptors.into_iter().next().map(|fd| Socket::try_from(fd).and_then(AboveStandard::above_standard));
    let (kind, status) = match (byte, status) {
        ([FORK], Some(Ok(status))) => (ChildKind::Any, status),
        ([FORK_FRESH], Some(Ok(status))) => (ChildKind::Fresh, status),
        _ => return Ok(Incoming::Invalid),
    };
    Ok(match user.is_some_and(|user| users.contains(&user)) {
        true => Incoming::Request(Request { kind, status }),
        false => Incoming::OtherUser(status, user),
    })
}

/// A child, as sent to its client.
#[derive(Debug)]
pub(super) struct Forked {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) line: Socket,
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

/// Sends the process ID of a forked child, its pidfd, and the line to it.
///
/// # Errors
/// `EPIPE` or `ECONNRESET` when the client has ended, `ETOOMANYREFS` when too many descriptors are in transit,
/// `ENOBUFS`.
pub(super) fn send_forked(status: &Socket, child: &Child, line: &Socket) -> Result<()> {
    let message = tagged(FORKED, child.pid().as_raw_nonzero().get());
    status.send_with(&message, &[child.as_fd(), line.as_fd()], Deadline::NOW)?.ok_or(Errno::AGAIN).map(drop)
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
    let got = match status.recv_with::<2>(&mut room, deadline) {
        Ok(Some(got)) => got,
        Ok(None) => return Ok(None),
        Err(Errno::CONNRESET) => return Ok(Some(Reply::Closed)),
        Err(errno) => return Err(errno),
    };
    let mut descriptors = got.descriptors.into_iter();
    let descriptors = descriptors.next().zip(descriptors.next());
    let Some(([tag, a, b, c, d], rest)) = room.get(..got.len).and_then(|message| message.split_first_chunk()) else {
        return Ok(Some(Reply::Closed));
    };
    let number = i32::from_le_bytes([*a, *b, *c, *d]);
    Ok(Some(match (*tag, descriptors) {
        (FORKED, Some((pidfd, line))) => {
            let pid = Pid::from_raw(number).ok_or(Errno::PROTO)?;
            let line = Socket::try_from(line)?.above_standard()?;
            Reply::Forked(Forked { pid, pidfd: pidfd.above_standard()?, line })
        }
        // No room here for them.
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
