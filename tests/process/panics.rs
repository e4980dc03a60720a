//! When a panic is printed: at once, whatever the unwinding meets after it.

use std::panic::{catch_unwind, panic_any, resume_unwind};
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use ossature::multiprocessing::Process;
use ossature::multiprocessing::util::Finalize;
use ossature::sys::process::ExitStatus;

use crate::aborts::in_thread;
use crate::harness::Test;
use crate::worlds::{Scratch, World, put, redirect, wait_for};

crate::in_every_world![
    a_panic_is_printed_before_another_that_its_unwinding_meets,
    a_panic_is_printed_before_a_destructor_that_blocks,
    a_panic_that_the_work_catches_is_printed_all_the_same,
    a_panic_that_is_resumed_is_printed_once,
    a_finalizer_that_panics_is_told_under_the_name,
];

pub const ALONE: &[Test] = &[
    ("a_thread_that_aborts_tells_what_it_had_kept", a_thread_that_aborts_tells_what_it_had_kept),
    ("a_thread_in_the_guise_of_a_process_tells_at_once", a_thread_in_the_guise_of_a_process_tells_at_once),
    ("a_copy_that_somebody_else_forked_tells_its_panics", a_copy_that_somebody_else_forked_tells_its_panics),
];

/// A value that calls a function when it is dropped.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn clerk<W: World>(job: &str, argument: &str) -> Process {
    W::start_with(Process::builder().name("clerk"), job, argument).expect("starts")
}

/// Makes an end by `SIGABRT` leave no core file.
fn without_core() {
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: setrlimit(2) reads the limit that it is given.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &limit) }, 0);
}

/// Whether the text contains each part exactly once, in this order.
#[track_caller]
pub fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("{part:?} is not there in its order: {text}"));
        rest = after;
        assert_eq!(text.matches(part).count(), 1, "{part}: {text}");
    }
}

pub fn twice(err: &Path) {
    redirect(2, err);
    without_core();
    let _last = Finally(|| panic!("no ink either"));
    panic!("no more paper");
}

fn a_panic_is_printed_before_another_that_its_unwinding_meets<W: World>() {
    let scratch = Scratch::new();
    let child = clerk::<W>("panic-twice", &scratch.text("err"));
    assert_eq!(child.join().unwrap().signal(), Some(libc::SIGABRT));
    assert_eq!(child.panic().unwrap().expect("it panicked").message(), "no more paper", "the first");
    let (said, report) = (scratch.read("err"), "Process clerk:\npanicked at ");
    assert_eq!(said.matches(report).count(), 2, "{said}");
    assert!(said.starts_with(report), "{said}");
    // The last is the abort's own, which the program's hook tells.
    in_order(
        &said,
        &["no more paper", "no ink either", "Process clerk:\n\nthread 'main'", "destructor during cleanup"],
    );
}

pub fn and_block(folder: &Path) {
    redirect(2, &folder.join("err"));
    let _last = Finally(|| wait_for(&folder.join("go")));
    panic!("no more paper");
}

