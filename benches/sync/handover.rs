//! A one-way signal from process to process: by an event and by a condition.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use std::time::Duration;

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::pair::{Pair, monotonic};
use ossature_benches::parties;
use ossature_benches::placement::Placement;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rivals::{FutexMailbox, PthreadMailbox, SpinningMailbox, WatchingMailbox};
use ossature_benches::rounds::Samples;
use ossature_sys::scope::Shared;
use ossature_sys::shareable;
use ossature_sys::shm::Shm;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::event::Event;
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::semaphore::Semaphore;

use crate::semaphore::PosixSemaphore;

shareable! {
    /// A mailbox for one token, made with a condition.
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
        let mut full = self.full.lock().expect("the lock is recoverable");
        *full = 1;
        drop(full);
        self.changed.notify(1);
    }

    fn take(&self) {
        let mut full = self.full.lock().expect("the lock is recoverable");
        while *full == 0 {
            full = self.changed.wait(full).expect("the lock is recoverable");
        }
        *full = 0;
    }
}

fn event() -> Shm<Event<Shared>> {
    Shm::place(Event::shared()).expect("shared memory")
}

fn take(event: &Event<Shared>) {
    event.wait().expect("the event accepts the process");
    event.clear();
}

/// The kinds of signal, two mailboxes each.
struct Ways {
    event: [Shm<Event<Shared>>; 2],
    condition: [Shm<Mailbox>; 2],
    pthread: [&'static PthreadMailbox; 2],
    futex: [&'static FutexMailbox; 2],
    spinning: [&'static SpinningMailbox; 2],
}

impl Ways {
    fn new() -> Self {
        Self {
            event: [event(), event()],
            condition: [Mailbox::shared(), Mailbox::shared()],
            pthread: [PthreadMailbox::shared(), PthreadMailbox::shared()],
            futex: [(); 2].map(|()| machine::shared(FutexMailbox::default())),
            spinning: [(); 2].map(|()| machine::shared(SpinningMailbox::default())),
        }
    }

    fn jobs<'w>(&'w self, pair: &mut Pair<'w>) -> [(&'static str, usize); 6] {
        [
            ("event", pair.exchange(|to| self.event[to].set(), |at| take(&self.event[at]))),
            ("condition", pair.exchange(|to| self.condition[to].post(), |at| self.condition[at].take())),
            ("pthread-cond", pair.exchange(|to| self.pthread[to].post(), |at| self.pthread[at].take())),
            ("pthread-cond-late", pair.exchange(|to| self.pthread[to].post_late(), |at| self.pthread[at].take())),
            ("futex", pair.exchange(|to| self.futex[to].post(), |at| self.futex[at].take())),
            ("futex-spin", pair.exchange(|to| self.spinning[to].post(), |at| self.spinning[at].take())),
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

/// Measures two processes, each on its own core: the partner answers at once.
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
    bench.compare("event-hand-over", &samples, "event", "futex-spin", Bar::AtMost(1.2));
    let bar = Bar::AtMost(if placement.is_near() { 4.0 } else { 2.0 });
    bench.compare("condition-hand-over", &samples, "condition", "event", bar);
    let bar = Bar::AtMost(if placement.is_near() { 4.8 } else { 2.4 }); // the bars of both rows above
    bench.compare("condition-hand-over", &samples, "condition", "futex-spin", bar);
    let [floor, ours] = [jobs[0], jobs[1]].map(|(_, job)| share_asleep(bench, &mut pair, job));
    // An event polls as long as a condition does. Its sleeps come from the machine: a core that runs another program.
    let bar = Bar::above_floor(1.0, floor / MOST_ASLEEP);
    print_share(bench, "condition-hand-over-asleep-floor", floor, Bar::AtMost(1.0));
    print_share(bench, "condition-hand-over-asleep", ours, bar);
}

/// The most turns of a hand-over in which a side may sleep.
const MOST_ASLEEP: f64 = 0.01;

fn print_share(bench: &Bench, row: &str, ours: f64, bar: Bar) {
    let (row, unit, rival) = (row.to_owned(), Unit::Share, "limit".to_owned());
    bench.print(Line { row, unit, ours, rival, theirs: Some(MOST_ASLEEP), ratio: None, bar });
}

/// The fraction of round trips in which this side slept.
fn share_asleep(bench: &Bench, pair: &mut Pair<'_>, job: usize) -> f64 {
    let span = Duration::from_millis(5);
    let (mut slept, mut turns) = (0, 0.0);
    for _ in 0..bench.scaled(60) {
        let before = sleeps();
        turns += span.as_nanos() as f64 / pair.run(job, span).each / 2.0;
        slept += sleeps() - before;
    }
    slept as f64 / turns
}

/// The number of times that this process yielded its core to wait.
fn sleeps() -> u64 {
    // SAFETY: a rusage is plain numbers, and all zeroes are one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: getrusage(2) fills the struct it is given.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) }, 0, "getrusage");
    usage.ru_nvcsw as u64
}

/// Measures two processes on one core, so that one of them has to sleep.
pub fn one_core(bench: &Bench, core: usize) {
    if !bench.wants("one-core") {
        return;
    }
    let ways = Ways::new();
    let two = [(); 2].map(|()| machine::shared(WatchingMailbox::<1>::default()));
    let nine = [(); 2].map(|()| machine::shared(WatchingMailbox::<8>::default()));
    let mut pair = Pair::on([core, core]);
    let mut jobs = ways.jobs(&mut pair).to_vec();
    jobs.push(("two-words", pair.exchange(|to| two[to].post(), |at| two[at].take())));
    jobs.push(("nine-words", pair.exchange(|to| nine[to].post(), |at| nine[at].take())));
    let samples = rounds(bench, &mut pair, &jobs, 40, Duration::from_millis(20));
    let bar = Bar::AtMost(0.55);
    bench.compare("event-one-core", &samples, "event", "pthread-cond", bar);
    bench.compare("condition-one-core", &samples, "condition", "pthread-cond", bar);
    // What no condition can go below: one sleep and one wake. And pthread's, used in the faster way that ours is used
    // in.
    bench.compare("event-one-core", &samples, "event", "futex", Bar::AtMost(1.2));
    bench.compare("condition-one-core", &samples, "condition", "pthread-cond-late", Bar::AtMost(1.2));
    // The cost of one sleep in futex_waitv(2): most sleepers watch one more word, and a few watch eight more.
    bench.compare("waitv-2-one-core-floor", &samples, "two-words", "futex", Bar::AtMost(1.3));
    bench.compare("waitv-9-one-core-floor", &samples, "nine-words", "futex", Bar::AtMost(2.0));
}

/// Measures a unit of a semaphore, passed back and forth on one core: between processes, then between threads. Each
/// runs beside the C library's semaphore.
pub fn units_on_one_core(bench: &Bench, core: usize) {
    if !bench.wants("semaphore-one-core") {
        return;
    }
    let ours = [(); 2].map(|()| Shm::place(Semaphore::<Shared>::shared(0)).expect("shared memory"));
    let posix = [(); 2].map(|()| PosixSemaphore::shared(0));
    let floor = [(); 2].map(|()| machine::shared(WatchingMailbox::<2>::default()));
    let mut pair = Pair::on([core, core]);
    let jobs = [
        (
            "ours",
            pair.exchange(|to| ours[to].release(1).expect("room"), |at| ours[at].acquire().expect("nobody refuses")),
        ),
        ("sem_t", pair.exchange(|to| posix[to].post(), |at| posix[at].wait())),
        ("watching", pair.exchange(|to| floor[to].post(), |at| floor[at].take())),
    ];
    let samples = rounds(bench, &mut pair, &jobs, 40, Duration::from_millis(20));
    bench.compare("semaphore-one-core-floor", &samples, "watching", "sem_t", Bar::AtMost(1.12));
    let bar = Bar::above_floor(1.12, samples.ratio("watching", "sem_t"));
    bench.compare("semaphore-one-core", &samples, "ours", "sem_t", bar);
    bench.compare("semaphore-one-core", &samples, "ours", "watching", Bar::AtMost(1.12));
    let mut samples = Samples::of_names(["ours", "sem_t"]);
    for round in 0..bench.scaled(40) {
        for turn in 0..2 {
            let (name, each) = if (turn + round) % 2 == 0 {
                let ours = [(); 2].map(|()| Semaphore::new(0));
                ("ours", between_threads(core, |to| ours[to].release(1).expect("room"), |at| ours[at].acquire()))
            } else {
                ("sem_t", between_threads(core, |to| posix[to].post(), |at| posix[at].wait()))
            };
            samples.push(name, each);
        }
    }
    bench.compare("semaphore-one-core-threads", &samples, "ours", "sem_t", Bar::AtMost(1.05));
}

/// Four thousand exchanges between two threads of this process on one core; returns nanoseconds per direction.
fn between_threads(core: usize, post: impl Fn(usize) + Sync, take: impl Fn(usize) + Sync) -> f64 {
    const TURNS: u32 = 4000;
    let spent = parties::threads(&[core; 2], |party| {
        for _ in 0..TURNS {
            if party == 1 {
                take(1);
                post(0);
            } else {
                post(1);
                take(0);
            }
        }
    });
    spent / f64::from(2 * TURNS)
}

/// The time for which the partner sleeps before the signal.
const SLEEP: Duration = Duration::from_micros(300);

/// Measures the time from the signal to its arrival, after the receiver has slept for a while.
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

/// The number of times that one run records.
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

/// An exchange whose first direction is timed, after a pause in which the partner falls asleep; the way back spins.
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
