//! The compact form of requests and replies between a client and a server of this library, through shared memory and
//! over a socket.
//!
//! | what | bytes |
//! | --- | --- |
//! | message | [`MARK`], then a request or a reply |
//! | request | the object's name, the method's name, the arguments (count, values), the named ones (count, pairs of text and value) |
//! | reply | the value that a method returned |
//! | value | a tag, then: nothing, 8 bytes of a number, a length and bytes, or a count and values |
//!
//! Lengths and counts are two bytes; all numbers are little-endian. Only plain data of at most [`MOST`] bytes has this
//! form. What it leaves out, among it exceptions and proxies, goes over the socket as a pickle.
//!
//! The reader trusts nothing. Each length is checked against what is left. A value is nested at most [`DEPTH`] deep,
//! and the memory is at most that of one [`Value`] for each byte, and [`FEW`] beside.

use ossature_sys::sync::exchange;

use super::wire::Request;
use crate::multiprocessing::connection::pickle::Value;

/// The first byte of each message. No pickle begins with it, and no document of XML-RPC.
const MARK: u8 = 1;

/// How long a message is at most: what shared memory has room for.
pub(super) const MOST: usize = exchange::ROOM;

/// How deep a value may be nested.
const DEPTH: usize = 16;

/// For how many arguments a request has room at least: a method that has more parameters than were given adds those.
const FEW: usize = 4;

const NONE: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const BYTES: u8 = 6;
const BYTE_ARRAY: u8 = 7;
const LIST: u8 = 8;
const TUPLE: u8 = 9;
const DICT: u8 = 10;
const SET: u8 = 11;
const FROZEN_SET: u8 = 12;

/// What has no compact form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit;

type Fits<T = ()> = Result<T, Unfit>;

/// Whether a message is in the compact form, as far as its first byte tells.
pub(super) fn is_compact(message: &[u8]) -> bool {
    message.first() == Some(&MARK)
}

/// Writes a request, if it has a compact form.
pub(super) fn write_request(request: &Request, out: &mut Vec<u8>) -> Fits {
    let mut writer = Writer::begin(out);
    // No object has the empty name.
    writer.bytes(request.ident.as_deref().unwrap_or_default().as_bytes())?;
    writer.bytes(request.method.as_bytes())?;
    writer.items(&request.args, 1)?;
    writer.count(request.kwds.len())?;
    for (name, value) in &request.kwds {
        writer.bytes(name.as_bytes())?;
        writer.value(value, 1)?;
    }
    writer.room()
}

/// Writes what a method returned, if that has a compact form.
pub(super) fn write_reply(value: &Value, out: &mut Vec<u8>) -> Fits {
    let mut writer = Writer::begin(out);
    writer.value(value, 1)?;
    writer.room()
}

/// Reads a request; `None` if the bytes are none.
pub(super) fn read_request(bytes: &[u8]) -> Option<Request<'_>> {
    let mut reader = Reader::begin(bytes)?;
    let ident = reader.text()?;
    let method = reader.text()?.into();
    let args = reader.items(1, FEW)?;
    let count = reader.count()?;
    let kwds = (0..count).map(|_| Some((reader.text()?.to_owned(), reader.value(1)?))).collect::<Option<Vec<_>>>()?;
    let ident = (!ident.is_empty()).then_some(ident.into());
    reader.0.is_empty().then_some(Request { ident, method, args, kwds })
}

/// Reads what a method returned; `None` if the bytes are not a value.
pub(super) fn read_reply(bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader::begin(bytes)?;
    let value = reader.value(1)?;
    reader.0.is_empty().then_some(value)
}

struct Writer<'o>(&'o mut Vec<u8>);

