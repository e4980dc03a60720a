//! The process that dies.

use core::hint::spin_loop;
use core::sync::atomic::Ordering::SeqCst;

use ossature::Result;
use ossature::multiprocessing::connection::Connection;
use ossature::sys::deadline::Deadline;
use ossature::sys::fd;

use crate::connection::Mark;
use crate::connection::message::{Received, Text};
use crate::connection::plan::{Plan, Role, Size};
use crate::random::Random;

/// The exit code of a peer that fails before its fault.
const FAILED: u8 = 3;

/// Runs until the peer dies.
pub fn run(plan: Plan, end: &Connection, text: &Text, mark: &Mark) -> u8 {
    let mut random = Random::new(plan.seed);
    for n in 0.. {
        let turn = match plan.role {
            Role::Sends => sends(plan, n, end, text, mark),
            Role::Drips => drips(text.message(plan, n), end, mark, &mut random),
            Role::Receives => receives(plan, n, end, text, mark),
            Role::Echoes => receives(plan, n, end, text, mark).and_then(|()| sends(plan, n, end, text, mark)),
        };
        if let Err(error) = turn {
            eprintln!("storm: the peer: {error}");
            return FAILED;
        }
        mark.done.fetch_add(1, SeqCst);
        mark.inside.store(0, SeqCst);
        if random.below(4) == 0 {
            rest(random.below(20_000));
        }
    }
    FAILED
}

fn sends(plan: Plan, n: u32, end: &Connection, text: &Text, mark: &Mark) -> Result<()> {
    mark.inside.store(1, SeqCst);
    if plan.size == Size::Files {
        return text.send_files(end, plan, n, Deadline::NEVER).map(drop);
    }
    end.send_bytes(text.message(plan, n))
}

/// Writes the frame in CPython's format, in pieces of any size.
fn drips(message: &[u8], end: &Connection, mark: &Mark, random: &mut Random) -> Result<()> {
    let mut frame = (message.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(message);
    let mut rest_of_it = &frame[..];
    mark.inside.store(1, SeqCst);
    while !rest_of_it.is_empty() {
        // At times through the header byte by byte.
        let most = if random.below(2) == 0 { 2 } else { rest_of_it.len() as u64 };
        let piece = &rest_of_it[..(1 + random.below(most) as usize).min(rest_of_it.len())];
        rest_of_it = &rest_of_it[fd::write(end, piece)?..];
        rest(random.below(2_000));
    }
    Ok(())
}

fn receives(plan: Plan, n: u32, end: &Connection, text: &Text, mark: &Mark) -> Result<()> {
    mark.inside.store(0, SeqCst);
    end.poll(Deadline::NEVER)?;
    mark.inside.store(1, SeqCst);
    let right = if plan.size == Size::Files {
        text.is(plan, n, &end.recv::<Received>()?)
    } else {
        end.recv_bytes()? == text.message(plan, n)
    };
    if !right {
        mark.broken.fetch_add(1, SeqCst);
    }
    Ok(())
}

fn rest(turns: u64) {
    for _ in 0..turns {
        spin_loop();
    }
}
