//! This library's own descriptors between a process and its children. They never have the number of a standard stream.
//!
//! A program may have closed a standard stream. The next descriptor would then get its number, and printed text would
//! go into it.

use ossature_sys::errno::Result;
use ossature_sys::fd::{AboveStandard, OwnedFd};
use ossature_sys::pipe;
use ossature_sys::socket::{Kind, Socket};

/// Makes two sockets that are connected to each other.
pub(super) fn pair(kind: Kind) -> Result<(Socket, Socket)> {
    Socket::pair(kind)?.above_standard()
}

/// Makes a pipe that does not block.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe::pipe(pipe::Flags::NONBLOCK)?.above_standard()
}
