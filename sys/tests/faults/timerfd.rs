//! Timers with failing system calls.

use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::timerfd::{Clock, TimerFd};

use crate::sweep::{alone, fails_with, survives, sweep};

const SPAN: Duration = Duration::from_millis(3);

#[test]
fn everything_about_a_timer_ends_and_leaks_nothing() {
    let _alone = alone();
    sweep("timerfd", &["read", "ppoll"], || {
        let timer = TimerFd::new(Clock::Monotonic)?;
        timer.set_once(SPAN)?;
        timer.remaining()?;
        timer.expirations(SPAN * 2)?;
        timer.set_every(SPAN, SPAN)?;
        timer.disarm()?;
        timer.expirations(SPAN).map(drop)
    });
}

#[test]
fn refusals_come_back() {
    let _alone = alone();
    fails_with("timerfd_create", Errno::MFILE, || TimerFd::new(Clock::Realtime));
    let timer = TimerFd::new(Clock::Realtime).unwrap();
    fails_with("timerfd_settime", Errno::PERM, || timer.set_once(SPAN));
    // What the kernel answers after somebody set the wall clock.
    fails_with("read", Errno::CANCELED, || timer.expirations(Deadline::NOW));
    fails_with("timerfd_gettime", Errno::NOMEM, || timer.remaining());
}

#[test]
fn interrupted_calls_are_made_again() {
    let _alone = alone();
    let timer = TimerFd::new(Clock::Monotonic).unwrap();
    survives("read", Errno::INTR, || timer.expirations(Deadline::NOW));
    survives("ppoll", Errno::INTR, || timer.expirations(SPAN));
}

#[test]
fn looking_now_never_sleeps() {
    let _alone = alone();
    let timer = TimerFd::new(Clock::Monotonic).unwrap();
    let sleeps = Rule::on("ppoll", Fault::Count).arm().unwrap();
    assert_eq!(timer.expirations(Deadline::NOW), Ok(None));
    assert_eq!(sleeps.seen(), 0);
}
