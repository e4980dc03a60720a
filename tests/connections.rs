//! Connections between processes: a binary with one thread, because `fork` refuses beside libtest's threads.

#[path = "connections/environment.rs"]
mod environment;
#[path = "../sys/tests/fork/harness.rs"]
#[allow(dead_code, reason = "the harness serves another binary too")]
mod harness;
#[path = "connections/limits.rs"]
mod limits;
#[path = "connections/listeners.rs"]
mod listeners;
#[path = "connections/standard.rs"]
mod standard;

use std::io::{Read, Seek, Write};
use std::time::Duration;

use harness::Test;
use ossature::multiprocessing::connection::{Connection, Sent, pipe, pipe_one_way, wait};
use ossature::multiprocessing::reduction::{recv_handle, send_handle};
use ossature::multiprocessing::transfer::Handle;
use ossature::multiprocessing::{Event, Lock, Value};
use ossature::sys::errno::Errno;
use ossature::sys::fd;
use ossature::sys::process::{Child, ExitStatus, fork};
use ossature::{ErrorKind, Result};

const TESTS: &[Test] = &[
    ("child_echoes_until_it_is_told_to_end", child_echoes_until_it_is_told_to_end),
    (
        "what_is_made_later_reaches_a_child_that_was_there_before",
        what_is_made_later_reaches_a_child_that_was_there_before,
    ),
    ("open_file_and_both_ends_of_a_pipe_reach_a_child", open_file_and_both_ends_of_a_pipe_reach_a_child),
    ("handle_passes_to_a_child", handle_passes_to_a_child),
    ("child_that_polls_takes_nothing", child_that_polls_takes_nothing),
    ("killed_sender_leaves_whole_messages_and_an_end", killed_sender_leaves_whole_messages_and_an_end),
    ("killed_receiver_is_closed_to_the_sender", killed_receiver_is_closed_to_the_sender),
    (
        "message_whose_descriptors_find_no_place_is_skipped_whole",
        message_whose_descriptors_find_no_place_is_skipped_whole,
    ),
    ("messages_and_ends_of_children_are_waited_for_together", messages_and_ends_of_children_are_waited_for_together),
    ("no_sigpipe_where_its_default_action_was_restored", no_sigpipe_where_its_default_action_was_restored),
    ("what_was_kept_of_a_message_goes_or_is_an_error", what_was_kept_of_a_message_goes_or_is_an_error),
    ("value_that_found_no_room_leaves_nothing_behind", value_that_found_no_room_leaves_nothing_behind),
    ("path_of_a_killed_listener_is_the_next_ones", listeners::path_of_a_killed_listener_is_the_next_ones),
    ("of_many_that_start_at_once_one_gets_the_path", listeners::of_many_that_start_at_once_one_gets_the_path),
    ("accept_without_a_descriptor_backs_off", listeners::accept_without_a_descriptor_backs_off),
    ("thousand_clients_at_once_are_let_in", listeners::thousand_clients_at_once_are_let_in),
    ("forked_child_leaves_handshakes_to_its_parent", listeners::forked_child_leaves_handshakes_to_its_parent),
    (
        "accept_without_time_goes_on_with_everybody_who_is_ready",
        listeners::accept_without_time_goes_on_with_everybody_who_is_ready,
    ),
    (
        "private_descriptors_are_above_the_standard_streams",
        standard::private_descriptors_are_above_the_standard_streams,
    ),
    (
        "what_finds_no_descriptor_names_the_object_and_the_limit",
        limits::what_finds_no_descriptor_names_the_object_and_the_limit,
    ),
    ("sockets_of_a_service_manager_are_taken_once", environment::sockets_of_a_service_manager_are_taken_once),
    ("variables_stay_beside_another_thread", environment::variables_stay_beside_another_thread),
    ("what_no_service_manager_left_is_refused", environment::what_no_service_manager_left_is_refused),
    ("socket_of_the_program_itself_is_never_taken", environment::socket_of_the_program_itself_is_never_taken),
];

fn main() {
    environment::play();
    // Before the first test counts descriptors.
    ossature::multiprocessing::util::temp_dir().unwrap();
    harness::run(TESTS)
}

