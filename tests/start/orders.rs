//! What a client sends to the fork server: orders of every length, an order that was given up, and no orders at all.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::transfer::Handle;
use ossature::multiprocessing::{Context, Process};
use ossature::sys::deadline::Deadline;
use ossature::sys::process::{ExitStatus, Signal, pidfd_open, pidfd_send_signal};
use ossature::sys::socket::{Kind, Shutdown, Socket};

use crate::forkserver::{server, with_server};
use crate::harness::{Afterwards, Test, pipe};
use crate::rights::way_to_the_server;

pub const TESTS: &[Test] = &[
    ("arguments_of_every_length_arrive", arguments_of_every_length_arrive),
    ("order_that_was_given_up_begins_nothing", order_that_was_given_up_begins_nothing),
    ("server_withstands_what_is_no_order", server_withstands_what_is_no_order),
];

const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the arguments have arrived whole.
pub fn weigh(len: usize, bytes: Vec<u8>, files: Vec<Handle<File>>) -> u8 {
    let whole = bytes.len() == len && bytes.iter().all(|byte| *byte == 7);
    let open = |Handle(file): &Handle<File>| file.read_exact_at(&mut [0; 4], 0).is_ok();
    u8::from(!(whole && files.iter().all(open)))
}

fn arguments_of_every_length_arrive() {
    let files = |count| (0..count).map(|_| Handle(File::open("/proc/self/exe").unwrap())).collect::<Vec<_>>();
    for spares in [0, 1] {
        with_server(spares, || {
            // The order has room for some 4,000 bytes and 30 descriptors.
            for (len, count) in
                [(0, 0), (3000, 20), (3500, 0), (4000, 0), (4096, 0), (1 << 20, 0), (10, 40), (9000, 300)]
            {
                let arguments = (len, vec![7_u8; len], files(count));
                let process = Process::builder().context(Context::Forkserver).start(weigh, arguments).unwrap();
                let exit = process.join_timeout(PATIENCE).unwrap();
                assert_eq!(exit, Some(ExitStatus::Code(0)), "{len} bytes and {count} files, with {spares} spares");
            }
        });
    }
}

/// The server takes the order of a client that has given up.
fn order_that_was_given_up_begins_nothing() {
    for spares in [0, 1] {
        with_server(spares, || {
            let start = || Process::builder().context(Context::Forkserver);
            assert!(start().start(crate::spawn::none, ()).unwrap().join_timeout(PATIENCE).unwrap().is_some());
            let server = pidfd_open(server()).unwrap();
            pidfd_send_signal(&server, Signal::STOP).unwrap();
            let _afterwards = Afterwards(|| pidfd_send_signal(&server, Signal::CONT).unwrap());
            let (mut told, tell) = pipe();
            let limited = start().start_timeout(Duration::from_millis(50));
            let error = limited.start(tell_of_the_begin, (Handle(tell),)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StartFailed, "{error}");
            pidfd_send_signal(&server, Signal::CONT).unwrap();
            let mut text = String::new();
            told.read_to_string(&mut text).unwrap();
            assert_eq!(text, "", "with {spares} spares");
        });
    }
}

pub fn tell_of_the_begin(Handle(mut tell): Handle<File>) {
    tell.write_all(b"begun").unwrap();
    wait_for_ever();
}

pub fn wait_for_ever() {
    loop {
        std::thread::park();
    }
}

/// Nothing that a holder of the server's socket sends ends the server, delays it, or leaves a child.
fn server_withstands_what_is_no_order() {
    with_server(1, || {
        let start = || Process::builder().context(Context::Forkserver).start(crate::spawn::none, ()).unwrap();
        assert!(start().join_timeout(PATIENCE).unwrap().is_some());
        let before = server();
        let server = way_to_the_server();
        let garbage = File::open("/proc/self/exe").unwrap();
        let (stream, _far) = Socket::pair(Kind::Stream).unwrap();
        let send = |bytes: &[u8], descriptors: &[BorrowedFd<'_>]| {
            // Both ends are gone when the server takes the message, or neither is.
            for hold in [false, true] {
                let ((status, theirs), (line, end)) = pairs();
                let sockets = [theirs.as_fd(), end.as_fd()];
                let all: Vec<_> = sockets.into_iter().chain(descriptors.iter().copied()).collect();
                server.send_with(bytes, &all, PATIENCE).unwrap().unwrap();
                drop((theirs, end));
                if hold {
                    // A server that says nothing of a child has closed both, and a child that has no request ends.
                    line.shutdown(Shutdown::Write).unwrap();
                    let _ = line.recv(&mut [0; 64], PATIENCE).unwrap().expect("the line is held open");
                    let _ = status.recv(&mut [0; 64], PATIENCE).unwrap().expect("the server is silent");
                }
            }
        };
        let whole = [b"F", &[0; 64][..]].concat();
        for bytes in [&b"F"[..], b"f", b"?", b"P\x01\0\0\0", &whole, &[b'F'; 5000]] {
            send(bytes, &[]);
            send(bytes, &[garbage.as_fd(); 30]);
            send(bytes, &[garbage.as_fd(); 60]);
            // Other things than a status socket and a line, or none.
            for descriptors in [&[][..], &[garbage.as_fd(); 2], &[stream.as_fd()], &[stream.as_fd(), garbage.as_fd()]] {
                match descriptors {
                    [] => server.send(bytes, PATIENCE).unwrap().unwrap(),
                    some => server.send_with(bytes, some, PATIENCE).unwrap().unwrap(),
                };
            }
        }
        server.send(b"", PATIENCE).unwrap().unwrap();
        // A status socket that has no room.
        let ((_status, theirs), (_line, end)) = pairs();
        while theirs.send(&[0; 1024], Deadline::NOW).unwrap().is_some() {}
        server.send_with(b"F", &[theirs.as_fd(), end.as_fd()], PATIENCE).unwrap().unwrap();
        drop((theirs, end));
        assert!(start().join_timeout(PATIENCE).unwrap().is_some());
        assert_eq!(self::server(), before, "another server");
    });
}

fn pairs() -> ((Socket, Socket), (Socket, Socket)) {
    (Socket::pair(Kind::SeqPacket).unwrap(), Socket::pair(Kind::Stream).unwrap())
}
