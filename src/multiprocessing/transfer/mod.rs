//! The transfer of values with open files and shared memory in them to another process.
//!
//! Values between processes are serde's, and the number of a descriptor means nothing in another process. So while a
//! value is being sent, each owner of a descriptor puts a copy of it on a list. The owner writes its place in the list.
//! The list is sent beside the bytes. The receiver takes each descriptor off the list once, and closes the descriptors
//! that no owner took.
//!
//! | to send | write |
//! | --- | --- |
//! | a [`Lock`](crate::multiprocessing::Lock), [`Value`](crate::multiprocessing::Value), [`Connection`](crate::multiprocessing::connection::Connection), ... | the object itself, anywhere in the value |
//! | a `File`, `TcpStream`, `OwnedFd`, ... | [`Handle`]`(file)`, or `#[serde(with = "handle")]` on the field |
//! | a [`Shm`](crate::sys::shm::Shm) | [`Memory`]`(shm)`, or `#[serde(with = "memory")]` on the field |
//!
//! The sender keeps what it has: both have the same open file, or the same memory, afterwards.
//!
//! ```
//! use std::io::{Read, Seek, Write};
//! use ossature::multiprocessing::{Value, connection::pipe, transfer};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Job {
//!     name: String,
//!     #[serde(with = "transfer::handle")]
//!     input: std::fs::File,
//!     done: Value<u32>,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = std::env::temp_dir().join(format!("ossature-transfer-doc-{}", std::process::id()));
//! # let mut input = std::fs::File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
//! # std::fs::remove_file(path)?;
//! input.write_all(b"one two three")?;
//! input.rewind()?;
//! let job = Job { name: "count".into(), input, done: Value::new(0_u32)? };
//! let (near, far) = pipe()?; // `far` may be in a forked or spawned process
//! near.send(&job)?;
//!
//! let mut job_there: Job = far.recv()?;
//! let mut text = String::new();
//! job_there.input.read_to_string(&mut text)?;
//! job_there.done.set(text.split(' ').count() as u32)?;
//! assert_eq!(job.done.get()?, 3);
//! # Ok(()) }
//! ```
//!
//! **Trust.** Shared memory is sent to and accepted from this program's own processes only. These are at the other end
//! of a pipe that the program made, or of a Unix socket whose other side knows the authentication key. A stranger could
//! change the memory under a reference. The same holds for an end of a connection between these processes, because
//! memory could be received over it. Other descriptors are exchanged with processes of the same user too.
//!
//! **Numbers.** One message or one item of a queue has at most 253 descriptors, as many as the kernel accepts at once.
//! A value with more is refused; send it in several messages. A lock, a value, a file and an end of a connection are
//! one descriptor each, a queue is four or five. All objects that were made together by `many`, or in one [`Arena`],
//! are one descriptor. A long item of a queue needs one for its bytes. The arguments of a process may have more.
//!
//! **Files.** A descriptor cannot be written to a file: serialising one when nothing is being sent is an error.

mod arena;
mod fd_kind;
mod form;
pub mod handle;
mod kept;
mod list;
pub mod memory;
mod packet;
mod placed;
mod several;
mod trust;
mod values;
mod way;

use ossature_sys::errno::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

#[doc(inline)]
pub use self::arena::Arena;
#[doc(inline)]
pub use self::handle::Handle;
#[doc(inline)]
pub use self::memory::{Attach, Memory};
#[doc(inline)]
pub use self::trust::Trust;
#[doc(inline)]
pub use self::values::{Inbound, Outbound, Transfer};

pub(crate) use self::fd_kind::{Descriptors, FdCounts, FdKind};
pub(crate) use self::form::{Bounds, DEPTH};
use self::list::{Arriving, Leaving};
pub(crate) use self::list::{put, received_trust, refuse_to_receive, refuse_to_send, take};
pub(crate) use self::packet::{Came, Packet};
pub(crate) use self::placed::Placed;
pub(crate) use self::several::{LONG, Reading, Writing, put_measured, split_measured};
pub(crate) use self::way::Way;
use crate::error::{Error, ErrorKind, Result};

/// A serialised value in transfer. Code outside of this crate can neither make nor inspect one.
#[derive(Debug)]
#[doc(hidden)]
pub struct Packed {
    /// The value in postcard's form.
    pub(crate) bytes: Vec<u8>,
    /// The descriptors that are sent with the bytes.
    pub(crate) descriptors: Descriptors,
}

/// Serialises a value, with copies of the descriptors in it.
pub(crate) fn pack<T: Serialize + ?Sized>(value: &T) -> Result<Packed> {
    let list = Leaving::begin();
    let packed = form::write(value);
    let descriptors = list.finish()?;
    let bytes = packed.map_err(|why| cannot_be_sent::<T>(&why))?;
    Ok(Packed { bytes, descriptors })
}

/// Packs like [`pack`], and appends to `bytes`; `None` without descriptors. If a value cannot be sent, its bytes so far
/// stay there.
pub(crate) fn pack_behind<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) -> Result<Option<Descriptors>> {
    let list = Leaving::begin();
    let packed = form::write_behind(bytes, value);
    let descriptors = list.take_any()?;
    packed.map_err(|why| cannot_be_sent::<T>(&why))?;
    Ok(descriptors)
}

#[cold]
fn cannot_be_sent<T: ?Sized>(why: &form::Fault) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{} cannot be sent: {why}", std::any::type_name::<T>()))
}

/// Decodes the value within the bounds; closes the descriptors that are not in the value.
pub(crate) fn unpack<T: DeserializeOwned>(packed: Packed, trust: Trust, bounds: Bounds) -> Result<T> {
    let Packed { bytes, descriptors } = packed;
    let length = bytes.len();
    unpack_by(length, descriptors, trust, || form::read_message(bytes, bounds))
}

/// Decodes like [`unpack`], from borrowed bytes.
pub(crate) fn unpack_slice<T: DeserializeOwned>(
    bytes: &[u8],
    descriptors: Descriptors,
    trust: Trust,
    bounds: Bounds,
) -> Result<T> {
    unpack_by(bytes.len(), descriptors, trust, || form::read(bytes, bounds))
}

/// Decodes like [`unpack_slice`], from bytes without descriptors.
pub(crate) fn unpack_alone<T: DeserializeOwned>(bytes: &[u8], trust: Trust, bounds: Bounds) -> Result<T> {
    let list = Arriving::alone(trust);
    let read = form::read(bytes, bounds);
    taken(list, bytes.len(), read)
}

/// Runs `read` on a message of `length` bytes, with its descriptors.
fn unpack_by<T>(
    length: usize,
    descriptors: Descriptors,
    trust: Trust,
    read: impl FnOnce() -> std::result::Result<T, form::Fault>,
) -> Result<T> {
    let lost = descriptors.count_lost();
    if lost > 0 {
        let message =
            format!("a message was lost: it came with {lost} descriptors, and this process could not open all of them");
        return Err(Error::os(Errno::MFILE, message));
    }
    let list = Arriving::begin(descriptors, trust);
    let unpacked = read();
    taken(list, length, unpacked)
}

/// Returns the value that was read from a message of `length` bytes, unless a descriptor in it was refused.
#[inline]
fn taken<T>(list: Arriving, length: usize, read: std::result::Result<T, form::Fault>) -> Result<T> {
    list.finish()?;
    read.map_err(|why| {
        let message = format!(
            "a message of {length} bytes is not a {} (both sides must name the same type): {why}",
            std::any::type_name::<T>()
        );
        Error::new(ErrorKind::Decode, message)
    })
}
