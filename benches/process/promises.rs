//! A fork server by hand that does what ours promises, by the thin calls of the lower half.
//!
//! The client compares its rights with the server's, sends its directory, its pidfd and the socket of the server, and
//! learns that the child has begun. It receives the child's number and pidfd, and later the exit status. The server
//! proves that it is the only thread, and looks who asks. The child enters the client's directory, has its own standard
//! input and a line to the client, takes the keyboard's interrupt again, and catches a panic.

use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::catch_unwind;
use std::path::Path;

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Interest};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{
    Credentials, Pid, Signal, detach_stdin, id, may_fork, pidfd_open, pidfd_wait, supplementary_groups,
};
use ossature_sys::signal;
use ossature_sys::socket::{Kind, Socket};

/// The users, groups and capabilities of this process, and the number of its supplementary groups.
type Rights = (Credentials, usize);

fn rights() -> Rights {
    let groups = supplementary_groups(&mut [0; 32]).expect("few groups").len();
    (Credentials::of_thread().expect("credentials"), groups)
}

/// The server, for its client. Dropping the value ends the server.
pub struct Promises {
    orders: Socket,
    rights: Rights,
}

impl Promises {
    /// Starts the server, as a copy of this process. Its children find standard output made, as those of ours do.
    pub fn start() -> Self {
        let (orders, theirs) = Socket::pair(Kind::SeqPacket).expect("a pair");
        theirs.set_pass_credentials().expect("a socket passes credentials");
        let _ = std::io::stdout().flush();
        // SAFETY: this process has one thread, and the child leaves by _exit.
        let server = unsafe { libc::fork() };
        assert!(server >= 0, "fork");
        if server == 0 {
            drop(orders);
            serve(&theirs);
        }
        Self { orders, rights: rights() }
    }

    /// Starts a child that ends at once, and waits for it.
    pub fn child(&self) {
        assert!(rights() == self.rights, "the server has other rights");
        let mut order = vec![b'F'; 200]; // about the length of a request
        order.extend_from_slice(std::env::current_dir().expect("a directory").as_os_str().as_bytes());
        let own = pidfd_open(id()).expect("a pidfd");
        let (status, status_theirs) = Socket::pair(Kind::SeqPacket).expect("a pair");
        let (line, line_theirs) = Socket::pair(Kind::Stream).expect("a pair");
        let sent = [status_theirs.as_fd(), line_theirs.as_fd(), own.as_fd(), self.orders.as_fd()];
        self.orders.send_with(&order, &sent, Deadline::NEVER).expect("the server receives");
        drop((status_theirs, line_theirs, own));
        let mut list = [PollFd::new(&line, PollFlags::IN), PollFd::new(&status, PollFlags::empty())];
        poll(&mut list, Deadline::NEVER).expect("an answer");
        assert_eq!(line.recv(&mut [0], Deadline::NEVER), Ok(Some(1)), "the child has begun");
        let child = status.recv_with::<1>(&mut [0; 4], Deadline::NEVER).expect("a message").expect("a message");
        assert_eq!(child.descriptors.len(), 1);
        let mut exit = [1];
        poll(&mut [PollFd::new(&status, PollFlags::IN)], Deadline::NEVER).expect("an end");
        assert_eq!((status.recv(&mut exit, Deadline::NEVER), exit), (Ok(Some(1)), [0]));
    }
}

/// A child of the server, and the socket to its client.
struct Served {
    pidfd: OwnedFd,
    status: Socket,
}

fn serve(orders: &Socket) -> ! {
    const ORDERS: u64 = 0;
    signal::ignore(Signal::INT).expect("an ordinary signal");
    let epoll = Epoll::new().expect("an epoll");
    epoll.register(orders, Interest::IN, ORDERS).expect("a socket");
    let mut served: Option<Served> = None;
    let mut room = [MaybeUninit::uninit(); 32];
    loop {
        for event in epoll.poll(&mut room, Deadline::NEVER).expect("events") {
            if event.token() == ORDERS {
                served = Some(begin(orders, &epoll));
            } else if let Some(Served { pidfd, status }) = served.take() {
                let end = pidfd_wait(&pidfd, Deadline::NOW).expect("a child").expect("an end");
                epoll.unregister(&pidfd).expect("registered");
                let _ = status.send(&[u8::from(!end.success())], Deadline::NOW); // a client that is gone
            }
        }
    }
}

/// Takes an order, and forks the child.
fn begin(orders: &Socket, epoll: &Epoll) -> Served {
    let mut order = [0; 4096];
    let got = orders.recv_with::<8>(&mut order, Deadline::NOW).expect("an order").expect("an order");
    if got.len == 0 {
        // SAFETY: _exit(2) ends this process.
        unsafe { libc::_exit(0) };
    }
    assert_eq!(got.credentials.expect("passed").uid, ossature_sys::process::effective_user());
    let mut sent = got.descriptors.into_iter();
    let mut socket = || Socket::try_from(sent.next().expect("four descriptors")).expect("a socket");
    let (status, line) = (socket(), socket());
    may_fork().expect("one thread");
    // SAFETY: this process has one thread, and the child leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(status);
        signal::restore_default(Signal::INT).expect("an ordinary signal");
        std::env::set_current_dir(Path::new(std::ffi::OsStr::from_bytes(&order[200..got.len]))).expect("a directory");
        detach_stdin().expect("a free descriptor");
        line.send(b"B", Deadline::NEVER).expect("the client listens");
        let ended = catch_unwind(|| ());
        drop(line);
        let _ = std::io::stdout().flush();
        // SAFETY: _exit(2) ends the child.
        unsafe { libc::_exit(i32::from(ended.is_err())) };
    }
    let pid = Pid::from_raw(child).expect("fork");
    let pidfd = pidfd_open(pid).expect("a pidfd");
    epoll.register(&pidfd, Interest::IN, 1).expect("a pidfd");
    status.send_with(&child.to_le_bytes(), &[pidfd.as_fd()], Deadline::NOW).expect("the client listens");
    Served { pidfd, status }
}
