//! The compact form of requests and replies between a client and a server of this library, over shared memory or a
//! socket.
//!
//! | element | bytes |
//! | --- | --- |
//! | message | [`MARK`], then a request or a reply |
//! | request | the object's name, the method's name, the arguments (count, values), the named ones (count, pairs of text and value) |
//! | reply | the value that a method returned |
//! | value | a tag, then: nothing, 8 bytes of a number, a length and bytes, or a count and values |
//!
//! Lengths and counts are two bytes; all numbers are little-endian. Only plain data of at most [`MOST`] bytes has this
//! form. Values without this form, such as exceptions and proxies, go over the socket as pickles.
//!
//! The reader trusts no byte. Each length is checked against the number of remaining bytes. A value is nested at most
//! [`DEPTH`] deep, and the memory is at most that of one [`Value`] for each byte, and [`FEW`] beside.

use ossature_sys::sync::exchange;

use super::wire::Request;
use crate::multiprocessing::connection::pickle::Value;

/// The first byte of each message. Neither a pickle nor an XML-RPC document begins with it.
const MARK: u8 = 1;

/// The maximum length of a message: the room in shared memory.
pub(super) const MOST: usize = exchange::ROOM;

/// The maximum nesting of a value.
pub(super) const DEPTH: usize = 16;

/// The minimum capacity of the arguments of a request: a method adds the parameters that were not given.
const FEW: usize = 4;

const NONE: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
pub(super) const INT: u8 = 3;
const FLOAT: u8 = 4;
pub(super) const TEXT: u8 = 5;
pub(super) const BYTES: u8 = 6;
const BYTE_ARRAY: u8 = 7;
pub(super) const LIST: u8 = 8;
pub(super) const TUPLE: u8 = 9;
pub(super) const DICT: u8 = 10;
const SET: u8 = 11;
const FROZEN_SET: u8 = 12;

/// The error of a value without a compact form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit;

pub(super) type Fits<T = ()> = Result<T, Unfit>;

/// Whether the first byte says that the message has the compact form.
pub(super) fn is_compact(message: &[u8]) -> bool {
    message.first() == Some(&MARK)
}

/// A buffer for a message.
pub(super) type Room = [u8; MOST];

/// Writes a request, if it has a compact form.
pub(super) fn write_request<'r>(request: &Request, room: &'r mut Room) -> Fits<&'r [u8]> {
    let mut writer = Writer::begin(room);
    writer.head(request.ident.as_deref().unwrap_or_default(), &request.method)?;
    writer.items(&request.args, 1)?;
    writer.count(request.kwds.len())?;
    for (name, value) in &request.kwds {
        writer.bytes(name.as_bytes())?;
        writer.value(value, 1)?;
    }
    Ok(writer.done())
}

/// Writes the result of a method, if it has a compact form.
pub(super) fn write_reply<'r>(value: &Value, room: &'r mut Room) -> Fits<&'r [u8]> {
    let mut writer = Writer::begin(room);
    writer.value(value, 1)?;
    Ok(writer.done())
}

/// Reads a request; `None` if the bytes are not a request.
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

/// The parts of a request, not decoded yet.
pub(super) struct Unread<'b> {
    pub(super) ident: &'b [u8],
    pub(super) method: &'b [u8],
    pub(super) args: UnreadArgs<'b>,
}

/// The encoded arguments: `count` positional arguments, then the named arguments.
#[derive(Clone, Copy)]
pub(super) struct UnreadArgs<'b> {
    count: usize,
    bytes: &'b [u8],
}

/// An undecoded argument that can be a key. The bytes of a text may not be UTF-8.
pub(super) enum UnreadKey<'b> {
    Text(&'b [u8]),
    Int(i64),
}

