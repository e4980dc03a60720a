//! Positions in an array or a map as Python counts them: from the front, or from the end with a minus.

use std::fmt::Display;
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

mod sealed {
    pub trait Sealed {}
}

/// An index into an array: `usize`, or `isize` and `i32`, where -1 is the last item.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::{RawArray, sharedctypes::Index};
///
/// fn twice(array: &RawArray<i32>, index: impl Index) -> ossature::Result<i32> {
///     Ok(array.get(index)? * 2)
/// }
///
/// let array = RawArray::from_slice(&[1, 2, 3])?;
/// assert_eq!((twice(&array, 0_usize)?, twice(&array, -1)?), (2, 6));
/// assert!(twice(&array, 3).is_err());
/// # Ok::<(), ossature::Error>(())
/// ```
pub trait Index: Copy + Display + sealed::Sealed {
    /// The position among `len` items, whether it exists or not; `None` before the first.
    fn resolve(self, len: usize) -> Option<usize>;
}

/// A range of an array: any of Rust's ranges of an [`Index`], or `..`.
///
/// A range means the existing positions, as Python's slice does. A bound after the last item is the length, and a bound
/// before the first item is 0. A range whose end is before its start is empty. A range has no step: take the slice,
/// then every nth item.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::{RawArray, sharedctypes::Span};
///
/// fn sum(array: &RawArray<i32>, span: impl Span) -> i32 {
///     array.slice(span).iter().sum()
/// }
///
/// let array = RawArray::from_slice(&[1, 2, 3])?;
/// assert_eq!((sum(&array, ..), sum(&array, 1..), sum(&array, -1..)), (6, 5, 3));
/// # Ok::<(), ossature::Error>(())
/// ```
pub trait Span: sealed::Sealed {
    /// The existing positions of this range in an array of `len` items: a range that [`slice`](slice::get) accepts.
    fn resolve(self, len: usize) -> Range<usize>;
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

/// The part within `len` of the range from `start` up to, not including, `end`. `None` is a bound before the first
/// position.
#[inline]
fn clamped(start: Option<usize>, end: Option<usize>, len: usize) -> Range<usize> {
    let (start, end) = (start.unwrap_or(0).min(len), end.unwrap_or(0).min(len));
    start..end.max(start)
}

macro_rules! spans {
    ($($range:ident: |$span:ident, $len:ident| $start:expr, $end:expr;)+) => {$(
        impl<I: Index> sealed::Sealed for $range<I> {}
        impl<I: Index> Span for $range<I> {
            #[inline]
            fn resolve(self, len: usize) -> Range<usize> {
                let ($span, $len) = (&self, len);
                clamped($start, $end, len)
            }
        }
    )+};
}

spans! {
    Range: |span, len| span.start.resolve(len), span.end.resolve(len);
    RangeFrom: |span, len| span.start.resolve(len), Some(len);
    RangeTo: |span, len| Some(0), span.end.resolve(len);
    RangeToInclusive: |span, len| Some(0), after(span.end, len);
    RangeInclusive: |span, len| span.start().resolve(len), after(*span.end(), len);
}

/// The position after an index.
#[inline]
fn after(index: impl Index, len: usize) -> Option<usize> {
    Some(index.resolve(len)?.saturating_add(1))
}

impl sealed::Sealed for RangeFull {}
impl Span for RangeFull {
    #[inline]
    fn resolve(self, len: usize) -> Range<usize> {
        0..len
    }
}
