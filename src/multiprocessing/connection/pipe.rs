//! Connections between processes that have a common ancestor.

use ossature_sys::fd::set_nonblocking;
use ossature_sys::pipe;
use ossature_sys::socket::{Kind, Socket};

use super::{Access, Connection};
use crate::error::{Error, Result};
use crate::multiprocessing::transfer::Trust;

/// Two ends of a connection, each of which sends and receives: Python's `Pipe()`.
///
/// They are for one process each. While a process has both, or a forked child has copies, the other side does not see an end.
///
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
    let (one, other) = Socket::pair(Kind::Stream).map_err(failed)?;
    let end = |socket: Socket| {
        set_nonblocking(&socket, false).map_err(failed)?;
        Connection::with_trust(socket.into(), Access::Both, Trust::Kin)
    };
    Ok((end(one)?, end(other)?))
}

/// An end that only receives, and the end that only sends to it: Python's `Pipe(duplex=False)`.
///
/// It is an ordinary pipe of the system, which carries no descriptors: values with open files or shared memory in them take a
/// [`pipe()`].
///
/// # Errors
/// As for [`pipe()`].
#[doc(alias = "Pipe")]
pub fn pipe_one_way() -> Result<(Connection, Connection)> {
    let (reader, writer) = pipe::pipe(pipe::Flags::empty()).map_err(|errno| Error::os(errno, "cannot make a pipe"))?;
    let reader = Connection::with_trust(reader, Access::Receive, Trust::Kin)?;
    Ok((reader, Connection::with_trust(writer, Access::Send, Trust::Kin)?))
}
