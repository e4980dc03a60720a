//! A child under ptrace: stopped, stepped, resumed, killed between two instructions.

use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::process::{Child, ExitStatus, Signal, fork, pidfd_wait};
use ossature_sys::ptrace::{self, State};

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("traced_child_stands_still_until_resumed", traced_child_stands_still_until_resumed),
    ("child_is_stepped_to_its_end", child_is_stepped_to_its_end),
    ("child_is_killed_after_some_instructions", child_is_killed_after_some_instructions),
    ("signal_is_delivered_on_resume", signal_is_delivered_on_resume),
    ("orders_to_an_ended_child_are_refused", orders_to_an_ended_child_are_refused),
    ("orders_never_reach_another_child_of_the_same_number", orders_never_reach_another_child_of_the_same_number),
];

pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn stopped(body: impl FnOnce() -> u8) -> Child {
    let mut child = fork(|| {
        ptrace::stop_for_tracer().unwrap();
        body()
    })
    .unwrap();
    assert_eq!(ptrace::wait(&mut child, PATIENCE), Ok(Some(State::Stopped(Signal::STOP.as_raw()))));
    child
}

fn traced_child_stands_still_until_resumed() {
    let mut child = stopped(|| 5);
    assert_eq!(ptrace::wait(&mut child, Duration::from_millis(20)), Ok(None));
    ptrace::resume(&child).unwrap();
    assert_eq!(ptrace::wait(&mut child, PATIENCE), Ok(Some(State::Ended(ExitStatus::Code(5)))));
    assert_eq!(child.wait(), Ok(ExitStatus::Code(5)));
    assert!(child.usage().is_some());
    assert_eq!(ptrace::wait(&mut child, PATIENCE), Ok(Some(State::Ended(ExitStatus::Code(5)))));
}

/// Whether this processor can single-step; prints a note if not.
pub fn can_step(child: &mut Child) -> bool {
    match ptrace::single_step(child) {
        Ok(()) => {
            assert_eq!(ptrace::wait(child, PATIENCE), Ok(Some(State::Stopped(Signal::TRAP.as_raw()))));
            true
        }
        Err(Errno::IO) => {
            println!("SKIPPED: this processor does not step");
            child.kill().unwrap();
            child.wait().unwrap();
            false
        }
        Err(errno) => panic!("{errno}"),
    }
}

fn child_is_stepped_to_its_end() {
    let mut child = stopped(|| 6);
    if !can_step(&mut child) {
        return;
    }
    for steps in 1.. {
        ptrace::single_step(&child).unwrap();
        match ptrace::wait(&mut child, PATIENCE).unwrap().unwrap() {
            State::Stopped(signal) => assert_eq!(signal, Signal::TRAP.as_raw()),
            State::Ended(exit) => {
                assert_eq!(exit, ExitStatus::Code(6));
                assert!(steps > 10, "{steps} instructions are too few to return from a function and exit");
                return;
            }
        }
    }
}

fn child_is_killed_after_some_instructions() {
    for steps in [1, 2, 3, 10] {
        let mut child = stopped(|| 7);
        if !can_step(&mut child) {
            return;
        }
        for _ in 1..steps {
            ptrace::single_step(&child).unwrap();
            assert_eq!(ptrace::wait(&mut child, Duration::MAX), Ok(Some(State::Stopped(Signal::TRAP.as_raw()))));
        }
        child.kill().unwrap();
        assert_eq!(child.wait_timeout(PATIENCE).unwrap().unwrap().signal(), Some(9));
    }
}

fn signal_is_delivered_on_resume() {
    let mut child = stopped(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    ptrace::resume(&child).unwrap();
    child.signal(Signal::TERM).unwrap();
    assert_eq!(ptrace::wait(&mut child, PATIENCE), Ok(Some(State::Stopped(Signal::TERM.as_raw()))));
    ptrace::resume_with(&child, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
}

fn orders_to_an_ended_child_are_refused() {
    let mut child = fork(|| 0).unwrap();
    child.wait().unwrap();
    for refused in [ptrace::resume(&child), ptrace::single_step(&child), ptrace::resume_with(&child, Signal::TERM)] {
        assert_eq!(refused, Err(Errno::SRCH));
    }
}

/// One child was reaped without its handle. A second child has the same number and is stopped.
fn orders_never_reach_another_child_of_the_same_number() {
    let child = fork(|| 0).unwrap();
    assert_eq!(pidfd_wait(&child, PATIENCE), Ok(Some(ExitStatus::Code(0))));
    let number = child.pid().as_raw_nonzero().get();
    for _ in 0..200 {
        if let Err(error) = std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()) {
            return println!(
                "SKIPPED: orders_never_reach_another_child_of_the_same_number cannot choose numbers: {error}"
            );
        }
        let mut second = stopped(|| 8);
        let same = second.pid() == child.pid();
        if same {
            for refused in
                [ptrace::resume(&child), ptrace::single_step(&child), ptrace::resume_with(&child, Signal::TERM)]
            {
                assert_eq!(refused, Err(Errno::SRCH));
            }
            assert_eq!(ptrace::wait(&mut second, Duration::from_millis(50)), Ok(None), "it stands still as before");
        }
        ptrace::resume(&second).unwrap();
        assert_eq!(ptrace::wait(&mut second, PATIENCE), Ok(Some(State::Ended(ExitStatus::Code(8)))));
        if same {
            return;
        }
    }
    panic!("no child ever got the number {number}");
}
