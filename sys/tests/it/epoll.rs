//! epoll: the kernel keeps the set.

use std::fs::File;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Event, Interest};
use ossature_sys::errno::{Errno, Result};
use ossature_sys::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, is_cloexec};

use crate::support::{pipe, soon};

/// The events that the set reports, as pairs sorted by token.
fn reported(epoll: &Epoll, timeout: impl Into<Deadline>) -> Vec<(u64, Interest)> {
    let mut room = [MaybeUninit::uninit(); 16];
    let events = soon(|| epoll.poll(&mut room, timeout)).unwrap();
    let mut pairs: Vec<_> = events.iter().map(|event| (event.token(), event.flags())).collect();
    pairs.sort_unstable_by_key(|pair| pair.0);
    pairs
}

fn one(epoll: &Epoll, room: usize) -> Result<usize> {
    let mut room = vec![MaybeUninit::<Event>::uninit(); room];
    epoll.poll(&mut room, Deadline::NOW).map(<[Event]>::len)
}

#[test]
fn every_flag_has_the_value_of_its_c_name() {
    for (flag, value) in [
        (Interest::IN, libc::EPOLLIN),
        (Interest::PRI, libc::EPOLLPRI),
        (Interest::OUT, libc::EPOLLOUT),
        (Interest::ERR, libc::EPOLLERR),
        (Interest::HUP, libc::EPOLLHUP),
        (Interest::RDNORM, libc::EPOLLRDNORM),
        (Interest::RDBAND, libc::EPOLLRDBAND),
        (Interest::WRNORM, libc::EPOLLWRNORM),
        (Interest::WRBAND, libc::EPOLLWRBAND),
        (Interest::MSG, libc::EPOLLMSG),
        (Interest::RDHUP, libc::EPOLLRDHUP),
        (Interest::EXCLUSIVE, libc::EPOLLEXCLUSIVE),
        (Interest::WAKEUP, libc::EPOLLWAKEUP),
        (Interest::ONESHOT, libc::EPOLLONESHOT),
        (Interest::ET, libc::EPOLLET),
    ] {
        assert_eq!(flag.bits(), value as u32, "{flag:?}");
    }
    assert_eq!(Interest::from_bits_retain(1 << 31 | 1 << 20).bits(), 1 << 31 | 1 << 20, "unknown bits are kept");
}

#[test]
fn the_default_interest_is_in_pri_out() {
    assert_eq!(Interest::default(), Interest::IN | Interest::PRI | Interest::OUT);
}

#[test]
fn a_set_is_closed_on_exec() {
    assert!(is_cloexec(Epoll::new().unwrap()).unwrap());
}

#[test]
fn dropping_a_set_closes_it_and_close_says_so() {
    let epoll = Epoll::new().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    epoll.register(&near, Interest::OUT, 1).unwrap();
    epoll.close().unwrap();
    let adopted = Epoll::from(OwnedFd::from(Epoll::new().unwrap()));
    let number = adopted.as_raw_fd();
    assert_eq!(adopted.as_fd().as_raw_fd(), number);
    drop(adopted);
}

#[test]
fn a_set_adopted_from_a_descriptor_works() {
    let (near, _far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&near, Interest::OUT, 5).unwrap();
    let adopted = Epoll::from(OwnedFd::from(epoll));
    assert_eq!(reported(&adopted, Deadline::NOW), [(5, Interest::OUT)]);
}

#[test]
fn a_descriptor_of_another_kind_adopted_as_a_set_is_an_error() {
    let (near, far) = UnixStream::pair().unwrap();
    let wrong = Epoll::from(OwnedFd::from(near));
    assert_eq!(wrong.register(&far, Interest::IN, 0), Err(Errno::INVAL));
    assert_eq!(one(&wrong, 1), Err(Errno::INVAL));
}

#[test]
fn the_token_comes_back_whole() {
    let (near, _far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&near, Interest::OUT, 0x0123_4567_89ab_cdef).unwrap();
    assert_eq!(reported(&epoll, Deadline::NOW), [(0x0123_4567_89ab_cdef, Interest::OUT)]);
}

#[test]
fn level_triggered_reports_for_as_long_as_it_is_ready() {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&near, Interest::IN | Interest::RDNORM, 1).unwrap();
    assert_eq!(reported(&epoll, Deadline::NOW), []);
    far.write_all(b"x").unwrap();
    for _ in 0..3 {
        assert_eq!(reported(&epoll, Deadline::NOW), [(1, Interest::IN | Interest::RDNORM)]);
    }
    near.read_exact(&mut [0]).unwrap();
    assert_eq!(reported(&epoll, Deadline::NOW), []);
}

#[test]
fn edge_triggered_reports_each_arrival_once() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&near, Interest::IN | Interest::ET, 1).unwrap();
    for _ in 0..2 {
        far.write_all(b"x").unwrap();
        assert_eq!(reported(&epoll, Deadline::NOW), [(1, Interest::IN)]);
        assert_eq!(reported(&epoll, Deadline::NOW), []);
    }
}

