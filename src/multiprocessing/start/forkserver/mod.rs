//! The start of a child as a copy of a small process of this program, the fork server, which was spawned for that.
//!
//! ```text
//! client                          server                        child
//!   spawn, once                -->
//!   order: request, arguments -->  fork, unless there is a spare  -->
//!                                                            <--  begun, or refused and why
//!                             <--   its number and pidfd
//!                             <--   its exit status
//! ```
//!
//! The order has two sockets: one for the messages of the server about the child, and the line between the client and
//! the child. The client sleeps until the child has replied, and then receives what the server has sent meanwhile. Long
//! arguments go over the line, after the child's number. `order` says who answers for the child at each instant.
//!
//! The server has one thread, as each of its forks proves anew. It has as little memory as the program has at
//! `freeze_support`, so its forks cost the same however large the client is. All clients share one end of an unnamed
//! socket, and inherit it: a process that has it may send requests. When the last client has ended, the
//! server sees the end of the socket, and ends.

mod begin;
mod children;
mod handle;
mod message;
mod order;
mod server;
mod server_child;
mod settings;

use std::sync::Arc;

use ossature_sys::deadline::Deadline;
use ossature_sys::process::ExitStatus;

use self::message::{ChildKind, is_short};
use self::order::{NewChild, order_child};
use super::rights::Rights;
use super::spawn;
use super::wire::{self, StartMessage, StartReply, StartRequest, Who};
use super::{Patience, own_pidfd};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::state::{ChildConfig, Started};
use crate::multiprocessing::tasks::{Entrance, Registered, internal};
use crate::multiprocessing::transfer::{Handle, Packed, pack};

pub(super) use handle::{ParentsServer, let_go_in_child};
pub(in crate::multiprocessing) use server::serve;
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
        let Some(NewChild { child, line, begun }) = order_child(server, kind, &message, patience)? else {
            // No task was begun.
            retries += 1;
            if retries > MAX_RETRIES {
                return Err(handle::lost(patience.deadline));
            }
            continue;
        };
        let reply = match is_short(&message) {
            _ if begun => Ok(StartReply::Begun),
            true => wire::await_reply(&line, &child, Who::Child, patience),
            false => wire::send_request(&line, &message, &child, Who::Child, patience),
        };
        match reply {
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
