//! The handle of the fork server, through which this process starts a server, sends it requests, and disconnects from
//! it.

use std::os::fd::OwnedFd;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AboveStandard, duplicate};
use ossature_sys::process::{Child, ExitStatus, generation};
use ossature_sys::socket::{Kind, Socket};
use ossature_sys::sync::lock::{Guard, Lock};

use super::message::{ChildKind, send_order};
use super::settings::settings;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::start::rights::Rights;
use crate::multiprocessing::start::spawn;
use crate::multiprocessing::start::wire::{StartMessage, StartRequest};
use crate::multiprocessing::start::{Patience, private, shortage};
use crate::multiprocessing::state::leaving::SERVERS;
use crate::multiprocessing::state::surroundings::Surroundings;
use crate::multiprocessing::tasks::{Entrance, Form};
use crate::multiprocessing::transfer::{Handle, pack};

/// The socket of the server, and the server process.
struct ServerHandle {
    socket: Socket,
    /// The server process, if this process or the process that it was forked from has spawned it.
    process: Option<Child>,
    /// The rights of the process that started the server. The server and its children have the same rights.
    rights: Rights,
    /// The generation of the process that made this handle.
    generation: u32,
}

impl ServerHandle {
    fn new(socket: Socket, process: Option<Child>, rights: Rights) -> Self {
        Self { socket, process, rights, generation: generation() }
    }

    /// Spawns a server, which runs the task with the given name.
    fn start(entrance: &Entrance, task: &str, rights: &Rights, patience: Patience) -> Result<Self> {
        let made = private::pair(Kind::SeqPacket).and_then(|(socket, theirs)| {
            // Before anything is sent, because messages sent earlier would have no credentials.
            theirs.set_pass_credentials()?;
            Ok((socket, theirs))
        });
        let (socket, theirs) = made.map_err(shortage::of("cannot start the fork server: cannot create its socket"))?;
        let (spares, preload) = {
            let settings = settings();
            (settings.spares, settings.preload.iter().map(|&name| name.to_owned()).collect::<Vec<String>>())
        };
        let arguments = pack(&(Handle(OwnedFd::from(theirs)), spares, preload, rights.real_user()))?;
        let request = StartRequest::new(None, (task, Form::Code), rights.capabilities)?;
        let (process, _) = spawn::start_program(entrance, &Surroundings::default(), request, &arguments, patience)?;
        Ok(Self::new(socket, Some(process), rights.clone()))
    }

    /// Closes the pidfd of the server. Not in the caller's code, because most children have no server.
    #[cold]
    #[inline(never)]
    fn let_go_in_child(&mut self) {
        drop(self.process.take());
    }

    /// Closes the socket; returns the server if it is a child of this process.
    fn into_own_child(self) -> Option<Child> {
        self.process.filter(|_| self.generation == generation())
    }
}

/// How long a server whose sockets are closed may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// The state of this process's server.
struct ServerState {
    handle: Option<ServerHandle>,
    /// The number of handles made so far, which identifies the current server.
    made: u32,
    /// How the last server ended, if this process knows and has no other server since.
    end: Option<ExitStatus>,
}

/// The state of the server. A start of a server holds this lock, so each waiter has a deadline.
static STATE: Lock<ServerState> = Lock::new(ServerState { handle: None, made: 0, end: None });

/// Locks the state; waits while another thread starts a server.
fn state(deadline: Deadline) -> Result<Guard<'static, ServerState>> {
    STATE.lock_timeout(deadline).ok_or_else(|| {
        Error::new(
            ErrorKind::StartFailed,
            "the fork server is not available: another thread was still starting it when the time ran out",
        )
    })
}

/// Returns the number of the server, and its socket, which a child may use as well. If there is no server with these
/// rights, starts a server, which runs the task with the given name.
pub(super) fn server_fd(
    entrance: &Entrance,
    task: &str,
    rights: &Rights,
    patience: Patience,
) -> Result<(u32, OwnedFd)> {
    let ServerState { handle, made, end } = &mut *state(patience.deadline)?;
    // The children of a server with other rights would have rights that this process gave up, or lack rights that it
    // has now.
    if handle.as_ref().is_some_and(|handle| handle.rights != *rights) {
        handle.take().and_then(ServerHandle::into_own_child).into_iter().for_each(|server| SERVERS.add(server));
    }
    let handle = match handle {
        Some(handle) => handle,
        None => {
            let started = ServerHandle::start(entrance, task, rights, patience)?;
            (*made, *end) = (made.wrapping_add(1), None);
            handle.insert(started)
        }
    };
    let server_fd =
        duplicate(&handle.socket).map_err(shortage::of("cannot pass the fork server's socket to the new process"))?;
    Ok((*made, server_fd))
}

