//! The worker process of these programs, which sends squares and ends.

use ossature::multiprocessing::connection::Connection;
use ossature::multiprocessing::{Process, Tasks, pipe, tasks};
use ossature::sys::process::ExitStatus;

use crate::guided::{Outcome, expect};

fn squares(far: Connection) -> ossature::Result<()> {
    for number in 1..=100_u64 {
        far.send(&(number * number))?;
    }
    Ok(())
}

pub static TASKS: Tasks = tasks![squares];

/// Spawns the worker, because a fork is refused in a process that has the threads of a runtime.
pub fn start() -> Outcome<(Connection, Process)> {
    let (near, far) = pipe()?;
    let worker = Process::builder().daemon(true).start(squares, (far,))?;
    Ok((near, worker))
}

/// Checks the received squares and the exit status.
pub fn check(squares: &[u64], exit: ExitStatus) -> Outcome {
    let right = (1..=100).map(|number| number * number).eq(squares.iter().copied());
    expect(right && exit.success(), "every square arrived, in order", &format!("{exit}: {squares:?}"))?;
    println!("{} squares; the worker ended: {exit}", squares.len());
    Ok(())
}
