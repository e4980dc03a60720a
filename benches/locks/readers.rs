//! Reading and writing under an uncontended reader-writer lock.

use std::hint::black_box;
use std::sync::RwLock as StdRwLock;

use ossature_benches::bench::Bench;
use ossature_benches::callgrind::Counted;
use ossature_benches::report::Bar;
use ossature_benches::rivals::PthreadRwLock;
use ossature_benches::rounds::Rounds;
use ossature_sys::scope::Shared;
use ossature_sys::shm::Shm;
use ossature_sys::sync::rwlock::RwLock;

fn shared() -> Shm<RwLock<u64, Shared>> {
    Shm::place(RwLock::<u64, Shared>::shared(0)).expect("shared memory")
}

/// Reads once under a shared lock.
#[inline(always)] // as it would be in a caller's loop
fn read(lock: &RwLock<u64, Shared>) {
    black_box(*lock.read().expect("the lock is recoverable"));
}

/// Runs the rows of both scopes.
pub fn rows(bench: &Bench) {
    private(bench);
    between_processes(bench);
    if bench.wants("shared-read-instructions") {
        bench.limit_instructions("shared-read-instructions", "shared-read", 64.0);
    }
}

fn private(bench: &Bench) {
    if !bench.wants("private-read") && !bench.wants("private-write") {
        return;
    }
    let samples = bench.table(4, |turns| {
        let (ours, std) = (RwLock::new(0u64), StdRwLock::new(0u64));
        let (ours, std) = black_box((&ours, &std));
        let mut rounds = Rounds::new();
        rounds.add("ours", || {
            black_box(*ours.read());
        });
        rounds.add("std::RwLock", || {
            black_box(*std.read().expect("not poisoned"));
        });
        rounds.add("ours-write", || *ours.write() += 1);
        rounds.add("std-write", || *std.write().expect("not poisoned") += 1);
        turns.run(200, rounds);
    });
    bench.compare("private-read", &samples, "ours", "std::RwLock", Bar::AtMost(1.3));
    bench.compare("private-write", &samples, "ours-write", "std-write", Bar::AtMost(2.5));
}

fn between_processes(bench: &Bench) {
    if !bench.wants("shared-read") && !bench.wants("shared-write") {
        return;
    }
    let pthread = PthreadRwLock::shared();
    let samples = bench.table(4, |turns| {
        let ours = shared();
        let (ours, pthread) = black_box((&*ours, pthread));
        let mut rounds = Rounds::new();
        rounds.add("ours", || read(ours));
        rounds.add("pthread_rwlock", || {
            black_box(pthread.read(|value| *value));
        });
        rounds.add("ours-write", || *ours.write().expect("the lock is recoverable") += 1);
        rounds.add("pthread-write", || pthread.write(|value| *value += 1));
        turns.run(200, rounds);
    });
    bench.compare("shared-read", &samples, "ours", "pthread_rwlock", Bar::AtMost(1.5));
    bench.compare("shared-write", &samples, "ours-write", "pthread-write", Bar::AtMost(4.0));
}

/// The operation whose instructions are counted, four times per turn, as in `alone`.
pub const COUNTED: Counted = ("shared-read", |repeats| {
    let lock = shared();
    let lock = black_box(&*lock);
    for _ in 0..repeats / 4 {
        drop(lock.read());
        drop(lock.read());
        drop(lock.read());
        drop(lock.read());
    }
});
