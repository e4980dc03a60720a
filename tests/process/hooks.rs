//! The program's panic hook, and the report of a child that replaces it.

use std::panic::{PanicHookInfo, catch_unwind, set_hook};
use std::path::Path;

use ossature::multiprocessing::Process;
use ossature::threading::Thread;

use crate::harness::Test;
use crate::worlds::{Scratch, World, append, redirect};

crate::in_every_world![a_hook_of_the_work_hears_of_its_threads];

pub const ALONE: &[Test] = &[
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

/// Runs in a child that sets a hook before its first thread.
pub fn hear_of_a_thread(heard: &Path) {
    let log = heard.to_owned();
    set_hook(Box::new(move |info| {
        append(&log, &format!("{}, ", info.payload().downcast_ref::<&str>().unwrap_or(&"something else")));
    }));
    let thread = Thread::spawn(|| -> () { panic!("beside the work") }).expect("starts");
    thread.join().expect("ends");
}

fn a_hook_of_the_work_hears_of_its_threads<W: World>() {
    let scratch = Scratch::new();
    let heard = scratch.path("heard");
    let child = W::start("hook", heard.to_str().expect("text"));
    assert_eq!(child.join().unwrap().code(), Some(0));
    assert_eq!(scratch.read("heard"), "beside the work, ");
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// Runs in a program of its own: the hook sees every panic except the one that ends a child.
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
