//! Positions in an array, and the errors for positions out of range.

pub use crate::index::{Index, Span};

use crate::error::{Error, ErrorKind, Result};

/// The position of an existing item.
#[inline]
pub(super) fn place(index: impl Index, len: usize) -> Result<usize> {
    match index.resolve(len) {
        Some(place) if place < len => Ok(place),
        _ => Err(missing(index, len)),
    }
}

#[cold]
fn missing(index: impl Index, len: usize) -> Error {
    Error::new(ErrorKind::OutOfRange, format!("index {index} is out of range: the array has {len} items"))
}

#[cold]
pub(super) fn other_length(places: usize, items: usize) -> Error {
    let message = format!("{items} items for {places} places: an array cannot change its size");
    Error::new(ErrorKind::InvalidInput, message)
}