impl<'o> Writer<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        out.clear();
        out.push(MARK);
        Self(out)
    }

    fn room(&self) -> Fits {
        if self.0.len() > MOST { Err(Unfit) } else { Ok(()) }
    }

    fn count(&mut self, count: usize) -> Fits {
        self.0.extend_from_slice(&u16::try_from(count).map_err(|_| Unfit)?.to_le_bytes());
        self.room()
    }

    fn bytes(&mut self, bytes: &[u8]) -> Fits {
        self.count(bytes.len())?;
        if bytes.len() > MOST {
            return Err(Unfit);
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) -> Fits {
        self.0.push(tag);
        self.bytes(bytes)
    }

    fn number(&mut self, tag: u8, bytes: [u8; 8]) {
        self.0.push(tag);
        self.0.extend_from_slice(&bytes);
    }

    fn items(&mut self, items: &[Value], depth: usize) -> Fits {
        self.count(items.len())?;
        items.iter().try_for_each(|item| self.value(item, depth))
    }

    fn keys(&mut self, tag: u8, keys: &[Value]) -> Fits {
        self.0.push(tag);
        self.count(keys.len())?;
        keys.iter().try_for_each(|key| self.key(key))
    }

    fn key(&mut self, key: &Value) -> Fits {
        if is_key(key) { self.value(key, DEPTH) } else { Err(Unfit) }
    }

    fn value(&mut self, value: &Value, depth: usize) -> Fits {
        self.room()?;
        if depth > DEPTH {
            return Err(Unfit);
        }
        match value {
            Value::None => self.0.push(NONE),
            Value::Bool(false) => self.0.push(FALSE),
            Value::Bool(true) => self.0.push(TRUE),
            Value::Int(number) => self.number(INT, number.to_le_bytes()),
            Value::Float(number) => self.number(FLOAT, number.to_le_bytes()),
            Value::Text(text) => self.tagged(TEXT, text.as_bytes())?,
            Value::Bytes(bytes) => self.tagged(BYTES, bytes)?,
            Value::ByteArray(bytes) => self.tagged(BYTE_ARRAY, bytes)?,
            Value::List(items) => {
                self.0.push(LIST);
                self.items(items, depth + 1)?;
            }
            Value::Tuple(items) => {
                self.0.push(TUPLE);
                self.items(items, depth + 1)?;
            }
            Value::Dict(pairs) => {
                self.0.push(DICT);
                self.count(pairs.len())?;
                for (key, value) in pairs {
                    self.key(key)?;
                    self.value(value, depth + 1)?;
                }
            }
            Value::Set(keys) => self.keys(SET, keys)?,
            Value::FrozenSet(keys) => self.keys(FROZEN_SET, keys)?,
            Value::BigInt(_) | Value::Complex(..) | Value::Global(_) | Value::Object(_) => return Err(Unfit),
        }
        Ok(())
    }
}

