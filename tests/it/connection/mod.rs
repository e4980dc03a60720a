//! Messages between two ends: CPython's cases in our own words, messages from hostile peers, and deadlines within a
//! message.

mod deadlines;
mod descriptors;
mod hostile;
mod waits;

use std::error::Error as _;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use ossature::multiprocessing::connection::{Access, BufferTooShort, Connection, Sent, pipe, pipe_one_way, wait};
use ossature::{ErrorKind, Result};

use crate::support::soon;

/// A connection and the bare socket at its other end.
pub(super) fn bare() -> (Connection, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    (Connection::from_fd(near.into(), Access::Both).unwrap(), far)
}

/// A connection over TCP and the bare socket at its other end.
pub(super) fn bare_tcp() -> (Connection, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Connection::from_fd(listener.accept().unwrap().0.into(), Access::Both).unwrap(), far)
}

/// The kind of the error; panics if there is none.
#[track_caller]
pub(super) fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn echo(connection: &Connection) -> Result<()> {
    loop {
        let message = connection.recv_bytes()?;
        if message.is_empty() {
            return Ok(());
        }
        connection.send_bytes(&message)?;
    }
}

// _TestConnection.test_connection
#[test]
fn values_bytes_and_large_messages_come_back_from_an_echo() {
    soon(|| {
        let (near, far) = pipe().unwrap();
        let echoing = thread::spawn(move || echo(&far));
        let value = (1, 2.25, None::<()>);
        near.send(&value).unwrap();
        assert_eq!(near.recv::<(i32, f64, Option<()>)>().unwrap(), value);
        near.send_bytes(b"hello world").unwrap();
        assert_eq!(near.recv_bytes().unwrap(), b"hello world");

        let mut buffer = [0; 10];
        near.send_bytes(b"0123").unwrap();
        assert_eq!(near.recv_bytes_into(&mut buffer[3..]).unwrap(), 4);
        assert_eq!(&buffer, b"\0\0\x000123\0\0\0");

        let long = b"hello world".repeat(10);
        near.send_bytes(&long).unwrap();
        let error = near.recv_bytes_into(&mut [0; 40]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLong);
        let whole = error.source().unwrap().downcast_ref::<BufferTooShort>().unwrap();
        assert_eq!(whole.message(), long);

        assert!(!near.poll(Duration::ZERO).unwrap());
        let start = Instant::now();
        assert!(!near.poll(Duration::from_millis(30)).unwrap());
        assert!(start.elapsed() >= Duration::from_millis(30));
        near.send(&7).unwrap();
        assert!(near.poll(None).unwrap());
        assert_eq!(near.recv::<i32>().unwrap(), 7);

        let big = vec![b'X'; 16 << 20];
        thread::scope(|scope| {
            let reading = scope.spawn({
                let (near, big) = (near, &big);
                move || {
                    near.send_bytes(big).unwrap();
                    assert!(near.recv_bytes().unwrap() == *big);
                    near
                }
            });
            let near = reading.join().unwrap();
            near.send_bytes(b"").unwrap();
            echoing.join().unwrap().unwrap();
            assert!(near.readable() && near.writable());
            assert_eq!(kind(near.recv::<()>()), ErrorKind::Closed);
            assert_eq!(kind(near.recv_bytes()), ErrorKind::Closed);
        });
    });
}

// _TestConnection.test_duplex_false
#[test]
fn one_way_pipe_goes_one_way() {
    let (reader, writer) = pipe_one_way().unwrap();
    writer.send(&1).unwrap();
    assert_eq!(reader.recv::<i32>().unwrap(), 1);
    assert!(reader.readable() && !reader.writable() && !writer.readable() && writer.writable());
    assert_eq!(kind(reader.send(&2)), ErrorKind::Closed);
    assert_eq!(kind(writer.recv::<i32>()), ErrorKind::Closed);
    assert_eq!(kind(writer.poll(Duration::ZERO)), ErrorKind::Closed);
    drop(writer);
    assert_eq!(kind(reader.recv_bytes()), ErrorKind::Closed);
}

