//! The fork server itself: a single-threaded process that forks on request and reports how its children ended.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Interest};
use ossature_sys::errno::{Errno, Result};
use ossature_sys::fd::AboveStandard;
use ossature_sys::process::{Child, ForkError, Signal, fork, real_user};
use ossature_sys::signal::{self, Disposition};
use ossature_sys::socket::{Kind, Socket};

use super::children::{Children, ForkedChild, Role, number_of};
use super::message::{ChildKind, Incoming, Request, recv_request, send_ended, send_refused};
use crate::multiprocessing::start::child::run_task;
use crate::multiprocessing::start::private;
use crate::multiprocessing::tasks::{Form, look_up};
use crate::multiprocessing::transfer::{Handle, pack};
use crate::thread;

/// The token of the socket that all clients share; the token of a child is its number.
const REQUESTS: u64 = 0;

/// Runs the task of the fork server: serves until no process can send a request any more.
///
/// `preload` holds the names of tasks without arguments that run first. The server serves whether they succeed or fail.
/// `client` is the real user of the process that started the server.
pub(in crate::multiprocessing) fn serve(
    requests: Handle<OwnedFd>,
    spares: u32,
    preload: Vec<String>,
    client: u32,
) -> u8 {
    for name in preload {
        let body = look_up(&name).zip(pack(&()).ok()).and_then(|(task, nothing)| task.open(nothing, Form::Code).ok());
        // A panic of the task has been printed on standard error.
        let _ = catch_unwind(AssertUnwindSafe(|| body.map(|body| body())));
    }
    // Made here, so that the children do not each make their own.
    let _ = std::io::stdout();
    thread::install();
    let served = Server::new(requests.0, spares as usize, client).and_then(Server::run);
    u8::from(served.is_err())
}

/// The state of the server.
struct Server {
    requests: Socket,
    epoll: Epoll,
    children: Children,
    /// The numbers of the spares, which wait for work.
    spares: Vec<u64>,
    /// The wanted number of spares.
    wanted: usize,
    /// The status socket of the client for which a child is being forked.
    client: Option<Socket>,
    /// Whether any process can send a request.
    serving: bool,
    /// Whether the keyboard interrupts the children, as it did the server before the server opted out.
    interrupted: bool,
    /// The users that may send requests: the user of the process that started the server, and the server's own user.
    users: [u32; 2],
}

impl Server {
    fn new(requests: OwnedFd, wanted: usize, client: u32) -> Result<Self> {
        let requests = Socket::try_from(requests)?.above_standard()?;
        let interrupted = signal::disposition(Signal::INT)? != Disposition::Ignored;
        signal::ignore(Signal::INT)?;
        // Inherited over the exec, this would hide from the server how its children end.
        if signal::disposition(Signal::CHILD)? == Disposition::Ignored {
            signal::restore_default(Signal::CHILD)?;
        }
        let epoll = Epoll::new()?.above_standard()?;
        epoll.register(&requests, Interest::IN, REQUESTS)?;
        let (children, spares) = (Children::default(), Vec::new());
        let users = [client, real_user()];
        Ok(Self { requests, epoll, children, spares, wanted, client: None, serving: true, interrupted, users })
    }

