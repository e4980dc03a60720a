//! The memory of an idle pool and of a worker: the private pages of its processes, and the pages of its memory files.

use std::fs;

use ossature_benches::bench::Bench;
use ossature_benches::report::{Bar, Line, Unit};

use crate::{WORKERS, pool};

/// The children of a process.
fn children(process: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// The private memory of a process in KiB: neither shared memory nor the program's text.
fn own(process: u32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let figure = |line: &str| line.split_whitespace().nth(1).and_then(|figure| figure.parse::<f64>().ok());
    rollup.lines().filter(|line| line.starts_with("Private_Dirty")).filter_map(figure).sum()
}

/// The size of the pool's memory files in KiB.
fn shared() -> f64 {
    use std::os::unix::fs::MetadataExt;
    let places = fs::read_dir("/proc/self/fd").expect("a list of descriptors").flatten().map(|place| place.path());
    let memory =
        places.filter(|place| fs::read_link(place).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:")));
    memory.filter_map(|place| fs::metadata(place).ok()).map(|file| file.blocks() as f64 / 2.0).sum()
}

pub fn rows(bench: &Bench) {
    if !bench.wants("memory") {
        return;
    }
    let before = shared();
    let pool = pool();
    assert_eq!(pool.apply(crate::tiny::square, (3,)).expect("is called"), 9);
    let supervisors = children(std::process::id());
    let workers: Vec<u32> = supervisors.iter().copied().flat_map(children).collect();
    assert_eq!(workers.len(), WORKERS);
    let worker = workers.iter().copied().map(own).sum::<f64>() / WORKERS as f64;
    let all = supervisors.iter().chain(&workers).copied().map(own).sum::<f64>() + shared() - before;
    for (row, ours, limit) in [("memory-of-a-worker", worker, 1024.0), ("memory-of-an-idle-pool", all, 4096.0)] {
        let (row, rival, theirs) = (row.to_owned(), "limit".to_owned(), Some(limit));
        bench.print(Line { row, unit: Unit::Kibibytes, ours, rival, theirs, ratio: None, bar: Bar::AtMost(1.0) });
    }
}
