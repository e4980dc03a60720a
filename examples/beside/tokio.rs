//! A worker process beside tokio: its end and its messages are awaited like a socket.

#[path = "../family/guided.rs"]
mod guided;
mod worker;

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use guided::{Outcome, run, unknown};
use ossature::ErrorKind;
use ossature::multiprocessing::connection::Connection;
use ossature::multiprocessing::freeze_support;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const USAGE: &str = "\
usage: beside_tokio
Receives squares from a worker process in a tokio runtime, and awaits the end of the worker.
  --self-test  the same; the program always checks what it receives";

/// Receives one message without blocking the runtime's thread.
async fn recv(connection: &Connection, ready: &AsyncFd<OwnedFd>) -> ossature::Result<u64> {
    loop {
        let mut guard = ready.readable().await?;
        match connection.recv_timeout(Duration::ZERO)? {
            Some(number) => return Ok(number),
            None => guard.clear_ready(), // only now: tokio waits for the next edge
        }
    }
}

/// Registers a duplicate of the descriptor, which tokio owns and closes.
fn readable(object: impl AsFd) -> Outcome<AsyncFd<OwnedFd>> {
    let fd = object.as_fd().try_clone_to_owned()?;
    // SAFETY: the descriptor is open, and stays it while its owner is inside of the `AsyncFd`.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? })
}

async fn talk() -> Outcome {
    let (near, worker) = worker::start()?;
    let messages = readable(&near)?;
    let end = readable(&worker)?;
    let mut squares = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(5), recv(&near, &messages)).await? {
            Ok(square) => squares.push(square),
            Err(error) if error.kind() == ErrorKind::Closed => break,
            Err(error) => return Err(error.into()),
        }
    }
    let _ended = tokio::time::timeout(Duration::from_secs(5), end.readable()).await??;
    worker::check(&squares, worker.join()?) // does not wait any more
}

fn program(arguments: &[&str]) -> Outcome {
    if !arguments.is_empty() {
        return unknown(arguments);
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(talk())
}

fn main() -> ExitCode {
    freeze_support(worker::TASKS);
    run(USAGE, program, || program(&[]))
}
