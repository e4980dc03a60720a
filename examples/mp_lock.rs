//! Two processes append to one file under one lock: one with a guard, one with explicit acquire and release. Their
//! lines never mix.
//!
//! `cargo run --example mp_lock [-- --file PATH]`; without a path the file is a temporary one. With `--self-test` it
//! checks what it prints.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::fs::{File, OpenOptions, read_to_string, remove_file};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ossature::multiprocessing::{Lock, Process};
use own::{Outcome, option, self_test};

const USAGE: &str = "\
usage: mp_lock [--file PATH] [--self-test]
Two processes append to one file under one lock.
  --file PATH  the file (default: a temporary one)
  --self-test  checks that the lines do not mix";

const LINES: usize = 9;

/// Appends line by line, so that two simultaneous writers would mix their lines.
fn append(path: &Path, line: &str) -> Outcome {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    for _ in 0..LINES {
        writeln!(file, "{line}")?;
    }
    Ok(())
}

fn worker_with(lock: &Lock, path: &Path) -> Outcome {
    let _guard = lock.lock()?; // Python: with lock:
    append(path, "Lockd acquired via with")
}

fn worker_no_with(lock: &Lock, path: &Path) -> Outcome {
    lock.acquire()?;
    let done = append(path, "Lock acquired directly");
    lock.release()?; // Python: finally:
    done
}

fn program() -> Outcome {
    if let Some(text) = self_test(&[])? {
        let lines: Vec<_> = text.lines().collect();
        let (first, second) = lines.split_at(LINES);
        let all = |half: &[&str], line: &str| half.len() == LINES && half.iter().all(|other| *other == line);
        let (with, direct) = ("Lockd acquired via with", "Lock acquired directly");
        assert!((all(first, with) && all(second, direct)) || (all(first, direct) && all(second, with)), "{text}");
        return Ok(());
    }
    let temporary = std::env::temp_dir().join(format!("ossature-mp-lock-{}", std::process::id()));
    let path = option("file").map_or_else(|| temporary.clone(), PathBuf::from);
    File::create(&path)?;
    let lock = Lock::new()?;

    let one = Process::builder().fork(|| worker_with(&lock, &path))?;
    let other = Process::builder().fork(|| worker_no_with(&lock, &path))?;
    one.join()?;
    other.join()?;

    print!("{}", read_to_string(&path)?);
    if path == temporary {
        remove_file(path)?;
    }
    if (one.exit_code(), other.exit_code()) == (Some(0), Some(0)) { Ok(()) } else { Err("a process failed".into()) }
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
