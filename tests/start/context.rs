//! The default method: set once, fixed by use, forced at will; and what comes before `freeze_support`.

use std::sync::OnceLock;

use ossature::ErrorKind;
use ossature::multiprocessing::{
    Context, Process, force_start_method, get_all_start_methods, get_context, get_start_method, peek_start_method,
    set_start_method,
};

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("starting_before_freeze_support_is_refused", starting_before_freeze_support_is_refused),
    ("default_method_is_set_once_and_fixed_by_use", default_method_is_set_once_and_fixed_by_use),
    ("names_of_methods_are_pythons", names_of_methods_are_pythons),
    ("childs_default_is_the_method_that_started_it", childs_default_is_the_method_that_started_it),
];

static EARLY: OnceLock<ossature::Error> = OnceLock::new();

/// What `main` tries before anything else, in this process and in all that it starts.
pub fn too_early() {
    let error = Process::spawn(crate::spawn::none, ()).expect_err("no table was given yet");
    EARLY.set(error).expect("main runs once");
    force_start_method(None);
}

fn starting_before_freeze_support_is_refused() {
    let error = EARLY.get().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unregistered);
    assert!(error.to_string().contains("freeze_support(TASKS) as the first line of main"), "{error}");
}

fn default_method_is_set_once_and_fixed_by_use() {
    force_start_method(None);
    assert_eq!(peek_start_method(), None);
    set_start_method(Context::Fork).unwrap();
    let error = set_start_method(Context::Spawn).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyStarted);
    assert!(error.to_string().contains("fork already"), "{error}");
    assert_eq!(get_start_method(), Context::Fork);
    force_start_method(Context::Thread);
    assert_eq!(get_context(None), Context::Thread);
    force_start_method(None);
    let [first, ..] = get_all_start_methods();
    assert_eq!(get_context(Context::Fork), Context::Fork);
    assert_eq!(peek_start_method(), None, "naming a method fixes nothing");
    assert_eq!(get_context(None), first);
    assert_eq!(set_start_method(first).unwrap_err().kind(), ErrorKind::AlreadyStarted, "asking has fixed it");
    force_start_method(None);
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

/// An answer that is yes or no.
pub mod bool_code {
    pub struct Code(pub bool);

    impl ossature::multiprocessing::Report for Code {
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
