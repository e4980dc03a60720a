//! A test for each row of the table of differences in the module's documentation.

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::AsRawFd;
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue, Notes, refusal};
use ossature_sys::pipe::capacity;
use ossature_sys::process::Pid;
use ossature_sys::signal::{self, SignalSet, realtime};

use super::{now, one, wait};
use crate::interrupt::under_signals;

#[test]
fn every_row_of_the_table_has_its_test() {
    let docs = include_str!("../../../src/kqueue/mod.rs");
    let (here, fork) = (include_str!("differences.rs"), include_str!("../../fork/kqueue.rs"));
    let (_, table) = docs.split_once("| feature | a BSD | here | test |").unwrap();
    let rows: Vec<_> = table.lines().skip(2).map_while(|line| line.strip_prefix("//! | ")).collect();
    assert!(rows.len() > 15, "{rows:?}");
    for row in rows {
        let shown = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
        let name = shown.split('`').nth(1).unwrap();
        if shown.contains("sys/kqueue-c/") {
            continue; // which its own check looks at
        }
        let file = if shown.ends_with("in `sys/tests/fork`") { fork } else { here };
        assert!(file.contains(&format!("fn {name}()")), "{row}");
    }
}

#[test]
fn signals_are_counted_only_where_they_are_blocked() {
    let signal = realtime(8).unwrap();
    let queue = Kqueue::new().unwrap();
    assert_eq!(queue.change(&Kevent::signal(signal)), Err(Errno::OPNOTSUPP));
    let _blocked = signal::block(SignalSet::from(signal)).unwrap();
    let before = format!("{:?}", signal::disposition(signal).unwrap());
    queue.change(&Kevent::signal(signal)).unwrap();
    signal::raise(signal).unwrap();
    assert_eq!(one(&queue).data(), 1);
    assert_eq!(format!("{:?}", signal::disposition(signal).unwrap()), before, "no handler was replaced");
}

#[test]
fn a_signal_goes_to_one_of_two_queues() {
    let signal = realtime(9).unwrap();
    let _blocked = signal::block(SignalSet::from(signal)).unwrap();
    let queues = [Kqueue::new().unwrap(), Kqueue::new().unwrap()];
    for queue in &queues {
        queue.change(&Kevent::signal(signal)).unwrap();
    }
    signal::raise(signal).unwrap();
    assert_eq!(queues.iter().map(|queue| now(queue).len()).sum::<usize>(), 1);
}

#[test]
fn what_linux_cannot_do_is_refused_with_the_reason() {
    let queue = Kqueue::new().unwrap();
    let own = std::process::id() as usize;
    let refused = |change: Kevent, word: &str| {
        let reason = refusal(&change).unwrap_or_else(|| panic!("{change:?} is not refused"));
        assert!(reason.contains(word), "{reason}");
        assert_eq!(queue.change(&change), Err(Errno::OPNOTSUPP), "{change:?}");
    };
    for notes in [Notes::FORK, Notes::EXEC, Notes::TRACK, Notes::TRACKERR, Notes::CHILD, Notes::FORK | Notes::EXIT] {
        refused(Kevent::new(own, Filter::PROC).with_notes(notes), "tracer");
    }
    refused(Kevent::new(own, Filter::PROC).with_notes(Notes::PCTRLMASK), "EXIT");
    refused(Kevent::new(own, Filter::PROC).with_notes(Notes::PDATAMASK), "EXIT");
    refused(Kevent::new(own, Filter::PROC).with_notes(Notes::from_bits_retain(8)), "EXIT");
    refused(Kevent::new(0, Filter::VNODE).with_notes(Notes::REVOKE), "REVOKE");
    refused(Kevent::new(0, Filter::AIO), "AIO");
    refused(Kevent::new(0, Filter::FS), "mountinfo");
    for notes in [Notes::LINKUP, Notes::LINKDOWN, Notes::LINKINV] {
        refused(Kevent::new(0, Filter::NETDEV).with_notes(notes), "netlink");
    }
    refused(Kevent::new(0, Filter::EMPTY), "EMPTY");
    refused(Kevent::user(1).with_flags(Flags::ADD | Flags::DISPATCH2), "DISPATCH2");
    refused(Kevent::user(1).with_flags(Flags::ADD | Flags::FLAG1), "FLAG1");
    refused(Kevent::user(1).with_flags(Flags::ADD | Flags::SYSFLAGS), "SYSFLAGS");
    assert_eq!(queue.len(), Ok(0));
}

