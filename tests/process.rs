//! Processes: their names, handles and ends. A main of its own with one thread, so that fork is safe.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../sys/tests/fork/harness.rs"]
mod harness;

#[path = "process/basic.rs"]
mod basic;

fn main() {
    let mut tests = Vec::new();
    for module in [basic::TESTS] {
        tests.extend_from_slice(module);
    }
    harness::run(&tests)
}
