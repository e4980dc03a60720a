//! select over the caller's bit arrays, and over a slice by ppoll.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use ossature_sys::poll::{PollFd, PollFlags};
use ossature_sys::select::{EXCEPT, FdSet, READ, WRITE, select, select_slice};

use crate::support::{pipe, soon};

/// Duplicates `fd` to a number of at least `least`. Raises the process's limit if it must.
fn moved_up(fd: impl AsFd, least: i32) -> OwnedFd {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = least as u64 + 64;
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum.map(|most| most.max(wanted)) };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
    rustix::io::fcntl_dupfd_cloexec(fd, least).unwrap()
}

/// A descriptor number that is not open, as if lent by code that broke its promise.
fn closed(number: i32) -> BorrowedFd<'static> {
    // SAFETY: only readiness calls see the number, and they answer EBADF.
    unsafe { BorrowedFd::borrow_raw(number) }
}

#[test]
fn a_set_holds_what_was_inserted() {
    let (near, far) = UnixStream::pair().unwrap();
    let mut words = [!0; 4];
    let mut set = FdSet::new(&mut words);
    assert!(set.is_empty(), "the array is cleared first");
    set.insert(near.as_fd()).unwrap();
    set.insert(far.as_fd()).unwrap();
    set.insert(far.as_fd()).unwrap();
    assert_eq!(set.len(), 2);
    let mut numbers = [near.as_raw_fd(), far.as_raw_fd()];
    numbers.sort_unstable();
    assert!(set.iter().map(|fd| fd.as_raw_fd()).eq(numbers));
    assert_eq!(format!("{set:?}"), format!("{{{}, {}}}", numbers[0], numbers[1]));
    assert!(set.remove(&near) && !set.remove(&near));
    assert!(set.contains(&far) && !set.contains(&near));
    set.clear();
    assert!(set.is_empty() && set.iter().next().is_none());
}

#[test]
fn a_descriptor_that_does_not_fit_is_an_error() {
    let (near, _far) = UnixStream::pair().unwrap();
    let high = moved_up(&near, 64);
    let mut words = [0; FdSet::words_for(64)];
    let mut set = FdSet::new(&mut words);
    assert_eq!(set.insert(high.as_fd()), Err(Errno::RANGE));
    assert!(!set.contains(&high) && !set.remove(&high) && set.is_empty());
}

#[test]
fn descriptors_beyond_1024_are_selected() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let high = moved_up(&near, 2000);
    let mut words = [0; FdSet::words_for(4096)];
    let mut read = FdSet::new(&mut words);
    read.insert(high.as_fd()).unwrap();
    assert_eq!(select(&mut read, &mut FdSet::none(), &mut FdSet::none(), Deadline::NOW), Ok(0));
    assert!(read.is_empty());
    far.write_all(b"x").unwrap();
    read.insert(high.as_fd()).unwrap();
    assert_eq!(select(&mut read, &mut FdSet::none(), &mut FdSet::none(), Deadline::NOW), Ok(1));
    assert!(read.contains(&high));
}

#[test]
fn each_set_keeps_what_is_ready_for_it() {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    let (mut r, mut w, mut x) = ([0; 64], [0; 64], [0; 64]);
    let (mut read, mut write, mut except) = (FdSet::new(&mut r), FdSet::new(&mut w), FdSet::new(&mut x));
    for set in [&mut read, &mut write, &mut except] {
        set.insert(near.as_fd()).unwrap();
        set.insert(far.as_fd()).unwrap();
    }
    assert_eq!(select(&mut read, &mut write, &mut except, Deadline::NEVER), Ok(3));
    assert!(read.contains(&near) && !read.contains(&far));
    assert!(write.contains(&near) && write.contains(&far));
    assert!(except.is_empty());
}

#[test]
fn running_out_of_time_clears_the_sets() {
    let (reader, _writer) = pipe().unwrap();
    let mut words = [0; 64];
    let mut read = FdSet::new(&mut words);
    read.insert(reader.as_fd()).unwrap();
    let begin = Instant::now();
    let ready = soon(|| select(&mut read, &mut FdSet::none(), &mut FdSet::none(), Duration::from_micros(2500)));
    assert_eq!(ready, Ok(0));
    assert!(begin.elapsed() >= Duration::from_micros(2500));
    assert!(read.is_empty());
}

#[test]
fn three_empty_sets_sleep() {
    let begin = Instant::now();
    let none = || FdSet::none();
    assert_eq!(soon(|| select(&mut none(), &mut none(), &mut none(), Duration::from_millis(3))), Ok(0));
    assert!(begin.elapsed() >= Duration::from_millis(3));
}

#[test]
fn a_closed_descriptor_is_an_error_within_the_table_and_beyond() {
    // 60,000 is beyond the table of this process, where the kernel alone would say "ready".
    for number in [900, 60_000] {
        let mut words = [0; FdSet::words_for(65536)];
        let mut read = FdSet::new(&mut words);
        read.insert(closed(number)).unwrap();
        assert_eq!(select(&mut read, &mut FdSet::none(), &mut FdSet::none(), Deadline::NOW), Err(Errno::BADF));
        assert_eq!(read.len(), 1, "an error leaves the sets as they were");
    }
}

#[test]
fn a_closed_descriptor_below_an_open_one_is_an_error() {
    let (near, _far) = UnixStream::pair().unwrap();
    let high = moved_up(&near, 3000);
    let mut words = [0; FdSet::words_for(4096)];
    let mut write = FdSet::new(&mut words);
    write.insert(high.as_fd()).unwrap();
    write.insert(closed(2900)).unwrap();
    assert_eq!(select(&mut FdSet::none(), &mut write, &mut FdSet::none(), Deadline::NOW), Err(Errno::BADF));
}

#[test]
fn arrays_of_different_length_are_an_error_only_when_it_matters() {
    let (near, _far) = UnixStream::pair().unwrap();
    let high = moved_up(&near, 2000);
    let low = moved_up(&near, 0);
    let (mut short, mut long) = ([0; FdSet::words_for(1024)], [0; FdSet::words_for(4096)]);
    let mut read = FdSet::new(&mut short);
    let mut write = FdSet::new(&mut long);
    write.insert(high.as_fd()).unwrap();
    assert_eq!(select(&mut read, &mut write, &mut FdSet::none(), Deadline::NOW), Ok(1));
    read.insert(low.as_fd()).unwrap();
    assert_eq!(select(&mut read, &mut write, &mut FdSet::none(), Deadline::NOW), Err(Errno::INVAL));
}

#[test]
fn a_slice_is_selected_by_ppoll() {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    let mut fds = [PollFd::new(&near, READ | WRITE | EXCEPT), PollFd::new(&far, READ)];
    assert_eq!(select_slice(&mut fds, Deadline::NOW), Ok(1));
    assert!(fds[0].revents().intersects(READ) && fds[0].revents().intersects(WRITE));
    assert!(!fds[0].revents().intersects(EXCEPT));
    assert!(fds[1].revents().is_empty());
}

#[test]
fn a_closed_descriptor_in_a_slice_is_an_error_and_says_which() {
    let (near, _far) = UnixStream::pair().unwrap();
    let gone = closed(60_001);
    let mut fds = [PollFd::new(&near, WRITE), PollFd::new(&gone, READ)];
    assert_eq!(select_slice(&mut fds, Deadline::NOW), Err(Errno::BADF));
    assert_eq!(fds[1].revents(), PollFlags::NVAL);
    assert!(fds[0].revents().intersects(WRITE));
}
