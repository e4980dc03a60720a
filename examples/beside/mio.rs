//! A worker process beside mio, which is edge-triggered: each event is handled until nothing is left to read.

#[path = "../family/guided.rs"]
mod guided;
mod worker;

use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

use guided::{Outcome, run, unknown};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use ossature::ErrorKind;
use ossature::multiprocessing::freeze_support;

const USAGE: &str = "\
usage: beside_mio
Receives squares from a worker process in a loop of mio, and hears of the end of the worker.
  --self-test  the same; the program always checks what it receives";

const MESSAGES: Token = Token(0);
const END: Token = Token(1);

fn program(arguments: &[&str]) -> Outcome {
    if !arguments.is_empty() {
        return unknown(arguments);
    }
    let (near, worker) = worker::start()?;
    let mut poll = Poll::new()?;
    // `near` and `worker` live longer than `poll` uses the bare numbers.
    poll.registry().register(&mut SourceFd(&near.as_raw_fd()), MESSAGES, Interest::READABLE)?;
    poll.registry().register(&mut SourceFd(&worker.as_raw_fd()), END, Interest::READABLE)?;
    let (mut events, mut squares, mut open) = (Events::with_capacity(16), Vec::new(), true);
    let mut exit = None;
    while open || exit.is_none() {
        poll.poll(&mut events, Some(Duration::from_secs(5)))?;
        if events.is_empty() {
            return Err("the worker sent nothing".into());
        }
        for event in &events {
            match event.token() {
                MESSAGES => loop {
                    match near.recv_timeout::<u64>(Duration::ZERO) {
                        Ok(Some(square)) => squares.push(square),
                        Ok(None) => break, // the edge is used up
                        Err(error) if error.kind() == ErrorKind::Closed => {
                            open = false;
                            break;
                        }
                        Err(error) => return Err(error.into()),
                    }
                },
                _ => exit = worker.join_timeout(Duration::ZERO)?,
            }
        }
    }
    worker::check(&squares, exit.ok_or("the worker did not end")?)
}

fn main() -> ExitCode {
    freeze_support(worker::TASKS);
    run(USAGE, program, || program(&[]))
}
