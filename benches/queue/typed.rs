//! Values of 64 bytes through the typed queue, beside crossbeam's channel between two threads and CPython's Queue.

use std::cell::RefCell;
use std::hint::black_box;

use ossature::multiprocessing::Queue;
use ossature_benches::bench::Bench;
use ossature_benches::parties::{self, Parties};
use ossature_benches::python::{BUILDS, Python};
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;

use crate::MESSAGES;
use crate::one_way::{SENDER, job};

/// A value of 64 bytes, in memory and in the queue.
pub type Value = [f64; 8];

/// The maximum number of unread values in the channel.
pub const WAITING: usize = 1024;

/// An interpreter whose child puts items forever, and is killed with the interpreter.
pub const PYTHON: [&str; 4] = [
    "import os, ctypes; from multiprocessing import Queue",
    "queue = Queue(WAITING); message = b'x' * LENGTH",
    r"exec('def put():\n ctypes.CDLL(None).prctl(1, 9)\n while True: queue.put(message)')",
    "child = os.fork() or put()",
];

pub fn rows(bench: &Bench, cores: [usize; 2]) {
    let row = "one-way-typed";
    if !bench.wants(row) {
        return;
    }
    let queue = Queue::<Value>::new().expect("a queue");
    let mut processes = Parties::on(&cores);
    let ours = job(
        &mut processes,
        |count| (0..count).for_each(|turn| queue.put([turn as f64; 8]).expect("room")),
        |count| {
            for _ in 0..count {
                black_box(queue.get().expect("a value"));
            }
        },
    );
    let processes = RefCell::new(processes);
    let setup = PYTHON.map(|line| line.replace("WAITING", "1024").replace("LENGTH", "64"));
    processes.borrow_mut().run(ours, 1); // forks, while there is one thread
    let setup = setup.each_ref().map(String::as_str);
    let mut pythons = BUILDS.map(|(name, program)| (name, Python::start_build(program, &setup)));
    let names: Vec<_> = pythons.iter().filter(|(_, python)| python.is_some()).map(|(name, _)| *name).collect();
    let (tell, hear) = crossbeam_channel::bounded::<Value>(WAITING);
    let mut rounds = Rounds::new();
    rounds.add_burst("queue", |_| processes.borrow_mut().run(ours, MESSAGES) / MESSAGES as f64);
    rounds.add_burst("crossbeam", |_| {
        let time = parties::threads(&cores, |party| {
            for turn in 0..MESSAGES {
                match party {
                    SENDER => tell.send([turn as f64; 8]).expect("a receiver"),
                    _ => _ = black_box(hear.recv().expect("a sender")),
                }
            }
        });
        time / MESSAGES as f64
    });
    for (name, python) in &mut pythons {
        if let Some(python) = python {
            rounds.add_burst(name, |_| python.time("queue.get()", MESSAGES / 8));
        }
    }
    let samples = rounds.run(bench.scaled(100), crate::ANY);
    bench.compare(row, &samples, "queue", "crossbeam", Bar::AtMost(2.0));
    for name in names {
        bench.compare(row, &samples, "queue", name, Bar::AtMost(0.05));
    }
}
