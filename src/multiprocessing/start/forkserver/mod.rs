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
use ossature_sys::process::{Child, Signal, generation, id, pidfd_open};
use ossature_sys::socket::{Kind, Socket};
use ossature_sys::sync::lock::{Guard, Lock};

use self::message::{Request, Wanted, Word, ask, hear};
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
    /// The server, where this process or the one that it was forked from has spawned it.
    server: Option<Child>,
    /// The process that made this.
    generation: u32,
}

impl Link {
    fn new(socket: Socket, server: Option<Child>) -> Self {
        Self { socket, server, generation: generation() }
    }

    /// Lets go of the server; answers with it if it is this process's child.
    fn part(self) -> Option<Child> {
        self.server.filter(|_| self.generation == generation())
    }
}

/// What this process knows of its server.
struct State {
    link: Option<Link>,
    /// How many links there were.
    made: u32,
}

/// Held while a server is started, so it is waited for by deadline.
static STATE: Lock<State> = Lock::new(State { link: None, made: 0 });

/// Servers that this process has let go of and that have not ended yet.
static LEAVING: Mutex<Vec<Child>> = Mutex::new(Vec::new());

fn state(deadline: Deadline) -> Option<Guard<'static, State>> {
    STATE.lock_timeout(deadline)
}

/// How the next server shall be.
struct Wishes {
    spares: u32,
    preload: Vec<&'static str>,
}

static WISHES: Mutex<Wishes> = Mutex::new(Wishes { spares: 1, preload: Vec::new() });

fn wishes() -> MutexGuard<'static, Wishes> {
    WISHES.lock().unwrap_or_else(PoisonError::into_inner) // every change is one assignment
}

/// Sets how many children the fork server keeps ready, which spares those that start one the wait for a fork; 1 if not set.
///
/// For the server that is started next: one that runs goes on as it is.
pub fn set_forkserver_spares(spares: u32) {
    wishes().spares = spares;
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
    wishes().preload.push(task.name);
    Ok(())
}

/// Lets go of the fork server, and waits until it has ended if this process has spawned it; false when time ran out.
///
/// It ends when its last user lets go, which are this process and each that it started or that was forked here, and when
/// its children have ended. One that did not end in time is reaped by the next start or
/// [`active_children`](crate::multiprocessing::process::active_children) after its end. The next start by this method makes
/// a new one.
pub fn stop_forkserver(timeout: impl Into<Deadline>) -> Result<bool> {
    let deadline = timeout.into();
    let Some(mut state) = state(deadline) else { return Ok(false) };
    let server = state.link.take().and_then(Link::part);
    drop(state);
    let Some(mut server) = server else { return Ok(true) };
    let ended = server.wait_timeout(deadline);
    if !matches!(ended, Ok(Some(_))) {
        leave(server);
    }
    Ok(ended?.is_some())
}

/// Sees to it that a server is reaped that has not ended yet.
fn leave(server: Child) {
    LEAVING.lock().unwrap_or_else(PoisonError::into_inner).push(server);
}

/// Reaps the servers that were let go of and have ended.
pub(in crate::multiprocessing) fn reap() {
    let mut leaving = LEAVING.lock().unwrap_or_else(PoisonError::into_inner);
    // Of what a forked child inherited it only sees the end; dropped there, it is no less its parent's.
    leaving.retain_mut(|server| matches!(server.try_wait(), Ok(None)));
}

/// The way to the server, for a child to use as well.
fn shared_link(deadline: Deadline) -> Result<Option<OwnedFd>> {
    let state = state(deadline).ok_or_else(busy)?;
    let link = state.link.as_ref().map(|link| duplicate(&link.socket)).transpose();
    link.map_err(|errno| Error::os(errno, "cannot give the new process the way to the fork server"))
}

fn busy() -> Error {
    Error::new(ErrorKind::NotBegun, "another thread was still starting the fork server when the time ran out")
}

/// Uses the parent's server, in its child.
pub(super) fn use_link(link: OwnedFd) -> ossature_sys::errno::Result<()> {
    let socket = Socket::try_from(link)?;
    STATE.lock().link = Some(Link::new(socket, None));
    Ok(())
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
    let mut order = Order::new(Some(passport), task.name)?;
    order.directory = std::env::current_dir().ok();
    let parent = pidfd_open(id()).map_err(|errno| Error::os(errno, "cannot tell the new process its task"))?;
    order.parent = Some(Handle(parent));
    let mut wanted = Wanted::Any;
    loop {
        // A server that was killed is noticed when it is asked. Nothing was begun then, for only who has a child gives orders.
        let (ward, control) = match born(wanted, task, deadline)? {
            Some(born) => born,
            None => born(wanted, task, deadline)?.ok_or_else(|| {
                Error::new(ErrorKind::NotBegun, "the fork server went away twice before it made the new process")
            })?,
        };
        order.server = shared_link(deadline)?.map(Handle);
        match spawn::instruct(&control, &order, arguments, &ward, deadline)? {
            Answer::Begun => return Ok(Started { life: Life::Ward(ward.grown()), report: Some(control.into()) }),
            Answer::Refused(reason) => return Err(spawn::refused(&reason)),
            // A spare that was killed takes what it is sent until it has finished dying.
            Answer::Nothing if wanted == Wanted::Any => wanted = Wanted::Fresh,
            Answer::Nothing => return Err(ward.ended_early()),
        }
    }
}

