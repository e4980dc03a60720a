//! The start of a child as a copy of this process.

use std::io::Write;

use ossature_sys::fd::{OwnedFd, read, write};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{self, Child, ForkError};

use super::own_child::OwnChild;
use super::pending::PendingChild;
use super::{Patience, bootstrap, own_pidfd, private, shortage};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::state::ChildConfig;
use crate::multiprocessing::state::ends::LettingGo;
use crate::multiprocessing::state::surroundings::Surroundings;
use crate::multiprocessing::state::unapplied::{self, Unapplied};
use crate::multiprocessing::state::{ProcessState, Started};
use crate::thread;

/// Starts a copy of this process that runs `body`, which may borrow. The copy has its own copy of everything, except
/// for the ends that the child closes.
pub(crate) fn fork(
    mut config: ChildConfig,
    patience: Patience,
    letting_go: Option<LettingGo>,
    body: impl FnOnce() -> u8,
) -> Result<Started> {
    // Before the flush, which waits for other threads that print. With one thread there is no other thread.
    process::may_fork()?;
    let _ = std::io::stdout().flush(); // so that the copy does not print the buffered text again
    let (reader, writer) =
        private::pipe().map_err(shortage::of("cannot fork: cannot create the pipe for the child's report"))?;
    let parent = config.child_of();
    // Opened here, for in a new pid namespace the child could not.
    if config.bound {
        config.sentinel = Some(own_pidfd()?);
    }
    thread::install_anew(); // here, where it costs no copy of a page
    let surroundings = std::mem::take(&mut config.surroundings);
    // Seen here, because the child would pay for the first use of the code.
    let applies = !surroundings.are_in_effect();
    let (mut surroundings_report, tell) = match surroundings.are_usual() {
        true => (None, None),
        false => private::pipe()
            .map(|(report, tell)| (Some(report), Some(tell)))
            .map_err(shortage::of("cannot fork: cannot create the pipe for the report of the child's surroundings"))?,
    };
    let (mut reader, state) = (Some(reader), ProcessState::prepare(config));
    let child = process::fork(|| {
        drop((reader.take(), surroundings_report.take()));
        if applies {
            if let Err(unapplied) = surroundings.apply() {
                let _ = tell.map(|tell| write(&tell, &unapplied.to_bytes())); // a parent that is gone wants no answer
                return UNAPPLIED;
            }
        }
        drop(tell);
        bootstrap::run_forked(state, parent, letting_go, writer, body)
    });
    let child = child.map_err(|error| match error {
        ForkError::Os(errno) => shortage::error("cannot fork", errno),
        other => other.into(),
    })?;
    let child = match surroundings_report {
        Some(report) => await_surroundings(&report, child, &surroundings, patience)?,
        None => child,
    };
    Ok(Started { handle: OwnChild::handle(child), report: reader })
}

/// The exit code of a child that could not apply its surroundings.
const UNAPPLIED: u8 = 1;

/// Waits until the child has applied its surroundings. If the child cannot, reaps the child.
///
/// # Errors
/// `Os` for an option that the child could not take, as with the other start methods; `StartFailed` when the time ran
/// out.
fn await_surroundings(
    report: &OwnedFd,
    child: Child,
    surroundings: &Surroundings,
    patience: Patience,
) -> Result<Child> {
    let child = PendingChild::new(child, patience);
    let mut room = [0; unapplied::LEN];
    let error = match poll(&mut [PollFd::new(report, PollFlags::IN)], patience.deadline) {
        Ok(0) => Error::new(
            ErrorKind::StartFailed,
            "the new process did not enter its surroundings in time, perhaps a directory whose file system does not answer: \
             set_start_timeout or ProcessBuilder::start_timeout gives it longer",
        ),
        Ok(_) => match read(report, &mut room) {
            Ok(0) => return Ok(child.into_started()),
            Ok(_) => {
                child.end(); // the report is the child's last act
                return Err(surroundings.explain(Unapplied::from_bytes(room)));
            }
            Err(errno) => Error::os(errno, "cannot receive from the new process"),
        },
        Err(errno) => Error::os(errno, "cannot receive from the new process"),
    };
    Err(error.with_exit(child.killed()))
}
