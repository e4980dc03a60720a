//! Children that cannot begin their task: each start is an error with its cause, and no process is left.

use std::marker::PhantomData;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::{Context, Process, set_max_argument_depth, set_start_timeout, stop_forkserver};
use ossature::sys::errno::Errno;
use ossature::sys::process::{ExitStatus, Resource, Rlimit, rlimit, set_rlimit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::harness::{Afterwards, Test};

pub const TESTS: &[Test] = &[
    ("function_in_no_table_is_refused_by_its_name", function_in_no_table_is_refused_by_its_name),
    ("argument_that_cannot_be_serialised_is_refused", argument_that_cannot_be_serialised_is_refused),
    ("argument_that_cannot_be_decoded_is_told_with_the_reason", argument_that_cannot_be_decoded_is_told),
    ("argument_with_bytes_left_over_is_told", argument_with_bytes_left_over_is_told),
    ("arguments_are_nested_as_deep_as_is_set", arguments_are_nested_as_deep_as_is_set),
    ("panic_while_decoding_is_told", panic_while_decoding_is_told),
    ("child_killed_before_it_begins_is_told", child_killed_before_it_begins_is_told),
    ("child_that_exits_before_it_begins_is_told", child_that_exits_before_it_begins_is_told),
    ("silent_child_is_killed_at_the_deadline", silent_child_is_killed_at_the_deadline),
    ("start_timeout_of_its_own_goes_before_that_of_all", start_timeout_of_its_own_goes_before_that_of_all),
    ("no_descriptors_left_is_an_error_that_leaves_nothing", no_descriptors_left_is_an_error_that_leaves_nothing),
    ("no_memory_for_the_new_image_is_an_error", no_memory_for_the_new_image_is_an_error),
];

/// An argument that writes one empty text too many, and calls `H` when it is read.
pub struct Odd<H>(PhantomData<fn() -> H>);

pub fn odd<H>() -> Odd<H> {
    Odd(PhantomData)
}

/// The effect on the reader.
pub trait Habit: 'static {
    fn decode() -> Result<(), &'static str>;
}

impl<H> Serialize for Odd<H> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        "more".serialize(serializer)
    }
}

impl<'de, H: Habit> Deserialize<'de> for Odd<H> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        H::decode().map_err(serde::de::Error::custom)?;
        u8::deserialize(deserializer)?;
        Ok(Self(PhantomData))
    }
}

macro_rules! habits {
    ($($Habit:ident $decode:expr;)*) => {$(
        pub struct $Habit;
        impl Habit for $Habit {
            fn decode() -> Result<(), &'static str> {
                $decode
            }
        }
    )*};
}

habits! {
    Never Err("this is never understood");
    Longer Ok(());
    Panics panic!("the reader stumbles; this is meant to be seen");
    Killed {
        ossature::sys::signal::raise(ossature::sys::process::Signal::KILL).expect("a process may kill itself");
        Ok(())
    };
    Sleeps crate::harness::rest();
    Leaves std::process::exit(5);
    Unloaded std::process::exit(127);
}

pub fn take<H: Habit>(_odd: Odd<H>) {}

#[track_caller]
fn refusal_by<H: Habit>(method: Context, exit: ExitStatus) -> String {
    let error = Process::builder().context(method).start(take::<H>, (odd(),)).unwrap_err();
    assert_eq!((error.kind(), error.exit_status()), (ErrorKind::StartFailed, Some(exit)), "{method}: {error}");
    let text = error.to_string();
    assert!(text.starts_with("the new process "), "{method}: {text}");
    text
}

/// The text of the error, which is the same for both methods.
#[track_caller]
fn refusal<H: Habit>(exit: ExitStatus) -> String {
    let text = refusal_by::<H>(Context::Spawn, exit);
    assert_eq!(refusal_by::<H>(Context::Forkserver, exit), text);
    assert!(stop_forkserver(Duration::from_secs(30)).unwrap(), "the server does not end");
    text
}

/// The exit status of a process that has reported why it cannot begin.
const REFUSED: ExitStatus = ExitStatus::Code(2);

const KILLED: ExitStatus = ExitStatus::Signal { signal: 9, core_dumped: false };

fn function_in_no_table_is_refused_by_its_name() {
    fn stranger() {}
    let error = Process::spawn(stranger, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTask);
    let text = error.to_string();
    assert!(text.contains("::stranger") && text.contains("tasks!"), "{text}");
}

/// An argument that cannot be serialised.
#[derive(Deserialize)]
pub struct Mute;

impl Serialize for Mute {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it has no words"))
    }
}

pub fn hear(_: Mute) {}

