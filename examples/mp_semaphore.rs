//! A semaphore of two and five processes that want it: never more than two hold it at a time.
//!
//! `cargo run --example mp_semaphore [-- --second MILLISECONDS]`; the option says how long a second lasts. With
//! `--self-test` it checks what it prints.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use ossature::multiprocessing::{Process, Semaphore, current_process};
use own::{Outcome, second, self_test};

const USAGE: &str = "\
usage: mp_semaphore [--second MILLISECONDS] [--self-test]
Five processes want a semaphore of two.
  --second MILLISECONDS  how long a second lasts (default: 1000)
  --self-test            checks what is printed";

fn worker(semaphore: &Semaphore, pause: Duration) -> Outcome {
    semaphore.acquire()?;
    println!("{}acquire", current_process().name());
    sleep(pause);
    println!("{}release", current_process().name());
    semaphore.release()?;
    Ok(())
}

/// Checks that each of five named processes acquires once and releases later, and that never more than two hold the
/// semaphore.
fn check(text: &str) {
    let (mut inside, mut done) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(name) = line.strip_suffix("acquire") {
            assert!(inside.insert(name) && !done.contains(name), "{name} acquired twice");
            assert!(inside.len() <= 2, "{inside:?} are inside at once");
        } else {
            let name = line.strip_suffix("release").expect("nothing else is printed");
            assert!(inside.remove(name) && done.insert(name), "{name} released without an acquire");
        }
    }
    assert_eq!(done.into_iter().collect::<Vec<_>>(), ["Process-1", "Process-2", "Process-3", "Process-4", "Process-5"]);
}

fn program() -> Outcome {
    if let Some(text) = self_test(&["--second", "20"])? {
        check(&text);
        return Ok(());
    }
    let (semaphore, second) = (Semaphore::new(2)?, second()?);
    let start = |i: u32| Process::builder().fork(|| worker(&semaphore, second * (i * 2)));
    let processes = (0..5).map(start).collect::<Result<Vec<_>, _>>()?;
    for process in processes {
        process.join()?;
        if process.exit_code() != Some(0) {
            return Err(format!("{} failed", process.name()).into());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
