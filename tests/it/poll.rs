//! Python's poll object.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ossature::error::ErrorKind;
use ossature::select::{Epoll, Interest, Poll, PollFlags};
use ossature::sys::errno::Errno;
use ossature::sys::fd::OwnedFd;

use crate::support::{pipe, soon};

fn now(poll: &mut Poll<impl AsFd>) -> Vec<(i32, PollFlags)> {
    poll.poll(Duration::ZERO).unwrap().map(|(file, flags)| (file.as_fd().as_raw_fd(), flags)).collect()
}

#[test]
fn an_empty_set_holds_nothing_and_sleeps() {
    let mut poll = Poll::<File>::new();
    assert!(poll.is_empty());
    assert_eq!(poll.len(), 0);
    let begin = Instant::now();
    assert_eq!(soon(|| poll.poll(Duration::from_millis(3)).unwrap().count()), 0);
    assert!(begin.elapsed() >= Duration::from_millis(3));
}

#[test]
fn the_ready_come_in_order_of_registration() {
    let pairs: Vec<_> = (0..4).map(|_| UnixStream::pair().unwrap()).collect();
    let mut poll = Poll::new();
    let order = [2, 0, 3, 1];
    for i in order {
        poll.register(pairs[i].0.as_fd(), PollFlags::default());
    }
    poll.register(pairs[0].0.as_fd(), PollFlags::OUT); // again: keeps its place
    assert_eq!(now(&mut poll), order.map(|i| (pairs[i].0.as_raw_fd(), PollFlags::OUT)));
    poll.unregister(&pairs[2].0).unwrap();
    poll.register(pairs[2].0.as_fd(), PollFlags::OUT);
    assert_eq!(now(&mut poll), [0, 3, 1, 2].map(|i: usize| (pairs[i].0.as_raw_fd(), PollFlags::OUT)));
}

#[test]
fn registering_twice_replaces_the_events() {
    let (near, _far) = UnixStream::pair().unwrap();
    let mut poll = Poll::new();
    poll.register(near.as_fd(), PollFlags::OUT);
    poll.register(near.as_fd(), PollFlags::IN);
    assert_eq!((poll.len(), now(&mut poll)), (1, vec![]));
    assert_eq!(poll.unregister(&near).unwrap().1, PollFlags::IN);
}

#[test]
fn modify_changes_the_events_of_what_is_registered_only() {
    let (near, _far) = UnixStream::pair().unwrap();
    let mut poll = Poll::new();
    let error = poll.modify(&near, PollFlags::OUT).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::NOENT)));
    poll.register(near.as_fd(), PollFlags::IN);
    poll.modify(&near, PollFlags::OUT).unwrap();
    assert_eq!(now(&mut poll), [(near.as_raw_fd(), PollFlags::OUT)]);
    assert_eq!(format!("{poll:?}"), format!("{{{}: PollFlags(OUT)}}", near.as_raw_fd()));
}

#[test]
fn unregistering_what_is_not_in_is_another_kind_of_error() {
    let (near, _far) = UnixStream::pair().unwrap();
    let error = Poll::<File>::new().unregister(&near).map(drop).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::NotRegistered, None));
    assert!(error.to_string().contains(&near.as_raw_fd().to_string()));
}

#[test]
fn plain_files_are_always_ready_beside_others() {
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut poll = Poll::new();
    poll.register(near.as_fd(), PollFlags::IN);
    poll.register(file.as_fd(), PollFlags::default());
    let always = (file.as_raw_fd(), PollFlags::IN | PollFlags::OUT);
    assert_eq!(soon(|| poll.poll(None).unwrap().count()), 1);
    assert_eq!(now(&mut poll), [always]);
    far.write_all(b"x").unwrap();
    assert_eq!(now(&mut poll), [(near.as_raw_fd(), PollFlags::IN), always]);
    poll.unregister(&file).unwrap();
    assert_eq!(now(&mut poll), [(near.as_raw_fd(), PollFlags::IN)]);
}

