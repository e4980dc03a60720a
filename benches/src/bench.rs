//! The command line, and the process that counts instructions instead of time.
//!
//! `cargo bench -p ossature-benches --bench <area> -- [--quick] [WORDS...]`: with words, only the rows whose name has
//! one of them; `--quick` runs a tenth of the rounds, to see that everything works.

use std::time::Duration;

use crate::callgrind::{self, Counted};
use crate::machine;
use crate::placement::Placement;
use crate::report::{Bar, Line, Unit};
use crate::rounds::{Rounds, Samples};

/// One bench: its area, and the requested rows.
#[derive(Debug)]
pub struct Bench {
    area: &'static str,
    words: Vec<String>,
    quick: bool,
}

/// Runs `rows` as the bench `area`. In a process that was started to count instructions, only runs the counted
/// operation.
pub fn main(area: &'static str, counted: &[Counted], rows: impl FnOnce(&Bench)) {
    if callgrind::counting(counted) {
        return;
    }
    // Cargo says --bench to everything it runs as one.
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let quick = asked.iter().any(|word| word == "--quick");
    let words = asked.into_iter().filter(|word| !word.starts_with("--")).collect();
    println!("PROCESSOR {}", machine::processor());
    rows(&Bench { area, words, quick });
}

impl Bench {
    /// Whether the row was requested.
    pub fn wants(&self, row: &str) -> bool {
        let row = format!("{}/{row}", self.area);
        self.words.is_empty() || self.words.iter().any(|word| row.contains(word))
    }

    /// Returns `full`, or a tenth of it in a quick run.
    pub fn scaled(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(10) } else { full }
    }

    /// Prints the distance of the two cores, as every two-core bench does first; `None` on a machine with one core.
    pub fn placement(&self) -> Option<Placement> {
        let placement = Placement::measure();
        match placement {
            Some(placement) => println!("{placement}"),
            None => println!("PLACEMENT none"),
        }
        placement
    }

    /// Runs a table over several sets of objects, fresh ones each time: `table` makes a set, adds its contenders and
    /// [runs](Turn::run) them.
    pub fn table(&self, sets: usize, table: impl Fn(Turn<'_>)) -> Samples {
        let mut samples = Samples::default();
        for _ in 0..self.scaled(sets).max(2) {
            table(Turn { bench: self, samples: &mut samples });
        }
        samples
    }

    /// Prints the line of one row and rival, from the rounds of both.
    pub fn compare(&self, row: &str, samples: &Samples, ours: &str, theirs: &'static str, bar: Bar) {
        self.print(Line {
            row: row.to_owned(),
            unit: Unit::Nanoseconds,
            ours: samples.median(ours),
            rival: theirs.to_owned(),
            theirs: Some(samples.median(theirs)),
            ratio: Some(samples.ratio(ours, theirs)),
            bar,
        });
    }

    /// Counts the instructions of two counted operations and prints the line. Without valgrind it prints that nothing
    /// is counted.
    pub fn compare_instructions(&self, row: &str, ours: &str, rival: &str, theirs: &str, bar: Bar) {
        self.judge_instructions(row, ours, rival, callgrind::instructions(theirs), bar);
    }

    /// Counts the instructions of one counted operation and compares them with a fixed number.
    pub fn limit_instructions(&self, row: &str, ours: &str, limit: f64) {
        self.judge_instructions(row, ours, "limit", Some(limit), Bar::AtMost(1.0));
    }

    fn judge_instructions(&self, row: &str, ours: &str, rival: &str, theirs: Option<f64>, bar: Bar) {
        let Some(ours) = callgrind::instructions(ours) else {
            eprintln!("{}/{row}: valgrind is not installed, so no instructions are counted", self.area);
            return;
        };
        let (row, rival) = (row.to_owned(), rival.to_owned());
        self.print(Line { row, unit: Unit::Instructions, ours, rival, theirs, ratio: None, bar });
    }

    /// Prints one line.
    pub fn print(&self, mut line: Line) {
        line.row = format!("{}/{}", self.area, line.row);
        println!("{line}");
    }
}

/// One set's part of a table.
#[derive(Debug)]
pub struct Turn<'a> {
    bench: &'a Bench,
    samples: &'a mut Samples,
}

impl Turn<'_> {
    /// Runs `rounds` rounds of short bursts.
    pub fn run(self, rounds: usize, mut contenders: Rounds<'_>) {
        let ran = contenders.run(self.bench.scaled(rounds), Duration::from_micros(150));
        self.samples.merge(ran);
    }
}
