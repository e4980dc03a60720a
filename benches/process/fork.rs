//! A forked process, from its start until its parent has waited for it.

use std::time::Duration;

use ossature::multiprocessing::Process;
use ossature_benches::bench::Bench;
use ossature_benches::python::Python;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rounds::Rounds;

/// The amount of memory that the parent has touched, and whose page tables a fork copies.
const PARENT: usize = 16 << 20;

fn ours() {
    let process = Process::fork(|| ()).expect("forks");
    assert!(process.join().expect("is joined").success());
}

/// A child that ends at once, by the bare calls.
pub fn raw() {
    // SAFETY: this process has one thread, and the child leaves at once without running anything of ours.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: _exit(2) ends the child.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: waitpid(2) writes the status of our own child.
    let reaped = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert!(reaped == child && status == 0);
}

/// Measures a child that does nothing, of a parent with 16 MiB of touched memory.
pub fn beside_the_raw_calls(bench: &Bench) {
    if !bench.wants("fork-16-mib") {
        return;
    }
    let memory = vec![1_u8; PARENT];
    let mut rounds = Rounds::new();
    rounds.add("ours", ours);
    rounds.add("fork(2)", raw);
    let samples = rounds.run(bench.scaled(300), Duration::from_millis(3));
    assert_eq!(std::hint::black_box(&memory).len(), PARENT);
    bench.compare("fork-16-mib", &samples, "ours", "fork(2)", Bar::AtMost(1.10));
}

/// The page faults of this process and of its reaped children.
fn faults() -> u64 {
    let of = |who| {
        // SAFETY: a rusage is plain numbers, and all zeroes are one.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: getrusage(2) fills the struct it is given.
        assert_eq!(unsafe { libc::getrusage(who, &raw mut usage) }, 0, "getrusage");
        usage.ru_minflt as u64
    };
    of(libc::RUSAGE_SELF) + of(libc::RUSAGE_CHILDREN)
}

/// Measures the page faults of one process from its start until its parent has waited for it, including the parent's.
pub fn page_faults(bench: &Bench) {
    let row = "fork-page-faults";
    if !bench.wants(row) {
        return;
    }
    let each = |start: fn()| {
        const STARTS: u64 = 200;
        start();
        let before = faults();
        (0..STARTS).for_each(|_| start());
        (faults() - before) as f64 / STARTS as f64
    };
    let (ours, raw) = (each(ours), each(raw));
    let line = |rival: &str, theirs, bar| {
        let (row, rival) = (row.to_owned(), rival.to_owned());
        bench.print(Line { row, unit: Unit::PageFaults, ours, rival, theirs: Some(theirs), ratio: None, bar });
    };
    line("limit", 20.0, Bar::AtMost(1.0));
    line("fork(2)", raw, Bar::Plus(6.0));
}

/// Measures the same child of a parent that has just begun, beside the same child in CPython.
pub fn beside_cpython(bench: &Bench) {
    if !bench.wants("fork-cpython") && !bench.wants("fork-small") {
        return;
    }
    let setup = ["import multiprocessing", "multiprocessing.set_start_method('fork')", "def child(): pass"];
    let python = Python::start(&[
        setup[0],
        setup[1],
        setup[2],
        "exec('def run():\\n p = multiprocessing.Process(target=child)\\n p.start()\\n p.join()')",
    ]);
    let Some(mut python) = python else {
        eprintln!("process/fork-cpython: python3 is not installed");
        return;
    };
    let mut rounds = Rounds::new();
    rounds.add("ours", ours);
    rounds.add("fork(2)", raw);
    rounds.add_burst("cpython", move |repeats| python.time("run()", repeats));
    let samples = rounds.run(bench.scaled(200), Duration::from_millis(3));
    bench.compare("fork-cpython", &samples, "ours", "cpython", Bar::AtMost(0.10));
    bench.compare("fork-small", &samples, "ours", "fork(2)", Bar::AtMost(1.20));
}
