//! A history of a million lines, loaded and searched, beside GNU readline in a process of its own.

use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ossature::readline::History;
use ossature_benches::bench::Bench;
use ossature_benches::report::{Bar, Line, Unit};

use crate::keys::Gnu;

const LINES: usize = 1_000_000;

/// The line for which a search has to go back to the beginning.
const OLDEST: &str = "the oldest line of all";

/// The history file; dropping the value removes it.
struct Sample(PathBuf);

impl Sample {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("ossature-bench-history-{}", std::process::id()));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("the file is created"));
        writeln!(file, "{OLDEST}").expect("room");
        for n in 1..LINES {
            writeln!(file, "git commit --message 'change number {n}' src/file_{}.rs", n % 977).expect("room");
        }
        file.flush().expect("room");
        Self(path)
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // Nothing is to be done about a file that stays.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The median of `rounds` measurements.
fn median(rounds: usize, mut measure: impl FnMut() -> Option<f64>) -> Option<f64> {
    let mut all = (0..rounds).map(|_| measure()).collect::<Option<Vec<_>>>()?;
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

fn of_gnu(gnu: &Gnu, what: &str, file: &Path, count: u64) -> Option<f64> {
    let said = gnu.command(what, file, count).output().ok()?;
    let nanoseconds: f64 = String::from_utf8_lossy(&said.stdout).trim().parse().ok()?;
    Some(nanoseconds / count as f64)
}

pub fn rows(bench: &Bench) {
    if !bench.wants("history-load") && !bench.wants("history-search") {
        return;
    }
    let (sample, gnu) = (Sample::new(), Gnu::build());
    let rounds = bench.scaled(20).max(3);
    let load = || {
        let mut history = History::new();
        let begin = Instant::now();
        let loaded = history.load(&sample.0).expect("the file is readable");
        let took = begin.elapsed().as_nanos() as f64;
        assert_eq!(black_box(loaded), LINES);
        (history, took)
    };
    let history = load().0;
    let search = || {
        let begin = Instant::now();
        assert_eq!(black_box(&history).find(OLDEST, ..), Some((0, 0)));
        Some(begin.elapsed().as_nanos() as f64)
    };
    type Measure<'a> = &'a mut dyn FnMut() -> Option<f64>;
    let ours: [(&str, &str, Measure<'_>); 2] =
        [("history-load", "loads", &mut || Some(load().1)), ("history-search", "history", &mut { search })];
    for (row, what, ours) in ours {
        if !bench.wants(row) {
            continue;
        }
        let ours = median(rounds, ours).expect("it is measured");
        let theirs = gnu.as_ref().and_then(|gnu| median(rounds, || of_gnu(gnu, what, &sample.0, 1)));
        let (row, rival) = (row.to_owned(), "gnu-readline".to_owned());
        bench.print(Line { row, unit: Unit::Nanoseconds, ours, rival, theirs, ratio: None, bar: Bar::AtMost(0.5) });
    }
}
