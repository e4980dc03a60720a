//! A forked child has only the given ends of its parent's pipes, listeners and other children.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{AuthKey, Connection, Listener, connect, pipe_one_way};
use ossature::multiprocessing::process::{Ends, Kept};
use ossature::multiprocessing::{Process, pipe};
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::process::ExitStatus;

use crate::harness::{self, Test};
use crate::worlds::{Scratch, succeeds};

pub const TESTS: &[Test] = &[
    ("a_child_forked_with_its_end_sees_the_end_of_the_pipe", a_child_forked_with_its_end_sees_the_end_of_the_pipe),
    ("a_child_of_a_plain_fork_keeps_all_ends", a_child_of_a_plain_fork_keeps_all_ends),
    ("ends_of_every_kind_are_let_go", ends_of_every_kind_are_let_go),
    ("ends_are_let_go_where_standard_input_is_closed", ends_are_let_go_where_standard_input_is_closed),
    ("an_end_that_was_let_go_keeps_its_number", an_end_that_was_let_go_keeps_its_number),
    ("what_a_struct_lists_is_kept", what_a_struct_lists_is_kept),
    ("a_listener_and_its_guests_are_let_go", a_listener_and_its_guests_are_let_go),
    ("a_given_listener_serves_in_the_child", a_given_listener_serves_in_the_child),
    ("a_child_of_the_child_is_given_what_it_is_given", a_child_of_the_child_is_given_what_it_is_given),
    ("descriptors_of_elder_siblings_are_closed_in_a_child", descriptors_of_elder_siblings_are_closed_in_a_child),
    ("a_given_sibling_can_be_signalled", a_given_sibling_can_be_signalled),
    ("what_was_lent_as_a_descriptor_outlives_a_join", what_was_lent_as_a_descriptor_outlives_a_join),
    ("a_failed_fork_gives_everything_back", a_failed_fork_gives_everything_back),
];

const SOON: Duration = Duration::from_secs(30);

fn receive_all(end: &Connection) {
    while end.recv::<String>().is_ok() {}
}

fn a_child_forked_with_its_end_sees_the_end_of_the_pipe() {
    let (near, far) = pipe().unwrap();
    let child = Process::fork_with(far, |far| receive_all(&far)).unwrap();
    near.send("work").unwrap();
    drop(near);
    assert_eq!(child.join_timeout(SOON).unwrap(), Some(ExitStatus::Code(0)));
    // And this process sees the end of the child, for it has no copy of the child's end.
    let (near, far) = pipe().unwrap();
    let child = Process::fork_with(far, |far| far.send(&7_u8)).unwrap();
    assert_eq!(near.recv::<u8>().unwrap(), 7);
    assert_eq!(near.recv_timeout::<u8>(SOON).unwrap_err().kind(), ErrorKind::Closed);
    child.join().unwrap();
}

fn a_child_of_a_plain_fork_keeps_all_ends() {
    let (near, far) = pipe().unwrap();
    let child = Process::fork(move || receive_all(&far)).unwrap();
    near.send("work").unwrap();
    drop(near);
    assert_eq!(child.join_timeout(Duration::from_millis(300)).unwrap(), None, "it holds the other end itself");
    child.kill().unwrap();
    child.join().unwrap();
}

fn ends_of_every_kind_are_let_go() {
    let (near, far) = pipe().unwrap();
    let (reader, writer) = pipe_one_way().unwrap();
    let (halved, other) = pipe().unwrap();
    let (receiver, sender) = halved.split();
    let (_from_outside, stream) = std::os::unix::net::UnixStream::pair().unwrap();
    let stream = Connection::from_fd(stream.into(), ossature::multiprocessing::connection::Access::Both).unwrap();
    let closed = |error: ossature::Error| assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    succeeds(Process::fork_with(&far, |far| {
        far.send("given").unwrap();
        for end in [&near, &other, &stream] {
            closed(end.recv::<String>().unwrap_err());
            closed(end.send("lost").unwrap_err());
            closed(end.send_timeout("lost", SOON).unwrap_err());
        }
        closed(reader.recv_bytes().unwrap_err());
        closed(writer.send_bytes(b"lost").unwrap_err());
        closed(receiver.recv_bytes_timeout(SOON).unwrap_err());
        closed(sender.send_bytes(b"lost").unwrap_err());
    }));
    // Here they are what they were.
    assert_eq!(near.recv::<String>().unwrap(), "given");
    sender.send_bytes(b"whole").unwrap();
    assert_eq!(other.recv_bytes().unwrap(), b"whole");
    other.send_bytes(b"whole").unwrap();
    assert_eq!(receiver.recv_bytes().unwrap(), b"whole");
    writer.send_bytes(b"whole").unwrap();
    assert_eq!(reader.recv_bytes().unwrap(), b"whole");
}

