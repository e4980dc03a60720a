//! Ten thousand knotes of each kind.

use std::io::Write;
use std::time::Duration;

use ossature_sys::eventfd::EventFd;
use ossature_sys::kqueue::{Flags, Kevent, Kqueue};
use ossature_sys::process::{Resource, rlimit};

use super::{now, one, wait_for};

#[test]
fn ten_thousand_timers_expire_each_once() {
    let queue = Kqueue::new().unwrap();
    for ident in 0..10_000 {
        let after = Duration::from_micros(1 + (ident as u64 * 7919) % 30_000);
        queue.change(&Kevent::timer(ident, after).with_flags(Flags::ADD | Flags::ONESHOT)).unwrap();
    }
    let mut seen = vec![0; 10_000];
    while queue.len() != Ok(0) {
        for event in wait_for(&queue, 1000, Duration::from_secs(5)) {
            seen[event.ident()] += event.data();
        }
    }
    assert!(seen.iter().all(|&count| count == 1));
}

#[test]
fn ten_thousand_descriptors_are_watched() {
    let most = rlimit(Resource::Nofile).unwrap().current.unwrap_or(u64::MAX);
    let count = (most.saturating_sub(500)).min(10_000) as usize;
    if count < 10_000 {
        println!("{count} descriptors only: the limit is {most}");
    }
    let queue = Kqueue::new().unwrap();
    let events: Vec<_> = (0..count).map(|_| EventFd::counter(0).unwrap()).collect();
    for (n, event) in events.iter().enumerate() {
        queue.change(&Kevent::read(event).with_udata(n).with_flags(Flags::ADD | Flags::CLEAR)).unwrap();
    }
    assert_eq!(now(&queue), []);
    let last = count - 1;
    events[last].try_add(1).unwrap();
    assert_eq!(one(&queue).udata(), last);
    for event in &events {
        event.try_add(1).unwrap();
    }
    let mut seen = vec![false; count];
    for _ in 0..=count / 300 {
        for event in wait_for(&queue, 300, Duration::from_millis(1)) {
            assert!(!std::mem::replace(&mut seen[event.udata()], true), "told twice");
        }
    }
    assert!(seen.iter().all(|&seen| seen));
    let _ = std::io::stdout().flush();
}
