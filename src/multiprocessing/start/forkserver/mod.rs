//! The child as a copy of a small process of this program, which was spawned for that.
//!
//! ```text
//! client                          server                        child
//!   spawn, once                -->
//!   fork, with a socket       -->  fork, unless there is a spare  -->
//!                              <--  its number, pidfd and line
//!   order, arguments                                         -->
//!                                                            <--  begun, or refused and why
//!                              <--  its exit status
//! ```
//!
//! The server has one thread, as each of its forks proves anew, and as little memory as the program has at
//! `freeze_support`, so that its forks cost the same however large the client is. All clients share one end of an
//! unnamed socket, and have it by inheritance: who has it may ask. When the last of them is gone, however that came,
//! the server sees the end and ends.

mod link;
mod message;
mod nursery;
mod server;
mod ward;

use std::sync::{Mutex, MutexGuard, PoisonError};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AsFd, BorrowedFd};
use ossature_sys::process::{ExitStatus, Signal};
use ossature_sys::socket::{Kind, Socket};

use self::message::{Birth, Request, Wanted, Word, hear};
use super::rights::Rights;
use super::spawn::{self, Answer, Letter, Order, Who};
use super::{Life, Patience, Started, own_pidfd, private, shortage};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::process::passport::Passport;
use crate::multiprocessing::tasks::{Entrance, Form, Registered, Target, registered};
use crate::multiprocessing::transfer::{Handle, Packed, pack};

pub(super) use link::{let_go_in_child, reap, use_link};
pub(in crate::multiprocessing) use server::serve;
pub(crate) use ward::Ward;

/// How the next server shall be.
struct Wishes {
    spares: u32,
    preload: Vec<&'static str>,
}

static WISHES: Mutex<Wishes> = Mutex::new(Wishes { spares: 1, preload: Vec::new() });

fn wishes() -> MutexGuard<'static, Wishes> {
    WISHES.lock().unwrap_or_else(PoisonError::into_inner) // every change is one assignment
}

/// Sets how many children the fork server keeps ready, which spares those that start one the wait for a fork; 1 if not
/// set.
///
/// For the server that is started next: one that runs goes on as it is.
///
/// # Examples
/// See the example of [`set_forkserver_preload`].
pub fn set_forkserver_spares(spares: u32) {
    wishes().spares = spares;
}

/// Has the fork server run a task without arguments before it serves, so that its children find done what that does:
/// tables computed, files read. It must leave no thread behind, because the server could not fork beside it.
///
/// For the server that is started next; more calls add more tasks. Should one panic, the server serves all the same.
///
/// Differs from Python, where these are names of modules to be imported.
///
/// # Errors
/// [`UnknownTask`](ErrorKind::UnknownTask) as for
/// [`ProcessBuilder::start`](crate::multiprocessing::process::ProcessBuilder::start).
///
/// # Examples
/// ```standalone_crate
/// use std::sync::OnceLock;
/// use std::time::Duration;
/// use ossature::multiprocessing::{
///     Context, Process, Tasks, freeze_support, set_forkserver_preload, set_forkserver_spares, stop_forkserver, tasks,
/// };
///
/// static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
///
/// fn prepare() {
///     TABLE.get_or_init(|| (0..100).collect());
/// }
///
/// fn look_up(place: usize) -> u8 {
///     TABLE.get().map_or(255, |table| table[place]) // the child has the server's table
/// }
///
/// static TASKS: Tasks = tasks![prepare, look_up];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     set_forkserver_preload(prepare)?;
///     set_forkserver_spares(2);
///     let process = Process::builder().context(Context::Forkserver).start(look_up, (7,))?;
///     assert_eq!(process.join()?.code(), Some(7));
///     assert!(stop_forkserver(Duration::from_secs(60))?);
///     Ok(())
/// }
/// ```
pub fn set_forkserver_preload<F: Target<()>>(task: F) -> Result<()> {
    let task = registered(task, Form::Code)?;
    wishes().preload.push(task.name);
    Ok(())
}

/// Lets go of the fork server, and waits until it has ended if this process has spawned it; false when time ran out.
///
/// It ends when its last user lets go, which are this process and each that it started or that was forked here, and
/// when its children have ended. One that did not end in time is reaped by the next start or
/// [`active_children`](crate::multiprocessing::process::active_children) after its end. The next start by this method
/// makes a new one.
///
/// This call also waits for a server that this process abandoned because its rights had changed.
///
/// # Examples
/// See the example of [`set_forkserver_preload`].
pub fn stop_forkserver(timeout: impl Into<Deadline>) -> Result<bool> {
    link::stop(timeout.into())
}

