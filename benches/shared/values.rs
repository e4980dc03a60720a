//! Single values: CPython's `multiprocessing.sharedctypes` does the same in an interpreter beside us.

use std::cell::RefCell;
use std::hint::black_box;

use ossature::multiprocessing::{RawValue, Value};
use ossature_benches::bench::Bench;
use ossature_benches::python::Python;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rounds::Rounds;

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