impl<'b> UnreadArgs<'b> {
    /// Whether there are no arguments.
    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.count == 0 && self.bytes == NO_NAMES
    }

    /// The argument, if there is only one and it is a text or an integer.
    #[inline]
    pub(super) fn only(self) -> Option<UnreadKey<'b>> {
        let mut reader = Reader(self.bytes);
        let [tag] = reader.array()?;
        let key = match tag {
            TEXT => UnreadKey::Text(reader.bytes()?),
            INT => UnreadKey::Int(i64::from_le_bytes(reader.array()?)),
            _ => return None,
        };
        (self.count == 1 && reader.0 == NO_NAMES).then_some(key)
    }
}

/// The end of a request without named arguments.
const NO_NAMES: &[u8] = &[0, 0];

/// Splits a request into its parts; `None` if the bytes are not a request. The parts are not decoded, so they may still
/// be wrong.
#[inline]
pub(super) fn take_apart(bytes: &[u8]) -> Option<Unread<'_>> {
    let mut reader = Reader::begin(bytes)?;
    let (ident, method) = (reader.bytes()?, reader.bytes()?);
    let count = reader.count()?;
    Some(Unread { ident, method, args: UnreadArgs { count, bytes: reader.0 } })
}

/// Reads the result of a method; `None` if the bytes are not a value.
pub(super) fn read_reply(bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader::begin(bytes)?;
    let value = reader.value(1)?;
    reader.0.is_empty().then_some(value)
}

/// A writer of one message.
pub(super) struct Writer<'r> {
    room: &'r mut Room,
    /// The current length of the message.
    at: usize,
}

impl<'r> Writer<'r> {
    #[inline]
    pub(super) fn begin(room: &'r mut Room) -> Self {
        room[0] = MARK;
        Self { room, at: 1 }
    }

