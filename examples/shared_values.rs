//! A child process changes numbers, text and structs that its parent made: the example of Python's `sharedctypes`.
//!
//! `cargo run --example shared_values`; with `--self-test` it checks what it would print.

#[path = "family/front.rs"]
mod front;

use ossature::multiprocessing::sharedctypes::{Synchronized, synchronized_with};
use ossature::multiprocessing::{Array, RawArray, RawValue, Value};
use ossature::sys::process::fork;
use ossature::sys::shareable;
use std::process::ExitCode;

const USAGE: &str = "\
usage: shared_values [--self-test]
A child process changes numbers, text and structs that its parent made.
  --self-test  checks the values";

shareable! {
    #[derive(PartialEq, Debug)]
    plain struct Point { x: f64, y: f64 }
}

/// The text shares the lock of the points: whoever holds one holds both.
type Text<'a> = Synchronized<RawArray<u8>, &'a Array<Point>>;

/// Runs in the child. Each line takes a lock once, except for the third number, which has none.
fn modify(n: &Value<i32>, x: &RawValue<f64>, text: &Text<'_>, points: &Array<Point>) -> ossature::Result<()> {
    n.with(|n| *n *= *n)?;
    x.set(x.get() * x.get());
    let upper = text.slice(..)?.to_ascii_uppercase();
    text.set_slice(.., &upper)?;
    for point in points.lock()?.iter_mut() {
        *point = Point { x: point.x * point.x, y: point.y * point.y };
    }
    Ok(())
}

fn program() -> Result<(), Box<dyn std::error::Error>> {
    let n = Value::new(7)?;
    let x = RawValue::new(1.0 / 3.0)?;
    let points = [(1.875, -6.25), (-5.75, 2.0), (2.375, 9.5)].map(|(x, y)| Point { x, y });
    let points = Array::from_slice(&points)?;
    let text: Text<'_> = synchronized_with(RawArray::from_slice(b"hello world")?, &points);

    let mut child = fork(|| match modify(&n, &x, &text, &points) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    })?;
    if !child.wait()?.success() {
        return Err("the child failed".into());
    }

    let squares = [(3.515625, 39.0625), (33.0625, 4.0), (5.640625, 90.25)].map(|(x, y)| Point { x, y });
    if std::env::args().any(|argument| argument == "--self-test") {
        assert_eq!((n.get()?, text.raw().to_vec().as_slice()), (49, b"HELLO WORLD".as_slice()));
        assert!((x.get() - 1.0 / 9.0).abs() < 1e-12);
        assert_eq!(points.to_vec()?, squares);
    }
    println!("{}\n{}\n{}", n.get()?, x.get(), String::from_utf8(text.slice(..)?)?);
    for Point { x, y } in points.to_vec()? {
        println!("({x}, {y})");
    }
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
