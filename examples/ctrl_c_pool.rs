//! A search by a pool that Ctrl-C ends: the wait fails, the workers end, and the program prints how far the search
//! came.

#[path = "family/guided.rs"]
mod guided;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use guided::{Outcome, Running, expect, run, unknown};
use ossature::ErrorKind;
use ossature::multiprocessing::{Pool, Tasks, freeze_support, tasks};
use ossature::sys::signal::Signal;
use ossature::thread;

const USAGE: &str = "\
usage: ctrl_c_pool
Counts the primes below ever greater numbers with three workers, until Ctrl-C.
  --self-test  interrupts the program, and checks that it ends within a second and leaves no worker";

/// The number of workers.
const WORKERS: usize = 3;

/// The number of numbers in one task.
const STEP: u64 = 20_000;

/// The number of primes in one task that begins at `start`.
fn primes(start: u64) -> usize {
    let is_prime = |number: u64| number > 1 && (2..).take_while(|d| d * d <= number).all(|d| number % d != 0);
    (start..start + STEP).filter(|number| is_prime(*number)).count()
}

static TASKS: Tasks = tasks![primes];

fn program(arguments: &[&str]) -> Outcome {
    if !arguments.is_empty() {
        return unknown(arguments);
    }
    thread::interrupt_on(Signal::INT)?; // before the pool, whose processes then leave Ctrl-C to this one
    let pool = Pool::new(WORKERS)?;
    let (mut count, mut below, mut are_listed) = (0, 0, false);
    for found in pool.imap(primes, (0..).step_by(STEP as usize))? {
        match found {
            Ok(found) => (count, below) = (count + found, below + STEP),
            Err(error) if error.kind() == ErrorKind::Interrupted => break, // the workers end
            Err(error) => return Err(error.into()),
        }
        if below >= 3 * STEP && !are_listed {
            // A worker that has not started yet has no number: then the next turn lists all of them.
            let workers: Vec<_> = pool.stats()?.into_iter().filter_map(|worker| worker.pid).collect();
            are_listed = workers.len() == WORKERS;
            let listed = workers.iter().filter(|_| are_listed);
            listed.for_each(|pid| println!("a worker is process {}", pid.as_raw_nonzero()));
        }
        println!("{count} primes below {below}");
    }
    drop(pool); // waits for the workers' ends
    println!("stopped: {count} primes below {below}");
    Ok(())
}

fn self_test() -> Outcome {
    let mut running = Running::start(&[])?;
    running.until("a worker is process", WORKERS)?;
    let begun = Instant::now();
    running.signal_group(Signal::INT)?;
    let text = running.finish()?;
    let took = begun.elapsed();
    expect(took < Duration::from_secs(1), &format!("an end within a second ({took:?})"), &text)?;
    let last = text.lines().last().unwrap_or_default();
    expect(last.starts_with("stopped: ") && text.contains("\n6057 primes below 60000\n"), "the count", &text)?;
    let mut workers = text.lines().filter_map(|line| line.strip_prefix("a worker is process "));
    expect(workers.clone().count() == WORKERS, "three workers", &text)?;
    expect(workers.all(|pid| !Path::new("/proc").join(pid).exists()), "no worker is left", &text)?;
    println!("ok");
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(TASKS);
    run(USAGE, program, self_test)
}
