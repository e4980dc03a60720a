//! A worker process beside polling, which is one-shot: each registration reports one event and is then renewed.

#[path = "../family/guided.rs"]
mod guided;
mod worker;

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use guided::{Outcome, run, unknown};
use ossature::ErrorKind;
use ossature::multiprocessing::freeze_support;
use polling::{Event, Events, Poller};

const USAGE: &str = "\
usage: beside_polling
Receives squares from a worker process in a loop of polling, and hears of the end of the worker.
  --self-test  the same; the program always checks what it receives";

const MESSAGES: usize = 0;
const END: usize = 1;

fn program(arguments: &[&str]) -> Outcome {
    if !arguments.is_empty() {
        return unknown(arguments);
    }
    let (near, worker) = worker::start()?;
    let poller = Poller::new()?;
    let fds = (near.as_fd(), worker.as_fd());
    // SAFETY: `poller.delete` takes the descriptor out below, and on an error the poller is dropped before `near`.
    unsafe { poller.add(&fds.0, Event::readable(MESSAGES))? };
    // SAFETY: as above, with `worker`.
    unsafe { poller.add(&fds.1, Event::readable(END))? };
    let (mut events, mut squares, mut open, mut exit) = (Events::new(), Vec::new(), true, None);
    while open || exit.is_none() {
        events.clear();
        if poller.wait(&mut events, Some(Duration::from_secs(5)))? == 0 {
            return Err("the worker sent nothing".into());
        }
        for event in events.iter() {
            if event.key == END {
                exit = worker.join_timeout(Duration::ZERO)?;
                continue;
            }
            match near.recv_timeout::<u64>(Duration::ZERO) {
                Ok(square) => squares.extend(square),
                Err(error) if error.kind() == ErrorKind::Closed => open = false,
                Err(error) => return Err(error.into()),
            }
            if open {
                poller.modify(fds.0, Event::readable(MESSAGES))?; // an event is reported once: ask again
            }
        }
    }
    poller.delete(fds.0)?;
    poller.delete(fds.1)?;
    worker::check(&squares, exit.ok_or("the worker did not end")?)
}

fn main() -> ExitCode {
    freeze_support(worker::TASKS);
    run(USAGE, program, || program(&[]))
}
