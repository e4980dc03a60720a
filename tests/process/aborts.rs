//! A program that is built with `panic = "abort"`: nothing catches a panic, so everything is printed at once.
//!
//! These are all the tests of this program when it is built so: `RUSTFLAGS="-C panic=abort" cargo test --test process`.

use std::path::Path;

use ossature::multiprocessing::Process;
use ossature::sys::process::ExitStatus;
use ossature::threading::{Thread, Timer};

use crate::panics::{in_order, twice};
use crate::worlds::{Scratch, World};

crate::in_every_world![a_panic_is_printed_before_the_abort, a_panic_of_a_thread_is_printed_before_the_abort];

fn aborts<W: World>(job: &str) -> String {
    let scratch = Scratch::new();
    let child = W::start_with(Process::builder().name("clerk"), job, &scratch.text("err")).expect("starts");
    assert_eq!(child.join().map(ExitStatus::signal).ok(), Some(Some(libc::SIGABRT)));
    // A thread beside the first tells the parent nothing.
    let told = child.panic().expect("it has ended").map(|panic| panic.message().to_owned());
    assert_eq!(told.as_deref(), (job == "panic-twice").then_some("no more paper"));
    let said = scratch.read("err");
    in_order(&said, &["no more paper"]);
    said
}

fn a_panic_is_printed_before_the_abort<W: World>() {
    let said = aborts::<W>("panic-twice");
    assert!(said.starts_with("Process clerk:\n\nthread 'main'"), "{said}");
}

pub fn in_thread(err: &Path) {
    let err = err.to_owned();
    let thread = Thread::builder().name("clerk").spawn(move || twice(&err)).expect("starts");
    let _ = thread.join();
}

pub fn in_timer(err: &Path) {
    let err = err.to_owned();
    let timer = Timer::new(std::time::Duration::ZERO, move || twice(&err));
    timer.start().expect("starts");
    crate::harness::rest()
}

fn a_panic_of_a_thread_is_printed_before_the_abort<W: World>() {
    let said = aborts::<W>("panic-in-thread");
    assert!(said.starts_with("\nthread 'clerk'"), "{said}");
    let said = aborts::<W>("panic-in-timer");
    assert!(said.starts_with("\nthread "), "{said}");
}
