//! Owners of descriptors inside a value that is sent. Write
//! `#[serde(with = "ossature::multiprocessing::transfer::handle")]` on a field that is a `File`, a `TcpStream`, an
//! `OwnedFd` or anything else that is `AsFd` and can be made from an `OwnedFd`.

use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fd_kind::FdKind;
use super::list::{put, take};

/// An owner of a descriptor, to be sent: a `File`, a `TcpStream`, a `UnixListener`, an `OwnedFd`.
///
/// The receiver may take it as another type than it was sent as. Calls that do not fit then fail, as they would with
/// any wrong descriptor.
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use ossature::multiprocessing::{connection::pipe, transfer::Handle};
///
/// let (mut one, other) = UnixStream::pair()?;
/// let (near, far) = pipe()?;
/// near.send(&("the other end", Handle(other)))?;
/// let (what, Handle(mut other)): (String, Handle<UnixStream>) = far.recv()?;
/// other.write_all(what.as_bytes())?;
/// let mut text = [0; 13];
/// one.read_exact(&mut text)?;
/// assert_eq!(&text, b"the other end");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[doc(alias = "DupFd")]
pub struct Handle<T>(pub T);

impl<T: AsFd> Serialize for Handle<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de, T: From<OwnedFd>> Deserialize<'de> for Handle<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self)
    }
}

/// Sends a copy of the descriptor.
///
/// # Errors
/// When nothing is being sent, and without descriptors.
///
/// # Examples
/// ```
/// use std::os::unix::net::UnixStream;
/// use ossature::multiprocessing::{connection::pipe, transfer::handle};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Client {
///     name: String,
///     #[serde(with = "handle")]
///     stream: UnixStream,
/// }
///
/// let (near, far) = pipe()?;
/// near.send(&Client { name: "first".to_owned(), stream: UnixStream::pair()?.0 })?;
/// let client: Client = far.recv()?;
/// assert!(client.name == "first" && client.stream.peer_addr().is_ok_and(|address| address.is_unnamed()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn serialize<T: AsFd, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    put(value, FdKind::Handle)?.serialize(serializer)
}

/// Takes the descriptor that came with the value.
///
/// # Errors
/// When nothing is being received, and when no such descriptor came, or it was taken already.
///
/// # Examples
/// See the example of [`serialize()`].
pub fn deserialize<'de, T: From<OwnedFd>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    take(Deserialize::deserialize(deserializer)?, FdKind::Handle).map(T::from)
}
