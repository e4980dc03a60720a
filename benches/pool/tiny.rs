//! Maps of tasks of `x * x`: nanoseconds for each task.

use std::time::{Duration, Instant};

use ossature_benches::bench::Bench;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::floors::Hands;
use crate::{WORKERS, pool, pythons};

/// The number of tasks of a map.
const TASKS: u64 = 100_000;

pub fn square(number: u64) -> u64 {
    number * number
}

/// The handwritten maps, if their rows are wanted. A process with threads cannot fork, so these maps run first.
pub fn hands(bench: &Bench) -> Option<Hands> {
    ["map", "map-plain", "chunksize-1"].iter().any(|row| bench.wants(row)).then(|| Hands::start(TASKS as usize))
}

/// The nanoseconds per task over `repeats` maps.
fn timed(tasks: u64, repeats: u64, mut map: impl FnMut()) -> f64 {
    let begun = Instant::now();
    (0..repeats).for_each(|_| map());
    begun.elapsed().as_nanos() as f64 / (repeats * tasks) as f64
}

/// Reduces the number of maps in a burst, because each map takes milliseconds.
fn few(repeats: u64) -> u64 {
    repeats.clamp(1, 3)
}

/// Measures a map of 100,000 tasks with each contender's default chunks. `plain` copies items and values as they are;
/// `ours` serialises them.
pub fn default_chunks(bench: &Bench, hands: Option<&Hands>) {
    let Some(hands) = hands.filter(|_| bench.wants("map") || bench.wants("map-plain")) else { return };
    let mut pythons = pythons();
    let names: Vec<_> = pythons.iter().map(|(name, _)| *name).collect();
    let pool = pool();
    let items: Vec<u64> = (0..TASKS).collect();
    let threads = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build().expect("threads start");
    let mut rounds = Rounds::new();
    rounds.add_burst("ours", |repeats| {
        timed(TASKS, few(repeats), || assert_eq!(pool.map(square, 0..TASKS).expect("maps").len() as u64, TASKS))
    });
    rounds.add_burst("plain", |repeats| {
        timed(TASKS, few(repeats), || {
            let squares = pool.map_plain(square, &items).expect("maps");
            assert_eq!(std::hint::black_box(squares).len() as u64, TASKS)
        })
    });
    rounds.add_burst("rayon", |repeats| {
        timed(TASKS, few(repeats) * 10, || {
            let all: Vec<u64> = threads.install(|| (0..TASKS).into_par_iter().map(square).collect());
            assert_eq!(std::hint::black_box(all).len() as u64, TASKS);
        })
    });
    rounds.add_burst("by-hand", |repeats| {
        timed(TASKS, few(repeats), || {
            let squares = hands.map(&items, items.len() / (4 * WORKERS));
            assert_eq!(std::hint::black_box(squares).len() as u64, TASKS)
        })
    });
    rounds.add_burst("written", |repeats| {
        timed(TASKS, few(repeats), || {
            let squares = hands.map_written(&items, items.len() / (4 * WORKERS));
            assert_eq!(std::hint::black_box(squares).len() as u64, TASKS)
        })
    });
    for (name, python) in &mut pythons {
        rounds.add_burst(name, |repeats| {
            python.time(&format!("pool.map(square, range({TASKS}))"), few(repeats)) / TASKS as f64
        });
    }
    let samples = rounds.run(bench.scaled(80), Duration::from_millis(1));
    for name in names {
        bench.compare("map-cpython", &samples, "ours", name, Bar::AtMost(0.11));
        bench.compare("map-plain-cpython", &samples, "plain", name, Bar::AtMost(0.03));
    }
    let bar = Bar::above_floor(16.0, samples.ratio("written", "rayon"));
    bench.compare("map-rayon", &samples, "ours", "rayon", bar);
    let plain_bar = Bar::above_floor(4.0, samples.ratio("by-hand", "rayon"));
    bench.compare("map-plain-rayon", &samples, "plain", "rayon", plain_bar);
    // Each argument and each value is written and read by postcard, and a word for each call says which one runs. The
    // processes sleep between maps.
    bench.compare("map-floor", &samples, "written", "rayon", bar);
    // The same with copies in place of postcard.
    bench.compare("map-plain-floor", &samples, "by-hand", "rayon", plain_bar);
}

/// Measures a map with one task to a chunk.
pub fn one_to_a_chunk(bench: &Bench, near: bool, hands: Option<&Hands>) {
    let Some(hands) = hands.filter(|_| bench.wants("chunksize-1")) else { return };
    let tasks = TASKS / 10;
    let mut pythons = pythons();
    let names: Vec<_> = pythons.iter().map(|(name, _)| *name).collect();
    let pool = pool();
    let one = pool.chunksize(1).expect("more than none");
    let items: Vec<u64> = (0..tasks).collect();
    let mut rounds = Rounds::new();
    rounds.add_burst("map", |_| {
        timed(tasks, 1, || assert_eq!(one.map(square, 0..tasks).expect("maps").len() as u64, tasks))
    });
    rounds.add_burst("imap", |_| {
        timed(tasks, 1, || assert_eq!(one.imap(square, 0..tasks).expect("maps").count() as u64, tasks))
    });
    rounds.add_burst("by-hand", |_| {
        timed(tasks, 1, || assert_eq!(std::hint::black_box(hands.map(&items, 1)).len() as u64, tasks))
    });
    for (name, python) in &mut pythons {
        rounds.add_burst(name, |_| python.time(&format!("pool.map(square, range({tasks}), 1)"), 1) / tasks as f64);
    }
    let samples = rounds.run(bench.scaled(40), Duration::from_millis(1));
    for name in names {
        let bar = Bar::AtMost(if near { 0.006 } else { 0.01 });
        bench.compare("chunksize-1-map", &samples, "map", name, bar);
        bench.compare("chunksize-1-imap", &samples, "imap", name, bar);
        // A claim and a value for each chunk, without serialisation, by two processes that are awake for the whole map.
        bench.compare("chunksize-1-floor", &samples, "by-hand", name, bar);
    }
}
