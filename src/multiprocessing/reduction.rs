//! Passing open files between processes in the format of CPython's `multiprocessing.reduction`: one byte and a control
//! message.
//!
//! Between programs in Rust a [`transfer::Handle`](crate::multiprocessing::transfer::Handle) inside a value does more.
//! This is for a CPython at the other side, whose `send_handle`, `recv_handle`, `sendfds` and `recvfds` these are.
//!
//! ```
//! use std::io::{Read, Write};
//! use ossature::multiprocessing::connection::pipe;
//! use ossature::multiprocessing::reduction::{recv_handle, send_handle};
//!
//! let (near, far) = pipe()?;
//! let (mut reader, writer) = std::os::unix::net::UnixStream::pair()?;
//! send_handle(&near, &writer)?;
//! let mut writer_there = std::fs::File::from(recv_handle(&far)?);
//! writer_there.write_all(b"by another descriptor")?;
//! drop((writer, writer_there));
//! let mut text = String::new();
//! reader.read_to_string(&mut text)?;
//! assert_eq!(text, "by another descriptor");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ossature_sys::errno::Errno;
use ossature_sys::eventfd::Until;
use ossature_sys::shm::is_shared_memory;

use super::connection::Connection;
use super::connection::frame::MOST_DESCRIPTORS;
use crate::error::{Error, ErrorKind, Result};

/// Whether the receiver acknowledges descriptors with a byte, for which the sender waits.
///
/// # Examples
/// See the example of [`send_handles`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[doc(alias = "ACKNOWLEDGE")]
pub enum Acknowledgement {
    /// The receiver does not acknowledge, as in CPython on Linux.
    #[default]
    None,
    /// The receiver answers `A`, as in CPython on macOS, and in the fork server of 3.14 anywhere.
    Byte,
}

const A: u8 = b'A';

/// Sends a copy of one descriptor: Python's `send_handle(conn, handle, pid)`.
///
/// # Errors
/// As for [`send_handles`].
pub fn send_handle(connection: &Connection, handle: impl AsFd) -> Result<()> {
    send_handles(connection, &[handle.as_fd()], Acknowledgement::None, Until::NEVER).map(drop)
}

/// Receives one descriptor: Python's `recv_handle(conn)`.
///
/// # Errors
/// As for [`recv_handles`].
pub fn recv_handle(connection: &Connection) -> Result<OwnedFd> {
    let handles = recv_handles(connection, 1, Acknowledgement::None, Until::NEVER)?;
    handles.into_iter().flatten().next().ok_or_else(|| invalid("no descriptor"))
}

