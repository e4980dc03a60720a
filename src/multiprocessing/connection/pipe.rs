//! Connections between processes that have a common ancestor.

use ossature_sys::fd::{AboveStandard, set_blocking};
use ossature_sys::pipe;
use ossature_sys::socket::{Kind, Socket};

use super::{Access, Connection};
use crate::error::{Error, Result};
use crate::multiprocessing::transfer::Trust;

/// Makes two ends of a connection, each of which sends and receives: Python's `Pipe()`.
///
/// **Give one end to the child, and keep the other.** A child that is forked [with its
/// end](crate::multiprocessing::Process::fork_with) has no copy of the other end. This process has no copy of the
/// child's end. So each side sees when the other side has closed its end:
/// ```standalone_crate
/// use ossature::multiprocessing::{Process, pipe};
///
/// let (near, far) = pipe()?;
/// let child = Process::fork_with(far, |far| {
///     while let Ok(text) = far.recv::<String>() { // ends with the pipe
///         println!("{text}");
///     }
/// })?;
/// near.send("work")?;
/// drop(near);
/// assert!(child.join()?.success());
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// A child of the plain [`Process::fork`](crate::multiprocessing::Process::fork) has copies of both ends, whatever its
/// closure names. This loop would not end in such a child. An end counts as closed only when every process has closed
/// its copy.
///
/// Within one process:
/// ```
/// use ossature::multiprocessing::connection::pipe;
///
/// let (near, far) = pipe()?;
/// near.send(&(42, "hello"))?;
/// assert_eq!(far.recv::<(i32, String)>()?, (42, "hello".to_owned()));
/// far.send_bytes(b"raw")?;
/// drop(far);
/// assert_eq!(near.recv_bytes()?, b"raw");
/// assert_eq!(near.recv_bytes().unwrap_err().kind(), ossature::ErrorKind::Closed);
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// # Errors
/// [`Os`](crate::ErrorKind::Os) with `EMFILE` or `ENFILE` without descriptors, with `ENOMEM`.
#[doc(alias = "Pipe")]
#[doc(alias = "socketpair")]
pub fn pipe() -> Result<(Connection, Connection)> {
    let failed = |errno| Error::os(errno, "cannot make a pipe");
    let (one, other) = Socket::pair(Kind::Stream).and_then(AboveStandard::above_standard).map_err(failed)?;
    let end = |socket: Socket| {
        set_blocking(&socket).map_err(failed)?;
        Connection::with_trust(socket.into(), Access::Both, Trust::SameProgram)
    };
    Ok((end(one)?, end(other)?))
}

/// Makes an end that only receives, and an end that only sends to it: Python's `Pipe(duplex=False)`. Fork a child [with
/// its end](crate::multiprocessing::Process::fork_with), as for [`pipe()`].
///
/// It is an ordinary pipe of the system, which carries no descriptors: values with open files or shared memory in them
/// take a [`pipe()`].
///
/// **Long messages.** A pipe holds 64 KiB, so a message of 1 MiB takes sixteen turns of writer and reader. A pipe that
/// holds 1 MiB takes the message in one turn, and passes it on about three times as fast:
/// ```
/// use ossature::multiprocessing::connection::pipe_one_way;
/// use ossature::sys::pipe::set_capacity;
///
/// let (reader, writer) = pipe_one_way()?;
/// assert_eq!(set_capacity(&writer, 1 << 20)?, 1 << 20); // the same pipe as the reader's
/// writer.send_bytes(&vec![7; 1 << 19])?; // and no thread reads yet
/// assert_eq!(reader.recv_bytes()?.len(), 1 << 19);
/// # Ok::<(), ossature::Error>(())
/// ```
/// The kernel bounds what all pipes of a user without privileges hold (`/proc/sys/fs/pipe-user-pages-soft`, 64 MiB as a
/// rule). Beyond it `set_capacity` fails with `EPERM`, and a new pipe of any program of that user holds two pages. So a
/// pipe keeps its size here unless the program asks.
///
/// # Errors
/// As for [`pipe()`].
///
/// # Examples
/// See the example of [`Connection`].
#[doc(alias = "Pipe")]
pub fn pipe_one_way() -> Result<(Connection, Connection)> {
    let failed = |errno| Error::os(errno, "cannot make a pipe");
    let (reader, writer) = pipe::pipe(pipe::Flags::empty()).and_then(AboveStandard::above_standard).map_err(failed)?;
    let end = |fd, access| Connection::with_trust(fd, access, Trust::SameProgram);
    Ok((end(reader, Access::Receive)?, end(writer, Access::Send)?))
}
