//! The memory of an empty queue.

use std::os::unix::fs::MetadataExt;

use ossature::multiprocessing::Queue;
use ossature_benches::bench::Bench;
use ossature_benches::report::{Bar, Line, Unit};

use crate::typed::Value;

/// The size in KiB of the memory files that this process has open.
fn memory_files() -> f64 {
    let places = std::fs::read_dir("/proc/self/fd").expect("a list of descriptors").flatten();
    let is_memory = |place: &std::path::Path| {
        std::fs::read_link(place).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:"))
    };
    let blocks: u64 = places
        .map(|place| place.path())
        .filter(|place| is_memory(place))
        .filter_map(|place| std::fs::metadata(place).ok())
        .map(|file| file.blocks())
        .sum();
    blocks as f64 / 2.0
}

pub fn rows(bench: &Bench) {
    let row = "memory-of-a-queue";
    if !bench.wants(row) {
        return;
    }
    let before = memory_files();
    let queue = Queue::<Value>::new().expect("a queue");
    queue.put([0.0; 8]).expect("room");
    queue.get().expect("a value");
    let ours = memory_files() - before;
    // CPython's Queue is a pipe, whose 16 pages come as they are needed, and two semaphores.
    let (row, rival, theirs) = (row.to_owned(), "limit".to_owned(), Some(128.0));
    bench.print(Line { row, unit: Unit::Kibibytes, ours, rival, theirs, ratio: None, bar: Bar::AtMost(1.0) });
}
