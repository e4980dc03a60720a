//! Counts the words of files with a pool of processes, any of which may be killed.
//!
//! ```console
//! cargo run --release --example words -- [--workers N] [--top N] [--kill] [FILE | -]...
//! ```
//!
//! A word is a maximal run of bytes other than the six C white-space bytes. The commonest words are printed as
//! `<count> <word>`, then one line with the sums. With `--kill` one worker is killed halfway through its share, and
//! the result is the same.
#![deny(unsafe_code)]

#[path = "words/check.rs"]
mod check;
#[path = "words/progress.rs"]
mod progress;
#[path = "words/split.rs"]
mod split;
#[path = "words/table.rs"]
mod table;
#[path = "words/text.rs"]
mod text;
#[path = "words/work.rs"]
mod work;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::Instant;

use ossature::multiprocessing::freeze_support;

use crate::progress::Bar;
use crate::text::{Text, Unreadable, shown};
use crate::work::Counted;

/// The text that is counted if no file is named.
const SHIPPED: &[u8] = include_bytes!("words/text.txt");

const USAGE: &str = "\
usage: words [--workers N] [--top N] [--kill] [--self-test] [FILE | -]...
  --workers N  count with N processes (default: one for each processor)
  --top N      print the N commonest words (default: 20)
  --kill       kill a worker halfway through its share
  --self-test  count known texts in several ways and compare
Without FILE the text that comes with the program is counted; - is standard input.";

/// The highest accepted number of processes; a higher one is a typing error.
const MOST_WORKERS: usize = 512;

struct Arguments {
    workers: usize,
    top: usize,
    kill: bool,
    self_test: bool,
    files: Vec<OsString>,
}

fn main() -> ExitCode {
    freeze_support(work::TASKS);
    let done = match arguments() {
        Ok(Some(arguments)) if arguments.self_test => check::self_test(),
        Ok(Some(arguments)) => run(&arguments),
        Ok(None) => {
            println!("{USAGE}");
            Ok(())
        }
        Err(error) => {
            eprintln!("words: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("words: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Reads the command line; `None` if it requests help.
fn arguments() -> Result<Option<Arguments>, lexopt::Error> {
    use lexopt::prelude::*;

    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found =
        Arguments { workers: processors.min(MOST_WORKERS), top: 20, kill: false, self_test: false, files: Vec::new() };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("workers") => {
                found.workers = parser.value()?.parse()?;
                if !(1..=MOST_WORKERS).contains(&found.workers) {
                    return Err(format!("--workers needs a number from 1 to {MOST_WORKERS}").into());
                }
            }
            Long("top") => found.top = parser.value()?.parse()?,
            Long("kill") => found.kill = true,
            Long("self-test") => found.self_test = true,
            Short('h') | Long("help") => return Ok(None),
            Value(file) => found.files.push(file),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(found))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let text = if arguments.files.is_empty() {
        Text::of(SHIPPED)?
    } else {
        Text::open(&arguments.files).map_err(|unreadable| {
            let lines = unreadable.iter().map(|Unreadable(name, error)| format!("{}: {error}", shown(name)));
            lines.collect::<Vec<_>>().join("\nwords: ")
        })?
    };
    let bytes = text.bytes();
    let mut bar = Bar::new(bytes);
    let counted = count(text, arguments.workers, arguments.kill, |done| bar.advance(done))?;
    drop(bar);
    let seconds = begin.elapsed().as_secs_f64();
    if counted.killed {
        eprintln!("words: a worker was killed halfway through its share; another took it over");
    }

    let mut out = BufWriter::new(io::stdout().lock());
    for (word, count) in counted.table.commonest(arguments.top) {
        write!(out, "{count} ")?;
        out.write_all(word)?;
        writeln!(out)?;
    }
    let (words, distinct, workers) = (counted.words, counted.table.distinct(), arguments.workers);
    let speed = bytes as f64 / f64::from(1 << 20) / seconds.max(1e-9);
    writeln!(out, "{words} words, {distinct} distinct, {bytes} bytes, {workers} workers, {speed:.1} MiB/s")?;
    out.flush()?;
    Ok(())
}

/// Cuts a text so that each worker receives several shares, and counts its words.
fn count(mut text: Text, workers: usize, kill: bool, progress: impl FnMut(u64)) -> Result<Counted, Box<dyn Error>> {
    // Large enough that merging costs little, small enough that the workers end at about the same time.
    let size = usize::try_from(text.bytes() / (workers as u64 * 8)).unwrap_or(usize::MAX).clamp(1 << 12, 32 << 20);
    text.cut(size)?;
    work::count(text, workers, kill, progress)
}
