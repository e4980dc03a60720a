//! Ranges of bits in memory that others change at the same time: one bit for each granule.

use crate::atomic::Ordering::{AcqRel, Acquire};
use crate::atomic::{AtomicU64, step};

/// The number of bits of a word.
pub(super) const WORD: usize = u64::BITS as usize;

/// The words of a range of bits: the number of each one's first bit, the word, and the bits of the range in it. Bits
/// that do not exist are skipped.
fn words(bits: &[AtomicU64], from: usize, to: usize) -> impl Iterator<Item = (usize, &AtomicU64, u64)> {
    let first = from / WORD;
    let words = bits.get(first..to.div_ceil(WORD)).unwrap_or_default();
    words.iter().zip(first..).map(move |(word, index)| {
        let begin = index * WORD;
        let (low, high) = (from.saturating_sub(begin), to.saturating_sub(begin).min(WORD));
        // `low` is below 64, and so is 64 - `high`, because the word has a bit of the range.
        let mask = u64::MAX.wrapping_shl(low as u32) & u64::MAX.wrapping_shr((WORD - high) as u32);
        (begin, word, mask)
    })
}

/// Sets the bits of a range.
pub(crate) fn set(bits: &[AtomicU64], from: usize, to: usize) {
    for (_, word, mask) in words(bits, from, to) {
        step();
        word.fetch_or(mask, AcqRel);
    }
}

/// Clears the bits of a range. A thread that then finds them clear sees all earlier writes of this thread.
pub(crate) fn clear(bits: &[AtomicU64], from: usize, to: usize) {
    for (_, word, mask) in words(bits, from, to) {
        step();
        word.fetch_and(!mask, AcqRel);
    }
}

/// The first bit of a range that is set, or that is clear.
fn first(bits: &[AtomicU64], from: usize, to: usize, is_set: bool) -> Option<usize> {
    words(bits, from, to).find_map(|(begin, word, mask)| {
        let word = word.load(Acquire);
        let found = if is_set { word & mask } else { !word & mask };
        (found != 0).then(|| begin + found.trailing_zeros() as usize)
    })
}

/// The first place in a range where `count` bits are clear; the place is a multiple of `step`.
pub(crate) fn find_clear(bits: &[AtomicU64], from: usize, to: usize, count: usize, step: usize) -> Option<usize> {
    let mut at = from.checked_next_multiple_of(step)?;
    while at.checked_add(count)? <= to {
        match first(bits, at, at + count, true) {
            None => return Some(at),
            Some(taken) => at = first(bits, taken + 1, to, false)?.checked_next_multiple_of(step)?,
        }
    }
    None
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    fn bits(words: usize) -> Vec<AtomicU64> {
        (0..words).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn ranges_of_every_place_and_length_are_set_and_cleared() {
        for from in 0..130 {
            for to in from..=192 {
                let bits = bits(3);
                set(&bits, from, to);
                let has = |word: &AtomicU64, bit: usize| word.load(Acquire) >> (bit % WORD) & 1 == 1;
                let is_set = |bit: usize| bits.get(bit / WORD).is_some_and(|word| has(word, bit));
                assert!((0..192).all(|bit| is_set(bit) == (from..to).contains(&bit)), "{from}..{to}");
                assert_eq!(first(&bits, 0, 192, true), (from < to).then_some(from));
                clear(&bits, from, to);
                assert_eq!(first(&bits, 0, 192, true), None);
            }
        }
    }

    #[test]
    fn room_is_found_where_it_is_aligned_and_long_enough() {
        let bits = bits(4);
        set(&bits, 0, 3);
        set(&bits, 5, 70);
        set(&bits, 100, 101);
        assert_eq!(find_clear(&bits, 0, 256, 2, 1), Some(3));
        assert_eq!(find_clear(&bits, 0, 256, 3, 1), Some(70));
        assert_eq!(find_clear(&bits, 0, 256, 1, 4), Some(4));
        assert_eq!(find_clear(&bits, 0, 256, 30, 8), Some(104));
        assert_eq!(find_clear(&bits, 0, 256, 155, 1), Some(101));
        assert_eq!(find_clear(&bits, 0, 256, 156, 1), None);
        assert_eq!(find_clear(&bits, 255, 256, 2, 1), None);
        assert_eq!(find_clear(&bits, 0, 10_000, 156, 1), None, "bits that do not exist are not clear");
    }
}
