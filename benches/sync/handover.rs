//! One process tells another, one way: by an event and by a condition.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use std::time::Duration;

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::pair::{Pair, monotonic};
use ossature_benches::placement::Placement;
use ossature_benches::report::Bar;
use ossature_benches::rivals::{FutexMailbox, PthreadMailbox};
use ossature_benches::rounds::Samples;
use ossature_sys::scope::Shared;
use ossature_sys::shareable;
use ossature_sys::shm::Shm;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::event::Event;
use ossature_sys::sync::lock::Lock;

shareable! {
    /// A token that is put in and taken out, as it is done with a condition.
    struct Mailbox {
        full: Lock<u32, Shared>,
        changed: Condition<Shared>,
    }
}

impl Mailbox {
    fn shared() -> Shm<Self> {
        Shm::place(Self::init(Lock::shared(0), Condition::shared())).expect("shared memory")
    }

    fn post(&self) {
        let mut full = self.full.lock().expect("nobody gave the lock up");
        *full = 1;
        drop(full);
        self.changed.notify(1);
    }

    fn take(&self) {
        let mut full = self.full.lock().expect("nobody gave the lock up");
        while *full == 0 {
            full = self.changed.wait(full).expect("nobody gave the lock up");
        }
        *full = 0;
    }
}

fn event() -> Shm<Event<Shared>> {
    Shm::place(Event::shared()).expect("shared memory")
}

fn take(event: &Event<Shared>) {
    event.wait().expect("an event refuses nobody");
    event.clear();
}

/// The ways to tell, two mailboxes each.
struct Ways {
    event: [Shm<Event<Shared>>; 2],
    condition: [Shm<Mailbox>; 2],
    pthread: [&'static PthreadMailbox; 2],
    futex: [&'static FutexMailbox; 2],
}

impl Ways {
    fn new() -> Self {
        Self {
            event: [event(), event()],
            condition: [Mailbox::shared(), Mailbox::shared()],
            pthread: [PthreadMailbox::shared(), PthreadMailbox::shared()],
            futex: [(); 2].map(|()| machine::shared(FutexMailbox::default())),
        }
    }

    fn jobs<'w>(&'w self, pair: &mut Pair<'w>) -> [(&'static str, usize); 5] {
        [
            ("event", pair.exchange(|to| self.event[to].set(), |at| take(&self.event[at]))),
            ("condition", pair.exchange(|to| self.condition[to].post(), |at| self.condition[at].take())),
            ("pthread-cond", pair.exchange(|to| self.pthread[to].post(), |at| self.pthread[at].take())),
            ("pthread-cond-late", pair.exchange(|to| self.pthread[to].post_late(), |at| self.pthread[at].take())),
            ("futex", pair.exchange(|to| self.futex[to].post(), |at| self.futex[at].take())),
        ]
    }
}

