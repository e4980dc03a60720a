//! `select::Poll` with a thousand descriptors and one ready, beside poll(2).

use std::os::fd::{AsFd, AsRawFd};

use ossature::select::{Poll, PollFlags};
use ossature_benches::bench::Bench;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;
use ossature_sys::deadline::Deadline;

use crate::objects::{Events, take_from};

const REGISTERED: usize = 1_000;

/// The row of the poll face.
pub fn one_ready(bench: &Bench) {
    let row = format!("poll-one-of-{REGISTERED}");
    if !bench.wants(&row) {
        return;
    }
    let samples = bench.table(4, |turn| {
        let (events, others) = (&Events::new(REGISTERED), &Events::new(REGISTERED));
        let mut rounds = Rounds::new();

        let mut poll = Poll::new();
        events.iter().for_each(|(_, fd)| poll.register(fd.as_fd(), PollFlags::IN));
        rounds.add("ours", move || {
            events.raise_one();
            for (fd, flags) in poll.poll(Deadline::NEVER).expect("ours waits") {
                assert!(flags.contains(PollFlags::IN));
                take_from(fd.as_raw_fd());
            }
        });

        let watched =
            |(_, fd): (u64, &_)| libc::pollfd { fd: AsRawFd::as_raw_fd(fd), events: libc::POLLIN, revents: 0 };
        let mut list: Vec<_> = others.iter().map(watched).collect();
        rounds.add("poll(2)", move || {
            others.raise_one();
            let (place, count) = (list.as_mut_ptr(), list.len() as libc::nfds_t);
            // SAFETY: poll(2) reads and writes `count` entries at `place`.
            let ready = unsafe { libc::poll(place, count, -1) };
            assert_eq!(ready, 1);
            list.iter().filter(|entry| entry.revents != 0).for_each(|entry| take_from(entry.fd));
        });

        turn.run(100, rounds);
    });
    bench.compare(&row, &samples, "ours", "poll(2)", Bar::AtMost(0.03));
}