/// A file that is removed changes the places of others in the list of those that are not in the kernel's set.
#[test]
fn plain_files_are_removed_and_changed_in_any_order() {
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let files: Vec<File> = (0..30).map(|_| file.try_clone().unwrap()).collect();
    let mut poll = Poll::new();
    files.iter().for_each(|file| poll.register(file.as_fd(), PollFlags::IN));
    let mut rest: Vec<_> = files.iter().map(|file| (file, PollFlags::IN)).collect();
    for step in 0..files.len() {
        let changed = step * 5 % rest.len();
        rest[changed].1 ^= PollFlags::IN | PollFlags::OUT;
        poll.modify(rest[changed].0, rest[changed].1).unwrap();
        let (file, flags) = rest.remove(step * 7 % rest.len());
        assert_eq!(poll.unregister(file).unwrap().1, flags);
        assert_eq!(now(&mut poll), rest.iter().map(|(file, flags)| (file.as_raw_fd(), *flags)).collect::<Vec<_>>());
    }
}

#[test]
fn a_file_that_is_never_ready_does_not_end_the_wait_of_others() {
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut poll = Poll::new();
    poll.register(file.as_fd(), PollFlags::PRI);
    poll.register(near.as_fd(), PollFlags::IN);
    let begin = Instant::now();
    assert_eq!(soon(|| poll.poll(Duration::from_millis(3)).unwrap().count()), 0);
    assert!(begin.elapsed() >= Duration::from_millis(3));
    let writer = std::thread::spawn(move || far.write_all(b"x").map(|()| far));
    let found: Vec<_> = soon(|| poll.poll(None).unwrap().map(|(fd, _)| fd.as_raw_fd()).collect());
    assert_eq!(found, [near.as_raw_fd()]);
    drop(writer.join().unwrap());
}

#[test]
fn a_descriptor_that_was_closed_before_answers_nval() {
    // SAFETY: no call but poll and epoll_ctl sees the number, and they refuse it.
    let gone = unsafe { BorrowedFd::borrow_raw(60_003) };
    let mut poll = Poll::new();
    poll.register(gone, PollFlags::IN);
    assert_eq!(now(&mut poll), [(60_003, PollFlags::NVAL)]);
    poll.unregister(gone).unwrap();
    assert_eq!(now(&mut poll), []);
}

#[test]
fn hang_ups_and_errors_come_unasked() {
    let (lonely_reader, writer) = pipe().unwrap();
    let (reader, lonely_writer) = pipe().unwrap();
    drop((writer, reader));
    let mut poll = Poll::new();
    poll.register(lonely_reader.as_fd(), PollFlags::empty());
    poll.register(lonely_writer.as_fd(), PollFlags::empty());
    assert_eq!(
        now(&mut poll),
        [(lonely_reader.as_raw_fd(), PollFlags::HUP), (lonely_writer.as_raw_fd(), PollFlags::ERR)]
    );
}

#[test]
fn duplicates_of_one_object_are_registered_apart() {
    let (near, _far) = UnixStream::pair().unwrap();
    let copy = near.try_clone().unwrap();
    let mut poll = Poll::new();
    poll.register(near.as_fd(), PollFlags::OUT);
    poll.register(copy.as_fd(), PollFlags::WRNORM);
    let both = [(near.as_raw_fd(), PollFlags::OUT), (copy.as_raw_fd(), PollFlags::WRNORM)];
    assert_eq!(now(&mut poll), both);
    poll.unregister(&near).unwrap();
    assert_eq!(now(&mut poll), both[1..]);
}

#[test]
fn an_epoll_set_can_be_polled() {
    let (near, mut far) = UnixStream::pair().unwrap();
    // Nested as deep as the kernel allows, so that the Poll's own set refuses it and must ask otherwise.
    let mut sets = vec![Epoll::new().unwrap()];
    sets[0].register(&near, Interest::IN, 0).unwrap();
    loop {
        let outer = Epoll::new().unwrap();
        match outer.register(sets.last().unwrap(), Interest::IN, 0) {
            Ok(()) => sets.push(outer),
            // Linux 5.10 answers EINVAL where a descriptor of another kind lies at the bottom.
            Err(errno) => break assert!(matches!(errno, Errno::LOOP | Errno::INVAL), "{errno:?}"),
        }
    }
    let deepest = sets.last().unwrap();
    let mut poll = Poll::new();
    poll.register(deepest.as_fd(), PollFlags::IN);
    assert_eq!(now(&mut poll), []);
    far.write_all(b"x").unwrap();
    assert_eq!(now(&mut poll), [(deepest.as_raw_fd(), PollFlags::IN)]);
}

