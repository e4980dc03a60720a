//! Finds where words begin and end: 64 bytes at a time, without a branch for each byte.

use crate::table::{SLACK, Table, word_at};

/// Whether a byte is one of the six white-space characters of C.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// A counter of words in text that arrives in pieces; a piece may end inside a word.
pub struct Splitter {
    /// The start of a word whose end has not arrived yet, then the new piece, then slack.
    buffer: Vec<u8>,
    kept: usize,
    words: u64,
}

impl Splitter {
    pub fn new() -> Self {
        Self { buffer: Vec::new(), kept: 0, words: 0 }
    }

    /// The number of counted words.
    pub fn words(&self) -> u64 {
        self.words
    }

    /// The number of bytes for the next [`feed`](Self::feed): as many as stay in the cache. It grows while a word has
    /// no end, so that its beginning is not scanned again and again.
    pub fn appetite(&self) -> usize {
        self.kept.max(1 << 16)
    }

    /// Reads `len` more bytes, which `fill` writes, and counts the words that end in them.
    pub fn feed<E>(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
        table: &mut Table,
    ) -> Result<(), E> {
        let end = self.kept + len;
        // Room for whole blocks of 64; what is behind `end` becomes white space.
        self.buffer.resize(end.next_multiple_of(64) + SLACK, b' ');
        fill(&mut self.buffer[self.kept..end])?;
        self.buffer[end..].fill(b' ');

        let mut start = 0;
        let mut inside = false;
        for (block, bytes) in self.buffer[..end.next_multiple_of(64)].chunks_exact(64).enumerate() {
            let letters = !spaces(bytes);
            // A set bit where the class changes: a word begins or ends there.
            let mut changes = letters ^ (letters << 1 | u64::from(inside));
            while changes != 0 {
                let at = block * 64 + changes.trailing_zeros() as usize;
                changes &= changes - 1;
                if inside && at < end {
                    table.add(&self.buffer, start, at, 1);
                    self.words += 1;
                }
                if !inside {
                    start = at;
                } else if at >= end {
                    // White space that is not in the text ended it: it may go on in the next piece.
                    self.keep(start, end);
                    return Ok(());
                }
                inside = !inside;
            }
        }
        let start = if inside { start } else { end };
        self.keep(start, end);
        Ok(())
    }

    /// Counts the word that ends with the text.
    pub fn finish(&mut self, table: &mut Table) {
        if self.kept > 0 {
            let end = self.kept;
            self.buffer.resize(end + SLACK, b' ');
            table.add(&self.buffer, 0, end, 1);
            self.words += 1;
            self.kept = 0;
        }
    }

    fn keep(&mut self, start: usize, end: usize) {
        self.buffer.copy_within(start..end, 0);
        self.kept = end - start;
    }
}

/// A mask of the white-space bytes among 64 bytes.
#[inline]
fn spaces(bytes: &[u8]) -> u64 {
    let mut mask = 0;
    for part in 0..8 {
        mask |= spaces_of_eight(word_at(bytes, part * 8)) << (part * 8);
    }
    mask
}

/// A mask of the white-space bytes among eight, without a branch. Seven-bit sums show in the eighth bit whether a byte
/// is at least 9, at least 14, and equal to 32.
#[inline]
fn spaces_of_eight(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const TOP: u64 = 0x80 * EACH;
    let low = word & !TOP;
    let control = (low + (0x80 - 9) * EACH) & !(low + (0x80 - 14) * EACH);
    let blank = !((low ^ (0x20 * EACH)) + 0x7f * EACH);
    let found = (control | blank) & !word & TOP;
    // Gathers the eight top bits: byte i of the product's top byte is the bit of byte i.
    (found >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}
