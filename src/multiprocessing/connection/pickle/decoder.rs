//! The settings of a pickle decoder: its limits, and what it accepts besides plain data.

use super::machine::Machine;
use super::meter::{Meter, Setters};
use super::tree::TreeBuilder;
use super::value::Value;
use super::{DEPTH, MAX_DEPTH, OldStr};
use crate::error::Result;

/// The default limit on the memory of decoding, for each byte of the pickle and at least; see [`Decoder::max_memory`].
const MEMORY_PER_BYTE: usize = 64;
const MEMORY: usize = 16 << 20;

/// Decodes a pickle of plain data in any protocol.
///
/// # Errors
/// [`ErrorKind::Decode`](crate::error::ErrorKind::Decode): the bytes are not a whole pickle, or one of more than plain
/// data. The message names the opcode and its offset.
pub fn decode(bytes: &[u8]) -> Result<Value> {
    Decoder::new().decode(bytes)
}

/// A pickle decoder with settings; [`decode`] uses the defaults.
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
    /// Makes a decoder with the settings of [`decode`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the type as which a `str` of Python 2 is decoded.
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

    /// Sets how many bytes of memory decoding may hold at a time, for the value and for the data from which the value
    /// is made. The input is not counted, and neither is the overhead of the allocator.
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

    /// Accepts classes and objects too, as the [records](super::Object) that describe them in a pickle. Nothing is
    /// imported or called.
    ///
    /// # Examples
    /// See the example of [`Object`](super::Object).
    #[must_use]
    pub fn objects(mut self) -> Self {
        self.objects = true;
        self
    }

    /// Makes errors name the setters of a connection.
    pub(super) fn of_connection(mut self) -> Self {
        self.setters = Setters::OF_CONNECTION;
        self
    }

    /// Makes errors say that a manager has no setters.
    pub(crate) fn of_manager(mut self) -> Self {
        self.setters = Setters::OF_MANAGER;
        self
    }

    /// Decodes a pickle of plain data.
    ///
    /// # Errors
    /// The errors of [`decode`].
    pub fn decode(&self, bytes: &[u8]) -> Result<Value> {
        let limit = self.max_memory.unwrap_or_else(|| bytes.len().saturating_mul(MEMORY_PER_BYTE).max(MEMORY));
        let mut graph = Machine::new(bytes, self.old_str, self.objects, Meter::new(limit, self.setters)).run()?;
        let meter = std::mem::replace(&mut graph.meter, Meter::new(0, self.setters));
        TreeBuilder::build(&graph, meter, self.max_depth.unwrap_or(DEPTH))
    }
}