/// Has the fork server start a task.
///
/// # Errors
/// As [`spawn`](spawn::spawn); `MultiThreaded` when the server has more than one thread.
pub(crate) fn forkserver(
    passport: Passport,
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
    let changes_rights = passport.surroundings.change_rights();
    let rights = Rights::now()?;
    let mut order = Order::new(Some(passport), (task.name, task.form), rights.capabilities)?;
    order.directory = std::env::current_dir().ok();
    order.parent = Some(Handle(own_pidfd()?));
    let (mut wanted, mut silences) = (Wanted::Any, 0);
    loop {
        let (server, way) = link::way(&task.entrance, &rights, patience)?;
        // The server obeys only its own user.
        order.server = (!changes_rights).then(|| (Handle(way), rights.clone()));
        let packed = pack(&order)?;
        let letter = Letter::of([&packed, arguments]);
        let Some((ward, line)) = born(server, wanted, patience)? else {
            // Nothing was begun, for only who knows of a child gives it orders.
            silences += 1;
            if silences > SILENCES {
                return Err(link::lost(patience.deadline));
            }
            continue;
        };
        match spawn::instruct(&line, &letter, &ward, Who::Child, patience) {
            Ok(Answer::Begun) => return Ok(Started { life: Life::Ward(ward.grown()), report: Some(line.into()) }),
            Ok(Answer::Refused(reason)) => return Err(spawn::refused(Who::Child, &reason).with_exit(ward.end())),
            Ok(Answer::Unsettled(unsettled)) => {
                ward.end();
                let surroundings = order.passport.map(|passport| passport.surroundings).unwrap_or_default();
                return Err(unsettled.explain(&surroundings));
            }
            // A spare that was killed takes what it is sent until it has finished dying.
            Ok(Answer::Nothing) if wanted == Wanted::Any => wanted = Wanted::Fresh,
            Ok(Answer::Nothing | Answer::Ready | Answer::Prove(_)) => {
                let end = ward.end();
                // Only the server could have told.
                if matches!(end, None | Some(ExitStatus::Unknown)) {
                    link::part_with(server, patience.deadline)?;
                    if link::is_gone(server, patience.deadline)? {
                        return Err(link::lost(patience.deadline));
                    }
                }
                return Err(spawn::ended_early(Who::Child, end));
            }
            Err(error) => return Err(error.with_exit(ward.killed())),
        }
    }
}

/// How many servers may be gone when they are asked, one of which may have been killed long ago.
const SILENCES: u32 = 2;

/// Asks for a child; `None` when the server died before it told of one.
fn born(server: u32, wanted: Wanted, patience: Patience) -> Result<Option<(Newborn, Socket)>> {
    let deadline = patience.deadline;
    let (status, theirs) = private::pair(Kind::SeqPacket).map_err(shortage::of("no socket to ask the fork server"))?;
    let request = Request { wanted, status: theirs };
    if !link::ask(server, &request, deadline)? {
        return Ok(None);
    }
    drop(request);
    match hear(&status, deadline) {
        Ok(Some(Word::Born(Birth { pid, pidfd, line }))) => {
            Ok(Some((Newborn(Some(Ward::new(pid, pidfd, status)), patience), line)))
        }
        Ok(Some(Word::Refused(errno, reason))) if errno == Errno::BUSY => {
            Err(Error::new(ErrorKind::MultiThreaded, format!("the fork server: {reason}")))
        }
        Ok(Some(Word::Refused(errno, reason))) => Err(shortage::error(&format!("the fork server: {reason}"), errno)),
        Ok(Some(Word::Ended(_) | Word::Silence)) => {
            link::part_with(server, deadline)?;
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

/// A child of the server that has not begun: unless it grows up, it is killed.
struct Newborn(Option<Ward>, Patience);

impl Newborn {
    fn grown(mut self) -> Ward {
        match self.0.take() {
            Some(ward) => ward,
            None => unreachable!("taken once, by value"),
        }
    }

    /// How a child ended that sent its last message, or closed its socket.
    fn end(mut self) -> Option<ExitStatus> {
        let ward = self.0.as_ref()?;
        let end = ward.wait(self.1.last()).ok().flatten();
        match end {
            Some(_) => self.0 = None,
            None => self.kill(),
        }
        end
    }

    /// Kills a child that did not answer; returns how it ended.
    fn killed(mut self) -> Option<ExitStatus> {
        self.kill();
        self.0.take()?.wait(self.1.last()).ok().flatten()
    }

    fn kill(&self) {
        if let Some(ward) = &self.0 {
            let _ = ward.signal(Signal::KILL); // the server reaps it
        }
    }
}

impl AsFd for Newborn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_ref().map_or_else(|| unreachable!("taken by value"), Ward::as_fd)
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        self.kill();
    }
}
