//! Waiting for the first of many objects.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{CancelFd, Sent, pipe, pipe_one_way, wait};
use ossature::sys::process::{Pid, pidfd_open};

use super::kind;
use crate::support::soon;

// TestWait.test_wait, test_wait_slow
#[test]
fn every_message_of_every_reader_is_found() {
    soon(|| {
        let mut readers = Vec::new();
        for writer_number in 0..4 {
            let (reader, writer) = pipe_one_way().unwrap();
            thread::spawn(move || {
                for i in 0..10 {
                    thread::sleep(Duration::from_millis(i % 3));
                    writer.send(&(i, writer_number)).unwrap();
                }
            });
            readers.push(reader);
        }
        let mut messages = Vec::new();
        while !readers.is_empty() {
            let objects: Vec<&dyn AsFd> = readers.iter().map(|reader| reader as _).collect();
            for place in wait(&objects, None).unwrap().into_iter().rev() {
                match readers[place].recv::<(u64, i32)>() {
                    Ok(message) => messages.push(message),
                    Err(end) => {
                        assert_eq!(end.kind(), ErrorKind::Closed);
                        readers.remove(place);
                    }
                }
            }
        }
        messages.sort_unstable();
        let expected: Vec<(u64, i32)> = (0..10).flat_map(|i| (0..4).map(move |writer| (i, writer))).collect();
        assert_eq!(messages, expected);
    });
}

// TestWait.test_wait_socket, test_wait_socket_slow
#[test]
fn sockets_are_waited_for_like_connections() {
    soon(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..4 {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                for i in 0..10 {
                    stream.write_all(format!("{i}\n").as_bytes()).unwrap();
                }
            });
        }
        let mut open: BTreeMap<usize, TcpStream> = (0..4).map(|i| (i, listener.accept().unwrap().0)).collect();
        let mut texts = [const { String::new() }; 4];
        while !open.is_empty() {
            let numbers: Vec<usize> = open.keys().copied().collect();
            let objects: Vec<&dyn AsFd> = open.values().map(|stream| stream as _).collect();
            for place in wait(&objects, None).unwrap() {
                let mut part = [0; 32];
                match (&open[&numbers[place]]).read(&mut part).unwrap() {
                    0 => drop(open.remove(&numbers[place])),
                    n => texts[numbers[place]].push_str(std::str::from_utf8(&part[..n]).unwrap()),
                }
            }
        }
        assert!(texts.iter().all(|text| text == "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"), "{texts:?}");
    });
}

// TestWait.test_wait_timeout, test_neg_timeout (a negative time cannot be written)
#[test]
fn running_out_of_time_is_empty() {
    let (a, b) = pipe().unwrap();
    let start = Instant::now();
    assert_eq!(wait(&[&a, &b], Duration::from_millis(40)).unwrap(), [0_usize; 0]);
    assert!(start.elapsed() >= Duration::from_millis(40));
    assert_eq!(wait(&[&a], Duration::ZERO).unwrap(), [0_usize; 0]);
    b.send(&()).unwrap();
    assert_eq!(wait(&[&a, &b], None).unwrap(), [0]);
    assert_eq!(wait(&[], Duration::from_millis(1)).unwrap(), [0_usize; 0]);
}

// TestWait.test_wait_integer: a process that ended is ready.
#[test]
fn sentinels_of_processes_stand_among_connections() {
    soon(|| {
        let (a, b) = pipe().unwrap();
        let mut sleeping = std::process::Command::new("sleep").arg("0.05").spawn().unwrap();
        let child = pidfd_open(Pid::from_raw(sleeping.id() as i32).unwrap()).unwrap();
        assert_eq!(wait(&[&a, &child, &b], None).unwrap(), [1]);
        a.send(&()).unwrap();
        assert_eq!(wait(&[&a, &child, &b], None).unwrap(), [1, 2]);
        b.send(&()).unwrap();
        assert_eq!(wait(&[&a, &child, &b], None).unwrap(), [0, 1, 2]);
        sleeping.wait().unwrap();
    });
}

#[test]
fn duplicates_are_refused() {
    let (a, b) = pipe().unwrap();
    assert_eq!(kind(wait(&[&a, &b, &a], Duration::ZERO)), ErrorKind::AlreadyRegistered);
}

#[test]
fn wait_and_poll_end_when_they_are_cancelled() {
    soon(|| {
        let stop = CancelFd::new().unwrap();
        let (near, far) = pipe().unwrap();
        thread::scope(|scope| {
            let (fd, stop) = (far.as_fd(), &stop);
            let waiting = scope.spawn(move || wait(&[&fd], stop).unwrap());
            thread::sleep(Duration::from_millis(5));
            assert!(!waiting.is_finished());
            stop.cancel().unwrap();
            assert_eq!(waiting.join().unwrap(), [0_usize; 0]);
        });
        assert!(!far.poll(&stop).unwrap());
        near.send_bytes(b"there").unwrap();
        assert_eq!(wait(&[&far], &stop).unwrap(), [0], "no wait to end");
        assert!(far.poll(&stop).unwrap());
        assert_eq!(wait(&[&far, &stop], None).unwrap(), [0, 1], "it is a descriptor like others");
    });
}

/// A wait ends on every carrier, and within a message too: the received part is kept.
#[test]
fn receiving_and_sending_end_when_they_are_cancelled() {
    for (near, far) in [pipe().unwrap(), pipe_one_way().map(|(reader, writer)| (writer, reader)).unwrap()] {
        soon(move || {
            let stop = CancelFd::new().unwrap();
            let (far, stop) = thread::scope(|scope| {
                let stop = &stop;
                let receiving = scope.spawn(move || (far.recv_bytes_timeout(stop), far));
                thread::sleep(Duration::from_millis(5));
                assert!(!receiving.is_finished());
                stop.cancel().unwrap();
                let (received, far) = receiving.join().unwrap();
                assert_eq!(received.unwrap(), None);
                (far, stop)
            });
            assert_eq!(far.recv_timeout::<u8>(stop).unwrap(), None);
            assert_eq!(far.recv_bytes_into_timeout(&mut [0; 9], stop).unwrap(), None);

            let long = vec![7; 4 << 20];
            assert_eq!(near.send_bytes_timeout(&long, stop).unwrap(), Sent::Partial, "nobody reads");
            assert_eq!(near.send_bytes_timeout(b"next", stop).unwrap(), Sent::Nothing);
            assert!(!near.flush(stop).unwrap());
            assert_eq!(far.recv_bytes_timeout(stop).unwrap(), None, "a part has come");
            let sending = thread::spawn(move || near.flush(None).map(|_| near));
            assert_eq!(far.recv_bytes().unwrap(), long);
            let near = sending.join().unwrap().unwrap();
            assert!(near.send_bytes_timeout(b"short", stop).unwrap().is_complete(), "no wait to end");
            assert_eq!(far.recv_bytes_timeout(stop).unwrap().as_deref(), Some(&b"short"[..]));
        });
    }
}
