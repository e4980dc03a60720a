//! Queues between processes. A main of its own with one thread, so that fork is safe.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../sys/tests/fork/harness.rs"]
mod harness;

#[path = "queues/carried.rs"]
mod carried;
#[path = "queues/cases.rs"]
mod cases;
#[path = "queues/channel.rs"]
mod channel;
#[path = "queues/forms.rs"]
mod forms;
#[path = "queues/killed.rs"]
mod killed;
#[path = "queues/readiness.rs"]
mod readiness;
#[path = "queues/workers.rs"]
mod workers;

fn main() {
    ossature::multiprocessing::freeze_support(workers::TASKS);
    let mut tests = Vec::new();
    let modules = [forms::TESTS, cases::TESTS, workers::TESTS, killed::TESTS, readiness::TESTS, channel::TESTS];
    for module in modules.into_iter().chain([carried::TESTS]) {
        tests.extend_from_slice(module);
    }
    harness::run(&tests)
}