    /// Returns the message.
    #[inline]
    pub(super) fn done(self) -> &'r [u8] {
        let Self { room, at } = self;
        room.get(..at).unwrap_or_default() // it is no longer than the room
    }

    /// Writes the names of the object and of the method. No object has the empty name.
    #[inline]
    pub(super) fn head(&mut self, ident: &str, method: &str) -> Fits {
        self.bytes(ident.as_bytes())?;
        self.bytes(method.as_bytes())
    }

    /// The current length of the message.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Reserves `length` more bytes.
    #[inline]
    fn space(&mut self, length: usize) -> Fits<&mut [u8]> {
        let begin = self.at;
        let end = begin.checked_add(length).ok_or(Unfit)?;
        let space = self.room.get_mut(begin..end).ok_or(Unfit)?;
        self.at = end;
        Ok(space)
    }

    #[inline]
    fn array<const N: usize>(&mut self, bytes: [u8; N]) -> Fits {
        self.space(N)?.copy_from_slice(&bytes);
        Ok(())
    }

    /// Checks that a value may be nested this deep.
    #[inline]
    pub(super) fn may_stand(depth: usize) -> Fits {
        if depth > DEPTH { Err(Unfit) } else { Ok(()) }
    }

    /// Sets a count whose place was reserved before the counted values.
    #[inline]
    pub(super) fn set_count(&mut self, at: usize, count: usize) -> Fits {
        let bytes = u16::try_from(count).map_err(|_| Unfit)?.to_le_bytes();
        let place = self.room.get_mut(at..).and_then(<[u8]>::first_chunk_mut).ok_or(Unfit)?;
        *place = bytes;
        Ok(())
    }

    #[inline]
    pub(super) fn tag(&mut self, tag: u8) -> Fits {
        self.array([tag])
    }

    #[inline]
    pub(super) fn text(&mut self, text: &str) -> Fits {
        self.tagged(TEXT, text.as_bytes())
    }

    #[inline]
    pub(super) fn count(&mut self, count: usize) -> Fits {
        self.array(u16::try_from(count).map_err(|_| Unfit)?.to_le_bytes())
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) -> Fits {
        let length = u16::try_from(bytes.len()).map_err(|_| Unfit)?.to_le_bytes();
        let (count, space) = self.space(bytes.len() + length.len())?.split_at_mut(length.len());
        count.copy_from_slice(&length);
        space.copy_from_slice(bytes);
        Ok(())
    }

    #[inline]
    pub(super) fn tagged(&mut self, tag: u8, bytes: &[u8]) -> Fits {
        self.tag(tag)?;
        self.bytes(bytes)
    }

    #[inline]
    pub(super) fn number(&mut self, tag: u8, bytes: [u8; 8]) -> Fits {
        let space = self.space(1 + bytes.len())?;
        let (tags, number) = space.split_at_mut(1);
        tags.copy_from_slice(&[tag]);
        number.copy_from_slice(&bytes);
        Ok(())
    }

    fn items(&mut self, items: &[Value], depth: usize) -> Fits {
        self.count(items.len())?;
        items.iter().try_for_each(|item| self.value(item, depth))
    }

    fn keys(&mut self, tag: u8, keys: &[Value]) -> Fits {
        self.tag(tag)?;
        self.count(keys.len())?;
        keys.iter().try_for_each(|key| self.key(key))
    }

    fn key(&mut self, key: &Value) -> Fits {
        if is_key(key) { self.value(key, DEPTH) } else { Err(Unfit) }
    }

    /// Writes a value; the most frequent kinds come first.
    #[inline]
    pub(super) fn value(&mut self, value: &Value, depth: usize) -> Fits {
        Self::may_stand(depth)?;
        match value {
            Value::None => self.tag(NONE),
            Value::Int(number) => self.number(INT, number.to_le_bytes()),
            Value::Text(text) => self.text(text),
            other => self.other(other, depth),
        }
    }

    fn other(&mut self, value: &Value, depth: usize) -> Fits {
        match value {
            Value::None | Value::Int(_) | Value::Text(_) => self.value(value, depth),
            Value::Bool(false) => self.tag(FALSE),
            Value::Bool(true) => self.tag(TRUE),
            Value::Float(number) => self.number(FLOAT, number.to_le_bytes()),
            Value::Bytes(bytes) => self.tagged(BYTES, bytes),
            Value::ByteArray(bytes) => self.tagged(BYTE_ARRAY, bytes),
            Value::List(items) => {
                self.tag(LIST)?;
                self.items(items, depth + 1)
            }
            Value::Tuple(items) => {
                self.tag(TUPLE)?;
                self.items(items, depth + 1)
            }
            Value::Dict(pairs) => {
                self.tag(DICT)?;
                self.count(pairs.len())?;
                pairs.iter().try_for_each(|(key, value)| {
                    self.key(key)?;
                    self.value(value, depth + 1)
                })
            }
            Value::Set(keys) => self.keys(SET, keys),
            Value::FrozenSet(keys) => self.keys(FROZEN_SET, keys),
            Value::BigInt(_) | Value::Complex(..) | Value::Global(_) | Value::Object(_) => Err(Unfit),
        }
    }
}

/// Whether a value may be a key or an item of a set: the kinds that Python can hash.
fn is_key(value: &Value) -> bool {
    use Value::{Bool, Bytes, Float, Int, None, Text};
    matches!(value, None | Bool(_) | Int(_) | Float(_) | Text(_) | Bytes(_))
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn begin(message: &'b [u8]) -> Option<Self> {
        message.strip_prefix(&[MARK]).map(Self)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// Reads a count of values of at least one byte each.
    #[inline]
    fn count(&mut self) -> Option<usize> {
        let count = usize::from(u16::from_le_bytes(self.array()?));
        (count <= self.0.len()).then_some(count)
    }

    #[inline]
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

    fn write_request(request: &Request<'_>, out: &mut Vec<u8>) -> Fits {
        *out = super::write_request(request, &mut [0; MOST])?.to_vec();
        Ok(())
    }

    fn write_reply(value: &Value, out: &mut Vec<u8>) -> Fits {
        *out = super::write_reply(value, &mut [0; MOST])?.to_vec();
        Ok(())
    }

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
