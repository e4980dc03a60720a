//! The fork server itself: one process of one thread that forks on request and tells how its children ended.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Interest};
use ossature_sys::errno::{Errno, Result};
use ossature_sys::process::{Child, ForkError, Signal, effective_user, fork};
use ossature_sys::signal::{self, Disposition};
use ossature_sys::socket::{Kind, Socket};

use super::message::{Asked, Request, Wanted, asked, tell_born, tell_ended, tell_refused};
use super::nursery::{Nursery, Nursling, number_of};
use crate::multiprocessing::start::spawn;
use crate::multiprocessing::tasks::look_up;
use crate::multiprocessing::transfer::{Handle, pack};
use crate::thread;

/// The token of the socket that all clients share; the children's are their numbers.
const REQUESTS: u64 = 0;

/// The task of the fork server: serves until nobody can ask any more.
///
/// `preload` are the names of tasks without arguments that are run first; whatever becomes of them, the server serves.
pub(in crate::multiprocessing) fn serve(requests: Handle<OwnedFd>, spares: u32, preload: Vec<String>) -> u8 {
    for name in preload {
        let body = look_up(&name).zip(pack(&()).ok()).and_then(|(task, nothing)| task.open(nothing).ok());
        // Its panic has been told on standard error.
        let _ = catch_unwind(AssertUnwindSafe(|| body.map(|body| body())));
    }
    // Here, or each child would make its own.
    let _ = std::io::stdout();
    thread::install();
    let served = Server::new(requests.0, spares as usize).and_then(Server::run);
    u8::from(served.is_err())
}

/// What the server has.
struct Server {
    requests: Socket,
    epoll: Epoll,
    children: Nursery,
    /// The numbers of those that wait for work.
    spares: Vec<u64>,
    wanted: usize,
    /// Whether anybody can ask.
    serving: bool,
    /// Whether children shall be interrupted from the keyboard, as the server was before it chose not to be.
    interrupted: bool,
    user: u32,
}

/// The server, its end of the link to a new child, and the child if there is one.
type Born = (Server, Socket, std::result::Result<Child, ForkError>);

impl Server {
    fn new(requests: OwnedFd, wanted: usize) -> Result<Self> {
        let requests = Socket::try_from(requests)?;
        let interrupted = signal::disposition(Signal::INT)? != Disposition::Ignored;
        signal::ignore(Signal::INT)?;
        // Inherited over the exec, this would hide from the server how its children end.
        if signal::disposition(Signal::CHILD)? == Disposition::Ignored {
            signal::restore_default(Signal::CHILD)?;
        }
        let epoll = Epoll::new()?;
        epoll.register(&requests, Interest::IN, REQUESTS)?;
        let (children, spares) = (Nursery::default(), Vec::new());
        let user = effective_user();
        Ok(Self { requests, epoll, children, spares, wanted, serving: true, interrupted, user })
    }

