//! The values of a map's calls, as bytes, until they are taken.
//!
//! Consecutive values are one span, whatever their number. So a map needs memory for the bytes of its values, but no
//! entry for each call.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::multiprocessing::transfer::{
    self, Bounds, Descriptors, Packed, Reading, Trust, put_measured, split_measured,
};

/// The sizes of the first and of the largest block. Each block is twice as long as the one before.
const FIRST: usize = 1 << 10;
const LARGEST: usize = 64 << 10;

/// The values that have come so far.
#[derive(Default)]
pub(super) struct Kept {
    /// Values, each after its length. A full block is never moved.
    blocks: Vec<Vec<u8>>,
    spans: Vec<Span>,
    /// The values with descriptors.
    packed: BTreeMap<usize, Packed>,
    /// The total length of the blocks.
    bytes: usize,
}

/// Decoded values: a list for each run of calls without a gap, by the index of the first call.
pub(super) struct Pieces<R> {
    read: BTreeMap<usize, Vec<R>>,
    /// The index of the first list with a value that cannot be decoded, and the error.
    wrong: Option<(usize, Error)>,
}

impl<R> Pieces<R> {
    pub(super) const fn new() -> Self {
        Self { read: BTreeMap::new(), wrong: None }
    }

    /// Returns the list that ends before this index, or a new list.
    fn at(&mut self, first: usize) -> &mut Vec<R> {
        let before = self.read.range(..=first).next_back();
        let joins = before.filter(|(at, values)| **at + values.len() == first).map(|(at, _)| *at);
        self.read.entry(joins.unwrap_or(first)).or_default()
    }

    fn fail(&mut self, at: usize, error: Error) {
        if self.wrong.as_ref().is_none_or(|(first, _)| at < *first) {
            self.wrong = Some((at, error));
        }
    }

    /// Returns all values, if their number is `count`.
    ///
    /// # Errors
    /// `Decode` for bytes that are not such a value.
    pub(super) fn whole(self, count: usize) -> Result<Option<Vec<R>>> {
        if let Some((_, error)) = self.wrong {
            return Err(error);
        }
        let mut pieces = self.read.into_values();
        let mut values = pieces.next().unwrap_or_default();
        values.reserve_exact(count.saturating_sub(values.len()));
        pieces.for_each(|mut piece| values.append(&mut piece));
        Ok(Some(values).filter(|values| values.len() == count))
    }
}

/// The values of consecutive calls.
#[derive(Clone)]
struct Span {
    /// The index of the first call, and the number of calls.
    first: usize,
    count: usize,
    block: usize,
    from: usize,
    to: usize,
}

impl Kept {
    /// Stores `count` values from the call at `first` on, each after its length.
    pub(super) fn values(&mut self, first: usize, count: usize, bytes: &[u8]) {
        let (from, to) = self.room(bytes.len(), |block| block.extend_from_slice(bytes));
        self.add(first, count, from, to);
    }

    /// Stores one value.
    pub(super) fn value(&mut self, index: usize, bytes: &[u8], descriptors: Descriptors) {
        if !descriptors.is_none() {
            self.packed.insert(index, Packed { bytes: bytes.to_vec(), descriptors });
            return;
        }
        let mut fits = true;
        let most = bytes.len().saturating_add(size_of::<u64>());
        let (from, to) = self.room(most, |block| fits = put_measured(block, bytes));
        if fits {
            self.add(index, 1, from, to);
        } else {
            self.packed.insert(index, Packed { bytes: bytes.to_vec(), descriptors });
        }
    }

    /// Lets `write` append at most `most` bytes to the last block; returns the range of the bytes.
    fn room(&mut self, most: usize, write: impl FnOnce(&mut Vec<u8>)) -> (usize, usize) {
        let last = self.blocks.last();
        if last.is_none_or(|block| block.capacity() - block.len() < most) {
            let usual = last.map_or(FIRST, |block| (block.capacity() * 2).min(LARGEST));
            self.blocks.push(Vec::with_capacity(usual.max(most)));
        }
        let Some(block) = self.blocks.last_mut() else { return (0, 0) };
        let from = block.len();
        write(block);
        self.bytes += block.len() - from;
        (from, block.len())
    }

    fn add(&mut self, first: usize, count: usize, from: usize, to: usize) {
        let block = self.blocks.len().saturating_sub(1);
        match self.spans.last_mut() {
            Some(last) if (last.block, last.to, last.first + last.count) == (block, from, first) => {
                last.count += count;
                last.to = to;
            }
            _ => self.spans.push(Span { first, count, block, from, to }),
        }
    }

