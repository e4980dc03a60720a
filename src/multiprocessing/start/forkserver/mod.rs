//! The start of a child as a copy of a small process of this program, the fork server, which was spawned for that.
//!
//! ```text
//! client                          server                        child
//!   spawn, once                -->
//!   fork, with a socket       -->  fork, unless there is a spare  -->
//!                              <--  its number, pidfd and line
//!   request, arguments                                       -->
//!                                                            <--  begun, or refused and why
//!                              <--  its exit status
//! ```
//!
//! The server has one thread, as each of its forks proves anew. It has as little memory as the program has at
//! `freeze_support`, so its forks cost the same however large the client is. All clients share one end of an unnamed
//! socket, and inherit it: a process that has it may send requests. When the last client has ended, the
//! server sees the end of the socket, and ends.

mod children;
mod handle;
mod message;
mod server;
mod server_child;
mod settings;

use std::sync::Arc;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::process::ExitStatus;
use ossature_sys::socket::{Kind, Socket};

use self::message::{ChildKind, Forked, Reply, Request, recv_reply};
use super::pending::PendingChild;
use super::rights::Rights;
use super::spawn;
use super::wire::{self, StartMessage, StartReply, StartRequest, Who};
use super::{Patience, own_pidfd, private, shortage};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::state::{ChildConfig, Started};
use crate::multiprocessing::tasks::{Entrance, Registered, internal};
use crate::multiprocessing::transfer::{Handle, Packed, pack};

pub(super) use handle::{let_go_in_child, use_parents_server};
pub(in crate::multiprocessing) use server::serve;
use server_child::ServerChild;
pub use settings::{set_forkserver_preload, set_forkserver_spares};

/// Disconnects from the fork server. If this process spawned the server, waits until it has ended; returns false when
/// the time ran out.
///
/// The server ends when its last user has disconnected and its children have ended. Its users are this process, and
/// each process that it started or that was forked from this process. If the server did not end in time, the next
/// start or [`active_children`](crate::multiprocessing::process::active_children) reaps it after its end. The next
/// start by this method makes a new server.
///
/// This call also waits for a server that this process abandoned because its rights had changed.
///
/// # Examples
/// See the example of [`set_forkserver_preload`].
pub fn stop_forkserver(timeout: impl Into<Deadline>) -> Result<bool> {
    handle::stop(timeout.into())
}

/// Starts a task through the fork server.
///
/// # Errors
/// As [`spawn`](spawn::spawn); `MultiThreaded` when the server has more than one thread.
pub(crate) fn forkserver(
    config: ChildConfig,
    task: &Registered,
    arguments: &Packed,
    patience: Patience,
) -> Result<Started> {
    match &task.entrance {
        Entrance::Main => {}
        Entrance::Test(_) => {
            return Err(Error::new(
                ErrorKind::MultiThreaded,
                "a fork server cannot be started from a test of libtest, beside whose threads it could not fork: use \
                 Context::Spawn there, or a test binary with harness = false",
            ));
        }
        Entrance::Beside(name) => {
            return Err(Error::new(
                ErrorKind::MultiThreaded,
                format!(
                    "a fork server cannot be started: freeze_support was called in the thread {name:?}, and so it would be in the \
                     server, which could not fork beside its first thread: call it as the first line of main, before that thread"
                ),
            ));
        }
    }
    let changes_rights = config.surroundings.change_rights();
    let rights = Rights::now()?;
    let mut start = StartRequest::new(Some(config), (task.name, task.form), rights.capabilities)?;
    start.directory = std::env::current_dir().ok();
    start.parent = Some(Handle(own_pidfd()?));
    let (mut kind, mut retries) = (ChildKind::Any, 0);
    loop {
        let (server, server_fd) = handle::server_fd(&task.entrance, internal(serve), &rights, patience)?;
        // The server serves only its own user.
        start.server = (!changes_rights).then(|| (Handle(server_fd), rights.clone()));
        let packed = pack(&start)?;
        let message = StartMessage::of([&packed, arguments]);
        let Some((child, line)) = request_child(server, kind, patience)? else {
            // No task was begun: only a process that has the line to a child can send it a request.
            retries += 1;
            if retries > MAX_RETRIES {
                return Err(handle::lost(patience.deadline));
            }
            continue;
        };
        match wire::send_request(&line, &message, &child, Who::Child, patience) {
            Ok(StartReply::Begun) => {
                let handle = Arc::new(child.into_started());
                return Ok(Started { handle, report: Some(line.into()) });
            }
            Ok(StartReply::Refused(reason)) => return Err(wire::refused(Who::Child, &reason).with_exit(child.end())),
            Ok(StartReply::Unapplied(unapplied)) => {
                child.end();
                let surroundings = start.config.map(|config| config.surroundings).unwrap_or_default();
                return Err(surroundings.explain(unapplied));
            }
            // A spare that was killed takes what it is sent until it has finished dying.
            Ok(StartReply::Nothing) if kind == ChildKind::Any => kind = ChildKind::Fresh,
            Ok(StartReply::Nothing | StartReply::Ready | StartReply::Prove(_)) => {
                let end = child.end();
                // Only the server could have reported the status of the child.
                if matches!(end, None | Some(ExitStatus::Unknown)) {
                    handle::disconnect(server, patience.deadline)?;
                    if handle::is_gone(server, patience.deadline)? {
                        return Err(handle::lost(patience.deadline));
                    }
                }
                return Err(spawn::ended_early(Who::Child, end));
            }
            Err(error) => return Err(error.with_exit(child.killed())),
        }
    }
}

/// The number of further attempts if the server has ended. The first server may have been killed long ago.
const MAX_RETRIES: u32 = 2;

/// Requests a child; returns `None` when the server died before it sent a child.
fn request_child(
    server: u32,
    kind: ChildKind,
    patience: Patience,
) -> Result<Option<(PendingChild<ServerChild>, Socket)>> {
    let deadline = patience.deadline;
    let (status, theirs) = private::pair(Kind::SeqPacket)
        .map_err(shortage::of("cannot send a request to the fork server: cannot create a socket"))?;
    let request = Request { kind, status: theirs };
    if !handle::send_request(server, &request, deadline)? {
        return Ok(None);
    }
    drop(request);
    match recv_reply(&status, deadline) {
        Ok(Some(Reply::Forked(Forked { pid, pidfd, line }))) => {
            Ok(Some((PendingChild::new(ServerChild::new(pid, pidfd, status), patience), line)))
        }
        Ok(Some(Reply::Refused(errno, reason))) if errno == Errno::BUSY => {
            Err(Error::new(ErrorKind::MultiThreaded, format!("the fork server: {reason}")))
        }
        Ok(Some(Reply::Refused(errno, reason))) => Err(shortage::error(&format!("the fork server: {reason}"), errno)),
        Ok(Some(Reply::Ended(_) | Reply::Closed)) => {
            handle::disconnect(server, deadline)?;
            Ok(None)
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
