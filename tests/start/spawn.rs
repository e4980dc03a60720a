//! The normal life of a spawned child: its arguments and its environment.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use ossature::multiprocessing::transfer::Handle;
use ossature::multiprocessing::{Context, Process, current_process, parent_process};
use ossature::sys::errno::Errno;

use crate::executable::Place;
use crate::forkserver::{tell_place, with_server};
use crate::harness::{Afterwards, Test, pipe};

pub const TESTS: &[Test] = &[
    ("tasks_of_no_and_of_six_arguments_run", tasks_of_no_and_of_six_arguments_run),
    ("functions_of_one_name_in_two_modules_are_two_tasks", functions_of_one_name_in_two_modules_are_two_tasks),
    ("child_has_the_environment_and_the_directory", child_has_the_environment_and_the_directory),
    (
        "child_of_a_parent_in_a_removed_directory_begins_where_the_server_is",
        child_of_a_parent_in_a_removed_directory_begins_where_the_server_is,
    ),
    ("child_has_its_streams_and_what_it_was_given_and_nothing_else", child_has_what_it_was_given_and_nothing_else),
    ("more_descriptors_than_one_message_holds_arrive", more_descriptors_than_one_message_holds_arrive),
    ("arguments_of_megabytes_arrive", arguments_of_megabytes_arrive),
    ("child_knows_its_name_and_its_parent", child_knows_its_name_and_its_parent),
    ("child_of_a_child_is_spawned_too", child_of_a_child_is_spawned_too),
    ("spawning_works_beside_threads", spawning_works_beside_threads),
    ("what_changed_in_a_static_is_not_seen_in_a_child", what_changed_in_a_static_is_not_seen_in_a_child),
    ("panic_of_a_spawned_child_comes_back", panic_of_a_spawned_child_comes_back),
];

const PATIENCE: Duration = Duration::from_secs(30);

#[track_caller]
fn code_of(process: Process) -> Option<i32> {
    assert!(process.join_timeout(PATIENCE).unwrap().is_some(), "it does not end");
    process.exit_code()
}

pub fn none() -> u8 {
    11
}

pub fn six(a: u8, b: i64, c: String, d: Option<char>, e: Vec<u16>, f: (bool, f64)) -> i32 {
    let all = (a, b, c.as_str(), d, e.as_slice(), f) == (1, -2, "three", Some('4'), &[5, 5], (true, 6.5));
    if all { 6 } else { 1 }
}

fn tasks_of_no_and_of_six_arguments_run() {
    assert_eq!(code_of(Process::spawn(none, ()).unwrap()), Some(11));
    let arguments = (1, -2, "three".to_owned(), Some('4'), vec![5, 5], (true, 6.5));
    assert_eq!(code_of(Process::spawn(six, arguments).unwrap()), Some(6));
}

pub fn square(x: i32) -> i32 {
    x * x
}

pub mod other {
    pub fn square(x: i32) -> i32 {
        x * x + 1
    }
}

fn functions_of_one_name_in_two_modules_are_two_tasks() {
    let both = [Process::spawn(square, (5,)).unwrap(), Process::spawn(other::square, (5,)).unwrap()];
    assert_eq!(both.map(code_of), [Some(25), Some(26)]);
}

pub fn tell_surroundings(Handle(mut tell): Handle<File>) {
    let directory = std::env::current_dir().unwrap();
    let word = std::env::var("OSSATURE_TEST_WORD").unwrap();
    let mut typed = Vec::new();
    std::io::stdin().read_to_end(&mut typed).unwrap();
    write!(tell, "{} {word} {}", directory.display(), typed.len()).unwrap();
}

/// Runs `body` while this is the working directory.
pub fn in_directory<R>(directory: &Path, body: impl FnOnce() -> R) -> R {
    let before = std::env::current_dir().unwrap();
    let _afterwards = Afterwards(|| std::env::set_current_dir(&before).unwrap());
    std::env::set_current_dir(directory).unwrap();
    body()
}

fn child_has_the_environment_and_the_directory() {
    // SAFETY: this test program has one thread.
    unsafe { std::env::set_var("OSSATURE_TEST_WORD", "marrow") };
    let (mut told, tell) = pipe();
    let process = in_directory("/usr".as_ref(), || Process::spawn(tell_surroundings, (Handle(tell),)));
    assert_eq!(code_of(process.unwrap()), Some(0));
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    assert_eq!(text, "/usr marrow 0");
}

/// [`Process::spawn`] would refuse the relative path, which does not exist any more.
fn child_of_a_parent_in_a_removed_directory_begins_where_the_server_is() {
    let build = || Process::builder().context(Context::Forkserver);
    with_server(1, || {
        assert_eq!(code_of(build().start(none, ()).unwrap()), Some(11)); // the server is where this was
        let servers = std::env::current_dir().unwrap();
        let place = Place::new("removed");
        in_directory(&place.0, || {
            std::fs::remove_dir(&place.0).unwrap();
            for (builder, directory) in [(build(), &*servers), (build().current_dir(".."), servers.parent().unwrap())] {
                let (mut told, tell) = pipe();
                let process = builder.start(tell_place, (Handle(tell),)).unwrap();
                let mut text = String::new();
                told.read_to_string(&mut text).unwrap();
                assert_eq!(text.split(' ').next().unwrap(), directory.to_str().unwrap());
                assert_eq!(code_of(process), Some(0));
            }
            let error = Process::builder().context(Context::Spawn).current_dir("sub").start(none, ());
            assert_eq!(error.unwrap_err().errno(), Some(Errno::NOENT));
        });
    });
}

