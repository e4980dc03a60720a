//! The process "block" waits for an event without a limit, "non-block" for two seconds; it is set after three.
//!
//! `cargo run --example mp_event [-- --second MILLISECONDS]`; the option says how long a second lasts. With
//! `--self-test` it checks what it prints.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use ossature::multiprocessing::{Event, Process};
use own::{Outcome, second, self_test};

const USAGE: &str = "\
usage: mp_event [--second MILLISECONDS] [--self-test]
Two processes wait for an event, one of them with a timeout of two seconds.
  --second MILLISECONDS  how long a second lasts (default: 1000)
  --self-test            checks what is printed";

fn wait_for_event(event: &Event) -> Outcome {
    println!("wait_for_event: starting");
    event.wait()?;
    println!("wait_for_event: is_set() says {}", event.is_set());
    Ok(())
}

fn wait_for_event_timeout(event: &Event, timeout: Duration) -> Outcome {
    println!("wait_for_event_timeout: starting");
    event.wait_timeout(timeout)?;
    println!("wait_for_event_timeout: is_set() says {}", event.is_set());
    Ok(())
}

fn program() -> Outcome {
    if let Some(text) = self_test(&[])? {
        let lines: Vec<_> = text.lines().collect();
        let mut starting = lines[..2].to_vec();
        starting.sort();
        assert_eq!(starting, ["wait_for_event: starting", "wait_for_event_timeout: starting"]);
        assert_eq!(lines[2], "wait_for_event_timeout: is_set() says false");
        assert_eq!(lines[3..], ["main: event is set", "wait_for_event: is_set() says true"]);
        return Ok(());
    }
    let (event, second) = (Event::new()?, second()?);
    let block = Process::builder().name("block").fork(|| wait_for_event(&event))?;
    let non_block = Process::builder().name("non-block").fork(|| wait_for_event_timeout(&event, second * 2))?;
    sleep(second * 3);
    println!("main: event is set");
    event.set();
    for process in [block, non_block] {
        process.join()?;
        if process.exit_code() != Some(0) {
            return Err(format!("{} failed", process.name()).into());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
