//! The fork server itself: one process of one thread that forks on request and tells how its children ended.

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

use super::message::{Asked, Request, Wanted, asked, tell_ended, tell_refused};
use super::nursery::{Link, Nursery, Nursling, number_of};
use crate::multiprocessing::start::{private, spawn};
use crate::multiprocessing::tasks::{Form, look_up};
use crate::multiprocessing::transfer::{Handle, pack};
use crate::thread;

/// The token of the socket that all clients share; the children's are their numbers.
const REQUESTS: u64 = 0;

/// The task of the fork server: serves until nobody can ask any more.
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
        // Its panic has been told on standard error.
        let _ = catch_unwind(AssertUnwindSafe(|| body.map(|body| body())));
    }
    // Here, or each child would make its own.
    let _ = std::io::stdout();
    thread::install();
    let served = Server::new(requests.0, spares as usize, client).and_then(Server::run);
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
    /// Where the client is told that a child is being made for.
    client: Option<Socket>,
    /// Whether anybody can ask.
    serving: bool,
    /// Whether children shall be interrupted from the keyboard, as the server was before it chose not to be.
    interrupted: bool,
    /// The users that may ask: the user of the process that started the server, and the server's own user.
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
        let (children, spares) = (Nursery::default(), Vec::new());
        let users = [client, real_user()];
        Ok(Self { requests, epoll, children, spares, wanted, client: None, serving: true, interrupted, users })
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
                match asked(&self.requests, self.users) {
                    Ok(Asked::For(request)) => self = self.answer(request)?,
                    Ok(Asked::Stranger(status, user)) => self.decline(&status, user),
                    Ok(Asked::Nonsense) => {}
                    Ok(Asked::Nobody) | Err(Errno::CONNRESET | Errno::PIPE) => self.close()?,
                    // The message is lost, so its sender finds its socket closed.
                    Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(())
    }

    /// Ends what is only for those who ask: the spares find nobody at their lines and end. The other children have
    /// nobody's way to this server, or they could ask, but they may have clients who want to hear of their ends.
    fn close(&mut self) -> Result<()> {
        self.serving = false;
        self.wanted = 0;
        self.epoll.unregister(&self.requests)?;
        for spare in self.spares.drain(..) {
            if let Some(nursling) = self.children.get_mut(spare) {
                nursling.link = Link::Nobody;
            }
        }
        Ok(())
    }

    /// Tells a process of another user that it does not get a child. The child would have other rights than its client.
    fn decline(&self, status: &Socket, user: Option<u32>) {
        let [client, _] = self.users;
        let user = user.map_or_else(|| "another".to_owned(), |user| user.to_string());
        let reason = format!(
            "it serves user {client}, and user {user} asked: stop_forkserver lets go of it, and the next start makes one with \
             the rights of this process"
        );
        let _ = tell_refused(status, Errno::PERM, &reason); // one that is gone wants no answer
    }

    /// Gives a client a child, and tells it which.
    fn answer(mut self, Request { wanted, status }: Request) -> Result<Self> {
        if let Some(spare) = self.take_spare(wanted) {
            spare.give(status);
            return Ok(self);
        }
        self.client = Some(status);
        let (mut server, born) = self.bear()?;
        let child = born.map(|number| server.children.get_mut(number));
        match (child, server.client.take()) {
            (Ok(Some(child)), Some(status)) => child.give(status),
            (Err(ForkError::Os(errno)), Some(status)) => drop(tell_refused(&status, errno, "it cannot fork")),
            (Err(error), Some(status)) => drop(tell_refused(&status, error.errno(), &error.to_string())),
            _ => {}
        }
        Ok(server)
    }

    /// A spare, if that will do. One that was killed does not listen, of which its client hears by its pidfd.
    fn take_spare(&mut self, wanted: Wanted) -> Option<&mut Nursling> {
        match wanted {
            Wanted::Any => self.spares.pop().and_then(|number| self.children.get_mut(number)),
            Wanted::Fresh => None,
        }
    }

    /// Makes a child that waits for work. If it cannot be made, whoever asks for a child needs the same and is told
    /// why; more are not tried.
    fn make_spare(self) -> Result<Self> {
        let (mut server, born) = self.bear()?;
        match born {
            Ok(number) => server.spares.push(number),
            Err(_) => server.wanted = server.spares.len(),
        }
        Ok(server)
    }

    /// Forks. The child obeys whoever has the other end of its line, and has nothing of the server's. Answers with the
    /// server and the number of the child.
    fn bear(self) -> Result<(Self, std::result::Result<u64, ForkError>)> {
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
            theirs.take().map_or(1, |theirs| spawn::obey(theirs))
        });
        // Only the child's copy was taken.
        let (mut server, line) = home.ok_or(Errno::CHILD)?;
        let born = forked.and_then(|child| Ok(server.watch(child)?)).map(|child| {
            let number = number_of(&child);
            server.children.insert(Nursling { child, link: Link::Spare(line) });
            number
        });
        Ok((server, born))
    }

    /// Closes all that a child of it is not to have.
    fn leave(self) {
        let Self { requests, epoll, children, spares, client, .. } = self;
        drop((requests, epoll, client));
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

    /// Reaps a child that has ended, and tells its client.
    fn bury(&mut self, number: u64) {
        let Some(Nursling { child, link }) = self.children.get_mut(number) else { return };
        let Ok(Some(exit)) = child.try_wait() else { return };
        // The client has the pidfd too, so closing it here would not take it off the list.
        let _ = self.epoll.unregister(&*child);
        match link {
            Link::Spare(_) => self.spares.retain(|spare| *spare != number),
            Link::Client(status) => drop(tell_ended(status, exit)), // one that is gone wants no answer
            Link::Nobody => {}
        }
        self.children.remove(number);
    }
}
