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

use super::begin::Begin;
use super::children::{Children, ForkedChild, Role, number_of};
use super::message::{ChildKind, Order, Received, Room, recv_order, recv_work, room, send_ended, send_refused};
use crate::multiprocessing::start::private;
use crate::multiprocessing::tasks::{Form, look_up};
use crate::multiprocessing::transfer::{Handle, pack};
use crate::thread;

/// The exit code of a spare that nobody needs.
const EXIT_ORPHAN: u8 = 2;

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
    thread::install_anew();
    let served = Server::new(requests.0, spares as usize, client).and_then(Server::run);
    u8::from(served.is_err())
}

/// The number of a new child; or why there is none, and the role that it would have had.
type Forked = std::result::Result<u64, (ForkError, Role)>;

/// The state of the server.
struct Server {
    requests: Socket,
    epoll: Epoll,
    children: Children,
    /// The numbers of the spares, which wait for work.
    spares: Vec<u64>,
    /// The wanted number of spares.
    wanted: usize,
    /// The sockets of clients that have been told everything. A client that hears of an end may send its next order at
    /// once. A close while that order is under way would make the kernel search all sockets in transit for cycles.
    told: Vec<Socket>,
    /// The memory for an order.
    room: Room,
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
        let (children, spares, told) = (Children::default(), Vec::new(), Vec::new());
        let users = [client, real_user()];
        Ok(Self { requests, epoll, children, spares, wanted, told, room: room(), serving: true, interrupted, users })
    }

    /// Serves until no process can send a request any more, and the end of every child has been reported.
    fn run(mut self) -> Result<()> {
        let mut room = [MaybeUninit::uninit(); 32];
        while self.serving || !self.children.is_empty() {
            // Spares are made, and sockets closed, when no request waits.
            let is_ready = self.told.is_empty() && self.spares.len() >= self.wanted;
            let patience = if is_ready { Deadline::NEVER } else { Deadline::NOW };
            let ready = self.epoll.poll(&mut room, patience)?;
            if ready.is_empty() {
                self.told.clear();
            }
            if ready.is_empty() && self.spares.len() < self.wanted {
                self = self.make_spare()?;
            }
            for token in ready.iter().map(|event| event.token()) {
                if token != REQUESTS {
                    self.reap(token);
                    continue;
                }
                match recv_order(&self.requests, self.users, &mut self.room) {
                    Ok(Received::Order(order)) => {
                        self.told.clear(); // the order has arrived
                        self = self.handle(order)?;
                    }
                    Ok(Received::OtherUser(status, user)) => self.refuse_user(&status, user),
                    Ok(Received::Invalid) => {}
                    Ok(Received::Closed) | Err(Errno::CONNRESET | Errno::PIPE) => self.close()?,
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
    fn handle(mut self, Order { kind, status, work }: Order) -> Result<Self> {
        if let Some(spare) = self.take_spare(kind) {
            spare.give(status, &work);
            return Ok(self);
        }
        let begin = Begin::new(work);
        let (mut server, forked) = self.fork_child(Role::Client(status), |_| begin.run())?;
        match forked {
            Ok(number) => server.children.get_mut(number).into_iter().for_each(ForkedChild::name),
            Err((ForkError::Os(errno), Role::Client(status))) => drop(send_refused(&status, errno, "it cannot fork")),
            Err((error, Role::Client(status))) => drop(send_refused(&status, error.errno(), &error.to_string())),
            Err(_) => {}
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
        let (mut server, forked) = match private::pair(Kind::SeqPacket) {
            Ok((orders, theirs)) => self.fork_child(Role::Spare(orders), |mut room| {
                match recv_work(&theirs, &mut room) {
                    Ok(work) => {
                        drop(theirs);
                        Begin::new(work).run()
                    }
                    // The server has ended, or no client has been named this child.
                    Err(_) => EXIT_ORPHAN,
                }
            })?,
            Err(errno) => (self, Err((errno.into(), Role::Nobody))),
        };
        match forked {
            Ok(number) => server.spares.push(number),
            Err(_) => server.wanted = server.spares.len(),
        }
        Ok(server)
    }

    /// Forks a child that does `work`, and keeps nothing of the server but the memory for an order. Returns the server,
    /// and the number of the child.
    fn fork_child(self, role: Role, work: impl FnOnce(Room) -> u8) -> Result<(Self, Forked)> {
        let interrupted = self.interrupted;
        let mut home = Some((self, role));
        let forked = fork(|| {
            let Some((server, role)) = home.take() else { return 1 };
            drop(role);
            let room = server.leave();
            if interrupted {
                let _ = signal::restore_default(Signal::INT); // no signal that could not be
            }
            work(room)
        });
        // Only the child's copy was taken.
        let (mut server, role) = home.ok_or(Errno::CHILD)?;
        let forked = match forked.and_then(|child| Ok(server.watch(child)?)) {
            Ok(process) => {
                let child = ForkedChild { process, role };
                let number = child.number();
                server.children.insert(child);
                Ok(number)
            }
            Err(error) => Err((error, role)),
        };
        Ok((server, forked))
    }

    /// Closes, in a forked child, everything that belongs to the server.
    #[inline(always)] // in the page of code that the child has already
    fn leave(self) -> Room {
        let Self { requests, epoll, children, spares, told, room, .. } = self;
        drop((requests, epoll));
        std::mem::forget(told); // empty in a fork
        children.leave();
        std::mem::forget(spares); // numbers only
        room
    }

    /// Adds a child to the children whose end the server waits for.
    fn watch(&self, mut child: Child) -> Result<Child> {
        match self.epoll.register(&child, Interest::IN, number_of(&child)) {
            Ok(()) => Ok(child),
            Err(errno) => {
                // The server would not see its end. The client hears that there is no child.
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
            Role::Client(status) => {
                let _ = send_ended(status, exit); // a client that is gone needs no reply
                if let Role::Client(status) = std::mem::replace(role, Role::Nobody) {
                    self.told.push(status);
                }
            }
            Role::Nobody => {}
        }
        self.children.remove(number);
    }
}
