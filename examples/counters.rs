//! Four processes count into shared memory in three ways; two of the ways lose nothing.

#[path = "family/guided.rs"]
mod guided;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use guided::{Outcome, Running, expect, run, unknown};
use ossature::multiprocessing::transfer::Memory;
use ossature::multiprocessing::{Array, Barrier, Process, RawValue, Tasks, freeze_support, tasks};
use ossature::sys::shm::Shm;

const USAGE: &str = "\
usage: counters
Counts to 80000 with four processes: in an array with a lock, in an atomic number, and in a number without protection.
  --self-test  checks the first two";

const WORKERS: u64 = 4;
const TURNS: u64 = 20_000;

/// `odd` and `even` change together, so they share a lock. `all` is one number, so an atomic is enough.
fn count(
    start: Barrier,
    odd_even: Array<u64>,
    Memory(all): Memory<AtomicU64>,
    unprotected: RawValue<u64>,
) -> ossature::Result<()> {
    start.wait()?; // so that all of them count at the same time
    for turn in 0..TURNS {
        odd_even.with(|both| both[turn as usize % 2] += 1)?;
        all.fetch_add(1, Relaxed);
        unprotected.set(unprotected.get() + 1); // two steps: another process may come between them
    }
    Ok(())
}

static TASKS: Tasks = tasks![count];

fn program(arguments: &[&str]) -> Outcome {
    if !arguments.is_empty() {
        return unknown(arguments);
    }
    let odd_even = Array::from_slice(&[0_u64, 0])?;
    let all = Shm::place(AtomicU64::new(0))?;
    let unprotected = RawValue::new(0_u64)?;
    let barrier = Barrier::new(WORKERS as u32)?;
    let start = |_| {
        let arguments =
            (barrier.try_clone()?, odd_even.try_clone()?, Memory(all.try_clone()?), unprotected.try_clone()?);
        Process::builder().daemon(true).start(count, arguments)
    };
    for worker in (0..WORKERS).map(start).collect::<ossature::Result<Vec<_>>>()? {
        let exit = worker.join()?;
        if !exit.success() {
            return Err(format!("{}: {exit}", worker.name()).into());
        }
    }
    println!("lock: {:?}, atomic: {}", odd_even.to_vec()?, all.load(Relaxed));
    println!("unprotected: {} of {}", unprotected.get(), WORKERS * TURNS);
    Ok(())
}

fn self_test() -> Outcome {
    let text = Running::start(&[])?.finish()?;
    let half = WORKERS * TURNS / 2;
    let right = format!("lock: [{half}, {half}], atomic: {}\n", 2 * half);
    expect(text.starts_with(&right), "no turn is lost", &text)?;
    println!("ok");
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(TASKS);
    run(USAGE, program, self_test)
}