const LONG: Duration = Duration::from_secs(30);

/// Starts a child that works at one end of a pipe and has nothing else. Returns the child and the other end.
fn child(body: impl FnOnce(&Connection) -> Result<()>) -> (Child, Connection) {
    let (near, far) = pipe().unwrap();
    let mut near = Some(near);
    let child = fork(|| {
        drop(near.take());
        body(&far).map_or_else(|error| panic!("{error}"), |()| 0)
    });
    (child.unwrap(), near.take().unwrap())
}

#[track_caller]
fn well(mut child: Child) {
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

// _TestConnection.test_connection, test_spawn_close (the child's end is closed here as soon as there is a child)
fn child_echoes_until_it_is_told_to_end() {
    let (child, near) = child(|far| {
        loop {
            let message = far.recv_bytes()?;
            if message.is_empty() {
                return Ok(());
            }
            far.send_bytes(&message)?;
        }
    });
    for message in [&b"hello"[..], &[7; 10_000], &vec![3; 3 << 20]] {
        near.send_bytes(message).unwrap();
        assert!(near.recv_bytes().unwrap() == message);
    }
    near.send_bytes(b"").unwrap();
    assert_eq!(near.recv_bytes().unwrap_err().kind(), ErrorKind::Closed);
    well(child);
}

fn what_is_made_later_reaches_a_child_that_was_there_before() {
    let (child, near) = child(|far| {
        while let Some((lock, count, done)) = far.recv::<Option<(Lock, Value<u64>, Event)>>()? {
            for _ in 0..1000 {
                lock.with(|| count.set(count.get()? + 1))??;
            }
            done.set();
        }
        Ok(())
    });
    let lock = Lock::new().unwrap();
    let mut work = (lock, Value::new(0_u64).unwrap(), Event::new().unwrap());
    for turn in 1..=3 {
        near.send(&Some(&work)).unwrap();
        for _ in 0..1000 {
            work.0.with(|| work.1.set(work.1.get().unwrap() + 1)).unwrap().unwrap();
        }
        assert!(work.2.wait_timeout(LONG).unwrap());
        assert_eq!(work.1.get().unwrap(), turn * 2000);
        work.2 = Event::new().unwrap();
    }
    near.send(&None::<()>).unwrap();
    well(child);
}

// _TestPicklingConnections.test_access
fn open_file_and_both_ends_of_a_pipe_reach_a_child() {
    let (child, near) = child(|far| {
        let (Handle(mut file), reader, writer): (Handle<std::fs::File>, Connection, Connection) = far.recv()?;
        writer.send("all is well")?;
        let text: String = reader.recv()?;
        file.write_all(text.repeat(2).as_bytes()).map_err(|_| Errno::IO)?;
        Ok(())
    });
    let path = std::env::temp_dir().join(format!("ossature-connections-{}", std::process::id()));
    let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let ((reader, far_writer), (far_reader, writer)) = (pipe_one_way().unwrap(), pipe_one_way().unwrap());
    near.send(&(Handle(&file), far_reader, far_writer)).unwrap();
    assert_eq!(reader.recv::<String>().unwrap(), "all is well");
    writer.send("foobar").unwrap();
    well(child);
    let mut text = String::new();
    (&file).rewind().unwrap();
    (&file).read_to_string(&mut text).unwrap();
    assert_eq!(text, "foobarfoobar");
}

// _TestConnection.test_fd_transfer
fn handle_passes_to_a_child() {
    let (child, near) = child(|far| {
        let handle = recv_handle(far)?;
        fd::write(&handle, b"foo")?;
        Ok(())
    });
    let (mut reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    send_handle(&near, &writer).unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "foo");
    well(child);
}

// _TestPoll.test_boundaries
fn child_that_polls_takes_nothing() {
    let (reader, writer) = pipe_one_way().unwrap();
    let mut polling = fork(|| u8::from(!reader.poll(LONG).unwrap())).unwrap();
    for message in ["first", "second"] {
        writer.send_bytes(message.as_bytes()).unwrap();
    }
    assert_eq!(polling.wait(), Ok(ExitStatus::Code(0)));
    assert_eq!(reader.recv_bytes().unwrap(), b"first");
    assert_eq!(reader.recv_bytes().unwrap(), b"second");
}

fn killed_sender_leaves_whole_messages_and_an_end() {
    // Filling the socket, it is killed within a message, at another byte each time.
    for len in [1, 3, 4, 5, 100, 70_000, 1 << 20] {
        let (mut child, near) = child(|far| {
            far.send_bytes(&[1; 100])?;
            let frame = [&(len as u32).to_be_bytes()[..], &vec![2; len - 1]].concat();
            let mut rest = frame.as_slice();
            while !rest.is_empty() {
                rest = &rest[fd::write(far, rest)?..];
            }
            far.recv_bytes().map(drop)
        });
        assert_eq!(near.recv_bytes().unwrap(), [1; 100]);
        let mut buffer = vec![0; len];
        let none = match len % 2 {
            0 => near.recv_bytes_timeout(Duration::from_millis(20)).map(|got| got.is_none()),
            _ => near.recv_bytes_into_timeout(&mut buffer, Duration::from_millis(20)).map(|got| got.is_none()),
        };
        assert!(none.unwrap(), "a part of a message is none");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(near.recv_bytes_timeout(LONG).unwrap_err().kind(), ErrorKind::Closed);
    }
}

fn killed_receiver_is_closed_to_the_sender() {
    // It takes the first message only, so the others fill the socket.
    let (mut child, near) = child(|far| {
        far.recv_bytes()?;
        harness::rest()
    });
    near.send_bytes(b"begin").unwrap();
    while near.send_bytes_timeout(&[0; 1 << 16], Duration::ZERO).unwrap().has_begun() {}
    child.kill().unwrap();
    child.wait().unwrap();
    let error = (0..).find_map(|_| near.send_bytes(b"nobody").err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

fn message_whose_descriptors_find_no_place_is_skipped_whole() {
    use ossature::multiprocessing::connection::Access;
    type Message = (Handle<std::fs::File>, Vec<u32>, Handle<std::fs::File>);
    for trusted in [true, false] {
        let (child, near) = child(|far| {
            let other;
            let far = if trusted {
                far
            } else {
                other = Connection::from_fd(std::os::fd::AsFd::as_fd(far).try_clone_to_owned().unwrap(), Access::Both)?;
                &other
            };
            let before = harness::descriptors();
            // Room for none of the two, and for one, which is not to be kept.
            for room in [0, 1] {
                let limit = set_most_descriptors(room);
                // It comes in many parts, between which the time is over.
                let error = loop {
                    match far.recv_timeout::<Message>(Duration::ZERO) {
                        Ok(None) => {}
                        Ok(Some(_)) => panic!("there is no room for it"),
                        Err(error) => break error,
                    }
                };
                assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::MFILE)), "{error}");
                let text = error.to_string();
                assert!(text.contains("with 2 descriptors") && text.contains("RLIMIT_NOFILE"), "{text}");
                // Who asks for bytes has no use for descriptors, so nothing lacks.
                assert_eq!(far.recv_bytes()?.len(), 1003);
                assert_eq!(far.recv::<String>()?, "the next one");
                limit.put_back();
            }
            assert_eq!(harness::descriptors(), before, "nothing leaks");
            let (_, numbers, _): Message = far.recv()?;
            assert_eq!(numbers.len(), 1 << 20);
            far.send_bytes(b"well")
        });
        let null = std::fs::File::open("/dev/null").unwrap();
        let message = (Handle(&null), vec![5_u32; 1 << 20], Handle(&null));
        for _ in 0..2 {
            near.send(&message).unwrap();
            near.send(&(Handle(&null), vec![5_u8; 1000])).unwrap();
            near.send("the next one").unwrap();
        }
        near.send(&message).unwrap();
        assert_eq!(near.recv_bytes_timeout(LONG).unwrap().as_deref(), Some(&b"well"[..]));
        well(child);
    }
}

