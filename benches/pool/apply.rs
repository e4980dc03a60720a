//! One call to a worker that sleeps, and its value back.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ossature::multiprocessing::Process;
use ossature_benches::bench::Bench;
use ossature_benches::report::Bar;
use ossature_benches::rivals::{futex_wait, futex_wake};
use ossature_benches::rounds::Rounds;
use ossature_sys::shareable;
use ossature_sys::shm::Shm;

use crate::tiny::square;
use crate::{pool, pythons};

shareable! {
    /// A turn each way.
    struct Turns {
        there: AtomicU32,
        back: AtomicU32,
    }
}

/// What ends the other.
const END: u32 = u32::MAX;

/// A process by hand, which sleeps on one word and answers on another.
fn other(turns: &Turns) {
    let mut seen = 0;
    loop {
        while turns.there.load(SeqCst) == seen {
            futex_wait(&turns.there, seen);
        }
        seen = turns.there.load(SeqCst);
        turns.back.store(seen, SeqCst);
        futex_wake(&turns.back, 1);
        if seen == END {
            return;
        }
    }
}

fn turn(turns: &Turns, number: u32) {
    let before = turns.back.load(SeqCst);
    turns.there.store(number, SeqCst);
    futex_wake(&turns.there, 1);
    while turns.back.load(SeqCst) != number {
        futex_wait(&turns.back, before);
    }
}

/// The time between calls, in which both sides fall asleep; it is not part of the figure.
const REST: Duration = Duration::from_micros(200);

/// Nanoseconds of one call that finds the other asleep.
fn rested(repeats: u64, mut call: impl FnMut()) -> f64 {
    let mut spent = Duration::ZERO;
    for _ in 0..repeats {
        std::thread::sleep(REST);
        let begun = Instant::now();
        call();
        spent += begun.elapsed();
    }
    spent.as_nanos() as f64 / repeats as f64
}

pub fn beside_a_futex(bench: &Bench) {
    if !bench.wants("apply-futex") {
        return;
    }
    let turns = Shm::place(Turns::init(AtomicU32::new(0), AtomicU32::new(0))).expect("shared memory");
    let child = Process::fork(|| other(&turns)).expect("forks");
    let pool = pool();
    let mut number = 0;
    let mut rounds = Rounds::new();
    rounds.add_burst("ours", |repeats| rested(repeats, || assert_eq!(pool.apply(square, (3,)).expect("is called"), 9)));
    rounds.add_burst("futex", |repeats| {
        rested(repeats, || {
            number += 1;
            turn(&turns, number);
        })
    });
    let samples = rounds.run(bench.scaled(500), Duration::from_micros(300));
    turn(&turns, END);
    child.join().expect("is joined");
    bench.compare("apply-futex", &samples, "ours", "futex", Bar::AtMost(1.6));
}

pub fn beside_cpython(bench: &Bench) {
    if !bench.wants("apply-cpython") {
        return;
    }
    let pool = pool();
    let mut pythons = pythons();
    let names: Vec<_> = pythons.iter().map(|(name, _)| *name).collect();
    let mut rounds = Rounds::new();
    rounds.add("ours", || assert_eq!(pool.apply(square, (3,)).expect("is called"), 9));
    for (name, python) in &mut pythons {
        rounds.add_burst(name, |repeats| python.time("pool.apply(square, (3,))", repeats));
    }
    let samples = rounds.run(bench.scaled(200), Duration::from_millis(3));
    for name in names {
        bench.compare("apply-cpython", &samples, "ours", name, Bar::AtMost(0.25));
    }
}
