//! Workers that never end, and a parent that ends all of them at Ctrl-C: one wait covers the workers and the signals.

#[path = "family/guided.rs"]
mod guided;

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use guided::{Outcome, Running, expect, run, unknown};
use ossature::multiprocessing::connection::wait;
use ossature::multiprocessing::{Process, Tasks, freeze_support, tasks};
use ossature::sys::deadline::Deadline;
use ossature::sys::signal::{self, Signal, SignalSet};
use ossature::sys::signalfd::SignalFd;

const USAGE: &str = "\
usage: ctrl_c
Starts three workers that never end. Ctrl-C or SIGTERM ends all of them; the third ignores SIGTERM and is killed.
  --self-test  sends both signals to itself and checks that no worker is left";

/// The time that the workers have to end.
const PATIENCE: Duration = Duration::from_millis(300);

fn work(number: u32) {
    if number == 3 {
        signal::ignore(Signal::TERM).expect("SIGTERM may be ignored");
    }
    println!("worker {number} is process {}", std::process::id());
    loop {
        std::thread::sleep(Duration::from_secs(1)); // the work
    }
}

static TASKS: Tasks = tasks![work];

fn start(number: u32) -> ossature::Result<Process> {
    Process::builder()
        .name(format!("worker {number}"))
        .daemon(true) // the kernel kills the worker if the parent is killed
        .signal_mask(Signal::INT) // a terminal sends Ctrl-C to the workers too; the parent decides
        .start(work, (number,))
}

fn program(arguments: &[&str]) -> Outcome {
    if !arguments.is_empty() {
        return unknown(arguments);
    }
    // Blocked before the first thread and the first worker: from here on the signals wait in the descriptor.
    let wanted = SignalSet::from([Signal::INT, Signal::TERM]);
    signal::block(wanted)?.keep();
    let signals = SignalFd::new(wanted)?;
    let mut workers = (1..=3).map(start).collect::<ossature::Result<Vec<_>>>()?;
    while !workers.is_empty() {
        let mut objects: Vec<&dyn AsFd> = vec![&signals];
        objects.extend(workers.iter().map(|worker| worker as &dyn AsFd));
        let ready = wait(&objects, None)?;
        if ready.contains(&0) {
            break;
        }
        for place in ready.into_iter().rev() {
            let worker = workers.remove(place - 1);
            println!("{} ended by itself: {}", worker.name(), worker.join()?);
        }
    }
    end_all(&workers)
}

/// Sends SIGTERM to every worker, and kills those that do not end.
fn end_all(workers: &[Process]) -> Outcome {
    for worker in workers {
        worker.terminate()?;
    }
    let deadline = Deadline::after(PATIENCE); // for all of them together
    for worker in workers {
        if worker.join_timeout(deadline)?.is_none() {
            worker.kill()?;
        }
        println!("{}: {}", worker.name(), worker.join()?);
    }
    Ok(())
}

fn self_test() -> Outcome {
    let signals: [fn(&Running) -> Outcome; 2] =
        [|running| running.signal(Signal::TERM), |running| running.signal_group(Signal::INT)];
    for send in signals {
        let mut running = Running::start(&[])?;
        running.until(" is process ", 3)?;
        send(&running)?;
        let text = running.finish()?;
        let has = |line: &str| text.lines().any(|other| other == line);
        expect(
            has("worker 1: signal 15 (SIGTERM)") && has("worker 2: signal 15 (SIGTERM)"),
            "workers end by SIGTERM",
            &text,
        )?;
        expect(has("worker 3: signal 9 (SIGKILL)"), "a worker that ignores SIGTERM is killed", &text)?;
        let mut workers = text.lines().filter_map(|line| line.split_once(" is process "));
        expect(workers.all(|(_, pid)| !Path::new("/proc").join(pid).exists()), "no worker is left", &text)?;
    }
    println!("ok");
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(TASKS);
    run(USAGE, program, self_test)
}
