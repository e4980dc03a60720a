//! The event queue beside the calls that it replaces, by hand: epoll, poll, timerfd, eventfd and pidfds. Rows that end
//! in `-c` go through the C library. If the environment variable LIBKQUEUE names libkqueue, these rows include it. All
//! rows run on one core.

mod by_hand;
mod library;

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature_benches::bench::Bench;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rounds::{Rounds, Samples};
use ossature_benches::{bench, machine};
use ossature_sys::deadline::Deadline;
use ossature_sys::kqueue::{Flags, Kevent, Kqueue};
use ossature_sys::process::id;

use self::by_hand::Set;
use self::library::{Library, Queue};

fn main() {
    bench::main("kqueue", &[], |bench| {
        machine::raise_descriptor_limit();
        let contenders = Contenders { c: Library::ours(), libkqueue: Library::libkqueue() };
        machine::pin(&machine::cores()[..1]);
        cycle(bench, &contenders);
        one_ready(bench, &contenders);
        all_ready(bench, &contenders);
        timer(bench, &contenders);
        user(bench, &contenders);
        process(bench, &contenders);
    });
}

/// The queues that a row measures beside [`Kqueue`] itself, if they are available.
struct Contenders {
    c: Option<Library>,
    libkqueue: Option<Library>,
}

impl Contenders {
    /// Adds `operation` on a queue of each library.
    fn add<'r, F: FnMut() + 'r>(&self, rounds: &mut Rounds<'r>, operation: impl Fn(Queue) -> F) {
        if let Some(c) = self.c {
            rounds.add("c", operation(c.queue()));
        }
        if let Some(libkqueue) = self.libkqueue {
            rounds.add("libkqueue", operation(libkqueue.queue()));
        }
    }

    /// Prints the rows of the C library, the second row beside libkqueue.
    fn print(&self, bench: &Bench, row: &str, samples: &Samples, theirs: &'static str, bars: [f64; 2]) {
        if self.c.is_none() {
            return;
        }
        let row = format!("{row}-c");
        bench.compare(&row, samples, "c", theirs, Bar::AtMost(bars[0]));
        if self.libkqueue.is_some() {
            return bench.compare(&row, samples, "c", "libkqueue", Bar::AtMost(bars[1]));
        }
        let (ours, rival, unit) = (samples.median("c"), "libkqueue".to_owned(), Unit::Nanoseconds);
        bench.print(Line { row, unit, ours, rival, theirs: None, ratio: None, bar: Bar::AtMost(bars[1]) });
    }
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a pair")
}

fn room(len: usize) -> Vec<MaybeUninit<Kevent>> {
    vec![MaybeUninit::uninit(); len]
}

fn delete(change: Kevent) -> Kevent {
    change.with_flags(Flags::DELETE)
}

/// Adds a filter, writes, waits, reads and deletes the filter.
fn cycle(bench: &Bench, contenders: &Contenders) {
    if !bench.wants("cycle") {
        return;
    }
    let write = |far: &UnixStream| assert_eq!((&mut &*far).write(b"x").expect("written"), 1);
    let read = |near: &UnixStream| assert_eq!((&mut &*near).read(&mut [0]).expect("read"), 1);
    let samples = bench.table(8, |turn| {
        let mut rounds = Rounds::new();
        let (queue, (near, far), mut events) = (Kqueue::new().expect("a queue"), pair(), room(8));
        rounds.add("ours", move || {
            queue.change(&Kevent::read(&near)).expect("added");
            write(&far);
            assert_eq!(queue.wait(&mut events, Deadline::NEVER).expect("waits")[0].data(), 1);
            read(&near);
            queue.change(&delete(Kevent::read(&near))).expect("deleted");
        });
        contenders.add(&mut rounds, |queue| {
            let ((near, far), mut events) = (pair(), room(8));
            move || {
                queue.change(&Kevent::read(&near));
                write(&far);
                assert_eq!(queue.wait(&mut events)[0].data(), 1);
                read(&near);
                queue.change(&delete(Kevent::read(&near)));
            }
        });
        for (name, fills) in [("floor", true), ("epoll", false)] {
            let (set, (near, far), mut events) = (Set::new(), pair(), by_hand::room(8));
            rounds.add(name, move || {
                set.add(&near);
                write(&far);
                let events = set.wait(&mut events);
                assert_eq!(if fills { by_hand::unread(events[0].u64 as i32) } else { 1 }, 1);
                read(&near);
                set.delete(&near);
            });
        }
        turn.run(150, rounds);
    });
    bench.compare("cycle", &samples, "ours", "epoll", Bar::AtMost(1.25));
    bench.compare("cycle-floor", &samples, "floor", "epoll", Bar::AtMost(1.25));
    contenders.print(bench, "cycle", &samples, "epoll", [1.25, 1.0]);
}

