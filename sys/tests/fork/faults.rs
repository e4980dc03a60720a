//! Forking and starting with failing system calls: an error, and neither a process nor a descriptor left behind.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Barrier;
use std::time::Duration;

use ossature_sys::errno::{Errno, Result};
use ossature_sys::eventfd::EventFd;
use ossature_sys::faults::sweep::Sweep;
use ossature_sys::faults::{self, Armed, Fault, Rule};
use ossature_sys::fd::{duplicate, open_standard_streams};
use ossature_sys::process::{
    self, Argument, Child, ExitStatus, ForkError, Group, Plan, Resource, Rlimit, Signal, Stage, fork,
};
use ossature_sys::ptrace;
use ossature_sys::scope::{LockBackend, Shared};
use ossature_sys::shm::{AttachError, Shm};
use ossature_sys::sync::lock::Lock;

use crate::handover::{self, NO_LIST, NO_MUTEX};
use crate::harness::{Test, has_children, pipe};
use crate::plan;
use crate::shm::{attach, descriptor};

pub const TESTS: &[Test] = &[
    ("failed_fork_leaves_nothing", failed_fork_leaves_nothing),
    ("process_limit_is_told", process_limit_is_told),
    ("child_without_a_descriptor_is_ended", child_without_a_descriptor_is_ended),
    ("forbidden_unshare_is_made_up_for_by_proc", forbidden_unshare_is_made_up_for_by_proc),
    ("leaving_thread_is_waited_for_a_while", leaving_thread_is_waited_for_a_while),
    ("interrupted_wait_is_made_again", interrupted_wait_is_made_again),
    ("failed_wait_may_be_made_again", failed_wait_may_be_made_again),
    ("lost_status_is_unknown", lost_status_is_unknown),
    ("failed_start_leaves_nothing", failed_start_leaves_nothing),
    ("failed_start_without_clone3_leaves_nothing", failed_start_without_clone3_leaves_nothing),
    ("every_plan_works_without_clone3", every_plan_works_without_clone3),
    ("descriptors_are_closed_without_close_range", descriptors_are_closed_without_close_range),
    ("failure_in_the_child_names_its_step", failure_in_the_child_names_its_step),
    ("killed_before_exec_is_told_as_such", killed_before_exec_is_told_as_such),
    ("generation_works_without_a_handler", generation_works_without_a_handler),
    ("wake_of_a_release_through_another_mapping_survives", wake_of_a_release_through_another_mapping_survives),
    ("deaths_are_told_where_the_list_is_hidden", deaths_are_told_where_the_list_is_hidden),
    ("locks_are_refused_where_no_list_is_kept", locks_are_refused_where_no_list_is_kept),
    ("forgotten_wakes_are_made_up_for_on_old_kernels", forgotten_wakes_are_made_up_for_on_old_kernels),
    ("forgotten_wake_delays_only_a_moment", forgotten_wake_delays_only_a_moment),
    (
        "memory_is_known_by_its_makers_number_where_nothing_tells_the_namespace",
        memory_is_known_by_its_makers_number_where_nothing_tells_the_namespace,
    ),
    ("proc_tells_the_namespace_on_old_kernels", proc_tells_the_namespace_on_old_kernels),
    ("a_stream_that_cannot_be_opened_is_told", a_stream_that_cannot_be_opened_is_told),
    ("no_order_is_given_to_a_child_that_was_reaped_unseen", no_order_is_given_to_a_child_that_was_reaped_unseen),
];

const PATIENCE: Duration = Duration::from_secs(20);
const ERRNOS: [Errno; 6] = [Errno::INTR, Errno::NOMEM, Errno::MFILE, Errno::AGAIN, Errno::PERM, Errno::NOSYS];

fn fail(name: &'static str, errno: Errno) -> Rule {
    Rule::on(name, Fault::Fail(errno))
}

fn arm(rule: Rule) -> Armed {
    rule.arm().unwrap()
}

/// Runs `operation` with each of its foreign calls failing in each way, and ends what it started. Returns how often it
/// failed and how often it succeeded.
fn sweep(operation: impl Fn() -> Result<Child>) -> (u64, u64) {
    let swept = Sweep::new(&ERRNOS).run_with(operation, |call, child| {
        if let Ok(mut child) = child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(!has_children(), "a child is left after {call:?}");
        unblock();
    });
    let swept = swept.unwrap_or_else(|failure| panic!("{failure}"));
    (swept.refused, swept.survived)
}

