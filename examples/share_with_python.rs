//! A Rust program and a Python program use one array in shared memory, and count in it under one lock.
//!
//! `cargo run --example share_with_python`; with `--self-test` it checks the numbers. Without python3 it prints this,
//! and does Python's part itself.

#[path = "family/front.rs"]
mod front;

use std::process::{Command, ExitCode, ExitStatus};

use ossature::multiprocessing::shared_memory::{ShareableList, SharedMemory};
use ossature::multiprocessing::sync::NamedLock;

const USAGE: &str = "\
usage: share_with_python [--without] [--self-test]
Shares an array, a list and a lock with a Python program.
  --without    does Python's part in Rust, as it does where no python3 is installed
  --self-test  checks the numbers";

/// The Python program. It must not remove the block, so its resource tracker must not know of it.
const PYTHON: &str = "\
import sys
try:
    from multiprocessing import resource_tracker, synchronize
    from multiprocessing.shared_memory import SharedMemory, ShareableList
except ImportError:
    sys.exit(77)
block, words, lock_name = sys.argv[1:]
shm, names = SharedMemory(name=block), ShareableList(name=words)
for opened in (shm, names.shm):
    resource_tracker.unregister('/' + opened.name, 'shared_memory')
lock = synchronize.Lock.__new__(synchronize.Lock)
lock.__setstate__((0, 1, 1, '/' + lock_name))
numbers = shm.buf.cast('d')
for place in range(1, len(numbers)):
    numbers[place] **= 2
for turn in range(1000):
    with lock:
        numbers[0] += 1
names[1] = 'Python %d.%d' % sys.version_info[:2]
numbers.release()
shm.close()
names.shm.close()
";
/// The exit code of a Python without shared memory, before 3.8.
const TOO_OLD: i32 = 77;

const NUMBERS: usize = 1000;
const TURNS: usize = 1000;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Adds to the first number, which both programs change.
fn count(memory: &SharedMemory, lock: &NamedLock) -> ossature::Result<()> {
    for _ in 0..TURNS {
        lock.with(|| memory.set(0, memory.get::<f64>(0)? + 1.0))??;
    }
    Ok(())
}

/// Does in Rust what the Python program does.
fn instead_of_python(block: &str, words: &str, lock: &str) -> ossature::Result<()> {
    let (memory, names) = (SharedMemory::open(block)?, ShareableList::open(words)?);
    let mut numbers = [0.0; NUMBERS];
    memory.read(8, &mut numbers)?;
    memory.write(8, &numbers.map(|number| number * number))?;
    count(&memory, &NamedLock::open(lock)?)?;
    names.set(1, "Rust")
}

fn program() -> Outcome {
    let memory = SharedMemory::create(8 * (1 + NUMBERS))?;
    let numbers: Vec<f64> = (1..=NUMBERS).map(|number| number as f64).collect();
    memory.write(8, &numbers)?;
    let names = ShareableList::new(["Rust", "(the other)"])?;
    let lock = NamedLock::create()?;
    let told = [memory.name(), names.memory().name(), lock.name()];

    let without = std::env::args().any(|argument| argument == "--without");
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON]).args(told);
    let python = if without { None } else { Some(python.spawn()) };
    count(&memory, &lock)?; // at the same time as the other program
    let ended = |status: ExitStatus| match status.code() {
        Some(TOO_OLD) => Ok(false),
        Some(0) => Ok(true),
        _ => Err(format!("Python failed: {status}")),
    };
    let done = match python {
        Some(Ok(mut python)) => ended(python.wait()?)?,
        Some(Err(error)) => {
            println!("python3 does not start: {error}");
            false
        }
        None => false,
    };
    if !done {
        println!("Python's part runs in Rust");
        instead_of_python(told[0], told[1], told[2])?;
    }

    let mut squares = [0.0; NUMBERS];
    memory.read(8, &mut squares)?;
    let (sum, turns) = (squares.iter().sum::<f64>(), memory.get::<f64>(0)?);
    println!("{} and {} counted to {turns}; the squares have the sum {sum}", told_by(&names, 0)?, told_by(&names, 1)?);
    if std::env::args().any(|argument| argument == "--self-test") {
        assert_eq!((sum, turns), (333_833_500.0, 2.0 * TURNS as f64));
        assert_ne!(told_by(&names, 1)?, "(the other)");
    }
    Ok(())
}

fn told_by(names: &ShareableList, index: usize) -> ossature::Result<String> {
    Ok(names.get(index)?.as_str().unwrap_or_default().to_owned())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