/// Measures one wait alone, with one of ten descriptors ready.
fn one_ready(bench: &Bench, contenders: &Contenders) {
    if !bench.wants("wait") {
        return;
    }
    let samples = ready(bench, contenders, || sockets(10, 1), 1);
    bench.compare("wait", &samples, "ours", "epoll", Bar::AtMost(1.5));
    bench.compare("wait", &samples, "ours", "poll", Bar::AtMost(1.5));
    bench.compare("wait-floor", &samples, "floor", "epoll", Bar::AtMost(1.5));
    contenders.print(bench, "wait", &samples, "epoll", [1.5, 1.0]);
}

/// Measures one wait alone, with all of a thousand descriptors ready. Every contender but `epoll` reads the number of
/// bytes of each.
fn all_ready(bench: &Bench, contenders: &Contenders) {
    type Make = fn(usize, usize) -> Made;
    let kinds: [(&str, Make); 2] = [("ready-1000", sockets), ("ready-1000-events", events)];
    for (row, make) in kinds {
        if !bench.wants(row) {
            continue;
        }
        let samples = ready(bench, contenders, || make(1000, 1000), 1000);
        bench.compare(row, &samples, "ours", "floor", Bar::AtMost(1.25));
        bench.compare(row, &samples, "ours", "poll", Bar::AtMost(1.25));
        contenders.print(bench, row, &samples, "floor", [1.25, 1.10]);
    }
}

/// The watched descriptors, and their other ends if they have other ends.
type Made = (Vec<OwnedFd>, Vec<OwnedFd>);

/// The positions of the ready descriptors, from the middle on.
fn places(len: usize, count: usize) -> impl Iterator<Item = usize> {
    (len / 2..len).chain(0..len / 2).take(count)
}

fn sockets(len: usize, count: usize) -> Made {
    let pairs: Vec<_> = (0..len).map(|_| pair()).collect();
    places(len, count).for_each(|place| (&mut &pairs[place].1).write_all(b"x").expect("written"));
    pairs.into_iter().map(|(near, far)| (near.into(), far.into())).unzip()
}

fn events(len: usize, count: usize) -> Made {
    let events: Vec<_> = (0..len).map(|_| by_hand::event()).collect();
    places(len, count).for_each(|place| by_hand::post(&events[place]));
    (events, Vec::new())
}

/// One wait, with `count` of these descriptors ready.
fn ready(bench: &Bench, contenders: &Contenders, make: impl Fn() -> Made, count: usize) -> Samples {
    bench.table(8, |turn| {
        let (fds, _far) = make();
        let mut rounds = Rounds::new();
        let (queue, mut events) = (Kqueue::new().expect("a queue"), room(fds.len()));
        for fd in &fds {
            queue.change(&Kevent::read(fd)).expect("added");
        }
        rounds.add("ours", move || assert_eq!(queue.wait(&mut events, Deadline::NEVER).expect("waits").len(), count));
        contenders.add(&mut rounds, |queue| {
            fds.iter().for_each(|fd| queue.change(&Kevent::read(fd)));
            let mut events = room(fds.len());
            move || assert_eq!(queue.wait(&mut events).len(), count)
        });
        for (name, fills) in [("floor", true), ("epoll", false)] {
            let (set, mut events) = (Set::new(), by_hand::room(fds.len()));
            fds.iter().for_each(|fd| set.add(fd));
            rounds.add(name, move || {
                let events = set.wait(&mut events);
                assert_eq!(events.len(), count);
                if fills {
                    assert!(events.iter().all(|event| by_hand::unread(event.u64 as i32) == 1));
                }
            });
        }
        let mut asked: Vec<_> = fds.iter().map(by_hand::readable).collect();
        rounds.add("poll", move || {
            assert_eq!(by_hand::poll(&mut asked), count);
            let mut told = asked.iter().filter(|asked| asked.revents != 0);
            assert!(told.all(|told| by_hand::unread(told.fd) == 1));
        });
        turn.run(150, rounds);
    })
}