#[test]
fn ends_are_closed_on_exec_however_they_were_had() {
    let ((one, other), (reader, writer)) = (pipe().unwrap(), pipe_one_way().unwrap());
    one.send(&(&reader, &one)).unwrap();
    let (reader_there, end_there): (Connection, Connection) = other.recv().unwrap();
    for end in [&one, &other, &reader, &writer, &reader_there, &end_there] {
        assert!(rustix::io::fcntl_getfd(end).unwrap().contains(rustix::io::FdFlags::CLOEXEC), "{end:?}");
    }
}

// The message is never read, so that no more of it is touched than a socket holds.
#[cfg(target_pointer_width = "64")]
#[test]
fn long_header_is_sent_only_beyond_what_the_short_one_can_say() {
    for (len, header) in [
        (0x7fff_ffff_usize, &[0x7f, 0xff, 0xff, 0xff, 0, 0][..]),
        (0x8000_0000, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0]),
    ] {
        let (near, mut far) = bare();
        let sending = thread::spawn(move || near.send_bytes(&vec![0; len]).unwrap_err().kind());
        let mut wire = vec![1; header.len()];
        far.read_exact(&mut wire).unwrap();
        assert_eq!(wire, header);
        drop(far);
        assert_eq!(sending.join().unwrap(), ErrorKind::Closed);
    }
}

// _TestConnection.test_sendbytes
#[test]
fn ranges_of_a_buffer_are_sent_and_what_is_not_there_is_refused() {
    let letters = b"abcdefghijklmnopqrstuvwxyz";
    let (a, b) = pipe().unwrap();
    for (offset, size) in [(0, 26), (5, 21), (7, 8), (26, 0)] {
        a.send_bytes_range(letters, offset, size).unwrap();
        assert_eq!(b.recv_bytes().unwrap(), &letters[offset..offset + size]);
    }
    for (offset, size) in [(27, 0), (22, 5), (26, 1), (usize::MAX, 1), (1, usize::MAX)] {
        assert_eq!(kind(a.send_bytes_range(letters, offset, size)), ErrorKind::OutOfRange);
    }
    a.send_bytes(b"still in step").unwrap();
    assert_eq!(b.recv_bytes().unwrap(), b"still in step");
}

// _TestConnection.test_context: using a closed connection does not compile, and the other side is told.
#[test]
fn closing_one_end_is_seen_at_the_other() {
    let (a, b) = pipe().unwrap();
    a.send(&1729).unwrap();
    assert!(!a.is_closed());
    a.close();
    assert_eq!(b.recv::<i32>().unwrap(), 1729);
    assert_eq!(kind(b.recv::<i32>()), ErrorKind::Closed);
    let error = b.send_bytes(b"nobody").unwrap_err();
    assert_eq!((error.kind(), error.errno().is_some()), (ErrorKind::Closed, true));
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::UnexpectedEof);
}

// _TestPoll.test_empty_string, test_dont_merge
#[test]
fn polling_takes_nothing_and_messages_do_not_merge() {
    let (a, b) = pipe().unwrap();
    assert!(!a.poll(Duration::ZERO).unwrap());
    for message in [&b""[..], b"a", b"b", b"cd", b""] {
        b.send_bytes(message).unwrap();
    }
    for message in [&b""[..], b"a", b"b", b"cd", b""] {
        assert!(a.poll(Duration::ZERO).unwrap() && a.poll(None).unwrap());
        assert_eq!(a.recv_bytes().unwrap(), message);
    }
    assert!(!a.poll(Duration::ZERO).unwrap());
    drop(b);
    assert!(a.poll(None).unwrap(), "an end can be received too");
    assert_eq!(kind(a.recv_bytes()), ErrorKind::Closed);
}

// _TestPoll.test_boundaries
#[test]
fn nothing_beyond_a_message_is_read_so_another_reader_finds_the_next_one() {
    let (reader, writer) = pipe_one_way().unwrap();
    let other = Connection::from_fd(reader.as_fd().try_clone_to_owned().unwrap(), Access::Receive).unwrap();
    for message in ["first", "second", "third"] {
        writer.send_bytes(message.as_bytes()).unwrap();
    }
    assert!(other.poll(None).unwrap());
    assert_eq!(reader.recv_bytes().unwrap(), b"first");
    assert_eq!(other.recv_bytes().unwrap(), b"second");
    assert_eq!(reader.recv_bytes_into(&mut [0; 16]).unwrap(), 5);
}

