//! Slices written into shared memory, beside a bare memcpy between two vectors.

use std::hint::black_box;

use ossature::multiprocessing::{Array, RawArray};
use ossature_benches::bench::Bench;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;

/// Runs the rows, one for each number of items of eight bytes.
pub fn rows(bench: &Bench) {
    for (len, raw_bar) in [(100, 1.2), (10_000, 1.2), (1_000_000, 1.2)] {
        row(bench, len, raw_bar);
    }
}

fn row(bench: &Bench, len: usize, raw_bar: f64) {
    let (guard_row, raw_row) = (format!("guard-slice-write-{len}"), format!("raw-slice-write-{len}"));
    if !bench.wants(&guard_row) && !bench.wants(&raw_row) {
        return;
    }
    let items: Vec<u64> = (0..len as u64).collect();
    let items = &items[..];
    let samples = bench.table(4, |turn| {
        let array = Array::<u64>::from_slice(items).expect("shared memory");
        let raw = RawArray::<u64>::from_slice(items).expect("shared memory");
        // What memcpy is given is as aligned, and lies in the same kind of memory.
        let plain = Array::<u64>::from_slice(items).expect("shared memory");
        let mut plain = plain.lock().expect("the lock is recoverable");
        let mut guard = array.lock().expect("the lock is recoverable");
        let mut rounds = Rounds::new();
        rounds.add("guard", || black_box(&mut guard[..]).copy_from_slice(black_box(items)));
        rounds.add("raw", || black_box(&raw).set_slice(.., black_box(items)).expect("as many places"));
        rounds.add("memcpy", || {
            let (from, to) = black_box((items.as_ptr(), plain.as_mut_ptr()));
            // SAFETY: both are `len` items long, ours, and apart.
            unsafe { std::ptr::copy_nonoverlapping(from, to, black_box(len)) };
        });
        turn.run(if len > 100_000 { 20 } else { 150 }, rounds);
    });
    bench.compare(&guard_row, &samples, "guard", "memcpy", Bar::AtMost(1.05));
    bench.compare(&raw_row, &samples, "raw", "memcpy", Bar::AtMost(raw_bar));
}
