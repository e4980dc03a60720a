//! Writing values as pickles: of protocol 2, which every CPython since 2.3 reads, or of a newer protocol on request.
//!
//! | protocol | difference from the one before | read by |
//! | --- | --- | --- |
//! | 2 | | Python 2.3 and newer |
//! | 3 | bytes have an opcode; the names of Python 3 | 3.0 and newer |
//! | 4 | sets without a call; texts and bytes of more than 4 GiB | 3.4 and newer |
//! | 5 | a `bytearray` has an opcode | 3.8 and newer |

use super::bigint::minimal;
use super::global::Global;
use super::value::Value;
use super::{HIGHEST_PROTOCOL, MAX_DEPTH, opcode as op};
use crate::error::{Error, ErrorKind, Result};

/// Writes `value` as a pickle of protocol 2, the highest that Python 2.7 reads.
///
/// Text is `unicode` there and `str` in Python 3. Bytes are `str` there and `bytes` in Python 3. Everything else is the
/// same on both sides. Nothing is shared: each value is written in full.
///
/// ```
/// use ossature::multiprocessing::connection::pickle::{Value, encode};
///
/// assert_eq!(encode(&Value::from((1, true))).unwrap(), b"\x80\x02K\x01\x88\x86.");
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidInput`] if a dict has a key that Python could not hash, or a set such an item. Also if the value
/// is nested more than [`MAX_DEPTH`] deep. Also if a text or integer is longer than the protocol can say (4 GiB and 2
/// GiB).
pub fn encode(value: &Value) -> Result<Vec<u8>> {
    Encoder::new().encode(value)
}

/// A pickle encoder with a protocol of the caller's choice; [`encode`] uses protocol 2.
///
/// ```
/// use ossature::multiprocessing::connection::pickle::{Encoder, Value};
///
/// let bytes = Value::Bytes(vec![255]);
/// assert_eq!(Encoder::new().protocol(3).encode(&bytes)?, b"\x80\x03C\x01\xff.");
/// assert_eq!(Encoder::new().encode(&bytes)?, b"\x80\x02c_codecs\nencode\nX\x02\0\0\0\xc3\xbfX\x07\0\0\0latin-1\x86R.");
/// assert!(Encoder::new().protocol(6).encode(&bytes).is_err());
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "Pickler")]
pub struct Encoder {
    protocol: u8,
}

/// The default protocol, which is also the lowest that can be written.
const LOWEST: u8 = 2;

impl Default for Encoder {
    fn default() -> Self {
        Self { protocol: LOWEST }
    }
}

impl Encoder {
    /// Makes an encoder with the settings of [`encode`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the protocol: 2, 3, 4 or 5. From 3 on bytes are written as they are, and only Python 3 reads the pickle.
    #[must_use]
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = protocol;
        self
    }

    /// Returns the same encoder if it can write its protocol.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a protocol below 2 or above 5.
    pub(super) fn checked(self) -> Result<Self> {
        let Self { protocol } = self;
        if (LOWEST..=HIGHEST_PROTOCOL).contains(&protocol) {
            return Ok(self);
        }
        let message = format!("pickle: cannot write protocol {protocol}; choose 2 to {HIGHEST_PROTOCOL}");
        Err(Error::new(ErrorKind::InvalidInput, message))
    }

    /// Writes a value as a pickle of this protocol.
    ///
    /// # Errors
    /// The errors of [`encode`], and [`ErrorKind::InvalidInput`] for a protocol below 2 or above 5.
    pub fn encode(&self, value: &Value) -> Result<Vec<u8>> {
        let Self { protocol } = self.checked()?;
        let mut writer = Writer { out: vec![op::PROTO, protocol], protocol };
        writer.value(value, 0)?;
        writer.out.push(op::STOP);
        Ok(writer.out)
    }
}

struct Writer {
    out: Vec<u8>,
    protocol: u8,
}