#[test]
fn many_registrations_report_the_one_that_is_ready() {
    let mut pairs: Vec<_> = (0..200).map(|_| UnixStream::pair().unwrap()).collect();
    pairs[137].1.write_all(b"x").unwrap();
    let mut poll = Poll::new();
    for (near, _) in &pairs {
        poll.register(near.as_fd(), PollFlags::IN);
    }
    assert_eq!(now(&mut poll), [(pairs[137].0.as_raw_fd(), PollFlags::IN)]);
    (&pairs[137].0).read_exact(&mut [0]).unwrap();
    assert_eq!(now(&mut poll), []);
}

/// The set uses epoll when few descriptors are ready, and ppoll when many are.
#[test]
fn all_of_many_and_one_of_many_by_turns_come_in_order_of_registration() {
    let pairs: Vec<_> = (0..300).map(|_| UnixStream::pair().unwrap()).collect();
    let order = || pairs.iter().rev().map(|(near, _)| near.as_raw_fd());
    let mut poll = Poll::new();
    pairs.iter().rev().for_each(|(near, _)| poll.register(near.as_fd(), PollFlags::IN));
    let idle = pairs[7].0.as_raw_fd();
    poll.modify(&pairs[7].0, PollFlags::PRI).unwrap();
    for turn in 0..4 {
        pairs.iter().for_each(|(_, far)| (&*far).write_all(b"x").unwrap());
        let all: Vec<_> = order().filter(|fd| *fd != idle).map(|fd| (fd, PollFlags::IN)).collect();
        assert_eq!(now(&mut poll), all, "turn {turn}");
        pairs.iter().for_each(|(near, _)| (&*near).read_exact(&mut [0]).unwrap());
        assert_eq!(now(&mut poll), []);
        (&pairs[137].1).write_all(b"x").unwrap();
        assert_eq!(now(&mut poll), [(pairs[137].0.as_raw_fd(), PollFlags::IN)]);
        (&pairs[137].0).read_exact(&mut [0]).unwrap();
    }
}

/// Each object has its index among those that epoll refuses, so that removing it needs no search.
#[test]
fn plain_files_are_taken_out_in_any_order() {
    let files: Vec<_> = (0..20).map(|_| File::open("/proc/self/exe").unwrap()).collect();
    let mut poll = Poll::new();
    files.iter().for_each(|file| poll.register(file.as_fd(), PollFlags::IN));
    let mut left: Vec<_> = files.iter().map(|file| file.as_raw_fd()).collect();
    for step in 0..files.len() {
        let place = step * 7 % left.len();
        let taken = files.iter().find(|file| file.as_raw_fd() == left[place]).unwrap();
        poll.unregister(taken).unwrap();
        left.remove(place);
        assert_eq!(now(&mut poll).iter().map(|(fd, _)| *fd).collect::<Vec<_>>(), left);
    }
}

