//! The child as a copy of this process.

use std::io::Write;

use ossature_sys::fd::{OwnedFd, read, write};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{self, Child, ExitStatus, ForkError};

use super::{Life, Patience, STUCK, Started, own_pidfd, private, shortage};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::process::bootstrap;
use crate::multiprocessing::process::ends::LettingGo;
use crate::multiprocessing::process::era::Era;
use crate::multiprocessing::process::passport::Passport;
use crate::multiprocessing::process::surroundings::Surroundings;
use crate::multiprocessing::process::unsettled::{self, Unsettled};
use crate::thread;

/// Starts a copy of this process that runs `body`, which may borrow: the copy has its own copy of everything, except
/// for the ends that the child closes.
pub(crate) fn fork(
    mut passport: Passport,
    patience: Patience,
    letting_go: Option<LettingGo>,
    body: impl FnOnce() -> u8,
) -> Result<Started> {
    // Before the flush, which waits for other threads that print: with one thread there is no other.
    process::may_fork()?;
    let _ = std::io::stdout().flush(); // so that the copy does not say again what is still to be said
    let (reader, writer) = private::pipe().map_err(shortage::of("cannot fork: no pipe for the child's report"))?;
    let parent = passport.child_of();
    // Opened here, for in a new pid namespace the child could not.
    if passport.bound {
        passport.sentinel = Some(own_pidfd()?);
    }
    thread::install_anew(); // here, where it costs no copy of a page
    let surroundings = std::mem::take(&mut passport.surroundings);
    let (mut hear, tell) = match surroundings.are_usual() {
        true => (None, None),
        false => private::pipe()
            .map(|(hear, tell)| (Some(hear), Some(tell)))
            .map_err(shortage::of("cannot fork: no pipe to hear of the child's surroundings"))?,
    };
    let (mut reader, era) = (Some(reader), Era::prepare(passport));
    let child = process::fork(|| {
        drop((reader.take(), hear.take()));
        if let Err(unsettled) = surroundings.apply() {
            let _ = tell.map(|tell| write(&tell, &unsettled.to_bytes())); // a parent that is gone wants no answer
            return UNSETTLED;
        }
        drop(tell);
        bootstrap::run_forked(era, parent, letting_go, writer, body)
    });
    let child = child.map_err(|error| match error {
        ForkError::Os(errno) => shortage::error("cannot fork", errno),
        other => other.into(),
    })?;
    let child = match hear {
        Some(hear) => settled(&hear, child, &surroundings, patience)?,
        None => child,
    };
    Ok(Started { life: Life::from(child), report: reader })
}

/// The exit code of a child that could not apply its surroundings.
const UNSETTLED: u8 = 1;

/// Waits until the child has applied its surroundings. If the child cannot, it is reaped, and nothing of it is left.
///
/// # Errors
/// `Os` for an option that the child could not take, as with the other start methods; `StartFailed` when the time ran
/// out.
fn settled(hear: &OwnedFd, mut child: Child, surroundings: &Surroundings, patience: Patience) -> Result<Child> {
    let mut told = [0; unsettled::LEN];
    let heard = match poll(&mut [PollFd::new(hear, PollFlags::IN)], patience.deadline) {
        Ok(0) => Err(Error::new(
            ErrorKind::StartFailed,
            "the new process did not enter its surroundings in time, perhaps a directory whose file system does not answer: \
             set_start_timeout or ProcessBuilder::start_timeout gives it longer",
        )),
        Ok(_) => match read(hear, &mut told) {
            Ok(0) => return Ok(child),
            Ok(_) => {
                // The report is the child's last act, so the child ends by itself.
                if !matches!(child.wait_timeout(patience.last()), Ok(Some(_))) {
                    end_of(child, patience);
                }
                return Err(Unsettled::from_bytes(told).explain(surroundings));
            }
            Err(errno) => Err(Error::os(errno, "cannot receive from the new process")),
        },
        Err(errno) => Err(Error::os(errno, "cannot receive from the new process")),
    };
    let end = end_of(child, patience);
    heard.map_err(|error| error.with_exit(end))
}

/// Kills the child; returns how it ended.
fn end_of(mut child: Child, patience: Patience) -> Option<ExitStatus> {
    let _ = child.kill(); // it may have ended by itself
    let end = child.wait_timeout(patience.last()).ok().flatten(); // short, unless a file system holds it
    if end.is_none() {
        STUCK.add(child);
    }
    end
}
