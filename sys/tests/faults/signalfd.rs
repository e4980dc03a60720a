//! Signals read from a descriptor, with failing system calls.

use std::mem::MaybeUninit;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::signal::{Signal, SignalSet, block, raise};
use ossature_sys::signalfd::SignalFd;

use crate::sweep::{alone, fails_with, survives, sweep};

const SPAN: Duration = Duration::from_millis(3);

#[test]
fn everything_about_a_signalfd_ends_and_leaks_nothing() {
    let set = SignalSet::from(Signal::USR2);
    sweep("signalfd", &["read", "ppoll"], || {
        let signals = SignalFd::new(SignalSet::EMPTY)?;
        signals.set(set)?;
        signals.read(&mut [MaybeUninit::uninit()], SPAN)?;
        signals.read_one(SPAN).map(drop)
    });
}

#[test]
fn refusals_come_back() {
    let _alone = alone();
    let set = SignalSet::from(Signal::USR2);
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
        fails_with("signalfd", errno, || SignalFd::new(set));
    }
    let signals = SignalFd::new(set).unwrap();
    fails_with("read", Errno::IO, || signals.read(&mut [MaybeUninit::uninit()], Deadline::NOW).map(drop));
}

#[test]
fn shortened_read_still_takes_a_whole_signal() {
    let _alone = alone();
    let set = SignalSet::from(Signal::USR2);
    let _guard = block(set).unwrap();
    let signals = SignalFd::new(set).unwrap();
    raise(Signal::USR2).unwrap();
    let rule = Rule::on("read", Fault::Shorten(5)).arm().unwrap();
    assert_eq!(signals.read(&mut [const { MaybeUninit::uninit() }; 3], Deadline::NOW).unwrap().len(), 1);
    assert_eq!(rule.hits(), 1);
}

#[test]
fn interrupted_calls_are_made_again_and_looking_now_never_sleeps() {
    let _alone = alone();
    let signals = SignalFd::new(Signal::USR2).unwrap();
    survives("read", Errno::INTR, || signals.read(&mut [MaybeUninit::uninit()], Deadline::NOW).map(drop));
    survives("ppoll", Errno::INTR, || signals.read(&mut [MaybeUninit::uninit()], SPAN).map(drop));
    let sleeps = Rule::on("ppoll", Fault::Count).arm().unwrap();
    assert!(signals.read(&mut [MaybeUninit::uninit()], Deadline::NOW).unwrap().is_empty());
    assert_eq!(sleeps.seen(), 0);
}
