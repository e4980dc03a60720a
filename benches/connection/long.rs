//! Long messages: typed bytes, pickled bytes, bytes of 16 and 64 MiB, and a pipe of the system. The receiver answers
//! each with an empty message.

use std::cell::{RefCell, RefMut};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use ossature::multiprocessing::connection::pickle::Value;
use ossature::multiprocessing::connection::{Connection, pipe, pipe_one_way};
use ossature_benches::bench::Bench;
use ossature_benches::python::Pythons;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;
use ossature_sys::pipe::set_capacity;

use crate::Partner;

const MIB: usize = 1 << 20;

/// `send` of CPython, in its default pickle protocol and in the protocol that every Python reads.
const PYTHON: [&str; 6] = [
    "import os, pickle; from multiprocessing import Pipe",
    "near, far = Pipe(); message = b'x' * (1 << 20)",
    r"exec('def answer():\n near.close()\n while True: far.recv(); far.send_bytes(b\'\')')",
    "child = os.fork() or answer()",
    "far.close()",
    "dumps = pickle.dumps",
];

/// A child that receives each message by `take` and answers with an empty message.
fn answering(take: impl Fn(&Connection) -> ossature::Result<()>) -> (Connection, Partner) {
    let (near, far) = pipe().expect("a pipe");
    let partner = Partner::start(|| while take(&far).and_then(|()| far.send_bytes(b"")).is_ok() {});
    (near, partner)
}

/// A child that reads `length` bytes into the memory that `room` returns, drops the memory, and answers with a byte.
fn raw<M: AsMut<[u8]>>(room: impl Fn() -> M) -> (UnixStream, Partner) {
    let (near, far) = UnixStream::pair().expect("a pair");
    let read = |mut room: M| (&far).read_exact(room.as_mut()); // the memory goes before the answer, as ours does
    let partner = Partner::start(|| while read(room()).and_then(|()| (&far).write_all(b"x")).is_ok() {});
    (near, partner)
}

/// Memory that the next message reuses.
struct Kept<'m>(RefMut<'m, Vec<u8>>);

impl AsMut<[u8]> for Kept<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

fn turn_raw(mut near: &UnixStream, message: &[u8]) {
    near.write_all(message).expect("a reader");
    near.read_exact(&mut [0]).expect("a reader");
}

/// Runs all rows of this file.
pub(crate) fn rows(bench: &Bench) {
    typed(bench);
    pickled(bench);
    bytes(bench, "recv-bytes-64-MiB", 64 * MIB, Bar::AtMost(1.11)); // 0.9 of its throughput
    into(bench);
    one_way(bench);
}

fn typed(bench: &Bench) {
    let row = "send-vec-1-MiB";
    if !bench.wants(row) {
        return;
    }
    let python = Pythons::start(&PYTHON);
    let samples = bench.table(6, |turn| {
        let (ours, _ours) = answering(|far| far.recv::<Vec<u8>>().map(drop));
        let kept = RefCell::new(vec![0; MIB]);
        let (raw, _raw) = raw(|| Kept(kept.borrow_mut()));
        let message = vec![b'x'; MIB];
        let mut rounds = Rounds::new();
        rounds.add("ours", || {
            ours.send(&message).expect("a reader");
            ours.recv_bytes().expect("a reader");
        });
        rounds.add("raw", || turn_raw(&raw, &message));
        python.add(&mut rounds, "near.send(message); near.recv_bytes()");
        turn.run(40, rounds);
    });
    python.compare(bench, row, &samples, "ours", Bar::AtMost(0.5));
    bench.compare(row, &samples, "ours", "raw", Bar::AtMost(1.7));
}