/// The placeholder of a closed end must not have the number of a standard stream, which a child replaces at its start.
fn ends_are_let_go_where_standard_input_is_closed() {
    succeeds(Process::fork(|| {
        let (reader, writer) = pipe_one_way().unwrap();
        let (near, far) = pipe().unwrap();
        // SAFETY: a standard stream, which nobody in this child owns by its number.
        assert_eq!(unsafe { libc::close(0) }, 0);
        succeeds(Process::fork_with(&far, |_far| {
            assert_eq!(writer.send_bytes(b"lost").unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(near.send_bytes(b"lost").unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(near.recv_bytes().unwrap_err().kind(), ErrorKind::Closed);
        }));
        drop(reader);
        // A given end does not have that number either.
        let (near, far) = pipe().unwrap();
        let (reader, writer) = pipe_one_way().unwrap();
        assert!([&near, &far, &reader, &writer].iter().all(|end| end.as_fd().as_raw_fd() > 2));
        succeeds(Process::fork_with((far, writer), |(far, writer)| {
            far.send_bytes(b"one").unwrap();
            writer.send_bytes(b"two").unwrap();
        }));
        assert_eq!((near.recv_bytes().unwrap(), reader.recv_bytes().unwrap()), (b"one".to_vec(), b"two".to_vec()));
    }));
}

fn an_end_that_was_let_go_keeps_its_number() {
    let scratch = Scratch::new();
    let (near, far) = pipe().unwrap();
    let mut near = Some(near);
    let path = scratch.path("file");
    succeeds(Process::fork_with(far, |_far| {
        let number = near.as_ref().unwrap().as_fd().as_raw_fd();
        let mut file = File::create_new(&path).unwrap();
        assert_ne!(file.as_raw_fd(), number);
        assert!(ossature::sys::fd::is_cloexec(near.as_ref().unwrap()).unwrap());
        drop(near.take()); // closes the placeholder, and nothing else
        file.write_all(b"still open").unwrap();
    }));
    assert_eq!(fs::read(&path).unwrap(), b"still open");
}

fn what_a_struct_lists_is_kept() {
    struct Server {
        clients: Vec<Connection>,
        front: Option<Connection>,
    }
    impl Ends for Server {
        fn keep(&self, kept: &mut Kept) {
            self.clients.keep(kept);
            self.front.keep(kept);
        }
    }
    let (one, first) = pipe().unwrap();
    let (two, second) = pipe().unwrap();
    let (three, third) = pipe().unwrap();
    let server = Server { clients: vec![first, second], front: Some(third) };
    let child = Process::fork_with(server, |server| {
        let numbers = server.clients.iter().map(|client| client.recv::<u32>().unwrap());
        server.front.unwrap().send(&numbers.sum::<u32>()).unwrap();
    });
    one.send(&3_u32).unwrap();
    two.send(&4_u32).unwrap();
    assert_eq!(three.recv::<u32>().unwrap(), 7);
    succeeds(child);
}

fn a_listener_and_its_guests_are_let_go() {
    let key = AuthKey::from("key");
    let listener = Listener::builder().authkey(&key).bind(("127.0.0.1", 0)).unwrap();
    let Some(std::net::SocketAddr::V4(address)) = address_of(&listener) else { panic!("an address of version 4") };
    // One guest that has come, and says nothing.
    let mut guest = std::net::TcpStream::connect(address).unwrap();
    assert!(listener.accept_timeout(Duration::from_millis(50)).unwrap().is_none());
    let (near, far) = pipe().unwrap();
    let child = Process::fork_with(far, |far| {
        assert_eq!(listener.accept().unwrap_err().errno(), Some(ossature::sys::errno::Errno::INVAL));
        far.send("ready").unwrap();
        receive_all(&far);
    });
    assert_eq!(near.recv::<String>().unwrap(), "ready");
    drop(listener);
    guest.set_read_timeout(Some(SOON)).unwrap();
    guest.read_to_end(&mut Vec::new()).unwrap(); // it sees that nobody is there any more
    let refused = std::net::TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    drop(near);
    succeeds(child);
}

fn address_of(listener: &Listener) -> Option<std::net::SocketAddr> {
    listener.address().to_string().trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

fn a_given_listener_serves_in_the_child() {
    let scratch = Scratch::new();
    let listener = Listener::bind(scratch.path("socket").as_path()).unwrap();
    let child = Process::fork_with(&listener, |listener| {
        let connection = listener.accept().unwrap();
        connection.send(&std::process::id()).unwrap();
    });
    let child = child.unwrap();
    let client = connect(listener.address()).unwrap();
    assert_eq!(client.recv::<u32>().unwrap() as i32, child.pid().unwrap().as_raw_nonzero().get());
    child.join().unwrap();
}

fn a_child_of_the_child_is_given_what_it_is_given() {
    let (near, far) = pipe().unwrap();
    let child = Process::fork_with(far, |far| {
        let (own, given) = pipe().unwrap();
        let grandchild = Process::fork_with(given, |given| {
            assert_eq!(far.send("no").unwrap_err().kind(), ErrorKind::Closed);
            receive_all(&given);
        });
        own.send("work").unwrap();
        drop(own);
        succeeds(grandchild);
        far.send("done").unwrap();
    });
    assert_eq!(near.recv::<String>().unwrap(), "done");
    succeeds(child);
}

fn descriptors_of_elder_siblings_are_closed_in_a_child() {
    let count = || -> u32 { harness::descriptors().len() as u32 };
    let told = |elder: usize| {
        let siblings: Vec<Process> =
            (0..elder).map(|_| Process::fork(|| std::thread::sleep(Duration::from_secs(1000))).unwrap()).collect();
        let (near, far) = pipe().unwrap();
        succeeds(Process::fork(|| {
            far.send(&count()).unwrap();
            // What it reports by is not for its children.
            succeeds(Process::fork(|| far.send(&count()).unwrap()));
        }));
        for sibling in siblings {
            sibling.kill().unwrap();
            sibling.join().unwrap();
        }
        (near.recv::<u32>().unwrap(), near.recv::<u32>().unwrap())
    };
    let (child, grandchild) = told(0);
    assert_eq!(child, grandchild);
    assert_eq!(told(3), (child, child));
}

fn a_given_sibling_can_be_signalled() {
    let sleeper = Process::fork(|| std::thread::sleep(Duration::from_secs(1000))).unwrap();
    succeeds(Process::fork(|| {
        let error = sleeper.terminate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAllowed);
        assert!(error.to_string().contains("fork_with"), "{error}");
        let mut list = [PollFd::new(&sleeper, PollFlags::IN)];
        assert_eq!(poll(&mut list, Duration::ZERO).unwrap(), 1, "it counts as ended");
    }));
    assert!(sleeper.is_alive().unwrap());
    succeeds(Process::fork_with(&sleeper, |sleeper| sleeper.terminate().unwrap()));
    assert_eq!(sleeper.join().unwrap().signal(), Some(libc::SIGTERM));
}

fn what_was_lent_as_a_descriptor_outlives_a_join() {
    let child = Process::fork(|| ()).unwrap();
    let sentinel = child.as_fd();
    let device = || fs::read_link(format!("/proc/self/fd/{}", sentinel.as_raw_fd())).unwrap();
    let before = device();
    child.join().unwrap();
    child.close().unwrap();
    assert_eq!(device(), before, "whoever polls it polls the same");
    let mut list = [PollFd::from_borrowed(sentinel, PollFlags::IN)];
    assert_eq!(poll(&mut list, Duration::ZERO).unwrap(), 1);
    // One that was not lent before is readable too, whenever it is asked for.
    let child = Process::fork(|| ()).unwrap();
    child.join().unwrap();
    assert_eq!(poll(&mut [PollFd::new(&child, PollFlags::IN)], Duration::ZERO).unwrap(), 1);
}

fn a_failed_fork_gives_everything_back() {
    let (near, far) = pipe().unwrap();
    let end = std::sync::Arc::new(ossature::threading::Event::new());
    let watched = end.clone();
    let thread = ossature::threading::Thread::spawn(move || watched.wait()).unwrap();
    let refused = Process::fork_with(far, |_| ()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::MultiThreaded);
    assert_eq!(near.recv_timeout::<u8>(SOON).unwrap_err().kind(), ErrorKind::Closed, "the ends were dropped");
    end.set();
    thread.join().unwrap();
}
