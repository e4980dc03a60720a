//! The ways of starting a process, and the work of the started process in all of them: a plain function of three texts.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use ossature::Result;
use ossature::multiprocessing::process::ProcessBuilder;
use ossature::multiprocessing::{
    Context, Process, Tasks, active_children, current_process, force_start_method, parent_process, stop_forkserver,
    tasks,
};
use ossature::sys::process::ExitStatus;
use ossature::sys::signal::{Signal, SignalSet, restore_default, set_mask};
use ossature::threading::Thread;

use crate::{aborts, finalizers, hooks, panics, surroundings};

/// A way of starting a process.
pub trait World {
    const NAME: &'static str;
    /// The number of children in tests with many children.
    const MANY: usize;
    /// Whether the kernel regards this process as their parent.
    const OURS: bool = true;

    /// Starts [`work`] with this world's name, the job and its argument.
    fn start_with(builder: ProcessBuilder, job: &str, argument: &str) -> Result<Process>;

    fn start(job: &str, argument: &str) -> Process {
        Self::start_with(Process::builder(), job, argument).expect("starts")
    }
}

pub struct Fork;

impl World for Fork {
    const NAME: &'static str = "fork";
    const MANY: usize = 100;

    fn start_with(builder: ProcessBuilder, job: &str, argument: &str) -> Result<Process> {
        builder.fork(|| work(Self::NAME.into(), job.into(), argument.into()))
    }
}

pub struct Spawn;

impl World for Spawn {
    const NAME: &'static str = "spawn";
    const MANY: usize = 5;

    fn start_with(builder: ProcessBuilder, job: &str, argument: &str) -> Result<Process> {
        // The default, since a builder that names its context names the child for it.
        force_start_method(Context::Spawn);
        builder.start(work, (Self::NAME.to_owned(), job.to_owned(), argument.to_owned()))
    }
}

pub struct Forkserver;

impl World for Forkserver {
    const NAME: &'static str = "forkserver";
    const MANY: usize = 100;
    const OURS: bool = false;

    fn start_with(builder: ProcessBuilder, job: &str, argument: &str) -> Result<Process> {
        force_start_method(Context::Forkserver);
        builder.start(work, (Self::NAME.to_owned(), job.to_owned(), argument.to_owned()))
    }
}

/// Ends the fork server, which is a child that a test must not leave behind.
pub fn stop_server() {
    assert!(stop_forkserver(Duration::from_secs(30)).expect("can be waited for"), "the server does not end");
}

/// The table of tasks of spawned children.
pub static TASKS: Tasks = tasks![work];

/// Calls [`World::start_with`] of the world with that name.
fn start_in(world: &str, builder: ProcessBuilder, job: &str, argument: &str) -> Result<Process> {
    match world {
        Fork::NAME => Fork::start_with(builder, job, argument),
        Spawn::NAME => Spawn::start_with(builder, job, argument),
        Forkserver::NAME => Forkserver::start_with(builder, job, argument),
        other => panic!("there is no world {other}"),
    }
}

/// Stamps each test for every world.
#[macro_export]
macro_rules! in_every_world {
    ($($test:ident),* $(,)?) => {
        pub const TESTS: &[$crate::harness::Test] = &[
            $((concat!("fork::", stringify!($test)), $test::<$crate::worlds::Fork>),)*
            $((concat!("spawn::", stringify!($test)), $test::<$crate::worlds::Spawn>),)*
            $((concat!("forkserver::", stringify!($test)), || {
                $test::<$crate::worlds::Forkserver>();
                $crate::worlds::stop_server();
            }),)*
        ];
    };
}

