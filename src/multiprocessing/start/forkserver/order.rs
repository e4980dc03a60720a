//! The order of a child, as the client makes it: at each instant one process answers for the child.
//!
//! A child *begins* when its reply goes into the line. The kernel either lets that reply pass, or fails it with `EPIPE`
//! because the client has shut the line. A child is *named* when the server's message with its pidfd goes into the
//! status socket, with the same two outcomes. So a client that gives up shuts both sockets, and then reads what is in
//! them. Whatever is not there by then never comes.
//!
//! | instant | who answers | the client gives up, or ends | the server ends | the child ends |
//! | --- | --- | --- | --- | --- |
//! | the order is not sent | the client | there is nothing | the send fails, and the client orders from another server | |
//! | the order waits in the shared socket, or the server holds it | the server | the server takes the order, and continues as below | the kernel closes the sockets of the order: the client sees that, and orders from another server | |
//! | forked, not named | the server | the server cannot name the child, and kills it; a client that gives up also kills a child that has begun, by the sender of the reply; any other child cannot begin, and ends | the client waits for the reply, unless it has not sent the request yet, and opens the child by its sender; without a reply it orders from another server, and shuts the line | the client reads the number, and finds the line closed |
//! | named, number not received | the client | a client that gives up reads the number, and kills the child; if the client ends, a child that has begun continues, and any other ends | the number is in the socket still | the same |
//! | number received, not begun | the client | `PendingChild` kills the child; if the client ends, as above | the client has the pidfd | the client sees the end of the pidfd |
//! | begun and known | the client | the start has succeeded | the kernel has the exit status, since Linux 6.15 | the server sends the exit status |
//!
//! A spare is named before it receives its work. A server that ends in between closes the spare's socket, and the spare
//! ends. The client finds the line closed, and orders a fresh child.
//!
//! If no descriptor is left for the pidfd, the name is lost in the client, and the client gives up.
//!
//! Two children are beyond this, both of a server that was killed between the fork and the name. One decodes arguments
//! for longer than its client waits: the child ends when it has decoded them. The other cannot be opened by its sender:
//! it has no process ID in its client's namespace, or the client has no descriptor left. That child continues, and the
//! client reports that the server was lost.

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{Pid, Signal, pidfd_open, pidfd_send_signal};
use ossature_sys::socket::{Kind, Shutdown, Socket};

use super::handle;
use super::message::{ChildKind, Forked, Reply, is_short, recv_reply};
use super::server_child::ServerChild;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::start::pending::PendingChild;
use crate::multiprocessing::start::wire::{StartMessage, StartReply};
use crate::multiprocessing::start::{Patience, private, shortage};

/// A child that the server has named, and the line to it.
pub(super) struct NewChild {
    pub(super) child: PendingChild<ServerChild>,
    pub(super) line: Socket,
    /// Whether the child has replied that it begins.
    pub(super) begun: bool,
}

/// Orders a child; returns `None` when the server died before there was a child that begins.
pub(super) fn order_child(
    server: u32,
    kind: ChildKind,
    message: &StartMessage<'_>,
    patience: Patience,
) -> Result<Option<NewChild>> {
    let deadline = patience.deadline;
    let made = private::pair(Kind::SeqPacket).and_then(|status| Ok((status, private::pair(Kind::Stream)?)));
    let ((status, status_theirs), (line, line_theirs)) =
        made.map_err(shortage::of("cannot send a request to the fork server: cannot create a socket"))?;
    // For a child that the server cannot name.
    line.set_pass_credentials().map_err(shortage::of("cannot send a request to the fork server"))?;
    if !handle::order(server, kind, [&status_theirs, &line_theirs], message, deadline)? {
        return Ok(None);
    }
    drop((status_theirs, line_theirs));
    match await_child(&status, &line, server, is_short(message), patience) {
        Ok(Some((Forked { pid, pidfd }, begun))) => {
            let child = PendingChild::new(ServerChild::new(pid, pidfd, status), patience);
            Ok(Some(NewChild { child, line, begun }))
        }
        other => {
            give_up(status, &line);
            other.map(|_| None)
        }
    }
}

