//! Processes that are joined for the value that their function returns.

use std::time::{Duration, Instant};

use ossature::multiprocessing::connection::CancelFd;
use ossature::multiprocessing::{Context, Event, Process, ProcessValue, Value, parent_process, pipe, stop_forkserver};
use ossature::sys::process::{ExitStatus, exit};
use ossature::{ErrorKind, Result};

use crate::harness::{Test, rest};

pub const TESTS: &[Test] = &[
    ("values_of_every_size_come_back", values_of_every_size_come_back),
    ("errors_of_a_task_come_back_as_text", errors_of_a_task_come_back_as_text),
    ("panic_comes_back_instead_of_a_value", panic_comes_back_instead_of_a_value),
    ("process_that_ends_without_a_value_is_told", process_that_ends_without_a_value_is_told),
    ("process_killed_halfway_through_a_value_is_told", process_killed_halfway_through_a_value_is_told),
    ("join_for_a_value_ends_at_its_deadline", join_for_a_value_ends_at_its_deadline),
    ("join_for_a_value_ends_when_it_is_cancelled", join_for_a_value_ends_when_it_is_cancelled),
    ("value_that_nobody_joins_holds_no_process", value_that_nobody_joins_holds_no_process),
    ("child_of_the_process_delays_no_join", child_of_the_process_delays_no_join),
    ("shared_memory_comes_back", shared_memory_comes_back),
    ("number_is_a_code_or_a_value_as_it_was_started", number_is_a_code_or_a_value_as_it_was_started),
    ("value_that_is_cut_or_of_another_type_is_refused", value_that_is_cut_or_of_another_type_is_refused),
];

const PATIENCE: Duration = Duration::from_secs(30);
/// Ends the fork server at the end of a test.
struct Server;

impl Drop for Server {
    fn drop(&mut self) {
        let _ = stop_forkserver(PATIENCE); // the harness finds the one that is left
    }
}

const ALL: [Context; 4] = [Context::Spawn, Context::Forkserver, Context::Fork, Context::Thread];
const PROCESSES: [Context; 3] = [Context::Spawn, Context::Forkserver, Context::Fork];

#[track_caller]
fn joined<T: ossature::multiprocessing::transfer::Transfer>(mut process: ProcessValue<T>) -> Result<T> {
    process.join_timeout(PATIENCE).map(|value| value.expect("it comes in time"))
}

pub fn text(len: usize) -> String {
    "x".repeat(len)
}

fn values_of_every_size_come_back() {
    let _server = Server;
    for context in ALL {
        // Nothing, more than a pipe holds, many megabytes.
        for len in [0, 300_000, 40 << 20] {
            let process = Process::builder().context(context).start_value(text, (len,)).unwrap();
            assert_eq!(joined(process).unwrap().len(), len, "{context:?}");
        }
    }
    let here = [1, 2, 3];
    assert_eq!(Process::fork_value(|| here.iter().sum::<u64>()).unwrap().join().unwrap(), 6);
}

pub fn half(number: u32) -> std::result::Result<u32, String> {
    if number % 2 == 0 { Ok(number / 2) } else { Err(format!("{number} is odd")) }
}

pub fn read(path: String) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

fn errors_of_a_task_come_back_as_text() {
    let _server = Server;
    for context in ALL {
        let start = |number| Process::builder().context(context).start_result(half, (number,)).unwrap();
        assert_eq!(joined(start(8)).unwrap(), 4);
        let odd = joined(start(7)).unwrap_err();
        assert_eq!((odd.kind(), odd.to_string()), (ErrorKind::TaskFailed, "\"7 is odd\"".to_owned()), "{context:?}");
        assert_eq!(odd.exit_status(), Some(ExitStatus::Code(1)));
        // An error that serde does not know.
        let process = Process::builder().context(context).start_result(read, ("/nonexistent".to_owned(),)).unwrap();
        assert!(joined(process).unwrap_err().to_string().contains("NotFound"));
    }
    let forked = Process::fork_result(|| "seven".parse::<u8>()).unwrap();
    assert_eq!(joined(forked).unwrap_err().to_string(), "ParseIntError { kind: InvalidDigit }");
}

pub fn panics() -> u64 {
    panic!("no ink; this is meant to be seen")
}

fn panic_comes_back_instead_of_a_value() {
    let _server = Server;
    for context in ALL {
        let error = joined(Process::builder().context(context).start_value(panics, ()).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked, "{context:?}");
        assert!(error.to_string().contains("no ink"), "{error}");
        assert_eq!(error.exit_status(), Some(ExitStatus::Code(1)));
    }
}

pub fn leaves() -> u64 {
    exit(7)
}

