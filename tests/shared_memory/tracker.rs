//! CPython's resource tracker, and registrations from our side.

use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Stdio};

use ossature::ErrorKind;
use ossature::multiprocessing::resource_tracker::{ResourceTracker, ResourceType};
use ossature::multiprocessing::shared_memory::{SharedMemory, unlink};
use ossature::multiprocessing::sync::NamedLock;
use ossature::sys::fd::{clear_cloexec, set_cloexec};
use ossature::sys::pipe::{Flags, pipe, unread};

use crate::harness::Test;
use crate::peers::Python;
use crate::snake::{Snake, with_each};
use crate::{exists, fresh};

pub const TESTS: &[Test] = &[
    ("a_tracker_removes_what_was_registered", a_tracker_removes_what_was_registered),
    ("a_tracker_forgets_what_was_unregistered", a_tracker_forgets_what_was_unregistered),
    ("a_tracker_that_ended_is_told_from_one_that_lives", a_tracker_that_ended_is_told_from_one_that_lives),
    ("names_that_no_tracker_can_read_are_refused", names_that_no_tracker_can_read_are_refused),
    ("a_program_that_python_started_finds_its_tracker", a_program_that_python_started_finds_its_tracker),
];

/// A tracker of CPython, and the end of its pipe that a program inherits.
struct Running {
    tracker: Child,
    writer: OwnedFd,
}

impl Running {
    fn start(python: &Python) -> Self {
        let (reader, writer) = pipe(Flags::empty()).unwrap();
        clear_cloexec(&reader).unwrap();
        let program = format!("from multiprocessing.resource_tracker import main; main({})", reader.as_raw_fd());
        let mut command = python.command();
        command.args(["-c", &program]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let tracker = command.spawn().unwrap();
        set_cloexec(&reader).unwrap();
        Self { tracker, writer }
    }

    fn tell(&self) -> ResourceTracker {
        ResourceTracker::inherited(self.writer.as_raw_fd() as u32).unwrap()
    }

    /// Closes the pipe. Returns the exit code and the output to stderr.
    fn end(mut self) -> (Option<i32>, String) {
        drop(self.writer);
        let mut said = String::new();
        self.tracker.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.tracker.wait().unwrap().code(), said)
    }
}

/// Whether the tracker ended with that exit code. Before 3.13 a version may exit with 0 instead.
fn is_code(python: &Python, ended: Option<i32>, code: i32) -> bool {
    ended == Some(code) || ended == Some(0) && python.version < (3, 13, 0)
}

fn a_tracker_removes_what_was_registered() {
    with_each(|python| {
        let running = Running::start(python);
        let tracker = running.tell();
        let (memory, lock) = (SharedMemory::create(8).unwrap(), NamedLock::create().unwrap());
        tracker.register(memory.name(), ResourceType::SharedMemory).unwrap();
        tracker.register(&format!("/{}", memory.name()), ResourceType::SharedMemory).unwrap();
        tracker.register(lock.name(), ResourceType::Semaphore).unwrap();
        assert!(tracker.is_alive().unwrap());
        drop(tracker);
        assert!(exists(memory.name()), "the pipe is open");
        let (ended, said) = running.end();
        assert!(is_code(python, ended, 1), "{ended:?}: {said}");
        assert!(
            said.contains("1 leaked shared_memory objects") && said.contains("1 leaked semaphore objects"),
            "{said}"
        );
        assert!(!exists(memory.name()) && NamedLock::open(lock.name()).is_err());
        memory.set(0, 1_u64).unwrap();
    });
}

