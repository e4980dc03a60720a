//! Places in an array as Python counts them: from the front, or from the end with a minus.

use std::fmt::Display;
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use crate::error::{Error, ErrorKind, Result};

mod sealed {
    pub trait Sealed {}
}

/// An index into an array: `usize`, or `isize` and `i32`, where -1 is the last item.
pub trait Index: Copy + Display + sealed::Sealed {
    /// The place that is meant among `len`, whether it is there or not; `None` before the first.
    fn resolve(self, len: usize) -> Option<usize>;
}

/// A range of an array: any of Rust's ranges of an [`Index`], or `..`.
pub trait Span: sealed::Sealed {
    /// The places that are meant among `len`; `Err` says what was asked when they are not all there.
    ///
    /// # Errors
    /// The range as text.
    fn resolve(self, len: usize) -> std::result::Result<Range<usize>, String>;
}

/// The place of an item that is there.
#[inline]
pub(super) fn place(index: impl Index, len: usize) -> Result<usize> {
    match index.resolve(len) {
        Some(place) if place < len => Ok(place),
        _ => Err(missing(format!("index {index}"), len)),
    }
}

/// The places of items that are all there.
#[inline]
pub(super) fn stretch(span: impl Span, len: usize) -> Result<Range<usize>> {
    span.resolve(len).map_err(|asked| missing(format!("range {asked}"), len))
}

#[cold]
fn missing(what: String, len: usize) -> Error {
    Error::new(ErrorKind::OutOfRange, format!("{what} is out of range: the array has {len} items"))
}

#[cold]
pub(super) fn other_length(places: usize, items: usize) -> Error {
    let message = format!("{items} items for {places} places: an array keeps its size");
    Error::new(ErrorKind::InvalidInput, message)
}

impl sealed::Sealed for usize {}
impl Index for usize {
    #[inline]
    fn resolve(self, _len: usize) -> Option<usize> {
        Some(self)
    }
}

impl sealed::Sealed for isize {}
impl Index for isize {
    #[inline]
    fn resolve(self, len: usize) -> Option<usize> {
        usize::try_from(self).ok().or_else(|| len.checked_sub(self.unsigned_abs()))
    }
}

impl sealed::Sealed for i32 {}
impl Index for i32 {
    #[inline]
    fn resolve(self, len: usize) -> Option<usize> {
        (self as isize).resolve(len)
    }
}

/// The range from `start` up to, not including, `end`, if it is within `len`.
#[inline]
fn within(start: Option<usize>, end: Option<usize>, len: usize) -> Option<Range<usize>> {
    let range = start?..end?;
    (range.start <= range.end && range.end <= len).then_some(range)
}

macro_rules! spans {
    ($($range:ident: |$span:ident, $len:ident| $start:expr, $end:expr, $shown:literal $($part:expr),+;)+) => {$(
        impl<I: Index> sealed::Sealed for $range<I> {}
        impl<I: Index> Span for $range<I> {
            #[inline]
            fn resolve(self, len: usize) -> std::result::Result<Range<usize>, String> {
                let ($span, $len) = (&self, len);
                within($start, $end, len).ok_or_else(|| format!($shown, $($part),+))
            }
        }
    )+};
}

spans! {
    Range: |span, len| span.start.resolve(len), span.end.resolve(len), "{}..{}" span.start, span.end;
    RangeFrom: |span, len| span.start.resolve(len), Some(len), "{}.." span.start;
    RangeTo: |span, len| Some(0), span.end.resolve(len), "..{}" span.end;
    RangeToInclusive: |span, len| Some(0), after(span.end, len), "..={}" span.end;
    RangeInclusive: |span, len| span.start().resolve(len), after(*span.end(), len), "{}..={}" span.start(), span.end();
}

/// The place behind an index.
#[inline]
fn after(index: impl Index, len: usize) -> Option<usize> {
    index.resolve(len)?.checked_add(1)
}

impl sealed::Sealed for RangeFull {}
impl Span for RangeFull {
    #[inline]
    fn resolve(self, len: usize) -> std::result::Result<Range<usize>, String> {
        Ok(0..len)
    }
}
