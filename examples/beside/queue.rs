//! Queues beside tokio: two workers put items, and a task per queue awaits them.

#[path = "../family/guided.rs"]
mod guided;

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use guided::{Outcome, expect, run, unknown};
use ossature::ErrorKind;
use ossature::multiprocessing::queues::{Receiver, Sender, channel};
use ossature::multiprocessing::{Process, Tasks, freeze_support, tasks};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::LocalSet;

const USAGE: &str = "\
usage: beside_queue
Receives numbers from two workers in a tokio runtime, each over a channel that ends with its worker.
  --self-test  the same; the program always checks what it receives";

fn count(numbers: Sender<u64>, step: u64) -> ossature::Result<()> {
    for number in 1..=100 {
        numbers.send(number * step)?;
    }
    Ok(())
}

static TASKS: Tasks = tasks![count];

/// Receives the next item without blocking the runtime's thread; `None` at the end.
async fn next(numbers: &Receiver<u64>, ready: &AsyncFd<OwnedFd>) -> ossature::Result<Option<u64>> {
    loop {
        let mut guard = ready.readable().await?;
        match numbers.try_recv() {
            Ok(Some(number)) => return Ok(Some(number)),
            Ok(None) => guard.clear_ready(), // only now: tokio waits for the next edge
            Err(error) if error.kind() == ErrorKind::Closed => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

async fn sum(numbers: Receiver<u64>) -> Outcome<u64> {
    let readiness = numbers.readiness()?;
    let fd = readiness.as_fd().try_clone_to_owned()?;
    // SAFETY: the descriptor is open, and stays it while its owner is inside of the `AsyncFd`.
    let ready = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
    let mut sum = 0;
    while let Some(number) = tokio::time::timeout(Duration::from_secs(5), next(&numbers, &ready)).await?? {
        sum += number;
    }
    Ok(sum)
}

async fn talk() -> Outcome {
    let ((sender, ones), (other, tens)) = (channel()?, channel()?);
    let workers =
        [(sender, 1), (other, 10)].map(|(sender, step)| Process::builder().daemon(true).start(count, (sender, step)));
    // Both at once, in this thread.
    let tasks = LocalSet::new();
    let (ones, tens) = (tasks.spawn_local(sum(ones)), tasks.spawn_local(sum(tens)));
    let (ones, tens) = tasks.run_until(async { (ones.await, tens.await) }).await;
    let (ones, tens) = (ones??, tens??);
    for worker in workers {
        worker?.join()?;
    }
    expect((ones, tens) == (5050, 50500), "every number arrived", &format!("{ones} and {tens}"))?;
    println!("{ones} and {tens}");
    Ok(())
}

fn program(arguments: &[&str]) -> Outcome {
    if !arguments.is_empty() {
        return unknown(arguments);
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(talk())
}

fn main() -> ExitCode {
    freeze_support(TASKS);
    run(USAGE, program, || program(&[]))
}
