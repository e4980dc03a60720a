//! The tasks of the tests' workers.

use std::path::PathBuf;
use std::time::Duration;

use ossature::multiprocessing::{Tasks, tasks};
use ossature::sys::{process::Signal, signal::raise};
use ossature_redis::{Pool, PoolBuilder, Queue};

use crate::support::note;

pub static TASKS: Tasks = tasks![
    host_of_a_nap,
    square,
    add,
    parse,
    fail,
    die,
    nap,
    length,
    repeat,
    marked,
    kill_the_host,
    die_once,
    host_pid,
    parent_pid,
    open,
    makes_a_file,
    text_of
];

pub fn square(number: u64) -> u64 {
    number * number
}

pub fn add(a: u32, b: u32) -> u32 {
    a + b
}

pub fn parse(text: String) -> Result<u32, std::num::ParseIntError> {
    text.parse()
}

pub fn fail(text: String) -> u32 {
    panic!("{text}")
}

pub fn die() {
    raise(Signal::KILL).unwrap();
}

pub fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

pub fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

pub fn repeat(byte: u8, count: usize) -> Vec<u8> {
    vec![byte; count]
}

pub fn text_of(count: usize) -> String {
    "7".repeat(count)
}

/// Records its start, sleeps, and returns its number.
pub fn marked(path: PathBuf, number: u64, millis: u64) -> u64 {
    note(&path, &number.to_string());
    std::thread::sleep(Duration::from_millis(millis));
    number
}

fn parent_of(pid: &str) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = stat.rsplit(')').next().unwrap();
    after.split_whitespace().nth(1).unwrap().to_owned()
}

/// The process id of the supervisor of this process.
pub fn parent_pid() -> u32 {
    parent_of("self").parse().unwrap()
}

/// The process id of `prog worker`: the parent of the supervisor of this process.
pub fn host_pid() -> u32 {
    parent_of(&parent_of("self")).parse().unwrap()
}

/// Kills the whole host, unless the file exists.
pub fn kill_the_host(spared: PathBuf) -> u32 {
    if !spared.exists() {
        let host = host_pid().to_string();
        std::process::Command::new("kill").args(["-9", &host]).status().unwrap();
        std::thread::sleep(Duration::from_secs(60));
    }
    7
}

/// Dies in its first run.
pub fn die_once(path: PathBuf, number: u64) -> u64 {
    let first = std::fs::File::options().write(true).create_new(true).open(path.join(number.to_string())).is_ok();
    if first {
        die();
    }
    number
}

pub fn open(file: ossature::multiprocessing::transfer::Handle<std::fs::File>) -> bool {
    file.0.metadata().is_ok()
}

pub fn makes_a_file() -> ossature::multiprocessing::transfer::Handle<std::fs::File> {
    ossature::multiprocessing::transfer::Handle(std::fs::File::open("/dev/null").unwrap())
}

/// A pool for tests: a host counts as lost after two seconds.
pub fn pool() -> PoolBuilder {
    Pool::builder().lease(Duration::from_secs(2))
}

/// Returns the host's process id after a moment, so that other hosts get their share.
pub fn host_of_a_nap(_: u32) -> u32 {
    nap(30);
    host_pid()
}

/// A queue for tests: a getter counts as lost after two seconds.
pub fn queue(url: &str, maxsize: Option<usize>) -> Queue<u64> {
    let builder = Queue::builder().lease(Duration::from_secs(2));
    let builder = maxsize.into_iter().fold(builder, |builder, items| builder.maxsize(items));
    builder.connect(url, "q").unwrap()
}
