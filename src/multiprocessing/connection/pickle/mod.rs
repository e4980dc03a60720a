//! Plain data as CPython pickles it, both ways, and nothing that runs.
//!
//! `Connection.send` of CPython writes a pickle, and `recv` reads one:
//! [`send_pickled`](super::Connection::send_pickled) and [`recv_pickled`](super::Connection::recv_pickled) talk with a
//! Python process. [`encode`] writes protocol 2, which every version reads, and an [`Encoder`] writes 3 to 5 too.
//! [`decode`] reads protocols 0 to 5 as the versions from 2.7 on write them, as long as they hold [plain data](Value).
//! A pickle is a program that may import and call whatever it names. Here a class, a function or an object is an error,
//! which names the opcode and its offset. Old protocols have no opcodes for some plain data, and name a class instead
//! (`set`, `bytearray`, `_codecs.encode` for bytes, ...). These few names stand for that data; nothing is called.
//!
//! Whatever the bytes are, decoding takes time and memory in proportion to their number. The memory is at most 64 bytes
//! for each byte, or 16 MiB if that is more, or the decoder's [limit](Decoder::max_memory). An object that stands in
//! several places is copied within that limit. An object that contains itself is an error, and so is nesting that is
//! [too deep](Decoder::max_depth).
//!
//! | Python | here |
//! | --- | --- |
//! | `connection.send(obj)`, `recv()` | `send_pickled`, `recv_pickled` |
//! | `pickle.dumps(obj, protocol=2)` | [`encode`] |
//! | `pickle.dumps(obj, protocol=5)` | [`Encoder`]; on a connection `set_pickle_protocol` |
//! | `pickle.loads(data)` | [`decode`] |
//! | `pickle.loads(data, encoding="bytes")` | [`Decoder`] with [`OldStr::Bytes`] |
//! | your own classes | structs that derive serde's traits: [`to_value`], [`from_value`] |
//!
//! ```
//! use ossature::multiprocessing::connection::pickle::{Value, decode, encode, from_value};
//!
//! // What CPython 3.11 sends for {'a': 1}.
//! let value = decode(b"\x80\x04\x95\x0a\0\0\0\0\0\0\0}\x94\x8c\x01a\x94K\x01s.").unwrap();
//! assert_eq!(value, Value::dict([("a", 1)]));
//! assert_eq!(decode(&encode(&value).unwrap()).unwrap(), value);
//!
//! let map: std::collections::HashMap<String, i64> = from_value(value).unwrap();
//! assert_eq!(map["a"], 1);
//!
//! let error = decode(b"cos\nsystem\n(S'true'\ntR.").unwrap_err();
//! assert_eq!(error.to_string(), "pickle: GLOBAL at offset 0: names os.system; only plain data is read");
//! ```

mod bigint;
mod budget;
mod de;
mod graph;
mod input;
mod machine;
mod memo;
mod messages;
mod meter;
pub(crate) mod object;
mod opcode;
mod ser;
mod stack;
mod text;
mod tree;
mod value;
mod writer;

pub use bigint::{BigInt, DoesNotFit};
pub use de::{from_value, from_value_within};
pub use object::{Global, Object};
pub use ser::to_value;
pub use value::Value;
pub use writer::{Encoder, encode};

use self::meter::{Meter, Setters};
use crate::error::Result;

/// The highest protocol that is read.
pub const HIGHEST_PROTOCOL: u8 = 5;

/// How deep written containers may be nested, and the largest depth of a [decoder](Decoder::max_depth).
///
/// CPython itself, as long as nobody raises its recursion limit, writes less than 500 (up to 3.11).
pub const MAX_DEPTH: usize = 512;

/// How deep read containers may be nested by default; see [`Decoder::max_depth`].
pub(crate) const DEPTH: usize = 128;

/// How much memory reading may take by default, for each byte and at least; see [`Decoder::max_memory`].
const MEMORY_PER_BYTE: usize = 64;
const MEMORY: usize = 16 << 20;

/// What a `str` of Python 2 is read as. It was both text and bytes there; `unicode` is always text.
///
/// # Examples
/// See the example of [`Decoder`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldStr {
    /// Text if it is ASCII, else an error: as Python 3 does unless told otherwise.
    #[default]
    Text,
    /// Bytes, always. Keys of dicts and attribute names, too, are bytes then.
    Bytes,
}

