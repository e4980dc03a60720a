//! The program's panic hook, and the report of a child that takes its place.

use std::panic::{PanicHookInfo, catch_unwind, set_hook};

use ossature::multiprocessing::Process;

use crate::harness::Test;
use crate::worlds::{Scratch, append, redirect};

pub const TESTS: &[Test] = &[
    ("a_hook_from_before_the_first_start_spoils_no_report", a_hook_from_before_the_first_start_spoils_no_report),
    ("a_hook_from_after_the_first_start_spoils_no_report", a_hook_from_after_the_first_start_spoils_no_report),
];

fn a_hook_from_before_the_first_start_spoils_no_report() {
    reports_once_with_the_hook(|hook| set_hook(Box::new(hook)));
}

fn a_hook_from_after_the_first_start_spoils_no_report() {
    reports_once_with_the_hook(|hook| {
        assert!(Process::fork(|| 0_u8).unwrap().join().unwrap().success());
        set_hook(Box::new(hook));
    });
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// In a program of its own: the hook hears of everything but what ends a child.
fn reports_once_with_the_hook(set: impl FnOnce(Hook)) {
    let scratch = Scratch::new();
    let (heard, err) = (scratch.path("heard"), scratch.path("err"));
    let log = heard.clone();
    let hook: Hook = Box::new(move |info| {
        append(&log, &format!("{}, ", info.payload().downcast_ref::<&str>().unwrap_or(&"something else")));
    });
    let mut program = ossature::sys::process::fork(|| {
        set(hook);
        let child = Process::builder().name("clerk").fork(|| -> u8 {
            redirect(2, &err);
            assert!(std::thread::spawn(|| panic!("beside the work")).join().is_err());
            panic!("no more paper")
        });
        let child = child.unwrap();
        assert_eq!(child.join().unwrap().code(), Some(1));
        let panic = child.panic().unwrap().expect("it panicked");
        append(&scratch.path("place"), panic.location());
        u8::from(catch_unwind(|| panic!("in the program")).is_ok())
    })
    .unwrap();
    assert!(program.wait().unwrap().success(), "{}", std::fs::read_to_string(&heard).unwrap_or_default());
    let (place, said) = (scratch.read("place"), scratch.read("err"));
    assert!(place.contains("hooks.rs:"), "{place}");
    assert!(said.starts_with(&format!("Process clerk:\npanicked at {place}:\nno more paper\n")), "{said}");
    assert_eq!(said.matches("no more paper").count(), 1, "{said}");
    assert_eq!(scratch.read("heard"), "beside the work, in the program, ");
}
