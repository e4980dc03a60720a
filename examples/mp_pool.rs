//! The pool exercise of Python's manual: calls in every form, errors, limits, callbacks, and the ways to end a pool.
//!
//! `cargo run --example mp_pool [-- --workers N]`. With `--self-test` it checks what it prints.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::io::{Write, stdout};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::wait;
use ossature::multiprocessing::{Pool, Tasks, current_process, freeze_support, tasks};
use ossature::sys::process::{Pid, pidfd_open};
use own::{Outcome, option, self_test};
use serde::{Deserialize, Serialize};

const USAGE: &str = "\
usage: mp_pool [--workers N] [--self-test]
A pool of processes computes, fails, and ends.
  --workers N  how many processes (default: 4)
  --self-test  checks what it prints";

static TASKS: Tasks = tasks![calculate, pow3, noop, reciprocal, sleep, pid];

/// A call is plain data: Python sends the name of a function instead.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Operation {
    Multiply,
    Add,
}

fn calculate(operation: Operation, a: i64, b: i64) -> String {
    std::thread::sleep(Duration::from_millis(10 * (a as u64 % 3)));
    let (sign, result) = match operation {
        Operation::Multiply => ('*', a * b),
        Operation::Add => ('+', a + b),
    };
    format!("{} says that {a} {sign} {b} = {result}", current_process().name())
}

fn pow3(x: u64) -> u64 {
    x.pow(3)
}

fn noop(_: u64) {}

fn reciprocal(x: i64) -> f64 {
    assert!(x != 5, "division by zero"); // as 1.0 / (x - 5.0) does in Python
    1.0 / (x - 5) as f64
}

