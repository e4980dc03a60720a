//! Every waiting primitive. Each behaviour is written once and stamped for the worlds to which it applies: private by
//! threads, shared by threads, shared by processes, local.
//!
//! Processes are forked, so this binary has a main of its own with one thread. Names are file, world, behaviour:
//! `cargo test -p ossature-sys --test sync -- event::processes` runs those whose names contain that.

#[path = "../fork/harness.rs"]
#[allow(dead_code, reason = "the runner is shared, its pipes are not needed here")]
mod harness;
#[macro_use]
#[path = "../it/needs.rs"]
mod needs;
#[macro_use]
mod stamp;
mod ledger;
mod world;

mod barrier;
mod condition;
mod event;
mod handoff;
mod lock;
mod peers;
mod rlock;
mod rwlock;
mod semaphore;

use ossature_sys::scope::{LockBackend, Shared};

fn main() {
    let mut tests = Vec::new();
    for module in [
        peers::TESTS,
        lock::TESTS,
        rlock::TESTS,
        rwlock::TESTS,
        rwlock::deaths::TESTS,
        event::TESTS,
        condition::TESTS,
        condition::deaths::TESTS,
        semaphore::TESTS,
        handoff::TESTS,
        barrier::TESTS,
    ] {
        tests.extend_from_slice(module);
    }
    let shared_locks = Shared::backend() != LockBackend::Unsupported;
    let possible = |name: &str| {
        let without_lock = name.starts_with("event::") || name.starts_with("handoff::");
        shared_locks || without_lock || !(name.contains("::shared::") || name.contains("::processes::"))
    };
    harness::run_where(&tests, |name| name.contains("::processes::"), possible)
}
