//! Two processes that contend for the same lock, each on its own core, or both on one core.

use std::time::Duration;

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::pair::{Outcome, Pair};
use ossature_benches::placement::Placement;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rivals::{LookingFutex, PlainFutex, PthreadRobust, SpinLock};
use ossature_benches::rounds::{Samples, median};

use crate::alone::{shared, turn};

/// Measures two processes, each on its own core: speed and fairness, because a lock gains one at the cost of the other.
pub fn two_cores(bench: &Bench, cores: [usize; 2], placement: Placement) {
    if !bench.wants("hammer") {
        return;
    }
    let (ours, pthread) = (shared(), PthreadRobust::shared());
    let mut pair = Pair::on(cores);
    let jobs = [
        ("ours", pair.add(64, || turn(&ours))),
        ("pthread-robust", pair.add(64, || pthread.with(|value| *value += 1))),
    ];
    let ran = stretches(bench, &mut pair, &jobs, 150, Duration::from_millis(4));
    let bar = if placement.is_near() { 0.9 } else { 1.05 };
    bench.compare("hammer", &ran.each, "ours", "pthread-robust", Bar::AtMost(bar));
    bench.print(Line {
        row: "hammer-fairness".to_owned(),
        unit: Unit::Share,
        ours: median(ran.fairness.of("ours").iter().copied()),
        rival: "even".to_owned(),
        theirs: Some(1.0),
        ratio: None,
        bar: Bar::AtLeast(0.6),
    });
}

/// Measures two processes, each on its own core, with work inside the lock and four times as much outside.
pub fn with_work(bench: &Bench, cores: [usize; 2], placement: Placement) {
    if !bench.wants("shared-work") {
        return;
    }
    let (ours, pthread) = (shared(), PthreadRobust::shared());
    let (futex, spin) = (machine::shared(LookingFutex::default()), machine::shared(SpinLock::default()));
    let inside = |value: &mut u64| {
        *value += 1;
        spend(200);
    };
    let mut pair = Pair::on(cores);
    let jobs = [
        (
            "ours",
            pair.add(16, || {
                inside(&mut ours.lock().expect("the lock is recoverable"));
                spend(800);
            }),
        ),
        (
            "looking-futex",
            pair.add(16, || {
                futex.with(inside);
                spend(800);
            }),
        ),
        (
            "pthread-robust",
            pair.add(16, || {
                pthread.with(inside);
                spend(800);
            }),
        ),
        (
            "spin",
            pair.add(16, || {
                spin.with(inside);
                spend(800);
            }),
        ),
        ("work", pair.add(16, || spend(1000))),
    ];
    let ran = stretches(bench, &mut pair, &jobs, 150, Duration::from_millis(4));
    let asked = if placement.is_near() { 0.85 } else { 0.95 };
    bench.compare("shared-work-no-lock-floor", &ran.each, "work", "pthread-robust", Bar::AtMost(asked));
    bench.compare("shared-work-floor", &ran.each, "spin", "pthread-robust", Bar::AtMost(asked));
    bench.compare("shared-work", &ran.each, "ours", "looking-futex", Bar::AtMost(1.08));
    // A lock that only spins and must not die takes more than this part of pthread's time.
    let bar = Bar::above_floor(asked, ran.each.ratio("spin", "pthread-robust"));
    bench.compare("shared-work", &ran.each, "ours", "pthread-robust", bar);
}

/// Spins for `turns` turns of an empty loop.
fn spend(turns: u32) {
    for turn in 0..turns {
        std::hint::black_box(turn);
    }
}

/// Measures both processes on one core, where no spin can succeed. Each holder yields the core inside the lock, so that
/// the other process always finds the lock taken. The row shows the cost of this lock over a lock that never spins.
pub fn one_core(bench: &Bench, core: usize) {
    if !bench.wants("one-core-spin") {
        return;
    }
    let (ours, plain) = (shared(), machine::shared(PlainFutex::default()));
    let mut pair = Pair::on([core, core]);
    let jobs = [
        ("ours", pair.add(1, || count_and_yield(&mut ours.lock().expect("the lock is recoverable")))),
        ("plain-futex", pair.add(1, || plain.with(count_and_yield))),
    ];
    let ran = stretches(bench, &mut pair, &jobs, 60, Duration::from_millis(20));
    bench.compare("one-core-spin", &ran.each, "ours", "plain-futex", Bar::AtMost(1.15));
}

fn count_and_yield(value: &mut u64) {
    *value += 1;
    std::thread::yield_now();
}

struct Ran {
    each: Samples,
    fairness: Samples,
}

/// Runs each job once in every round, in rotating order.
fn stretches(bench: &Bench, pair: &mut Pair<'_>, jobs: &[(&'static str, usize)], rounds: usize, span: Duration) -> Ran {
    let names = || jobs.iter().map(|(name, _)| *name);
    let (mut each, mut fairness) = (Samples::of_names(names()), Samples::of_names(names()));
    for (_, job) in jobs {
        // Both sides meet the memory, and an adaptive lock the machine.
        pair.run(*job, span);
    }
    for round in 0..bench.scaled(rounds) {
        for turn in 0..jobs.len() {
            let (name, job) = jobs[(turn + round) % jobs.len()];
            let Outcome { each: time, fairness: share } = pair.run(job, span);
            each.push(name, time);
            fairness.push(name, share);
        }
    }
    Ran { each, fairness }
}
