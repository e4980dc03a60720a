//! A pickle of a list of a million small numbers, as CPython writes it, read as plain data.

use std::hint::black_box;

use ossature::multiprocessing::connection::pickle::decode;
use ossature_benches::bench::Bench;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;

const COUNT: usize = 1_000_000;

/// A pickle of protocol 2: batches of a thousand items, each of one byte or two.
fn numbers() -> Vec<u8> {
    let mut bytes = b"\x80\x02]q\0".to_vec();
    for batch in (0..COUNT).collect::<Vec<_>>().chunks(1000) {
        bytes.push(b'(');
        for number in batch {
            match number % 1000 {
                small @ 0..=255 => bytes.extend([b'K', small as u8]),
                word => bytes.extend([b'M', word as u8, (word >> 8) as u8]),
            }
        }
        bytes.push(b'e');
    }
    bytes.push(b'.');
    bytes
}

/// Runs the row of a million numbers.
pub(crate) fn numbers_row(bench: &Bench) {
    let row = "unpickle-million-numbers";
    if !bench.wants(row) {
        return;
    }
    let bytes = numbers();
    let samples = bench.table(2, |turn| {
        let mut rounds = Rounds::new();
        rounds.add("ours", || drop(black_box(decode(black_box(&bytes)).expect("plain data"))));
        rounds.add("serde-pickle", || {
            let options = serde_pickle::DeOptions::new();
            drop(black_box(serde_pickle::value_from_slice(black_box(&bytes), options).expect("plain data")));
        });
        turn.run(20, rounds);
    });
    bench.compare(row, &samples, "ours", "serde-pickle", Bar::AtMost(1.2));
}
