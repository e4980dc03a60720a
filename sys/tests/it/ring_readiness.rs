//! A ring's descriptor, between the threads of one process.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use ossature_sys::epoll::{Epoll, Interest};
use ossature_sys::errno::Errno;
use ossature_sys::fd::duplicate;
use ossature_sys::futex::Limit;
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::shm::AttachError;
use ossature_sys::sync::ring::{Participant, Readiness, Ring, RingError};

use crate::support::soon;

const SMALL: usize = 64 << 10;
const LONG: Duration = Duration::from_secs(10);

fn ring() -> Ring {
    Ring::pollable(SMALL).unwrap()
}

fn is_readable(fd: &impl AsFd) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Duration::ZERO).unwrap() == 1
}

fn wait(fd: &impl AsFd) {
    assert_eq!(poll(&mut [PollFd::new(fd, PollFlags::IN)], LONG), Ok(1), "never readable");
}

fn take_all(user: &mut Participant<&Ring>) -> usize {
    std::iter::from_fn(|| user.read_timeout(Limit::NOW).unwrap().map(drop)).count()
}

#[test]
fn descriptor_is_readable_from_the_message_to_the_clearing() {
    needs!(own_nodes);
    let ring = ring();
    let mut user = ring.join().unwrap();
    user.send(b"before there is a descriptor").unwrap();
    let readiness = Readiness::new(&ring).unwrap();
    for round in 1..100 {
        assert!(is_readable(&readiness) && readiness.clear() == Ok(false) && is_readable(&readiness));
        assert_eq!(take_all(&mut user), round);
        assert!(is_readable(&readiness), "nobody has cleared it");
        assert_eq!(readiness.clear(), Ok(true));
        assert!(!is_readable(&readiness) && readiness.clear() == Ok(true));
        for _ in 0..=round {
            user.send(b"news").unwrap();
        }
    }
    let batch = [b"one".as_slice(), b"two"];
    take_all(&mut user);
    assert_eq!(readiness.clear(), Ok(true));
    user.send_batch(&batch, Limit::NOW).unwrap();
    assert!(is_readable(&readiness));
}

#[test]
fn clearing_of_one_descriptor_leaves_another_readable() {
    needs!(own_nodes);
    let ring = ring();
    let mut user = ring.join().unwrap();
    let there = ring.try_clone().unwrap();
    let [near, far] = [&ring, &there].map(|ring| Readiness::new(ring).unwrap());
    assert_eq!([near.clear(), far.clear()], [Ok(true); 2]);
    for _ in 0..3 {
        user.send(b"news").unwrap();
        assert_eq!(take_all(&mut user), 1);
        assert!(near.clear() == Ok(true) && !is_readable(&near) && is_readable(&far));
        user.send(b"more").unwrap();
        assert!(is_readable(&near));
        assert_eq!(take_all(&mut user), 1);
        assert_eq!([near.clear(), far.clear()], [Ok(true); 2]);
    }
}

/// The record stays open while the descriptor is cleared several times. Each time must be followed by an announcement.
#[test]
fn record_that_is_written_for_long_is_announced_when_it_is_published() {
    needs!(own_nodes);
    let ring = ring();
    let (mut user, mut writer) = (ring.join().unwrap(), ring.join().unwrap());
    let readiness = Readiness::new(&ring).unwrap();
    for clearings in 0..4 {
        let mut record = writer.reserve(3).unwrap();
        record.copy_from_slice(b"abc");
        take_all(&mut user);
        for _ in 0..clearings {
            assert!(readiness.clear() == Ok(true) && !is_readable(&readiness), "an open record is no message");
        }
        record.publish().unwrap();
        assert!(is_readable(&readiness));
        assert_eq!(take_all(&mut user), 1);
        assert_eq!(readiness.clear(), Ok(true));
        let record = writer.reserve(3).unwrap();
        assert_eq!(readiness.clear(), Ok(true));
        drop(record);
        assert!(ring.blocked_by().unwrap().is_none() && !is_readable(&readiness));
    }
}

