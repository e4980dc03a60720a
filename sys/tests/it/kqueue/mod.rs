//! The event queue: a file for each kind of event.

mod descriptors;
mod differences;
mod files;
mod flags;
mod forks;
mod numbers;
mod processes;
mod renew;
mod signals;
mod ten_thousand;
mod threads;
mod timers;
mod user;

use std::mem::MaybeUninit;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::kqueue::{Kevent, Kqueue};

use crate::support::soon;

/// The events of a wait, sorted.
#[track_caller]
fn wait(queue: &Kqueue, timeout: impl Into<Deadline>) -> Vec<Kevent> {
    let mut events = wait_for(queue, 64, timeout);
    events.sort();
    events
}

/// The events of a wait with this much room, in order.
#[track_caller]
fn wait_for(queue: &Kqueue, room: usize, timeout: impl Into<Deadline>) -> Vec<Kevent> {
    let mut room = vec![MaybeUninit::uninit(); room];
    soon(|| queue.wait(&mut room, timeout)).unwrap().to_vec()
}

/// The events that are there already.
#[track_caller]
fn now(queue: &Kqueue) -> Vec<Kevent> {
    wait(queue, Deadline::NOW)
}

/// The only event that arrives.
#[track_caller]
fn one(queue: &Kqueue) -> Kevent {
    let events = wait(queue, Duration::from_secs(5));
    assert_eq!(events.len(), 1, "{events:?}");
    events[0]
}

/// Checks that no event arrives, and that the wait sleeps instead of polling.
#[track_caller]
fn sleeps(queue: &Kqueue) {
    // Who spins gives its processor up at no time, on a busy machine too.
    let slept = || {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        count.trim().parse::<u64>().unwrap()
    };
    let before = slept();
    let mut room = [MaybeUninit::uninit(); 1];
    assert_eq!(queue.wait(&mut room, Duration::from_millis(100)).map(<[Kevent]>::len), Ok(0));
    assert!(slept() > before, "the wait did not sleep");
}
