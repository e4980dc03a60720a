//! One call: the value behind a key of a dict.

use std::cell::RefCell;
use std::time::Duration;

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::placement::Placement;
use ossature_benches::python::Python;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;

use crate::echo::Echo;
use crate::redis::Redis;
use crate::served::{Ours, cpython};

/// Long enough that the wake at the beginning of a burst does not matter.
const SPAN: Duration = Duration::from_millis(10);

/// Measures this crate's manager beside CPython's and redis, with the client on the first core and the servers on the
/// second.
fn beside_both(bench: &Bench, row: &str, [here, there]: [usize; 2], bars: [f64; 2]) {
    if !bench.wants(row) {
        return;
    }
    let ours = Ours::start(there, 256, false);
    let python = cpython(here, there, false).map(RefCell::new);
    let redis = Redis::start(there);
    let mut rounds = Rounds::new();
    rounds.add("memory", || ours.get());
    add_python(&mut rounds, python.as_ref());
    if let Some(redis) = &redis {
        rounds.add("redis", || redis.get());
    }
    let samples = machine::on_core(here, || rounds.run(bench.scaled(60), SPAN));
    for (name, bar, is_there) in [("cpython", bars[0], python.is_some()), ("redis", bars[1], redis.is_some())] {
        if is_there {
            bench.compare(row, &samples, "memory", name, Bar::AtMost(bar));
        }
    }
}

fn add_python<'a>(rounds: &mut Rounds<'a>, python: Option<&'a RefCell<Python>>) {
    if let Some(python) = python {
        rounds.add_burst("cpython", |repeats| python.borrow_mut().time("d.get('k')", repeats));
    }
}

/// Measures a call with client and server each on its own core, both awake.
pub fn awake(bench: &Bench, cores: [usize; 2], placement: Placement) {
    let bar = if placement.is_near() { 0.02 } else { 0.04 };
    beside_both(bench, "get-awake", cores, [bar; 2]);
}

/// Measures a call with client and server on one core, so that one of them sleeps.
pub fn one_core(bench: &Bench, core: usize) {
    beside_both(bench, "get-one-core", [core; 2], [0.36, 0.56]);
}

/// Measures a call without shared memory, beside an echo.
pub fn over_the_socket(bench: &Bench, core: usize) {
    let row = "get-socket-one-core";
    if !bench.wants(row) {
        return;
    }
    let echo = Echo::start(core);
    let ours = Ours::start(core, 0, false);
    let mut rounds = Rounds::new();
    rounds.add("socket", || ours.get());
    rounds.add("echo", || echo.call());
    let samples = machine::on_core(core, || rounds.run(bench.scaled(100), SPAN));
    bench.compare(row, &samples, "socket", "echo", Bar::AtMost(1.20));
}

/// Measures a call over TCP, beside CPython's over TCP.
pub fn over_tcp(bench: &Bench, core: usize) {
    let row = "get-tcp-one-core";
    if !bench.wants(row) {
        return;
    }
    let ours = Ours::start(core, 256, true);
    let Some(python) = cpython(core, core, true).map(RefCell::new) else { return };
    let mut rounds = Rounds::new();
    rounds.add("tcp", || ours.get());
    add_python(&mut rounds, Some(&python));
    let samples = machine::on_core(core, || rounds.run(bench.scaled(60), SPAN));
    bench.compare(row, &samples, "tcp", "cpython", Bar::AtMost(0.7));
}