fn pickled(bench: &Bench) {
    let (newer, oldest) = ("send-pickled-1-MiB", "send-pickled-2-1-MiB");
    if !bench.wants(newer) && !bench.wants(oldest) {
        return;
    }
    let python = Pythons::start(&PYTHON);
    let in_protocol_2 = ["cpython-2", "distribution-2"];
    let samples = bench.table(6, |turn| {
        let (near, _partner) = answering(|far| far.recv_pickled().map(drop));
        let message = Value::Bytes(vec![b'x'; MIB]);
        let mut rounds = Rounds::new();
        let send = |protocol: u8| {
            near.set_pickle_protocol(protocol).expect("a protocol");
            near.send_pickled(&message).expect("a reader");
            near.recv_bytes().expect("a reader");
        };
        rounds.add("ours", || send(3));
        rounds.add("ours-2", || send(2));
        python.add(&mut rounds, "near.send(message); near.recv_bytes()");
        python.add_as(in_protocol_2, &mut rounds, "near.send_bytes(dumps(message, 2)); near.recv_bytes()");
        turn.run(40, rounds);
    });
    python.compare(bench, newer, &samples, "ours", Bar::AtMost(0.5));
    python.compare_as(in_protocol_2, bench, oldest, &samples, "ours-2", Bar::AtMost(1.0));
}

/// Bytes in a new allocation, beside a read into fresh memory of a length that is known beforehand.
fn bytes(bench: &Bench, row: &str, length: usize, bar: Bar) {
    if !bench.wants(row) {
        return;
    }
    let samples = bench.table(2, |turn| {
        let (ours, _ours) = answering(|far| far.recv_bytes().map(drop));
        let (raw, _raw) = raw(|| vec![0; length]);
        let message = vec![7; length];
        let mut rounds = Rounds::new();
        rounds.add("ours", || {
            ours.send_bytes(&message).expect("a reader");
            ours.recv_bytes().expect("a reader");
        });
        rounds.add("raw", || turn_raw(&raw, &message));
        turn.run(10, rounds);
    });
    bench.compare(row, &samples, "ours", "raw", bar);
}

/// Bytes in a new allocation, beside a buffer that is reused.
fn into(bench: &Bench) {
    let (row, length) = ("recv-bytes-16-MiB", 16 * MIB);
    if !bench.wants(row) {
        return;
    }
    let samples = bench.table(2, |turn| {
        let (bytes, _bytes) = answering(|far| far.recv_bytes().map(drop));
        let kept = RefCell::new(vec![0; length]);
        let (into, _into) = answering(|far| far.recv_bytes_into(&mut kept.borrow_mut()).map(drop));
        let message = vec![7; length];
        let mut rounds = Rounds::new();
        for (name, near) in [("bytes", &bytes), ("into", &into)] {
            let message = &message;
            rounds.add(name, move || {
                near.send_bytes(message).expect("a reader");
                near.recv_bytes().expect("a reader");
            });
        }
        turn.run(10, rounds);
    });
    bench.compare(row, &samples, "bytes", "into", Bar::AtMost(1.18)); // 0.85 of its throughput
}

/// Measures a pipe of the system that holds a message: this crate's and a handwritten loop.
fn one_way(bench: &Bench) {
    let row = "one-way-1-MiB";
    if !bench.wants(row) {
        return;
    }
    let samples = bench.table(6, |turn| {
        let (reader, writer) = pipe_one_way().expect("a pipe");
        set_capacity(&writer, MIB).expect("the user has pipe pages left");
        let (near, far) = pipe().expect("a pipe");
        let _ours = Partner::start(|| while reader.recv_bytes().and_then(|_| far.send_bytes(b"")).is_ok() {});
        let (raw_reader, raw_writer) = std::io::pipe().expect("a pipe");
        set_capacity(&raw_writer, MIB).expect("the user has pipe pages left");
        let (mut raw_near, raw_far) = UnixStream::pair().expect("a pair");
        let _raw = Partner::start(|| {
            let mut buffer = vec![0; MIB];
            let reader = OwnedFd::from(raw_reader);
            let mut reader = std::fs::File::from(reader);
            while reader.read_exact(&mut buffer).and_then(|()| (&raw_far).write_all(b"x")).is_ok() {}
        });
        let message = vec![7; MIB];
        let mut rounds = Rounds::new();
        rounds.add("ours", || {
            writer.send_bytes(&message).expect("a reader");
            near.recv_bytes().expect("a reader");
        });
        rounds.add("raw", || {
            (&raw_writer).write_all(&message).expect("a reader");
            raw_near.read_exact(&mut [0]).expect("a reader");
        });
        turn.run(40, rounds);
    });
    bench.compare(row, &samples, "ours", "raw", Bar::AtMost(1.1));
}