/// The former limit of open descriptors.
struct Most(libc::rlimit);

/// Limits this process to `more` further descriptors, with the next numbers.
fn set_most_descriptors(more: usize) -> Most {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the place has room for the answer.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut before) }, 0);
    let open = harness::descriptors();
    let free = (0..).filter(|fd| !open.contains_key(fd)).nth(more).unwrap();
    Most(before).set(free as libc::rlim_t)
}

impl Most {
    fn set(self, most: libc::rlim_t) -> Self {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: self.0.rlim_max };
        // SAFETY: the limit is read during the call.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
        self
    }

    fn put_back(self) {
        let most = self.0.rlim_cur;
        self.set(most);
    }
}

fn no_sigpipe_where_its_default_action_was_restored() {
    let (child, _near) = child(|_| {
        // SAFETY: the default action runs no code of this program.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        for len in [0, 1, 100, 5000, 1 << 20] {
            let message = vec![1; len];
            let (reader, writer) = pipe_one_way()?;
            drop(reader);
            assert_eq!(writer.send_bytes(&message).unwrap_err().kind(), ErrorKind::Closed);
            let (reader, writer) = pipe_one_way()?;
            drop(reader);
            assert_eq!(writer.send_bytes_timeout(&message, LONG).unwrap_err().errno(), Some(Errno::PIPE));
            let (near, far) = pipe()?;
            drop(far);
            assert_eq!(near.send_bytes(&message).unwrap_err().kind(), ErrorKind::Closed);
        }
        Ok(())
    });
    well(child);
}

