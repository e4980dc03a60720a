//! The accessors through which serde reads the fields of a type, and the items that a message announces.

use serde::de::{self, DeserializeSeed};

use super::fault::{Fault, Outcome};
use super::reader::Reader;

/// The fields of a tuple, struct or variant; the type determines their number. Their memory was charged with the type.
pub(super) struct Fields<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: usize,
}

impl<'r, 'de> Fields<'r, 'de> {
    pub(super) fn new(reader: &'r mut Reader<'de>, left: usize) -> Self {
        Self { reader, left }
    }
}

impl<'de> de::SeqAccess<'de> for Fields<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Outcome<Option<S::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.reader.within(size_of::<S::Value>(), |reader| seed.deserialize(reader)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The items of a sequence; the message announces their number. Each item is charged before its memory is allocated.
pub(super) struct Items<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: usize,
    /// How many bytes were charged for each remaining item: the size of the largest item so far.
    paid: usize,
}

impl<'r, 'de> Items<'r, 'de> {
    pub(super) fn new(reader: &'r mut Reader<'de>, left: usize) -> Self {
        Self { reader, left, paid: 0 }
    }
}

/// Returns the largest possible number of items, for which the visitor reserves room. An item that takes no bytes needs
/// no room.
fn hint(reader: &Reader<'_>, left: usize) -> Option<usize> {
    Some(left.min(reader.left()))
}

impl<'de> de::SeqAccess<'de> for Items<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Outcome<Option<S::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        let size = size_of::<S::Value>();
        if size > self.paid {
            self.reader.charge(self.left, size - self.paid)?;
            self.paid = size;
        }
        self.left -= 1;
        let before = self.reader.left();
        let item = self.reader.within(size, |reader| seed.deserialize(reader))?;
        if self.reader.left() == before {
            self.reader.idled()?;
        }
        Ok(Some(item))
    }

    fn size_hint(&self) -> Option<usize> {
        hint(self.reader, self.left)
    }
}

/// The pairs of a map, charged like the items of a sequence.
pub(super) struct Pairs<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: usize,
    paid_key: usize,
    paid_value: usize,
    /// How many bytes of the message were left before the key.
    before: usize,
}

impl<'r, 'de> Pairs<'r, 'de> {
    pub(super) fn new(reader: &'r mut Reader<'de>, left: usize) -> Self {
        Self { reader, left, paid_key: 0, paid_value: 0, before: 0 }
    }
}

impl<'de> de::MapAccess<'de> for Pairs<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Outcome<Option<S::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        let size = size_of::<S::Value>();
        if size > self.paid_key {
            self.reader.charge(self.left, size - self.paid_key)?;
            self.paid_key = size;
        }
        self.left -= 1;
        self.before = self.reader.left();
        self.reader.within(size, |reader| seed.deserialize(reader)).map(Some)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Outcome<S::Value> {
        let size = size_of::<S::Value>();
        if size > self.paid_value {
            self.reader.charge(self.left.saturating_add(1), size - self.paid_value)?; // this one is not left any more
            self.paid_value = size;
        }
        let value = self.reader.within(size, |reader| seed.deserialize(reader))?;
        if self.reader.left() == self.before {
            self.reader.idled()?;
        }
        Ok(value)
    }

    fn size_hint(&self) -> Option<usize> {
        hint(self.reader, self.left)
    }
}
