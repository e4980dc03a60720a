//! The form of a value in a message: postcard's wire format, read within bounds.
//!
//! The format is short: no names, no types, lengths and integers as varints. So a few bytes can announce any number of
//! items, any depth, and items that take no bytes at all. The reader counts the cost of a message while it decodes the
//! message ([`Bounds`]). Both directions keep the text of an error of the program's own `Serialize` and `Deserialize`.
//!
//! | resource | bound |
//! | --- | --- |
//! | stack | [`Bounds::depth`]: each value around another is one level |
//! | memory | [`Bounds::memory`]: items count with the size of their type, before memory is allocated for them; texts and bytes count with their length |
//! | time | the length of the message, and [`Bounds::idle`] items that take no bytes |

mod access;
mod bounds;
mod deserializer;
mod fault;
mod reader;
mod whole;
mod writer;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::bounds::{Bounds, DEPTH};
pub(super) use self::fault::Fault;
use self::fault::Outcome;
use self::reader::Reader;
use self::writer::Writer;

/// The size of a buffer for most messages.
const USUAL: usize = 128;

/// Serialises the value.
pub(super) fn write<T: Serialize + ?Sized>(value: &T) -> Outcome<Vec<u8>> {
    let mut out = Vec::with_capacity(whole::bytes_of(value).map_or(USUAL, whole::room_for));
    write_behind(&mut out, value).map(|()| out)
}

/// Appends the serialised value to `out`. The bytes before it stay, even when the value's `Serialize` panics.
#[inline]
pub(super) fn write_behind<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Outcome<()> {
    let mut writer = Writer::behind(out);
    match whole::bytes_of(value) {
        Some(bytes) => writer.counted(bytes),
        None => value.serialize(&mut writer),
    }
}

/// Reads the value at the front of `bytes`, and removes it from `bytes`.
#[inline]
pub(super) fn read_front<T: DeserializeOwned>(bytes: &mut &[u8], bounds: Bounds) -> Outcome<T> {
    if let Some(value) = whole::from_front(bytes, bounds) {
        return Ok(value);
    }
    let mut reader = Reader::new::<T>(bytes, bounds);
    match T::deserialize(&mut reader) {
        Ok(value) => {
            *bytes = reader.rest();
            Ok(value)
        }
        Err(fault) => Err(reader.place(fault)),
    }
}

/// Reads the value that takes up the whole message; a `Vec<u8>` or a `String` keeps the memory of the message.
pub(super) fn read_message<T: DeserializeOwned>(message: Vec<u8>, bounds: Bounds) -> Outcome<T> {
    whole::from_message(message, bounds).or_else(|message| read(&message, bounds))
}

/// Reads the value that takes up all of the bytes.
#[inline]
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8], bounds: Bounds) -> Outcome<T> {
    let mut rest = bytes;
    if let Some(value) = whole::from_front(&mut rest, bounds).filter(|_| rest.is_empty()) {
        return Ok(value);
    }
    let mut reader = Reader::new::<T>(bytes, bounds);
    match T::deserialize(&mut reader) {
        Ok(value) => reader.finish().map(|()| value),
        Err(fault) => Err(reader.place(fault)),
    }
}
