//! One call to a sleeping worker, and the value that comes back.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ossature::multiprocessing::{Context, Pool, Process};
use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::report::Bar;
use ossature_benches::rivals::{futex_wait, futex_wake};
use ossature_benches::rounds::Rounds;
use ossature_sys::deadline::Deadline;
use ossature_sys::eventfd::EventFd;
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::sched::CpuSet;
use ossature_sys::shareable;
use ossature_sys::shm::Shm;

use crate::tiny::square;
use crate::{WORKERS, pool, pythons};

shareable! {
    /// One turn in each direction.
    struct Turns {
        there: AtomicU32,
        back: AtomicU32,
    }
}

/// The value that ends the other process.
const END: u32 = u32::MAX;

/// A handwritten process that sleeps on one word and answers on another.
fn other(turns: &Turns) {
    let mut seen = 0;
    loop {
        while turns.there.load(SeqCst) == seen {
            futex_wait(&turns.there, seen);
        }
        seen = turns.there.load(SeqCst);
        turns.back.store(seen, SeqCst);
        futex_wake(&turns.back, 1);
        if seen == END {
            return;
        }
    }
}

fn turn(turns: &Turns, number: u32) {
    let before = turns.back.load(SeqCst);
    turns.there.store(number, SeqCst);
    futex_wake(&turns.there, 1);
    while turns.back.load(SeqCst) != number {
        futex_wait(&turns.back, before);
    }
}

/// The time between calls, in which both sides fall asleep; the figure excludes it.
const REST: Duration = Duration::from_micros(200);

/// Nanoseconds of one call while the other process sleeps.
fn rested(repeats: u64, mut call: impl FnMut()) -> f64 {
    let mut spent = Duration::ZERO;
    for _ in 0..repeats {
        std::thread::sleep(REST);
        let begun = Instant::now();
        call();
        spent += begun.elapsed();
    }
    spent.as_nanos() as f64 / repeats as f64
}

/// The minimum that a call of a pool does beyond the futex. The parent sleeps on a descriptor and on the pidfd of a
/// process whose end it must learn. So the process that answers writes to an event.
struct Polled<'t> {
    turns: &'t Turns,
    event: EventFd,
    child: &'t Process,
}

impl Polled<'_> {
    fn turn(&self, number: u32) {
        self.turns.there.store(number, SeqCst);
        futex_wake(&self.turns.there, 1);
        while self.turns.back.load(SeqCst) != number {
            let mut fds = [PollFd::new(&self.event, PollFlags::IN), PollFd::new(self.child, PollFlags::IN)];
            poll(&mut fds, Deadline::NEVER).expect("sleeps");
            let _ = self.event.try_take();
        }
    }
}

/// Answers a [`Polled`] parent, in the other process.
fn raising(turns: &Turns, event: &EventFd) {
    let mut seen = 0;
    while seen != END {
        while turns.there.load(SeqCst) == seen {
            futex_wait(&turns.there, seen);
        }
        seen = turns.there.load(SeqCst);
        turns.back.store(seen, SeqCst);
        event.try_add(1).expect("an event");
    }
}

/// Where the two sides run. The kernel keeps a pair on one core or on two, as it began, and a wake across cores takes
/// five times as long. So each case has a row beside the unpinned row.
#[derive(Clone, Copy)]
pub enum Where {
    Free,
    OneCore,
    TwoCores,
}

pub fn beside_a_futex(bench: &Bench, place: Where) {
    let row = match place {
        Where::Free => "apply-futex",
        Where::OneCore => "apply-futex-one-core",
        Where::TwoCores => "apply-futex-two-cores",
    };
    let Some([here, there]) = machine::two_cores().filter(|_| bench.wants(row)) else { return };
    let before = machine::cores();
    let theirs = match place {
        Where::Free => before.clone(),
        Where::OneCore => vec![here],
        Where::TwoCores => vec![there],
    };
    let mut builder = Pool::builder().workers(WORKERS).context(Context::Spawn);
    if !matches!(place, Where::Free) {
        machine::pin(&[here]);
        builder = builder.affinity([CpuSet::of(theirs.iter().copied())]);
    }
    let turns = || Shm::place(Turns::init(AtomicU32::new(0), AtomicU32::new(0))).expect("shared memory");
    let (turns, polled) = (turns(), turns());
    let event = EventFd::counter(0).expect("an event");
    let child = Process::fork(|| {
        machine::pin(&theirs);
        other(&turns);
    });
    let child = child.expect("forks");
    let raiser = Process::fork(|| {
        machine::pin(&theirs);
        raising(&polled, &event);
    });
    let raiser = raiser.expect("forks");
    let pool = builder.build().expect("a pool starts");
    let polled = Polled { turns: &polled, event, child: &raiser };
    let (mut number, mut other_number) = (0, 0);
    let mut rounds = Rounds::new();
    rounds.add_burst("ours", |repeats| rested(repeats, || assert_eq!(pool.apply(square, (3,)).expect("is called"), 9)));
    rounds.add_burst("futex", |repeats| {
        rested(repeats, || {
            number += 1;
            turn(&turns, number);
        })
    });
    rounds.add_burst("polled", |repeats| {
        rested(repeats, || {
            other_number += 1;
            polled.turn(other_number);
        })
    });
    let samples = rounds.run(bench.scaled(500), Duration::from_micros(300));
    turn(&turns, END);
    polled.turn(END);
    child.join().expect("is joined");
    raiser.join().expect("is joined");
    machine::pin(&before);
    bench.compare(row, &samples, "ours", "futex", Bar::AtMost(1.6));
    bench.compare(&format!("{row}-floor"), &samples, "polled", "futex", Bar::AtMost(1.6));
}

pub fn beside_cpython(bench: &Bench) {
    if !bench.wants("apply-cpython") {
        return;
    }
    let pool = pool();
    let mut pythons = pythons();
    let names: Vec<_> = pythons.iter().map(|(name, _)| *name).collect();
    let mut rounds = Rounds::new();
    rounds.add("ours", || assert_eq!(pool.apply(square, (3,)).expect("is called"), 9));
    for (name, python) in &mut pythons {
        rounds.add_burst(name, |repeats| python.time("pool.apply(square, (3,))", repeats));
    }
    let samples = rounds.run(bench.scaled(200), Duration::from_millis(3));
    for name in names {
        bench.compare("apply-cpython", &samples, "ours", name, Bar::AtMost(0.25));
    }
}
