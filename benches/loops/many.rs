//! `select::Poll` with a thousand descriptors, one or all of them ready, beside poll(2) and epoll; with ten thousand
//! plain files. `select::select` beside CPython's.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use ossature::select::{Poll, PollFlags, select};
use ossature_benches::bench::Bench;
use ossature_benches::python::{Pythons, name_builds};
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;
use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Interest};

use crate::level;
use crate::objects::{Events, take_from};

const REGISTERED: usize = 1_000;

/// Runs the row of `select::Poll` with one descriptor ready.
pub fn one_ready(bench: &Bench) {
    let row = format!("poll-one-of-{REGISTERED}");
    if !bench.wants(&row) {
        return;
    }
    let samples = bench.table(4, |turn| {
        let (events, others) = (&Events::new(REGISTERED), &Events::new(REGISTERED));
        let mut rounds = Rounds::new();

        let mut poll = registered(events);
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

/// This crate's poll object over `events`.
fn registered(events: &Events) -> Poll<BorrowedFd<'_>> {
    let mut poll = Poll::new();
    events.iter().for_each(|(_, fd)| poll.register(fd.as_fd(), PollFlags::IN));
    poll
}

/// Waits by poll(2) until at least one descriptor of `list` is ready.
fn wait_by_poll(list: &mut [libc::pollfd]) -> usize {
    // SAFETY: poll(2) reads and writes as many entries as it is told, which are all of the list.
    let ready = unsafe { libc::poll(list.as_mut_ptr(), list.len() as libc::nfds_t, -1) };
    ready as usize
}

/// Runs the rows with all descriptors ready, and with all and one ready in turn.
pub fn all_ready(bench: &Bench) {
    let (all, turns) = (format!("poll-all-of-{REGISTERED}"), format!("poll-all-and-one-of-{REGISTERED}"));
    if !bench.wants(&all) && !bench.wants(&turns) {
        return;
    }
    let samples = bench.table(4, |turn| {
        let events = &Events::new(REGISTERED);
        events.raise_all(); // and nobody takes the counts
        let mut rounds = Rounds::new();

        let mut poll = registered(events);
        rounds.add("ours", move || {
            let ready = poll.poll(Deadline::NEVER).expect("ours waits");
            assert_eq!(ready.filter(|(_, flags)| flags.contains(PollFlags::IN)).count(), REGISTERED);
        });
        let watched =
            |(_, fd): (u64, &_)| libc::pollfd { fd: AsRawFd::as_raw_fd(fd), events: libc::POLLIN, revents: 0 };
        let mut list: Vec<_> = events.iter().map(watched).collect();
        rounds.add("poll(2)", move || {
            wait_by_poll(&mut list);
            assert_eq!(list.iter().filter(|entry| entry.revents & libc::POLLIN != 0).count(), REGISTERED);
        });
        turn.run(40, rounds);
    });
    bench.compare(&all, &samples, "ours", "poll(2)", Bar::AtMost(1.25));

    let samples = bench.table(4, |turn| {
        let (ours, theirs) = (&Turns::new(), &Turns::new());
        let mut rounds = Rounds::new();
        let mut poll = Poll::new();
        ours.each().for_each(|fd| poll.register(fd, PollFlags::IN));
        rounds.add("ours", move || {
            for ready in [REGISTERED - 1, 1] {
                ours.raise(ready);
                assert_eq!(poll.poll(Deadline::NEVER).expect("ours waits").count(), ready);
                ours.take(ready);
            }
        });
        let watched = |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut list: Vec<_> = theirs.each().map(watched).collect();
        let (epoll, mut room) = (Epoll::new().expect("an epoll set"), level::room(REGISTERED));
        theirs.each().for_each(|fd| epoll.register(fd, Interest::IN, 0).expect("registered"));
        rounds.add("better-of-both", move || {
            theirs.raise(REGISTERED - 1);
            assert_eq!(wait_by_poll(&mut list), REGISTERED - 1);
            assert_eq!(list.iter().filter(|entry| entry.revents != 0).count(), REGISTERED - 1);
            theirs.take(REGISTERED - 1);
            theirs.raise(1);
            assert_eq!(epoll.poll(&mut room, Deadline::NEVER).expect("epoll waits").len(), 1);
            theirs.take(1);
        });
        turn.run(40, rounds);
    });
    bench.compare(&turns, &samples, "ours", "better-of-both", Bar::AtMost(1.2));
}

/// Runs the row of plain files, which are not in the kernel's set: one is removed and registered again.
pub fn plain_files(bench: &Bench) {
    const FEW: usize = 10;
    const MANY: usize = 10_000;
    let row = format!("poll-files-of-{MANY}");
    if !bench.wants(&row) {
        return;
    }
    let file = File::open("/proc/self/exe").expect("the bench is a plain file");
    let samples = bench.table(4, |turn| {
        let many: &Vec<_> = &(0..MANY).map(|_| file.try_clone().expect("a duplicate")).collect();
        let mut rounds = Rounds::new();
        for (name, count) in [("of-many", MANY), ("of-few", FEW)] {
            let mut poll = Poll::new();
            many.iter().take(count).for_each(|file| poll.register(file, PollFlags::IN));
            let mut last = 0;
            rounds.add(name, move || {
                last = (last + 4_003) % count; // neither in their order nor against it, with few and with many
                let (file, flags) = poll.unregister(&many[last]).expect("it is registered");
                poll.register(file, flags);
                poll.modify(file, flags).expect("it is registered");
            });
        }
        turn.run(200, rounds);
    });
    bench.compare(&row, &samples, "of-many", "of-few", Bar::AtMost(1.5));
}

/// Descriptors that are all duplicates of one eventfd, except the last: one write makes all but the last ready, and one
/// read none.
struct Turns {
    many: Vec<OwnedFd>,
    events: Events,
}

impl Turns {
    fn new() -> Self {
        let events = Events::new(2);
        let (_, first) = events.iter().next().expect("there are two");
        let many = (1..REGISTERED).map(|_| first.try_clone().expect("a duplicate")).collect();
        Self { many, events }
    }

    fn each(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let (_, single) = self.events.iter().last().expect("there are two");
        self.many.iter().chain([single]).map(AsFd::as_fd)
    }

    /// Makes the single descriptor ready, or all others.
    fn raise(&self, ready: usize) {
        self.events.raise(u64::from(ready == 1));
    }

    fn take(&self, ready: usize) {
        self.events.take(u64::from(ready == 1));
    }
}

/// A thousand descriptors, below the limit of C's sets. Only the last is ready; the others are duplicates of one end of
/// a pipe.
const PYTHON: [&str; 4] = [
    "import os, select",
    "never = os.pipe()[0]; fds = [os.dup(never) for _ in range(999)]",
    "ready, end = os.pipe(); fds.append(ready)",
    "os.write(end, b'x')",
];

/// Measures `select` on a thousand descriptors, and a reused set that borrows a thousand, beside CPython's
/// `select.select`.
pub fn beside_cpython(bench: &Bench) {
    let (given, kept) = (format!("select-of-{REGISTERED}"), format!("kept-set-of-{REGISTERED}"));
    if !bench.wants(&given) && !bench.wants(&kept) {
        return;
    }
    name_builds();
    let python = Pythons::start(&PYTHON);
    let samples = bench.table(4, |turn| {
        let events = &Turns::new();
        events.raise(1);
        let list: Vec<_> = events.each().collect();
        let mut rounds = Rounds::new();
        rounds.add("select", || {
            let ready = select(&list, &[], &[], Deadline::NEVER).expect("ours waits");
            assert_eq!(ready.read.len(), 1);
        });
        let mut poll = Poll::new();
        list.iter().for_each(|fd| poll.register(*fd, PollFlags::IN));
        rounds.add("kept", move || assert_eq!(poll.poll(Deadline::NEVER).expect("ours waits").count(), 1));
        python.add(&mut rounds, "select.select(fds, [], [])");
        turn.run(100, rounds);
    });
    python.compare(bench, &given, &samples, "select", Bar::AtMost(1.0));
    python.compare(bench, &kept, &samples, "kept", Bar::AtMost(0.03));
}
