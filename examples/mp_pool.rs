//! The pool exercise of Python's manual: calls in every form, errors, limits, and the end of a pool.
//!
//! `cargo run --example mp_pool [-- --workers N]`. With `--self-test` it checks what it prints.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::process::ExitCode;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::{Pool, Tasks, current_process, freeze_support, tasks};
use own::{Outcome, option, self_test};

const USAGE: &str = "\
usage: mp_pool [--workers N] [--self-test]
A pool of processes computes, fails, and ends.
  --workers N  how many processes (default: 4)
  --self-test  checks what it prints";

static TASKS: Tasks = tasks![calculate_mul, calculate_plus, pow3, reciprocal, sleep, name];

fn calculate_mul(a: i64, b: i64) -> String {
    format!("{a} * {b} = {}", a * b)
}

fn calculate_plus(a: i64, b: i64) -> String {
    format!("{a} + {b} = {}", a + b)
}

fn pow3(x: u64) -> u64 {
    x.pow(3)
}

fn reciprocal(x: i64) -> f64 {
    assert!(x != 5, "division by zero"); // as 1 / (x - 5) does in Python
    1.0 / (x - 5) as f64
}

fn sleep(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

fn name() -> String {
    current_process().name()
}

fn program() -> Outcome {
    if let Some(text) = self_test(&[])? {
        let expected = [
            "apply_async: 0 * 7 = 0, 1 * 8 = 8, 2 * 9 = 18",
            "starmap: 0 + 8 = 8, 1 + 8 = 9",
            "imap: 0 1 8 27 64 125 216 343 512 729",
            "imap_unordered: 0 1 8 27 64 125 216 343 512 729",
            "a failed call: division by zero",
            "imap goes on behind an error: 5 values, 1 error",
            "not within 20 ms",
            "a closed pool: ShutDown",
        ];
        for line in expected {
            assert!(text.contains(line), "{line:?} is missing in\n{text}");
        }
        return Ok(());
    }
    let workers = option("workers").map_or(Ok(4), |number| number.parse())?;
    let pool = Pool::new(workers)?;
    println!("{workers} workers; one is {}", pool.apply(name, ())?);

    let results: Vec<_> = (0..3).map(|i| pool.apply_async(calculate_mul, (i, 7 + i))).collect::<Result<_, _>>()?;
    let lines: Vec<String> = results.into_iter().map(|result| result.get()).collect::<Result<_, _>>()?;
    println!("apply_async: {}", lines.join(", "));
    println!("starmap: {}", pool.starmap(calculate_plus, (0..2).map(|i| (i, 8)))?.join(", "));

    let texts = |cubes: Vec<u64>| cubes.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
    println!("imap: {}", texts(pool.imap(pow3, 0..10)?.collect::<Result<_, _>>()?));
    let mut cubes: Vec<u64> = pool.imap_unordered(pow3, 0..10)?.collect::<Result<_, _>>()?;
    cubes.sort_unstable();
    println!("imap_unordered: {}", texts(cubes));

    // Errors: the text of the panic comes back, and the others are not affected.
    match pool.apply(reciprocal, (5,)) {
        Err(error) if error.kind() == ErrorKind::Remote => {
            println!("a failed call: {}", error.to_string().lines().nth(1).unwrap_or_default());
        }
        other => return Err(format!("expected a panic, got {other:?}").into()),
    }
    let (good, bad): (Vec<_>, Vec<_>) = pool.imap(reciprocal, 0..6)?.partition(Result::is_ok);
    println!("imap goes on behind an error: {} values, {} error", good.len(), bad.len());

    // Limits: running out of time is not an error, and the result can be asked for again.
    let mut slow = pool.apply_async(sleep, (60,))?;
    if slow.get_timeout(Duration::from_millis(20))?.is_none() {
        println!("not within 20 ms");
    }
    slow.cancel()?;

    pool.close()?;
    if let Err(error) = pool.apply(name, ()) {
        println!("a closed pool: {:?}", error.kind());
    }
    pool.join()?;
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(TASKS); // first in main
    front::run(USAGE, program)
}