/// Unblocks all signals. Starting blocks them for a moment, and they stay blocked if the unblocking call fails.
fn unblock() {
    let set = ossature_sys::signal::SignalSet::default();
    ossature_sys::signal::set_mask(set).unwrap().keep();
}

fn failed_fork_leaves_nothing() {
    let (refused, survived) = sweep(|| fork(|| 0).map_err(ForkError::errno));
    // SIGCHLD's action, the fork and the child's pidfd: nothing makes up for those; nor for want of descriptors or
    // memory when one is opened to see.
    assert!(refused >= 3 * ERRNOS.len() as u64 + 2, "{refused}");
    // For unshare the link count does.
    assert!(survived >= ERRNOS.len() as u64, "{survived}");
}

fn process_limit_is_told() {
    let _rule = arm(fail("fork", Errno::AGAIN));
    assert_eq!(fork(|| 0).unwrap_err(), ForkError::Os(Errno::AGAIN));
}

fn child_without_a_descriptor_is_ended() {
    // The first fork of a process sees whether there are pidfds at all; after that the one call is the child's.
    fork(|| 0).unwrap().wait().unwrap();
    let rule = arm(fail("pidfd_open", Errno::MFILE).nth(1));
    let refused = fork(|| crate::harness::rest());
    assert_eq!(rule.hits(), 1);
    assert_eq!(refused.unwrap_err(), ForkError::Os(Errno::MFILE));
    assert!(!has_children());
}

fn forbidden_unshare_is_made_up_for_by_proc() {
    let forbidden = arm(fail("unshare", Errno::PERM));
    assert_eq!(fork(|| 8).unwrap().wait(), Ok(ExitStatus::Code(8)));
    let gate = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| gate.wait());
        assert_eq!(fork(|| 0).unwrap_err(), ForkError::MultiThreaded);
        gate.wait();
    });
    // The thread may still be leaving: that is waited for too.
    assert_eq!(fork(|| 9).unwrap().wait(), Ok(ExitStatus::Code(9)));
    let _missing = arm(fail("stat", Errno::NOENT));
    assert_eq!(fork(|| 0).unwrap_err(), ForkError::Unproven);
    assert!(forbidden.hits() >= 4);
}

fn leaving_thread_is_waited_for_a_while() {
    let rule = arm(fail("unshare", Errno::INVAL).times(3));
    assert_eq!(fork(|| 1).unwrap().wait(), Ok(ExitStatus::Code(1)));
    assert_eq!(rule.hits(), 3);
    drop(rule);
    let _rule = arm(fail("unshare", Errno::INVAL));
    assert_eq!(fork(|| 1).unwrap_err(), ForkError::MultiThreaded);
}

fn interrupted_wait_is_made_again() {
    let mut child = fork(|| 2).unwrap();
    let rule = arm(fail("waitid", Errno::INTR).times(3));
    assert_eq!(child.wait(), Ok(ExitStatus::Code(2)));
    assert_eq!(rule.hits(), 3);
    drop(rule);
    let mut child = fork(|| {
        std::thread::sleep(Duration::from_millis(30));
        3
    })
    .unwrap();
    let rule = arm(fail("ppoll", Errno::INTR).times(3));
    assert_eq!(child.wait_timeout(PATIENCE), Ok(Some(ExitStatus::Code(3))));
    assert_eq!(rule.hits(), 3);
}

fn failed_wait_may_be_made_again() {
    let mut child = fork(|| 4).unwrap();
    let rule = arm(fail("waitid", Errno::NOMEM));
    assert_eq!(child.wait(), Err(Errno::NOMEM));
    assert_eq!(child.exit_status(), None);
    drop(rule);
    assert_eq!(child.wait(), Ok(ExitStatus::Code(4)));
}

fn lost_status_is_unknown() {
    let mut child = fork(|| 5).unwrap();
    // SAFETY: waitpid(2) may be given a null pointer for the status.
    unsafe { libc::waitpid(child.pid().as_raw_nonzero().get(), std::ptr::null_mut(), 0) };
    // A kernel before 6.15.
    let rule = arm(fail("ioctl", Errno::NOTTY));
    assert_eq!(child.wait(), Ok(ExitStatus::Unknown));
    assert_eq!(rule.hits(), 1);
    assert_eq!(child.wait().unwrap().python_code(), None);
}

