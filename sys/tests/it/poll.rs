//! ppoll: requested and returned events.

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::fd::{AsFd, AsRawFd, BorrowedFd};
use ossature_sys::poll::{PollFd, PollFlags, poll};

use crate::support::{pipe, soon};

/// The events that one descriptor reports at once for one request.
fn asked(fd: impl AsFd, events: PollFlags) -> PollFlags {
    let mut fds = [PollFd::new(&fd, events)];
    let ready = poll(&mut fds, Deadline::NOW).unwrap();
    assert_eq!(ready, usize::from(!fds[0].revents().is_empty()));
    fds[0].revents()
}

#[test]
fn every_flag_has_the_value_of_its_c_name() {
    for (flag, value) in [
        (PollFlags::IN, libc::POLLIN),
        (PollFlags::PRI, libc::POLLPRI),
        (PollFlags::OUT, libc::POLLOUT),
        (PollFlags::ERR, libc::POLLERR),
        (PollFlags::HUP, libc::POLLHUP),
        (PollFlags::NVAL, libc::POLLNVAL),
        (PollFlags::RDNORM, libc::POLLRDNORM),
        (PollFlags::RDBAND, libc::POLLRDBAND),
        (PollFlags::WRNORM, libc::POLLWRNORM),
        (PollFlags::WRBAND, libc::POLLWRBAND),
        (PollFlags::MSG, 0x400),
        (PollFlags::RDHUP, libc::POLLRDHUP),
    ] {
        assert_eq!(flag.bits(), value as u16, "{flag:?}");
    }
    assert_eq!(PollFlags::from_bits_retain(0xffff).bits(), 0xffff, "unknown bits are kept");
}

#[test]
fn the_default_question_is_in_pri_out() {
    assert_eq!(PollFlags::default(), PollFlags::IN | PollFlags::PRI | PollFlags::OUT);
}

#[test]
fn data_in_a_pipe_reads_as_in_and_rdnorm() {
    let (reader, mut writer) = pipe().unwrap();
    assert_eq!(asked(&reader, PollFlags::IN), PollFlags::empty());
    writer.write_all(b"x").unwrap();
    let both = PollFlags::IN | PollFlags::RDNORM;
    assert_eq!(asked(&reader, both), both);
    assert_eq!(asked(&writer, PollFlags::IN), PollFlags::empty());
}

#[test]
fn room_in_a_pipe_reads_as_out_and_wrnorm() {
    let (_reader, writer) = pipe().unwrap();
    let both = PollFlags::OUT | PollFlags::WRNORM;
    assert_eq!(asked(&writer, both), both);
    assert_eq!(
        asked(UnixStream::pair().unwrap().0, PollFlags::WRBAND | PollFlags::OUT),
        PollFlags::WRBAND | PollFlags::OUT
    );
}

#[test]
fn the_flags_linux_never_sets_on_a_pipe_may_be_asked_for() {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"x").unwrap();
    assert_eq!(asked(&reader, PollFlags::MSG | PollFlags::RDBAND | PollFlags::IN), PollFlags::IN);
}

#[test]
fn a_hang_up_is_reported_unasked() {
    let (reader, writer) = pipe().unwrap();
    drop(writer);
    assert_eq!(asked(&reader, PollFlags::empty()), PollFlags::HUP);
}

#[test]
fn data_before_a_hang_up_is_still_in() {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"last words").unwrap();
    drop(writer);
    assert_eq!(asked(&reader, PollFlags::IN), PollFlags::IN | PollFlags::HUP);
}

#[test]
fn an_error_is_reported_unasked() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    assert_eq!(asked(&writer, PollFlags::empty()), PollFlags::ERR);
}

#[test]
fn a_closed_descriptor_answers_nval_and_is_not_an_error() {
    // SAFETY: no call but poll sees the number, which no table is large enough to hold.
    let closed = unsafe { BorrowedFd::borrow_raw(i32::MAX - 1) };
    assert_eq!(asked(closed, PollFlags::IN), PollFlags::NVAL);
}

#[test]
fn a_peer_that_stops_writing_reads_as_rdhup() {
    let (near, far) = UnixStream::pair().unwrap();
    assert_eq!(asked(&near, PollFlags::RDHUP), PollFlags::empty());
    far.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(asked(&near, PollFlags::RDHUP), PollFlags::RDHUP);
}

#[test]
fn urgent_data_reads_as_pri() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    rustix::net::send(&near, b"!", rustix::net::SendFlags::OOB).unwrap();
    let mut fds = [PollFd::new(&far, PollFlags::PRI)];
    assert_eq!(soon(|| poll(&mut fds, Deadline::NEVER)).unwrap(), 1);
    assert_eq!(fds[0].revents(), PollFlags::PRI);
}

#[test]
fn a_plain_file_is_always_ready() {
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(asked(&file, PollFlags::default()), PollFlags::IN | PollFlags::OUT);
}

#[test]
fn nothing_ready_in_time_is_zero_after_the_whole_wait() {
    let (reader, _writer) = pipe().unwrap();
    let mut fds = [PollFd::new(&reader, PollFlags::IN)];
    let begin = Instant::now();
    assert_eq!(soon(|| poll(&mut fds, Duration::from_micros(1500))).unwrap(), 0);
    assert!(begin.elapsed() >= Duration::from_micros(1500));
}

#[test]
fn an_empty_array_sleeps() {
    let begin = Instant::now();
    assert_eq!(soon(|| poll(&mut [], Duration::from_millis(3))).unwrap(), 0);
    assert!(begin.elapsed() >= Duration::from_millis(3));
}

#[test]
fn an_entry_can_be_asked_something_else() {
    let (near, _far) = UnixStream::pair().unwrap();
    let mut fds = [PollFd::from_borrowed(near.as_fd(), PollFlags::IN)];
    assert_eq!(poll(&mut fds, Deadline::NOW).unwrap(), 0);
    fds[0].set_events(PollFlags::OUT);
    assert_eq!(fds[0].events(), PollFlags::OUT);
    assert_eq!(poll(&mut fds, Deadline::NOW).unwrap(), 1);
    assert_eq!(fds[0].revents(), PollFlags::OUT);
    assert_eq!((fds[0].fd().as_raw_fd(), fds[0].as_fd().as_raw_fd()), (near.as_raw_fd(), near.as_raw_fd()));
}

#[test]
fn a_write_from_another_thread_ends_the_wait() {
    let (near, mut far) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || far.write_all(b"x").unwrap());
        let mut fds = [PollFd::new(&near, PollFlags::IN)];
        assert_eq!(soon(|| poll(&mut fds, None)).unwrap(), 1);
    });
}