    /// Serves until no process can send a request any more, and the end of every child has been reported.
    fn run(mut self) -> Result<()> {
        let mut room = [MaybeUninit::uninit(); 32];
        while self.serving || !self.children.is_empty() {
            // Spares are made when no request waits.
            let patience = if self.spares.len() < self.wanted { Deadline::NOW } else { Deadline::NEVER };
            let ready = self.epoll.poll(&mut room, patience)?;
            if ready.is_empty() && self.spares.len() < self.wanted {
                self = self.make_spare()?;
            }
            for token in ready.iter().map(|event| event.token()) {
                if token != REQUESTS {
                    self.reap(token);
                    continue;
                }
                match recv_request(&self.requests, self.users) {
                    Ok(Incoming::Request(request)) => self = self.handle(request)?,
                    Ok(Incoming::OtherUser(status, user)) => self.refuse_user(&status, user),
                    Ok(Incoming::Invalid) => {}
                    Ok(Incoming::Closed) | Err(Errno::CONNRESET | Errno::PIPE) => self.close()?,
                    // The message is lost, so its sender finds its socket closed.
                    Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(())
    }

    /// Closes the lines of the spares, so that the spares end. The other children may have clients that wait for their
    /// exit status.
    fn close(&mut self) -> Result<()> {
        self.serving = false;
        self.wanted = 0;
        self.epoll.unregister(&self.requests)?;
        for spare in self.spares.drain(..) {
            if let Some(child) = self.children.get_mut(spare) {
                child.role = Role::Nobody;
            }
        }
        Ok(())
    }

    /// Refuses to fork a child for a process of another user, because the child would have other rights than its
    /// client.
    fn refuse_user(&self, status: &Socket, user: Option<u32>) {
        let [client, _] = self.users;
        let user = user.map_or_else(|| "another".to_owned(), |user| user.to_string());
        let reason = format!(
            "it serves user {client}, and user {user} asked: stop_forkserver lets go of it, and the next start makes one with \
             the rights of this process"
        );
        let _ = send_refused(status, Errno::PERM, &reason); // a client that is gone needs no reply
    }

    /// Gives a child to a client.
    fn handle(mut self, Request { kind, status }: Request) -> Result<Self> {
        if let Some(spare) = self.take_spare(kind) {
            spare.give(status);
            return Ok(self);
        }
        self.client = Some(status);
        let (mut server, forked) = self.fork_child()?;
        let child = forked.map(|number| server.children.get_mut(number));
        match (child, server.client.take()) {
            (Ok(Some(child)), Some(status)) => child.give(status),
            (Err(ForkError::Os(errno)), Some(status)) => drop(send_refused(&status, errno, "it cannot fork")),
            (Err(error), Some(status)) => drop(send_refused(&status, error.errno(), &error.to_string())),
            _ => {}
        }
        Ok(server)
    }

    /// Takes a spare, if the client accepts a spare. A spare that was killed does not reply, and its pidfd shows the
    /// client the reason.
    fn take_spare(&mut self, kind: ChildKind) -> Option<&mut ForkedChild> {
        match kind {
            ChildKind::Any => self.spares.pop().and_then(|number| self.children.get_mut(number)),
            ChildKind::Fresh => None,
        }
    }

    /// Forks a child that waits for work. If the fork fails, no more spares are tried: the next client receives the
    /// reason.
    fn make_spare(self) -> Result<Self> {
        let (mut server, forked) = self.fork_child()?;
        match forked {
            Ok(number) => server.spares.push(number),
            Err(_) => server.wanted = server.spares.len(),
        }
        Ok(server)
    }

    /// Forks a child. The child runs the task of the process at the other end of its line, and keeps nothing of the
    /// server. Returns the server and the number of the child.
    fn fork_child(self) -> Result<(Self, std::result::Result<u64, ForkError>)> {
        let (line, theirs) = match private::pair(Kind::Stream) {
            Ok(pair) => pair,
            Err(errno) => return Ok((self, Err(errno.into()))),
        };
        let interrupted = self.interrupted;
        let (mut home, mut theirs) = (Some((self, line)), Some(theirs));
        let forked = fork(|| {
            if let Some((server, line)) = home.take() {
                drop(line);
                server.leave();
            }
            if interrupted {
                let _ = signal::restore_default(Signal::INT); // no signal that could not be
            }
            theirs.take().map_or(1, |theirs| run_task(theirs))
        });
        // Only the child's copy was taken.
        let (mut server, line) = home.ok_or(Errno::CHILD)?;
        let forked = forked.and_then(|child| Ok(server.watch(child)?)).map(|child| {
            let number = number_of(&child);
            server.children.insert(ForkedChild { process: child, role: Role::Spare(line) });
            number
        });
        Ok((server, forked))
    }

    /// Closes, in a forked child, everything that belongs to the server.
    fn leave(self) {
        let Self { requests, epoll, children, spares, client, .. } = self;
        drop((requests, epoll, client));
        children.leave();
        std::mem::forget(spares); // numbers only
    }

    /// Adds a child to the children whose end the server waits for.
    fn watch(&self, mut child: Child) -> Result<Child> {
        match self.epoll.register(&child, Interest::IN, number_of(&child)) {
            Ok(()) => Ok(child),
            Err(errno) => {
                // The server would not see its end. The child has not begun, because no client has its line.
                child.kill()?;
                child.wait()?;
                Err(errno)
            }
        }
    }

    /// Reaps a child that has ended, and sends its client the exit status.
    fn reap(&mut self, number: u64) {
        let Some(ForkedChild { process, role }) = self.children.get_mut(number) else { return };
        let Ok(Some(exit)) = process.try_wait() else { return };
        // The client has the pidfd too, so closing it here would not take it off the list.
        let _ = self.epoll.unregister(&*process);
        match role {
            Role::Spare(_) => self.spares.retain(|spare| *spare != number),
            Role::Client(status) => drop(send_ended(status, exit)), // a client that is gone needs no reply
            Role::Nobody => {}
        }
        self.children.remove(number);
    }
}
