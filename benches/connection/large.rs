//! A message of 1 MiB; the receiver answers with an empty message.

use ossature::multiprocessing::connection::pipe;
use ossature_benches::bench::Bench;
use ossature_benches::python::Pythons;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;

use crate::Partner;

const LEN: usize = 1 << 20;

const PYTHON: [&str; 5] = [
    "import os; from multiprocessing import Pipe",
    "near, far = Pipe(); message = b'x' * (1 << 20)",
    r"exec('def answer():\n near.close()\n while True: far.recv_bytes(); far.send_bytes(b\'\')')",
    "child = os.fork() or answer()",
    "far.close()",
];

/// Runs the row of 1 MiB.
pub(crate) fn one_way(bench: &Bench) {
    let row = "send-bytes-1-MiB";
    if !bench.wants(row) {
        return;
    }
    let python = Pythons::start(&PYTHON);
    let samples = bench.table(6, |turn| {
        let (near, far) = pipe().expect("a pipe");
        let _partner = Partner::start(|| while far.recv_bytes().and_then(|_| far.send_bytes(b"")).is_ok() {});
        let message = vec![7; LEN];
        let mut rounds = Rounds::new();
        rounds.add("ours", || {
            near.send_bytes(&message).expect("a reader");
            near.recv_bytes().expect("a reader");
        });
        python.add(&mut rounds, "near.send_bytes(message); near.recv_bytes()");
        turn.run(40, rounds);
    });
    python.compare(bench, row, &samples, "ours", Bar::AtMost(0.5));
}
