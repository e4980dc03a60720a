//! The default method: set once, fixed by use, changed by force; and calls before `freeze_support`.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::OnceLock;

use ossature::ErrorKind;
use ossature::multiprocessing::transfer::Handle;
use ossature::multiprocessing::{
    Context, Process, force_start_method, freeze_support, get_all_start_methods, get_context, get_start_method,
    peek_start_method, set_start_method,
};

use crate::harness::{Afterwards, Test, pipe};

pub const TESTS: &[Test] = &[
    ("starting_before_freeze_support_is_refused", starting_before_freeze_support_is_refused),
    ("default_method_is_set_once_and_fixed_by_use", default_method_is_set_once_and_fixed_by_use),
    ("freeze_support_in_a_named_thread_is_no_test", freeze_support_in_a_named_thread_is_no_test),
    ("names_of_methods_are_pythons", names_of_methods_are_pythons),
    ("childs_default_is_the_method_that_started_it", childs_default_is_the_method_that_started_it),
];

static EARLY: OnceLock<ossature::Error> = OnceLock::new();

/// Tries a spawn first in `main`, in this process and in all that it starts.
pub fn too_early() {
    let error = Process::spawn(crate::spawn::none, ()).expect_err("no table was given yet");
    EARLY.set(error).expect("main runs once");
    force_start_method(None);
}

fn starting_before_freeze_support_is_refused() {
    let error = EARLY.get().unwrap();
    assert_eq!(error.kind(), ErrorKind::UnknownTask);
    assert!(error.to_string().contains("freeze_support(TASKS) as the first line of main"), "{error}");
}

fn default_method_is_set_once_and_fixed_by_use() {
    force_start_method(None);
    let _afterwards = Afterwards(|| force_start_method(None));
    assert_eq!(peek_start_method(), None);
    set_start_method(Context::Fork).unwrap();
    let error = set_start_method(Context::Spawn).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyStarted);
    assert!(error.to_string().contains("already fork"), "{error}");
    assert_eq!(get_start_method(), Context::Fork);
    force_start_method(Context::Thread);
    assert_eq!(get_context(None), Context::Thread);
    force_start_method(None);
    let [first, ..] = get_all_start_methods();
    assert_eq!(get_context(Context::Fork), Context::Fork);
    assert_eq!(peek_start_method(), None, "naming a method fixes nothing");
    assert_eq!(get_context(None), first);
    assert_eq!(set_start_method(first).unwrap_err().kind(), ErrorKind::AlreadyStarted, "asking has fixed it");
}

fn names_of_methods_are_pythons() {
    let names = get_all_start_methods().map(Context::name);
    let mut sorted = names;
    sorted.sort_unstable();
    assert_eq!(sorted, ["fork", "forkserver", "spawn"]);
    for name in names {
        assert_eq!(name.parse::<Context>().unwrap().to_string(), name);
    }
    assert_eq!("vfork".parse::<Context>().unwrap_err().kind(), ErrorKind::InvalidInput);
}

pub fn default_is_what_started_it(name: String) -> bool_code::Code {
    bool_code::Code(peek_start_method().is_some_and(|method| method.name() == name))
}

/// An exit code for yes or no.
pub mod bool_code {
    pub struct Code(pub bool);

    impl ossature::multiprocessing::Termination for Code {
        fn report(self) -> u8 {
            if self.0 { 3 } else { 4 }
        }
    }
}

fn childs_default_is_the_method_that_started_it() {
    for method in [Context::Fork, Context::Spawn] {
        let process = Process::builder().context(method).start(default_is_what_started_it, (method.to_string(),));
        let process = process.unwrap();
        process.join().unwrap();
        assert_eq!(process.exit_code(), Some(3), "{method}");
    }
}

/// The variable that makes `main` do all its work in a named thread.
pub const BIG_MAIN: &str = "OSSATURE_TEST_BIG_MAIN";

pub fn tell_arguments(Handle(mut tell): Handle<File>) {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    write!(tell, "{arguments:?}").unwrap();
}

pub fn big_main() {
    freeze_support(crate::TASKS);
    let (mut told, tell) = pipe();
    let process = Process::builder().context(Context::Spawn).start(tell_arguments, (Handle(tell),)).unwrap();
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    process.join().unwrap();
    let error = Process::builder().context(Context::Forkserver).start(crate::spawn::none, ()).unwrap_err();
    println!("{text}\n{:?} {error}", error.kind());
}

fn freeze_support_in_a_named_thread_is_no_test() {
    let run = Command::new("/proc/self/exe").env(BIG_MAIN, "1").output().unwrap();
    let text = String::from_utf8(run.stdout.clone()).unwrap();
    let [arguments, refusal] = text.lines().collect::<Vec<_>>()[..] else { panic!("{run:?}") };
    assert_eq!(arguments, r#"["--multiprocessing-fork"]"#);
    assert!(refusal.starts_with("MultiThreaded ") && refusal.contains("\"big main\""), "{refusal}");
    assert!(refusal.contains("first line of main") && !refusal.contains("libtest"), "{refusal}");
}
