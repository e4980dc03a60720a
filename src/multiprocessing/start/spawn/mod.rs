//! The child as this program anew, told what to do.
//!
//! ```text
//! parent                                      child
//!   exec of the open image, control = stdin -->
//!   order: who it is, which task, arguments -->  freeze_support
//!                                           <--  begun, or refused and why
//!                                           <--  at its end: the report of a panic
//! ```
//!
//! One deadline limits all stages. A child that ends, refuses or stays silent is killed and reaped, and the start is an
//! error. A program that has rights by its file asks for a [proof] first.

mod child;
mod early;
mod launch;
mod letter;
mod loader;
mod order;
mod proof;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AsFd, BorrowedFd, OwnedFd};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{Child, ExitStatus, is_privileged_by_exec};
use ossature_sys::socket::{Kind, Socket};

use super::rights::Sets;
use super::{Patience, STUCK, Started, own_pidfd, private, shortage};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::process::passport::Passport;
use crate::multiprocessing::process::surroundings::Surroundings;
use crate::multiprocessing::tasks::{Entrance, Registered};
use crate::multiprocessing::transfer::{self, Handle, Packed};

pub(super) use child::obey;
pub(crate) use child::take_over;
pub(super) use early::ended_early;
pub(super) use letter::{Answer, Letter};
pub(super) use order::Order;

/// Which process begins, for the errors.
#[derive(Clone, Copy)]
pub(super) enum Who {
    Child,
    Server,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Child => "the new process",
            Self::Server => "the fork server",
        }
    }
}

/// Starts this program anew to run a task.
///
/// # Errors
/// `StartFailed` when the child ended, refused the task or was silent until the deadline; `Os` when it could not be
/// made. Nothing is left of it then.
pub(crate) fn spawn(
    mut passport: Passport,
    task: &Registered,
    arguments: &Packed,
    patience: Patience,
) -> Result<Started> {
    let (bound, surroundings) = (passport.bound, std::mem::take(&mut passport.surroundings));
    let mut order = Order::new(Some(passport), (task.name, task.form), Sets::now()?)?;
    if bound {
        order.parent = Some(Handle(own_pidfd()?));
    }
    let (child, control) = begin(&task.entrance, &surroundings, order, arguments, patience)?;
    Ok(Started { life: child.into(), report: Some(control.into()) })
}

/// Starts this program anew and gives it its order; answers with the child that has begun, and the way to it.
pub(super) fn begin(
    entrance: &Entrance,
    surroundings: &Surroundings,
    mut order: Order,
    arguments: &Packed,
    patience: Patience,
) -> Result<(Child, Socket)> {
    let (control, theirs) =
        private::pair(Kind::Stream).map_err(shortage::of("cannot spawn: no socket to tell the child its task"))?;
    let who = if order.passport.is_some() { Who::Child } else { Who::Server };
    let newborn = Newborn(Some(launch::launch(entrance, surroundings, &theirs)?), patience);
    drop(theirs);
    if let Entrance::Test(_) = entrance {
        order.stdout = own_stdout();
    }
    let capabilities = order.capabilities;
    let order = transfer::pack(&order)?;
    let letter = Letter::of([&order, arguments]);
    let told = line(&control, capabilities, &newborn, who, patience).and_then(|line| match line {
        Line::Control => Ok((None, instruct(&control, &letter, &newborn, who, patience)?)),
        Line::Proven(line) => {
            let answer = instruct(&line, &letter, &newborn, who, patience)?;
            Ok((Some(line), answer))
        }
        Line::Refused(answer) => Ok((None, answer)),
    });
    match told {
        Ok((line, Answer::Begun)) => Ok((newborn.grown(), line.unwrap_or(control))),
        Ok((_, Answer::Refused(reason))) => Err(refused(who, &reason).with_exit(newborn.end())),
        // Only a fork server's child applies its surroundings itself.
        Ok((_, Answer::Unsettled(unsettled))) => Err(unsettled.explain(surroundings)),
        Ok((_, Answer::Nothing | Answer::Ready | Answer::Prove(_))) => Err(ended_early(who, newborn.end())),
        Err(error) => Err(error.with_exit(newborn.killed())),
    }
}

