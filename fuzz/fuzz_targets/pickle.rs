//! Pickles with wrong lengths and counts. Any bytes are plain data or an error soon, within the decoder's memory. A
//! value stays the same after writing and reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ossature::multiprocessing::connection::pickle::{Decoder, OldStr, decode, encode};

#[path = "counted.rs"]
mod counted;

/// A message of an error, and what the decoder itself needs for anything.
const SMALL: usize = 4096;

fuzz_target!(|input: (bool, u16, &[u8])| {
    let (as_bytes, bound, bytes) = input;
    let old_str = if as_bytes { OldStr::Bytes } else { OldStr::Text };
    let bound = usize::from(bound);
    let (_, peak) = counted::measured(|| Decoder::new().old_str(old_str).max_memory(bound).decode(bytes));
    assert!(peak <= 2 * bound + SMALL + bytes.len(), "{peak} bytes for a bound of {bound}");
    let (_, peak) = counted::measured(|| decode(bytes));
    assert!(peak <= (64 * bytes.len()).max(16 << 20) + SMALL, "{peak} bytes for {}", bytes.len());

    let decoder = Decoder::new().old_str(old_str).max_memory(1 << 20);
    let Ok(value) = decoder.decode(bytes) else { return };
    let written = encode(&value).expect("what was read can be written");
    let again = Decoder::new().max_memory(4 << 20).decode(&written).expect("what was written can be read");
    // By their bytes: a NaN is not equal to itself.
    assert_eq!(encode(&again).expect("it was written before"), written);
});
