//! Tests of a user's crate that start processes: the recommended form, and the result without it.
//!
//! Each test calls `freeze_support` in its first line. The table of tasks belongs to the process, and `cargo test` runs
//! the tests of a file in one process. So a test without the call passes beside one with the call, and fails alone or
//! under nextest, which runs each test in a process of its own.

use std::process::{Command, Output};
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::{Array, Process, Tasks, freeze_support, tasks};

/// The code under test: a function that runs in another process.
fn double(numbers: Array<u64>) -> ossature::Result<()> {
    numbers.with(|numbers| numbers.iter_mut().for_each(|n| *n = n.checked_mul(2).expect("small numbers")))
}

static TASKS: Tasks = tasks![double];

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn doubles_in_another_process() {
    freeze_support(TASKS); // first: in the new process this line runs the task and does not return
    let numbers = Array::from_slice(&[1_u64, 2, 3]).unwrap();
    let process = Process::spawn(double, (numbers.try_clone().unwrap(),)).unwrap();
    let exit = process.join_timeout(LIMIT).unwrap().expect("the process ends in time");
    assert!(exit.success(), "{exit}");
    assert_eq!(numbers.to_vec().unwrap(), [2, 4, 6]);
}

#[test]
fn a_panic_in_the_process_is_a_value_in_the_test() {
    freeze_support(TASKS);
    let numbers = Array::from_slice(&[u64::MAX]).unwrap();
    let process = Process::spawn(double, (numbers,)).unwrap();
    let exit = process.join_timeout(LIMIT).unwrap().expect("the process ends in time");
    assert_eq!((exit.success(), process.exit_code()), (false, Some(1)));
    assert_eq!(process.panic().unwrap().unwrap().message(), "small numbers");
}

/// The test below runs this one alone. In the whole run it does nothing, because another test may have registered the
/// table.
#[test]
fn without_the_first_line() {
    if std::env::var_os("OSSATURE_TEST_ALONE").is_some() {
        let error = Process::spawn(double, (Array::new(1).unwrap(),)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownTask);
        assert!(error.to_string().contains("freeze_support"), "{error}");
    }
}

/// Runs one test in a process of its own, as nextest does.
fn alone(test: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env("OSSATURE_TEST_ALONE", "1").output().unwrap()
}

#[test]
fn every_test_passes_alone() {
    for test in
        ["doubles_in_another_process", "a_panic_in_the_process_is_a_value_in_the_test", "without_the_first_line"]
    {
        let run = alone(test);
        let text = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && text.contains("test result: ok. 1 passed"), "{test}: {text}");
    }
}
