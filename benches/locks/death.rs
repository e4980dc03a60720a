//! How long a waiter waits after its holder is killed: from just before the kill until the waiter holds the lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use std::time::Duration;

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::pair::monotonic;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rivals::{futex_wait, futex_wake};
use ossature_benches::rounds::median;
use ossature_sys::scope::Shared;
use ossature_sys::sync::lock::Lock;

use crate::alone::shared;

/// The state that the three parties share beside the lock.
#[derive(Default)]
struct Stage {
    held: AtomicU32,
    killed_at: AtomicU64,
}

/// Runs the row: the median of a hundred deaths against a bar of one millisecond.
pub fn hand_over(bench: &Bench) {
    if !bench.wants("hand-over-after-death") {
        return;
    }
    let lock = shared();
    let times = (0..bench.scaled(100)).map(|_| one_death(&lock));
    bench.print(Line {
        row: "hand-over-after-death".to_owned(),
        unit: Unit::Nanoseconds,
        ours: median(times.collect::<Vec<_>>()),
        rival: "limit".to_owned(),
        theirs: Some(1_000_000.0),
        ratio: None,
        bar: Bar::AtMost(1.0),
    });
}

/// One child takes the lock, this process sleeps on it, and another child kills the first. Returns the nanoseconds
/// until this process has the lock.
fn one_death(lock: &Lock<u64, Shared>) -> f64 {
    let stage = machine::shared(Stage::default());
    let holder = forked(|| {
        let _held = lock.lock();
        stage.held.store(1, Release);
        futex_wake(&stage.held, 1);
        std::thread::sleep(Duration::from_secs(60));
    });
    while stage.held.load(Acquire) == 0 {
        futex_wait(&stage.held, 0);
    }
    let killer = forked(|| {
        // Time enough for the waiter to be asleep: it has nothing else to do.
        std::thread::sleep(Duration::from_millis(2));
        stage.killed_at.store(monotonic(), Release);
        // SAFETY: the holder is not reaped before this child is, so the number is still its own.
        unsafe { libc::kill(holder, libc::SIGKILL) };
    });
    let mut guard = lock.lock().expect("the lock is recoverable");
    let have = monotonic();
    assert!(guard.abandoned(), "the holder died with the lock held");
    guard.mark_consistent();
    drop(guard);
    reap(killer);
    reap(holder);
    (have - stage.killed_at.load(Acquire)) as f64
}

fn forked(child: impl FnOnce()) -> libc::pid_t {
    // SAFETY: this process has one thread, so nothing is left locked in the child, which ends by _exit.
    match unsafe { libc::fork() } {
        0 => {
            child();
            // SAFETY: _exit(2) ends the child.
            unsafe { libc::_exit(0) }
        }
        pid => {
            assert!(pid > 0, "fork");
            pid
        }
    }
}

fn reap(child: libc::pid_t) {
    // SAFETY: waitpid(2) takes a null status pointer.
    let reaped = unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    assert_eq!(reaped, child);
}
