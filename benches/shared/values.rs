//! Single values, beside CPython's `multiprocessing.sharedctypes` in a running interpreter.

use std::hint::black_box;
use std::time::Instant;

use ossature::multiprocessing::{Arena, RawValue, Value};
use ossature_benches::bench::Bench;
use ossature_benches::python::Pythons;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rounds::{Rounds, median};

const SETUP: &[&str] = &[
    "from multiprocessing import sharedctypes",
    "v = sharedctypes.Value('i', 0)",
    "r = sharedctypes.RawValue('i', 0)",
];

/// Runs the rows.
pub fn rows(bench: &Bench) {
    let python = &Pythons::start(SETUP);
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
            let mut value = black_box(&value).lock().expect("the lock is recoverable");
            *value = value.wrapping_add(1);
        }
    });
    let five_thousand = "a = [sharedctypes.Value('i', 0) for _ in range(5000)]; del a";
    row_of(bench, python, 3, "5000-values", five_thousand, 0.06, || {
        let arena = Arena::new().expect("shared memory");
        move || drop(black_box((0..5000).map(|_| arena.value(0_i32).expect("room")).collect::<Vec<_>>()))
    });
    made(bench);
    limited(bench, "value-of-many", 100.0, || Value::many(MANY, |_| 0_i32).expect("shared memory"));
    limited(bench, "value-of-arena", 300.0, || {
        let arena = Arena::new().expect("shared memory");
        (0..MANY).map(|_| arena.value(0_i32).expect("room")).collect()
    });
}

/// Measures the cost of a value that is made alone, beside a handwritten memory file, likewise reserved, sealed, mapped
/// and written once.
fn made(bench: &Bench) {
    let row = "value-made";
    if !bench.wants(row) {
        return;
    }
    let samples = bench.table(4, |turn| {
        let mut rounds = Rounds::new();
        rounds.add("ours", || drop(black_box(Value::new(0_i32).expect("shared memory"))));
        rounds.add("memfd", by_hand);
        turn.run(100, rounds);
    });
    bench.compare(row, &samples, "ours", "memfd", Bar::AtMost(1.3));
}

fn by_hand() {
    // SAFETY: memfd_create(2) takes a string that ends with a null.
    let memory = unsafe { libc::memfd_create(c"by-hand".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    // SAFETY: fallocate(2) takes numbers.
    assert_eq!(unsafe { libc::fallocate(memory, 0, 0, 256) }, 0);
    // SAFETY: with this command fcntl(2) takes numbers.
    unsafe { libc::fcntl(memory, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL) };
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: mmap(2) of a place that the kernel chooses.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), 256, access, libc::MAP_SHARED, memory, 0) };
    assert_ne!(place, libc::MAP_FAILED);
    // SAFETY: the mapping begins with a whole page, which is not used elsewhere.
    unsafe { black_box(place.cast::<u64>()).write(1) };
    // SAFETY: the mapping is not used any more.
    unsafe { libc::munmap(place, 256) };
    // SAFETY: the descriptor is not used any more.
    unsafe { libc::close(memory) };
}

/// The number of values in the rows that make many.
const MANY: usize = 100_000;

/// Measures the cost of each of many values. No rival places several in one memory, so the limit is a number of
/// nanoseconds.
fn limited(bench: &Bench, row: &str, limit: f64, make: impl Fn() -> Vec<Value<i32>>) {
    if !bench.wants(row) {
        return;
    }
    let each = (0..bench.scaled(40)).map(|_| {
        let start = Instant::now();
        let values = make();
        let made = start.elapsed();
        drop(black_box(values));
        made.as_nanos() as f64 / MANY as f64
    });
    let (row, ours, rival, theirs) = (row.to_owned(), median(each), "limit".to_owned(), Some(limit));
    bench.print(Line { row, unit: Unit::Nanoseconds, ours, rival, theirs, ratio: None, bar: Bar::AtMost(1.0) });
}

fn row<F: FnMut()>(bench: &Bench, python: &Pythons, name: &str, statement: &str, bar: f64, ours: impl Fn() -> F) {
    row_of(bench, python, 100, name, statement, bar, ours);
}

/// Measures the row over `rounds` rounds.
fn row_of<F: FnMut()>(
    bench: &Bench,
    python: &Pythons,
    count: usize,
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
        python.add(&mut rounds, statement);
        turn.run(count, rounds);
    });
    python.compare(bench, name, &samples, "ours", Bar::AtMost(bar));
}
