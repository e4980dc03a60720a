//! A process of the fork server, from its start until its parent has waited for it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature::multiprocessing::{Context, Process, set_forkserver_spares, stop_forkserver};
use ossature_benches::bench::Bench;
use ossature_benches::python::BUILDS;
use ossature_benches::report::Bar;
use ossature_benches::rounds::{Rounds, Samples};

use crate::promises::Promises;
use crate::spawn::{nothing, python};

fn ours() {
    let process = Process::builder().context(Context::Forkserver).start(nothing, ()).expect("is forked");
    assert!(process.join().expect("is joined").success());
}

fn stop() {
    assert!(stop_forkserver(Duration::from_secs(10)).expect("the fork server can be waited for"));
}

/// Measures the start beside a process of CPython's fork server, which is also already started.
pub fn beside_cpython(bench: &Bench) {
    for (rival, program) in BUILDS {
        for (spare, spares) in [("", 1), ("-no-spare", 0)] {
            let name = format!("forkserver-{rival}{spare}");
            if !bench.wants(&name) {
                continue;
            }
            let Some(mut python) = python(program, "forkserver") else {
                eprintln!("process/{name}: {program} is not installed");
                continue;
            };
            set_forkserver_spares(spares);
            let mut rounds = Rounds::new();
            rounds.add("ours", ours);
            rounds.add_burst(rival, |repeats| python.time("run()", repeats));
            let samples = rounds.run(bench.scaled(100), Duration::from_millis(5));
            bench.compare(&name, &samples, "ours", rival, Bar::AtMost(0.05));
            stop();
        }
    }
}

/// A process that forks a child for each byte that it receives, waits for the child and answers with a byte. No fork
/// server can do less. Dropping the value kills the process.
struct ByHand {
    orders: UnixStream,
    server: libc::pid_t,
}

impl ByHand {
    fn start() -> Self {
        let (orders, taken) = UnixStream::pair().expect("a pair");
        // SAFETY: this process has one thread, and the child leaves by _exit or by being killed.
        let server = unsafe { libc::fork() };
        assert!(server >= 0, "fork");
        if server == 0 {
            drop(orders);
            serve(taken);
        }
        Self { orders, server }
    }

    fn child(&self) {
        (&self.orders).write_all(b"x").expect("the server receives the byte");
        (&self.orders).read_exact(&mut [0]).expect("the server sends a byte");
    }
}

fn serve(mut orders: UnixStream) -> ! {
    let mut byte = [0];
    while orders.read_exact(&mut byte).is_ok() {
        super::fork::raw();
        let _ = orders.write_all(&byte); // a client that is gone is seen by the next read
    }
    // SAFETY: _exit(2) ends this process.
    unsafe { libc::_exit(0) }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        // SAFETY: the server is our own child and not reaped yet, so the number is still its own.
        unsafe { libc::kill(self.server, libc::SIGKILL) };
        // SAFETY: waitpid(2) takes a null status pointer.
        unsafe { libc::waitpid(self.server, std::ptr::null_mut(), 0) };
    }
}

/// Measures the start beside a handwritten server, which checks nothing and reports nothing about its child. Measured
/// with and without a child forked in advance.
pub fn by_hand(bench: &Bench) {
    for (row, spares) in [("forkserver-by-hand-no-spare", 0), ("forkserver-by-hand", 1)] {
        if !bench.wants(row) {
            continue;
        }
        let (server, promises) = (ByHand::start(), Promises::start());
        set_forkserver_spares(spares);
        let mut rounds = Rounds::new();
        rounds.add("ours", ours);
        rounds.add("by-hand", || server.child());
        rounds.add("promises", || promises.child());
        let samples = rounds.run(bench.scaled(100), Duration::from_millis(5));
        // The server by hand keeps none of the promises. One that keeps them is the floor, with the same margin.
        let floor = samples.ratio("promises", "by-hand");
        bench.compare(&format!("{row}-floor"), &samples, "promises", "by-hand", Bar::AtMost(1.4));
        let bar = if floor > 1.0 { Bar::AboveFloor(1.4 * floor) } else { Bar::AtMost(1.4) };
        bench.compare(row, &samples, "ours", "by-hand", bar);
        bench.compare(row, &samples, "ours", "promises", Bar::AtMost(1.4));
        stop();
    }
}

/// Starts from a parent that has touched 16 MiB, and from one that has touched 2 GiB after the server's start.
pub fn of_small_and_large(bench: &Bench) {
    if !bench.wants("forkserver-size") {
        return;
    }
    set_forkserver_spares(1);
    let mut samples = Samples::of_names(["16 MiB", "2 GiB"]);
    for _ in 0..4 {
        for (name, size) in [("16 MiB", 16 << 20), ("2 GiB", 2 << 30)] {
            let memory = vec![1_u8; size];
            let mut rounds = Rounds::new();
            rounds.add(name, ours);
            let figures = rounds.run(bench.scaled(50), Duration::from_millis(5));
            figures.of(name).iter().for_each(|figure| samples.push(name, *figure));
            assert_eq!(std::hint::black_box(&memory).len(), size);
        }
    }
    bench.compare("forkserver-size", &samples, "2 GiB", "16 MiB", Bar::AtMost(1.10));
    stop();
}
