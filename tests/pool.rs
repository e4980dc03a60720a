//! Pools: their calls, their deaths and their ends. A main of its own with one thread, so that a pool can be forked.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../sys/tests/fork/harness.rs"]
mod harness;

#[path = "pool/calls.rs"]
mod calls;
#[path = "pool/cases.rs"]
mod cases;
#[path = "pool/deaths.rs"]
mod deaths;
#[path = "pool/ends.rs"]
mod ends;
#[path = "pool/forked.rs"]
mod forked;
#[path = "pool/futures.rs"]
mod futures;
#[path = "pool/readiness.rs"]
mod readiness;
#[path = "pool/setups.rs"]
mod setups;
#[path = "pool/threads.rs"]
mod threads;
#[path = "pool/work.rs"]
mod work;

fn main() {
    ossature::multiprocessing::freeze_support(work::TASKS);
    let mut tests = Vec::new();
    for module in [
        calls::TESTS,
        cases::TESTS,
        deaths::TESTS,
        ends::TESTS,
        forked::TESTS,
        futures::TESTS,
        readiness::TESTS,
        setups::TESTS,
        threads::TESTS,
    ] {
        tests.extend_from_slice(module);
    }
    harness::run(&tests)
}