pub fn tell_descriptors(Handle(mut tell): Handle<File>) {
    let open = crate::harness::descriptors();
    write!(tell, "{}", open.values().map(String::as_str).collect::<Vec<_>>().join("|")).unwrap();
}

fn child_has_what_it_was_given_and_nothing_else() {
    let (mut told, tell) = pipe();
    let inheritable = File::open("/dev/zero").unwrap();
    ossature::sys::fd::clear_cloexec(&inheritable).unwrap();
    let process = Process::spawn(tell_descriptors, (Handle(tell),)).unwrap();
    assert_eq!(code_of(process), Some(0));
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    let mut open: Vec<_> = text.split('|').collect();
    assert_eq!(open.remove(0), "/dev/null", "standard input");
    let own = crate::harness::descriptors();
    assert_eq!(open.drain(..2).collect::<Vec<_>>(), [&own[&1], &own[&2]], "standard output and standard error");
    open.sort_unstable();
    // The way back to the parent, and the pipe.
    assert!(
        matches!(open[..], [pipe, socket] if pipe.starts_with("pipe:") && socket.starts_with("socket:")),
        "{open:?}"
    );
}

pub fn count_descriptors(files: Vec<Handle<File>>) -> i32 {
    let all = files.iter().all(|Handle(file)| file.metadata().is_ok());
    if all { files.len() as i32 - 256 } else { 255 }
}

fn more_descriptors_than_one_message_holds_arrive() {
    let null = File::open("/dev/null").unwrap();
    let files: Vec<_> = (0..300).map(|_| Handle(null.try_clone().unwrap())).collect();
    assert_eq!(code_of(Process::spawn(count_descriptors, (files,)).unwrap()), Some(300 - 256));
}

pub fn sum(bytes: Vec<u8>) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

fn arguments_of_megabytes_arrive() {
    let mut bytes = vec![3; (8 << 20) + 1];
    bytes[5 << 20] = 44;
    assert_eq!(code_of(Process::spawn(sum, (bytes,)).unwrap()), Some(44));
}

pub fn open_path(path: std::path::PathBuf) -> u8 {
    u8::from(!path.exists())
}

pub fn tell_name(Handle(mut tell): Handle<File>) {
    let parent = parent_process().unwrap();
    let is_parents = parent.pid() == ossature::sys::process::parent_id() && parent.is_alive().unwrap();
    let me = current_process();
    write!(tell, "{} {} {is_parents} {}", me.name(), parent.name(), std::process::id()).unwrap();
}

fn child_knows_its_name_and_its_parent() {
    for (builder, prefix) in
        [(Process::builder().context(Context::Spawn), "SpawnProcess-"), (Process::builder(), "Process-")]
    {
        let (mut told, tell) = pipe();
        let process = builder.start(tell_name, (Handle(tell),)).unwrap();
        let mut text = String::new();
        told.read_to_string(&mut text).unwrap();
        assert!(process.name().starts_with(prefix), "{}", process.name());
        let pid = process.pid().unwrap().as_raw_nonzero();
        assert_eq!(text, format!("{} MainProcess true {pid}", process.name()));
        assert_eq!(code_of(process), Some(0));
    }
}

pub fn start_another(depth: u8) -> u8 {
    if depth == 0 {
        return 1;
    }
    let inner = Process::spawn(start_another, (depth - 1,)).unwrap();
    code_of(inner).map_or(0, |code| code as u8) + 1
}

fn child_of_a_child_is_spawned_too() {
    assert_eq!(code_of(Process::spawn(start_another, (2,)).unwrap()), Some(3));
}

fn spawning_works_beside_threads() {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || held.recv());
    let starters: Vec<_> =
        (0..4).map(|n| std::thread::spawn(move || code_of(Process::spawn(square, (n,)).unwrap()))).collect();
    let codes: Vec<_> = starters.into_iter().map(|starter| starter.join().unwrap()).collect();
    drop(hold);
    other.join().unwrap().unwrap_err();
    assert_eq!(codes, [Some(0), Some(1), Some(4), Some(9)]);
}

static CHANGED: AtomicU8 = AtomicU8::new(2);

pub fn unchanged() -> u8 {
    CHANGED.load(Relaxed)
}

fn what_changed_in_a_static_is_not_seen_in_a_child() {
    CHANGED.store(7, Relaxed);
    assert_eq!(code_of(Process::spawn(unchanged, ()).unwrap()), Some(2));
}

pub fn panic_with(text: String) {
    panic!("{text}");
}

fn panic_of_a_spawned_child_comes_back() {
    let process = Process::spawn(panic_with, ("out of ink; this is meant to be seen".to_owned(),)).unwrap();
    assert_eq!(code_of(process.clone()), Some(1));
    let panic = process.panic().unwrap().expect("it panicked");
    assert!(panic.message().starts_with("out of ink") && panic.location().contains("spawn.rs"), "{panic}");
}
