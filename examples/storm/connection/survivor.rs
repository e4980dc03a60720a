//! The process that survives.

use core::time::Duration;
use std::error::Error as _;
use std::fs;

use ossature::multiprocessing::connection::{BufferTooShort, Connection, wait};
use ossature::sys::deadline::Deadline;
use ossature::{ErrorKind, Result};

use crate::PATIENCE;
use crate::connection::Verdict;
use crate::connection::message::{LONGEST, Received, Text};
use crate::connection::plan::{Plan, Size};
use crate::random::Random;

/// Receives and uses one end after the other until the storm ends.
pub fn run(control: &Connection, text: &Text) -> u8 {
    let mut buffer = vec![0; LONGEST];
    let before = descriptors();
    while let Ok((plan, end)) = control.recv::<(Plan, Connection)>() {
        let mut verdict = outlive(plan, end, text, &mut buffer);
        let more = descriptors().saturating_sub(before);
        if more > 0 {
            verdict.complaint.get_or_insert_with(|| format!("{more} descriptors stay open"));
        }
        if control.send(&verdict).is_err() {
            return 1;
        }
    }
    0
}

/// Uses one end until its peer has ended. The end is dropped with its part of a message.
fn outlive(plan: Plan, end: Connection, text: &Text, buffer: &mut [u8]) -> Verdict {
    let mut random = Random::new(plan.seed);
    let mut verdict = Verdict { whole: 0, cut: false, complaint: None };
    loop {
        match turn(plan, verdict.whole, &end, text, buffer, &mut random) {
            Ok(true) => verdict.whole += 1,
            Ok(false) => {
                verdict.complaint = Some(format!("message {} is wrong", verdict.whole));
                return verdict;
            }
            Err(error) if error.kind() == ErrorKind::Closed => {
                let sent_a_part = plan.role.receives() && !end.writable();
                verdict.cut = sent_a_part || error.to_string().contains("within a message");
                verdict.complaint = ends_again(&end);
                return verdict;
            }
            Err(error) => {
                verdict.complaint = Some(format!("the end is not Closed: {error:?}"));
                return verdict;
            }
        }
    }
}

/// Sends or receives message `n`, or both; `false` if a wrong message arrives.
fn turn(plan: Plan, n: u32, end: &Connection, text: &Text, buffer: &mut [u8], random: &mut Random) -> Result<bool> {
    if plan.role.receives() {
        send(plan, n, end, text, random)?;
    }
    if !plan.role.sends() {
        return Ok(true);
    }
    if plan.size == Size::Files {
        let received = receive_in_steps(random, |step| end.recv_timeout::<Received>(step))?;
        return Ok(text.is(plan, n, &received));
    }
    receive(text.message(plan, n), end, buffer, random)
}

/// Receives in one of the available ways, and returns whether the message was right.
fn receive(message: &[u8], end: &Connection, buffer: &mut [u8], random: &mut Random) -> Result<bool> {
    match random.below(5) {
        0 => Ok(end.recv_bytes()? == message),
        1 => {
            wait(&[end], Deadline::NEVER)?;
            Ok(end.recv_bytes_max(message.len())? == message)
        }
        2 => {
            let length = end.recv_bytes_into(buffer)?;
            Ok(&buffer[..length] == message)
        }
        3 => match end.recv_bytes_into(&mut buffer[..message.len() / 2]) {
            Err(error) if error.kind() == ErrorKind::TooLong => {
                let short = error.source().and_then(|source| source.downcast_ref::<BufferTooShort>());
                Ok(short.is_some_and(|short| short.message() == message))
            }
            received => Ok(received? == 0 && message.is_empty()),
        },
        _ => Ok(receive_in_steps(random, |step| end.recv_bytes_timeout(step))? == message),
    }
}

/// Receives repeatedly with such short limits that a message often stops half-way.
fn receive_in_steps<T>(random: &mut Random, receive: impl Fn(Duration) -> Result<Option<T>>) -> Result<T> {
    loop {
        if let Some(received) = receive(Duration::from_micros(random.below(300)))? {
            return Ok(received);
        }
    }
}

fn send(plan: Plan, n: u32, end: &Connection, text: &Text, random: &mut Random) -> Result<()> {
    let in_steps = random.below(2) == 0;
    let mut limit = || if in_steps { Duration::from_micros(random.below(300)).into() } else { Deadline::NEVER };
    let once = |limit| match plan.size {
        Size::Files => text.send_files(end, plan, n, limit),
        _ => end.send_bytes_timeout(text.message(plan, n), limit),
    };
    while !once(limit())?.has_begun() {}
    while !end.flush(limit())? {}
    Ok(())
}

/// Checks that further reads report the end too.
fn ends_again(end: &Connection) -> Option<String> {
    match end.recv_bytes_timeout(PATIENCE) {
        Err(error) if error.kind() == ErrorKind::Closed => None,
        other => Some(format!("after the end: {other:?}")),
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
