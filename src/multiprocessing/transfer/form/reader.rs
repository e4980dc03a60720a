//! The bytes of a message, read within bounds.

use super::bounds::Bounds;
use super::fault::{Fault, Outcome};

/// The unread part of a message, and what is left of its bounds.
pub(super) struct Reader<'de> {
    rest: &'de [u8],
    length: usize,
    bounds: Bounds,
    /// How many more levels the current value may contain.
    levels: usize,
    /// How many more bytes of memory the value may take.
    room: usize,
    /// How many more items may take no bytes.
    idle: usize,
    /// The size of the place for the current value that was charged with the surrounding value. A value that is larger
    /// than its place is in a box, and is charged separately.
    place: usize,
    /// The length of the present run of nested values of a pointer's size, each charged with its surrounding value.
    run: usize,
}

/// The maximum length of such a run without a charge. A value of a pointer's size fits into the place of a box, so its
/// size does not show whether it is in the place or in the box. A type that only wraps another makes a short run. A
/// type that contains itself in a box makes a run as long as the message determines.
const RUN: usize = 2;

impl<'de> Reader<'de> {
    pub(super) fn new<T>(bytes: &'de [u8], bounds: Bounds) -> Self {
        let Bounds { depth, memory, idle, .. } = bounds;
        Self {
            rest: bytes,
            length: bytes.len(),
            bounds,
            levels: depth,
            room: memory,
            idle,
            place: size_of::<T>(),
            run: 0,
        }
    }

    /// Checks that the message has no more bytes.
    #[inline]
    pub(super) fn finish(&self) -> Outcome<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(left_over(left)),
        }
    }

    /// Adds to the fault the position where it was found.
    #[cold]
    pub(super) fn place(&self, fault: Fault) -> Fault {
        Fault::new(format!("{fault} (at byte {})", self.length - self.rest.len()))
    }

    /// The unread bytes.
    pub(super) fn rest(&self) -> &'de [u8] {
        self.rest
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Outcome<u8> {
        let Some((first, rest)) = self.rest.split_first() else { return Err(ends_early()) };
        self.rest = rest;
        Ok(*first)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Outcome<&'de [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else { return Err(ends_early()) };
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else { return Err(ends_early()) };
        self.rest = rest;
        Ok(*taken)
    }

    /// Reads a number of at most `bits` bits, seven in a byte, the lowest first.
    #[inline]
    pub(super) fn varint(&mut self, bits: u32) -> Outcome<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(first.into());
        }
        self.long_varint(first, bits)
    }

    #[inline]
    fn long_varint(&mut self, first: u8, bits: u32) -> Outcome<u64> {
        let mut number = u64::from(first & 0x7f);
        let mut shift = 7;
        let mut rest = self.rest.iter();
        while shift < bits {
            let Some(byte) = rest.next() else {
                self.rest = &[];
                return Err(ends_early());
            };
            let part = u64::from(byte & 0x7f);
            if bits - shift < 7 && part >> (bits - shift) != 0 {
                break;
            }
            number |= part << shift;
            if *byte < 0x80 {
                self.rest = rest.as_slice();
                return Ok(number);
            }
            shift += 7;
        }
        self.rest = rest.as_slice();
        Err(too_wide(bits))
    }

    pub(super) fn wide_varint(&mut self) -> Outcome<u128> {
        let mut number = 0;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            if shift == 126 && part > 3 {
                break;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Fault::new("the number has more than 128 bits"))
    }

    #[inline]
    pub(super) fn zigzag(&mut self, bits: u32) -> Outcome<i64> {
        let number = self.varint(bits)?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Reads the number of items that follow. A number beyond the address space is beyond the message, too.
    #[inline]
    pub(super) fn length(&mut self) -> Outcome<usize> {
        self.varint(64).map(|length| usize::try_from(length).unwrap_or(usize::MAX))
    }

    #[inline]
    pub(super) fn counted(&mut self) -> Outcome<&'de [u8]> {
        let length = self.length()?;
        let taken = self.take(length)?;
        self.charge(1, length)?;
        Ok(taken)
    }

    #[inline]
    pub(super) fn text(&mut self) -> Outcome<&'de str> {
        std::str::from_utf8(self.counted()?).map_err(|_| Fault::new("the text is not UTF-8"))
    }

    /// Charges `count` items of a size, before their memory is allocated.
    #[inline]
    pub(super) fn charge(&mut self, count: usize, size: usize) -> Outcome<()> {
        match count.checked_mul(size).and_then(|bytes| self.room.checked_sub(bytes)) {
            Some(room) => {
                self.room = room;
                Ok(())
            }
            None => Err(self.too_large(count, size)),
        }
    }

    #[cold]
    fn too_large(&self, count: usize, size: usize) -> Fault {
        let Bounds { memory, .. } = self.bounds;
        Fault::new(format!(
            "{count} more items of {size} bytes would make its value larger than the {memory} bytes that one may take here; \
             set_max_decoded allows more"
        ))
    }

    /// Counts another item that takes no bytes of the message.
    #[inline]
    pub(super) fn idled(&mut self) -> Outcome<()> {
        self.idle = self.idle.checked_sub(1).ok_or_else(|| too_idle(self.bounds.idle))?;
        Ok(())
    }

    /// Reads a value into a place of this size, which was charged already.
    #[inline]
    pub(super) fn within<R>(&mut self, place: usize, body: impl FnOnce(&mut Self) -> Outcome<R>) -> Outcome<R> {
        let around = std::mem::replace(&mut self.place, place);
        let result = body(self);
        self.place = around;
        result
    }

    /// Reads a value that contains values, one level deeper.
    #[inline]
    pub(super) fn nested<V, R>(&mut self, body: impl FnOnce(&mut Self) -> Outcome<R>) -> Outcome<R> {
        let size = size_of::<V>();
        let run = self.run;
        if size > self.place {
            self.run = 0;
            self.charge(1, size)?;
        } else if size == size_of::<usize>() {
            self.run += 1;
            if self.run > RUN {
                self.charge(1, size)?;
            }
        }
        let levels = self.levels;
        self.levels = levels.checked_sub(1).ok_or_else(|| self.too_deep())?;
        let result = body(self);
        self.levels = levels;
        self.run = run;
        result
    }

    #[cold]
    fn too_deep(&self) -> Fault {
        let Bounds { depth, deeper, .. } = self.bounds;
        Fault::new(format!("its value is nested more than {depth} deep; {deeper} allows more"))
    }
}

#[cold]
fn left_over(left: usize) -> Fault {
    Fault::new(format!("{left} bytes are left over"))
}

#[cold]
fn too_wide(bits: u32) -> Fault {
    Fault::new(format!("the number has more than {bits} bits"))
}

#[cold]
fn ends_early() -> Fault {
    Fault::new("it ends too early")
}

#[cold]
fn too_idle(most: usize) -> Fault {
    Fault::new(format!("more than {most} of its items take no bytes: send their number instead"))
}
