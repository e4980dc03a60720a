//! Pickles that lie: any bytes are plain data or an error soon, and what was read survives writing and reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ossature::multiprocessing::connection::pickle::{Decoder, OldStr, encode};

fuzz_target!(|input: (bool, &[u8])| {
    let (as_bytes, bytes) = input;
    let old_str = if as_bytes { OldStr::Bytes } else { OldStr::Text };
    let decoder = Decoder::new().old_str(old_str).max_memory(1 << 20);
    let Ok(value) = decoder.decode(bytes) else { return };
    let written = encode(&value).expect("what was read can be written");
    let again = Decoder::new().max_memory(4 << 20).decode(&written).expect("what was written can be read");
    // By their bytes: a NaN is not equal to itself.
    assert_eq!(encode(&again).expect("it was written before"), written);
});