/// Waits until the server has named a child; returns the child, and whether it has begun as far as this process knows.
/// Returns `None` when the server died before there was a child that begins.
fn await_child(
    status: &Socket,
    line: &Socket,
    server: u32,
    is_short: bool,
    patience: Patience,
) -> Result<Option<(Forked, bool)>> {
    let deadline = patience.deadline;
    if is_short {
        // Only the end of the status socket counts. Whatever the server sends about a child that begins can wait until
        // the child has begun.
        let mut list = [PollFd::new(line, PollFlags::IN), PollFd::new(status, PollFlags::empty())];
        poll(&mut list, deadline)?;
    }
    match recv_reply(status, deadline) {
        Ok(Some(Reply::Forked(forked))) => Ok(Some((forked, false))),
        Ok(Some(Reply::Refused(errno, reason))) if errno == Errno::BUSY => {
            Err(Error::new(ErrorKind::MultiThreaded, format!("the fork server: {reason}")))
        }
        Ok(Some(Reply::Refused(errno, reason))) => Err(shortage::error(&format!("the fork server: {reason}"), errno)),
        Ok(Some(Reply::Ended(_) | Reply::Closed)) => {
            // Before the server is replaced, because its child may have begun. The request of a longer message is not
            // sent yet, so no child has begun.
            let sender = is_short.then(|| StartReply::receive_sender(line, deadline)).flatten();
            let child = sender.map(|sender| sender.and_then(|pid| open_sender(line, pid)));
            let disconnected = handle::disconnect(server, deadline);
            match child {
                None => disconnected.map(|()| None),
                Some(Some(child)) => Ok(Some((child, true))),
                Some(None) => Err(handle::lost(deadline)),
            }
        }
        Ok(None) => {
            let within = patience.within();
            let message = format!(
                "the fork server did not make the new process within {within:?}: it is stopped, or busy with a task of \
                 set_forkserver_preload, or the start timeout is too short (set_start_timeout, ProcessBuilder::start_timeout)"
            );
            Err(Error::new(ErrorKind::StartFailed, message))
        }
        Err(errno) => Err(shortage::error("cannot receive from the fork server", errno)),
    }
}

/// Opens the sender of the first reply on the line; `None` if the sender has ended, or has no number here.
fn open_sender(line: &Socket, pid: Pid) -> Option<Forked> {
    let pidfd = pidfd_open(pid).ok()?;
    // While the line is open its owner lives, so the number is still the owner's.
    let lives = poll(&mut [PollFd::new(line, PollFlags::empty())], Deadline::NOW) == Ok(0);
    lives.then_some(Forked { pid, pidfd })
}

/// Ensures that an order whose child is not known leaves no child: the child is killed here or by the server, or cannot
/// begin.
fn give_up(status: Socket, line: &Socket) {
    // From here on a child cannot begin, and the server cannot name one. A shutdown also holds for a copy of the socket
    // in another process. This never fails for connected sockets.
    let _ = line.shutdown(Shutdown::Read);
    let _ = status.shutdown(Shutdown::Read);
    let named = match recv_reply(&status, Deadline::NOW) {
        Ok(Some(Reply::Forked(Forked { pidfd, .. }))) => Some(pidfd),
        _ => None,
    };
    drop(status); // this may give back the descriptor that the name lacked
    let begun = || StartReply::receive_sender(line, Deadline::NOW).flatten().and_then(|pid| open_sender(line, pid));
    if let Some(pidfd) = named.or_else(|| begun().map(|Forked { pidfd, .. }| pidfd)) {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL); // a child that has ended already needs none
    }
    let _ = line.shutdown(Shutdown::Both); // a child that waits for its request ends
}
