//! Values as a pickle of protocol 2, which every CPython since 2.3 reads.

use super::bigint::minimal;
use super::object::Global;
use super::value::Value;
use super::{MAX_DEPTH, opcode as op};
use crate::error::{Error, ErrorKind, Result};

/// `value` as a pickle of protocol 2, the highest that Python 2.7 reads.
///
/// Text is `unicode` there and `str` in Python 3; bytes are `str` there and `bytes` in Python 3, and everything else is the
/// same on both sides. Nothing is shared: each value is written where it stands.
///
/// ```
/// use ossature::multiprocessing::connection::pickle::{Value, encode};
///
/// assert_eq!(encode(&Value::from((1, true))).unwrap(), b"\x80\x02K\x01\x88\x86.");
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidInput`] if a dict has a key that Python could not hash, or a set such an item; if the value is
/// nested more than [`MAX_DEPTH`] deep; if a text or integer is longer than the protocol can say (4 GiB and 2 GiB).
pub fn encode(value: &Value) -> Result<Vec<u8>> {
    let mut writer = Writer { out: vec![op::PROTO, 2] };
    writer.value(value, 0)?;
    writer.out.push(op::STOP);
    Ok(writer.out)
}

struct Writer {
    out: Vec<u8>,
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
                self.class(b"__builtin__\ncomplex\n");
                self.float(*re);
                self.float(*im);
                self.out.extend([op::TUPLE2, op::REDUCE]);
            }
            Value::Text(text) => self.text(text)?,
            Value::Bytes(bytes) => self.latin1(b"_codecs\nencode\n", bytes)?,
            Value::ByteArray(bytes) => self.latin1(b"__builtin__\nbytearray\n", bytes)?,
            Value::List(items) => self.list(items, depth)?,
            Value::Tuple(items) => self.tuple(items, depth)?,
            Value::Dict(pairs) => self.dict(pairs, depth)?,
            Value::Set(items) => self.set(b"__builtin__\nset\n", items, depth)?,
            Value::FrozenSet(items) => self.set(b"__builtin__\nfrozenset\n", items, depth)?,
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

    /// Whether one more container may be open: the reader counts only these.
    fn room(&self, depth: usize) -> Result<()> {
        if depth < MAX_DEPTH { Ok(()) } else { refuse(format!("what is nested more than {MAX_DEPTH} deep")) }
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
        let Ok(length) = u32::try_from(text.len()) else { return refuse("a text of 4 GiB or more".into()) };
        self.out.push(op::BINUNICODE);
        self.out.extend(length.to_le_bytes());
        self.out.extend(text.bytes());
        Ok(())
    }

    fn class(&mut self, name: &[u8]) {
        self.out.push(op::GLOBAL);
        self.out.extend(name);
    }

    /// The names are lines, of ASCII so that Python 2 reads them.
    fn global(&mut self, global: &Global) -> Result<()> {
        for name in [global.module(), global.name()] {
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                return refuse(format!("the name {global:?}, which is not a name of Python's"));
            }
        }
        self.class(format!("{}\n{}\n", global.module(), global.name()).as_bytes());
        Ok(())
    }

    /// The protocol knows no bytes: they are text, a character each, and the name of a codec.
    fn latin1(&mut self, maker: &[u8], bytes: &[u8]) -> Result<()> {
        self.class(maker);
        self.text(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>())?;
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

    fn set(&mut self, maker: &[u8], items: &[Value], depth: usize) -> Result<()> {
        if let Some(what) = items.iter().find_map(Value::unhashable) {
            return refuse(format!("a {what} in a set"));
        }
        self.class(maker);
        self.list(items, depth)?;
        self.out.extend([op::TUPLE1, op::REDUCE]);
        Ok(())
    }
}

fn refuse(what: String) -> Result<()> {
    Err(Error::new(ErrorKind::InvalidInput, format!("pickle: cannot write {what}")))
}
