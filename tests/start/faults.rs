//! Every foreign call of a start fails in each possible way. The start returns an error with its cause, or succeeds all
//! the same. Nothing is left behind, and the next start works.

use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::{Context, Process, stop_forkserver};
use ossature::sys::errno::Errno;
use ossature::sys::faults::sweep::{Sweep, Swept};
use ossature::sys::faults::{Fault, Rule};

use crate::harness::{Test, has_children};

pub const TESTS: &[Test] = &[
    ("failing_calls_of_a_spawn_leave_nothing", failing_calls_of_a_spawn_leave_nothing),
    ("failing_calls_at_the_fork_server_leave_nothing", failing_calls_at_the_fork_server_leave_nothing),
    ("refused_exec_is_told_by_its_errno", refused_exec_is_told_by_its_errno),
];

const PATIENCE: Duration = Duration::from_secs(30);

fn start(method: Context) -> ossature::Result<Process> {
    Process::builder().context(method).start(crate::spawn::none, ())
}

/// Sweeps a start by `method`, and calls `after` after each attempt.
fn sweep(method: Context, after: fn()) {
    let ends = |process: Process| {
        assert!(process.join_timeout(PATIENCE).unwrap().is_some());
        assert_eq!(process.exit_code(), Some(11));
    };
    let errnos = [Errno::INTR, Errno::NOMEM, Errno::MFILE, Errno::AGAIN];
    let start = || start(method);
    let swept = Sweep::new(&errnos).run_with(start, |call, answer| {
        match answer {
            Ok(process) => ends(process),
            Err(error) => {
                assert!([ErrorKind::Os, ErrorKind::StartFailed].contains(&error.kind()), "{call:?}: {error:?}")
            }
        }
        after();
        assert!(!has_children(), "after {call:?}");
    });
    let Swept { calls, refused, .. } = swept.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(calls >= 8, "{calls}");
    assert!(refused >= calls / 2, "{refused} of {calls}");
}

fn failing_calls_of_a_spawn_leave_nothing() {
    sweep(Context::Spawn, || {});
}

fn failing_calls_at_the_fork_server_leave_nothing() {
    sweep(Context::Forkserver, || assert!(stop_forkserver(PATIENCE).unwrap(), "the server does not end"));
}

fn refused_exec_is_told_by_its_errno() {
    for errno in [Errno::NOMEM, Errno::ACCESS, Errno::TOOBIG, Errno::PERM, Errno::TXTBSY] {
        // By its open image, or by the path that another test has set.
        let rules = ["execveat", "execve"].map(|call| Rule::on(call, Fault::Fail(errno)).everywhere().arm().unwrap());
        let error = start(Context::Spawn).unwrap_err();
        drop(rules);
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(errno)), "{error}");
        assert!(error.to_string().contains("cannot run the program"), "{error}");
    }
    for errno in [Errno::AGAIN, Errno::NOMEM] {
        let rule = Rule::on("clone3", Fault::Fail(errno)).arm().unwrap();
        let error = start(Context::Spawn).unwrap_err();
        drop(rule);
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(errno)), "{error}");
    }
}