fn a_tracker_forgets_what_was_unregistered() {
    with_each(|python| {
        let running = Running::start(python);
        let tracker = running.tell();
        let memory = SharedMemory::create(8).unwrap();
        for _ in 0..2 {
            tracker.register(memory.name(), ResourceType::SharedMemory).unwrap(); // twice counts once
        }
        tracker.unregister(memory.name(), ResourceType::SharedMemory).unwrap();
        drop(tracker);
        assert_eq!(running.end(), (Some(0), String::new()));
        assert!(exists(memory.name()));
        // What it never knew is an error of its own, which we cannot see.
        let running = Running::start(python);
        running.tell().unregister(memory.name(), ResourceType::SharedMemory).unwrap();
        let (ended, said) = running.end();
        assert!(is_code(python, ended, 3) && said.contains("KeyError"), "{ended:?}: {said}");
    });
}

fn a_tracker_that_ended_is_told_from_one_that_lives() {
    with_each(|python| {
        let mut running = Running::start(python);
        let tracker = running.tell();
        assert!(tracker.is_alive().unwrap());
        running.tracker.kill().unwrap();
        running.tracker.wait().unwrap();
        assert!(!tracker.is_alive().unwrap());
        assert_eq!(tracker.register("name", ResourceType::Semaphore).unwrap_err().kind(), ErrorKind::Closed);
        let number = running.writer.as_raw_fd() as u32;
        assert_eq!(ResourceTracker::inherited(number).unwrap_err().kind(), ErrorKind::Closed);
    });
}

fn names_that_no_tracker_can_read_are_refused() {
    let (reader, writer) = pipe(Flags::empty()).unwrap();
    let tracker = ResourceTracker::inherited(writer.as_raw_fd() as u32).unwrap();
    let fits = 512 - "REGISTER:/:dummy\n".len();
    for wrong in ["", "/", "a:b", "a\nb", "a\rb", "gr\u{fc}n", &"n".repeat(fits + 1)] {
        let error = tracker.register(wrong, ResourceType::Dummy).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong:?}: {error}");
    }
    let probe = "PROBE:0:noop\n".len() as u64;
    assert_eq!(unread(&reader), Ok(probe), "nothing else was written");
    tracker.register(&"n".repeat(fits), ResourceType::Dummy).unwrap();
    assert_eq!(unread(&reader), Ok(512 + probe));
    for number in [reader.as_raw_fd() as u32, writer.as_raw_fd() as u32] {
        assert!(ResourceTracker::inherited(number).is_ok(), "either end names the pipe");
    }
    let null = std::fs::File::open("/dev/null").unwrap();
    for number in [null.as_raw_fd() as u32, 9999, u32::MAX] {
        assert_eq!(ResourceTracker::inherited(number).unwrap_err().kind(), ErrorKind::InvalidInput, "{number}");
    }
}

/// The variables that make this binary the program below: the number of the pipe, and a name.
const VARIABLES: [&str; 2] = ["OSSATURE_TEST_TRACKER", "OSSATURE_TEST_NAME"];

/// The program that a Python program starts: makes a block that outlives it, and leaves the name to the tracker.
pub fn program() {
    let [Ok(number), Ok(name)] = VARIABLES.map(std::env::var) else { return };
    let memory = SharedMemory::builder().name(&name).track(false).create(8).unwrap();
    let tracker = ResourceTracker::inherited(number.parse().unwrap()).unwrap();
    tracker.register(memory.name(), ResourceType::SharedMemory).unwrap();
    std::process::exit(0)
}

fn a_program_that_python_started_finds_its_tracker() {
    with_each(|python| {
        let name = fresh();
        let mut snake = Snake::start(python);
        let [number, named] = VARIABLES;
        let program = std::env::current_exe().unwrap();
        snake.run("import subprocess; fd = resource_tracker.getfd()");
        snake.run(&format!(
            "subprocess.run([{program:?}], pass_fds=[fd], check=True, env={{'{number}': str(fd), '{named}': '{name}'}})"
        ));
        assert!(exists(&name), "the program is gone, and Python lives");
        assert_eq!(SharedMemory::open(&name).unwrap().len(), 8);
        let said = snake.end();
        assert!(said.contains("leaked shared_memory") && !exists(&name), "{said}");
        assert!(unlink(&name).is_err());
    });
}