#[test]
fn frames_are_those_of_cpython() {
    let (near, mut far) = bare();
    near.send_bytes(b"").unwrap();
    near.send_bytes(b"abc").unwrap();
    near.send_bytes(&[7; 600]).unwrap();
    let mut wire = vec![0; 4 + 7 + 604];
    far.read_exact(&mut wire).unwrap();
    assert_eq!(&wire[..11], b"\0\0\0\0\0\0\0\x03abc");
    assert_eq!((&wire[11..15], &wire[15..]), (&[0, 0, 2, 88][..], &[7; 600][..]));

    // What CPython 3.11 sends for {"a": 1}, in its pickle.
    let pickle = b"\x80\x04\x95\x0a\0\0\0\0\0\0\0}\x94\x8c\x01a\x94K\x01s.";
    far.write_all(&[&[0, 0, 0, 0x15][..], pickle].concat()).unwrap();
    assert_eq!(near.recv_bytes().unwrap(), pickle);
    // The long form is taken for any length.
    far.write_all(b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x03abc\xff\xff\xff\xff\0\0\0\0\0\0\0\0").unwrap();
    assert_eq!(near.recv_bytes().unwrap(), b"abc");
    assert_eq!(near.recv_bytes().unwrap(), b"");
}

#[test]
fn every_length_around_the_thresholds_arrives_whole_on_every_carrier() {
    soon(|| {
        let (tcp, far_tcp) = bare_tcp();
        let pairs = [
            pipe().unwrap(),
            pipe_one_way().map(|(reader, writer)| (writer, reader)).unwrap(),
            (tcp, Connection::from_fd(OwnedFd::from(far_tcp), Access::Both).unwrap()),
        ];
        for (near, far) in pairs {
            let lengths = [0, 1, 507, 508, 509, 512, 4092, 4096, 16384, 16385, 65536, 1 << 20, (1 << 20) + 1, 5 << 20];
            let sending = thread::spawn(move || {
                for len in lengths {
                    near.send_bytes(&(0..len).map(|i| (i % 251) as u8).collect::<Vec<_>>()).unwrap();
                }
            });
            for len in lengths {
                let message = far.recv_bytes().unwrap();
                assert!(message.len() == len && message.iter().enumerate().all(|(i, &byte)| byte == (i % 251) as u8));
            }
            sending.join().unwrap();
        }
    });
}

#[test]
fn halves_go_to_two_threads_and_finish_ends_one_direction() {
    soon(|| {
        let (near, far) = pipe().unwrap();
        let (receiver, sender) = near.split();
        let heard = thread::spawn(move || {
            let message = receiver.recv::<String>();
            (message, receiver)
        });
        sender.send("first").unwrap();
        assert_eq!(far.recv::<String>().unwrap(), "first");
        sender.finish().unwrap();
        assert_eq!(kind(far.recv_bytes()), ErrorKind::Closed);
        far.send("still").unwrap();
        let (message, receiver) = heard.join().unwrap();
        assert_eq!(message.unwrap(), "still");
        drop(receiver);
        assert_eq!(kind(far.send("gone")), ErrorKind::Closed);
    });
}

#[test]
fn halves_shut_each_other_down_and_become_one_again() {
    soon(|| {
        let (near, far) = pipe().unwrap();
        let (receiver, sender) = near.split();
        let blocked = thread::spawn(move || (receiver.recv_bytes(), receiver));
        thread::sleep(Duration::from_millis(5));
        assert!(!blocked.is_finished());
        assert_eq!(wait(&[&sender], Duration::ZERO).unwrap(), [0_usize; 0], "waited for beside a blocked receive");
        assert!(sender.writable() && sender.peer_credentials().unwrap().is_some());
        sender.shutdown().unwrap();
        let (received, receiver) = blocked.join().unwrap();
        assert_eq!((kind(received), kind(sender.send_bytes(b"late"))), (ErrorKind::Closed, ErrorKind::Closed));
        assert_eq!(kind(far.recv_bytes()), ErrorKind::Closed);
        assert!(receiver.readable());
        let near = Connection::reunite(receiver, sender).unwrap();
        drop(OwnedFd::from(near)); // one owner again
    });
    let (reader, writer) = pipe_one_way().unwrap();
    let error = reader.shutdown().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("CancelFd"), "{error}");
    drop(writer);
}

