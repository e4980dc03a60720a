//! The values of a map of plain values, in one contiguous list.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;

use ossature_sys::shm::{Plain, as_bytes_mut, from_bytes};

use super::failure::Failure;

/// The values of a job, in one contiguous list.
pub(super) struct Values {
    count: usize,
    places: Box<dyn Places>,
    pub(super) failures: BTreeMap<usize, Failure>,
}

/// A list of values of one type, which grows as values come. Filling all of it with zeros first would take as long as a
/// copy.
trait Places: Any + Send {
    fn bytes(&mut self, places: Range<usize>) -> &mut [u8];

    fn any(self: Box<Self>) -> Box<dyn Any>;
}

impl<R: Plain + Send> Places for Vec<R> {
    fn bytes(&mut self, places: Range<usize>) -> &mut [u8] {
        if let (true, Some(zero)) = (self.len() < places.end, from_bytes(&vec![0; size_of::<R>()])) {
            self.resize(places.end, zero);
        }
        self.get_mut(places).map(as_bytes_mut).unwrap_or_default()
    }

    fn any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Values {
    pub(super) fn new<R: Plain + Send>(count: usize) -> Self {
        Self { count, places: Box::new(Vec::<R>::with_capacity(count)), failures: BTreeMap::new() }
    }

    /// The bytes of `count` values from an index on.
    pub(super) fn place(&mut self, from: usize, count: usize) -> &mut [u8] {
        let until = from.saturating_add(count);
        if until > self.count { Default::default() } else { self.places.bytes(from..until) }
    }

    pub(super) fn fail(&mut self, index: usize, failure: Failure) {
        self.failures.insert(index, failure);
    }

    pub(super) fn into_list<R: Plain>(self) -> Vec<R> {
        self.places.any().downcast().map_or_else(|_| Vec::new(), |list| *list)
    }
}
