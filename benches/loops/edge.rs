//! Edge-triggered rows, beside mio, which is always edge-triggered. Both wait on the set that mio made, so that they
//! differ only in user space.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use mio::unix::SourceFd;
use ossature_benches::bench::Bench;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;
use ossature_sys::epoll::Epoll;

use crate::level::room;
use crate::objects::{Events, Seen};
use crate::waits::Wait;

/// The same set as an [`Epoll`] of this crate.
fn ours(poll: &mio::Poll) -> Epoll {
    // SAFETY: the poll owns its descriptor and is borrowed for as long as this is.
    let set = unsafe { BorrowedFd::borrow_raw(poll.as_raw_fd()) };
    Epoll::from(set.try_clone_to_owned().expect("a duplicate of the set's descriptor"))
}

fn poll(events: &Events) -> mio::Poll {
    let poll = mio::Poll::new().expect("mio's poll");
    let register = |(token, fd): (u64, &OwnedFd)| {
        poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), mio::Token(token as usize), mio::Interest::READABLE)
    };
    events.iter().try_for_each(register).expect("registered");
    poll
}

/// Runs the rows with one descriptor ready.
pub fn one_ready(bench: &Bench, registered: usize, wait: Wait) {
    let row = format!("edge-one-of-{registered}-{}", wait.name());
    if !bench.wants(&row) {
        return;
    }
    let samples = bench.table(12, |turn| {
        let events = &Events::new(registered);
        let mut poll = poll(events);
        let mut rounds = Rounds::new();

        let epoll = ours(&poll);
        let (mut buffer, deadline) = (room(registered), wait.ours());
        rounds.add("ours", move || {
            events.raise_one();
            for event in epoll.poll(&mut buffer, deadline).expect("ours waits") {
                events.take(event.token());
            }
        });

        let (mut buffer, timeout) = (mio::Events::with_capacity(registered), wait.duration());
        rounds.add("mio", move || {
            events.raise_one();
            poll.poll(&mut buffer, timeout).expect("mio waits");
            buffer.iter().for_each(|event| events.take(event.token().0 as u64));
        });

        turn.run(150, rounds);
    });
    bench.compare(&row, &samples, "ours", "mio", Bar::AtMost(1.03));
}

/// Runs the rows with all descriptors ready: the wait and the dispatch alone. The time to make the descriptors ready
/// again is not measured.
pub fn all_ready(bench: &Bench, registered: usize) {
    let row = format!("edge-all-of-{registered}");
    if !bench.wants(&row) {
        return;
    }
    let samples = bench.table(12, |turn| {
        let events = &Events::new(registered);
        let mut poll = poll(events);
        let mut rounds = Rounds::new();

        let epoll = ours(&poll);
        let (mut buffer, mut seen) = (room(registered), Seen::new(registered));
        add_raised(&mut rounds, "ours", events, move || {
            for event in epoll.poll(&mut buffer, Wait::Never.ours()).expect("ours waits") {
                seen.count(event.token());
            }
        });

        let (mut buffer, mut seen) = (mio::Events::with_capacity(registered), Seen::new(registered));
        add_raised(&mut rounds, "mio", events, move || {
            poll.poll(&mut buffer, None).expect("mio waits");
            buffer.iter().for_each(|event| seen.count(event.token().0 as u64));
        });

        turn.run(80, rounds);
    });
    bench.compare(&row, &samples, "ours", "mio", Bar::AtMost(1.03));
}

fn add_raised<'a>(rounds: &mut Rounds<'a>, name: &'static str, events: &'a Events, mut wait: impl FnMut() + 'a) {
    rounds.add_burst(name, move |repeats| {
        let mut waiting = 0;
        for _ in 0..repeats {
            events.raise_all();
            let start = Instant::now();
            wait();
            waiting += start.elapsed().as_nanos();
        }
        waiting as f64 / repeats as f64
    });
}