fn process_that_ends_without_a_value_is_told() {
    let _server = Server;
    for context in PROCESSES {
        let error = joined(Process::builder().context(context).start_value(leaves, ()).unwrap()).unwrap_err();
        assert_eq!(
            (error.kind(), error.exit_status()),
            (ErrorKind::NoResult, Some(ExitStatus::Code(7))),
            "{context:?}"
        );
        assert!(error.to_string().contains("without a value: exit code 7"), "{error}");
    }
}

fn process_killed_halfway_through_a_value_is_told() {
    let _server = Server;
    for context in PROCESSES {
        let mut process = Process::builder().context(context).start_value(text, (64 << 20,)).unwrap();
        // A part comes in each of these, until the time is over.
        assert!(process.join_timeout(Duration::from_millis(1)).unwrap().is_none(), "64 MiB in a millisecond");
        process.process().kill().unwrap();
        let error = joined(process).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoResult, "{context:?}: {error}");
        assert_eq!(error.exit_status().and_then(ExitStatus::signal), Some(9));
    }
}

pub fn rests() -> u64 {
    rest()
}

fn join_for_a_value_ends_at_its_deadline() {
    let _server = Server;
    for context in PROCESSES {
        let mut process = Process::builder().context(context).start_value(rests, ()).unwrap();
        let begun = Instant::now();
        assert!(process.join_timeout(Duration::from_millis(50)).unwrap().is_none(), "{context:?}");
        assert!(begun.elapsed() >= Duration::from_millis(50));
        process.process().kill().unwrap();
        joined(process).unwrap_err();
    }
}

fn join_for_a_value_ends_when_it_is_cancelled() {
    let stop = CancelFd::new().unwrap();
    let go = Event::new().unwrap();
    let mut process = Process::fork_value(|| {
        // A wait for the parent is called away, too.
        let (parent, own) = (parent_process().unwrap(), CancelFd::new().unwrap());
        own.cancel().unwrap();
        let ended = parent.join_timeout(own.within(PATIENCE)).unwrap();
        stop.cancel().unwrap();
        go.wait().unwrap();
        (ended, "the value".to_owned())
    })
    .unwrap();
    // The child has the same one.
    assert_eq!(process.join_timeout(&stop).unwrap(), None);
    assert!(stop.is_cancelled().unwrap());
    stop.reset().unwrap();
    go.set();
    let value = process.join_timeout(stop.within(PATIENCE)).unwrap();
    assert_eq!(value, Some((false, "the value".to_owned())));
}

fn value_that_nobody_joins_holds_no_process() {
    let _server = Server;
    for context in ALL {
        let value = Process::builder().context(context).start_value(text, (8 << 20,)).unwrap();
        let process = value.process().clone();
        drop(value);
        let exit = process.join_timeout(PATIENCE).unwrap();
        assert_eq!(exit, Some(ExitStatus::Code(0)), "{context:?}");
    }
}

/// Leaves a child that has a copy of the pipe for the value.
pub fn leaves_a_child(from: ossature::multiprocessing::connection::Connection) -> u64 {
    Process::fork(|| drop(from.recv::<u8>())).unwrap();
    ossature::sys::signal::raise(ossature::sys::signal::Signal::KILL).unwrap();
    0
}

fn child_of_the_process_delays_no_join() {
    let (near, far) = pipe().unwrap();
    let process = Process::spawn_value(leaves_a_child, (far,)).unwrap();
    let error = joined(process).unwrap_err();
    assert_eq!(error.exit_status().and_then(ExitStatus::signal), Some(9));
    drop(near);
}

pub fn counter(from: u32) -> Value<u32> {
    Value::new(from).unwrap()
}

fn shared_memory_comes_back() {
    let _server = Server;
    for context in ALL {
        let process = Process::builder().context(context).start_value(counter, (5,)).unwrap();
        assert_eq!(joined(process).unwrap().get().unwrap(), 5, "{context:?}");
    }
}

pub fn seven() -> u8 {
    7
}

fn number_is_a_code_or_a_value_as_it_was_started() {
    let _server = Server;
    for context in PROCESSES {
        let builder = || Process::builder().context(context);
        assert_eq!(builder().start(seven, ()).unwrap().join().unwrap(), ExitStatus::Code(7));
        let value = builder().start_value(seven, ()).unwrap();
        let process = value.process().clone();
        assert_eq!(joined(value).unwrap(), 7);
        assert_eq!(process.exit_code(), Some(0));
    }
}

/// A value that serialises to other bytes than it is read from.
#[derive(Debug, serde::Deserialize)]
pub struct Cut(#[expect(dead_code, reason = "only its length matters")] Vec<u64>);

impl serde::Serialize for Cut {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        // A count of elements that do not follow.
        serializer.serialize_u32(u32::MAX)
    }
}

pub fn cut() -> Cut {
    Cut(Vec::new())
}

fn value_that_is_cut_or_of_another_type_is_refused() {
    let _server = Server;
    for context in PROCESSES {
        let error = joined(Process::builder().context(context).start_value(cut, ()).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{context:?}: {error}");
    }
}
