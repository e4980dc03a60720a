//! The memory that a typed value of plain data may take.

use std::cell::Cell;

use super::fault::{Fault, Outcome};

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

#[cold]
fn endless() -> Fault {
    Fault(format!(
        "a value stands in more than {WRAPPERS} times `Some` or a newtype: a type that contains itself only so has no end"
    ))
}

impl Budget {
    #[inline]
    pub(super) fn new(most: usize, place: usize) -> Self {
        Self { most, room: Cell::new(most), place: Cell::new(place), wrappers: Cell::new(0) }
    }

    /// Pays for `count` items of a size, before their memory is allocated.
    #[inline]
    pub(super) fn charge(&self, count: usize, size: usize) -> Outcome<()> {
        match count.checked_mul(size).and_then(|bytes| self.room.get().checked_sub(bytes)) {
            Some(room) => {
                self.room.set(room);
                Ok(())
            }
            None => Err(self.too_much(count, size)),
        }
    }

    #[cold]
    fn too_much(&self, count: usize, size: usize) -> Fault {
        Fault(format!(
            "{count} more items of {size} bytes would make the value larger than the {} bytes that it may take; \
             from_value_within allows more",
            self.most
        ))
    }

    /// Makes a value in a place of that size, which is paid for.
    #[inline]
    pub(super) fn within<R>(&self, place: usize, body: impl FnOnce() -> Outcome<R>) -> Outcome<R> {
        let around = (self.place.replace(place), self.wrappers.replace(0));
        let result = body();
        self.place.set(around.0);
        self.wrappers.set(around.1);
        result
    }

    /// Makes a wrapper of what the value itself makes.
    #[inline]
    pub(super) fn wrapped<V, R>(&self, body: impl FnOnce() -> Outcome<R>) -> Outcome<R> {
        let around = self.wrappers.get();
        if around == WRAPPERS {
            return Err(endless());
        }
        self.wrappers.set(around + 1);
        let result = self.nested::<V, R>(body);
        self.wrappers.set(around);
        result
    }

    /// Makes a value that contains values.
    #[inline]
    pub(super) fn nested<V, R>(&self, body: impl FnOnce() -> Outcome<R>) -> Outcome<R> {
        let size = size_of::<V>();
        if size > self.place.get() {
            self.charge(1, size)?;
        }
        body()
    }

    /// Pays for the rest of a walk whose next item has that size; `paid` is the price of each item so far.
    pub(super) fn pay(&self, left: usize, size: usize, paid: &mut usize) -> Outcome<()> {
        if size > *paid {
            self.charge(left, size - *paid)?;
            *paid = size;
        }
        Ok(())
    }
}
