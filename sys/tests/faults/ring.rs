//! Packets beside a ring when the system says no.

use std::time::Duration;

use ossature_sys::errno::{Errno, Result};
use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::AsFd;
use ossature_sys::sync::ring::{Packets, Ring, RingError};

use crate::sweep::{sweep, sweep_with};

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
    while user.recv_packet(&packets, &mut bytes, Duration::ZERO).map_err(errno)?.is_some() {}
    user.send_packet(&packets, b"x", &[event.as_fd()], 0, LIMIT).map_err(errno)?;
    packets.clear().map(drop)
}

#[test]
fn packets_end_and_leak_nothing() {
    sweep("packets", &["sendmsg", "recvmsg", "recv"], there_and_back);
    sweep_with("packets in plenty", &[], &[Errno::TOOMANYREFS, Errno::NOBUFS], there_and_back);
}
