//! A pool beside tokio: a map and a call in two worker processes are awaited at once, in one thread.

#[path = "../family/guided.rs"]
mod guided;

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use guided::{Outcome, expect, run, unknown};
use ossature::ErrorKind;
use ossature::multiprocessing::pool::{AsyncResult, MapResult, Readiness};
use ossature::multiprocessing::{Pool, Tasks, freeze_support, tasks};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::LocalSet;

const USAGE: &str = "\
usage: beside_pool
Maps numbers to squares in two worker processes and calls a function that panics; a tokio runtime awaits both results.
  --self-test  the same; the program always checks what it receives";

/// The maximum wait for a result that takes milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

fn square(number: u64) -> u64 {
    number * number
}

fn refuse(number: u64) -> u64 {
    panic!("{number} is odd")
}

static TASKS: Tasks = tasks![square, refuse];

/// Waits, without blocking the runtime's thread, until `is_ready` returns that the result is there.
async fn ready(readiness: &Readiness, is_ready: impl Fn() -> ossature::Result<bool>) -> Outcome {
    let fd: OwnedFd = readiness.as_fd().try_clone_to_owned()?;
    // SAFETY: the descriptor is open, and stays it while its owner is inside of the `AsyncFd`.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
    loop {
        let mut guard = watched.readable().await?;
        guard.clear_ready(); // before the question: what comes later is another edge
        if is_ready()? {
            return Ok(());
        }
    }
}

async fn all(squares: MapResult<u64>) -> Outcome<Vec<u64>> {
    let readiness = squares.readiness()?;
    tokio::time::timeout(LIMIT, ready(&readiness, || squares.ready())).await??;
    Ok(squares.get()?) // is there
}

async fn why(refused: AsyncResult<u64>) -> Outcome<ossature::Error> {
    let readiness = refused.readiness()?;
    tokio::time::timeout(LIMIT, ready(&readiness, || refused.ready())).await??;
    refused.get().err().ok_or_else(|| "the call has not failed".into())
}

async fn talk(pool: &Pool) -> Outcome {
    let (squares, refused) = (pool.map_async(square, 0..1000)?, pool.apply_async(refuse, (7,))?);
    // Both at once, in this thread.
    let tasks = LocalSet::new();
    let (squares, refused) = (tasks.spawn_local(all(squares)), tasks.spawn_local(why(refused)));
    let (squares, error) = tasks.run_until(async { (squares.await, refused.await) }).await;
    let (squares, error) = (squares??, error??);
    let right = (0..1000).map(|number| number * number).eq(squares.iter().copied());
    expect(right, "every square arrived, in order", &format!("{squares:?}"))?;
    let right = error.kind() == ErrorKind::Remote && error.to_string().contains("7 is odd");
    expect(right, "a panic in a worker is the error of its call", &error.to_string())?;
    println!("{} squares; the other call: {:?}", squares.len(), error.kind());
    Ok(())
}

fn program(arguments: &[&str]) -> Outcome {
    if !arguments.is_empty() {
        return unknown(arguments);
    }
    let pool = Pool::new(2)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(talk(&pool))
}

fn main() -> ExitCode {
    freeze_support(TASKS);
    run(USAGE, program, || program(&[]))
}
