//! The start of a child by running this program anew and sending it a request.
//!
//! ```text
//! parent                                      child
//!   exec of the open image, control = stdin -->
//!   request: configuration, task, arguments -->  freeze_support
//!                                           <--  begun, or refused and why
//!                                           <--  at its end: the report of a panic
//! ```
//!
//! One deadline limits all stages. A child that ends, refuses or does not reply is killed and reaped, and the start
//! fails. A program that has rights by its file requests a [proof] first.

mod early;
mod launch;
mod loader;
pub(super) mod proof;

use ossature_sys::errno::Errno;
use ossature_sys::fd::{AsFd, OwnedFd};
use ossature_sys::process::{Child, is_privileged_by_exec};
use ossature_sys::socket::{Kind, Socket};

use super::own_child::OwnChild;
use super::pending::PendingChild;
use super::rights::Sets;
use super::wire::{StartMessage, StartReply, StartRequest, Who, await_reply, cannot_send, refused, send_request};
use super::{Patience, own_pidfd, private, shortage};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::state::surroundings::Surroundings;
use crate::multiprocessing::state::{ChildConfig, Started};
use crate::multiprocessing::tasks::{Entrance, Registered};
use crate::multiprocessing::transfer::{self, Handle, Packed};

pub(super) use early::ended_early;
pub(super) use launch::is_launched;

/// Starts this program anew to run a task.
///
/// # Errors
/// `StartFailed` when the child ended, refused the task or did not reply before the deadline; `Os` when it could not be
/// made. Nothing is left of it then.
pub(crate) fn spawn(
    mut config: ChildConfig,
    task: &Registered,
    arguments: &Packed,
    patience: Patience,
) -> Result<Started> {
    let (bound, surroundings) = (config.bound, std::mem::take(&mut config.surroundings));
    let mut request = StartRequest::new(Some(config), (task.name, task.form), Sets::now()?)?;
    if bound {
        request.parent = Some(Handle(own_pidfd()?));
    }
    let (child, control) = start_program(&task.entrance, &surroundings, request, arguments, patience)?;
    Ok(Started { handle: OwnChild::handle(child), report: Some(control.into()) })
}

/// Starts this program anew and sends it its request; returns the child, which has begun, and the socket to it.
pub(super) fn start_program(
    entrance: &Entrance,
    surroundings: &Surroundings,
    mut request: StartRequest,
    arguments: &Packed,
    patience: Patience,
) -> Result<(Child, Socket)> {
    let (control, theirs) = private::pair(Kind::Stream)
        .map_err(shortage::of("cannot spawn a process: cannot create the socket for the child's task"))?;
    let who = if request.config.is_some() { Who::Child } else { Who::Server };
    let pending = PendingChild::new(launch::launch(entrance, surroundings, &theirs)?, patience);
    drop(theirs);
    if let Entrance::Test(_) = entrance {
        request.stdout = own_stdout();
    }
    let capabilities = request.capabilities;
    let request = transfer::pack(&request)?;
    let message = StartMessage::of([&request, arguments]);
    let outcome = line(&control, capabilities, &pending, who, patience).and_then(|line| match line {
        Line::Control => Ok((None, send_request(&control, &message, &pending, who, patience)?)),
        Line::Proven(line) => {
            let reply = send_request(&line, &message, &pending, who, patience)?;
            Ok((Some(line), reply))
        }
        Line::Refused(reply) => Ok((None, reply)),
    });
    match outcome {
        Ok((line, StartReply::Begun)) => Ok((pending.into_started(), line.unwrap_or(control))),
        Ok((_, StartReply::Refused(reason))) => Err(refused(who, &reason).with_exit(pending.end())),
        // Only a fork server's child applies its surroundings itself.
        Ok((_, StartReply::Unapplied(unapplied))) => Err(surroundings.explain(unapplied)),
        Ok((_, StartReply::Nothing | StartReply::Ready | StartReply::Prove(_))) => Err(ended_early(who, pending.end())),
        Err(error) => Err(error.with_exit(pending.killed())),
    }
}

/// The socket over which a child receives its request.
enum Line {
    /// The socket that is the child's standard input.
    Control,
    /// A socket that this process took from the child.
    Proven(Socket),
    /// No socket, and the reason.
    Refused(StartReply),
}

/// Determines over which socket the child takes its request. Asks only the children of a program with rights by its
/// file.
fn line(
    control: &Socket,
    capabilities: Sets,
    pending: &PendingChild<Child>,
    who: Who,
    patience: Patience,
) -> Result<Line> {
    if !is_privileged_by_exec() {
        return Ok(Line::Control);
    }
    match proof::ask(control, capabilities) {
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
        Err(errno) => return Err(cannot_send(who, errno)),
    }
    match await_reply(control, pending, who, patience)? {
        StartReply::Ready => Ok(Line::Control),
        StartReply::Prove(number) => Socket::of_process(pending, number).map(Line::Proven).map_err(unproven),
        reply => Ok(Line::Refused(reply)),
    }
}

fn unproven(errno: Errno) -> Error {
    let message = "the new process has rights by the program's file, and this process cannot prove that it has them too \
                   (pidfd_getfd): its real and effective user or group differ, or ptrace_scope or a sandbox forbids it; use \
                   Context::Fork";
    Error::with_errno(ErrorKind::StartFailed, errno, message)
}

/// This process's standard output, for a child that libtest must not write to.
fn own_stdout() -> Option<Handle<OwnedFd>> {
    // A process without one has children without one.
    std::io::stdout().as_fd().try_clone_to_owned().ok().map(Handle)
}
