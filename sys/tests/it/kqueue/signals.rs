//! SIGNAL. Each test raises signals for its own thread, which other threads do not see.

use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue};
use ossature_sys::signal::{self, Signal, SignalSet, realtime};

use super::{now, one};

#[test]
fn signals_are_counted_since_the_last_look() {
    let signal = realtime(3).unwrap();
    let _blocked = signal::block(SignalSet::from(signal)).unwrap();
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::signal(signal).with_udata(2)).unwrap();
    assert_eq!(now(&queue), []);
    for _ in 0..40 {
        signal::raise(signal).unwrap();
    }
    let event = one(&queue);
    assert_eq!((event.ident(), event.filter()), (signal.as_raw() as usize, Filter::SIGNAL));
    assert_eq!((event.data(), event.udata()), (40, 2));
    assert_eq!(now(&queue), [], "told once");
    queue.change(&Kevent::signal(signal).with_flags(Flags::DISABLE)).unwrap();
    signal::raise(signal).unwrap();
    assert_eq!(now(&queue), []);
    queue.change(&Kevent::signal(signal).with_flags(Flags::ENABLE)).unwrap();
    assert_eq!(one(&queue).data(), 1, "a disabled knote counts on");
}

#[test]
fn two_signals_are_counted_apart() {
    let both = [realtime(4).unwrap(), realtime(5).unwrap()];
    let _blocked = signal::block(SignalSet::from(both)).unwrap();
    let queue = Kqueue::new().unwrap();
    for signal in both {
        queue.change(&Kevent::signal(signal)).unwrap();
    }
    signal::raise(both[0]).unwrap();
    signal::raise(both[1]).unwrap();
    signal::raise(both[1]).unwrap();
    let counts: Vec<_> = super::wait(&queue, Duration::from_secs(5)).iter().map(Kevent::data).collect();
    assert_eq!(counts, [1, 2]);
    queue.change(&Kevent::signal(both[0]).with_flags(Flags::DELETE)).unwrap();
    signal::raise(both[0]).unwrap();
    signal::raise(both[1]).unwrap();
    assert_eq!(one(&queue).ident(), both[1].as_raw() as usize);
    assert!(signal::pending().unwrap().contains(both[0]), "left to whoever else wants it");
    signal::wait(SignalSet::from(both[0]), Duration::ZERO).unwrap();
}

#[test]
fn an_event_that_stays_is_told_once_beside_a_signal() {
    let signal = realtime(13).unwrap();
    let _blocked = signal::block(SignalSet::from(signal)).unwrap();
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::signal(signal)).unwrap();
    queue.change(&Kevent::user(1).with_flags(Flags::ADD)).unwrap();
    queue.change(&Kevent::trigger(1)).unwrap();
    // Memory and the kernel take turns.
    for _ in 0..2 {
        signal::raise(signal).unwrap();
        let filters: Vec<_> = now(&queue).iter().map(Kevent::filter).collect();
        assert_eq!(filters, [Filter::USER, Filter::SIGNAL]);
    }
}

#[test]
fn no_signal_is_an_error() {
    let queue = Kqueue::new().unwrap();
    for number in [0, 65, 9, 19, usize::MAX] {
        let change = Kevent::new(number, Filter::SIGNAL);
        assert_eq!(queue.change(&change), Err(Errno::INVAL), "{number}");
    }
    assert_eq!(queue.change(&Kevent::signal(Signal::USR2)), Err(Errno::OPNOTSUPP), "not blocked");
    assert_eq!(queue.len(), Ok(0));
}

#[test]
fn a_program_for_the_bsds_needs_no_mask() {
    let signal = realtime(14).unwrap();
    let (one, two) = (Kqueue::new().unwrap(), Kqueue::new().unwrap());
    let add = Kevent::signal(signal);
    let delete = add.with_flags(Flags::DELETE);
    let is_blocked = || signal::mask().unwrap().contains(signal);
    one.change_and_mask(&add).unwrap();
    one.change_and_mask(&add.with_udata(1)).unwrap();
    two.change_and_mask(&add).unwrap();
    one.change_and_mask(&delete).unwrap();
    assert!(is_blocked(), "the other queue counts the signal");
    assert_eq!(one.change_and_mask(&delete), Err(Errno::NOENT));
    assert!(is_blocked());
    two.change_and_mask(&delete).unwrap();
    assert!(!is_blocked());

    // What the program blocked itself stays blocked.
    let _blocked = signal::block(signal).unwrap();
    one.change_and_mask(&add).unwrap();
    one.change_and_mask(&delete).unwrap();
    assert!(is_blocked());
}
