//! Timings of objects that processes and threads share, as the benchmarks of Python's manual: pipes, queues, arrays,
//! locks and conditions. Each uses shared memory and the objects of a manager.
//!
//! `cargo run --release --example mp_benchmarks [-- --budget MILLISECONDS]`. With `--self-test` it checks what it
//! prints. `benches/` compares with rivals; this program shows orders of magnitude.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ossature::Result;
use ossature::multiprocessing::{
    Array, Condition, Context, Lock, Manager, Process, Queue, RLock, RawArray, RawValue, freeze_support, pipe, tasks,
};
use ossature::sys::deadline::Deadline;
use own::{Outcome, option, self_test};

const USAGE: &str = "\
usage: mp_benchmarks [--budget MILLISECONDS] [--self-test]
Times what processes share: how often in how long.
  --budget MILLISECONDS  how long a timing should take at least (default: 200)
  --self-test            checks what is printed, with a budget of a millisecond";

/// The length of an item in pipes and queues.
const ITEM: usize = 256;

/// Runs `body` with more and more rounds until a run takes as long as the budget. Prints the last time.
fn timed(name: &str, budget: Duration, mut body: impl FnMut(u32) -> Result<()>) -> Result<()> {
    let mut rounds = 1;
    loop {
        let began = Instant::now();
        body(rounds)?;
        let took = began.elapsed();
        if took >= budget || rounds >= 1 << 28 {
            let each = took.as_nanos() / u128::from(rounds);
            println!("{name}: {rounds} in {:.3} s, {each} ns each", took.as_secs_f64());
            return Ok(());
        }
        rounds *= 2;
    }
}

/// Starts a child, or a thread, that runs the other half of an exchange.
fn beside(context: Context, other: impl FnOnce() -> Result<()> + Send + 'static) -> Result<Process> {
    let builder = Process::builder();
    if context == Context::Thread { builder.thread(other) } else { builder.fork(other) }
}

fn pipes(context: Context, budget: Duration) -> Result<()> {
    timed(&format!("pipe to a {context}"), budget, |rounds| {
        let (near, far) = pipe()?;
        let reader = beside(context, move || (0..rounds).try_for_each(|_| far.recv_bytes().map(drop)))?;
        (0..rounds).try_for_each(|_| near.send_bytes(&[7; ITEM]))?;
        reader.join().map(drop)
    })
}

fn queues(context: Context, budget: Duration) -> Result<()> {
    timed(&format!("queue to a {context}"), budget, |rounds| {
        let queue = Queue::<Vec<u8>>::new()?;
        let same = queue.try_clone()?;
        let reader = beside(context, move || (0..rounds).try_for_each(|_| same.get().map(drop)))?;
        (0..rounds).try_for_each(|_| queue.put(vec![7; ITEM]))?;
        reader.join().map(drop)
    })
}

/// Measures two sides that wake each other in turn.
fn conditions(context: Context, budget: Duration) -> Result<()> {
    fn half(changed: &Condition, turn: &RawValue<u32>, mine: u32, rounds: u32) -> Result<()> {
        changed.acquire()?;
        for _ in 0..rounds {
            changed.wait_for(|| turn.get() % 2 == mine, Deadline::NEVER)?;
            turn.set(turn.get() + 1);
            changed.notify(1)?;
        }
        changed.release()
    }
    timed(&format!("condition with a {context}"), budget, |rounds| {
        let (changed, turn) = (Condition::new()?, RawValue::new(0)?);
        let (same, shared) = (changed.try_clone()?, turn.try_clone()?);
        let other = beside(context, move || half(&same, &shared, 1, rounds))?;
        half(&changed, &turn, 0, rounds)?;
        other.join().map(drop)
    })
}

fn arrays(manager: &Manager, budget: Duration) -> Result<()> {
    const LEN: usize = 10;
    let mut plain = [0_i32; LEN];
    timed("array of this process", budget, |rounds| {
        (0..rounds).for_each(|round| {
            let place = std::hint::black_box(round as usize % LEN);
            plain[place] += 1;
        });
        Ok(())
    })?;
    let raw = RawArray::<i32>::new(LEN)?;
    timed("array in shared memory", budget, |rounds| {
        (0..rounds as usize).try_for_each(|round| raw.set(round % LEN, raw.get(round % LEN)? + 1))
    })?;
    let locked = Array::<i32>::new(LEN)?;
    timed("array in shared memory with a lock", budget, |rounds| {
        (0..rounds as usize).try_for_each(|round| locked.with(|items| items[round % LEN] += 1))
    })?;
    let served = manager.array("i", &[0_i32; LEN])?;
    timed("array of a manager", budget, |rounds| {
        (0..i64::from(rounds)).try_for_each(|round| served.set(round % LEN as i64, &(round as i32)))
    })?;
    let list = manager.list([0_i32; LEN])?;
    timed("list of a manager", budget, |rounds| {
        (0..i64::from(rounds)).try_for_each(|round| list.set(round % LEN as i64, &(round as i32)))
    })
}

fn locks(manager: &Manager, budget: Duration) -> Result<()> {
    let (lock, reentrant) = (Lock::new()?, RLock::new()?);
    timed("lock", budget, |rounds| (0..rounds).try_for_each(|_| lock.acquire().and_then(|()| lock.release())))?;
    timed("rlock", budget, |rounds| {
        (0..rounds).try_for_each(|_| reentrant.acquire().and_then(|()| reentrant.release()))
    })?;
    let served = manager.lock()?;
    timed("lock of a manager", budget, |rounds| {
        (0..rounds).try_for_each(|_| served.acquire().and_then(|_| served.release()))
    })
}

fn program() -> Outcome {
    if let Some(text) = self_test(&["--budget", "1"])? {
        let names: Vec<_> = text.lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
        let wanted = [
            "pipe to a fork",
            "queue to a fork",
            "condition with a fork",
            "pipe to a thread",
            "queue to a thread",
            "condition with a thread",
            "queue of a manager",
            "array of this process",
            "array in shared memory",
            "array in shared memory with a lock",
            "array of a manager",
            "list of a manager",
            "lock",
            "rlock",
            "lock of a manager",
        ];
        assert_eq!(names, wanted);
        assert!(text.lines().all(|line| line.ends_with(" ns each")), "{text}");
        return Ok(());
    }
    let budget = Duration::from_millis(option("budget").map_or(Ok(200), |number| number.parse())?);
    for context in [Context::Fork, Context::Thread] {
        pipes(context, budget)?;
        queues(context, budget)?;
        conditions(context, budget)?;
    }
    let manager = Manager::start(Context::Spawn)?;
    let queue = manager.queue::<Vec<u8>>(0)?;
    timed("queue of a manager", budget, |rounds| {
        (0..rounds).try_for_each(|_| queue.put(&vec![7; ITEM]).and_then(|()| queue.get().map(drop)))
    })?;
    arrays(&manager, budget)?;
    locks(&manager, budget)?;
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(tasks![]);
    front::run(USAGE, program)
}
