//! How far the peer of a connection is trusted.

/// How far the peer of a connection is trusted.
///
/// # Examples
/// ```
/// use std::os::unix::net::UnixStream;
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::connection::{Access, Connection, pipe};
/// use ossature::multiprocessing::{Value, transfer::Trust};
///
/// let count = Value::new(0_u32)?;
/// let (near, _far) = pipe()?; // made by this program
/// assert_eq!(near.trust(), Trust::SameProgram);
/// near.send(&count)?;
///
/// let (one, _other) = UnixStream::pair()?; // the other end could belong to any process
/// let stranger = Connection::from_fd(one.into(), Access::Both)?;
/// assert_eq!(stranger.trust(), Trust::Untrusted);
/// assert_eq!(stranger.send(&count).unwrap_err().kind(), ErrorKind::NotAllowed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The peer runs this program, or follows its protocol: shared memory is accepted from it and sent to it.
    SameProgram,
    /// Any peer.
    Untrusted,
}