fn rounds(
    bench: &Bench,
    pair: &mut Pair<'_>,
    jobs: &[(&'static str, usize)],
    rounds: usize,
    span: Duration,
) -> Samples {
    let mut samples = Samples::of_names(jobs.iter().map(|(name, _)| *name));
    for (_, job) in jobs {
        // Both sides meet the memory, and what adapts meets the machine.
        pair.run(*job, span);
    }
    for round in 0..bench.scaled(rounds) {
        for turn in 0..jobs.len() {
            let (name, job) = jobs[(turn + round) % jobs.len()];
            samples.push(name, pair.run(job, span).each);
        }
    }
    samples
}

/// Each on its own core: the partner answers at once.
pub fn two_cores(bench: &Bench, cores: [usize; 2], placement: Placement) {
    if !bench.wants("hand-over") {
        return;
    }
    let ways = Ways::new();
    let mut pair = Pair::on(cores);
    let jobs = ways.jobs(&mut pair);
    let samples = rounds(bench, &mut pair, &jobs, 60, Duration::from_millis(5));
    let bar = Bar::AtMost(if placement.is_near() { 0.02 } else { 0.05 });
    bench.compare("event-hand-over", &samples, "event", "pthread-cond", bar);
    bench.compare("condition-hand-over", &samples, "condition", "pthread-cond", bar);
}

/// Both on one core: somebody has to sleep.
pub fn one_core(bench: &Bench, core: usize) {
    if !bench.wants("one-core") {
        return;
    }
    let ways = Ways::new();
    let mut pair = Pair::on([core, core]);
    let jobs = ways.jobs(&mut pair);
    let samples = rounds(bench, &mut pair, &jobs, 40, Duration::from_millis(20));
    let bar = Bar::AtMost(0.55);
    bench.compare("event-one-core", &samples, "event", "pthread-cond", bar);
    bench.compare("condition-one-core", &samples, "condition", "pthread-cond", bar);
    // What no condition can go below: one sleep and one wake. And pthread's, used in the faster way that ours is used
    // in.
    bench.compare("event-one-core", &samples, "event", "futex", Bar::AtMost(1.2));
    bench.compare("condition-one-core", &samples, "condition", "pthread-cond-late", Bar::AtMost(1.2));
}

/// How long the partner sleeps before it is told.
const SLEEP: Duration = Duration::from_micros(300);

/// The time from telling to being told, when the one who is told has slept for a while.
pub fn after_a_sleep(bench: &Bench, cores: [usize; 2]) {
    if !bench.wants("after-a-sleep") {
        return;
    }
    let ways = Ways::new();
    let clock: &Clock = machine::shared(Clock::default());
    let (event, condition) = (&ways.event[1], &ways.condition[1]);
    let (pthread, futex) = (ways.pthread[1], ways.futex[1]);
    let mut pair = Pair::on(cores);
    let jobs = [
        ("event", timed(&mut pair, clock, || event.set(), || take(event))),
        ("condition", timed(&mut pair, clock, || condition.post(), || condition.take())),
        ("pthread-cond", timed(&mut pair, clock, || pthread.post(), || pthread.take())),
        ("futex", timed(&mut pair, clock, || futex.post(), || futex.take())),
    ];
    let mut samples = Samples::of_names(jobs.iter().map(|(name, _)| *name));
    for round in 0..bench.scaled(150) {
        for turn in 0..jobs.len() {
            let (name, job) = jobs[(turn + round) % jobs.len()];
            clock.reset();
            pair.run(job, Duration::from_millis(10));
            if round > 0 {
                samples.push(name, clock.median());
            }
        }
    }
    bench.compare("event-after-a-sleep", &samples, "event", "futex", Bar::AtMost(1.05));
    bench.compare("condition-after-a-sleep", &samples, "condition", "futex", Bar::AtMost(1.05));
}

/// How many times of one stretch are kept.
const TIMES: usize = 64;

#[derive(Debug)]
#[repr(align(128))]
struct Clock {
    posted: AtomicU64,
    count: AtomicU32,
    taken: [AtomicU64; TIMES],
    answer: AtomicU32,
}

impl Default for Clock {
    fn default() -> Self {
        let taken = [const { AtomicU64::new(0) }; TIMES];
        Self { posted: AtomicU64::new(0), count: AtomicU32::new(0), taken, answer: AtomicU32::new(0) }
    }
}

impl Clock {
    fn reset(&self) {
        self.count.store(0, Relaxed);
    }

    fn note(&self, span: u64) {
        let at = self.count.fetch_add(1, Relaxed) as usize;
        if let Some(place) = self.taken.get(at) {
            place.store(span, Relaxed);
        }
    }

    fn median(&self) -> f64 {
        let count = (self.count.load(Relaxed) as usize).min(TIMES);
        ossature_benches::rounds::median(self.taken[..count].iter().map(|span| span.load(Relaxed) as f64))
    }
}

/// An exchange whose way there is timed, after a while in which the partner falls asleep; the way back spins.
fn timed<'a>(pair: &mut Pair<'a>, clock: &'static Clock, post: impl Fn() + 'a, take: impl Fn() + 'a) -> usize {
    let send = move |to| {
        if to == 0 {
            clock.answer.store(1, Release);
            return;
        }
        let until = monotonic() + SLEEP.as_nanos() as u64;
        while monotonic() < until {
            std::hint::spin_loop();
        }
        clock.posted.store(monotonic(), Relaxed);
        post();
    };
    let receive = move |at| {
        if at == 1 {
            take();
            clock.note(monotonic().saturating_sub(clock.posted.load(Relaxed)));
            return;
        }
        while clock.answer.swap(0, Acquire) == 0 {
            std::hint::spin_loop();
        }
    };
    pair.exchange(send, receive)
}