fn argument_that_cannot_be_serialised_is_refused() {
    let error = Process::spawn(hear, (Mute,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("it has no words"), "{error}");
    let broken = std::path::PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff"));
    let error = Process::spawn(crate::spawn::open_path, (broken,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("path contains invalid UTF-8 characters"), "{error}");
}

fn argument_that_cannot_be_decoded_is_told() {
    let text = refusal::<Never>(REFUSED);
    assert!(text.contains("arguments of") && text.contains("take::<refused::Never>"), "{text}");
    assert!(text.contains("this is never understood"), "the program's own words: {text}");
}

fn argument_with_bytes_left_over_is_told() {
    let text = refusal::<Longer>(REFUSED);
    assert!(text.contains("4 bytes are left over"), "{text}");
}

#[derive(Serialize, Deserialize)]
pub enum Deep {
    End,
    Below(Box<Deep>),
}

impl Deep {
    fn of(levels: usize) -> Self {
        (1..levels).fold(Self::End, |below, _| Self::Below(Box::new(below)))
    }
}

/// Starts another process with the same argument, by the settings that it inherited.
pub fn dive(deep: Deep, again: bool) -> Result<(), ossature::Error> {
    if again {
        let process = Process::spawn(dive, (deep, false))?;
        process.join()?;
        assert_eq!(process.exit_code(), Some(0));
    }
    Ok(())
}

fn arguments_are_nested_as_deep_as_is_set() {
    // The tuple of the arguments is the first level.
    let error = Process::spawn(dive, (Deep::of(128), false)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains("nested more than 128 deep; set_max_argument_depth allows more"), "{error}");
    let run = |levels| {
        let process = Process::spawn(dive, (Deep::of(levels), true)).unwrap();
        process.join().unwrap();
        assert_eq!(process.exit_code(), Some(0));
    };
    run(127);
    let _afterwards = Afterwards(|| set_max_argument_depth(128));
    set_max_argument_depth(1000);
    run(999);
}

fn panic_while_decoding_is_told() {
    let text = refusal::<Panics>(REFUSED);
    assert!(text.contains("panicked") && text.contains("the reader stumbles"), "{text}");
}

fn child_killed_before_it_begins_is_told() {
    let text = refusal::<Killed>(KILLED);
    assert!(text.contains("signal 9 (SIGKILL): killed for lack of memory") && text.contains("RLIMIT_CPU"), "{text}");
}

fn child_that_exits_before_it_begins_is_told() {
    let text = refusal::<Leaves>(ExitStatus::Code(5));
    assert!(text.contains("exit code 5") && text.contains("freeze_support"), "{text}");
    // What the dynamic loader leaves with.
    let text = refusal::<Unloaded>(ExitStatus::Code(127));
    assert!(text.contains("exit code 127") && text.contains("shared library"), "{text}");
    assert!(!text.contains("freeze_support"), "{text}");
}

fn silent_child_is_killed_at_the_deadline() {
    let _afterwards = Afterwards(|| set_start_timeout(Duration::from_secs(30)));
    set_start_timeout(Duration::from_millis(300));
    let text = refusal_by::<Sleeps>(Context::Spawn, KILLED);
    assert!(text.contains("300ms") && text.contains("killed"), "{text}");
}

fn start_timeout_of_its_own_goes_before_that_of_all() {
    for method in [Context::Spawn, Context::Forkserver] {
        let start = || Process::builder().context(method);
        // The server is there already.
        start().start(crate::spawn::none, ()).unwrap().join().unwrap();
        let error = start().start_timeout(Duration::from_millis(200)).start(take::<Sleeps>, (odd(),)).unwrap_err();
        assert_eq!((error.kind(), error.exit_status()), (ErrorKind::StartFailed, Some(KILLED)), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("the new process did not ") && text.contains("within 200ms"), "{method}: {text}");
        let afterwards = Afterwards(|| set_start_timeout(Duration::from_secs(30)));
        set_start_timeout(Duration::ZERO);
        let processes = [None, Some(Duration::from_secs(30))]
            .map(|timeout| start().start_timeout(timeout).start(crate::spawn::none, ()).unwrap());
        // A fork server may be faster than this process comes to its wait: so it is a child that never begins.
        let silent = start().start(take::<Sleeps>, (odd(),));
        drop(afterwards);
        let error = silent.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StartFailed, "{error}");
        processes.iter().for_each(|process| assert_eq!(process.join().unwrap(), ExitStatus::Code(11)));
    }
    assert!(stop_forkserver(Duration::from_secs(30)).unwrap(), "the server does not end");
}

/// Runs `body` with a lower soft limit.
fn limited<R>(resource: Resource, soft: u64, body: impl FnOnce() -> R) -> R {
    let before = rlimit(resource).unwrap();
    let _afterwards = Afterwards(|| set_rlimit(resource, before).expect("the former limit can be set again"));
    set_rlimit(resource, Rlimit { current: Some(soft), ..before }).unwrap();
    body()
}

fn no_descriptors_left_is_an_error_that_leaves_nothing() {
    let used = crate::harness::descriptors().len() as u64;
    // One more each time, until the start succeeds: it fails at every step that needs one.
    let (mut failures, mut named) = (0, 0);
    for more in 0..32 {
        match limited(Resource::Nofile, used + more, || Process::spawn(crate::spawn::none, ())) {
            Ok(process) => {
                process.join().unwrap();
                assert_eq!(process.exit_code(), Some(11));
                assert!(failures >= 3 && named >= 3, "{failures} failures only, {named} with the limit");
                return;
            }
            Err(error) => {
                let expected = [ErrorKind::Os, ErrorKind::StartFailed].contains(&error.kind());
                assert!(expected, "with {more} more: {error:?}");
                if error.errno() == Some(Errno::MFILE) {
                    named += 1;
                    let text = error.to_string();
                    assert!(text.contains("RLIMIT_NOFILE") && text.contains("ulimit -n"), "with {more} more: {text}");
                }
                failures += 1;
            }
        }
        assert!(!crate::harness::has_children());
    }
    panic!("it never succeeds");
}

fn no_memory_for_the_new_image_is_an_error() {
    let error = limited(Resource::As, 1 << 20, || Process::spawn(crate::spawn::none, ())).unwrap_err();
    assert!([ErrorKind::Os, ErrorKind::StartFailed].contains(&error.kind()), "{error:?}");
}
