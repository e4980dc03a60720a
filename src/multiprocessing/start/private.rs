//! This library's own descriptors between a process and its children. They never have the number of a standard stream.
//!
//! A program may have closed a standard stream. The next descriptor would then get its number, and printed text would
//! go into it.

use ossature_sys::errno::Result;
use ossature_sys::fd::{AsFd, AsRawFd, OwnedFd, above_standard};
use ossature_sys::pipe;
use ossature_sys::socket::{Kind, Socket};

/// Two sockets connected to each other.
pub(super) fn pair(kind: Kind) -> Result<(Socket, Socket)> {
    let (one, other) = Socket::pair(kind)?;
    Ok((socket(one)?, socket(other)?))
}

/// A pipe that does not block.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe::pipe(pipe::Flags::NONBLOCK)?;
    Ok((above_standard(reader)?, above_standard(writer)?))
}

/// The same socket, above the standard streams.
pub(super) fn socket(socket: Socket) -> Result<Socket> {
    const STANDARD: std::ops::RangeInclusive<i32> = 0..=2;
    match STANDARD.contains(&socket.as_fd().as_raw_fd()) {
        true => above_standard(socket.into()).and_then(Socket::try_from),
        false => Ok(socket),
    }
}
