//! Pools: their calls, their deaths and their ends. A main of its own with one thread, so that a pool can be forked.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../sys/tests/fork/harness.rs"]
mod harness;

#[path = "pool/calls.rs"]
mod calls;
#[path = "pool/carried.rs"]
mod carried;
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
#[path = "pool/interrupts.rs"]
mod interrupts;
#[path = "pool/plain.rs"]
mod plain;
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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        if *first == "--interrupted" {
            return interrupts::program(rest);
        }
    }
    let mut tests = Vec::new();
    for module in [
        calls::TESTS,
        cases::TESTS,
        carried::TESTS,
        deaths::TESTS,
        ends::TESTS,
        forked::TESTS,
        futures::TESTS,
        interrupts::TESTS,
        plain::TESTS,
        readiness::TESTS,
        setups::TESTS,
        threads::TESTS,
    ] {
        tests.extend_from_slice(module);
    }
    harness::run(&tests)
}
