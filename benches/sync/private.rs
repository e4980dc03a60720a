//! The lock of threads, with two or eight contending threads.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::pair::monotonic;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Samples;
use ossature_sys::sync::lock::Lock;

/// Spins for `turns` turns of an empty loop.
fn spend(turns: u32) {
    for turn in 0..turns {
        std::hint::black_box(turn);
    }
}

/// Measures contention by two threads and by eight, and by two with work inside and outside. In the row `private-even`
/// the lock is held nearly always: there a waiter that tests the word rarely loses most.
pub fn contended(bench: &Bench, cores: [usize; 2]) {
    let short = Duration::from_millis(4);
    if bench.wants("private-hammer") {
        let samples = in_turns(bench.scaled(120), 0, &Each { cores: &cores, span: short, outside: 0 });
        bench.compare("private-hammer", &samples, "ours", "std::Mutex", Bar::AtMost(1.0));
        bench.compare("private-hammer", &samples, "ours", "parking_lot", Bar::AtMost(1.3));
    }
    if bench.wants("private-hammer-8") {
        let (row, cores, span) = ("private-hammer-8", &cores.repeat(4)[..], Duration::from_millis(40));
        let samples = in_turns(bench.scaled(20), 0, &Each { cores, span, outside: 0 });
        bench.compare(row, &samples, "ours", "std::Mutex", Bar::AtMost(1.0));
        bench.compare(row, &samples, "ours", "parking_lot", Bar::AtMost(1.3));
        let samples = in_turns(bench.scaled(20), 0, &LongestWait { cores, span: Duration::from_millis(150) });
        bench.compare(&format!("{row}-longest-wait"), &samples, "ours", "std::Mutex", Bar::AtMost(1.0));
        bench.compare(&format!("{row}-longest-wait"), &samples, "ours", "parking_lot", Bar::AtMost(1.0));
    }
    if bench.wants("private-work") {
        let samples = in_turns(bench.scaled(120), 200, &Each { cores: &cores, span: short, outside: 800 });
        bench.compare("private-work", &samples, "ours", "std::Mutex", Bar::AtMost(1.05));
        bench.compare("private-work", &samples, "ours", "parking_lot", Bar::AtMost(1.05));
    }
    if bench.wants("private-even") {
        let samples = in_turns(bench.scaled(120), 1000, &Each { cores: &cores, span: short, outside: 1000 });
        bench.compare("private-even", &samples, "ours", "std::Mutex", Bar::AtMost(1.1));
        bench.compare("private-even", &samples, "ours", "parking_lot", Bar::AtMost(1.05));
    }
}

const NAMES: [&str; 3] = ["ours", "std::Mutex", "parking_lot"];

/// The measurement of a lock, whose turn acquires it, works inside, and releases it.
trait Measure {
    fn measure(&self, turn: impl Fn() + Sync) -> f64;
}

/// Measures the locks in turn.
fn in_turns(rounds: usize, inside: u32, what: &impl Measure) -> Samples {
    let mut samples = Samples::of_names(NAMES);
    for round in 0..rounds {
        for turn in 0..NAMES.len() {
            let name = NAMES[(turn + round) % NAMES.len()];
            let figure = match name {
                "ours" => {
                    let lock = Lock::new(0);
                    what.measure(|| {
                        let mut value = lock.lock();
                        *value += 1;
                        spend(inside);
                    })
                }
                "std::Mutex" => {
                    let lock = Mutex::new(0);
                    what.measure(|| {
                        let mut value = lock.lock().expect("not poisoned");
                        *value += 1;
                        spend(inside);
                    })
                }
                _ => {
                    let lock = parking_lot::Mutex::new(0);
                    what.measure(|| {
                        let mut value = lock.lock();
                        *value += 1;
                        spend(inside);
                    })
                }
            };
            samples.push(name, figure);
        }
    }
    samples
}

/// The time divided by the turns of all threads, in nanoseconds. There is one thread for each entry of `cores`.
struct Each<'c> {
    cores: &'c [usize],
    span: Duration,
    outside: u32,
}

impl Measure for Each<'_> {
    fn measure(&self, turn: impl Fn() + Sync) -> f64 {
        let total = AtomicU64::new(0);
        let took = threads(self.cores, self.span, |stop| {
            let mut done = 0;
            while !stop.load(Relaxed) {
                for _ in 0..16 {
                    turn();
                    spend(self.outside);
                }
                done += 16;
            }
            total.fetch_add(done, Relaxed);
        });
        took.as_nanos() as f64 / total.load(Relaxed) as f64
    }
}

/// The longest time in which a thread had no turn, in nanoseconds.
struct LongestWait<'c> {
    cores: &'c [usize],
    span: Duration,
}

impl Measure for LongestWait<'_> {
    fn measure(&self, turn: impl Fn() + Sync) -> f64 {
        let longest = AtomicU64::new(0);
        threads(self.cores, self.span, |stop| {
            let (mut last, mut most) = (monotonic(), 0);
            while !stop.load(Relaxed) {
                turn();
                let now = monotonic();
                most = most.max(now - last);
                last = now;
            }
            longest.fetch_max(most, Relaxed);
        });
        longest.load(Relaxed) as f64
    }
}

/// Runs `work` in threads, each on its core, until the flag is raised at the end of the span.
fn threads(cores: &[usize], span: Duration, work: impl Fn(&AtomicBool) + Sync) -> Duration {
    let (start, stop, go) = (Barrier::new(cores.len() + 1), AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        for core in cores {
            let (start, stop, go, work) = (&start, &stop, &go, &work);
            scope.spawn(move || {
                machine::pin(&[*core]);
                start.wait();
                while !go.load(Acquire) {
                    spin_loop();
                }
                work(stop);
            });
        }
        start.wait();
        let began = Instant::now();
        go.store(true, Release);
        thread::sleep(span);
        stop.store(true, Relaxed);
        began.elapsed()
    })
}