/// Registers and cancels a timer.
fn timer(bench: &Bench, contenders: &Contenders) {
    if !bench.wants("timer") {
        return;
    }
    const LATER: Duration = Duration::from_secs(60);
    let samples = bench.table(8, |turn| {
        let mut rounds = Rounds::new();
        let queue = Kqueue::new().expect("a queue");
        rounds.add("ours", move || {
            queue.change(&Kevent::timer(1, LATER)).expect("added");
            queue.change(&delete(Kevent::timer(1, LATER))).expect("deleted");
        });
        contenders.add(&mut rounds, |queue| {
            move || {
                queue.change(&Kevent::timer(1, LATER));
                queue.change(&delete(Kevent::timer(1, LATER)));
            }
        });
        let set = Set::new();
        rounds.add("timerfd", move || set.add(by_hand::timer(LATER)));
        turn.run(150, rounds);
    });
    bench.compare("timer", &samples, "ours", "timerfd", Bar::AtMost(0.06));
    contenders.print(bench, "timer", &samples, "timerfd", [0.30, 1.0]);
}

/// Triggers an event and waits for it, on one thread.
fn user(bench: &Bench, contenders: &Contenders) {
    if !bench.wants("user") {
        return;
    }
    let samples = bench.table(8, |turn| {
        let mut rounds = Rounds::new();
        let (queue, mut events) = (Kqueue::new().expect("a queue"), room(8));
        queue.change(&Kevent::user(1)).expect("added");
        rounds.add("ours", move || {
            queue.change(&Kevent::trigger(1)).expect("triggered");
            assert_eq!(queue.wait(&mut events, Deadline::NEVER).expect("waits").len(), 1);
        });
        contenders.add(&mut rounds, |queue| {
            let mut events = room(8);
            queue.change(&Kevent::user(1));
            move || {
                queue.change(&Kevent::trigger(1));
                assert_eq!(queue.wait(&mut events).len(), 1);
            }
        });
        let (set, event, mut events) = (Set::new(), by_hand::event(), by_hand::room(8));
        set.add(&event);
        rounds.add("eventfd", move || {
            by_hand::post(&event);
            assert_eq!(set.wait(&mut events).len(), 1);
            by_hand::take(&event);
        });
        turn.run(150, rounds);
    });
    bench.compare("user", &samples, "ours", "eventfd", Bar::AtMost(0.2));
    contenders.print(bench, "user", &samples, "eventfd", [0.85, 1.0]);
}

/// Registers a watch on the end of a process and deletes it.
fn process(bench: &Bench, contenders: &Contenders) {
    if !bench.wants("process") {
        return;
    }
    let own = id();
    let samples = bench.table(8, |turn| {
        let mut rounds = Rounds::new();
        let queue = Kqueue::new().expect("a queue");
        rounds.add("ours", move || {
            queue.change(&Kevent::exit(own)).expect("added");
            queue.change(&delete(Kevent::exit(own))).expect("deleted");
        });
        contenders.add(&mut rounds, |queue| {
            move || {
                queue.change(&Kevent::exit(own));
                queue.change(&delete(Kevent::exit(own)));
            }
        });
        // The set of a C queue lies in another set, whose descriptor is the queue's: for that the kernel does more.
        for name in ["nested", "pidfd"] {
            let (set, outer) = (Set::new(), Set::new());
            if name == "nested" {
                outer.add(&set);
            }
            rounds.add(name, move || {
                let (pidfd, _outer) = (by_hand::pidfd(own.as_raw_nonzero().get()), &outer);
                set.add(&pidfd);
                set.delete(&pidfd);
            });
        }
        turn.run(150, rounds);
    });
    bench.compare("process", &samples, "ours", "pidfd", Bar::AtMost(1.05));
    bench.compare("process-c-floor", &samples, "nested", "pidfd", Bar::AtMost(1.05));
    contenders.print(bench, "process", &samples, "pidfd", [1.05, 1.0]);
}
