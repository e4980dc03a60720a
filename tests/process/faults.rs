//! Starts that fail: an error that names the cause, and nothing left behind.

use std::time::Duration;

use ossature::multiprocessing::connection::CancelFd;
use ossature::multiprocessing::util::temp_dir;
use ossature::multiprocessing::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, Process, RLock, RwLock, Semaphore, Value, active_children,
    parent_process,
};
use ossature::sys::errno::Errno;
use ossature::sys::faults::sweep::Sweep;
use ossature::sys::faults::{Armed, Fault, Rule};
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::process::ExitStatus;

use crate::harness::{Test, has_children};
use crate::worlds::{Fork, World};

pub const TESTS: &[Test] = &[
    ("a_refused_start_leaves_nothing", a_refused_start_leaves_nothing),
    ("too_many_processes_are_told_as_such", too_many_processes_are_told_as_such),
    ("a_thread_that_cannot_start_leaves_nothing", a_thread_that_cannot_start_leaves_nothing),
    ("a_child_without_null_keeps_its_input", a_child_without_null_keeps_its_input),
    ("a_daemon_that_the_kernel_does_not_tell_has_a_thread", a_daemon_that_the_kernel_does_not_tell_has_a_thread),
    ("an_unseen_parent_is_an_error", an_unseen_parent_is_an_error),
    ("an_interrupted_wait_goes_on", an_interrupted_wait_goes_on),
    ("a_wait_for_a_child_makes_one_call_to_wait", a_wait_for_a_child_makes_one_call_to_wait),
    (UNARMED, an_end_that_could_not_be_registered_is_registered_by_the_next_start),
    (REFUSED, a_lock_without_a_robust_list_is_refused_by_name),
];

fn fail(name: &'static str, errno: Errno) -> Rule {
    Rule::on(name, Fault::Fail(errno))
}

fn arm(rule: Rule) -> Armed {
    rule.arm().unwrap()
}

/// Each foreign call of the start fails in each possible way.
fn a_refused_start_leaves_nothing() {
    let start = || Fork::start_with(Process::builder(), "return", "0");
    let swept = Sweep::new(&[Errno::INTR, Errno::NOMEM, Errno::MFILE, Errno::AGAIN, Errno::PERM]).run_with(
        start,
        |call, answer| {
            match answer {
                Ok(child) => assert_eq!(child.join().unwrap(), ExitStatus::Code(0)),
                Err(error) => assert_eq!(error.errno(), call.map(|call| call.errno), "{error}"),
            }
            assert_eq!(active_children(), []);
            assert!(!has_children(), "after {call:?}");
        },
    );
    let swept = swept.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(swept.calls >= 5, "{swept:?}");
    // At least the pipe, the fork and the pidfd can be refused; what proves a single thread is made up for.
    assert!(swept.refused >= 12 && swept.survived >= 5, "{swept:?}");
}

fn too_many_processes_are_told_as_such() {
    let rule = arm(fail("fork", Errno::AGAIN));
    let error = Process::fork(|| ()).unwrap_err();
    assert_eq!((error.errno(), rule.hits()), (Some(Errno::AGAIN), 1));
    assert!(error.to_string().contains("cannot fork"), "{error}");
    drop(rule);
    for (call, errno, what) in [
        ("fork", Errno::AGAIN, ["cannot fork (", "RLIMIT_NPROC"]),
        ("fork", Errno::NOMEM, ["cannot fork (", "memory.max"]),
        ("pipe2", Errno::MFILE, ["report: ", "RLIMIT_NOFILE"]),
        ("pipe2", Errno::NFILE, ["report: ", "fs.file-max"]),
    ] {
        let _rule = arm(fail(call, errno));
        let error = Process::fork(|| ()).unwrap_err();
        assert_eq!(error.errno(), Some(errno));
        assert!(what.iter().all(|what| error.to_string().contains(what)), "{error}");
    }
}

fn a_thread_that_cannot_start_leaves_nothing() {
    let rule = arm(fail("eventfd", Errno::MFILE));
    assert_eq!(Process::builder().thread(|| ()).unwrap_err().errno(), Some(Errno::MFILE));
    assert_eq!((rule.hits(), active_children()), (1, vec![]));
}

fn a_child_without_null_keeps_its_input() {
    let _rule = arm(fail("dup2", Errno::BUSY).everywhere());
    let child = Process::fork(|| u8::from(std::fs::metadata("/proc/self/fd/0").is_err()));
    assert_eq!(child.unwrap().join().unwrap(), ExitStatus::Code(0));
}

fn a_daemon_that_the_kernel_does_not_tell_has_a_thread() {
    let _rule = arm(fail("prctl", Errno::INVAL).everywhere());
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count() as u8;
    assert_eq!(Process::builder().daemon(true).fork(threads).unwrap().join().unwrap(), ExitStatus::Code(2));
}

