//! Python's select over slices, and its epoll.

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ossature::error::ErrorKind;
use ossature::select::{Deadline, Epoll, EpollExt, Interest, MAX_EVENTS, PIPE_BUF, select};
use ossature::sys::errno::Errno;

use crate::support::{pipe, soon};

const NONE: &[OwnedFd] = &[];

/// The number of ready descriptors in each list.
fn counts<T: AsFd>(read: &[T], write: &[T], except: &[T], timeout: impl Into<Deadline>) -> (usize, usize, usize) {
    let ready = select(read, write, except, timeout).unwrap();
    (ready.read.len(), ready.write.len(), ready.except.len())
}

#[test]
fn the_callers_own_objects_come_back_in_input_order() {
    let pairs: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
    for (_, far) in [&pairs[0], &pairs[2], &pairs[4]] {
        (&*far).write_all(b"x").unwrap();
    }
    let objects: Vec<&UnixStream> = [4, 1, 0, 3, 2].iter().map(|&i| &pairs[i].0).collect();
    let ready = select(&objects, &[], &[], Deadline::NOW).unwrap();
    assert!(ready.read.iter().map(|object| object.as_raw_fd()).eq([4, 0, 2].map(|i: usize| pairs[i].0.as_raw_fd())));
    assert!(ready.read.iter().all(|found| objects.iter().any(|given| std::ptr::eq(*found, given))));
}

#[test]
fn duplicates_are_kept_and_one_object_may_stand_in_several_lists() {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    let twice = [&near, &near];
    assert_eq!(counts(&twice, &twice[..1], &twice, Deadline::NOW), (2, 1, 0));
}

#[test]
fn running_out_of_time_gives_three_empty_lists() {
    let (near, _far) = UnixStream::pair().unwrap();
    let begin = Instant::now();
    let ready = soon(|| select(&[&near], &[], &[&near], Duration::from_millis(3)).unwrap().is_empty());
    assert!(ready && begin.elapsed() >= Duration::from_millis(3));
}

#[test]
fn three_empty_inputs_sleep() {
    let begin = Instant::now();
    assert!(soon(|| select(NONE, NONE, NONE, Duration::from_millis(3)).unwrap().is_empty()));
    assert!(begin.elapsed() >= Duration::from_millis(3));
}

#[test]
fn plain_files_are_always_ready() {
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(counts(&[&file], &[&file], &[&file], None), (1, 1, 0));
}

#[test]
fn urgent_data_is_an_exceptional_condition() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    rustix::net::send(&near, b"!", rustix::net::SendFlags::OOB).unwrap();
    assert_eq!(soon(|| counts(&[], &[], &[&far], None)), (0, 0, 1));
}

#[test]
fn a_closed_descriptor_is_an_error_that_says_which() {
    let (near, _far) = UnixStream::pair().unwrap();
    // 60,000 lies beyond this process's table, where the kernel's select would say "ready".
    for number in [900, 60_000] {
        // SAFETY: no call but select sees the number, and it answers EBADF.
        let gone = unsafe { BorrowedFd::borrow_raw(number) };
        let error = select(&[near.as_fd()], &[near.as_fd(), gone], &[], None).unwrap_err();
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::BADF)));
        assert!(error.to_string().contains(&format!("descriptor {number} in write[1] is not open")), "{error}");
        let error = select(&[gone], &[], &[near.as_fd(), gone], None).unwrap_err();
        assert!(error.to_string().contains(&format!("descriptor {number} in read[0], except[1] is not")), "{error}");
    }
}

#[test]
fn what_was_not_asked_does_not_end_the_wait() {
    // ppoll reports these unasked: a hang-up to a writer, an error to one who waits for urgent data.
    let (reader, writer) = pipe().unwrap();
    drop(writer);
    let (other_reader, other_writer) = pipe().unwrap();
    drop(other_reader);
    let begin = Instant::now();
    let span = Duration::from_millis(3);
    assert!(soon(|| select(&[], &[&reader], &[&other_writer], span).unwrap().is_empty()));
    assert!(begin.elapsed() >= span);

    let (near, far) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || (&far).write_all(b"x").map(|()| far));
        let objects = [near.as_fd(), reader.as_fd()];
        assert_eq!(soon(|| counts(&objects[..1], &objects[1..], &[], None)), (1, 0, 0));
    });
    assert_eq!(counts(&[&reader], &[&other_writer], &[], None), (1, 1, 0));
}

#[test]
fn more_than_1024_entries_are_welcome() {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    let many = vec![near.as_fd(); 3000];
    assert_eq!(counts(&many, &many, &many, Deadline::NOW), (3000, 3000, 0));
}

#[test]
fn each_object_is_asked_for_its_descriptor_once() {
    struct Asked(UnixStream, std::cell::Cell<u32>);
    impl AsFd for Asked {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.1.set(self.1.get() + 1);
            self.0.as_fd()
        }
    }
    let objects = [Asked(UnixStream::pair().unwrap().0, 0.into())];
    assert_eq!(select(&objects, &[], &[], None).unwrap().read.len(), 1);
    assert_eq!(objects[0].1.get(), 1);
}

#[test]
fn pipe_buf_bytes_fit_where_a_pipe_is_writable() {
    assert_eq!(PIPE_BUF, libc::PIPE_BUF);
    let (_reader, mut writer) = pipe().unwrap();
    assert_eq!(select(&[], &[&writer], &[], Deadline::NOW).unwrap().write.len(), 1);
    assert_eq!(writer.write(&[0; PIPE_BUF]).unwrap(), PIPE_BUF);
}

#[test]
fn epoll_lists_what_is_ready_as_python_does() {
    assert_eq!(MAX_EVENTS, libc::FD_SETSIZE - 1);
    let (near, _far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&near, Interest::default(), near.as_raw_fd() as u64).unwrap();
    let events = epoll.poll_list(None, MAX_EVENTS).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].token(), events[0].flags()), (near.as_raw_fd() as u64, Interest::OUT));
    let error = epoll.poll_list(None, 0).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::INVAL));
    assert!(error.to_string().starts_with("epoll: max_events must be at least 1"), "{error}");
    assert_eq!(epoll.poll_list(None, usize::MAX).unwrap().len(), events.len());
}
