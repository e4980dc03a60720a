//! A worker is killed while it holds a lock, halfway through a change. The parent starts another worker, which repairs
//! the data and finishes the work.

#[path = "family/guided.rs"]
mod guided;

use std::process::ExitCode;

use guided::{Outcome, Running, expect, run, unknown};
use ossature::multiprocessing::{Process, Tasks, Value, freeze_support, tasks};
use ossature::sys::signal::{Signal, raise};

const USAGE: &str = "\
usage: crash [--panic]
Moves 100 coins from one account to another with a worker that is killed on the way.
  --panic      the worker panics instead
  --self-test  runs both ways and checks the sums";

/// The number of crashes after which the parent gives up.
const RESTARTS: u32 = 3;

/// Moves the remaining coins one at a time; with `last_act`, ends in that way at the fortieth coin.
fn transfer(accounts: Value<[u64; 2]>, last_act: Option<String>) -> ossature::Result<()> {
    loop {
        let mut coins = accounts.lock()?; // also after a death: the guard says so
        // A killed holder is reported. A holder that panics releases the lock on its way, so the sum says it.
        if coins.abandoned() || coins.iter().sum::<u64>() != 100 {
            coins[1] = 100 - coins[0]; // what the other worker left half done
            coins.mark_consistent();
        }
        if coins[0] == 0 {
            return Ok(());
        }
        coins[0] -= 1;
        match last_act.as_deref() {
            Some("kill") if coins[0] == 60 => raise(Signal::KILL)?,
            Some("panic") if coins[0] == 60 => panic!("no more paper"),
            _ => {}
        }
        coins[1] += 1;
    }
}

static TASKS: Tasks = tasks![transfer];

fn program(arguments: &[&str]) -> Outcome {
    let mut last_act = match arguments {
        [] => Some("kill".to_owned()),
        ["--panic"] => Some("panic".to_owned()),
        _ => return unknown(arguments),
    };
    let accounts = Value::new([100_u64, 0])?;
    for crashes in 0..=RESTARTS {
        let worker = Process::spawn(transfer, (accounts.try_clone()?, last_act.take()))?;
        let exit = worker.join()?;
        if exit.success() {
            println!("done after {crashes} crash: {:?}", accounts.get()?);
            return Ok(());
        }
        match worker.panic()? {
            Some(panic) => println!("the worker panicked: {}", panic.message()),
            None => println!("the worker ended: {exit}"),
        }
    }
    Err(format!("the worker crashed more than {RESTARTS} times").into())
}

fn self_test() -> Outcome {
    for (arguments, end) in
        [(&[][..], "the worker ended: signal 9 (SIGKILL)"), (&["--panic"], "the worker panicked: no more paper")]
    {
        let text = Running::start(arguments)?.finish()?;
        expect(text.contains(end), "the parent reports the crash", &text)?;
        expect(text.ends_with("done after 1 crash: [0, 100]\n"), "no coin is lost", &text)?;
    }
    println!("ok");
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(TASKS);
    run(USAGE, program, self_test)
}