fn an_unseen_parent_is_an_error() {
    let child = Process::fork(|| {
        let parent = parent_process().unwrap();
        let rule = arm(fail("pidfd_open", Errno::MFILE));
        assert_eq!(parent.is_alive().unwrap_err().errno(), Some(Errno::MFILE));
        assert!(format!("{parent:?}").ends_with(" unknown>"));
        drop(rule);
        assert!(parent.is_alive().unwrap());
        let _rule = arm(fail("getrandom", Errno::NOSYS));
        assert_eq!(temp_dir().unwrap_err().errno(), Some(Errno::NOSYS));
    });
    assert_eq!(child.unwrap().join().unwrap(), ExitStatus::Code(0));
}

/// The limit of the wait may carry a `CancelFd`. Without one no call is added.
fn a_wait_for_a_child_makes_one_call_to_wait() {
    let calls = |wait: &dyn Fn(&Process) -> Option<ExitStatus>| {
        let child = Process::fork(|| ()).unwrap();
        poll(&mut [PollFd::new(&child, PollFlags::IN)], Duration::from_secs(60)).unwrap();
        let rules = ["ppoll", "waitid", "read"].map(|call| arm(Rule::on(call, Fault::Count)));
        assert_eq!(wait(&child), Some(ExitStatus::Code(0)));
        rules.map(|rule| rule.seen())
    };
    let plain = calls(&|child| Some(child.join().unwrap()));
    assert_eq!(plain[..2], [1, 1]);
    assert_eq!(calls(&|child| child.join_timeout(Duration::from_secs(60)).unwrap()), plain);
    let stop = CancelFd::new().unwrap();
    assert_eq!(calls(&|child| child.join_timeout(&stop).unwrap()), plain);
}

fn an_interrupted_wait_goes_on() {
    let child = Process::fork(|| std::thread::sleep(Duration::from_millis(20))).unwrap();
    let polls = arm(fail("poll", Errno::INTR).times(3));
    let ppolls = arm(fail("ppoll", Errno::INTR).times(3));
    let waits = arm(fail("waitid", Errno::INTR).times(3));
    assert_eq!(child.join().unwrap(), ExitStatus::Code(0));
    assert_eq!((polls.hits() + ppolls.hits(), waits.hits()), (3, 3));
}

const UNARMED: &str = "an_end_that_could_not_be_registered_is_registered_by_the_next_start";

/// The variable of a run of this binary that has started no process before.
const FRESH: &str = "OSSATURE_TEST_NO_START_YET";

fn an_end_that_could_not_be_registered_is_registered_by_the_next_start() {
    if std::env::var_os(FRESH).is_none() {
        return run_alone(UNARMED, FRESH);
    }
    let rule = arm(fail("atexit", Errno::NOMEM).times(1));
    let error = Process::fork(|| ()).unwrap_err();
    assert_eq!((error.errno(), rule.seen()), (Some(Errno::NOMEM), 1), "{error}");
    assert!(error.to_string().contains("the exit sequence of the process"), "{error}");
    for _ in 0..2 {
        assert!(Process::fork(|| ()).unwrap().join().unwrap().success());
        assert_eq!(rule.seen(), 2, "once, and not again");
    }
}

/// Runs one test in a fresh process of this binary.
fn run_alone(test: &str, variable: &str) {
    let this = std::env::current_exe().unwrap();
    let run = std::process::Command::new(this).arg(test).env(variable, "1").output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(String::from_utf8_lossy(&run.stdout).contains("\n1 passed, 0 failed"));
}

const REFUSED: &str = "a_lock_without_a_robust_list_is_refused_by_name";

/// The variable of a run of this binary in which neither the kernel nor the C library keeps a robust list.
const NO_LIST: &str = "OSSATURE_TEST_NO_ROBUST_LIST";

/// A process determines the form of the locks only once, so this needs a fresh process.
fn a_lock_without_a_robust_list_is_refused_by_name() {
    if std::env::var_os(NO_LIST).is_none() {
        return run_alone(REFUSED, NO_LIST);
    }
    let _list = arm(fail("get_robust_list", Errno::NOSYS));
    let _mutex = arm(fail("pthread_mutex_init", Errno::OPNOTSUPP));
    for (object, error) in [
        ("a lock", Lock::new().unwrap_err()),
        ("an rlock", RLock::new().unwrap_err()),
        ("an rwlock", RwLock::new(0_u32).unwrap_err()),
        ("a condition", Condition::new().unwrap_err()),
        ("a semaphore", Semaphore::new(1).unwrap_err()),
        ("a semaphore", BoundedSemaphore::new(1).unwrap_err()),
        ("a barrier", Barrier::new(2).unwrap_err()),
        ("a value", Value::new(0_u32).unwrap_err()),
    ] {
        assert_eq!(error.errno(), Some(Errno::OPNOTSUPP), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("{object} cannot be placed in shared memory: ")), "{text}");
        assert!(text.contains("this system has no robust list") && text.contains("under a Linux kernel"), "{text}");
    }
    // What needs no list is there.
    Event::new().unwrap().set();
}
