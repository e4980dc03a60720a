//! The plain life of a child.

use ossature::multiprocessing::{Process, active_children, current_process, parent_process};

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("a_child_knows_itself_and_its_parent", a_child_knows_itself_and_its_parent),
    ("a_panic_comes_back", a_panic_comes_back),
];

fn a_child_knows_itself_and_its_parent() {
    let me = std::process::id() as i32;
    let process = Process::builder().name("clerk").fork(|| {
        let parent = parent_process().expect("it has one");
        let same = parent.pid().map(|pid| pid.as_raw_nonzero().get()) == Some(me);
        let named = current_process().name() == "clerk" && parent.name() == "MainProcess";
        u8::from(same && named && parent.is_alive().unwrap()) + 6
    });
    let process = process.unwrap();
    assert_eq!(active_children(), [process.clone()]);
    assert!(format!("{process:?}").contains("started"));
    process.join().unwrap();
    assert_eq!(process.exit_code(), Some(7));
    assert!(active_children().is_empty());
}

fn a_panic_comes_back() {
    let process = Process::fork(|| panic!("no more paper; this is meant to be seen") as ()).unwrap();
    process.join().unwrap();
    assert_eq!(process.exit_code(), Some(1));
    let panic = process.panic().unwrap().expect("it panicked");
    assert!(panic.message().starts_with("no more paper") && panic.location().contains("basic.rs"), "{panic}");
}
