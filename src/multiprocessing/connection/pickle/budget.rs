//! The memory that a typed value of plain data may take, and the walks that charge this memory.

use std::cell::Cell;
use std::vec;

use serde::de::{self, DeserializeSeed};

use super::de::{Fault, Outcome, Plain};
use super::value::Value;

/// The remaining memory.
pub(super) struct Budget {
    most: usize,
    room: Cell<usize>,
    /// The size of the place for the current value, as far as it was paid for with the surrounding value. A value that
    /// is larger than its place is in a box, and is paid for separately.
    place: Cell<usize>,
    /// How many wrappers, `Some` and newtypes, the value at work stands in. Plain data has none.
    wrappers: Cell<usize>,
}

/// How many wrappers one value may stand in. A type that contains itself in wrappers only has no end.
const WRAPPERS: usize = 64;

impl Budget {
    pub(super) fn new(most: usize, place: usize) -> Self {
        Self { most, room: Cell::new(most), place: Cell::new(place), wrappers: Cell::new(0) }
    }

    /// Pays for `count` items of a size, before their memory is allocated.
    pub(super) fn charge(&self, count: usize, size: usize) -> Outcome<()> {
        match count.checked_mul(size).and_then(|bytes| self.room.get().checked_sub(bytes)) {
            Some(room) => {
                self.room.set(room);
                Ok(())
            }
            None => Err(Fault(format!(
                "{count} more items of {size} bytes would make the value larger than the {} bytes that it may take; \
                 from_value_within allows more",
                self.most
            ))),
        }
    }

    /// Makes a value in a place of that size, which is paid for.
    pub(super) fn within<R>(&self, place: usize, body: impl FnOnce() -> Outcome<R>) -> Outcome<R> {
        let around = (self.place.replace(place), self.wrappers.replace(0));
        let result = body();
        self.place.set(around.0);
        self.wrappers.set(around.1);
        result
    }

    /// Makes a wrapper of what the value itself makes.
    pub(super) fn wrapped<V, R>(&self, body: impl FnOnce() -> Outcome<R>) -> Outcome<R> {
        let around = self.wrappers.get();
        if around == WRAPPERS {
            return Err(Fault(format!(
                "a value stands in more than {WRAPPERS} times `Some` or a newtype: a type that contains itself only so has no end"
            )));
        }
        self.wrappers.set(around + 1);
        let result = self.nested::<V, R>(body);
        self.wrappers.set(around);
        result
    }

    /// Makes a value that contains values.
    pub(super) fn nested<V, R>(&self, body: impl FnOnce() -> Outcome<R>) -> Outcome<R> {
        let size = size_of::<V>();
        if size > self.place.get() {
            self.charge(1, size)?;
        }
        body()
    }

    /// Pays for the rest of a walk whose next item has that size; `paid` is the price of each item so far.
    fn pay(&self, left: usize, size: usize, paid: &mut usize) -> Outcome<()> {
        if size > *paid {
            self.charge(left, size - *paid)?;
            *paid = size;
        }
        Ok(())
    }
}

/// The items of a list, tuple or set.
pub(super) struct Items<'b> {
    items: vec::IntoIter<Value>,
    count: usize,
    budget: &'b Budget,
    paid: usize,
}

impl<'b> Items<'b> {
    /// A walk over `items`. Fields were paid for with their struct.
    pub(super) fn new(items: Vec<Value>, budget: &'b Budget, are_fields: bool) -> Self {
        let paid = if are_fields { usize::MAX } else { 0 };
        Self { count: items.len(), items: items.into_iter(), budget, paid }
    }

    /// Checks that no item is left.
    pub(super) fn end(self) -> Outcome<()> {
        left_over(self.count, self.items.len())
    }
}

fn left_over(count: usize, left: usize) -> Outcome<()> {
    match left {
        0 => Ok(()),
        left => Err(Fault(format!("invalid length {count}, expected {} items", count - left))),
    }
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Outcome<Option<S::Value>> {
        let (left, size) = (self.items.len(), size_of::<S::Value>());
        let Some(item) = self.items.next() else { return Ok(None) };
        self.budget.pay(left, size, &mut self.paid)?;
        self.budget.within(size, || seed.deserialize(Plain(item, self.budget))).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The pairs of a dict.
pub(super) struct Pairs<'b> {
    pairs: vec::IntoIter<(Value, Value)>,
    count: usize,
    value: Option<Value>,
    budget: &'b Budget,
    paid_key: usize,
    paid_value: usize,
}

impl<'b> Pairs<'b> {
    pub(super) fn new(pairs: Vec<(Value, Value)>, budget: &'b Budget, are_fields: bool) -> Self {
        let paid = if are_fields { usize::MAX } else { 0 };
        let count = pairs.len();
        Self { pairs: pairs.into_iter(), count, value: None, budget, paid_key: paid, paid_value: paid }
    }

    pub(super) fn end(self) -> Outcome<()> {
        left_over(self.count, self.pairs.len())
    }
}

impl<'de> de::MapAccess<'de> for Pairs<'_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Outcome<Option<S::Value>> {
        let (left, size) = (self.pairs.len(), size_of::<S::Value>());
        let Some((key, value)) = self.pairs.next() else { return Ok(None) };
        self.value = Some(value);
        self.budget.pay(left, size, &mut self.paid_key)?;
        self.budget.within(size, || seed.deserialize(Plain(key, self.budget))).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Outcome<S::Value> {
        let (left, size) = (self.pairs.len() + 1, size_of::<S::Value>());
        self.budget.pay(left, size, &mut self.paid_value)?;
        let value = self.value.take().unwrap_or_default(); // some: a key came before
        self.budget.within(size, || seed.deserialize(Plain(value, self.budget)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.pairs.len())
    }
}
