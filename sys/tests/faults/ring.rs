//! Packets beside a ring with failing system calls.

use std::time::Duration;

use ossature_sys::errno::{Errno, Result};
use ossature_sys::eventfd::EventFd;
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::fd::AsFd;
use ossature_sys::futex::Limit;
use ossature_sys::sync::ring::{Packets, Ring, RingError};

use crate::sweep::{alone, sweep, sweep_with};

const LIMIT: Duration = Duration::from_millis(100);

fn errno(error: RingError) -> Errno {
    match error {
        RingError::Packets(errno) => errno,
        _ => Errno::IO,
    }
}

fn there_and_back() -> Result<()> {
    let (ring, packets) = (Ring::new(64 << 10)?, Packets::new()?);
    let mut user = ring.join().map_err(errno)?;
    let event = EventFd::counter(0)?;
    for _ in 0..2 {
        user.send_packet(&packets, b"x", &[event.as_fd()], 0, LIMIT).map_err(errno)?;
    }
    user.send(b"y").map_err(errno)?;
    let mut bytes = [0; Packets::BUFFER];
    while user.recv_packet(&packets, &mut bytes, &mut None, Duration::ZERO).map_err(errno)?.is_some() {}
    user.send_packet(&packets, b"x", &[event.as_fd()], 0, LIMIT).map_err(errno)?;
    packets.clear().map(drop)
}

/// There is room again after the messages are received. An empty ring has no message that could make room.
#[test]
fn ring_without_memory_is_like_a_full_one() {
    let _alone = alone();
    let ring = Ring::new(16 << 20).unwrap();
    let mut user = ring.join().unwrap();
    let no_memory = Rule::on("fallocate", Fault::Fail(Errno::NOSPC)).arm().unwrap();
    let mut count = 0_usize;
    while user.send_timeout(&[1; 1000], Limit::NOW).unwrap() {
        count += 1;
    }
    assert!(count > 0 && count * 1000 < ring.capacity() / 2, "{count}");
    assert!(!user.send_timeout(&[1; 1000], Duration::from_millis(5)).unwrap());
    for _ in 0..3 {
        (0..count).for_each(|_| _ = user.recv(&mut [0; 1000]).unwrap());
        assert!((0..count).all(|_| user.send_timeout(&[2; 1000], Limit::NOW).unwrap()), "there is room again");
    }
    (0..count).for_each(|_| _ = user.recv(&mut [0; 1000]).unwrap());
    assert_eq!(user.send(&[3; 1 << 20]), Err(RingError::NoMemory), "nobody would make room");
    drop(no_memory);
    user.send(&[3; 1 << 20]).unwrap();
    assert_eq!(user.read().unwrap().len(), 1 << 20);
}

#[test]
fn packets_end_and_leak_nothing() {
    sweep("packets", &["sendmsg", "recvmsg", "recv"], there_and_back);
    sweep_with("packets in plenty", &[], &[Errno::TOOMANYREFS, Errno::NOBUFS], there_and_back);
}
