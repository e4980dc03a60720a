//! The self-test: the same texts counted by workers and, one byte after the other, by a map of the standard library.

use std::collections::BTreeMap;
use std::error::Error;

use crate::text::Text;
use crate::{SHIPPED, count};

pub fn self_test() -> Result<(), Box<dyn Error>> {
    let mut texts = vec![
        Vec::new(),
        b" \t\n\x0b\x0c\r".to_vec(),
        b"one".to_vec(),
        b"  \xff\xfe \0 \0\0 a\xa0b \x1c\x1f\x08\x0e \n".to_vec(),
        SHIPPED.to_vec(),
        SHIPPED.repeat(40),
        [b"word ".as_slice(), &[b'x'; 300_000], b" word"].concat(),
        (0..100_000_u32).flat_map(|n| format!("{} ", n.wrapping_mul(2_654_435_761) >> (n % 31)).into_bytes()).collect(),
    ];
    // Words of every length, so that each ends at every place of a block.
    texts.push((1..200).flat_map(|len| [vec![b'a'; len], vec![b' ']].concat()).collect());
    for (index, text) in texts.iter().enumerate() {
        let expected = naive(text);
        for (workers, kill) in [(1, false), (3, false), (3, true), (1, true)] {
            let counted = count(Text::of(text)?, workers, kill, |_| ())?;
            let found: BTreeMap<&[u8], u64> = counted.table.iter().collect();
            if found != expected || counted.words != expected.values().sum::<u64>() {
                return Err(format!("text {index} has wrong counts by {workers} workers, kill: {kill}").into());
            }
            if counted.killed != (kill && !text.is_empty()) {
                return Err(format!("text {index}, {workers} workers: no worker was killed").into());
            }
        }
    }
    println!("words: {} texts have the same counts, with and without a killed worker", texts.len());
    Ok(())
}

/// Counts words as C's `isspace` separates them, one byte after the other.
fn naive(text: &[u8]) -> BTreeMap<&[u8], u64> {
    let mut counts = BTreeMap::new();
    for word in text.split(|byte| b" \t\n\x0b\x0c\r".contains(byte)).filter(|word| !word.is_empty()) {
        *counts.entry(word).or_default() += 1;
    }
    counts
}
