//! Words and their counts: a hash table that stores keys of up to 16 bytes in place.

/// Counts of distinct words.
pub struct Table {
    slots: Vec<Slot>,
    used: usize,
    /// The bytes of the words, one after the other.
    arena: Vec<u8>,
}

/// One distinct word; the slot is free when its count is 0.
#[derive(Clone, Copy, Default)]
struct Slot {
    key: Key,
    count: u64,
}

/// The key of a word: its first bytes, its length, and the position of the whole word.
#[derive(Clone, Copy, Default)]
struct Key {
    low: u64,
    high: u64,
    len: u32,
    at: u32,
}

/// The number of bytes after a word that must be readable; their values do not matter.
pub const SLACK: usize = 16;

impl Table {
    pub fn new() -> Self {
        Self { slots: vec![Slot::default(); 1 << 12], used: 0, arena: Vec::new() }
    }

    /// Adds to the count of the word `text[start..end]`. At least [`SLACK`] bytes follow it in `text`.
    #[inline]
    pub fn add(&mut self, text: &[u8], start: usize, end: usize, count: u64) {
        let len = end - start;
        let (low, high) = match len {
            0..=8 => (first(word_at(text, start), len), 0),
            9..=16 => (word_at(text, start), first(word_at(text, start + 8), len - 8)),
            _ => fold(&text[start..end]),
        };
        let mask = self.slots.len() - 1;
        let mut index = hash(low, high, len) & mask;
        loop {
            let slot = &mut self.slots[index];
            if slot.count == 0 {
                break;
            }
            let key = slot.key;
            if key.low == low && key.high == high && key.len as usize == len {
                let at = key.at as usize;
                if len <= 16 || self.arena[at..at + len] == text[start..end] {
                    slot.count += count;
                    return;
                }
            }
            index = (index + 1) & mask;
        }
        self.insert(index, low, high, &text[start..end], count);
    }

    #[cold]
    fn insert(&mut self, index: usize, low: u64, high: u64, word: &[u8], count: u64) {
        let at = u32::try_from(self.arena.len()).expect("less than 4 GiB of distinct words");
        self.arena.extend_from_slice(word);
        self.slots[index] = Slot { key: Key { low, high, len: word.len() as u32, at }, count };
        self.used += 1;
        if self.used * 2 > self.slots.len() {
            self.grow();
        }
    }

    fn grow(&mut self) {
        let larger = vec![Slot::default(); self.slots.len() * 4];
        let mask = larger.len() - 1;
        for slot in std::mem::replace(&mut self.slots, larger) {
            if slot.count == 0 {
                continue;
            }
            let mut index = hash(slot.key.low, slot.key.high, slot.key.len as usize) & mask;
            while self.slots[index].count != 0 {
                index = (index + 1) & mask;
            }
            self.slots[index] = slot;
        }
    }

    /// The number of distinct words.
    pub fn distinct(&self) -> usize {
        self.used
    }

    /// Every word and its count, in arbitrary order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let taken = self.slots.iter().filter(|slot| slot.count != 0);
        taken.map(|slot| (&self.arena[slot.key.at as usize..][..slot.key.len as usize], slot.count))
    }

    /// The `n` most frequent words: by descending count, then by bytes.
    pub fn commonest(&self, n: usize) -> Vec<(&[u8], u64)> {
        let order = |a: &(&[u8], u64), b: &(&[u8], u64)| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0));
        let mut all: Vec<_> = self.iter().collect();
        if n > 0 && n < all.len() {
            all.select_nth_unstable_by(n - 1, order);
        }
        all.truncate(n);
        all.sort_unstable_by(order);
        all
    }

    /// Serialises the table for another process.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.arena.len() + 12 * self.used);
        for (word, count) in self.iter() {
            bytes.extend_from_slice(&count.to_le_bytes());
            bytes.extend_from_slice(&(word.len() as u32).to_le_bytes());
            bytes.extend_from_slice(word);
        }
        bytes
    }

    /// Adds a table that [`to_bytes`](Self::to_bytes) serialised; `None` if the bytes are not a table.
    pub fn merge(&mut self, mut bytes: Vec<u8>) -> Option<()> {
        let end = bytes.len();
        bytes.resize(end + SLACK, 0);
        let mut at = 0;
        while at < end {
            let count = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
            let len = u32::from_le_bytes(*bytes.get(at + 8..)?.first_chunk()?) as usize;
            let start = at + 12;
            at = start.checked_add(len).filter(|&at| at <= end && len > 0 && count > 0)?;
            self.add(&bytes, start, at, count);
        }
        Some(())
    }
}

/// Reads eight bytes of the text as a number.
#[inline]
pub fn word_at(text: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*text[at..].first_chunk().expect("slack after the word"))
}

/// The first `len` bytes of eight. Zero bytes give the same number as eight zeros, whose length differs.
#[inline]
fn first(word: u64, len: usize) -> u64 {
    if len == 0 { 0 } else { word & (u64::MAX >> (64 - 8 * len)) }
}

/// Folds a long word into two numbers.
#[cold]
fn fold(word: &[u8]) -> (u64, u64) {
    let (mut low, mut high) = (0_u64, 0_u64);
    for part in word.chunks(8) {
        let mut eight = [0; 8];
        eight[..part.len()].copy_from_slice(part);
        low = (low ^ u64::from_le_bytes(eight)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        high = (high.rotate_left(29) ^ low).wrapping_add(low >> 31);
    }
    (low, high)
}

#[inline]
fn hash(low: u64, high: u64, len: usize) -> usize {
    let mixed = (low ^ high.rotate_left(32) ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)) as usize
}