/// The socket over which a child takes its task.
enum Line {
    /// The socket that is the child's standard input.
    Control,
    /// A socket that this process took out of the child.
    Proven(Socket),
    /// No socket, and the reason.
    Refused(Answer),
}

/// Asks the child over which socket it takes its task. Only the children of a program with rights by its file are
/// asked.
fn line(control: &Socket, capabilities: Sets, newborn: &Newborn, who: Who, patience: Patience) -> Result<Line> {
    if !is_privileged_by_exec() {
        return Ok(Line::Control);
    }
    match proof::ask(control, capabilities) {
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
        Err(errno) => return Err(untold(who, errno)),
    }
    match hear(control, newborn, who, patience)? {
        Answer::Ready => Ok(Line::Control),
        Answer::Prove(number) => Socket::of_process(newborn, number).map(Line::Proven).map_err(unproven),
        answer => Ok(Line::Refused(answer)),
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

/// Tells a child its task, and waits for its answer.
pub(super) fn instruct(
    control: &Socket,
    letter: &Letter<'_>,
    life: &impl AsFd,
    who: Who,
    patience: Patience,
) -> Result<Answer> {
    match letter.send(control, patience.deadline) {
        // It is gone, or refuses before it has read everything: its answer says which.
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
        Err(Errno::TIMEDOUT) => return Err(silent(who, "did not take its task and arguments", patience)),
        Err(errno) => return Err(untold(who, errno)),
    }
    hear(control, life, who, patience)
}

/// Waits for the next answer of a child.
fn hear(control: &Socket, life: &impl AsFd, who: Who, patience: Patience) -> Result<Answer> {
    let deadline = patience.deadline;
    // Should it have ended, whatever it said is there; but somebody else may still have its socket, so that no end of the
    // stream is.
    let (end, otherwise) = match has_ended_silent(control, life.as_fd(), deadline)? {
        true => (Deadline::NOW, Some(Answer::Nothing)),
        false => (deadline, None),
    };
    let answer = Answer::receive(control, end)
        .map_err(|errno| Error::os(errno, format!("cannot receive from {}", who.name())))?;
    answer.or(otherwise).ok_or_else(|| silent(who, "did not say that it began its task", patience))
}

fn untold(who: Who, errno: Errno) -> Error {
    Error::os(errno, format!("cannot tell {} its task", who.name()))
}

/// Waits until the child has said something or ended; true for the second without the first.
fn has_ended_silent(control: &Socket, life: BorrowedFd<'_>, deadline: Deadline) -> Result<bool> {
    let mut list = [PollFd::new(control, PollFlags::IN), PollFd::from_borrowed(life, PollFlags::IN)];
    poll(&mut list, deadline)?;
    let [answer, end] = list;
    Ok(answer.revents().is_empty() && !end.revents().is_empty())
}

fn silent(who: Who, what: &str, patience: Patience) -> Error {
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

/// A child that has not begun: unless it grows up, it is killed and waited for.
struct Newborn(Option<Child>, Patience);

impl Newborn {
    fn grown(mut self) -> Child {
        match self.0.take() {
            Some(child) => child,
            None => unreachable!("taken once, by value"),
        }
    }

    /// How a child ended that sent its last message, or closed its socket.
    fn end(mut self) -> Option<ExitStatus> {
        let until = self.1.last();
        let end = self.0.as_mut().and_then(|child| child.wait_timeout(until).ok().flatten());
        end.or_else(|| self.kill())
    }

    /// Kills a child that did not answer; returns how it ended.
    fn killed(mut self) -> Option<ExitStatus> {
        self.kill()
    }

    fn kill(&mut self) -> Option<ExitStatus> {
        let mut child = self.0.take()?;
        let _ = child.kill(); // never fails for a child of this user; another's ends when its line does
        let end = child.wait_timeout(self.1.last()).ok().flatten();
        if end.is_none() {
            STUCK.add(child);
        }
        end
    }
}

impl AsFd for Newborn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_ref().map_or_else(|| unreachable!("taken by value"), Child::as_fd)
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        self.kill();
    }
}