#[test]
fn forks_are_told_once_they_were_asked_for() {
    let queue = Kqueue::new().unwrap();
    let forks = Kevent::exit(ossature_sys::process::id()).with_notes(Notes::FORK);
    assert_eq!(queue.change(&forks), Err(Errno::OPNOTSUPP));
    match queue.follow_processes() {
        Ok(()) => assert_eq!(queue.change(&forks), Ok(())),
        Err(errno) => {
            let reasons =
                [Errno::PERM, Errno::OPNOTSUPP, Errno::CONNREFUSED, Errno::PROTONOSUPPORT, Errno::AFNOSUPPORT];
            assert!(reasons.contains(&errno), "{errno}");
            assert_eq!(queue.change(&forks), Err(Errno::OPNOTSUPP));
        }
    }
}

#[test]
fn the_end_of_a_grandchild_is_told() {
    let queue = Kqueue::new().unwrap();
    // The shell tells the number of a child that ends with its input, and reaps it.
    let mut child = Command::new("/bin/sh")
        .args(["-c", "exec 3<&0; (cat <&3; exit 7) & echo $!; wait $!"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut number = String::new();
    let mut output = child.stdout.take().unwrap();
    while !number.ends_with('\n') {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap();
        number.push(char::from(byte[0]));
    }
    let pid = Pid::from_raw(number.trim().parse().unwrap()).unwrap();
    queue.change(&Kevent::exit(pid)).unwrap();
    assert_eq!(now(&queue), []);
    drop(child.stdin.take());
    let event = one(&queue);
    assert_eq!(event.notes(), Notes::EXIT);
    assert!([0, 7 << 8].contains(&event.data()), "{}", event.data());
    child.wait().unwrap();
}

#[test]
fn a_duplicate_keeps_the_events_of_a_closed_descriptor() {
    let queue = Kqueue::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    queue.change(&Kevent::read(&near)).unwrap();
    let keeper = near.try_clone().unwrap();
    let number = near.as_raw_fd() as usize;
    drop(near);
    assert_eq!(queue.len(), Ok(1), "nobody has told the queue");
    far.write_all(b"x").unwrap();
    // Either the number is closed, and the event finds that out; or another test has opened it, and the entry is met.
    let events = wait(&queue, Duration::from_millis(5));
    assert!(events.iter().all(|event| event.ident() == number));
    let gone = queue.change(&Kevent::new(number, Filter::READ).with_flags(Flags::DELETE));
    assert!(matches!(gone, Err(Errno::BADF | Errno::NOENT)), "{gone:?}");
    assert_eq!(queue.len(), Ok(0));
    // The entry that nobody can name any more keeps nobody awake.
    super::sleeps(&queue);
    drop(keeper);
}

#[test]
fn the_error_of_a_socket_is_left_to_the_program() {
    let queue = Kqueue::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    queue.change(&Kevent::read(&client)).unwrap();
    // Unread data and a close are a reset.
    (&client).write_all(b"never read").unwrap();
    server.write_all(b"x").unwrap();
    assert_eq!(one(&queue).data(), 1);
    drop(server);
    let event = crate::support::soon(|| {
        loop {
            let event = one(&queue);
            if event.flags().contains(Flags::EOF) {
                return event;
            }
        }
    });
    assert_eq!(event.notes(), Notes::empty());
    let error = client.take_error().unwrap().expect("the error is still there");
    assert_eq!(error.raw_os_error(), Some(Errno::CONNRESET.raw_os_error()));
}

#[test]
fn a_unix_listener_tells_only_that_someone_waits() {
    let path = std::env::temp_dir().join(format!("ossature-kqueue-listener-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::read(&listener)).unwrap();
    assert_eq!(now(&queue), []);
    let _clients = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
    assert_eq!(one(&queue).data(), 1);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn an_eventfd_tells_only_that_it_has_room() {
    let queue = Kqueue::new().unwrap();
    let event = EventFd::counter(1).unwrap();
    queue.change(&Kevent::write(&event)).unwrap();
    assert_eq!(one(&queue).data(), 1);
    queue.change(&Kevent::read(&event)).unwrap();
    assert_eq!(wait(&queue, Duration::from_secs(5)).iter().map(Kevent::data).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_socket_that_was_never_connected_is_at_its_end() {
    use ossature_sys::socket::{Family, Kind, Socket};
    let queue = Kqueue::new().unwrap();
    let socket = Socket::new(Family::V4, Kind::Stream).unwrap();
    queue.change(&Kevent::read(&socket)).unwrap();
    assert!(one(&queue).flags().contains(Flags::EOF));
}

#[test]
fn adding_again_replaces_the_flags() {
    let queue = Kqueue::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    queue.change(&Kevent::read(&near)).unwrap();
    queue.change(&Kevent::read(&near).with_flags(Flags::ADD | Flags::ONESHOT)).unwrap();
    far.write_all(b"x").unwrap();
    assert_eq!(one(&queue).flags(), Flags::ONESHOT);
    assert_eq!(queue.len(), Ok(0));
}

#[test]
fn a_user_event_may_be_triggered_as_it_is_added() {
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::user(1).with_notes(Notes::TRIGGER)).unwrap();
    assert_eq!(one(&queue).ident(), 1);
}

#[test]
fn a_receipt_without_room_stops_nothing() {
    let queue = Kqueue::new().unwrap();
    let changes = [1, 2].map(|ident| Kevent::user(ident).with_flags(Flags::ADD | Flags::RECEIPT));
    assert_eq!(queue.control(&changes, &mut [], Deadline::NEVER), Ok(&[][..]));
    assert_eq!(queue.len(), Ok(2));
    let mut room = [MaybeUninit::uninit(); 1];
    assert_eq!(queue.control(&changes, &mut room, Deadline::NEVER).unwrap().len(), 1);
}

#[test]
fn a_signal_handler_does_not_end_a_wait() {
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::user(1)).unwrap();
    let began = Instant::now();
    let mut room = [MaybeUninit::uninit(); 1];
    assert_eq!(under_signals(|| queue.wait(&mut room, Duration::from_millis(100)).map(<[Kevent]>::len)), Ok(0));
    assert!(began.elapsed() >= Duration::from_millis(100));
    let triggered = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            queue.change(&Kevent::trigger(1)).unwrap();
        });
        under_signals(|| queue.wait(&mut room, Duration::from_secs(8)).map(<[Kevent]>::len))
    });
    assert_eq!(triggered, Ok(1), "and loses no event");
}

#[test]
fn room_above_the_mark_is_told_within_a_while() {
    let queue = Kqueue::new().unwrap();
    let (mut reader, mut writer) = crate::support::pipe().unwrap();
    let room = capacity(&writer).unwrap() as i64;
    writer.write_all(&[0; 6000]).unwrap();
    queue.change(&Kevent::write(&writer).with_notes(Notes::LOWAT).with_data(room - 5000)).unwrap();
    assert_eq!(wait(&queue, Duration::from_millis(25)), []);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(5));
            reader.read_exact(&mut [0; 6000]).unwrap();
        });
        assert_eq!(one(&queue).data(), room);
    });
}
