//! 64 bytes there and back, with header and payload read separately as the protocol wants it.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use ossature::multiprocessing::connection::{Connection, pipe};
use ossature_benches::bench::Bench;
use ossature_benches::machine::Partner;
use ossature_benches::python::Python;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rounds::Rounds;

const LEN: usize = 64;

/// An echo in another interpreter of this one, until its end.
const PYTHON: [&str; 5] = [
    "import os; from multiprocessing.connection import Pipe",
    "near, far = Pipe()",
    "def echo():\n    near.close()\n    try:\n        while True: far.send_bytes(far.recv_bytes())\n    finally: os._exit(0)"
        .split_at(0)
        .1,
    "child = os.fork() or echo()",
    "far.close(); message = b'x' * 64",
];

/// One that only sends on what it gets.
fn raw_echo(mut stream: &UnixStream, buffer: &mut [u8; LEN + 4]) -> std::io::Result<()> {
    let (header, payload) = buffer.split_at_mut(4);
    stream.read_exact(header)?;
    stream.read_exact(payload)?;
    stream.write_all(buffer)
}

fn raw_ask(mut stream: &UnixStream, buffer: &mut [u8; LEN + 4]) -> std::io::Result<()> {
    stream.write_all(buffer)?;
    let (header, payload) = buffer.split_at_mut(4);
    stream.read_exact(header)?;
    stream.read_exact(payload)
}

pub(crate) fn small(bench: &Bench) {
    let row = "round-trip-64";
    if !bench.wants(row) {
        return;
    }
    let mut python = Python::start(&PYTHON);
    let samples = bench.table(10, |turn| {
        let (near, far) = pipe().expect("a pipe");
        let into = Partner::start(move || {
            let mut buffer = [0; LEN];
            while far.recv_bytes_into(&mut buffer).is_ok_and(|n| far.send_bytes(&buffer[..n]).is_ok()) {}
        });
        let (near_vec, far) = pipe().expect("a pipe");
        let vec = Partner::start(move || while far.recv_bytes().is_ok_and(|bytes| far.send_bytes(&bytes).is_ok()) {});
        let (raw, far) = UnixStream::pair().expect("a pair");
        let bare = Partner::start(move || {
            let mut buffer = [0; LEN + 4];
            while raw_echo(&far, &mut buffer).is_ok() {}
        });
        let message = [7; LEN];
        let mut rounds = Rounds::new();
        let mut buffer = [0; LEN];
        rounds.add("ours", || ask(&near, &message, &mut buffer));
        rounds.add("ours-vec", || {
            near_vec.send_bytes(&message).expect("an echo");
            assert_eq!(near_vec.recv_bytes().expect("an echo").len(), LEN);
        });
        let mut buffer = [7; LEN + 4];
        rounds.add("raw", || raw_ask(&raw, &mut buffer).expect("an echo"));
        let python = RefCell::new(python.as_mut());
        if let Some(python) = python.borrow_mut().as_mut() {
            rounds.add_burst("cpython", |repeats| {
                python.time("near.send_bytes(message); near.recv_bytes()", repeats)
            });
            turn.run(40, rounds);
        } else {
            turn.run(40, rounds);
        }
        drop((into, vec, bare));
    });
}
