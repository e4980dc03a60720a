//! The child as a copy of a small process of this program, which was spawned for that.
//!
//! ```text
//! client                          server                        child
//!   spawn, once                -->
//!   fork, with two sockets     -->  fork (or wake a spare)   -->
//!                              <--  its number and pidfd
//!   order, arguments                                         -->
//!                                                            <--  begun, or refused and why
//!                              <--  its exit status
//! ```
//!
//! The server has one thread, as each of its forks proves anew, and as little memory as the program has at `freeze_support`, so that
//! its forks cost the same however large the client is. All clients share one end of an unnamed socket, and have it by
//! inheritance: who has it may ask. When the last of them is gone, however that came, the server sees the end and ends.

mod message;
mod server;
mod ward;

use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AsFd, BorrowedFd, duplicate};
use ossature_sys::process::{Child, Signal, id, pidfd_open};
use ossature_sys::socket::{Kind, Socket};

use self::message::{Word, ask, hear};
use super::spawn::{self, Answer, Order};
use super::{Life, Started};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context;
use crate::multiprocessing::process::passport::Passport;
use crate::multiprocessing::tasks::{Entrance, Registered, Target, internal, registered};
use crate::multiprocessing::transfer::{Handle, Packed, pack};

pub(in crate::multiprocessing) use server::serve;
pub(crate) use ward::Ward;

/// The way to the server.
struct Link {
    socket: Socket,
    /// The server, where this process has spawned it.
    server: Option<Child>,
}

/// What this process knows of its server, and how the next one shall be.
struct State {
    link: Option<Link>,
    /// How many links there were.
    made: u32,
    spares: u32,
    preload: Vec<&'static str>,
}

static STATE: Mutex<State> = Mutex::new(State { link: None, made: 0, spares: 1, preload: Vec::new() });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner) // every change is one assignment
}

/// Sets how many children the fork server keeps ready, which spares those that start one the wait for a fork; 1 if not set.
///
/// For the server that is started next: one that runs goes on as it is.
pub fn set_forkserver_spares(spares: u32) {
    state().spares = spares;
}

/// Has the fork server run a task without arguments before it serves, so that its children find done what that does: tables
/// computed, files read. It must leave no thread behind, because the server could not fork beside it.
///
/// For the server that is started next; more calls add more tasks. Should one panic, the server serves all the same.
///
/// Differs from Python, where these are names of modules to be imported.
///
/// # Errors
/// [`Unregistered`](ErrorKind::Unregistered) as for [`Builder::start`](crate::multiprocessing::process::Builder::start).
pub fn set_forkserver_preload<F: Target<()>>(task: F) -> Result<()> {
    let task = registered(task)?;
    state().preload.push(task.name);
    Ok(())
}

/// Lets go of the fork server, and waits until it has ended if this process has spawned it; false when time ran out.
///
/// It ends when its last user lets go: this process, and each that it started or that was forked here. The next start by this
/// method makes a new one.
pub fn stop_forkserver(timeout: impl Into<Deadline>) -> Result<bool> {
    let Some(Link { socket, server }) = state().link.take() else { return Ok(true) };
    drop(socket);
    match server {
        Some(mut server) => Ok(server.wait_timeout(timeout)?.is_some()),
        None => Ok(true),
    }
}

/// The way to the server, for a child to use as well.
fn shared_link() -> Option<OwnedFd> {
    state().link.as_ref().and_then(|link| duplicate(&link.socket).ok())
}

/// Uses the parent's server, in its child.
pub(super) fn use_link(link: OwnedFd) {
    if let Ok(socket) = Socket::try_from(link) {
        state().link = Some(Link { socket, server: None });
    }
}

/// Has the fork server start a task.
///
/// # Errors
/// As [`spawn`](spawn::spawn); `MultiThreaded` when the server has more than one thread.
pub(crate) fn forkserver(passport: Passport, task: &Registered, arguments: &Packed) -> Result<Started> {
    if let Entrance::Test(_) = task.entrance {
        return Err(Error::new(
            ErrorKind::MultiThreaded,
            "a fork server cannot be started from a test of libtest, beside whose threads it could not fork: use \
             Context::Spawn there, or a test binary with harness = false",
        ));
    }
    let deadline = Deadline::from(context::start_timeout());
    // A server that was killed is noticed when it is asked. Nothing was begun then, for only who has a child gives orders.
    let (ward, control) = match born(task, deadline)? {
        Some(born) => born,
        None => born(task, deadline)?.ok_or_else(|| {
            Error::new(ErrorKind::NotBegun, "the fork server went away twice before it made the new process")
        })?,
    };
    let cannot = |errno| Error::os(errno, "cannot tell the new process its task");
    let mut order = Order::new(Some(passport), task.name)?;
    order.directory = std::env::current_dir().ok();
    order.parent = Some(Handle(pidfd_open(id()).map_err(cannot)?));
    order.server = shared_link().map(Handle);
    match spawn::instruct(&control, &order, arguments, &ward, deadline)? {
        Answer::Begun => Ok(Started { life: Life::Ward(ward.grown()), report: Some(control.into()) }),
        Answer::Refused(reason) => Err(spawn::refused(&reason)),
        Answer::Nothing => Err(ward.ended_early()),
    }
}

