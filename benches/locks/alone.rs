//! Acquire and release of an uncontended lock, in a process that has had a second thread.

use std::hint::black_box;
use std::sync::Mutex;

use ossature_benches::bench::Bench;
use ossature_benches::callgrind::Counted;
use ossature_benches::report::Bar;
use ossature_benches::rivals::PthreadRobust;
use ossature_benches::rounds::Rounds;
use ossature_sys::scope::Shared;
use ossature_sys::shm::Shm;
use ossature_sys::sync::lock::Lock;

/// A shared lock around a number.
pub fn shared() -> Shm<Lock<u64, Shared>> {
    Shm::place(Lock::<u64, Shared>::shared(0)).expect("shared memory")
}

/// Acquires and releases a shared lock once.
#[inline(always)] // as it would be in a caller's loop
pub fn turn(lock: &Lock<u64, Shared>) {
    *lock.lock().expect("the lock is recoverable") += 1;
}

/// Runs the rows of both scopes.
pub fn rows(bench: &Bench) {
    private(bench);
    between_processes(bench);
    if bench.wants("shared-pair-instructions") {
        bench.limit_instructions("shared-pair-instructions", "shared", 40.0);
    }
}

fn private(bench: &Bench) {
    if !bench.wants("private-pair") {
        return;
    }
    let samples = bench.table(4, |turn| {
        let (ours, std, parking_lot) = (Lock::new(0u64), Mutex::new(0u64), parking_lot::Mutex::new(0u64));
        let (ours, std, parking_lot) = black_box((&ours, &std, &parking_lot));
        let mut rounds = Rounds::new();
        rounds.add("ours", || *ours.lock() += 1);
        rounds.add("std::Mutex", || *std.lock().expect("not poisoned") += 1);
        rounds.add("parking_lot", || *parking_lot.lock() += 1);
        turn.run(200, rounds);
    });
    bench.compare("private-pair", &samples, "ours", "std::Mutex", Bar::AtMost(1.05));
    bench.compare("private-pair", &samples, "ours", "parking_lot", Bar::AtMost(1.05));
}

fn between_processes(bench: &Bench) {
    if !bench.wants("shared-pair") {
        return;
    }
    let pthread = PthreadRobust::shared();
    let samples = bench.table(4, |turns| {
        let (ours, std) = (shared(), Mutex::new(0u64));
        let (ours, std, pthread) = black_box((&*ours, &std, pthread));
        let mut rounds = Rounds::new();
        rounds.add("ours", || turn(ours));
        rounds.add("std::Mutex", || *std.lock().expect("not poisoned") += 1);
        rounds.add("pthread-robust", || pthread.with(|value| *value += 1));
        turns.run(200, rounds);
    });
    bench.compare("shared-pair", &samples, "ours", "std::Mutex", Bar::AtMost(1.2));
    bench.compare("shared-pair", &samples, "ours", "pthread-robust", Bar::AtMost(0.9));
}

/// The operations whose instructions are counted. Each turn has four pairs, so that the loop itself costs less than one
/// instruction per pair.
pub const COUNTED: &[Counted] = &[
    crate::readers::COUNTED,
    ("shared", |repeats| {
        let lock = shared();
        let lock = black_box(&*lock);
        for _ in 0..repeats / 4 {
            drop(lock.lock());
            drop(lock.lock());
            drop(lock.lock());
            drop(lock.lock());
        }
    }),
];
