//! Signals read from a descriptor.

use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::fd::is_cloexec;
use ossature_sys::signal::{Pid, Signal, SignalSet, block, queue, raise, realtime};
use ossature_sys::signalfd::{Info, SignalFd};

use crate::interrupt::keeps_its_deadline;
use crate::support::soon;

fn buffer<const N: usize>() -> [MaybeUninit<Info>; N] {
    [const { MaybeUninit::uninit() }; N]
}

#[test]
fn signals_are_read_with_their_sender() {
    let set = SignalSet::from([Signal::USR1, Signal::USR2]);
    let _guard = block(set).unwrap();
    let signals = SignalFd::new(set).unwrap();
    raise(Signal::USR2).unwrap();
    raise(Signal::USR1).unwrap();
    let mut buffer = buffer::<4>();
    let infos = soon(|| signals.read(&mut buffer, Deadline::NEVER)).unwrap();
    let seen: SignalSet = infos.iter().filter_map(Info::signal).collect();
    assert_eq!((infos.len(), seen), (2, set));
    for info in infos {
        assert_eq!(info.pid().map(Pid::as_raw_pid), Some(std::process::id() as i32));
        assert_eq!(info.code(), libc::SI_TKILL);
    }
}

#[test]
fn small_buffer_leaves_the_rest_for_later() {
    let signal = realtime(3).unwrap();
    let set = SignalSet::from([signal]);
    let _guard = block(set).unwrap();
    let signals = SignalFd::new(set).unwrap();
    // SAFETY: gettid takes nothing and cannot fail.
    let this = Pid::from_raw(unsafe { libc::syscall(libc::SYS_gettid) } as i32).unwrap();
    for value in 1..=3 {
        queue(this, signal, value).unwrap();
    }
    let mut two = buffer::<2>();
    let values = |infos: &[Info]| infos.iter().map(Info::value).collect::<Vec<_>>();
    assert_eq!(values(signals.read(&mut two, Deadline::NOW).unwrap()), [1, 2]);
    assert_eq!(values(signals.read(&mut two, Deadline::NOW).unwrap()), [3]);
    assert_eq!(values(signals.read(&mut two, Deadline::NOW).unwrap()), []);
}

#[test]
fn one_signal_is_read_without_a_buffer() {
    let signal = realtime(4).unwrap();
    let set = SignalSet::from([signal]);
    let _guard = block(set).unwrap();
    let signals = SignalFd::new(set).unwrap();
    // SAFETY: gettid takes nothing and cannot fail.
    let this = Pid::from_raw(unsafe { libc::syscall(libc::SYS_gettid) } as i32).unwrap();
    for value in 1..=2 {
        queue(this, signal, value).unwrap();
    }
    let value = |timeout| soon(|| signals.read_one(timeout)).unwrap().map(|info| info.value());
    assert_eq!([value(Deadline::NEVER), value(Deadline::NOW), value(Deadline::NOW)], [Some(1), Some(2), None]);
    let start = Instant::now();
    assert_eq!(value(Deadline::after(Duration::from_millis(20))), None);
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn buffer_without_room_takes_nothing() {
    let set = SignalSet::from(Signal::USR1);
    let _guard = block(set).unwrap();
    let signals = SignalFd::new(set).unwrap();
    raise(Signal::USR1).unwrap();
    assert!(soon(|| signals.read(&mut [], Deadline::NEVER)).unwrap().is_empty());
    assert_eq!(signals.read(&mut buffer::<1>(), Deadline::NOW).unwrap().len(), 1);
}

#[test]
fn set_can_be_changed() {
    let both = SignalSet::from([Signal::USR1, Signal::USR2]);
    let _guard = block(both).unwrap();
    let signals = SignalFd::new(Signal::USR1).unwrap();
    raise(Signal::USR2).unwrap();
    assert!(signals.read(&mut buffer::<1>(), Deadline::NOW).unwrap().is_empty());
    signals.set(both).unwrap();
    assert_eq!(signals.read(&mut buffer::<1>(), Deadline::NOW).unwrap().len(), 1);
}

#[test]
fn reading_ends_at_the_deadline_and_not_before() {
    let signals = SignalFd::new(Signal::USR1).unwrap();
    assert!(soon(|| signals.read(&mut buffer::<1>(), Deadline::NOW).map(<[_]>::len)).unwrap() == 0);
    let span = Duration::from_millis(20);
    let start = Instant::now();
    assert!(soon(|| signals.read(&mut buffer::<1>(), span).map(<[_]>::len)).unwrap() == 0);
    assert!(start.elapsed() >= span);
}

#[test]
fn other_signals_neither_shorten_nor_prolong_the_wait() {
    let signals = SignalFd::new(Signal::USR1).unwrap();
    assert_eq!(keeps_its_deadline(|span| signals.read(&mut buffer::<1>(), span).map(<[_]>::len)), Ok(0));
}

#[test]
fn descriptor_is_closed_on_exec() {
    assert!(is_cloexec(SignalFd::new(SignalSet::EMPTY).unwrap()).unwrap());
}
