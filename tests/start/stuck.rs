//! A child whose end the kernel delays does not delay its start.

use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::transfer::Handle;
use ossature::multiprocessing::{Process, active_children};
use ossature::sys::process::ExitStatus;

use crate::harness::{Test, pipe};
use crate::refused::{Sleeps, odd, take};

pub const TESTS: &[Test] =
    &[("child_that_cannot_be_reaped_does_not_hold_its_start", child_that_cannot_be_reaped_does_not_hold_its_start)];

const PATIENCE: Duration = Duration::from_secs(30);

/// The children of a process.
fn children_of(pid: u32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Traces the next child of a process until `go` is closed. No other process is notified of the child's end meanwhile.
pub fn trace_a_child(of: u32, Handle(mut tell): Handle<File>, Handle(mut go): Handle<File>) -> u8 {
    let before = children_of(of);
    tell.write_all(b"r").unwrap();
    let child = loop {
        if let Some(child) = children_of(of).into_iter().find(|child| !before.contains(child)) {
            break child;
        }
        std::thread::yield_now();
    };
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_SEIZE takes a number, and reads and writes none of this process's memory.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, child, none, none) };
    let _ = go.read(&mut [0]);
    if seized == 0 { 0 } else { 1 }
}

fn child_that_cannot_be_reaped_does_not_hold_its_start() {
    let ((mut told, tell), (go, let_go)) = (pipe(), pipe());
    let tracer = Process::spawn(trace_a_child, (std::process::id(), Handle(tell), Handle(go))).unwrap();
    told.read_exact(&mut [0]).unwrap();
    let begun = Instant::now();
    let start = Process::builder().start_timeout(Duration::from_millis(500)).start(take::<Sleeps>, (odd(),));
    let error = start.unwrap_err();
    let took = begun.elapsed();
    let stuck: Vec<_> = children_of(std::process::id());
    drop(let_go);
    let exit = tracer.join_timeout(PATIENCE).unwrap();
    if exit == Some(ExitStatus::Code(1)) {
        return println!("SKIPPED child_that_cannot_be_reaped_does_not_hold_its_start: no tracing here");
    }
    assert_eq!(exit, Some(ExitStatus::Code(0)));
    assert_eq!((error.kind(), error.exit_status()), (ErrorKind::StartFailed, None), "{error}");
    // A tenth of a second beyond the limit, where one that shall end by itself has a second.
    assert!(took < Duration::from_millis(1300), "{took:?}");
    // The tracer and the one that could not be reaped, which now can.
    assert_eq!(stuck.len(), 2, "it was to be stuck");
    let end = Instant::now() + PATIENCE;
    while !children_of(std::process::id()).is_empty() && Instant::now() < end {
        active_children();
        std::thread::yield_now();
    }
}
