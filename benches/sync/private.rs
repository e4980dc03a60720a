//! The lock of threads with two of them at it.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Samples;
use ossature_sys::sync::lock::Lock;

/// What a turn does: inside the lock and outside of it, in turns of an empty loop.
#[derive(Clone, Copy)]
struct Work {
    inside: u32,
    outside: u32,
}

fn spend(turns: u32) {
    for turn in 0..turns {
        std::hint::black_box(turn);
    }
}

/// Hammering, and with work inside and outside.
pub fn contended(bench: &Bench, cores: [usize; 2]) {
    if bench.wants("private-hammer") {
        let samples = rounds(bench, cores, Work { inside: 0, outside: 0 });
        bench.compare("private-hammer", &samples, "ours", "std::Mutex", Bar::AtMost(1.0));
    }
    if bench.wants("private-work") {
        let samples = rounds(bench, cores, Work { inside: 200, outside: 800 });
        bench.compare("private-work", &samples, "ours", "std::Mutex", Bar::AtMost(1.05));
        bench.compare("private-work", &samples, "ours", "parking_lot", Bar::AtMost(1.05));
    }
}

fn rounds(bench: &Bench, cores: [usize; 2], work: Work) -> Samples {
    let names = ["ours", "std::Mutex", "parking_lot"];
    let mut samples = Samples::of_names(names);
    for round in 0..bench.scaled(120) {
        for turn in 0..names.len() {
            let name = names[(turn + round) % names.len()];
            let each = match name {
                "ours" => {
                    let lock = Lock::new(0);
                    both(cores, work, || {
                        let mut value = lock.lock();
                        *value += 1;
                        spend(work.inside);
                    })
                }
                "std::Mutex" => {
                    let lock = Mutex::new(0);
                    both(cores, work, || {
                        let mut value = lock.lock().expect("not poisoned");
                        *value += 1;
                        spend(work.inside);
                    })
                }
                _ => {
                    let lock = parking_lot::Mutex::new(0);
                    both(cores, work, || {
                        let mut value = lock.lock();
                        *value += 1;
                        spend(work.inside);
                    })
                }
            };
            samples.push(name, each);
        }
    }
    samples
}

/// Two threads, each on its core, for a stretch: nanoseconds for each turn of the two together.
fn both(cores: [usize; 2], work: Work, turn: impl Fn() + Sync) -> f64 {
    let (start, stop, total) = (Barrier::new(3), AtomicBool::new(false), AtomicU64::new(0));
    let go = AtomicBool::new(false);
    thread::scope(|scope| {
        for core in cores {
            let (start, stop, total, go, turn) = (&start, &stop, &total, &go, &turn);
            scope.spawn(move || {
                machine::pin(&[core]);
                start.wait();
                while !go.load(Acquire) {
                    spin_loop();
                }
                let mut done = 0;
                while !stop.load(Relaxed) {
                    for _ in 0..16 {
                        turn();
                        spend(work.outside);
                    }
                    done += 16;
                }
                total.fetch_add(done, Relaxed);
            });
        }
        start.wait();
        let began = Instant::now();
        go.store(true, Release);
        thread::sleep(Duration::from_millis(4));
        stop.store(true, Relaxed);
        began.elapsed()
    })
    .as_nanos() as f64
        / total.load(Relaxed) as f64
}
