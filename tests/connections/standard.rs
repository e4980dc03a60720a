//! Objects that the library makes in a process without standard streams: no descriptor takes a stream's number.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

use ossature::multiprocessing::connection::{
    Address, AuthKey, ConnectBuilder, Connection, Family, Listener, Receiver, Sender, connect, pipe, pipe_one_way,
};
use ossature::multiprocessing::process::reap_orphans;
use ossature::multiprocessing::{Lock, Process, Value, parent_process};
use ossature::select::selectors::{DefaultSelector, Interest, Selector};
use ossature::select::{Poll, PollFlags};
use ossature::sys::process::{fork, pidfd_open};
use ossature::sys::shm::Shm;

use crate::{LONG, well};

/// The objects of a case, kept open.
type Kept = Vec<Box<dyn std::any::Any>>;
type Case = (&'static str, fn() -> Kept);

const CASES: &[Case] = &[
    ("pipe", || vec![Box::new(pipe().unwrap())]),
    ("pipe_one_way", || vec![Box::new(pipe_one_way().unwrap())]),
    ("halves", || {
        let (receiver, sender): (Receiver, Sender) = pipe().unwrap().0.split();
        vec![Box::new(receiver), Box::new(sender)]
    }),
    ("listener at a path", || vec![Box::new(Listener::bind(Address::arbitrary(Family::Unix).unwrap()).unwrap())]),
    ("listener at a port", || vec![Box::new(Listener::bind(("127.0.0.1", 0)).unwrap())]),
    ("client and peer", || {
        let listener = Listener::bind(("127.0.0.1", 0)).unwrap();
        let client = connect(listener.address()).unwrap();
        let peer = listener.accept_timeout(LONG).unwrap().unwrap();
        vec![Box::new(client), Box::new(peer), Box::new(listener)]
    }),
    ("client and peer with a key", || {
        let key = AuthKey::from("peekaboo");
        let listener = Listener::builder().authkey(&key).bind(("127.0.0.1", 0)).unwrap();
        let address = listener.address().clone();
        let client = thread::spawn(move || ConnectBuilder::new().authkey(&key).connect(address).unwrap());
        let peer = listener.accept_timeout(LONG).unwrap().unwrap();
        vec![Box::new(client.join().unwrap()), Box::new(peer), Box::new(listener)]
    }),
    ("set of a listener with a key", || {
        let listener = Listener::builder().authkey(&AuthKey::from("peekaboo")).bind(("127.0.0.1", 0)).unwrap();
        assert!(listener.accept_timeout(Duration::ZERO).unwrap().is_none());
        vec![Box::new(listener)]
    }),
    ("connection of a message", || {
        let (near, far) = pipe().unwrap();
        near.send(&pipe().unwrap().0).unwrap();
        let came: Connection = far.recv().unwrap();
        vec![Box::new(came), Box::new(near), Box::new(far)]
    }),
    ("shared memory", || vec![Box::new(Lock::new().unwrap()), Box::new(Value::new(7_u32).unwrap())]),
    ("selector", || {
        let (near, far) = pipe().unwrap();
        let mut selector = DefaultSelector::new().unwrap();
        selector.register(OwnedFd::from(near), Interest::READ, ()).unwrap();
        vec![Box::new(selector), Box::new(far)]
    }),
    ("selector in a forked child", || {
        let mut selector = DefaultSelector::new().unwrap();
        selector.register(OwnedFd::from(pipe().unwrap().0), Interest::READ, ()).unwrap();
        // The child makes a set of its own.
        well(fork(|| u8::from(selector.select(Duration::ZERO).unwrap().is_empty() || any_is_open())).unwrap());
        vec![Box::new(selector)]
    }),
    ("poll object", || {
        let (near, _far) = pipe().unwrap();
        let mut poll = Poll::new();
        poll.register(near.as_fd(), PollFlags::IN);
        assert!(!any_is_open());
        vec![]
    }),
    ("second handle of shared memory", || {
        let memory = Shm::place(AtomicU32::new(1)).unwrap();
        vec![Box::new(memory.try_clone().unwrap()), Box::new(memory)]
    }),
    ("pidfd", || vec![Box::new(pidfd_open(ossature::sys::process::id()).unwrap())]),
    ("process in a thread", || {
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let process = Process::builder().thread(move || wait.recv().is_ok() as u8).unwrap();
        // The thread ends when its channel does.
        vec![Box::new(end), Box::new(process)]
    }),
    ("sentinel of a parent that has ended", || {
        let (near, far) = pipe().unwrap();
        let parent = Process::fork(move || {
            let child = Process::fork(move || {
                let parent = parent_process().unwrap();
                while std::os::unix::process::parent_id() == parent.pid().unwrap().as_raw_nonzero().get() as u32 {
                    thread::yield_now();
                }
                let is_above = parent.sentinel().unwrap().as_raw_fd() > 2;
                far.send(&is_above).unwrap();
            });
            drop(child);
            ossature::sys::signal::raise(ossature::sys::process::Signal::KILL)
        });
        parent.unwrap().join_timeout(LONG).unwrap().unwrap();
        assert!(near.recv_timeout::<bool>(LONG).unwrap().unwrap());
        vec![]
    }),
    ("process that stays to reap orphans", || {
        let above = fork(|| {
            reap_orphans().unwrap();
            let stays = format!("/proc/{}/fd", std::os::unix::process::parent_id());
            u8::from((0..3).any(|number| std::fs::symlink_metadata(format!("{stays}/{number}")).is_ok()))
        });
        well(above.unwrap());
        vec![]
    }),
    ("sentinel of a parent's child", || {
        let process = Process::fork(|| ()).unwrap();
        process.join_timeout(LONG).unwrap().unwrap();
        assert!(process.as_fd().as_raw_fd() > 2);
        vec![Box::new(process)]
    }),
];

fn is_open(number: i32) -> bool {
    // SAFETY: F_GETFD takes a number, and reads only.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

fn any_is_open() -> bool {
    (0..3).any(is_open)
}

pub fn private_descriptors_are_above_the_standard_streams() {
    for (name, case) in CASES {
        let child = fork(|| {
            for number in 0..3 {
                // SAFETY: nothing in this process owns the standard streams by their numbers.
                assert_eq!(unsafe { libc::close(number) }, 0);
            }
            let kept = case();
            let taken = any_is_open();
            drop(kept);
            u8::from(taken)
        });
        println!("{name}");
        well(child.unwrap());
    }
}
