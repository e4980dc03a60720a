//! Deadlines that expire within a message: nothing is lost, and no message is torn.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Connection, Sent, pipe, pipe_one_way};
use ossature::multiprocessing::transfer::Handle;
use ossature::sys::deadline::Deadline;

use super::{bare, bare_tcp, kind};
use crate::support::soon;

#[test]
fn nothing_by_the_deadline_is_none() {
    for (near, _far) in [pipe().unwrap(), pipe_one_way().unwrap()] {
        let start = Instant::now();
        assert_eq!(near.recv_bytes_timeout(Duration::from_millis(20)).unwrap(), None);
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(near.recv_timeout::<u8>(Duration::ZERO).unwrap(), None);
        assert_eq!(near.recv_bytes_into_timeout(&mut [0; 4], Duration::ZERO).unwrap(), None);
    }
    let (near, _far) = bare_tcp();
    assert_eq!(near.recv_bytes_timeout(Duration::from_millis(1)).unwrap(), None);
}

#[test]
fn part_of_a_message_is_kept_for_whichever_call_comes_next() {
    let frame = b"\0\0\0\x08messages";
    for cut in 1..frame.len() {
        for next in 0..4 {
            let (near, mut far) = bare();
            let mut buffer = [0; 8];
            far.write_all(&frame[..cut]).unwrap();
            if next % 2 == 0 {
                assert_eq!(near.recv_bytes_timeout(Deadline::NOW).unwrap(), None);
            } else {
                assert_eq!(near.recv_bytes_into_timeout(&mut buffer, Deadline::NOW).unwrap(), None);
            }
            far.write_all(&frame[cut..]).unwrap();
            if next < 2 {
                assert_eq!(near.recv_bytes().unwrap(), b"messages");
            } else {
                assert_eq!(near.recv_bytes_into(&mut buffer).unwrap(), 8);
                assert_eq!(&buffer, b"messages");
            }
        }
    }
}

#[test]
fn limit_of_a_later_call_holds_for_a_message_that_has_begun() {
    let (near, mut far) = bare();
    far.write_all(b"\0\0\0\x08mess").unwrap();
    assert_eq!(near.recv_bytes_timeout(Deadline::NOW).unwrap(), None);
    assert_eq!(kind(near.recv_bytes_max(7)), ErrorKind::TooLong);
}

/// Sends messages like `message` until one does not begin to go. Returns how many were sent.
fn fill(near: &Connection, message: &[u8]) -> usize {
    let mut sent = 0;
    while near.send_bytes_timeout(message, Deadline::NOW).unwrap().has_begun() {
        sent += 1;
        assert!(sent < 100_000, "this never fills");
    }
    sent
}

#[test]
fn what_did_not_go_by_the_deadline_goes_first_with_the_next_call() {
    soon(|| {
        for (near, far) in [pipe().unwrap(), pipe_one_way().map(|(reader, writer)| (writer, reader)).unwrap()] {
            let message: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 253) as u8).collect();
            let sent = fill(&near, &message);
            assert!(sent >= 1);
            assert!(!near.flush(Duration::from_millis(1)).unwrap());
            let reading = thread::spawn(move || {
                let mut got = Vec::new();
                while let Ok(message) = far.recv_bytes() {
                    got.push(message);
                }
                got
            });
            assert!(near.flush(None).unwrap());
            near.send_bytes(b"the last").unwrap();
            drop(near);
            let got = reading.join().unwrap();
            assert_eq!(got.len(), sent + 1);
            assert!(got[..sent].iter().all(|whole| *whole == message));
            assert_eq!(got[sent], b"the last");
        }
    });
}

#[test]
fn non_blocking_descriptors_wait_all_the_same() {
    soon(|| {
        let (near, far) = bare();
        far.set_nonblocking(true).unwrap();
        ossature::sys::fd::set_nonblocking(&near).unwrap();
        let far = Connection::from_fd(far.into(), ossature::multiprocessing::connection::Access::Both).unwrap();
        let sending = thread::spawn(move || {
            near.send_bytes(&vec![3; 3 << 20]).unwrap();
            near.recv_bytes().unwrap()
        });
        assert_eq!(far.recv_bytes().unwrap(), vec![3; 3 << 20]);
        thread::sleep(Duration::from_millis(5));
        far.send_bytes(b"late").unwrap();
        assert_eq!(sending.join().unwrap(), b"late");
    });
}

#[test]
fn a_message_that_only_began_is_not_sent() {
    let long = vec![7; 4 << 20];
    for (near, far) in [pipe().unwrap(), pipe_one_way().map(|(reader, writer)| (writer, reader)).unwrap()] {
        assert_eq!(near.send_bytes_timeout(b"whole", Deadline::NOW).unwrap(), Sent::Complete);
        assert_eq!(near.send_bytes_timeout(&long, Duration::from_millis(5)).unwrap(), Sent::Partial);
        assert!(!near.flush(Deadline::NOW).unwrap());
        assert_eq!(near.send_bytes_timeout(b"next", Deadline::NOW).unwrap(), Sent::Nothing);
        assert_eq!(near.send_timeout("next", Deadline::NOW).unwrap(), Sent::Nothing);
        drop(near);
        assert_eq!(far.recv_bytes().unwrap(), b"whole");
        let error = far.recv_bytes().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.to_string().contains("within a message"), "the reader is told: {error}");
    }
}

#[test]
fn a_value_with_descriptors_that_only_began_is_not_sent() {
    soon(|| {
        let null = std::fs::File::open("/dev/null").unwrap();
        let value = (Handle(&null), vec![5_u32; 1 << 20]);
        let (near, far) = pipe().unwrap();
        assert_eq!(near.send_timeout(&(Handle(&null), 1_u32), Deadline::NOW).unwrap(), Sent::Complete);
        assert_eq!(near.send_timeout(&value, Duration::from_millis(5)).unwrap(), Sent::Partial);
        assert_eq!(near.send_timeout(&value, Deadline::NOW).unwrap(), Sent::Nothing);
        assert!(Sent::Partial.has_begun() && !Sent::Partial.is_complete() && !Sent::Nothing.has_begun());
        let reading = thread::spawn(move || {
            let first = far.recv::<(Handle<std::os::fd::OwnedFd>, u32)>().map(|it| it.1);
            (first.unwrap(), far.recv::<(Handle<std::os::fd::OwnedFd>, Vec<u32>)>().unwrap().1.len())
        });
        assert!(near.flush(None).unwrap());
        assert_eq!(reading.join().unwrap(), (1, 1 << 20));
    });
}
