//! Documents of XML-RPC: any bytes are a value or an error, within the bound on memory, and a value stays the same
//! after writing and reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ossature::multiprocessing::connection::pickle;
use ossature::multiprocessing::connection::pickle::Value;
use ossature::multiprocessing::connection::xmlrpc::{decode, encode};

#[path = "counted.rs"]
mod counted;

/// Whether XML-RPC has a form for it: an int that was read may have more bits than one that is written.
fn is_small(value: &Value) -> bool {
    match value {
        Value::Int(number) => i32::try_from(*number).is_ok(),
        Value::List(items) => items.iter().all(is_small),
        Value::Dict(pairs) => pairs.iter().all(|(_, item)| is_small(item)),
        _ => true,
    }
}

fuzz_target!(|input: (bool, &[u8])| {
    // The inside of a document is found sooner than the whole.
    let (is_inside, bytes) = input;
    let parts: [&[u8]; 3] = match is_inside {
        true => [b"<params><param><value>", bytes, b"</value></param></params>"],
        false => [b"", bytes, b""],
    };
    let document = parts.concat();
    let (value, peak) = counted::measured(|| decode(&document));
    assert!(peak <= (192 * document.len()).max(16 << 20), "{peak} bytes for {}", document.len());
    let Ok(value) = value else { return };
    let written = encode(&value);
    assert_eq!(written.is_ok(), is_small(&value), "{value:?}");
    if let Ok(written) = written {
        let again = decode(&written).expect("what was written can be read");
        // By their bytes: a NaN is not equal to itself.
        assert_eq!(pickle::encode(&again).expect("plain"), pickle::encode(&value).expect("plain"));
    }
});