fn start() -> Result<Child> {
    let arguments = [Argument::new(c"sleep"), Argument::new(c"1000"), Argument::END];
    Ok(Plan::new(c"/bin/sleep", &arguments)?.parent_death_signal(Signal::KILL).start()?)
}

fn failed_start_leaves_nothing() {
    let (refused, _) = sweep(start);
    // The pipe, the mask, the clone (for which fork makes up twice in six) and the report.
    assert!(refused >= 14, "{refused}");
}

fn failed_start_without_clone3_leaves_nothing() {
    let rule = arm(fail("clone3", Errno::NOSYS));
    let (refused, _) = sweep(start);
    assert!(refused >= 24, "{refused}");
    drop(rule);
    let _forbidden = arm(fail("clone3", Errno::PERM));
    let mut child = start().unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

fn every_plan_works_without_clone3() {
    let rule = arm(fail("clone3", Errno::NOSYS).everywhere());
    for (name, test) in plan::TESTS {
        // Its step of the cgroup fails elsewhere: the child enters by itself.
        if *name != "each_step_that_fails_is_named" {
            test();
        }
    }
    assert!(rule.hits() > 20);
}

fn descriptors_are_closed_without_close_range() {
    for errno in [Errno::NOSYS, Errno::INVAL] {
        let _rule = arm(fail("close_range", errno).everywhere());
        plan::other_descriptors_are_closed_on_request();
    }
}

fn failure_in_the_child_names_its_step() {
    let arguments = [Argument::new(c"sh"), Argument::END];
    let limits = [(Resource::Core, Rlimit { current: Some(0), maximum: None })];
    let plan = Plan::new(c"/bin/sh", &arguments).unwrap().directory(c"/").group(Group::New).limits(&limits);
    let plan = plan.parent_death_signal(Signal::KILL).close_other_descriptors().default_signals();
    let subreaper = Plan::new(c"/bin/sh", &arguments).unwrap().subreaper();
    for (plan, call, stage) in [
        (plan, "sigaction", Stage::Signals),
        (plan, "setpgid", Stage::Group),
        (plan, "prctl", Stage::ParentDeath),
        (subreaper, "prctl", Stage::Subreaper),
        (plan, "chdir", Stage::Directory),
        (plan, "close_range", Stage::Descriptors),
        (plan, "setrlimit", Stage::Limits),
        (plan, "execve", Stage::Exec),
    ] {
        let _rule = arm(fail(call, Errno::NOMEM).everywhere());
        let error = plan.start().unwrap_err();
        assert_eq!((error.stage(), error.errno()), (stage, Errno::NOMEM), "{call}");
    }
}

fn killed_before_exec_is_told_as_such() {
    for missing in [None, Some("clone3")] {
        let _missing = missing.map(|call| arm(fail(call, Errno::NOSYS)));
        let _rule = arm(Rule::on("execve", Fault::Kill).everywhere());
        // The program was not refused, so this is the end of a child like any other.
        assert_eq!(start().unwrap().wait().unwrap().signal(), Some(9));
    }
}

/// The variable of a run of this binary in which no handler can be registered.
const NO_HANDLER: &str = "OSSATURE_TEST_NO_ATFORK";

/// The variable of a run of this binary that assumes a kernel that may fail to pass a wake on.
const OLD: &str = "OSSATURE_TEST_OLD_KERNEL";

/// The rules for a whole run of this binary. State that a process determines only once needs a fresh process.
pub fn from_environment() -> Vec<Armed> {
    let rules = [
        (NO_HANDLER, "pthread_atfork", Errno::NOMEM),
        (NO_LIST, "get_robust_list", Errno::NOSYS),
        (NO_MUTEX, "get_robust_list", Errno::NOSYS),
        (NO_MUTEX, "pthread_mutex_init", Errno::OPNOTSUPP),
        (OLD, "uname", Errno::NOSYS),
    ];
    let wanted = rules.into_iter().filter(|(variable, ..)| std::env::var_os(variable).is_some());
    wanted
        .map(|(_, call, errno)| Rule::on(call, Fault::Fail(errno)).everywhere().arm().expect("a rule is free"))
        .collect()
}

/// The output of a run of this binary with one of those variables set.
fn said_with(variable: &str, tests: &[&str]) -> String {
    // A filter that matched the caller would start itself for ever.
    assert!(std::env::var_os(variable).is_none(), "{variable} is set already");
    let this = std::env::current_exe().unwrap();
    let output = std::process::Command::new(this).args(tests).env(variable, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn generation_works_without_a_handler() {
    let text = said_with(
        NO_HANDLER,
        &["generation_differs", "inherited_child", "drop_reaps", "drop_leaves", "panic_in_the_child", "arena_needs"],
    );
    assert!(text.contains("\n6 passed, 0 failed"), "{text}");
    assert!(process::generation() < 1 << 31);
}

fn locks_are_refused_where_no_list_is_kept() {
    let text = said_with(NO_MUTEX, &["form_is_our_own_node", "refused::"]);
    assert!(text.contains("\n2 passed, 0 failed"), "{text}");
}

fn forgotten_wakes_are_made_up_for_on_old_kernels() {
    let tests = ["forgotten_wake_delays", "killed_chosen", "killed_holder", "gives_up", "stopped_holder"];
    let text = said_with(OLD, &tests);
    for test in ["forgotten_wake_delays", "past_a_barger", "killed_holder_is_reported", "stopped_holder"] {
        assert!(text.contains(test), "{test} ran: {text}");
    }
}

/// On such a kernel, a releaser that is killed between its store and its wake leaves a release whose wake never comes.
fn forgotten_wake_delays_only_a_moment() {
    if std::env::var_os(OLD).is_none() {
        return println!("SKIPPED: newer kernels do not forget; run by forgotten_wakes_are_made_up_for_on_old_kernels");
    }
    let stage = handover::stage();
    let mut sleepers = handover::Sleepers::start(&stage);
    let held = stage.lock.lock().unwrap();
    sleepers.arrive();
    let lost = arm(fail("futex", Errno::PERM));
    drop(held);
    assert!(lost.hits() > 0);
    drop(lost);
    assert_eq!((sleepers.is_served(0), sleepers.is_served(1)), (1, 1));
}

/// A thread has taken a lock through one mapping and releases it through another. Before its wake the first mapping
/// goes away, and the process is killed.
fn wake_of_a_release_through_another_mapping_survives() {
    if Shared::backend() != LockBackend::Node {
        return println!("SKIPPED: no node is pending here");
    }
    let lock = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    let [is_held, go_on] = [0; 2].map(|_| EventFd::counter(0).unwrap());
    let mut releases = fork(|| {
        let [first, second, third] = [0; 3].map(|_| lock.try_clone().unwrap());
        first.acquire().unwrap();
        is_held.add(1, PATIENCE).unwrap();
        go_on.take(PATIENCE).unwrap();
        let _end = std::thread::spawn(move || {
            while third.is_locked() {
                std::thread::yield_now();
            }
            drop(first);
            let _kill = arm(Rule::on("the end", Fault::Kill));
            let _ = faults::call("the end", || Ok::<(), Errno>(()));
        });
        let _before_the_wake = arm(Rule::on("futex", Fault::Delay(PATIENCE)));
        second.release().unwrap();
        0
    })
    .unwrap();
    assert_eq!(is_held.take(PATIENCE), Ok(Some(1)));
    let mut waits = fork(|| {
        lock.acquire().unwrap();
        0
    })
    .unwrap();
    handover::until("the child sleeps", || handover::asleep(&waits));
    go_on.add(1, PATIENCE).unwrap();
    assert_eq!(releases.wait_timeout(PATIENCE).unwrap().and_then(|end| end.signal()), Some(9));
    let end = waits.wait_timeout(PATIENCE).unwrap();
    if end.is_none() {
        waits.kill().unwrap();
        waits.wait().unwrap();
    }
    assert_eq!(end, Some(ExitStatus::Code(0)), "the wake is lost");
}

fn deaths_are_told_where_the_list_is_hidden() {
    let tests = [
        "form_is",
        "killed_holder",
        "gives_up",
        "stopped_holder",
        "guard_is_held",
        "guard_in_the_child",
        "told_to_the_next",
        "number_of_one_that_was_reported",
    ];
    let text = said_with(NO_LIST, &tests);
    for test in ["form_is_our_own_node", "killed_holder_is_reported", "holder_that_gives_up", "number_of_one"] {
        assert!(text.contains(test), "{test} ran: {text}");
    }
}

/// Before Linux 6.11 the pidfd does not name the namespace, and without /proc nothing does.
fn memory_is_known_by_its_makers_number_where_nothing_tells_the_namespace() {
    let outer = Shm::place(Lock::<u64, Shared>::shared(7)).unwrap();
    // Each child asks for its namespace anew.
    let mut child = fork(|| {
        let silent = [arm(fail("ioctl", Errno::NOTTY).everywhere()), arm(fail("stat", Errno::NOENT).everywhere())];
        assert!(attach(descriptor(&outer)).is_ok(), "its maker lives, and has the same number here");
        assert!(silent.iter().all(|rule| rule.hits() > 0));
        let own = Shm::place(Lock::<u64, Shared>::shared(7)).unwrap();
        assert!(attach(descriptor(&own)).is_ok());

        let (mut told, mut tell) = pipe();
        let mut maker = fork(|| {
            let made = Shm::place(Lock::<u64, Shared>::shared(7)).unwrap();
            // SAFETY: only the number is used.
            let number = unsafe { made.descriptor() }.as_raw_fd();
            tell.write_all(&number.to_ne_bytes()).unwrap();
            loop {
                std::thread::park();
            }
        })
        .unwrap();
        let mut number = [0; 4];
        told.read_exact(&mut number).unwrap();
        // SAFETY: what is made of the descriptor follows the protocol of what lies in the memory.
        match unsafe { process::pidfd_getfd(&maker, i32::from_ne_bytes(number)) } {
            Err(errno) => println!("SKIPPED: the memory of a dead maker: {errno}"),
            Ok(memory) => {
                assert!(attach(duplicate(&memory).unwrap()).is_ok());
                maker.kill().unwrap();
                maker.wait().unwrap();
                assert_eq!(attach(memory).unwrap_err(), AttachError::OtherPidNamespace);
            }
        }
        let _ = maker.kill();
        let _ = maker.wait();

        // SAFETY: unshare(2) has no preconditions.
        if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
            println!("SKIPPED: a pid namespace may not be made");
            return 0;
        }
        let mut nested = fork(|| {
            assert_eq!(attach(descriptor(&outer)).unwrap_err(), AttachError::OtherPidNamespace);
            let own = Shm::place(Lock::<u64, Shared>::shared(7)).unwrap();
            assert!(attach(descriptor(&own)).is_ok());
            0
        })
        .unwrap();
        assert_eq!(nested.wait(), Ok(ExitStatus::Code(0)));
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

fn proc_tells_the_namespace_on_old_kernels() {
    let outer = Shm::place(Lock::<u64, Shared>::shared(7)).unwrap();
    let mut child = fork(|| {
        let old = [arm(fail("ioctl", Errno::NOTTY)), arm(Rule::on("stat", Fault::Count))];
        assert!(attach(descriptor(&outer)).is_ok());
        assert!(old.iter().all(|rule| rule.seen() == 1), "each is asked once");
        assert!(attach(descriptor(&outer)).is_ok());
        assert!(old.iter().all(|rule| rule.seen() == 1), "in a process");
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

fn no_order_is_given_to_a_child_that_was_reaped_unseen() {
    let child = fork(|| 0).unwrap();
    assert_eq!(process::pidfd_wait(&child, PATIENCE), Ok(Some(ExitStatus::Code(0))));
    let orders = arm(Rule::on("ptrace", Fault::Count));
    for refused in [ptrace::resume(&child), ptrace::single_step(&child), ptrace::resume_with(&child, Signal::TERM)] {
        assert_eq!(refused, Err(Errno::SRCH));
    }
    assert_eq!(orders.seen(), 0);
}

fn a_stream_that_cannot_be_opened_is_told() {
    let said = |call, errno| {
        let rule = arm(fail(call, errno).times(1));
        // SAFETY: nothing in this child owns standard error.
        unsafe { libc::close(2) };
        let answer = open_standard_streams();
        drop(rule);
        answer == Err(errno) && open_standard_streams() == Ok(()) && open_standard_streams() == Ok(())
    };
    let mut child =
        fork(|| u8::from(!(said("open", Errno::NOENT) && said("open", Errno::MFILE) && said("fcntl", Errno::PERM))))
            .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}
