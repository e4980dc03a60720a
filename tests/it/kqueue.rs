//! Python's select.kqueue: the portable cases of CPython's own tests, and the features that its object adds to the
//! queue of `sys`.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ossature::error::ErrorKind;
use ossature::select::{Filter, Flags, Kevent, Kqueue, Notes};
use ossature::sys::errno::Errno;
use ossature::sys::fd::is_cloexec;
use ossature::sys::signal::realtime;

use crate::support::soon;

/// CPython's test_create_queue.
#[test]
fn a_queue_has_a_number_until_it_is_closed() {
    let mut queue = Kqueue::new().unwrap();
    assert!(queue.fileno().unwrap().as_raw_fd() > 0);
    assert!(!queue.is_closed());
    queue.close();
    assert!(queue.is_closed());
    assert_eq!(queue.fileno().unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// CPython's test_queue_event: one event for each change of state, with the flags and the numbers that it expects.
#[test]
fn a_connection_is_writable_then_readable() {
    let queue = Kqueue::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let (flags, second) = (Flags::ADD | Flags::ENABLE, Duration::from_secs(1));
    for socket in [&client, &server] {
        queue.control([Kevent::write(socket).with_flags(flags)], 0, None).unwrap();
        queue.control([Kevent::read(socket).with_flags(flags)], 0, None).unwrap();
    }
    let told = |room| {
        let mut events: Vec<_> = soon(|| queue.control([], room, second)).unwrap();
        events.sort();
        events.iter().map(|event| (event.ident() as i32, event.filter(), event.flags())).collect::<Vec<_>>()
    };
    let (near, far) = (client.as_raw_fd(), server.as_raw_fd());
    let none = Flags::empty();
    let mut expected = [(near, Filter::WRITE, none), (far, Filter::WRITE, none)];
    expected.sort();
    assert_eq!(told(4), expected);
    client.write_all(b"Hello!").unwrap();
    server.write_all(b"world!!!").unwrap();
    soon(|| while told(4).len() < 4 {});
    let data: Vec<_> = queue.control([], 4, second).unwrap();
    let of = |fd: i32| data.iter().find(|e| e.filter() == Filter::READ && e.ident() == fd as usize).map(Kevent::data);
    assert_eq!((of(near), of(far)), (Some(8), Some(6)));
    let gone = [Kevent::write(&client).with_flags(Flags::DELETE), Kevent::read(&client).with_flags(Flags::DELETE)];
    let off = Kevent::write(&server).with_flags(Flags::DISABLE);
    assert_eq!(queue.control(gone.into_iter().chain([off]), 0, Duration::ZERO).unwrap(), []);
    assert_eq!(told(4), [(far, Filter::READ, none)]);
}

/// CPython's test_pair: the changes and the wait in one call.
#[test]
fn a_pair_is_watched_in_one_call() {
    let queue = Kqueue::new().unwrap();
    let (left, right) = UnixStream::pair().unwrap();
    let changes = [Kevent::read(&left), Kevent::write(&left)];
    let events = queue.control(changes, 1, Duration::from_secs(5)).unwrap();
    assert_eq!(events.iter().map(Kevent::filter).collect::<Vec<_>>(), [Filter::WRITE]);
    (&right).write_all(b"x").unwrap();
    assert_eq!(queue.control([], 5, Duration::from_secs(5)).unwrap().len(), 2);
}

/// CPython's test_issue30058: any iterable of changes is accepted.
#[test]
fn changes_come_from_any_iterator() {
    let queue = Kqueue::new().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    let change = Kevent::read(&near);
    assert_eq!(queue.control(vec![change], 0, None).unwrap(), []);
    assert_eq!(queue.control(std::iter::once(change), 0, None).unwrap(), []);
    assert_eq!(queue.control((0..3).map(Kevent::user), 0, None).unwrap(), []);
}

/// CPython's test_close.
#[test]
fn a_closed_queue_can_be_closed_again_and_not_used() {
    let mut queue = Kqueue::new().unwrap();
    queue.close();
    queue.close();
    let error = queue.control([], 1, None).unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("closed")), (ErrorKind::InvalidInput, true), "{error}");
}

/// CPython's test_fd_non_inheritable.
#[test]
fn the_number_is_not_inherited_by_programs() {
    let queue = Kqueue::new().unwrap();
    assert_eq!(is_cloexec(queue.fileno().unwrap()), Ok(true));
}

#[test]
fn a_wait_keeps_its_time_and_no_room_means_no_wait() {
    let queue = Kqueue::new().unwrap();
    let began = Instant::now();
    assert_eq!(soon(|| queue.control([], 1, Duration::from_millis(15))).unwrap(), []);
    assert!(began.elapsed() >= Duration::from_millis(15));
    assert_eq!(soon(|| queue.control([], 0, None)).unwrap(), []);
}

#[test]
fn a_failing_change_is_an_event_where_there_is_room_and_an_error_with_the_remedy_where_not() {
    let queue = Kqueue::new().unwrap();
    let gone = Kevent::user(7).with_flags(Flags::DELETE);
    let answers = queue.control([gone, Kevent::user(1).with_flags(Flags::ADD | Flags::RECEIPT)], 8, None).unwrap();
    assert_eq!((answers[0].flags(), answers[0].error()), (Flags::ERROR, Some(Errno::NOENT)));
    assert_eq!((answers[1].flags(), answers[1].data(), answers.len()), (Flags::ERROR, 0, 2));
    let error = queue.control([gone], 0, None).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::NOENT)));
    assert!(error.to_string().contains("USER 7"), "{error}");
    let fork = Kevent::new(1, Filter::PROC).with_notes(Notes::FORK);
    let signal = Kevent::signal(realtime(2).unwrap());
    for (change, word) in [(fork, "tracer"), (signal, "sys::signal::block")] {
        let error = queue.control([change], 0, None).unwrap_err();
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Unsupported, Some(Errno::OPNOTSUPP)));
        assert!(error.to_string().contains(word), "{error}");
    }
}
