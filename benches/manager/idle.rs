//! A call after a pause in which both sides fell asleep.

use std::time::{Duration, Instant};

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;

use crate::echo::Events;
use crate::floor::Floor;
use crate::served::Ours;

/// Longer than either side polls.
const PAUSE: Duration = Duration::from_micros(300);

/// A burst of calls with a pause before each call; the pauses are not measured.
fn with_pauses(call: impl Fn()) -> impl FnMut(u64) -> f64 {
    move |repeats| {
        let mut spent = Duration::ZERO;
        let repeats = repeats.clamp(1, 20);
        for _ in 0..repeats {
            std::thread::sleep(PAUSE);
            let start = Instant::now();
            call();
            spent += start.elapsed();
        }
        spent.as_nanos() as f64 / repeats as f64
    }
}

pub fn woken(bench: &Bench, [here, there]: [usize; 2]) {
    for (row, server) in [("woken-one-core", here), ("woken-two-cores", there)] {
        if !bench.wants(row) {
            continue;
        }
        let events = Events::start(server);
        let floor = Floor::start(server);
        let ours = Ours::start(server, 256, false);
        let mut rounds = Rounds::new();
        rounds.add_burst("memory", with_pauses(|| ours.get()));
        rounds.add_burst("eventfd", with_pauses(|| events.call()));
        rounds.add_burst("floor", with_pauses(|| floor.get()));
        let samples = machine::on_core(here, || rounds.run(bench.scaled(150), Duration::from_millis(1)));
        bench.compare(row, &samples, "memory", "eventfd", Bar::AtMost(1.2));
        bench.compare(&format!("{row}-floor"), &samples, "floor", "eventfd", Bar::AtMost(1.2));
    }
}