/// Whether a value may be a key or an item of a set: of these, what Python can hash.
fn is_key(value: &Value) -> bool {
    use Value::{Bool, Bytes, Float, Int, None, Text};
    matches!(value, None | Bool(_) | Int(_) | Float(_) | Text(_) | Bytes(_))
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn begin(message: &'b [u8]) -> Option<Self> {
        message.strip_prefix(&[MARK]).map(Self)
    }

    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// A count of things of at least one byte each.
    fn count(&mut self) -> Option<usize> {
        let count = usize::from(u16::from_le_bytes(self.array()?));
        (count <= self.0.len()).then_some(count)
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = self.count()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn items(&mut self, depth: usize, room: usize) -> Option<Vec<Value>> {
        let count = self.count()?;
        let mut items = Vec::with_capacity(count.max(room));
        for _ in 0..count {
            items.push(self.value(depth)?);
        }
        Some(items)
    }

    fn keys(&mut self) -> Option<Vec<Value>> {
        let count = self.count()?;
        (0..count).map(|_| self.key()).collect()
    }

    fn key(&mut self) -> Option<Value> {
        self.value(DEPTH).filter(is_key)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH {
            return None;
        }
        let [tag] = self.array()?;
        Some(match tag {
            NONE => Value::None,
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            INT => Value::Int(i64::from_le_bytes(self.array()?)),
            FLOAT => Value::Float(f64::from_le_bytes(self.array()?)),
            TEXT => Value::Text(self.text()?.to_owned()),
            BYTES => Value::Bytes(self.bytes()?.to_vec()),
            BYTE_ARRAY => Value::ByteArray(self.bytes()?.to_vec()),
            LIST => Value::List(self.items(depth + 1, 0)?),
            TUPLE => Value::Tuple(self.items(depth + 1, 0)?),
            DICT => {
                let count = self.count()?;
                Value::Dict((0..count).map(|_| Some((self.key()?, self.value(depth + 1)?))).collect::<Option<_>>()?)
            }
            SET => Value::Set(self.keys()?),
            FROZEN_SET => Value::FrozenSet(self.keys()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Value> {
        let text = |text: &str| Value::Text(text.to_owned());
        vec![
            Value::None,
            true.into(),
            false.into(),
            Value::Int(i64::MIN),
            Value::Float(-0.5),
            text("seven\u{1f600}"),
            Value::Bytes(vec![0, 255]),
            Value::ByteArray(vec![7]),
            Value::Set(vec![Value::Int(1), text("a"), Value::None]),
            Value::FrozenSet(vec![Value::Bytes(vec![1])]),
            Value::Dict(vec![(text("k"), Value::List(vec![Value::Int(3), Value::Tuple(Vec::new())]))]),
        ]
    }

    fn nested(depth: usize) -> Value {
        (1..depth).fold(Value::List(Vec::new()), |inner, _| Value::List(vec![inner]))
    }

    #[test]
    fn requests_and_replies_come_back_as_they_were() {
        let mut out = Vec::new();
        for value in samples() {
            write_reply(&value, &mut out).unwrap();
            assert_eq!(read_reply(&out).as_ref(), Some(&value));
        }
        for ident in [None, Some("80000000".into())] {
            let kwds = vec![("flag".to_owned(), true.into()), ("n".to_owned(), Value::Int(2))];
            let request = Request { ident, method: "__getitem__".into(), args: samples(), kwds };
            write_request(&request, &mut out).unwrap();
            assert_eq!(read_request(&out), Some(request));
        }
    }

    #[test]
    fn whatever_is_cut_or_changed_is_no_message_or_a_whole_one() {
        let mut out = Vec::new();
        let request = Request { ident: Some("a".into()), method: "b".into(), args: samples(), kwds: Vec::new() };
        write_request(&request, &mut out).unwrap();
        for length in 0..out.len() {
            assert_eq!(read_request(&out[..length]), None, "{length} bytes of it");
        }
        let whole = out.clone();
        for place in 0..whole.len() {
            for byte in [0, 1, 9, 0x7f, 0xff] {
                out.clone_from(&whole);
                out[place] = byte;
                // What is read is a message that has such bytes.
                if let Some(read) = read_request(&out) {
                    let mut again = Vec::new();
                    write_request(&read, &mut again).unwrap();
                    assert_eq!(again, out);
                }
            }
        }
        out.push(0);
        assert_eq!(read_request(&out), None, "more than a message");
    }

    #[test]
    fn what_is_long_deep_or_no_plain_data_is_left_out() {
        let mut out = Vec::new();
        // The mark, a tag and a length are four bytes.
        assert_eq!(write_reply(&Value::Bytes(vec![0; MOST - 4]), &mut out), Ok(()));
        assert_eq!(write_reply(&Value::Bytes(vec![0; MOST - 3]), &mut out), Err(Unfit));
        assert_eq!(write_reply(&Value::Bytes(vec![0; 1 << 16]), &mut out), Err(Unfit));
        assert_eq!(write_reply(&nested(DEPTH), &mut out), Ok(()));
        assert_eq!(read_reply(&out), Some(nested(DEPTH)));
        assert_eq!(write_reply(&nested(DEPTH + 1), &mut out), Err(Unfit));
        let by_hand = [[LIST, 1, 0]; DEPTH].concat();
        assert_eq!(read_reply(&[&[MARK], &by_hand[..], &[NONE]].concat()), None, "too deep");
        let complex = Value::Complex(1.0, 2.0);
        assert_eq!(write_reply(&Value::List(vec![complex]), &mut out), Err(Unfit));
        let unhashable = Value::Set(vec![Value::List(Vec::new())]);
        assert_eq!(write_reply(&unhashable, &mut out), Err(Unfit));
        assert_eq!(read_reply(&[MARK, SET, 1, 0, LIST, 0, 0]), None);
    }

    #[test]
    fn messages_have_a_mark_that_no_pickle_has() {
        let mut out = Vec::new();
        write_reply(&Value::None, &mut out).unwrap();
        assert!(is_compact(&out) && !is_compact(b"") && !is_compact(b"\x80\x02N.") && !is_compact(b"<?xml"));
        for mark in (0..=255).filter(|mark| *mark != MARK) {
            out[0] = mark;
            assert_eq!((read_reply(&out), read_request(&out)), (None, None));
        }
    }

    #[test]
    fn great_counts_take_no_memory() {
        assert_eq!(read_reply(&[MARK, LIST, 0xff, 0xff]), None);
        assert_eq!(read_reply(&[MARK, TEXT, 0xff, 0xff, b'a']), None);
    }
}