#[test]
fn one_shot_is_silent_until_modified() {
    let (near, _far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&near, Interest::OUT | Interest::ONESHOT, 1).unwrap();
    assert_eq!(reported(&epoll, Deadline::NOW), [(1, Interest::OUT)]);
    assert_eq!(reported(&epoll, Deadline::NOW), []);
    epoll.modify(&near, Interest::OUT | Interest::ONESHOT, 2).unwrap();
    assert_eq!(reported(&epoll, Deadline::NOW), [(2, Interest::OUT)]);
}

#[test]
fn exclusive_can_be_registered_but_not_modified() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let sets = [Epoll::new().unwrap(), Epoll::new().unwrap()];
    for epoll in &sets {
        epoll.register(&near, Interest::IN | Interest::EXCLUSIVE, 1).unwrap();
        assert_eq!(epoll.modify(&near, Interest::IN, 1), Err(Errno::INVAL));
    }
    far.write_all(b"x").unwrap();
    assert_eq!(reported(&sets[0], Deadline::NEVER), [(1, Interest::IN)]);
    let (other, _far) = UnixStream::pair().unwrap();
    sets[0].register(&other, Interest::IN, 2).unwrap();
    assert_eq!(sets[0].modify(&other, Interest::IN | Interest::EXCLUSIVE, 2), Err(Errno::INVAL));
    let third = UnixStream::pair().unwrap().0;
    let refused = sets[0].register(&third, Interest::IN | Interest::PRI | Interest::EXCLUSIVE, 3);
    assert_eq!(refused, Err(Errno::INVAL));
}

#[test]
fn wakeup_is_accepted_with_or_without_the_capability() {
    let (near, _far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&near, Interest::OUT | Interest::WAKEUP, 1).unwrap();
    assert_eq!(reported(&epoll, Deadline::NOW), [(1, Interest::OUT)]);
}

#[test]
fn the_flags_linux_never_sets_here_may_be_asked_for() {
    let (reader, mut writer) = pipe().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&reader, Interest::MSG | Interest::RDBAND | Interest::IN, 1).unwrap();
    let normal = Interest::OUT | Interest::WRNORM;
    epoll.register(&writer, normal, 2).unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    epoll.register(&near, Interest::WRBAND, 3).unwrap();
    writer.write_all(b"x").unwrap();
    assert_eq!(reported(&epoll, Deadline::NOW), [(1, Interest::IN), (2, normal), (3, Interest::WRBAND)]);
}

#[test]
fn errors_and_hang_ups_are_reported_unasked() {
    let (lonely_reader, writer) = pipe().unwrap();
    let (reader, lonely_writer) = pipe().unwrap();
    drop((writer, reader));
    let epoll = Epoll::new().unwrap();
    epoll.register(&lonely_reader, Interest::empty(), 1).unwrap();
    epoll.register(&lonely_writer, Interest::empty(), 2).unwrap();
    assert_eq!(reported(&epoll, Deadline::NOW), [(1, Interest::HUP), (2, Interest::ERR)]);
}

#[test]
fn a_peer_that_stops_writing_reads_as_rdhup() {
    let (near, far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&near, Interest::RDHUP, 1).unwrap();
    assert_eq!(reported(&epoll, Deadline::NOW), []);
    far.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(reported(&epoll, Deadline::NOW), [(1, Interest::RDHUP)]);
}

#[test]
fn urgent_data_reads_as_pri() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&far, Interest::PRI, 1).unwrap();
    rustix::net::send(&near, b"!", rustix::net::SendFlags::OOB).unwrap();
    assert_eq!(reported(&epoll, Deadline::NEVER), [(1, Interest::PRI)]);
}

#[test]
fn registering_twice_is_an_error() {
    let (near, _far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&near, Interest::IN, 1).unwrap();
    assert_eq!(epoll.register(&near, Interest::OUT, 2), Err(Errno::EXIST));
}

#[test]
fn what_is_not_registered_can_be_neither_modified_nor_unregistered() {
    let (near, _far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    assert_eq!(epoll.modify(&near, Interest::IN, 1), Err(Errno::NOENT));
    assert_eq!(epoll.unregister(&near), Err(Errno::NOENT));
    epoll.register(&near, Interest::OUT, 1).unwrap();
    epoll.unregister(&near).unwrap();
    assert_eq!(reported(&epoll, Deadline::NOW), []);
    assert_eq!(epoll.unregister(&near), Err(Errno::NOENT));
}

#[test]
fn a_closed_descriptor_is_an_error() {
    // SAFETY: no call but epoll_ctl sees the number, which no table is large enough to hold.
    let closed = unsafe { BorrowedFd::borrow_raw(i32::MAX - 1) };
    let epoll = Epoll::new().unwrap();
    assert_eq!(epoll.register(closed, Interest::IN, 1), Err(Errno::BADF));
    assert_eq!(epoll.modify(closed, Interest::IN, 1), Err(Errno::BADF));
    assert_eq!(epoll.unregister(closed), Err(Errno::BADF));
}

#[test]
fn a_plain_file_is_refused() {
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(Epoll::new().unwrap().register(&file, Interest::IN, 1), Err(Errno::PERM));
}

#[test]
fn a_closed_descriptor_with_a_living_duplicate_keeps_reporting() {
    let (near, _far) = UnixStream::pair().unwrap();
    let duplicate = near.try_clone().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&near, Interest::OUT, 9).unwrap();
    drop(near);
    assert_eq!(reported(&epoll, Deadline::NOW), [(9, Interest::OUT)]);
    assert_eq!(epoll.unregister(&duplicate), Err(Errno::NOENT));
    drop(duplicate);
    assert_eq!(reported(&epoll, Deadline::NOW), []);
}