/// Writes a built-in class under the name that it has in the protocol.
macro_rules! builtin {
    ($writer:ident, $name:literal) => {
        match $writer.protocol {
            LOWEST => concat!("__builtin__\n", $name, "\n"),
            _ => concat!("builtins\n", $name, "\n"),
        }
    };
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<()> {
        match value {
            Value::None => self.out.push(op::NONE),
            Value::Bool(true) => self.out.push(op::NEWTRUE),
            Value::Bool(false) => self.out.push(op::NEWFALSE),
            Value::Int(number) => self.int(*number)?,
            Value::BigInt(big) => self.long(big.as_le_bytes())?,
            Value::Float(number) => self.float(*number),
            Value::Complex(re, im) => {
                self.class(builtin!(self, "complex"));
                self.float(*re);
                self.float(*im);
                self.out.extend([op::TUPLE2, op::REDUCE]);
            }
            Value::Text(text) => self.text(text)?,
            Value::Bytes(bytes) if self.protocol == LOWEST => self.latin1("_codecs\nencode\n", bytes)?,
            Value::Bytes(bytes) => self.bytes(bytes)?,
            Value::ByteArray(bytes) => self.byte_array(bytes)?,
            Value::List(items) => self.list(items, depth)?,
            Value::Tuple(items) => self.tuple(items, depth)?,
            Value::Dict(pairs) => self.dict(pairs, depth)?,
            Value::Set(items) | Value::FrozenSet(items) => {
                self.set(matches!(value, Value::FrozenSet(_)), items, depth)?;
            }
            Value::Global(global) => self.global(global)?,
            Value::Object(object) => {
                self.room(depth)?;
                self.global(&object.made_by)?;
                self.tuple(&object.args, depth + 1)?;
                self.out.push(op::REDUCE);
                if object.state != Value::None {
                    self.value(&object.state, depth + 1)?;
                    self.out.push(op::BUILD);
                }
            }
        }
        Ok(())
    }

    /// Checks that one more container may be open: the reader counts only these.
    fn room(&self, depth: usize) -> Result<()> {
        if depth < MAX_DEPTH { Ok(()) } else { refuse(format!("a value nested more than {MAX_DEPTH} deep")) }
    }

    fn int(&mut self, number: i64) -> Result<()> {
        if let Ok(byte) = u8::try_from(number) {
            self.out.extend([op::BININT1, byte]);
        } else if let Ok(word) = u16::try_from(number) {
            self.out.push(op::BININT2);
            self.out.extend(word.to_le_bytes());
        } else if let Ok(word) = i32::try_from(number) {
            self.out.push(op::BININT);
            self.out.extend(word.to_le_bytes());
        } else {
            self.long(minimal(&number.to_le_bytes()))?;
        }
        Ok(())
    }

    fn long(&mut self, bytes: &[u8]) -> Result<()> {
        if let Ok(length) = u8::try_from(bytes.len()) {
            self.out.extend([op::LONG1, length]);
        } else {
            // Python reads this length with a sign.
            let Ok(length) = i32::try_from(bytes.len()) else { return refuse("an integer of 2 GiB".into()) };
            self.out.push(op::LONG4);
            self.out.extend(length.to_le_bytes());
        }
        self.out.extend(bytes);
        Ok(())
    }

    fn float(&mut self, number: f64) {
        self.out.push(op::BINFLOAT);
        self.out.extend(number.to_be_bytes());
    }

    fn text(&mut self, text: &str) -> Result<()> {
        self.counted("text", [None, Some(op::BINUNICODE), Some(op::BINUNICODE8)], text.len())?;
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.counted("bytes", [Some(op::SHORT_BINBYTES), Some(op::BINBYTES), Some(op::BINBYTES8)], bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn byte_array(&mut self, bytes: &[u8]) -> Result<()> {
        match self.protocol {
            LOWEST => self.latin1("__builtin__\nbytearray\n", bytes),
            3 | 4 => {
                self.class("builtins\nbytearray\n");
                self.bytes(bytes)?;
                self.out.extend([op::TUPLE1, op::REDUCE]);
                Ok(())
            }
            _ => {
                self.counted("bytes", [None, None, Some(op::BYTEARRAY8)], bytes.len())?;
                self.out.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Writes the shortest opcode for a length of 1, 4 or 8 bytes, and the length. The longest form needs protocol 4.
    fn counted(&mut self, what: &str, [short, usual, long]: [Option<u8>; 3], length: usize) -> Result<()> {
        if let (Some(opcode), Ok(length)) = (short, u8::try_from(length)) {
            self.out.extend([opcode, length]);
        } else if let (Some(opcode), Ok(length)) = (usual, u32::try_from(length)) {
            self.out.push(opcode);
            self.out.extend(length.to_le_bytes());
        } else if let Some(opcode) = long.filter(|_| self.protocol > 3) {
            self.out.push(opcode);
            self.out.extend((length as u64).to_le_bytes());
        } else {
            return refuse(format!("a {what} of 4 GiB or more; protocol 4 can"));
        }
        self.out.reserve(length);
        Ok(())
    }

    fn class(&mut self, name: &str) {
        self.out.push(op::GLOBAL);
        self.out.extend_from_slice(name.as_bytes());
    }

    /// Writes a name as two lines, in ASCII so that Python 2 can read them.
    fn global(&mut self, global: &Global) -> Result<()> {
        for name in [global.module(), global.name()] {
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                return refuse(format!("the name {global:?}, which is not a valid Python name"));
            }
        }
        self.class(&format!("{}\n{}\n", global.module(), global.name()));
        Ok(())
    }

    /// Writes bytes for protocol 2, which has none: as a text of one character for each byte, and the name of a codec.
    fn latin1(&mut self, maker: &str, bytes: &[u8]) -> Result<()> {
        /// The number of bytes that are examined together: most runs are ASCII, which is its own UTF-8.
        const RUN: usize = 64;
        self.class(maker);
        let beyond_ascii = bytes.iter().filter(|byte| !byte.is_ascii()).count();
        self.counted("text", [None, Some(op::BINUNICODE), None], bytes.len() + beyond_ascii)?;
        for run in bytes.chunks(RUN) {
            if run.is_ascii() {
                self.out.extend_from_slice(run);
                continue;
            }
            let (mut utf8, mut length) = ([0; 2 * RUN], 0);
            for byte in run {
                // Two bytes of UTF-8 have the upper two bits and the lower six; of ASCII the second is written over.
                let (one, two) = (char::from(*byte), [0xc0 | byte >> 6, 0x80 | byte & 0x3f]);
                let [first, second] = if one.is_ascii() { [*byte, 0] } else { two };
                utf8[length] = first;
                utf8[length + 1] = second;
                length += one.len_utf8();
            }
            self.out.extend_from_slice(&utf8[..length]);
        }
        self.text("latin-1")?;
        self.out.extend([op::TUPLE2, op::REDUCE]);
        Ok(())
    }

    fn items(&mut self, items: &[Value], depth: usize) -> Result<()> {
        items.iter().try_for_each(|item| self.value(item, depth + 1))
    }

    fn list(&mut self, items: &[Value], depth: usize) -> Result<()> {
        self.room(depth)?;
        self.out.push(op::EMPTY_LIST);
        if !items.is_empty() {
            self.out.push(op::MARK);
            self.items(items, depth)?;
            self.out.push(op::APPENDS);
        }
        Ok(())
    }

    fn tuple(&mut self, items: &[Value], depth: usize) -> Result<()> {
        self.room(depth)?;
        if items.len() > 3 {
            self.out.push(op::MARK);
        }
        self.items(items, depth)?;
        self.out.push(match items.len() {
            0 => op::EMPTY_TUPLE,
            1 => op::TUPLE1,
            2 => op::TUPLE2,
            3 => op::TUPLE3,
            _ => op::TUPLE,
        });
        Ok(())
    }

    fn dict(&mut self, pairs: &[(Value, Value)], depth: usize) -> Result<()> {
        self.room(depth)?;
        self.out.push(op::EMPTY_DICT);
        if !pairs.is_empty() {
            self.out.push(op::MARK);
            for (key, value) in pairs {
                if let Some(what) = key.unhashable() {
                    return refuse(format!("a {what} as a key"));
                }
                self.value(key, depth + 1)?;
                self.value(value, depth + 1)?;
            }
            self.out.push(op::SETITEMS);
        }
        Ok(())
    }

    fn set(&mut self, frozen: bool, items: &[Value], depth: usize) -> Result<()> {
        if let Some(what) = items.iter().find_map(Value::unhashable) {
            return refuse(format!("a {what} in a set"));
        }
        if self.protocol < 4 {
            self.class(if frozen { builtin!(self, "frozenset") } else { builtin!(self, "set") });
            self.list(items, depth)?;
            self.out.extend([op::TUPLE1, op::REDUCE]);
            return Ok(());
        }
        self.room(depth)?;
        if !frozen {
            self.out.push(op::EMPTY_SET);
        }
        self.out.push(op::MARK);
        self.items(items, depth)?;
        self.out.push(if frozen { op::FROZENSET } else { op::ADDITEMS });
        Ok(())
    }
}

fn refuse(what: String) -> Result<()> {
    Err(Error::new(ErrorKind::InvalidInput, format!("pickle: cannot write {what}")))
}
