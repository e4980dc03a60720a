//! Single values: CPython's `multiprocessing.sharedctypes` does the same in an interpreter beside us.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::Instant;

use ossature::multiprocessing::{RawValue, Value};
use ossature_benches::bench::Bench;
use ossature_benches::python::Python;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rounds::{Rounds, median};

const SETUP: &[&str] = &[
    "from multiprocessing import sharedctypes",
    "v = sharedctypes.Value('i', 0)",
    "r = sharedctypes.RawValue('i', 0)",
];

/// The rows.
pub fn rows(bench: &Bench) {
    let python = Python::start(SETUP).map(RefCell::new);
    let python = python.as_ref();
    row(bench, python, "raw-value-get", "r.value", 0.03, || {
        let raw = RawValue::new(5_i32).expect("shared memory");
        move || {
            black_box(black_box(&raw).get());
        }
    });
    row(bench, python, "value-get", "v.value", 0.2, || {
        let value = Value::new(5_i32).expect("shared memory");
        move || {
            black_box(black_box(&value).get().expect("nobody died"));
        }
    });
    row(bench, python, "value-add", "with v.get_lock(): v.value += 1", 0.06, || {
        let value = Value::new(0_i32).expect("shared memory");
        move || {
            let mut value = black_box(&value).lock().expect("nobody gave it up");
            *value = value.wrapping_add(1);
        }
    });
    many(bench);
}

/// How many values are made at once.
const MANY: usize = 100_000;

/// What each of many values costs, made together: no rival makes them so, and the limit is a number.
fn many(bench: &Bench) {
    let row = "value-of-many";
    if !bench.wants(row) {
        return;
    }
    let each = (0..bench.scaled(40)).map(|_| {
        let start = Instant::now();
        let values = Value::many(MANY, |_| 0_i32).expect("shared memory");
        let made = start.elapsed();
        drop(black_box(values));
        made.as_nanos() as f64 / MANY as f64
    });
    let (row, ours, rival, theirs) = (row.to_owned(), median(each), "limit".to_owned(), Some(100.0));
    bench.print(Line { row, unit: Unit::Nanoseconds, ours, rival, theirs, ratio: None, bar: Bar::AtMost(1.0) });
}

fn row<F: FnMut()>(
    bench: &Bench,
    python: Option<&RefCell<Python>>,
    name: &str,
    statement: &str,
    bar: f64,
    ours: impl Fn() -> F,
) {
    if !bench.wants(name) {
        return;
    }
    let samples = bench.table(4, |turn| {
        let mut rounds = Rounds::new();
        rounds.add("ours", ours());
        if let Some(python) = python {
            rounds.add_burst("cpython", |repeats| python.borrow_mut().time(statement, repeats));
        }
        turn.run(100, rounds);
    });
    if python.is_some() {
        return bench.compare(name, &samples, "ours", "cpython", Bar::AtMost(bar));
    }
    let (ours, rival) = (samples.median("ours"), "cpython".to_owned());
    bench.print(Line {
        row: name.to_owned(),
        unit: Unit::Nanoseconds,
        ours,
        rival,
        theirs: None,
        ratio: None,
        bar: Bar::AtMost(bar),
    });
}
