//! Many processes that contend for the same lock for two seconds: how long a process waits, and how many turns it gets.
//! Each figure is the median of five such periods.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::pair::monotonic;
use ossature_benches::parties::Parties;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rivals::PthreadRobust;
use ossature_benches::rounds::median;

use crate::alone::{shared, turn};

/// The largest number of processes.
const MOST: usize = 64;

/// The record of each process.
#[derive(Default)]
#[repr(align(128))]
struct Note {
    turns: AtomicU64,
    longest: AtomicU64,
}

/// The results for one lock.
struct Crowd {
    /// The time divided by the turns of all processes, in nanoseconds.
    each: f64,
    /// The longest time in which one process had no turn, in nanoseconds.
    longest: f64,
    /// The fewest turns of a process, divided by an even share.
    least: f64,
}

/// Measures sixteen and sixty-four processes, distributed over the cores.
pub fn rows(bench: &Bench, cores: &[usize]) {
    // A turn takes at most 1.15 of the time that it takes with pthread: overdue waiters must not cost throughput.
    for (count, bar) in [(16, 1.15), (MOST, 1.15)] {
        let row = format!("crowd-{count}");
        if !bench.wants(&row) {
            continue;
        }
        let notes: &[Note; MOST] = machine::shared(std::array::from_fn(|_| Note::default()));
        let places: Vec<usize> = (0..count).map(|party| cores[party % cores.len()]).collect();
        let (ours, pthread) = (shared(), PthreadRobust::shared());
        let mut parties = Parties::on(&places);
        let jobs = [
            parties.add(|party, span| hammer(&notes[party], span, || turn(&ours))),
            parties.add(|party, span| hammer(&notes[party], span, || pthread.with(|value| *value += 1))),
        ];
        let span = bench.scaled(2000) as u64 * 1_000_000;
        let mut run = |job| {
            let took = parties.run(job, span);
            let turns = notes[..count].iter().map(|note| note.turns.load(Relaxed));
            let all = turns.clone().sum::<u64>() as f64;
            Crowd {
                each: took / all,
                longest: notes[..count].iter().map(|note| note.longest.load(Relaxed)).max().unwrap_or(0) as f64,
                least: turns.min().unwrap_or(0) as f64 * count as f64 / all,
            }
        };
        let stretches: [_; 5] = std::array::from_fn(|_| jobs.map(&mut run));
        let of = |at: usize| {
            let middle = |figure: fn(&Crowd) -> f64| median(stretches.iter().map(|both| figure(&both[at])));
            Crowd {
                each: middle(|crowd| crowd.each),
                longest: middle(|crowd| crowd.longest),
                least: middle(|crowd| crowd.least),
            }
        };
        let (ours, theirs) = (of(0), of(1));
        let line = |name: &str, unit, ours, theirs, bar| {
            let row = format!("{row}{name}");
            bench.print(Line {
                row,
                unit,
                ours,
                rival: "pthread-robust".to_owned(),
                theirs: Some(theirs),
                ratio: None,
                bar,
            });
        };
        line("", Unit::Nanoseconds, ours.each, theirs.each, Bar::AtMost(bar));
        line("-longest-wait", Unit::Nanoseconds, ours.longest, theirs.longest, Bar::AtMost(1.5));
        line("-least-turns", Unit::Share, ours.least, theirs.least, Bar::AtLeast(0.5));
    }
}

/// Takes turns until the time is over, and records the longest interval without a turn.
fn hammer(note: &Note, span: u64, turn: impl Fn()) {
    let mut last = monotonic();
    let stop = last + span;
    let (mut turns, mut longest) = (0, 0);
    while last < stop {
        turn();
        let now = monotonic();
        longest = longest.max(now - last);
        (last, turns) = (now, turns + 1);
    }
    note.turns.store(turns, Relaxed);
    note.longest.store(longest, Relaxed);
}