fn a_panic_is_printed_before_a_destructor_that_blocks<W: World>() {
    let scratch = Scratch::new();
    let child = clerk::<W>("panic-and-block", &scratch.text(""));
    wait_for(&scratch.path("err"));
    while !scratch.read("err").contains("no more paper") {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(child.is_alive().unwrap());
    put(&scratch.path("go"), "");
    assert_eq!(child.join().unwrap(), ExitStatus::Code(1));
    let panic = child.panic().unwrap().expect("it panicked");
    let shown = format!("Process clerk:\npanicked at {}:\nno more paper\n", panic.location());
    in_order(&scratch.read("err"), &[&shown]);
}

pub fn and_catch(err: &Path) {
    redirect(2, err);
    for _ in 0..20 {
        assert!(catch_unwind(|| panic!("no more paper")).is_err());
    }
    let _quiet = Finally(|| assert!(catch_unwind(|| panic!("no ink either")).is_err()));
    ossature::thread::exit();
}

fn a_panic_that_the_work_catches_is_printed_all_the_same<W: World>() {
    let scratch = Scratch::new();
    let child = clerk::<W>("panic-and-catch", &scratch.text("err"));
    assert_eq!(child.join().unwrap(), ExitStatus::Code(0));
    assert_eq!(child.panic().unwrap(), None);
    let said = scratch.read("err");
    assert!(said.starts_with("Process clerk:\npanicked at "), "{said}");
    assert_eq!(said.matches("Process clerk:\npanicked at ").count(), 21, "{said}");
    assert_eq!((said.matches("no more paper").count(), said.matches("no ink either").count()), (20, 1), "{said}");
}

pub fn again(argument: &Path) {
    redirect(2, argument);
    let name = argument.file_name().expect("a name").to_str();
    let caught = catch_unwind(|| panic!("no more paper")).expect_err("it panicked");
    // The words of what escapes are another's where only the one before was seen.
    let _last = Finally(|| drop(catch_unwind(|| panic_any(7_u8))));
    match name {
        Some("same") => resume_unwind(caught),
        _ => resume_unwind(Box::new("no ink either")),
    }
}

fn a_panic_that_is_resumed_is_printed_once<W: World>() {
    let scratch = Scratch::new();
    for (file, message) in [("same", "no more paper"), ("other", "no ink either")] {
        let child = clerk::<W>("panic-again", &scratch.text(file));
        assert_eq!(child.join().unwrap(), ExitStatus::Code(1));
        let (panic, said) = (child.panic().unwrap().expect("it panicked"), scratch.read(file));
        assert_eq!((panic.message(), panic.location().is_empty()), (message, file == "other"));
        in_order(&said, &["no more paper", "Box<dyn Any>"]);
        assert_eq!(said.matches("Process clerk:\npanicked:\nno ink either\n").count(), usize::from(file == "other"));
    }
}

pub fn finally(err: &Path) {
    redirect(2, err);
    Finalize::at_exit(0, || panic!("no more paper")).leave();
}

fn a_finalizer_that_panics_is_told_under_the_name<W: World>() {
    let scratch = Scratch::new();
    let child = clerk::<W>("panic-finally", &scratch.text("err"));
    assert_eq!(child.join().unwrap(), ExitStatus::Code(0));
    let said = scratch.read("err");
    assert!(said.starts_with("Process clerk:\n\nthread 'main'"), "{said}");
    in_order(&said, &["no more paper"]);
}

/// Runs in a program of its own, because it aborts.
fn a_thread_that_aborts_tells_what_it_had_kept() {
    let scratch = Scratch::new();
    let err = scratch.path("err");
    let mut program = ossature::sys::process::fork(|| {
        in_thread(&err);
        0
    });
    assert_eq!(program.as_mut().unwrap().wait().map(ExitStatus::signal), Ok(Some(libc::SIGABRT)));
    let said = scratch.read("err");
    let report = "\nthread 'clerk' panicked at ";
    in_order(&said, &["no more paper", "no ink either", "destructor during cleanup"]);
    assert!(said.starts_with(report) && said.matches(report).count() == 2, "{said}");
}

fn a_thread_in_the_guise_of_a_process_tells_at_once() {
    let scratch = Scratch::new();
    let err = scratch.path("err");
    let mut program = ossature::sys::process::fork(|| {
        redirect(2, &err);
        let (tell, hear) = channel::<()>();
        let child = Process::builder().name("clerk").thread(move || -> u8 {
            let _last = Finally(|| assert!(hear.recv().is_err(), "hung up"));
            panic!("no more paper")
        });
        let end = Instant::now() + Duration::from_secs(20); // this program is not to outlive the test
        while !scratch.read("err").contains("no more paper") && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        let told = scratch.read("err").contains("no more paper");
        drop(tell);
        let exit = child.and_then(|child| child.join());
        u8::from(!told || exit.ok() != Some(ExitStatus::Code(1)))
    });
    assert_eq!(program.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
    let said = scratch.read("err");
    assert!(said.starts_with("Process clerk:\npanicked at "), "{said}");
    in_order(&said, &["no more paper"]);
}

fn a_copy_that_somebody_else_forked_tells_its_panics() {
    let scratch = Scratch::new();
    let err = scratch.path("err");
    let child = Process::builder().name("clerk").fork(|| {
        let mut copy = ossature::sys::process::fork(|| -> u8 {
            redirect(2, &err);
            panic!("no more paper")
        });
        assert_ne!(copy.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
    });
    assert_eq!(child.unwrap().join().unwrap(), ExitStatus::Code(0));
    let said = scratch.read("err");
    assert!(said.starts_with("Process clerk:\npanicked at "), "{said}");
    in_order(&said, &["no more paper"]);
}