    /// Passes each value to `show` in the order of the calls: the index of the call, and the bytes unless there are
    /// descriptors.
    pub(super) fn show(mut self, mut show: impl FnMut(usize, Option<&[u8]>)) {
        self.spans.sort_by_key(|span| span.first);
        let mut packed = self.packed.iter().peekable();
        let bytes_of = |packed: &Packed| packed.descriptors.is_none();
        for span in &self.spans {
            while let Some((index, packed)) = packed.next_if(|(index, _)| **index < span.first) {
                show(*index, Some(&packed.bytes[..]).filter(|_| bytes_of(packed)));
            }
            let block = self.blocks.get(span.block).and_then(|block| block.get(span.from..span.to));
            let (mut index, mut rest) = (span.first, block.unwrap_or_default());
            while let Some((value, after)) = split_measured(rest) {
                show(index, Some(value));
                (index, rest) = (index + 1, after);
            }
        }
        for (index, packed) in packed {
            show(*index, Some(&packed.bytes[..]).filter(|_| bytes_of(packed)));
        }
    }

    /// Copies the values and their descriptors.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left.
    pub(super) fn try_clone(&self) -> Result<Self> {
        let copies = self.packed.iter().map(|(index, packed)| Ok((*index, packed.try_clone()?)));
        let packed = copies.collect::<Result<_>>()?;
        Ok(Self { blocks: self.blocks.clone(), spans: self.spans.clone(), packed, bytes: self.bytes })
    }

    /// The total length of the values without descriptors.
    pub(super) fn length(&self) -> usize {
        self.bytes
    }

    /// Decodes the values, and adds them to the values of the same map.
    pub(super) fn read<R: DeserializeOwned>(mut self, pieces: &mut Pieces<R>) {
        self.spans.sort_by_key(|span| span.first);
        let mut reading = Reading::begin(&[], Descriptors::new(), Bounds::SAME_PROGRAM);
        for span in &self.spans {
            let bytes = self.blocks.get(span.block).and_then(|block| block.get(span.from..span.to));
            let values = pieces.at(span.first);
            values.reserve(span.count);
            if let Err(error) = reading.read_all(bytes.unwrap_or_default(), values) {
                pieces.fail(span.first, error);
            }
        }
        drop(reading); // the next values are messages of their own
        for (index, packed) in self.packed {
            match transfer::unpack(packed, Trust::SameProgram, Bounds::SAME_PROGRAM) {
                Ok(value) => pieces.at(index).push(value),
                Err(error) => pieces.fail(index, error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole<R: DeserializeOwned>(kept: Kept, count: usize) -> Vec<R> {
        let mut pieces = Pieces::new();
        kept.read(&mut pieces);
        pieces.whole(count).unwrap().unwrap()
    }

    /// Values of two bytes, each with its length before it.
    fn measured(numbers: impl Iterator<Item = u64>) -> Vec<u8> {
        numbers.flat_map(|number| [2, 0x80 | number as u8 & 0x7f, (number >> 7) as u8]).collect()
    }

    #[test]
    fn values_are_read_in_the_order_of_their_calls() {
        let mut kept = Kept::default();
        for first in [3000_usize, 0, 1000, 2000] {
            for first in (first..first + 1000).step_by(100) {
                kept.values(first, 100, &measured((first as u64..).take(100)));
            }
        }
        assert!(kept.blocks.len() > 1 && kept.blocks.iter().all(|block| block.len() > FIRST / 2));
        assert!(kept.spans.len() < 15, "what follows is one: {}", kept.spans.len());
        assert!(whole::<u64>(kept, 4000).into_iter().eq(0..4000));
    }

    #[test]
    fn a_long_value_and_one_with_a_descriptor_stand_in_their_places() {
        use std::fs::File;

        use crate::multiprocessing::transfer::Handle;

        type Item = (String, Option<Handle<File>>);
        let packed = |text: &str, file: Option<File>| transfer::pack(&(text, file.map(Handle))).unwrap();
        let long = "x".repeat(5000);
        let kept = || {
            let mut kept = Kept::default();
            for (index, text, file) in
                [(2, "", None), (0, &*long, None), (1, "here", Some(File::open("/dev/null").unwrap()))]
            {
                let packed = packed(text, file);
                kept.value(index, &packed.bytes, packed.descriptors);
            }
            kept
        };
        let mut shown = Vec::new();
        kept().show(|index, bytes| shown.push((index, bytes.map(<[u8]>::len))));
        assert_eq!(shown, [(0, Some(5003)), (1, None), (2, Some(2))]);
        let items: Vec<Item> = whole(kept(), 3);
        let seen: Vec<_> = items.iter().map(|(text, file)| (text.len(), file.is_some())).collect();
        assert_eq!(seen, [(5000, false), (4, true), (0, false)]);
    }
}