#[test]
fn a_duplicated_set_is_the_same_set() {
    // What a forked child holds is such a duplicate.
    let (near, _far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    let shared = Epoll::from(epoll.as_fd().try_clone_to_owned().unwrap());
    shared.register(&near, Interest::OUT, 4).unwrap();
    assert_eq!(reported(&epoll, Deadline::NOW), [(4, Interest::OUT)]);
    epoll.unregister(&near).unwrap();
    assert_eq!(reported(&shared, Deadline::NOW), []);
}

#[test]
fn sets_nest_but_not_in_themselves_nor_in_a_circle() {
    let (near, _far) = UnixStream::pair().unwrap();
    let (inner, outer) = (Epoll::new().unwrap(), Epoll::new().unwrap());
    outer.register(&inner, Interest::IN, 1).unwrap();
    assert_eq!(reported(&outer, Deadline::NOW), []);
    inner.register(&near, Interest::OUT, 2).unwrap();
    assert_eq!(reported(&outer, Deadline::NOW), [(1, Interest::IN)]);
    assert_eq!(inner.register(&inner, Interest::IN, 0), Err(Errno::INVAL));
    assert_eq!(inner.register(&outer, Interest::IN, 0), Err(Errno::LOOP));
}

#[test]
fn sets_nested_too_deep_are_an_error() {
    let sets: Vec<Epoll> = (0..12).map(|_| Epoll::new().unwrap()).collect();
    let refused = sets.windows(2).find_map(|pair| pair[1].register(&pair[0], Interest::IN, 0).err());
    assert_eq!(refused, Some(Errno::LOOP));
}

#[test]
fn an_empty_array_is_an_error() {
    assert_eq!(one(&Epoll::new().unwrap(), 0), Err(Errno::INVAL));
}

#[test]
fn what_has_no_room_is_reported_by_the_next_call() {
    let pairs: Vec<_> = (0..4).map(|_| UnixStream::pair().unwrap()).collect();
    let epoll = Epoll::new().unwrap();
    for (token, (near, _)) in pairs.iter().enumerate() {
        epoll.register(near, Interest::OUT, token as u64).unwrap();
    }
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut room = [MaybeUninit::uninit(); 2];
        let events = epoll.poll(&mut room, Deadline::NOW).unwrap();
        seen.extend(events.iter().map(Event::token));
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3]);
}

#[test]
fn a_short_wait_lasts_its_time_and_reports_nothing() {
    let epoll = Epoll::new().unwrap();
    for span in [Duration::from_nanos(1), Duration::from_micros(150), Duration::from_millis(3)] {
        let begin = Instant::now();
        assert_eq!(reported(&epoll, span), []);
        assert!(begin.elapsed() >= span);
    }
}

#[test]
fn a_write_from_another_thread_ends_a_wait_of_any_length() {
    for timeout in
        [None, Some(Duration::from_secs(3600)), Some(Duration::from_secs(86_400 * 365 * 100)), Some(Duration::MAX)]
    {
        let (near, mut far) = UnixStream::pair().unwrap();
        let epoll = Epoll::new().unwrap();
        epoll.register(&near, Interest::IN, 1).unwrap();
        let writer = std::thread::spawn(move || far.write_all(b"x").map(|()| far));
        assert_eq!(reported(&epoll, timeout), [(1, Interest::IN)]);
        drop(writer.join().unwrap().unwrap());
    }
}

#[test]
fn threads_may_wait_at_once_and_each_one_shot_event_goes_to_one() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&near, Interest::IN | Interest::ONESHOT, 1).unwrap();
    std::thread::scope(|scope| {
        let waiters = [0; 2].map(|_| scope.spawn(|| reported(&epoll, Duration::from_millis(200)).len()));
        far.write_all(b"x").unwrap();
        let got: usize = waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum();
        assert_eq!(got, 1);
    });
}

#[test]
fn an_event_prints_its_token_and_flags() {
    let (near, _far) = UnixStream::pair().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&near, Interest::OUT, 3).unwrap();
    let mut room = [MaybeUninit::uninit(); 1];
    let events = epoll.poll(&mut room, Deadline::NOW).unwrap();
    assert_eq!(format!("{events:?}"), "[Event { flags: Interest(OUT), token: 3 }]");
    assert_eq!(size_of_val(events), size_of::<libc::epoll_event>());
}