fn sleep(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn pid() -> u32 {
    std::process::id()
}

fn program() -> Outcome {
    if let Some(text) = self_test(&[])? {
        return check(&text);
    }
    let workers = option("workers").map_or(Ok(4), |number| number.parse())?;
    println!("a pool of {workers} processes");
    let pool = Pool::new(workers)?;
    forms(&pool)?;
    errors(&pool)?;
    timeouts(&pool)?;
    callbacks(&pool)?;
    benchmark(&pool)?;
    closed(pool)?;
    terminated()?;
    dropped()
}

/// Makes all calls at once, and prints their results in three orders.
fn forms(pool: &Pool) -> Outcome {
    let calls: Vec<_> =
        (0..10).map(|i| (Operation::Multiply, i, 7)).chain((0..10).map(|i| (Operation::Add, i, 8))).collect();
    let results: Vec<_> = calls.iter().map(|&call| pool.apply_async(calculate, call)).collect::<Result<_, _>>()?;
    let cubes = pool.imap(pow3, 0..10)?;
    let unordered = pool.imap_unordered(pow3, 0..10)?;

    println!("in order, by apply_async:");
    for result in results {
        println!("\t{}", result.get()?);
    }
    println!("in order, by imap: {}", line(cubes.collect::<Result<Vec<_>, _>>()?));
    println!("as they come, by imap_unordered: {}", line(unordered.collect::<Result<Vec<_>, _>>()?));
    println!("in order, by starmap, which waits for all:");
    for text in pool.starmap(calculate, calls)? {
        println!("\t{text}");
    }
    println!("in order, by map: {}", line(pool.map(pow3, 0..10)?));
    Ok(())
}

fn line(numbers: Vec<u64>) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

/// Shows that a panic of a task is an error of its call, and that the pool continues.
fn errors(pool: &Pool) -> Outcome {
    let report = |form: &str, error: Option<ossature::Error>| match error {
        Some(error) if error.kind() == ErrorKind::Remote && error.to_string().contains("division by zero") => {
            println!("the error came from {form}");
            Ok(())
        }
        other => Err(format!("{form}: expected a division by zero, got {other:?}")),
    };
    report("apply", pool.apply(reciprocal, (5,)).err())?;
    report("map", pool.map(reciprocal, 0..10).err())?;
    report("imap as a whole", pool.imap(reciprocal, 0..10)?.collect::<Result<Vec<_>, _>>().err())?;
    let mut values = 0;
    for (x, result) in pool.imap(reciprocal, 0..10)?.enumerate() {
        match result {
            Ok(_) => values += 1,
            Err(error) => report(&format!("imap in the place of {x}"), Some(error))?,
        }
    }
    println!("imap goes on behind an error: {values} values");
    Ok(())
}

/// Shows that a timeout is not an error, and that the result can be requested again.
fn timeouts(pool: &Pool) -> Outcome {
    let limit = Duration::from_millis(20);
    let mut result = pool.apply_async(sleep, (100,))?;
    print!("a result with a limit: ");
    while result.get_timeout(limit)?.is_none() {
        print!(".");
        stdout().flush()?;
    }
    println!(" it came");

    print!("an imap with a limit: ");
    let mut naps = pool.imap(sleep, [50, 0, 50])?;
    let mut came = 0;
    while let Some(result) = naps.next_timeout(limit) {
        match result? {
            Some(()) => came += 1,
            None => print!("."),
        }
        stdout().flush()?;
    }
    println!(" {came} came");
    Ok(())
}

/// Runs callbacks in a thread of this process, one after the other.
fn callbacks(pool: &Pool) -> Outcome {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let push = |values: Vec<u64>, seen: &Mutex<Vec<u64>>| seen.lock().expect("no callback panics").extend(values);
    let told = seen.clone();
    let one = pool.apply_async_with(pow3, (4,), move |result| {
        push(vec![result.expect("a cube")], &told);
    })?;
    one.wait(Duration::from_secs(5))?;
    let told = seen.clone();
    let all = pool.map_async_with(pow3, 0..5, move |result| push(result.expect("cubes"), &told))?;
    all.wait(Duration::from_secs(5))?;
    println!("callbacks: {}", line(seen.lock().expect("no callback panics").clone()));
    Ok(())
}

/// Makes the same calls in this process, by map, and by imap with many items to a chunk.
fn benchmark(pool: &Pool) -> Outcome {
    const CALLS: u64 = 20_000;
    let timed = |what: &str, call: &mut dyn FnMut() -> ossature::Result<usize>| {
        let begun = Instant::now();
        let count = call()?;
        println!("{what}: {count} calls in {:.1?}", begun.elapsed());
        Ok::<_, ossature::Error>(())
    };
    timed("pow3 without a pool", &mut || Ok((0..CALLS).map(pow3).collect::<Vec<_>>().len()))?;
    timed("pow3 by map", &mut || Ok(pool.map(pow3, 0..CALLS)?.len()))?;
    timed("noop by map", &mut || Ok(pool.map(noop, 0..CALLS)?.len()))?;
    let chunked = pool.chunksize(CALLS as usize / 8)?;
    timed("pow3 by imap in 8 chunks", &mut || {
        let cubes = chunked.lookahead(CALLS as usize).imap(pow3, 0..CALLS)?;
        cubes.collect::<Result<Vec<_>, _>>().map(|all| all.len())
    })?;
    Ok(())
}

/// Opens a pidfd of a worker, so that its end can be awaited without a guessed delay.
fn worker(pool: &Pool) -> Outcome<OwnedFd> {
    let pid = Pid::from_raw(pool.apply(pid, ())?.try_into()?).ok_or("no process has the number 0")?;
    Ok(pidfd_open(pid)?)
}

fn ended(worker: &OwnedFd) -> Outcome<bool> {
    Ok(!wait(&[worker], Duration::from_secs(5))?.is_empty())
}

/// Shows that a closed pool finishes its calls and accepts no more.
fn closed(pool: Pool) -> Outcome {
    let worker = worker(&pool)?;
    let slept = pool.apply_async(sleep, (50,))?;
    pool.close()?;
    let refused = pool.apply(noop, (0,)).err().map(|error| error.kind());
    pool.join()?;
    slept.get()?;
    println!("close: the call was made, the next was refused ({refused:?}), the worker ended: {}", ended(&worker)?);
    Ok(())
}

/// Shows that a terminated pool cancels its calls.
fn terminated() -> Outcome {
    let pool = Pool::new(2)?;
    let worker = worker(&pool)?;
    let naps: Vec<_> = (0..100).map(|_| pool.apply_async(sleep, (100,))).collect::<Result<_, _>>()?;
    let begun = Instant::now();
    pool.terminate()?;
    pool.join()?;
    let cancelled =
        naps.into_iter().filter_map(|nap| nap.get().err()).all(|error| error.kind() == ErrorKind::Cancelled);
    let quick = begun.elapsed() < Duration::from_secs(4); // 100 naps take five seconds
    println!("terminate: calls are cancelled: {cancelled}, at once: {quick}, the worker ended: {}", ended(&worker)?);
    Ok(())
}

/// Shows that dropping a pool ends its workers: Python's garbage collection of a pool.
fn dropped() -> Outcome {
    let pool = Pool::new(2)?;
    let worker = worker(&pool)?;
    drop(pool);
    println!("drop: the worker ended: {}", ended(&worker)?);
    Ok(())
}

fn check(text: &str) -> Outcome {
    let cubes = "0 1 8 27 64 125 216 343 512 729";
    let expected = [
        &format!("in order, by imap: {cubes}\n"),
        &format!("in order, by map: {cubes}\n"),
        "the error came from apply\n",
        "the error came from map\n",
        "the error came from imap as a whole\n",
        "the error came from imap in the place of 5\nimap goes on behind an error: 9 values\n",
        "callbacks: 64 0 1 8 27 64\n",
        "pow3 by imap in 8 chunks: 20000 calls",
        "close: the call was made, the next was refused (Some(ShutDown)), the worker ended: true\n",
        "terminate: calls are cancelled: true, at once: true, the worker ended: true\n",
        "drop: the worker ended: true\n",
    ];
    for line in expected {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
    let said: Vec<&str> =
        text.lines().filter_map(|line| line.split_once(" says that ")).map(|(_, said)| said).collect();
    let all: Vec<String> = (0..10)
        .map(|i| format!("{i} * 7 = {}", i * 7))
        .chain((0..10).map(|i| format!("{i} + 8 = {}", i + 8)))
        .collect();
    assert!(said.len() == 40 && said[..20] == all && said[20..] == all, "not in order:\n{text}");
    let (_, rest) = text.split_once("by imap_unordered: ").ok_or("no unordered results")?;
    let mut numbers: Vec<u64> = rest.lines().next().unwrap_or_default().split(' ').flat_map(str::parse).collect();
    numbers.sort_unstable();
    assert_eq!(line(numbers), cubes);
    let dots = |what: &str| text.split_once(what).is_some_and(|(_, rest)| rest.starts_with('.'));
    assert!(dots("a result with a limit: ") && dots("an imap with a limit: "), "no limit ran out:\n{text}");
    assert!(text.contains(" 3 came\n"), "{text}");
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(TASKS); // first in main
    front::run(USAGE, program)
}
