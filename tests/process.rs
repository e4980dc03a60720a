//! Processes: their names, handles and ends. A main of its own with one thread, so that fork is safe.
//!
//! What holds for every way of starting a process is in `lives.rs` and `finalizers.rs`, once for each world of
//! `worlds.rs`.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../sys/tests/fork/harness.rs"]
mod harness;

#[macro_use]
#[path = "process/worlds.rs"]
mod worlds;

#[path = "process/aborts.rs"]
mod aborts;
#[path = "process/ends.rs"]
mod ends;
#[cfg(ossature_faults)]
#[path = "process/faults.rs"]
mod faults;
#[path = "process/finalizers.rs"]
mod finalizers;
#[path = "process/forked.rs"]
mod forked;
#[path = "process/guise.rs"]
mod guise;
#[path = "process/hooks.rs"]
mod hooks;
#[path = "process/lives.rs"]
mod lives;
#[path = "process/orphans.rs"]
mod orphans;
#[path = "process/panics.rs"]
mod panics;
#[path = "process/surroundings.rs"]
mod surroundings;
#[path = "process/temp_dir.rs"]
mod temp_dir;

fn main() {
    ossature::multiprocessing::freeze_support(worlds::TASKS);
    if cfg!(panic = "abort") {
        return harness::run(aborts::TESTS);
    }
    let mut tests = Vec::new();
    for module in [
        lives::TESTS,
        panics::TESTS,
        panics::ALONE,
        finalizers::TESTS,
        finalizers::ALONE,
        forked::TESTS,
        ends::TESTS,
        hooks::TESTS,
        hooks::ALONE,
        guise::TESTS,
        orphans::TESTS,
        surroundings::TESTS,
        surroundings::ALONE,
        temp_dir::TESTS,
    ] {
        tests.extend_from_slice(module);
    }
    #[cfg(ossature_faults)]
    tests.extend_from_slice(faults::TESTS);
    harness::run(&tests)
}
