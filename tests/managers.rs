//! Managers: objects on a server, their proxies and their ends. A main of its own with one thread, so that a server and
//! its clients can be forked.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../sys/tests/fork/harness.rs"]
mod harness;
#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "python/peers.rs"]
mod peers;

#[path = "managers/access.rs"]
mod access;
#[path = "managers/builtin.rs"]
mod builtin;
#[path = "managers/calls.rs"]
mod calls;
#[path = "managers/cases.rs"]
mod cases;
#[path = "managers/deaths.rs"]
mod deaths;
#[path = "managers/depth.rs"]
mod depth;
#[path = "managers/given_up.rs"]
mod given_up;
#[path = "managers/golden.rs"]
mod golden;
#[path = "managers/hostile.rs"]
mod hostile;
#[path = "managers/in_flight.rs"]
mod in_flight;
#[path = "managers/limits.rs"]
mod limits;
#[path = "managers/pool.rs"]
mod pool;
#[path = "managers/python.rs"]
mod python;
#[path = "managers/segments.rs"]
mod segments;
#[path = "managers/served.rs"]
mod served;
#[path = "managers/shared.rs"]
mod shared;

use std::time::Duration;

use ossature::multiprocessing::{Tasks, freeze_support, managers, tasks};

/// A time longer than any step of these tests.
const LONG: Duration = Duration::from_secs(50);

static TASKS: Tasks = tasks![
    managers::serve::<served::Bank>,
    calls::pay,
    calls::count_up,
    calls::read_behind_a_wrong_key,
    deaths::start_and_rest,
    deaths::start_and_keep,
    pool::pid_after,
    pool::power,
    pool::fail,
    pool::an_end,
    pool::units,
    pool::wide,
    pool::send_one
];

fn main() {
    freeze_support(TASKS);
    // Before the first test counts descriptors.
    ossature::multiprocessing::util::temp_dir().unwrap();
    let modules = [
        access::TESTS,
        calls::TESTS,
        builtin::TESTS,
        deaths::TESTS,
        given_up::TESTS,
        in_flight::TESTS,
        golden::TESTS,
        cases::TESTS,
        hostile::TESTS,
        limits::TESTS,
        pool::TESTS,
        segments::TESTS,
        shared::TESTS,
        python::TESTS,
        depth::TESTS,
    ];
    harness::run(&modules.concat())
}
