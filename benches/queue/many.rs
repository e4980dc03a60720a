//! Two senders and two receivers on two cores: the ring and the typed queue between processes, crossbeam between
//! threads.

use std::cell::RefCell;
use std::hint::black_box;

use ossature::multiprocessing::Queue;
use ossature_benches::bench::Bench;
use ossature_benches::parties::{self, Parties};
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;
use ossature_sys::sync::ring::Ring;

use crate::MESSAGES;
use crate::one_way::receive_all;
use crate::typed::{Value, WAITING};

/// Whether the party sends: odd numbers do, so each core has one sender and one receiver.
fn sends(party: usize) -> bool {
    party % 2 == 1
}

pub fn rows(bench: &Bench, [here, there]: [usize; 2]) {
    let row = "two-and-two-64";
    if !bench.wants(row) {
        return;
    }
    let cores = [here, there, there, here];
    let ring = Ring::new(256 << 10).expect("a ring");
    let ring = RefCell::new(ring.join().expect("a place"));
    let queue = Queue::<Value>::new().expect("a queue");
    let mut processes = Parties::on(&cores);
    let bytes = processes.add(|party, count| match sends(party) {
        true => (0..count).for_each(|_| ring.borrow_mut().send(&[7; 64]).expect("room")),
        false => receive_all(&mut ring.borrow_mut(), count),
    });
    let typed = processes.add(|party, count| {
        for turn in 0..count {
            match sends(party) {
                true => queue.put([turn as f64; 8]).expect("room"),
                false => _ = black_box(queue.get().expect("a value")),
            }
        }
    });
    let processes = RefCell::new(processes);
    processes.borrow_mut().run(bytes, 1); // forks, while there is one thread
    let (tell, hear) = crossbeam_channel::bounded::<Value>(WAITING);
    // A message each for either of the two.
    let per_message = |time: f64| time / (2 * MESSAGES) as f64;
    let mut rounds = Rounds::new();
    for (name, job) in [("ring", bytes), ("queue", typed)] {
        let processes = &processes;
        rounds.add_burst(name, move |_| per_message(processes.borrow_mut().run(job, MESSAGES)));
    }
    rounds.add_burst("crossbeam", |_| {
        let work = |party| {
            for turn in 0..MESSAGES {
                match sends(party) {
                    true => tell.send([turn as f64; 8]).expect("a receiver"),
                    false => _ = black_box(hear.recv().expect("a sender")),
                }
            }
        };
        per_message(parties::threads(&cores, work))
    });
    let samples = rounds.run(bench.scaled(80), crate::ANY);
    bench.compare(&format!("{row}-ring"), &samples, "ring", "crossbeam", Bar::AtMost(2.0));
    bench.compare(&format!("{row}-typed"), &samples, "queue", "crossbeam", Bar::AtMost(2.0));
}