/// Asks for a child; `None` when the server died before it told of one.
fn born(task: &Registered, deadline: Deadline) -> Result<Option<(Newborn, Socket)>> {
    let pair = |kind| Socket::pair(kind).map_err(|errno| Error::os(errno, "no socket for the fork server"));
    let ((control, theirs), (status, their_status)) = (pair(Kind::Stream)?, pair(Kind::SeqPacket)?);
    let asked = state().ask(&task.entrance, &theirs, &their_status, deadline)?;
    drop((theirs, their_status));
    match hear(&status, deadline) {
        Ok(Some(Word::Born(pid, pidfd))) => Ok(Some((Newborn(Some(Ward::new(pid, pidfd, status))), control))),
        Ok(Some(Word::Refused(errno, reason))) if errno == Errno::BUSY => {
            Err(Error::new(ErrorKind::MultiThreaded, format!("the fork server: {reason}")))
        }
        Ok(Some(Word::Refused(errno, _))) => Err(Error::os(errno, "the fork server cannot fork")),
        Ok(Some(Word::Ended(_) | Word::Silence)) => {
            state().give_up(asked);
            Ok(None)
        }
        Ok(None) => Err(spawn::silent("was not made by the fork server")),
        Err(errno) => Err(Error::os(errno, "cannot hear the fork server")),
    }
}

impl State {
    /// Asks the server for a child, a new one where there is none or it does not listen any more. Answers with the number of
    /// the link.
    fn ask(&mut self, entrance: &Entrance, control: &Socket, status: &Socket, deadline: Deadline) -> Result<u32> {
        if let Some(link) = &self.link {
            match ask(&link.socket, control, status, deadline) {
                Ok(()) => return Ok(self.made),
                Err(Errno::PIPE | Errno::CONNRESET) => self.link.take().map_or((), bury),
                Err(errno) => return Err(Error::os(errno, "cannot ask the fork server")),
            }
        }
        let made = self.start_server(entrance, deadline)?;
        self.made = self.made.wrapping_add(1);
        let link = self.link.insert(made);
        match ask(&link.socket, control, status, deadline) {
            // One that was killed already is noticed by its silence.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(self.made),
            Err(errno) => Err(Error::os(errno, "cannot ask the fork server")),
        }
    }

    /// Parts with a server that did not answer, unless it lives, or was replaced meanwhile.
    fn give_up(&mut self, made: u32) {
        let Some(link) = self.link.as_mut().filter(|_| self.made == made) else { return };
        // What it lost it lost at its end, which it has come to by now or soon.
        let end = link.server.as_mut().map(|server| server.wait_timeout(Duration::from_millis(100)));
        if !matches!(end, Some(Ok(None))) {
            self.link = None;
        }
    }

    /// Spawns a server.
    fn start_server(&self, entrance: &Entrance, deadline: Deadline) -> Result<Link> {
        let made = Socket::pair(Kind::SeqPacket).and_then(|(socket, theirs)| {
            // Before anything is sent, because what was sent without credentials stays so.
            theirs.set_pass_credentials(true)?;
            Ok((socket, theirs))
        });
        let (socket, theirs) = made.map_err(|errno| Error::os(errno, "no socket for the fork server"))?;
        let preload: Vec<String> = self.preload.iter().map(|&name| name.to_owned()).collect();
        let arguments = pack(&(Handle(OwnedFd::from(theirs)), self.spares, preload))?;
        let order = Order::new(None, internal(serve))?;
        let server = spawn::begin(entrance, order, &arguments, deadline)?.0;
        Ok(Link { socket, server: Some(server) })
    }
}

/// Waits for a server that does not listen any more.
fn bury(link: Link) {
    let Some(mut server) = link.server else { return };
    drop(link.socket);
    // It ends by itself, having lost its sockets; unless something holds it at that, which must not hold this process.
    if !matches!(server.wait_timeout(Duration::from_secs(1)), Ok(Some(_))) {
        let _ = server.kill();
        let _ = server.wait_timeout(Duration::from_secs(1));
    }
}

/// A child of the server that has not begun: unless it grows up, it is killed.
struct Newborn(Option<Ward>);

impl Newborn {
    fn grown(mut self) -> Ward {
        match self.0.take() {
            Some(ward) => ward,
            None => unreachable!("taken once, by value"),
        }
    }

    /// Why it ended without a word.
    fn ended_early(self) -> Error {
        let end = self.0.as_ref().and_then(|ward| ward.wait(Deadline::after(Duration::from_secs(5))).ok().flatten());
        spawn::ended_early(end)
    }
}

impl AsFd for Newborn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_ref().map_or_else(|| unreachable!("taken by value"), Ward::as_fd)
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        if let Some(ward) = &self.0 {
            let _ = ward.signal(Signal::KILL); // the server reaps it
        }
    }
}