/// The work of a child of a test.
pub fn work(world: String, job: String, argument: String) -> std::result::Result<i32, String> {
    let argument = argument.as_str();
    match job.as_str() {
        "return" => return Ok(argument.parse().expect("a number")),
        "fail" => return Err(argument.to_owned()),
        "panic" => panic!("{argument}"),
        "panic-at-length" => {
            redirect(2, Path::new("/dev/null"));
            panic!("{}", "x".repeat(argument.parse().expect("a number")));
        }
        "panic-into" => {
            redirect(2, Path::new(argument));
            panic!("no more paper");
        }
        "panic-twice" => panics::twice(Path::new(argument)),
        "panic-in-thread" => aborts::in_thread(Path::new(argument)),
        "panic-in-timer" => aborts::in_timer(Path::new(argument)),
        "panic-and-block" => panics::and_block(Path::new(argument)),
        "panic-and-catch" => panics::and_catch(Path::new(argument)),
        "panic-again" => panics::again(Path::new(argument)),
        "panic-finally" => panics::finally(Path::new(argument)),
        "fail-into" => {
            redirect(2, Path::new(argument));
            return Err("out of ink".to_owned());
        }
        "without-streams" => {
            // SAFETY: nothing in this test owns the standard streams by their numbers.
            (0..3).for_each(|number| assert_eq!(unsafe { libc::close(number) }, 0));
        }
        "sleep" => crate::harness::rest(),
        "until" => wait_for(Path::new(argument)),
        "tell" => put(Path::new(argument), &facts()),
        "tell-and-sleep" => {
            put(Path::new(argument), &facts());
            crate::harness::rest();
        }
        "tell-and-be-deaf" => {
            // As a program has it that takes its signals from a descriptor.
            set_mask(SignalSet::FULL).expect("can be set").keep();
            put(Path::new(argument), &facts());
            crate::harness::rest();
        }
        "hook" => hooks::hear_of_a_thread(Path::new(argument)),
        "surroundings" => surroundings::tell(Path::new(argument)),
        "environment" => {
            let lines = std::env::vars().map(|(name, value)| format!("{name}={value}\n"));
            put(Path::new(argument), &lines.collect::<String>());
        }
        "leave-bound" => leave_bound(&world, Process::builder(), argument),
        "leave-bound-nobody" => leave_bound(&world, Process::builder().uid(65534), argument),
        "say-threads" => threads(Path::new(argument)),
        "nest" => nest(&world, argument),
        "finalize" => finalizers::all_kinds(Path::new(argument)),
        "have-children" => have_children(&world, Path::new(argument)),
        "child-of-daemon" => {
            let refused = start_in(&world, Process::builder(), "return", "0").expect_err("a daemon has no children");
            put(Path::new(argument), &format!("{:?} {refused}", refused.kind()));
        }
        "two-generations" => two_generations(&world, Path::new(argument)),
        "leave-one-that-panics" => {
            drop(start_in(&world, Process::builder(), "panic-alone", argument).expect("starts"));
            crate::harness::rest();
        }
        "panic-alone" => {
            // As a program of Unix has it; Rust's main ignores it.
            restore_default(Signal::PIPE).expect("can be set");
            finalizers::note_at_exit(&Path::new(argument).join("log"), &[0, -1]);
            put(&Path::new(argument).join("ready"), "");
            parent_process().expect("it was started by one").join().expect("can be waited for");
            redirect(2, Path::new("/dev/null"));
            panic!("with nobody there");
        }
        "watch-parent" => watch_parent(Path::new(argument)),
        other => panic!("nobody knows the job {other}"),
    }
    Ok(0)
}

/// The facts that a child knows about itself.
fn facts() -> String {
    let (me, parent) = (current_process(), parent_process().expect("it was started by one"));
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).expect("standard input can be read");
    let lines = [
        format!("name {}", me.name()),
        format!("pid {}", me.pid().as_raw_nonzero()),
        format!("identity {:?}", me.identity()),
        format!("daemon {}", me.daemon()),
        format!("key {:?}", me.authkey().expect("a key").as_bytes()),
        format!("children {}", active_children().len()),
        format!("parent {} {:?}", parent.name(), parent.pid().map(|pid| pid.as_raw_nonzero().get())),
        format!("parent-alive {}", parent.is_alive().expect("a descriptor is left")),
        format!("input {}", input.len()),
        format!("next {}", format!("{:?}", Process::builder()).split('\'').nth(1).unwrap_or_default()),
        format!("inherits {}", format!("{:?}", Process::builder()).contains(" daemon")),
    ];
    lines.join("\n")
}

/// Starts a thread for which the child's end waits, and a daemon for which it does not.
fn threads(path: &Path) {
    static RETURNS: AtomicBool = AtomicBool::new(false);
    let path = path.to_owned();
    Thread::builder().daemon(true).spawn(|| std::thread::sleep(Duration::from_secs(1000))).expect("starts");
    let slow = Thread::spawn(move || {
        while !RETURNS.load(SeqCst) {
            std::thread::yield_now();
        }
        wait_asleep(std::process::id() as i32); // the first thread: in its wait for this one
        put(&path, "the thread's word");
    });
    drop(slow.expect("starts"));
    RETURNS.store(true, SeqCst);
}