    /// Serves until nobody can ask any more and the end of every child has been told.
    fn run(mut self) -> Result<()> {
        let mut room = [MaybeUninit::uninit(); 32];
        while self.serving || !self.children.is_empty() {
            // Spares are made when nobody waits.
            let patience = if self.spares.len() < self.wanted { Deadline::NOW } else { Deadline::NEVER };
            let ready = self.epoll.poll(&mut room, patience)?;
            if ready.is_empty() && self.spares.len() < self.wanted {
                self = self.make_spare()?;
            }
            for token in ready.iter().map(|event| event.token()) {
                if token != REQUESTS {
                    self.bury(token);
                    continue;
                }
                match asked(&self.requests, self.user) {
                    Ok(Asked::For(request)) => self = self.answer(request)?,
                    Ok(Asked::Nonsense) => {}
                    Ok(Asked::Nobody) | Err(Errno::CONNRESET | Errno::PIPE) => self.close()?,
                    // The message is lost, so its sender finds both of its sockets closed.
                    Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(())
    }

    /// Ends what is only for those who ask: the spares find nobody at their sockets and end. The other children have
    /// nobody's way to this server, or they could ask, but they may have clients who want to hear of their ends.
    fn close(&mut self) -> Result<()> {
        self.serving = false;
        self.wanted = 0;
        self.epoll.unregister(&self.requests)?;
        for spare in self.spares.drain(..) {
            if let Some(nursling) = self.children.get_mut(spare) {
                nursling.link = None;
            }
        }
        Ok(())
    }

    /// Gives a client a child, and tells it which. A client that cannot be told, because it went away meanwhile or too many
    /// descriptors are on their way, finds its sockets closed, and the child is killed.
    fn answer(mut self, Request { wanted, control, status }: Request) -> Result<Self> {
        while let Some(number) = self.take_spare(wanted) {
            let Some(spare) = self.children.get_mut(number) else { continue };
            let sent = spare.link.as_ref().map(|link| link.send_with(&[0], &[control.as_fd()], Deadline::NOW));
            // One that was killed takes nothing; its end is told by its pidfd like any other's.
            if let Some(Ok(Some(1))) = sent {
                spare.link = told(&spare.child, status);
                return Ok(self);
            }
            spare.link = None;
        }
        let (server, status, born) = self.bear(control, status, |control| spawn::obey(control))?;
        match born.and_then(|child| Ok(server.watch(child)?)) {
            Ok(child) => {
                let link = told(&child, status);
                Ok(server.adopt(child, link))
            }
            Err(error) => {
                let _ = tell_refused(&status, error.errno(), &error.to_string());
                Ok(server)
            }
        }
    }

    fn take_spare(&mut self, wanted: Wanted) -> Option<u64> {
        match wanted {
            Wanted::Any => self.spares.pop(),
            Wanted::Fresh => None,
        }
    }

    /// Makes a child that waits for work.
    fn make_spare(self) -> Result<Self> {
        let Ok((link, theirs)) = Socket::pair(Kind::SeqPacket) else { return Ok(self.without_spares()) };
        let (server, link, born) = self.bear(theirs.into(), link, wait_for_work)?;
        match born.and_then(|child| Ok(server.watch(child)?)) {
            Ok(child) => {
                let number = number_of(&child);
                let mut server = server.adopt(child, Some(link));
                server.spares.push(number);
                Ok(server)
            }
            Err(_) => Ok(server.without_spares()),
        }
    }

    /// Spares cannot be made now. Whoever asks for a child needs the same and is told why; more are not tried.
    fn without_spares(mut self) -> Self {
        self.wanted = self.spares.len();
        self
    }

    /// Forks. The child does `life` with the descriptor given, and has none of the server's, nor `kept`, which is the
    /// server's end of the new link.
    fn bear(self, given: OwnedFd, kept: Socket, life: fn(Socket) -> u8) -> Result<Born> {
        let interrupted = self.interrupted;
        let (mut home, mut given) = (Some((self, kept)), Some(given));
        let forked = fork(|| {
            let given = given.take();
            if let Some((server, kept)) = home.take() {
                drop(kept);
                server.leave();
            }
            if interrupted {
                let _ = signal::restore_default(Signal::INT); // no signal that could not be
            }
            given.and_then(|given| Socket::try_from(given).ok()).map_or(1, life)
        });
        // Only the child's copy was taken.
        home.map(|(server, kept)| (server, kept, forked)).ok_or(Errno::CHILD)
    }

    /// Closes all that a child of it is not to have.
    fn leave(self) {
        let Self { requests, epoll, children, spares, .. } = self;
        drop((requests, epoll));
        children.leave();
        std::mem::forget(spares); // numbers only
    }

    /// Puts a child on the list of those whose ends are waited for.
    fn watch(&self, mut child: Child) -> Result<Child> {
        match self.epoll.register(&child, Interest::IN, number_of(&child)) {
            Ok(()) => Ok(child),
            Err(errno) => {
                // Nobody would hear of its end. It has not begun, for no client was told of it.
                child.kill()?;
                child.wait()?;
                Err(errno)
            }
        }
    }

    fn adopt(mut self, child: Child, link: Option<Socket>) -> Self {
        self.children.insert(Nursling { child, link });
        self
    }

    /// Reaps a child that has ended, and tells its client.
    fn bury(&mut self, number: u64) {
        let Some(Nursling { child, link }) = self.children.get_mut(number) else { return };
        let Ok(Some(exit)) = child.try_wait() else { return };
        // The client has the pidfd too, so closing it here would not take it off the list.
        let _ = self.epoll.unregister(&*child);
        if let Some(place) = self.spares.iter().position(|spare| *spare == number) {
            self.spares.remove(place);
        } else if let Some(link) = link {
            let _ = tell_ended(link, exit); // a client that is gone wants no answer
        }
        self.children.remove(number);
    }
}

/// Tells a client of its child, whose end is to be told over what this answers with. If it cannot be told, the child is
/// killed, for nobody has its number.
fn told(child: &Child, status: Socket) -> Option<Socket> {
    match tell_born(&status, child.pid(), child) {
        Ok(()) => Some(status),
        Err(_) => {
            let _ = child.kill(); // by the one who has not reaped it yet
            None
        }
    }
}

/// The life of a spare child: it gets its control socket when it is needed, and ends when the server does.
fn wait_for_work(link: Socket) -> u8 {
    let given = link.recv_with::<1>(&mut [0], Deadline::NEVER).ok().flatten();
    let control = given.and_then(|given| given.descriptors.into_iter().next());
    drop(link);
    match control.and_then(|control| Socket::try_from(control).ok()) {
        Some(control) => spawn::obey(control),
        None => 0,
    }
}
