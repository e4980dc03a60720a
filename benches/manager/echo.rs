//! The floor of a call over a socket: a child that reads a message at once and writes it back. It waits in an epoll set
//! while no message is there.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;

use ossature::sys::deadline::Deadline;
use ossature::sys::epoll::{Epoll, Event, Interest};
use ossature::sys::eventfd::EventFd;
use ossature_benches::machine;

use crate::served::pin_process;

/// A forked child that repeats one action until it is killed.
pub struct Child(libc::pid_t);

impl Child {
    pub fn start(core: usize, body: impl FnOnce()) -> Self {
        // SAFETY: the child runs only `body`, which takes no lock of another thread, and leaves by _exit or by being
        // killed.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork");
        if child == 0 {
            // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            machine::pin(&[core]);
            body();
            // SAFETY: _exit(2) has no preconditions.
            unsafe { libc::_exit(0) };
        }
        pin_process(child.unsigned_abs(), core);
        Self(child)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: it is our own child and not reaped yet, so the number is still its own.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        // SAFETY: waitpid(2) takes a null status pointer.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
    }
}

/// The approximate length of this crate's request and reply.
const LEN: usize = 64;

/// An echo over a socket: the child reads before it waits.
pub struct Echo {
    stream: UnixStream,
    _child: Child,
}

impl Echo {
    pub fn start(core: usize) -> Self {
        let (near, far) = UnixStream::pair().expect("a pair");
        let child = Child::start(core, || {
            let epoll = Epoll::new().expect("a set");
            epoll.register(&far, Interest::IN, 0).expect("room");
            far.set_nonblocking(true).expect("a socket");
            let (mut events, mut buffer) = ([MaybeUninit::<Event>::uninit(); 8], [0; LEN]);
            loop {
                match (&far).read(&mut buffer) {
                    Ok(LEN) => (&far).write_all(&buffer).expect("a reader"),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        epoll.poll(&mut events, Deadline::NEVER).expect("an event");
                    }
                    _ => return,
                }
            }
        });
        Self { stream: near, _child: child }
    }

    pub fn call(&self) {
        (&self.stream).write_all(&[7; LEN]).expect("an echo");
        assert_eq!((&self.stream).read(&mut [0; LEN]).expect("an echo"), LEN);
    }
}

/// An echo by two eventfds, each in an epoll set of its owner.
pub struct Events {
    there: EventFd,
    here: EventFd,
    epoll: Epoll,
    _child: Child,
}

/// Waits for an event and resets its count.
fn take(epoll: &Epoll, event: &EventFd) {
    let mut events = [MaybeUninit::<Event>::uninit(); 8];
    epoll.poll(&mut events, Deadline::NEVER).expect("an event");
    event.try_take().expect("a number");
}

impl Events {
    pub fn start(core: usize) -> Self {
        let [there, here] = [(); 2].map(|()| EventFd::counter(0).expect("an event"));
        let set = |event: &EventFd| {
            let epoll = Epoll::new().expect("a set");
            epoll.register(event, Interest::IN, 0).expect("room");
            epoll
        };
        let epoll = set(&here);
        let child = Child::start(core, || {
            let epoll = set(&there);
            loop {
                take(&epoll, &there);
                here.try_add(1).expect("room");
            }
        });
        Self { there, here, epoll, _child: child }
    }

    pub fn call(&self) {
        self.there.try_add(1).expect("room");
        take(&self.epoll, &self.here);
    }
}
