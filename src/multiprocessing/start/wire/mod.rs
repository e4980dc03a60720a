//! The protocol of a start, which `spawn` and the fork server share.
//!
//! | stage | from | file |
//! | --- | --- | --- |
//! | the request and the arguments | parent | `request`, in a `message` |
//! | begun, or refused with a reason | child | `reply` |
//!
//! The parent sends the request and awaits the reply under one deadline. A child that has ended, or closed its socket,
//! has replied with nothing.

pub(super) mod message;
mod reply;
mod request;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AsFd, BorrowedFd};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::socket::Socket;

use super::Patience;
use crate::error::{Error, ErrorKind, Result};

pub(super) use message::StartMessage;
pub(super) use reply::StartReply;
pub(super) use request::StartRequest;

/// The process that begins, for the errors.
#[derive(Clone, Copy)]
pub(super) enum Who {
    Child,
    Server,
}

impl Who {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Child => "the new process",
            Self::Server => "the fork server",
        }
    }
}

/// Sends a child its request, and waits for the reply.
pub(super) fn send_request(
    control: &Socket,
    message: &StartMessage<'_>,
    child: &impl AsFd,
    who: Who,
    patience: Patience,
) -> Result<StartReply> {
    match message.send(control, patience.deadline) {
        // The child has ended, or refuses before it has read everything: the reply shows which.
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
        Err(Errno::TIMEDOUT) => return Err(timed_out(who, "did not receive its task and arguments", patience)),
        Err(errno) => return Err(cannot_send(who, errno)),
    }
    await_reply(control, child, who, patience)
}

/// Waits for the next reply of a child.
pub(super) fn await_reply(control: &Socket, child: &impl AsFd, who: Who, patience: Patience) -> Result<StartReply> {
    let deadline = patience.deadline;
    // Whatever a child said that has ended is there. Another process may still have its socket, so the end of the
    // stream may not come.
    let (end, otherwise) = match has_ended_silent(control, child.as_fd(), deadline)? {
        true => (Deadline::NOW, Some(StartReply::Nothing)),
        false => (deadline, None),
    };
    let reply = StartReply::receive(control, end)
        .map_err(|errno| Error::os(errno, format!("cannot receive from {}", who.name())))?;
    reply.or(otherwise).ok_or_else(|| timed_out(who, "did not report that it began its task", patience))
}

pub(super) fn cannot_send(who: Who, errno: Errno) -> Error {
    Error::os(errno, format!("cannot send the task to {}", who.name()))
}

/// Waits until the child has replied or ended; returns true if it has ended without a reply.
fn has_ended_silent(control: &Socket, child: BorrowedFd<'_>, deadline: Deadline) -> Result<bool> {
    let mut list = [PollFd::new(control, PollFlags::IN), PollFd::from_borrowed(child, PollFlags::IN)];
    poll(&mut list, deadline)?;
    let [reply, end] = list;
    Ok(reply.revents().is_empty() && !end.revents().is_empty())
}

fn timed_out(who: Who, what: &str, patience: Patience) -> Error {
    let within = patience.within();
    Error::new(
        ErrorKind::StartFailed,
        format!(
            "{} {what} within {within:?} and was killed: freeze_support(TASKS) must be the first line of its main, \
             or the start timeout is too short (set_start_timeout, ProcessBuilder::start_timeout)",
            who.name(),
        ),
    )
}

pub(super) fn refused(who: Who, reason: &str) -> Error {
    Error::new(ErrorKind::StartFailed, format!("{} refused: {reason}", who.name()))
}