/// Asks for a child; `None` when the server died before it told of one.
fn born(wanted: Wanted, task: &Registered, deadline: Deadline) -> Result<Option<(Newborn, Socket)>> {
    let pair = |kind| Socket::pair(kind).map_err(|errno| Error::os(errno, "no socket for the fork server"));
    let ((control, theirs), (status, their_status)) = (pair(Kind::Stream)?, pair(Kind::SeqPacket)?);
    let request = Request { wanted, control: theirs.into(), status: their_status };
    let asked = state(deadline).ok_or_else(busy)?.ask(&task.entrance, &request, deadline)?;
    drop(request);
    match hear(&status, deadline) {
        Ok(Some(Word::Born(pid, pidfd))) => Ok(Some((Newborn(Some(Ward::new(pid, pidfd, status))), control))),
        Ok(Some(Word::Refused(errno, reason))) if errno == Errno::BUSY => {
            Err(Error::new(ErrorKind::MultiThreaded, format!("the fork server: {reason}")))
        }
        Ok(Some(Word::Refused(errno, _))) => Err(Error::os(errno, "the fork server cannot fork")),
        Ok(Some(Word::Ended(_) | Word::Silence)) => {
            state(deadline).ok_or_else(busy)?.part_with(asked);
            Ok(None)
        }
        Ok(None) => Err(spawn::silent("was not made by the fork server")),
        Err(errno) => Err(Error::os(errno, "cannot hear the fork server")),
    }
}

impl State {
    /// Asks the server for a child, a new one where there is none or it does not listen any more. Answers with the number of
    /// the link.
    fn ask(&mut self, entrance: &Entrance, request: &Request, deadline: Deadline) -> Result<u32> {
        if let Some(link) = &self.link {
            match ask(&link.socket, request, deadline) {
                Ok(()) => return Ok(self.made),
                Err(Errno::PIPE | Errno::CONNRESET) => self.bury(),
                Err(errno) => return Err(Error::os(errno, "cannot ask the fork server")),
            }
        }
        let made = Self::start_server(entrance, deadline)?;
        self.made = self.made.wrapping_add(1);
        let link = self.link.insert(made);
        match ask(&link.socket, request, deadline) {
            // One that was killed already is noticed by its silence.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(self.made),
            Err(errno) => Err(Error::os(errno, "cannot ask the fork server")),
        }
    }

    /// Parts with a server that did not answer, unless it lives, or was replaced meanwhile.
    fn part_with(&mut self, made: u32) {
        let Some(link) = self.link.as_mut().filter(|_| self.made == made) else { return };
        // What it lost it lost at its end, which it has come to by now or soon.
        let end = link.server.as_mut().map(|server| server.wait_timeout(Duration::from_millis(100)));
        if !matches!(end, Some(Ok(None))) {
            self.link = None; // reaped, or never this process's to reap
        }
    }

    /// Spawns a server.
    fn start_server(entrance: &Entrance, deadline: Deadline) -> Result<Link> {
        let made = Socket::pair(Kind::SeqPacket).and_then(|(socket, theirs)| {
            // Before anything is sent, because what was sent without credentials stays so.
            theirs.set_pass_credentials(true)?;
            Ok((socket, theirs))
        });
        let (socket, theirs) = made.map_err(|errno| Error::os(errno, "no socket for the fork server"))?;
        let (spares, preload) = {
            let wishes = wishes();
            (wishes.spares, wishes.preload.iter().map(|&name| name.to_owned()).collect::<Vec<String>>())
        };
        let arguments = pack(&(Handle(OwnedFd::from(theirs)), spares, preload))?;
        let order = Order::new(None, internal(serve))?;
        let server = spawn::begin(entrance, order, &arguments, deadline)?.0;
        Ok(Link::new(socket, Some(server)))
    }

    /// Waits for a server that does not listen any more.
    fn bury(&mut self) {
        let Some(mut server) = self.link.take().and_then(Link::part) else { return };
        // It ends by itself, having lost its sockets; unless something holds it at that, which must not hold this process.
        if !matches!(server.wait_timeout(Duration::from_secs(1)), Ok(Some(_))) {
            let _ = server.kill();
            if !matches!(server.wait_timeout(Duration::from_secs(1)), Ok(Some(_))) {
                leave(server);
            }
        }
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
