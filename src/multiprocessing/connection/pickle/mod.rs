//! Plain data in CPython's pickle format, in both directions, without running any code.
//!
//! `Connection.send` of CPython writes a pickle, and `recv` reads one:
//! [`send_pickled`](super::Connection::send_pickled) and [`recv_pickled`](super::Connection::recv_pickled) talk with a
//! Python process. [`encode`] writes protocol 2, which every version reads, and an [`Encoder`] writes 3 to 5 too.
//! [`decode`] reads protocols 0 to 5 as the versions from 2.7 on write them, as long as they hold [plain data](Value).
//! A pickle is a program that may import and call any class or function. Here a class, a function or an object is an
//! error, which names the opcode and its offset. Old protocols have no opcodes for some plain data, and name a class
//! instead (`set`, `bytearray`, `_codecs.encode` for bytes, ...). These few names mean that data; nothing is called.
//!
//! Whatever the bytes are, decoding takes time and memory in proportion to their number. The memory is at most 64 bytes
//! for each byte, or 16 MiB if that is more, or the decoder's [limit](Decoder::max_memory). An object that is in
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
//! assert_eq!(error.to_string(), "pickle: GLOBAL at offset 0: refers to os.system; only plain data is read");
//! ```

mod bigint;
mod budget;
mod de;
mod decoder;
mod fault;
mod global;
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
pub use decoder::{Decoder, decode};
pub use global::Global;
pub use ser::to_value;
pub use value::{Object, Value};
pub use writer::{Encoder, encode};

/// The highest pickle protocol that is read.
pub const HIGHEST_PROTOCOL: u8 = 5;

/// The maximum nesting of written containers, and the largest value of [`Decoder::max_depth`].
///
/// CPython itself, with its default recursion limit, writes less than 500 (up to 3.11).
pub const MAX_DEPTH: usize = 512;

/// The default maximum nesting of read containers; see [`Decoder::max_depth`].
pub(crate) const DEPTH: usize = 128;

/// The type as which a `str` of Python 2 is read. Such a `str` was both text and bytes; `unicode` is always text.
///
/// # Examples
/// See the example of [`Decoder`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldStr {
    /// Text if the `str` is ASCII, otherwise an error: the default of Python 3.
    #[default]
    Text,
    /// Bytes, always. Then keys of dicts and attribute names are bytes, too.
    Bytes,
}
