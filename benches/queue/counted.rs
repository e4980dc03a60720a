//! Instructions of a message that one thread both sends and receives.

use std::hint::black_box;

use ossature::multiprocessing::Queue;
use ossature_benches::bench::Bench;
use ossature_benches::callgrind::Counted;
use ossature_sys::sync::ring::Ring;

use crate::typed::Value;

pub const ROWS: [Counted; 2] = [("ring", ring), ("queue", queue)];

fn ring(count: u64) {
    let ring = Ring::new(64 << 10).expect("a ring");
    let mut user = ring.join().expect("a place");
    let mut bytes = [0; 64];
    for _ in 0..count {
        user.send(black_box(&[7; 64])).expect("room");
        user.recv(&mut bytes).expect("a message");
        black_box(&bytes);
    }
}

fn queue(count: u64) {
    let queue = Queue::<Value>::new().expect("a queue");
    for turn in 0..count {
        queue.put([turn as f64; 8]).expect("room");
        black_box(queue.get().expect("a value"));
    }
}

pub fn rows(bench: &Bench) {
    for (row, ours, limit) in [("instructions-ring", "ring", 400.0), ("instructions-queue", "queue", 900.0)] {
        if bench.wants(row) {
            bench.limit_instructions(row, ours, limit);
        }
    }
}
