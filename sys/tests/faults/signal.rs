//! Signals with failing system calls.

use std::time::{Duration, Instant};

use ossature_sys::errno::Errno;
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::signal::{
    Signal, SignalSet, block, disposition, ignore, mask, pending, queue, raise, realtime, restore_default, send, wait,
};

use crate::sweep::{alone, fails_with, survives, sweep};

fn this_thread() -> ossature_sys::signal::Pid {
    // SAFETY: gettid takes nothing and cannot fail.
    ossature_sys::signal::Pid::from_raw(unsafe { libc::syscall(libc::SYS_gettid) } as i32).unwrap()
}

#[test]
fn everything_about_a_signal_ends_and_leaves_the_mask_as_it_was() {
    let signal = realtime(3).unwrap();
    let set = SignalSet::from([signal]);
    let outer = block(set).unwrap();
    let before = mask().unwrap();
    sweep("signal", &["sigtimedwait"], || {
        let _guard = block(Signal::HUP)?;
        raise(signal)?;
        queue(this_thread(), signal, 1)?;
        send(this_thread(), signal)?;
        pending()?;
        while wait(set, Duration::ZERO)?.is_some() {}
        wait(set, Duration::from_millis(1)).map(drop)
    });
    // What a failed run left pending would end this process once it is let through.
    while wait(set, Duration::ZERO).unwrap().is_some() {}
    assert_eq!(mask(), Ok(before));
    drop(outer);
}

#[test]
fn refusals_come_back() {
    let _alone = alone();
    let set = SignalSet::from(Signal::USR1);
    fails_with("pthread_sigmask", Errno::INVAL, || block(set).map(drop));
    fails_with("sigtimedwait", Errno::INVAL, || wait(set, Duration::from_secs(60)));
    fails_with("rt_tgsigqueueinfo", Errno::AGAIN, || queue(this_thread(), Signal::USR1, 1));
    fails_with("tgkill", Errno::AGAIN, || send(this_thread(), Signal::USR1));
    fails_with("raise", Errno::AGAIN, || raise(Signal::USR1));
    fails_with("sigaction", Errno::INVAL, || ignore(Signal::URG));
    fails_with("sigaction", Errno::INVAL, || restore_default(Signal::URG));
    fails_with("sigaction", Errno::INVAL, || disposition(Signal::URG));
    fails_with("sigpending", Errno::FAULT, pending);
}

#[test]
fn interrupted_wait_goes_on_with_what_is_left() {
    let _alone = alone();
    let set = SignalSet::from([realtime(4).unwrap()]);
    let _guard = block(set).unwrap();
    let span = Duration::from_millis(3);
    survives("sigtimedwait", Errno::INTR, || wait(set, span));
    let rule = Rule::on("sigtimedwait", Fault::Fail(Errno::INTR)).times(100).arm().unwrap();
    let start = Instant::now();
    assert!(wait(set, span).unwrap().is_none());
    assert!(start.elapsed() >= span && rule.hits() == 100);
}

#[test]
fn slice_that_ran_out_before_the_deadline_is_not_the_deadline() {
    let _alone = alone();
    let set = SignalSet::from([realtime(5).unwrap()]);
    let _guard = block(set).unwrap();
    // EAGAIN is how the call says that its time is up; libc's field may be shorter than our deadline.
    let rule = Rule::on("sigtimedwait", Fault::Fail(Errno::AGAIN)).times(2).arm().unwrap();
    queue(this_thread(), realtime(5).unwrap(), 1).unwrap();
    assert!(wait(set, None).unwrap().is_some());
    assert_eq!(rule.hits(), 2);
}
