//! A process that runs this program anew, from its start until its parent has waited for it.

use std::process::Command;
use std::time::Duration;

use ossature::multiprocessing::{Context, Process};
use ossature_benches::bench::Bench;
use ossature_benches::python::{Python, Pythons};
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;

/// Does nothing, as the child.
pub fn nothing() {}

fn ours() {
    let process = Process::builder().context(Context::Spawn).start(nothing, ()).expect("spawns");
    assert!(process.join().expect("is joined").success());
}

fn procspawn() {
    procspawn::spawn((), |()| ()).join().expect("is joined");
}

fn command() {
    assert!(Command::new("/bin/true").status().expect("runs").success());
}

/// Starts this program, which exits in the first line of its main: the cost of any program of this kind.
fn itself() {
    assert!(Command::new("/proc/self/exe").arg(ENDS_AT_ONCE).status().expect("runs").success());
}

/// The argument that makes this program exit at once.
pub const ENDS_AT_ONCE: &str = "--end-at-once";

/// Measures the start beside another program that does nothing, and beside the crate that spawns closures.
pub fn beside_its_rivals(bench: &Bench) {
    if !bench.wants("spawn") {
        return;
    }
    let mut rounds = Rounds::new();
    rounds.add("ours", ours);
    rounds.add("procspawn", procspawn);
    rounds.add("Command /bin/true", command);
    rounds.add("Command itself", itself);
    let samples = rounds.run(bench.scaled(100), Duration::from_millis(10));
    bench.compare("spawn-procspawn", &samples, "ours", "procspawn", Bar::AtMost(0.60));
    bench.compare("spawn-command", &samples, "ours", "Command /bin/true", Bar::AtMost(1.25));
    bench.compare("spawn-itself", &samples, "ours", "Command itself", Bar::AtMost(1.25));
}

/// CPython with the start method `method`, in the interpreter of the name or path `program`.
pub fn python(program: &str, method: &str) -> Option<Python> {
    Python::start_script(
        program,
        "def child(): pass",
        &[
            "import multiprocessing",
            &format!("context = multiprocessing.get_context({method:?})"),
            "exec('def run():\\n p = context.Process(target=child)\\n p.start()\\n p.join()')",
        ],
    )
}

/// Measures the start beside the same start in CPython.
pub fn beside_cpython(bench: &Bench) {
    if !bench.wants("spawn-cpython") {
        return;
    }
    let python = Pythons::start_by(|program| python(program, "spawn"));
    let mut rounds = Rounds::new();
    rounds.add("ours", ours);
    python.add(&mut rounds, "run()");
    let samples = rounds.run(bench.scaled(60), Duration::from_millis(10));
    python.compare(bench, "spawn-cpython", &samples, "ours", Bar::AtMost(0.06));
}
