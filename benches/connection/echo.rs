//! The round trip of 64 bytes, with header and payload read separately as the protocol requires.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use ossature::multiprocessing::connection::{Connection, pipe};
use ossature_benches::bench::Bench;
use ossature_benches::python::Pythons;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;

use crate::Partner;

const LEN: usize = 64;

/// An echo in a child of the interpreter, until the other end closes.
const PYTHON: [&str; 5] = [
    "import os; from multiprocessing import Pipe",
    "near, far = Pipe(); message = b'x' * 64",
    r"exec('def echo():\n near.close()\n while True: far.send_bytes(far.recv_bytes())')",
    "child = os.fork() or echo()",
    "far.close()",
];

fn read_frame(mut stream: &UnixStream, buffer: &mut [u8; LEN + 4]) -> std::io::Result<()> {
    let (header, payload) = buffer.split_at_mut(4);
    stream.read_exact(header)?;
    stream.read_exact(payload)
}

fn raw() -> (UnixStream, Partner) {
    let (near, far) = UnixStream::pair().expect("a pair");
    let partner = Partner::start(|| {
        let mut buffer = [0; LEN + 4];
        while read_frame(&far, &mut buffer).and_then(|()| (&far).write_all(&buffer)).is_ok() {}
    });
    (near, partner)
}

fn ours(echo: impl Fn(&Connection) -> ossature::Result<()>) -> (Connection, Partner) {
    let (near, far) = pipe().expect("a pipe");
    let partner = Partner::start(|| while echo(&far).is_ok() {});
    (near, partner)
}

/// Runs the row of 64 bytes: into a buffer, as the bare calls do, and into a new allocation, as CPython does.
pub(crate) fn small(bench: &Bench) {
    let row = "round-trip-64";
    if !bench.wants(row) {
        return;
    }
    let python = Pythons::start(&PYTHON);
    let samples = bench.table(10, |turn| {
        let (raw, _raw) = raw();
        let (into, _into) = ours(|far| {
            let mut buffer = [0; LEN];
            let len = far.recv_bytes_into(&mut buffer)?;
            far.send_bytes(&buffer[..len])
        });
        let (bytes, _bytes) = ours(|far| far.send_bytes(&far.recv_bytes()?));
        let mut rounds = Rounds::new();
        let (mut frame, mut buffer) = ([7; LEN + 4], [0; LEN]);
        rounds.add("into", || {
            into.send_bytes(&[7; LEN]).expect("an echo");
            assert_eq!(into.recv_bytes_into(&mut buffer).expect("an echo"), LEN);
        });
        rounds.add("bytes", || {
            bytes.send_bytes(&[7; LEN]).expect("an echo");
            assert_eq!(bytes.recv_bytes().expect("an echo").len(), LEN);
        });
        frame[..4].copy_from_slice(&(LEN as u32).to_be_bytes());
        rounds.add("raw", || {
            (&raw).write_all(&frame).expect("an echo");
            read_frame(&raw, &mut frame).expect("an echo");
        });
        python.add(&mut rounds, "near.send_bytes(message); near.recv_bytes()");
        turn.run(40, rounds);
    });
    bench.compare(&format!("{row}-into"), &samples, "into", "raw", Bar::AtMost(1.05));
    bench.compare(&format!("{row}-bytes"), &samples, "bytes", "raw", Bar::AtMost(1.05));
    python.compare(bench, &format!("{row}-bytes"), &samples, "bytes", Bar::AtMost(0.85));
}
