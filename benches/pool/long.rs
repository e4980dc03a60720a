//! 200 tasks of about a millisecond, beside rayon: the share of two cores that is lost.

use std::time::{Duration, Instant};

use ossature_benches::bench::Bench;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rounds::{self, Rounds};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use crate::{WORKERS, pool};

/// The number of tasks.
const TASKS: u64 = 200;

/// Computes for about a millisecond.
pub fn one(seed: u64) -> u64 {
    let mut number = seed | 1;
    for _ in 0..600_000 {
        number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    number
}

fn timed(map: impl FnOnce() -> usize) -> f64 {
    let begun = Instant::now();
    assert_eq!(map() as u64, TASKS);
    begun.elapsed().as_nanos() as f64
}

pub fn beside_rayon(bench: &Bench) {
    if !bench.wants("long-rayon") {
        return;
    }
    let pool = pool();
    let threads = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build().expect("threads start");
    let one_each = pool.chunksize(1).expect("more than none");
    let mut rounds = Rounds::new();
    rounds.add_burst("alone", |_| timed(|| (0..TASKS / 10).map(one).count() * 10) * 10.0);
    rounds.add_burst("ours", |_| timed(|| one_each.map(one, 0..TASKS).expect("maps").len()));
    rounds.add_burst("rayon", |_| {
        timed(|| {
            threads
                .install(|| {
                    (0..TASKS as usize).into_par_iter().with_max_len(1).map(|n| one(n as u64)).collect::<Vec<u64>>()
                })
                .len()
        })
    });
    let samples = rounds.run(bench.scaled(20), Duration::from_millis(1));
    let lost = |name| {
        let ideal = samples.of("alone").iter().map(|alone| alone / WORKERS as f64);
        rounds::median(ideal.zip(samples.of(name)).map(|(ideal, took)| 1.0 - ideal / took))
    };
    let (row, rival) = ("long-lost".to_owned(), "rayon".to_owned());
    let (ours, theirs) = (lost("ours"), Some(lost("rayon")));
    bench.print(Line { row, unit: Unit::Share, ours, rival, theirs, ratio: None, bar: Bar::Plus(0.02) });
}
