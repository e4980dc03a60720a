//! Process starts: each way beside the raw calls and beside CPython's.

mod fork;
mod forkserver;
mod promises;
mod spawn;

use std::os::fd::AsRawFd;

use ossature::multiprocessing::{Tasks, freeze_support, tasks};
use ossature_benches::bench;
use ossature_benches::{machine, python};
use ossature_sys::pipe::{Flags, pipe};

static TASKS: Tasks = tasks![spawn::nothing];

fn main() {
    if std::env::args().nth(1).as_deref() == Some(spawn::ENDS_AT_ONCE) {
        return;
    }
    freeze_support(TASKS);
    start_programs_as_usual();
    procspawn::init();
    have_a_standard_input();
    bench::main("process", &[], |bench| {
        // Parent and child on one core, or the figures say how the machine hands a child to the other.
        let core = machine::cores().first().copied();
        machine::pin(core.as_slice());
        python::name_builds();
        fork::beside_the_raw_calls(bench);
        fork::page_faults(bench);
        fork::beside_cpython(bench);
        spawn::beside_its_rivals(bench);
        spawn::beside_cpython(bench);
        forkserver::beside_cpython(bench);
        forkserver::by_hand(bench);
        forkserver::of_small_and_large(bench);
    });
}

/// Removes the library paths that cargo sets, which the loader of every started program would search first.
fn start_programs_as_usual() {
    // SAFETY: this process has one thread, so nobody reads the environment meanwhile.
    unsafe { std::env::remove_var("LD_LIBRARY_PATH") };
}

/// Replaces standard input by a pipe, so that children always have a descriptor to replace.
fn have_a_standard_input() {
    let (reader, writer) = pipe(Flags::empty()).expect("a free descriptor");
    // SAFETY: a standard stream, which nobody owns by its number.
    assert_eq!(unsafe { libc::dup2(reader.as_raw_fd(), 0) }, 0, "dup2");
    std::mem::forget(writer);
}
