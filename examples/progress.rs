//! Workers report their progress over pipes, and the parent keeps one line up to date.

#[path = "family/guided.rs"]
mod guided;

use std::io::{IsTerminal, Write, stdout};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use guided::{Outcome, Running, expect, run, unknown};
use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Connection, wait};
use ossature::multiprocessing::{Process, Tasks, freeze_support, pipe_one_way, tasks};
use ossature::sys::signal::{Signal, raise};

const USAGE: &str = "\
usage: progress [--crash]
Shows how far four workers are, in one line.
  --crash      the second worker is killed halfway
  --self-test  runs both ways and checks the last line";

const STEPS: u32 = 40;

/// The silence after which a worker counts as hung.
const PATIENCE: Duration = Duration::from_secs(5);

fn work(reports: Connection, crash: bool) -> ossature::Result<()> {
    for done in 1..=STEPS {
        std::thread::sleep(Duration::from_millis(5)); // the work
        if crash && done > STEPS / 2 {
            raise(Signal::KILL)?;
        }
        reports.send(&done)?;
    }
    Ok(())
}

static TASKS: Tasks = tasks![work];

struct Worker {
    process: Process,
    reports: Connection,
    done: u32,
}

fn start(crash: bool) -> Outcome<Worker> {
    let (reports, far) = pipe_one_way()?;
    // The far end moves into the worker, so `reports` ends with the worker.
    let process = Process::builder().daemon(true).start(work, (far, crash))?;
    Ok(Worker { process, reports, done: 0 })
}

fn program(arguments: &[&str]) -> Outcome {
    let crash = match arguments {
        [] => false,
        ["--crash"] => true,
        _ => return unknown(arguments),
    };
    let mut workers = (0..4).map(|number| start(crash && number == 1)).collect::<Outcome<Vec<_>>>()?;
    let mut open: Vec<usize> = (0..workers.len()).collect();
    while !open.is_empty() {
        let objects: Vec<&dyn AsFd> = open.iter().map(|&number| &workers[number].reports as &dyn AsFd).collect();
        let ready = wait(&objects, PATIENCE)?;
        if ready.is_empty() {
            return Err(format!("no worker has reported for {PATIENCE:?}").into());
        }
        for place in ready.into_iter().rev() {
            let worker = &mut workers[open[place]];
            match worker.reports.recv::<u32>() {
                Ok(done) => worker.done = done,
                Err(error) if error.kind() == ErrorKind::Closed => drop(open.remove(place)), // the worker has ended
                Err(error) => return Err(error.into()),
            }
        }
        show(&workers)?;
    }
    println!();
    for (worker, number) in workers.iter().zip(1..) {
        let exit = worker.process.join()?;
        if !exit.success() {
            println!("worker {number} ended at step {} of {STEPS}: {exit}", worker.done);
        }
    }
    Ok(())
}

/// Prints one line that a terminal overwrites, or elsewhere one line for each report.
fn show(workers: &[Worker]) -> Outcome {
    let mut out = stdout().lock();
    let sum: u32 = workers.iter().map(|worker| worker.done).sum();
    let end = if out.is_terminal() { "\r" } else { "\n" };
    write!(out, "{:3} %{end}", 100 * sum as usize / (STEPS as usize * workers.len()))?;
    Ok(out.flush()?)
}

fn self_test() -> Outcome {
    let text = Running::start(&[])?.finish()?;
    expect(text.trim_end().ends_with("100 %") && !text.contains("ended at"), "all workers finish", &text)?;
    let text = Running::start(&["--crash"])?.finish()?;
    expect(
        text.contains(" 87 %\n\nworker 2 ended at step 20 of 40: signal 9 (SIGKILL)\n"),
        "one worker is missing",
        &text,
    )?;
    println!("ok");
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(TASKS);
    run(USAGE, program, self_test)
}
