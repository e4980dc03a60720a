//! One call: the value behind a key of a dict.

use std::time::Duration;

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::placement::Placement;
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
    let python = cpython(here, there, false);
    let redis = Redis::start(there);
    let mut rounds = Rounds::new();
    rounds.add("memory", || ours.get());
    python.add(&mut rounds, "d.get('k')");
    if let Some(redis) = &redis {
        rounds.add("redis", || redis.get());
    }
    let samples = machine::on_core(here, || rounds.run(bench.scaled(60), SPAN));
    python.compare(bench, row, &samples, "memory", Bar::AtMost(bars[0]));
    if redis.is_some() {
        bench.compare(row, &samples, "memory", "redis", Bar::AtMost(bars[1]));
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
    let python = cpython(core, core, true);
    let mut rounds = Rounds::new();
    rounds.add("tcp", || ours.get());
    python.add(&mut rounds, "d.get('k')");
    let samples = machine::on_core(core, || rounds.run(bench.scaled(60), SPAN));
    python.compare(bench, row, &samples, "tcp", Bar::AtMost(0.7));
}