/// A terminal whose output is discarded has room again, but its driver wakes no waiter.
#[test]
fn a_change_that_a_device_does_not_announce_is_seen() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
    use rustix::termios::{OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    ossature::sys::fd::set_nonblocking(&terminal).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let mut mode = tcgetattr(&terminal).unwrap();
    mode.make_raw();
    tcsetattr(&terminal, OptionalActions::Now, &mode).unwrap();
    let mut poll = Poll::new();
    poll.register(terminal.as_fd(), PollFlags::OUT);
    let mut file = File::from(terminal.try_clone().unwrap());
    // Nobody reads. A worker of the kernel moves some to the reader's side, so the room ends some milliseconds later.
    let mut quiet = 0;
    while quiet < 20 {
        quiet += 1;
        while file.write(&[0; 500]).is_ok() {
            quiet = 0;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(now(&mut poll), []);
    tcflush(&terminal, QueueSelector::OFlush).unwrap();
    assert_eq!(now(&mut poll), [(terminal.as_raw_fd(), PollFlags::OUT)]);
}

/// The kernel's set wakes only for `IN`, although the descriptor is readable by `RDNORM` as well.
#[test]
fn what_is_asked_for_after_a_change_is_seen_though_no_wake_names_it() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let inner = Epoll::new().unwrap();
    inner.register(&near, Interest::IN, 0).unwrap();
    let mut poll = Poll::new();
    poll.register(inner.as_fd(), PollFlags::IN);
    assert_eq!(now(&mut poll), []);
    poll.modify(&inner, PollFlags::RDNORM).unwrap();
    assert_eq!(now(&mut poll), []);
    far.write_all(b"x").unwrap();
    assert_eq!(now(&mut poll), [(inner.as_fd().as_raw_fd(), PollFlags::RDNORM)]);
}

/// A program's own struct contains the set beside the objects that it watches, so the registered objects are shared.
#[test]
fn a_set_of_shared_objects_lives_beside_them() {
    struct Watch {
        streams: Vec<Arc<UnixStream>>,
        poll: Poll<Arc<UnixStream>>,
    }
    let (streams, mut others): (Vec<_>, Vec<_>) = (0..3).map(|_| UnixStream::pair().unwrap()).unzip();
    let mut watch = Watch { streams: streams.into_iter().map(Arc::new).collect(), poll: Poll::new() };
    for stream in &watch.streams {
        watch.poll.register(stream.clone(), PollFlags::IN);
    }
    others[1].write_all(b"x").unwrap();
    let mut watch = std::thread::spawn(move || {
        for (stream, flags) in watch.poll.poll(None).unwrap() {
            assert!(flags == PollFlags::IN && Arc::ptr_eq(stream, &watch.streams[1]));
        }
        watch
    })
    .join()
    .unwrap();
    let ready: Vec<_> = watch.poll.poll(None).unwrap().map(|(stream, _)| stream.clone()).collect();
    let (given_back, events) = watch.poll.unregister(&ready[0]).unwrap();
    assert!(Arc::ptr_eq(&given_back, &watch.streams[1]) && events == PollFlags::IN);
    assert_eq!((watch.poll.len(), now(&mut watch.poll)), (2, vec![]));
}

/// The other end of each object sees when the object is dropped.
#[test]
fn what_a_set_owns_ends_with_it() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let (reader, writer) = pipe().unwrap();
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let number = file.as_raw_fd();
    let mut poll: Poll<OwnedFd> = Poll::default();
    for owned in [near.into(), writer.into(), file.into()] {
        poll.register(owned, PollFlags::IN); // a plain file is asked for by itself
    }
    assert_eq!(now(&mut poll), [(number, PollFlags::IN)]);
    far.set_nonblocking(true).unwrap();
    assert_eq!(far.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "it is open");
    drop(poll);
    // A process that another test starts has a copy for a moment.
    far.set_nonblocking(false).unwrap();
    assert_eq!(soon(|| (far.read(&mut [0]).unwrap(), (&reader).read(&mut [0]).unwrap())), (0, 0));
}

#[test]
fn objects_of_several_types_stand_in_one_set() {
    let (reader, mut writer) = pipe().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    let (reader, near) = (Arc::new(reader), Arc::new(near));
    let mut poll: Poll<Arc<dyn AsFd>> = Poll::new();
    poll.register(reader.clone(), PollFlags::IN);
    poll.register(near.clone(), PollFlags::OUT);
    writer.write_all(b"x").unwrap();
    assert_eq!(now(&mut poll), [(reader.as_raw_fd(), PollFlags::IN), (near.as_raw_fd(), PollFlags::OUT)]);
    poll.unregister(&*reader).unwrap();
    assert_eq!(Arc::strong_count(&reader), 1);
}

/// An object with the same descriptor replaces the earlier one.
#[test]
fn registering_again_drops_the_earlier_object() {
    let (near, _far) = UnixStream::pair().unwrap();
    let (near, file) = (Arc::new(near), Arc::new(File::open(std::env::current_exe().unwrap()).unwrap()));
    let mut poll: Poll<Arc<dyn AsFd>> = Poll::new();
    for _ in 0..3 {
        poll.register(near.clone(), PollFlags::OUT);
        poll.register(file.clone(), PollFlags::OUT);
    }
    assert_eq!((Arc::strong_count(&near), Arc::strong_count(&file), poll.len()), (2, 2, 2));
    assert_eq!(now(&mut poll), [(near.as_raw_fd(), PollFlags::OUT), (file.as_raw_fd(), PollFlags::OUT)]);
}