/// Sends an order to the server with this number; returns false when the server has stopped listening, or was replaced
/// meanwhile.
pub(super) fn order(
    server: u32,
    kind: ChildKind,
    sockets: [&Socket; 2],
    message: &StartMessage<'_>,
    deadline: Deadline,
) -> Result<bool> {
    let mut state = state(deadline)?;
    let made = state.made;
    let Some(handle) = state.handle.as_ref().filter(|_| made == server) else { return Ok(false) };
    match send_order(&handle.socket, kind, sockets, message, deadline) {
        Ok(()) => Ok(true),
        Err(Errno::PIPE | Errno::CONNRESET) => {
            state.reap(deadline);
            Ok(false)
        }
        Err(errno) => Err(Error::os(errno, "cannot send a request to the fork server")),
    }
}

/// Disconnects from the server with this number, which did not reply, unless it is alive or was replaced meanwhile.
pub(super) fn disconnect(server: u32, deadline: Deadline) -> Result<()> {
    let mut state = state(deadline)?;
    let made = state.made;
    let Some(handle) = state.handle.as_mut().filter(|_| made == server) else { return Ok(()) };
    // A server loses its sockets at its end, which has come by now or comes soon.
    let until = deadline.or_sooner(Deadline::after(Duration::from_millis(100)));
    let end = handle.process.as_mut().map(|server| server.wait_timeout(until));
    if !matches!(end, Some(Ok(None))) {
        state.handle = None; // reaped, or never this process's to reap
        state.end = end.and_then(|end| end.ok().flatten());
    }
    Ok(())
}

/// Whether this process has disconnected from the server with this number.
pub(super) fn is_gone(server: u32, deadline: Deadline) -> Result<bool> {
    let state = state(deadline)?;
    Ok(state.made != server || state.handle.is_none())
}

/// The error of a start that has no child after all attempts.
pub(super) fn lost(deadline: Deadline) -> Error {
    let end = state(deadline).ok().and_then(|state| state.end);
    let why = match end {
        Some(end) => format!(
            "the fork server ended before the task began, at last with {end}: does a task of set_forkserver_preload end it? \
             The next start makes a new fork server"
        ),
        None => {
            "the fork server ended, or had no descriptor left, before the task began: the next start makes a new fork server; \
             stop_forkserver stops one that has no descriptor left"
                .into()
        }
    };
    Error::new(ErrorKind::StartFailed, why)
}

/// Disconnects from the server and waits until it has ended; returns false when the time ran out.
pub(super) fn stop(deadline: Deadline) -> Result<bool> {
    let Some(mut state) = STATE.lock_timeout(deadline) else { return Ok(false) };
    let server = state.handle.take().and_then(ServerHandle::into_own_child);
    drop(state);
    server.into_iter().for_each(|server| SERVERS.add(server));
    Ok(SERVERS.wait(deadline)?)
}

/// A server of the parent, for this child or for a child to come.
pub(in crate::multiprocessing::start) struct ParentsServer(ServerHandle);

impl ParentsServer {
    pub(in crate::multiprocessing::start) fn new(
        server_fd: OwnedFd,
        rights: Rights,
    ) -> ossature_sys::errno::Result<Self> {
        let socket = Socket::try_from(server_fd)?.above_standard()?;
        Ok(Self(ServerHandle::new(socket, None, rights)))
    }

    /// Makes this child use the server.
    #[inline]
    pub(in crate::multiprocessing::start) fn enter(self) {
        STATE.lock().handle = Some(self.0);
    }
}

/// Closes, in a forked child, the pidfd of the server if the server is a child of the parent. The socket of the server
/// stays open.
#[inline]
pub(in crate::multiprocessing::start) fn let_go_in_child() {
    if let Some(mut state) = STATE.try_lock() {
        if let Some(handle) = &mut state.handle {
            handle.let_go_in_child();
        }
    }
}

impl ServerState {
    /// Waits for the end of a server that has stopped listening, within the deadline of the start that found it so.
    fn reap(&mut self, deadline: Deadline) {
        let Some(mut server) = self.handle.take().and_then(ServerHandle::into_own_child) else { return };
        // The server ends by itself, because it lost its sockets. What delays that must not delay this process.
        let patience = Deadline::after(GRACE);
        self.end = server.wait_timeout(deadline.or_sooner(patience)).ok().flatten();
        if self.end.is_some() {
            return;
        }
        // A server that had less time may still end by itself.
        let killed = patience.has_passed() && server.kill().is_ok();
        let until = deadline.or_sooner(Deadline::after(GRACE));
        if !(killed && matches!(server.wait_timeout(until), Ok(Some(_)))) {
            SERVERS.add(server);
        }
    }
}
