//! One process waits for an event without a limit, another with a timeout that expires.
//!
//! `cargo run --example event_wait`; with `--self-test` it checks what they saw.

mod family;
#[path = "family/front.rs"]
mod front;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use family::{Outcome, is_self_test, join, start};
use ossature::multiprocessing::{Event, RawValue};

const USAGE: &str = "\
usage: event_wait [--self-test]
One process waits for an event as long as it takes, another one for a tenth of a second.
  --self-test  checks what both saw";

const TIMEOUT: Duration = Duration::from_millis(100);

fn program() -> Outcome {
    let event = Event::new()?;
    let (patient, hasty) = (RawValue::new(-1)?, RawValue::new(-1)?);

    let waits = start(|| {
        println!("wait_for_event: starting");
        event.wait()?;
        println!("wait_for_event: the flag is {}", event.is_set());
        patient.set(i32::from(event.is_set()));
        Ok(())
    })?;
    let gives_up = start(|| {
        println!("wait_for_event_timeout: starting");
        let began = Instant::now();
        let seen = event.wait_timeout(TIMEOUT)?;
        println!("wait_for_event_timeout: {seen} after {} ms", began.elapsed().as_millis());
        hasty.set(i32::from(seen));
        if began.elapsed() < TIMEOUT { Err("the wait ended before its timeout".into()) } else { Ok(()) }
    })?;

    join([gives_up])?;
    println!("main: one has given up, now the event is set");
    event.set();
    join([waits])?;
    if is_self_test() {
        assert_eq!((hasty.get(), patient.get()), (0, 1));
    }
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
