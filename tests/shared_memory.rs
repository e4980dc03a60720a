//! Named memory, named lists and the removal of names. A main of its own with one thread, so that fork is safe.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../sys/tests/fork/harness.rs"]
mod harness;

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "python/peers.rs"]
mod peers;

#[path = "shared_memory/blocks.rs"]
mod blocks;
#[path = "shared_memory/full.rs"]
mod full;
#[path = "shared_memory/lifetime.rs"]
mod lifetime;
#[path = "shared_memory/lists.rs"]
mod lists;
#[path = "shared_memory/python.rs"]
mod python;
#[path = "shared_memory/semaphores.rs"]
mod semaphores;
#[path = "shared_memory/snake.rs"]
mod snake;
#[path = "shared_memory/storm.rs"]
mod storm;
#[path = "shared_memory/tracker.rs"]
mod tracker;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ossature::multiprocessing::{Tasks, freeze_support, tasks};

static TASKS: Tasks = tasks![lifetime::add_up];

fn main() {
    freeze_support(TASKS);
    tracker::program();
    let ours = [blocks::TESTS, full::TESTS, lifetime::TESTS, lists::TESTS, storm::TESTS];
    let with_python = [python::TESTS, semaphores::TESTS, tracker::TESTS];
    harness::run(&[ours.concat(), with_python.concat()].concat())
}

/// A name that no other test uses.
fn fresh() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("ossature-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed))
}

/// The file of an object.
fn file(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(name)
}

fn exists(name: &str) -> bool {
    file(name).symlink_metadata().is_ok()
}
