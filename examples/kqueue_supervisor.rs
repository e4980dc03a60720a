//! Keeps programs running with one event queue: restarts each after its end, with growing pauses.
//!
//! `cargo run --example kqueue_supervisor -- COMMAND...`; with `--self-test` it supervises two shells that fail.

#[path = "family/front.rs"]
mod front;

use std::error::Error;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use ossature::select::{Filter, Flags, Kevent, Kqueue};
use ossature::sys::process::Pid;
use ossature::sys::signal::{Signal, SignalSet, block};

const USAGE: &str = "\
usage: kqueue_supervisor COMMAND... | --self-test
Runs each COMMAND in a shell, and again when it ends, until Ctrl-C or SIGTERM.
  --self-test  runs two that end at once, until each has run three times";

struct Service {
    command: String,
    child: Child,
    starts: u32,
}

/// Starts a command and watches for its end. The event carries the number of the service as `udata`.
fn start(queue: &Kqueue, command: &str, number: usize) -> Result<Child, Box<dyn Error>> {
    let child = Command::new("/bin/sh").args(["-c", command]).spawn()?;
    let pid = Pid::from_raw(child.id() as i32).ok_or("a child has a process id")?;
    queue.control([Kevent::exit(pid).with_udata(number)], 0, None)?;
    Ok(child)
}

fn supervise(commands: Vec<String>, most: Option<u32>) -> Result<(), Box<dyn Error>> {
    // What SIGNAL needs; the shells inherit it, so they end by SIGKILL.
    let _blocked = block(SignalSet::from([Signal::INT, Signal::TERM]))?;
    let queue = Kqueue::new()?;
    queue.control([Kevent::signal(Signal::INT), Kevent::signal(Signal::TERM)], 0, None)?;
    let mut services = Vec::new();
    for (number, command) in commands.into_iter().enumerate() {
        services.push(Service { child: start(&queue, &command, number)?, command, starts: 1 });
    }
    while !services.iter().all(|service| most.is_some_and(|most| service.starts > most)) {
        for event in queue.control([], 16, None)? {
            match event.filter() {
                Filter::PROC => {
                    let service = &mut services[event.udata()];
                    println!("{}: {}", service.command, service.child.wait()?);
                    service.starts += 1;
                    let pause = Duration::from_millis(1 << service.starts.min(12));
                    let again = Kevent::timer(event.udata(), pause).with_flags(Flags::ADD | Flags::ONESHOT);
                    queue.control([again], 0, None)?;
                }
                Filter::TIMER => {
                    let service = &mut services[event.ident()];
                    if most.is_none_or(|most| service.starts <= most) {
                        service.child = start(&queue, &service.command, event.ident())?;
                    }
                }
                _ => {
                    println!("signal {}: ends", event.ident());
                    for service in &mut services {
                        let _ = service.child.kill();
                        service.child.wait()?;
                    }
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn program() -> Result<(), Box<dyn Error>> {
    let commands: Vec<String> = std::env::args().skip(1).collect();
    match commands.first().map(String::as_str) {
        None => Err("which commands?".into()),
        Some("--self-test") => supervise(vec!["exit 1".into(), "sleep 0.01; kill -9 $$".into()], Some(3)),
        Some(_) => supervise(commands, None),
    }
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
