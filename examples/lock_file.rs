//! Two processes number the lines that they add to one file, with a lock around reading and writing.
//!
//! `cargo run --example lock_file`; with `--self-test` it checks what it prints.

mod family;
#[path = "family/front.rs"]
mod front;

use std::fs::{File, OpenOptions, read_to_string, remove_file};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use family::{Outcome, is_self_test, join, start};
use ossature::multiprocessing::Lock;

const USAGE: &str = "\
usage: lock_file [--self-test]
Two processes number the lines that they add to one file, under a lock.
  --self-test  checks the numbers";

const LINES: usize = 20;

/// Adds a line with the next number. Without the lock, two processes could use the same number.
fn add_line(path: &Path, name: &str) -> std::io::Result<()> {
    let number = read_to_string(path)?.lines().count() + 1;
    let mut file = OpenOptions::new().append(true).open(path)?;
    writeln!(file, "{number} by {name}")
}

fn write_lines(lock: &Lock, path: &Path, name: &str) -> Outcome {
    for _ in 0..LINES {
        lock.with(|| add_line(path, name))??; // Python: with lock:
    }
    Ok(())
}

/// A file that is removed when the program ends; a forked child never drops its parent's values.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_file(&self.0);
    }
}

fn program() -> Outcome {
    let path = std::env::temp_dir().join(format!("ossature-lock-file-{}", std::process::id()));
    File::create_new(&path)?;
    let scratch = Scratch(path);
    let lock = Lock::new()?;

    let first = start(|| write_lines(&lock, &scratch.0, "the first"))?;
    let second = start(|| write_lines(&lock, &scratch.0, "the second"))?;
    join([first, second])?;

    let text = read_to_string(&scratch.0)?;
    print!("{text}");
    if is_self_test() {
        assert_eq!(text.lines().filter(|line| line.ends_with("first")).count(), LINES);
        assert_eq!(text.lines().count(), 2 * LINES);
        for (line, number) in text.lines().zip(1..) {
            assert!(line.starts_with(&format!("{number} by the ")), "{line} is not number {number}");
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
