//! Level-triggered rows: one of many descriptors becomes ready, and the contender waits for it, dispatches and reads
//! it.
//!
//! This crate, libc, nix and rustix wait on the same epoll set in the kernel, so only the work in user space can
//! differ. `polling` has its own set and its own descriptors.

use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;

use nix::sys::epoll::{Epoll as Nix, EpollEvent, EpollTimeout};
use ossature_benches::bench::Bench;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;
use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Event, Interest};
use polling::{PollMode, Poller};
use rustix::event::epoll as rustix_epoll;

use crate::objects::{Events, Seen};
use crate::raw::Raw;
use crate::waits::Wait;

/// This crate's level-triggered set over `events`.
pub fn watch(events: &Events) -> Epoll {
    let epoll = Epoll::new().expect("an epoll set");
    for (token, fd) in events.iter() {
        epoll.register(fd, Interest::IN, token).expect("registered");
    }
    epoll
}

/// A buffer for `capacity` events.
pub fn room(capacity: usize) -> Vec<MaybeUninit<Event>> {
    vec![MaybeUninit::uninit(); capacity]
}

fn poller(events: &Events) -> Poller {
    let poller = Poller::new().expect("a poller");
    for (token, fd) in events.iter() {
        // SAFETY: `events` outlives the poller in every table here.
        let added = unsafe { poller.add_with_mode(fd, polling::Event::readable(token as usize), PollMode::Level) };
        added.expect("added");
    }
    poller
}

/// Runs the rows with one descriptor ready.
pub fn one_ready(bench: &Bench, registered: usize, wait: Wait) {
    let row = format!("one-of-{registered}-{}", wait.name());
    if !bench.wants(&row) {
        return;
    }
    let samples = bench.table(8, |turn| {
        let (events, others) = (Events::new(registered), Events::new(registered));
        let (events, others) = (&events, &others);
        let epoll = &watch(events);
        let mut rounds = Rounds::new();

        let (mut buffer, deadline) = (room(registered), wait.ours());
        rounds.add("ours", move || {
            events.raise_one();
            for event in epoll.poll(&mut buffer, deadline).expect("ours waits") {
                events.take(event.token());
            }
        });

        let mut raw = Raw::on(epoll.as_fd(), registered);
        rounds.add("libc", move || {
            events.raise_one();
            raw.wait(wait.libc(), |token| events.take(token));
        });

        let nix = Nix(epoll.as_fd().try_clone_to_owned().expect("a duplicate of the set's descriptor"));
        let (mut buffer, timeout) = (vec![EpollEvent::empty(); registered], wait.nix());
        rounds.add("nix", move || {
            events.raise_one();
            let count = nix.wait(&mut buffer, timeout).expect("nix waits");
            buffer[..count].iter().for_each(|event| events.take(event.data()));
        });

        let mut buffer = vec![MaybeUninit::uninit(); registered];
        let (set, timeout) = (epoll.as_fd(), wait.rustix());
        rounds.add("rustix", move || {
            events.raise_one();
            let (ready, _) = rustix_epoll::wait(set, &mut buffer[..], timeout.as_ref()).expect("rustix waits");
            ready.iter().for_each(|event| events.take(event.data.u64()));
        });

        let poller = poller(others);
        let room = NonZeroUsize::new(registered).expect("some descriptors");
        let (mut buffer, timeout) = (polling::Events::with_capacity(room), wait.duration());
        rounds.add("polling", move || {
            others.raise_one();
            buffer.clear();
            poller.wait(&mut buffer, timeout).expect("polling waits");
            buffer.iter().for_each(|event| others.take(event.key as u64));
        });

        turn.run(150, rounds);
    });
    for (rival, bar) in [("libc", 1.02), ("nix", 1.03), ("rustix", 1.03), ("polling", 1.03)] {
        bench.compare(&row, &samples, "ours", rival, Bar::AtMost(bar));
    }
}

/// Runs the rows with all descriptors ready all the time: one wait and the dispatch of all its events.
pub fn all_ready(bench: &Bench, registered: usize) {
    let row = format!("all-of-{registered}");
    if !bench.wants(&row) {
        return;
    }
    let samples = bench.table(8, |turn| {
        let (events, others) = (Events::new(registered), Events::new(registered));
        events.raise_all();
        others.raise_all();
        let epoll = &watch(&events);
        let mut rounds = Rounds::new();

        let (mut buffer, mut seen) = (room(registered), Seen::new(registered));
        rounds.add("ours", move || {
            for event in epoll.poll(&mut buffer, Deadline::NEVER).expect("ours waits") {
                seen.count(event.token());
            }
        });

        let (mut raw, mut seen) = (Raw::on(epoll.as_fd(), registered), Seen::new(registered));
        rounds.add("libc", move || raw.wait(-1, |token| seen.count(token)));

        let nix = Nix(epoll.as_fd().try_clone_to_owned().expect("a duplicate of the set's descriptor"));
        let (mut buffer, mut seen) = (vec![EpollEvent::empty(); registered], Seen::new(registered));
        rounds.add("nix", move || {
            let count = nix.wait(&mut buffer, EpollTimeout::NONE).expect("nix waits");
            buffer[..count].iter().for_each(|event| seen.count(event.data()));
        });

        let (mut buffer, mut seen) = (vec![MaybeUninit::uninit(); registered], Seen::new(registered));
        let set = epoll.as_fd();
        rounds.add("rustix", move || {
            let (ready, _) = rustix_epoll::wait(set, &mut buffer[..], None).expect("rustix waits");
            ready.iter().for_each(|event| seen.count(event.data.u64()));
        });

        let poller = poller(&others);
        let room = NonZeroUsize::new(registered).expect("some descriptors");
        let (mut buffer, mut seen) = (polling::Events::with_capacity(room), Seen::new(registered));
        rounds.add("polling", move || {
            buffer.clear();
            poller.wait(&mut buffer, None).expect("polling waits");
            buffer.iter().for_each(|event| seen.count(event.key as u64));
        });

        turn.run(150, rounds);
    });
    for (rival, bar) in [("libc", 1.02), ("nix", 1.03), ("rustix", 1.03), ("polling", 1.03)] {
        bench.compare(&row, &samples, "ours", rival, Bar::AtMost(bar));
    }
}