#[test]
fn reunited_connection_keeps_what_has_begun() {
    let (near, mut far) = bare();
    near.set_max_message(100);
    far.write_all(b"\0\0\0\x04ha").unwrap();
    let (receiver, sender) = near.split();
    assert_eq!(receiver.recv_bytes_timeout(Duration::ZERO).unwrap(), None);
    let long = vec![7; 4 << 20];
    assert_eq!(sender.send_bytes_timeout(&long, Duration::ZERO).unwrap(), Sent::Partial);
    let near = Connection::reunite(receiver, sender).unwrap();
    far.write_all(b"lf").unwrap();
    assert_eq!((near.recv_bytes().unwrap(), near.max_message()), (b"half".to_vec(), 100));
    assert_eq!(near.send_bytes_timeout(b"next", Duration::ZERO).unwrap(), Sent::Nothing);
    let (one, other) = (near.split(), pipe().unwrap().0.split());
    let error = Connection::reunite(one.0, other.1).unwrap_err();
    assert!(error.to_string().contains("not of one connection"));
    assert!(Connection::reunite(error.receiver, one.1).is_ok(), "given back");
}

#[test]
fn value_of_another_type_is_an_error_and_the_next_message_is_whole() {
    let (near, far) = pipe().unwrap();
    near.send("text that is no number").unwrap();
    near.send(&300_u16).unwrap();
    near.send(&(1, 2)).unwrap();
    near.send(&5).unwrap();
    assert_eq!(kind(far.recv::<Option<u8>>()), ErrorKind::Decode);
    assert_eq!(kind(far.recv::<u8>()), ErrorKind::Decode);
    let left_over = far.recv::<i32>().unwrap_err();
    assert_eq!(left_over.kind(), ErrorKind::Decode);
    assert!(left_over.to_string().contains("left over"), "{left_over}");
    assert_eq!(far.recv::<i32>().unwrap(), 5);
}

#[test]
fn why_an_end_is_closed_is_told() {
    let (reader, writer) = pipe_one_way().unwrap();
    let told = |error: ossature::Error, part: &str| {
        assert!(error.kind() == ErrorKind::Closed && error.to_string().contains(part), "{error}");
    };
    told(reader.send(&1).unwrap_err(), "read-only (Access::Receive)");
    told(writer.recv::<u8>().unwrap_err(), "write-only (Access::Send)");
    let (mut far, near) = UnixStream::pair().unwrap();
    let near = Connection::from_fd(near.into(), Access::Both).unwrap();
    far.write_all(b"\xff\xff\xff\x00").unwrap();
    assert_eq!(near.recv_bytes().unwrap_err().kind(), ErrorKind::Decode);
    told(near.recv_bytes().unwrap_err(), "earlier malformed message");
}

#[test]
fn a_list_takes_two_levels_for_each_link() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct L(u8, Option<Box<L>>);
    let list = |nodes: u8| (1..nodes).fold(L(0, None), |rest, item| L(item, Some(Box::new(rest))));
    let (near, far) = pipe().unwrap();
    near.send(&list(64)).unwrap();
    near.send(&list(65)).unwrap();
    assert!(far.recv::<L>().is_ok());
    assert_eq!(kind(far.recv::<L>().map(drop)), ErrorKind::Decode);
}

#[test]
fn peers_are_known_by_the_kernels_word() {
    let (near, _far) = pipe().unwrap();
    let peer = near.peer_credentials().unwrap().unwrap();
    assert_eq!(peer.pid, Some(ossature::sys::process::id()));
    assert_eq!(peer.uid, ossature::sys::process::effective_user());
    let (reader, _writer) = pipe_one_way().unwrap();
    assert_eq!(reader.peer_credentials().unwrap(), None);
    let (tcp, _far) = bare_tcp();
    assert_eq!(tcp.peer_credentials().unwrap(), None);
}