/// Starts two children at each of two levels. Each appends its name.
fn nest(world: &str, argument: &str) {
    let (depth, path) = argument.split_once(' ').expect("a depth and a path");
    let depth: u32 = depth.parse().expect("a number");
    append(Path::new(path), &format!("{}\n", current_process().name()));
    for _ in 0..2 {
        if depth > 0 {
            let argument = format!("{} {path}", depth - 1);
            let child = start_in(world, Process::builder(), "nest", &argument).expect("starts");
            assert!(child.join().expect("is joined").success());
        }
    }
}

/// Ends with a daemon that would run forever, and with another child that it does not join.
fn have_children(world: &str, folder: &Path) {
    let ready = folder.join("daemon");
    let daemon = Process::builder().daemon(true);
    drop(start_in(world, daemon, "tell-and-sleep", ready.to_str().expect("text")).expect("starts"));
    let slow = format!("{}", folder.join("child").display());
    drop(start_in(world, Process::builder(), "say-threads", &slow).expect("starts"));
    let wait_for_them = folder.join("log");
    finalizers::note_at_exit(&wait_for_them, &[0, -1, 1]);
    wait_for(&ready);
}

/// Starts a process that ends with this one, which never ends by itself.
fn leave_bound(world: &str, builder: ProcessBuilder, path: &str) {
    drop(start_in(world, builder.end_with_parent(), "tell-and-sleep", path).expect("starts"));
    crate::harness::rest();
}

/// Starts a process that watches this one, reports that it runs, and never ends by itself.
fn two_generations(world: &str, folder: &Path) {
    let start = |name: &str| {
        let (builder, file) = (Process::builder().daemon(true), folder.join(name));
        drop(start_in(world, builder, "tell-and-be-deaf", file.to_str().expect("text")).expect("starts"));
        wait_for(&file);
    };
    start("daemon");
    // A thread whose end is not that of the process; beside one there is no fork.
    std::thread::scope(|scope| match world {
        Fork::NAME => start("daemon-of-thread"),
        _ => drop(scope.spawn(|| start("daemon-of-thread"))),
    });
    let child = start_in(world, Process::builder().name("watcher"), "watch-parent", folder.to_str().expect("text"));
    drop(child.expect("starts"));
    wait_for(&folder.join("watching"));
    put(&folder.join("ready"), "");
    crate::harness::rest();
}

fn watch_parent(folder: &Path) {
    let parent = parent_process().expect("it was started by one");
    let before = parent.is_alive().expect("a descriptor is left");
    put(&folder.join("watching"), "");
    let ended = parent.join_timeout(Duration::from_secs(40)).expect("can be waited for");
    let after = parent.is_alive().expect("a descriptor is left");
    put(&folder.join("seen"), &format!("{before} {ended} {after}"));
}

// ---- files between the test and its children ------------------------------------------------------------------------

/// A directory that is removed at the end of the test.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        let mut random = [0; 8];
        ossature::sys::random::fill(&mut random).expect("random bytes");
        let path = std::env::temp_dir().join(format!("ossature-{:x}", u64::from_ne_bytes(random)));
        fs::create_dir(&path).expect("a directory can be made");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The path as text, for an argument.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("was written")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // a leftover harms nobody
    }
}

/// Writes the file so that it exists completely or not at all.
pub fn put(path: &Path, text: &str) {
    let half = path.with_extension(format!("half-{}", std::process::id()));
    fs::write(&half, text).expect("can be written");
    fs::rename(half, path).expect("can be renamed");
}

pub fn append(path: &Path, text: &str) {
    use std::io::Write;
    let file = fs::OpenOptions::new().append(true).create(true).open(path);
    file.expect("can be opened").write_all(text.as_bytes()).expect("can be written");
}

/// Waits until the file exists. The alarm of the runner limits the wait.
pub fn wait_for(path: &Path) {
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the first thread of a process sleeps, or has ended.
pub fn wait_asleep(pid: i32) {
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['R', 'D'])) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Makes a descriptor of this process refer to the file.
pub fn redirect(number: i32, path: &Path) {
    use std::os::fd::AsRawFd;
    let file = fs::OpenOptions::new().append(true).create(true).open(path).expect("can be opened");
    // SAFETY: a standard stream, which nobody in this test owns by its number.
    assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), number) }, number);
}

/// Whether a process with that number runs: it has not ended, and is not a zombie.
pub fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Waits for the child, and checks that it ends well.
#[track_caller]
pub fn succeeds(child: Result<Process>) {
    assert_eq!(child.unwrap().join().unwrap(), ExitStatus::Code(0));
}