fn what_was_kept_of_a_message_goes_or_is_an_error() {
    let long = vec![1; 4 << 20];
    let (near, far) = pipe().unwrap();
    let (_receiver, sender) = near.split();
    assert_eq!(sender.send_bytes_timeout(&long, Duration::ZERO).unwrap(), Sent::Partial);
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || far.recv_bytes().map(|message| message.len()));
        sender.finish().unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), long.len(), "it waits for that");
    });
    let (near, far) = pipe().unwrap();
    assert_eq!(near.send_bytes_timeout(&long, Duration::ZERO).unwrap(), Sent::Partial);
    drop(far);
    assert_eq!(near.flush(LONG).unwrap_err().kind(), ErrorKind::Closed);
    assert!(!near.writable(), "what follows would be taken for the rest");
}

fn value_that_found_no_room_leaves_nothing_behind() {
    let null = std::fs::File::open("/dev/null").unwrap();
    let (near, far) = pipe().unwrap();
    let mut sent = 0;
    while near.send_bytes_timeout(b"x", Duration::ZERO).unwrap() == Sent::Complete {
        sent += 1;
    }
    assert_eq!(near.send_timeout(&(Handle(&null), 7), Duration::ZERO).unwrap(), Sent::Nothing);
    for _ in 0..sent {
        assert_eq!(far.recv_bytes().unwrap(), b"x");
    }
    near.send_bytes(b"the next").unwrap();
    assert_eq!(far.recv_bytes().unwrap(), b"the next");
}

// TestWait.test_wait, with the sentinels of test_wait_integer
fn messages_and_ends_of_children_are_waited_for_together() {
    let mut children: Vec<(Child, Connection)> =
        (0..4).map(|number| child(move |far| (0..10).try_for_each(|i| far.send(&(number, i))))).collect();
    let mut messages = Vec::new();
    while !children.is_empty() {
        let objects: Vec<&dyn std::os::fd::AsFd> =
            children.iter().flat_map(|(child, near)| [near as _, child as _]).collect();
        for place in wait(&objects, LONG).unwrap().into_iter().rev() {
            match children[place / 2].1.recv::<(i32, i32)>() {
                Ok(message) => messages.push(message),
                Err(end) => {
                    assert_eq!(end.kind(), ErrorKind::Closed);
                    well(children.remove(place / 2).0);
                    break; // the places are others now
                }
            }
        }
    }
    messages.sort_unstable();
    assert_eq!(messages, (0..4).flat_map(|number| (0..10).map(move |i| (number, i))).collect::<Vec<_>>());
}