/// Reads a pickle of plain data in any protocol.
///
/// # Errors
/// [`ErrorKind::Decode`](crate::error::ErrorKind::Decode): the bytes are not a whole pickle, or one of more than plain
/// data. The message names the opcode and its offset.
pub fn decode(bytes: &[u8]) -> Result<Value> {
    Decoder::new().decode(bytes)
}

/// [`decode`] with settings.
///
/// ```
/// use ossature::multiprocessing::connection::pickle::{Decoder, OldStr, Value};
///
/// let from_python_2 = b"\x80\x02U\x01\xffq\0.";
/// assert!(Decoder::new().decode(from_python_2).is_err());
/// assert_eq!(Decoder::new().old_str(OldStr::Bytes).decode(from_python_2).unwrap(), Value::Bytes(vec![255]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    old_str: OldStr,
    max_depth: Option<usize>,
    max_memory: Option<usize>,
    setters: Setters,
    objects: bool,
}

impl Decoder {
    /// A decoder that does what [`decode`] does.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a `str` of Python 2 is read as.
    #[must_use]
    pub fn old_str(mut self, old_str: OldStr) -> Self {
        self.old_str = old_str;
        self
    }

    /// Sets how deep containers may be nested. The default is 128, the maximum [`MAX_DEPTH`].
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::connection::pickle::{Decoder, Value, encode};
    ///
    /// let nested = encode(&Value::List(vec![Value::List(vec![Value::List(vec![])])]))?;
    /// assert!(Decoder::new().max_depth(8).decode(&nested).is_ok());
    /// assert!(Decoder::new().max_depth(1).decode(&nested).is_err());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[must_use]
    pub fn max_depth(mut self, depth: usize) -> Self {
        self.max_depth = Some(depth.min(MAX_DEPTH));
        self
    }

    /// Sets how many bytes of memory reading may take at a time, for the value and for the data from which the value is
    /// made. The input is not counted, and neither is the overhead of the allocator.
    ///
    /// The default is 64 times the length of the pickle, or 16 MiB if that is more. A list of small numbers takes 32
    /// bytes for each number, and reading the list takes less than twice as much. Two kinds of pickles exceed 64 bytes
    /// for each byte. One puts copies of one object into many places, the other holds mostly nested empty containers.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::connection::pickle::{Decoder, Value, encode};
    ///
    /// let list = encode(&Value::from(vec![1; 10_000]))?;
    /// let error = Decoder::new().max_memory(100_000).decode(&list).unwrap_err();
    /// assert!(error.to_string().contains("more than 100000 bytes of memory"));
    /// assert!(Decoder::new().max_memory(640_000).decode(&list).is_ok());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[must_use]
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.max_memory = Some(bytes);
        self
    }

    /// Reads classes and objects too, as the [records](Object) that they are in a pickle. Nothing is imported or
    /// called.
    ///
    /// # Examples
    /// See the example of [`Object`].
    #[must_use]
    pub fn objects(mut self) -> Self {
        self.objects = true;
        self
    }

    /// Names the setters of a connection in its errors.
    fn of_connection(mut self) -> Self {
        self.setters = Setters::OF_CONNECTION;
        self
    }

    /// Says in its errors that a manager has no setters.
    pub(crate) fn of_manager(mut self) -> Self {
        self.setters = Setters::OF_MANAGER;
        self
    }

    /// Reads a pickle of plain data.
    ///
    /// # Errors
    /// Those of [`decode`].
    pub fn decode(&self, bytes: &[u8]) -> Result<Value> {
        let limit = self.max_memory.unwrap_or_else(|| bytes.len().saturating_mul(MEMORY_PER_BYTE).max(MEMORY));
        let mut graph =
            machine::Machine::new(bytes, self.old_str, self.objects, Meter::new(limit, self.setters)).run()?;
        let meter = std::mem::replace(&mut graph.meter, Meter::new(0, self.setters));
        tree::ProcessBuilder::build(&graph, meter, self.max_depth.unwrap_or(DEPTH))
    }
}
