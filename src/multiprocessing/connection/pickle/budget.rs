//! The limit on the memory of a typed value that is made from plain data.

use std::cell::Cell;

use super::fault::{Fault, Outcome};

/// The remaining memory.
pub(super) struct Budget {
    most: usize,
    room: Cell<usize>,
    /// The size of the place for the current value that was charged with the surrounding value. A value that is larger
    /// than its place is in a box, and is charged separately.
    place: Cell<usize>,
    /// The number of wrappers, `Some` and newtypes, around the current value. Plain data has none.
    wrappers: Cell<usize>,
}

/// The maximum number of wrappers around one value. A type that contains itself through wrappers alone never ends.
const WRAPPERS: usize = 64;

#[cold]
fn endless() -> Fault {
    Fault(format!(
        "a value is inside more than {WRAPPERS} layers of `Some` or newtypes: its type contains itself through these alone"
    ))
}

impl Budget {
    #[inline]
    pub(super) fn new(most: usize, place: usize) -> Self {
        Self { most, room: Cell::new(most), place: Cell::new(place), wrappers: Cell::new(0) }
    }

    /// Charges `count` items of the given size, before their memory is allocated.
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

    /// Runs `body` for a value whose place of the given size is already charged.
    #[inline]
    pub(super) fn within<R>(&self, place: usize, body: impl FnOnce() -> Outcome<R>) -> Outcome<R> {
        let around = (self.place.replace(place), self.wrappers.replace(0));
        let result = body();
        self.place.set(around.0);
        self.wrappers.set(around.1);
        result
    }

    /// Runs `body` for a wrapper around another value.
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

    /// Runs `body` for a value that contains values.
    #[inline]
    pub(super) fn nested<V, R>(&self, body: impl FnOnce() -> Outcome<R>) -> Outcome<R> {
        let size = size_of::<V>();
        if size > self.place.get() {
            self.charge(1, size)?;
        }
        body()
    }

    /// Charges the rest of a walk whose next item has the given size; `paid` is the size already charged for each item.
    pub(super) fn pay(&self, left: usize, size: usize, paid: &mut usize) -> Outcome<()> {
        if size > *paid {
            self.charge(left, size - *paid)?;
            *paid = size;
        }
        Ok(())
    }
}