#[test]
fn end_is_readable() {
    needs!(own_nodes);
    let ring = ring();
    let mut user = ring.join().unwrap();
    let mut writer = ring.join().unwrap();
    let readiness = Readiness::new(&ring).unwrap();
    let record = writer.reserve(3).unwrap();
    assert_eq!(readiness.clear(), Ok(true));
    ring.close();
    assert!(is_readable(&readiness));
    // What was reserved may still come.
    assert_eq!(readiness.clear(), Ok(true));
    drop(record);
    wait(&readiness);
    assert_eq!(readiness.clear(), Ok(false), "the end stays");
    assert!(is_readable(&readiness));
    assert_eq!(user.recv(&mut [0; 8]), Err(RingError::Closed));
    let late = Readiness::new(&ring).unwrap();
    assert!(late.clear() == Ok(false) && is_readable(&late));
}

#[test]
fn message_that_is_put_back_is_readable() {
    needs!(own_nodes);
    let ring = ring();
    let mut user = ring.join().unwrap();
    let readiness = Readiness::new(&ring).unwrap();
    user.send(b"long").unwrap();
    assert_eq!(user.recv(&mut [0; 2]), Err(RingError::TooSmall { needed: 4 }));
    assert!(readiness.clear() == Ok(false) && is_readable(&readiness));
}

#[test]
fn ring_that_was_not_made_pollable_has_no_descriptor() {
    needs!(own_nodes);
    let plain = Ring::new(SMALL).unwrap();
    assert!(plain.event().is_none());
    assert_eq!(Readiness::new(&plain).unwrap_err(), Errno::OPNOTSUPP);
    let ring = ring();
    // SAFETY: the descriptor stays in this program.
    let memory = duplicate(unsafe { ring.descriptor() }).unwrap();
    // SAFETY: as above.
    let error = unsafe { Ring::from_fd(memory) }.unwrap_err();
    assert_eq!(error, AttachError::NeedsEvent);
    assert!(error.to_string().contains("from_fds"));
}

#[test]
fn descriptor_can_wait_for_something_else_too() {
    needs!(own_nodes);
    let ring = ring();
    let readiness = Readiness::new(&ring).unwrap();
    let (reader, writer) = crate::support::pipe().unwrap();
    readiness.also(&reader).unwrap();
    assert!(readiness.clear() == Ok(true) && !is_readable(&readiness));
    drop(writer);
    assert!(is_readable(&readiness) && readiness.clear() == Ok(true) && is_readable(&readiness), "while the other is");
}

/// Each watcher sleeps in an edge-triggered set, as an event loop does, and wakes only when there is work for it.
#[test]
fn many_send_to_many_who_wait_at_descriptors() {
    needs!(own_nodes);
    const SENDERS: u32 = 3;
    const EACH: u32 = 5000;
    let ring = &ring();
    let left = &AtomicU32::new(SENDERS * EACH);
    soon(|| {
        thread::scope(|scope| {
            for sender in 0..SENDERS {
                scope.spawn(move || {
                    let mut user = ring.join().unwrap();
                    for number in 0..EACH {
                        match (number + sender) % 3 {
                            0 => user.send(&[1; 100]).unwrap(),
                            1 => assert_eq!(user.send_batch(&[[1; 10]], Limit::NEVER), Ok(1)),
                            _ => {
                                let record = user.reserve(50).unwrap();
                                if number % 64 == 0 {
                                    thread::yield_now();
                                }
                                record.publish().unwrap();
                            }
                        }
                        if number % 16 == 0 {
                            thread::sleep(Duration::from_micros(50));
                        }
                    }
                });
            }
            for edge in [true, false] {
                scope.spawn(move || {
                    let (mut user, readiness) = (ring.join().unwrap(), Readiness::new(ring).unwrap());
                    let outer = Epoll::new().unwrap();
                    outer
                        .register(&readiness, if edge { Interest::IN | Interest::ET } else { Interest::IN }, 0)
                        .unwrap();
                    while left.load(SeqCst) != 0 {
                        let got = take_all(&mut user) as u32;
                        let before = left.fetch_sub(got, SeqCst);
                        if before == got && got > 0 {
                            ring.close();
                        }
                        if readiness.clear().unwrap() {
                            let events = outer.poll(&mut [MaybeUninit::uninit(); 1], LONG).unwrap().len();
                            assert_eq!(events, 1, "{} are left", left.load(SeqCst));
                        }
                    }
                });
            }
        });
    });
    assert!(ring.is_empty().unwrap());
}
