//! Processes started from ordinary tests, beside libtest's threads. The first line of each test registers the table of
//! tasks.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::{Context, Process, Tasks, Value, freeze_support, tasks};

static TASKS: Tasks = tasks![add, say];

fn add(total: Value<u32>, more: u32) {
    total.with(|total| *total += more).expect("nobody died with the lock");
}

fn say(word: String) {
    println!("{word}");
    std::io::stdout().flush().expect("somebody listens");
}

fn ended(process: &Process) -> Option<i32> {
    assert!(process.join_timeout(Duration::from_secs(30)).unwrap().is_some(), "it does not end");
    process.exit_code()
}

#[test]
fn children_of_a_test_share_memory_with_it() {
    freeze_support(TASKS);
    let total = Value::new(0_u32).unwrap();
    let start = |n| Process::builder().context(Context::Spawn).start(add, (total.try_clone().unwrap(), n)).unwrap();
    let processes: Vec<_> = (1..=3).map(start).collect();
    assert_eq!(processes.iter().map(ended).collect::<Vec<_>>(), [Some(0); 3]);
    assert_eq!(total.get().unwrap(), 6);
}

#[test]
fn fork_from_a_test_says_why_it_cannot() {
    freeze_support(TASKS);
    let error = Process::builder().context(Context::Fork).start(say, (String::new(),)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MultiThreaded);
}

/// Prints only when the test below tells it to.
#[test]
fn child_of_a_test_speaks() {
    freeze_support(TASKS);
    if std::env::var_os("OSSATURE_TEST_SPEAK").is_some() {
        let process = Process::builder().context(Context::Spawn).start(say, ("marrow".into(),)).unwrap();
        assert_eq!(ended(&process), Some(0));
    }
}

#[test]
fn libtest_in_the_child_is_not_heard() {
    for threads in ["--test-threads=1", "--test-threads=4"] {
        let run = Command::new(std::env::current_exe().unwrap())
            .args(["spawn_under_libtest::child_of_a_test_speaks", "--exact", "--nocapture", threads])
            .env("OSSATURE_TEST_SPEAK", "1")
            .output()
            .unwrap();
        let text = String::from_utf8(run.stdout).unwrap();
        assert!(run.status.success(), "{text}");
        assert_eq!(text.matches("running 1 test").count(), 1, "{text}");
        assert_eq!(text.matches("marrow\n").count(), 1, "{text}");
    }
}