/// Sends copies of 1 to 253 descriptors, and waits for the acknowledgement if requested: Python's `sendfds`. False when
/// the time ran out before, or when a [`CancelFd`](super::connection::CancelFd) ended the wait.
///
/// # Errors
/// [`InvalidInput`](ErrorKind::InvalidInput) for no or too many descriptors, within a message, and when the connection
/// is not a Unix socket; [`Closed`](ErrorKind::Closed); [`Decode`](ErrorKind::Decode) for another answer than `A`;
/// [`Os`](ErrorKind::Os).
///
/// # Examples
/// ```
/// use std::os::fd::AsFd;
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::pipe;
/// use ossature::multiprocessing::reduction::{Acknowledgement, recv_handles, send_handles};
///
/// let (near, far) = pipe()?;
/// let (one, other) = std::os::unix::net::UnixStream::pair()?;
/// let minute = Duration::from_secs(60);
/// let taking = std::thread::spawn(move || recv_handles(&far, 2, Acknowledgement::Byte, minute));
/// assert!(send_handles(&near, &[one.as_fd(), other.as_fd()], Acknowledgement::Byte, minute)?);
/// assert_eq!(taking.join().unwrap()?.map(|handles| handles.len()), Some(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "sendfds")]
pub fn send_handles<'c>(
    connection: &Connection,
    handles: &[BorrowedFd<'_>],
    acknowledgement: Acknowledgement,
    timeout: impl Into<Until<'c>>,
) -> Result<bool> {
    let until = timeout.into();
    between_messages(connection)?;
    if !(1..=MOST_DESCRIPTORS).contains(&handles.len()) {
        let message = format!("cannot send {} descriptors at once: send 1 to {MOST_DESCRIPTORS}", handles.len());
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let count = [(handles.len() % 256) as u8];
    let stream = connection.stream();
    let sent = until.when_writable(stream, |deadline| stream.write_with(&count, handles, deadline)).map_err(failed)?;
    if sent.is_none() {
        return Ok(false);
    }
    if acknowledgement == Acknowledgement::None {
        return Ok(true);
    }
    let mut answer = [0];
    match until.when_readable(stream, |deadline| stream.read(&mut answer, deadline)).map_err(failed)? {
        None => Ok(false),
        Some(0) => Err(end()),
        Some(_) if answer == [A] => Ok(true),
        Some(_) => Err(Error::new(ErrorKind::Decode, "did not receive acknowledgement of fd")),
    }
}

/// Receives `count` descriptors, 1 to 253, and acknowledges them if requested: Python's `recvfds`. `None` when they did
/// not come by the deadline, or when a [`CancelFd`](super::connection::CancelFd) ended the wait.
///
/// As in Python, any peer may send them: CPython sends no credentials with them. Check [`trust`](Connection::trust) or
/// [`peer_credentials`](Connection::peer_credentials) before this call.
///
/// # Errors
/// [`Closed`](ErrorKind::Closed) when the other side has closed the connection. [`Decode`](ErrorKind::Decode) for bytes
/// without descriptors, for another number of descriptors, or for shared memory of this program, which only
/// [`Memory`](crate::multiprocessing::transfer::Memory) takes; all that came is closed.
/// [`InvalidInput`](ErrorKind::InvalidInput) and [`Os`](ErrorKind::Os) as for [`send_handles`].
///
/// # Examples
/// See the example of [`send_handles`].
#[doc(alias = "recvfds")]
pub fn recv_handles<'c>(
    connection: &Connection,
    count: usize,
    acknowledgement: Acknowledgement,
    timeout: impl Into<Until<'c>>,
) -> Result<Option<Vec<OwnedFd>>> {
    between_messages(connection)?;
    let (mut said, until, stream) = ([0], timeout.into(), connection.stream());
    let read = |deadline| stream.read_with::<MOST_DESCRIPTORS>(&mut said, deadline);
    let Some(got) = until.when_readable(stream, read).map_err(failed)? else { return Ok(None) };
    if got.len == 0 {
        return Err(end());
    }
    let number = got.descriptors.len();
    if acknowledgement == Acknowledgement::Byte {
        until.when_writable(stream, |deadline| stream.write([&[A], &[]], deadline)).map_err(failed)?;
    }
    if got.descriptors_lost || number == 0 {
        return Err(invalid("no descriptors, or more than this process may open"));
    }
    if usize::from(said[0]) != number % 256 || number != count {
        return Err(invalid(&format!(
            "{number} descriptors came, but {} were announced and {count} were requested",
            said[0]
        )));
    }
    let handles: Vec<OwnedFd> = got.descriptors.into_iter().collect();
    if handles.iter().any(is_shared_memory) {
        return Err(invalid("shared memory, which is received only as transfer::Memory"));
    }
    Ok(Some(handles))
}

/// Checks that the connection is between messages: the byte must not come within a message.
fn between_messages(connection: &Connection) -> Result<()> {
    if connection.is_within_a_message() {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "cannot pass descriptors within a message: finish the message first",
        ));
    }
    Ok(())
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::Decode, format!("Invalid data received: {what}"))
}

fn end() -> Error {
    Error::new(ErrorKind::Closed, "the other side has closed the connection")
}

fn failed(errno: Errno) -> Error {
    match errno {
        Errno::PIPE | Errno::CONNRESET => Error::with_errno(ErrorKind::Closed, errno, "the connection is closed"),
        Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::INVAL => {
            Error::with_errno(ErrorKind::InvalidInput, errno, "cannot pass descriptors except over a Unix socket")
        }
        other => Error::os(other, "descriptors"),
    }
}
