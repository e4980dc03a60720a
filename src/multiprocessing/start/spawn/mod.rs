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
//! Every stage is under one deadline. A child that ends, refuses or stays silent is killed, waited for and told of as an error.

mod child;
mod launch;
mod letter;
mod order;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AsFd, BorrowedFd, OwnedFd};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{Child, Exit};
use ossature_sys::socket::{Kind, Socket};

use super::{Started, own_pidfd};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context;
use crate::multiprocessing::process::passport::Passport;
use crate::multiprocessing::process::surroundings::Surroundings;
use crate::multiprocessing::tasks::{Entrance, Registered};
use crate::multiprocessing::transfer::{self, Handle, Packed};

pub(super) use child::obey;
pub(crate) use child::take_over;
pub(super) use letter::{Answer, Letter};
pub(super) use order::Order;

/// Starts this program anew to run a task.
///
/// # Errors
/// `NotBegun` when the child ended, refused the task or was silent until the deadline; `Os` when it could not be made. Nothing
/// is left of it then.
pub(crate) fn spawn(mut passport: Passport, task: &Registered, arguments: &Packed) -> Result<Started> {
    let (bound, surroundings) = (passport.bound, std::mem::take(&mut passport.surroundings));
    let mut order = Order::new(Some(passport), task.name)?;
    if bound {
        order.parent = Some(Handle(own_pidfd()?));
    }
    let (child, control) = begin(&task.entrance, &surroundings, order, arguments, context::start_timeout().into())?;
    Ok(Started { life: child.into(), report: Some(control.into()) })
}

/// Starts this program anew and gives it its order; answers with the child that has begun, and the way to it.
pub(super) fn begin(
    entrance: &Entrance,
    surroundings: &Surroundings,
    mut order: Order,
    arguments: &Packed,
    deadline: Deadline,
) -> Result<(Child, Socket)> {
    let (control, theirs) = Socket::pair(Kind::Stream)
        .map_err(|errno| Error::os(errno, "cannot spawn: no socket to tell the child its task"))?;
    let newborn = Newborn(Some(launch::launch(entrance, surroundings, &theirs)?));
    drop(theirs);
    if *entrance != Entrance::Main {
        order.stdout = own_stdout();
    }
    let order = transfer::pack(&order)?;
    let letter = Letter::of([&order, arguments]);
    match instruct(&control, &letter, &newborn, deadline)? {
        Answer::Begun => Ok((newborn.grown(), control)),
        Answer::Refused(reason) => Err(refused(&reason)),
        Answer::Nothing => Err(newborn.ended_early()),
    }
}

/// This process's standard output, for a child that libtest must not write to.
fn own_stdout() -> Option<Handle<OwnedFd>> {
    // A process without one has children without one.
    std::io::stdout().as_fd().try_clone_to_owned().ok().map(Handle)
}

/// Tells a child its task, and waits for its answer.
pub(super) fn instruct(control: &Socket, letter: &Letter<'_>, life: &impl AsFd, deadline: Deadline) -> Result<Answer> {
    match letter.send(control, deadline) {
        // It is gone, or refuses before it has read everything: its answer says which.
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
        Err(Errno::TIMEDOUT) => return Err(silent("did not take its task and arguments")),
        Err(errno) => return Err(untold(errno)),
    }
    // Should it have ended, whatever it said is there; but somebody else may still have its socket, so that no end of the
    // stream is.
    let (end, otherwise) = match has_ended_silent(control, life.as_fd(), deadline)? {
        true => (Deadline::NOW, Some(Answer::Nothing)),
        false => (deadline, None),
    };
    let answer = Answer::receive(control, end).map_err(|errno| Error::os(errno, "cannot hear the new process"))?;
    answer.or(otherwise).ok_or_else(|| silent("did not say that it began its task"))
}

fn untold(errno: Errno) -> Error {
    Error::os(errno, "cannot tell the new process its task")
}

/// Waits until the child has said something or ended; true for the second without the first.
fn has_ended_silent(control: &Socket, life: BorrowedFd<'_>, deadline: Deadline) -> Result<bool> {
    let mut list = [PollFd::new(control, PollFlags::IN), PollFd::from_borrowed(life, PollFlags::IN)];
    poll(&mut list, deadline)?;
    let [answer, end] = list;
    Ok(answer.revents().is_empty() && !end.revents().is_empty())
}

pub(super) fn silent(what: &str) -> Error {
    let within = context::start_timeout().unwrap_or_default();
    Error::new(
        ErrorKind::NotBegun,
        format!(
            "the new process {what} within {within:?} and was killed: freeze_support(TASKS) must be the first line of its main, \
             or set_start_timeout is too short"
        ),
    )
}

pub(super) fn refused(reason: &str) -> Error {
    Error::new(ErrorKind::NotBegun, format!("the new process refused: {reason}"))
}

/// The child ended without a word, and so.
pub(super) fn ended_early(end: Option<Exit>) -> Error {
    let how = match end {
        Some(exit @ Exit::Code(_)) => format!(
            "{exit}, without a word: it never came to freeze_support(TASKS), which must be the first line of main (of the test, \
             in a test), or it is another program"
        ),
        Some(exit) => exit.to_string(),
        None => Exit::Unknown.to_string(),
    };
    Error::new(ErrorKind::NotBegun, format!("the new process ended before it began its task: {how}"))
}

/// A child that has not begun: unless it grows up, it is killed and waited for.
struct Newborn(Option<Child>);

impl Newborn {
    fn grown(mut self) -> Child {
        match self.0.take() {
            Some(child) => child,
            None => unreachable!("taken once, by value"),
        }
    }

    /// Why it ended without a word.
    fn ended_early(mut self) -> Error {
        ended_early(self.0.as_mut().and_then(|child| child.wait().ok()))
    }
}

impl AsFd for Newborn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_ref().map_or_else(|| unreachable!("taken by value"), Child::as_fd)
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // The wait is short, and none of the two can fail for a child of this process.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
