//! Values that are only bytes or a text. They are copied whole.
//!
//! For serde a `Vec<u8>` is a list, which it visits byte by byte. Postcard writes each byte of a list unchanged. So a
//! copy of all bytes is the same message, and takes a tenth of the time.

use castaway::cast;

use super::bounds::Bounds;

/// The maximum number of bytes for a length: seven bits in each.
const LENGTH: usize = (usize::BITS as usize).div_ceil(7);

/// Returns the bytes of a `Vec<u8>`, `[u8]`, `String` or `str`.
#[inline]
pub(super) fn bytes_of<T: ?Sized>(value: &T) -> Option<&[u8]> {
    if let Ok(bytes) = cast!(value, &Vec<u8>) {
        return Some(bytes);
    }
    if let Ok(bytes) = cast!(value, &[u8]) {
        return Some(bytes);
    }
    if let Ok(text) = cast!(value, &String) {
        return Some(text.as_bytes());
    }
    cast!(value, &str).ok().map(str::as_bytes)
}

/// The maximum size that these bytes take in a message.
pub(super) fn room_for(bytes: &[u8]) -> usize {
    bytes.len() + LENGTH
}

/// Turns a message that is one `Vec<u8>` or `String` into that value, in the memory of the message.
///
/// Returns the message when `T` is neither, or when the message is invalid. The reader then reports the reason.
#[inline]
pub(super) fn from_message<T>(mut message: Vec<u8>, bounds: Bounds) -> Result<T, Vec<u8>> {
    let mut place: Option<T> = None;
    if !is_whole(&mut place) {
        return Err(message);
    }
    let content = match split(&message, bounds) {
        Some((content, [])) => content.len(),
        _ => return Err(message),
    };
    let head = message.len() - content;
    if is_text(&mut place) && std::str::from_utf8(&message[head..]).is_err() {
        return Err(message);
    }
    message.drain(..head);
    put(&mut place, message);
    place.ok_or_else(Vec::new)
}

/// Reads the `Vec<u8>` or `String` at the front of `bytes`, and removes it from `bytes`.
///
/// `None`, and the same bytes, when `T` is neither, or when the bytes are invalid. The reader then reports the reason.
#[inline]
pub(super) fn from_front<T>(bytes: &mut &[u8], bounds: Bounds) -> Option<T> {
    let mut place: Option<T> = None;
    if !is_whole(&mut place) {
        return None;
    }
    let (content, rest) = split(bytes, bounds)?;
    put(&mut place, content.to_vec());
    if place.is_some() {
        *bytes = rest;
    }
    place
}

#[inline]
fn is_text<T>(place: &mut Option<T>) -> bool {
    cast!(place, &mut Option<String>).is_ok()
}

#[inline]
fn is_whole<T>(place: &mut Option<T>) -> bool {
    is_text(place) || cast!(place, &mut Option<Vec<u8>>).is_ok()
}

/// Stores the bytes in the place, unless the place is for a text and the bytes are not UTF-8.
#[inline]
fn put<T>(place: &mut Option<T>, bytes: Vec<u8>) {
    match cast!(place, &mut Option<Vec<u8>>) {
        Ok(place) => *place = Some(bytes),
        Err(place) => {
            if let Ok(place) = cast!(place, &mut Option<String>) {
                *place = String::from_utf8(bytes).ok();
            }
        }
    }
}

/// Reads the length at the front and splits off as many bytes; returns these and the rest, within the bounds.
fn split(bytes: &[u8], bounds: Bounds) -> Option<(&[u8], &[u8])> {
    let mut length = 0_usize;
    for (place, byte) in bytes.iter().enumerate().take(LENGTH) {
        let part = usize::from(byte & 0x7f);
        let shifted = part << (7 * place);
        if shifted >> (7 * place) != part {
            return None;
        }
        length |= shifted;
        if *byte < 0x80 {
            let split = bytes.get(place + 1..)?.split_at_checked(length)?;
            return (length <= bounds.memory && bounds.depth > 0).then_some(split);
        }
    }
    None
}
