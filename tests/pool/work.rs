//! The functions that the workers of the tests run.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ossature::Result;
use ossature::multiprocessing::shared_memory::SharedMemory;
use ossature::multiprocessing::{
    Array, Context, Pool, Tasks, Value, current_process, get_start_method, stop_forkserver, tasks,
};
use ossature::sys::process::Signal;
use ossature::sys::signal::raise;
use serde::{Deserialize, Serialize, Serializer};

pub static TASKS: Tasks = tasks![
    square,
    add,
    say,
    long,
    pid,
    name,
    fail_at,
    parse,
    exit_with,
    kill_self,
    kill_self_once,
    kill_self_later_once,
    note,
    note_and_wait,
    note_with,
    note_with_and_wait,
    wait_for,
    rest,
    rest_deaf,
    note_deaf,
    allocate,
    nest,
    unsendable,
    unreadable,
    set_up,
    set_up_badly,
    what_was_set_up,
    sum,
    handed,
    step,
    step_softly,
    pid_slowly,
    set_up_slowly,
    value_of,
    note_long,
    trapped,
    take_trap,
    fail_at_length,
    acquire,
    kill_self_with,
    kill_self_later,
    say_number,
    set_up_named,
    read_named,
    processors,
    fill,
    kill_self_at,
    panic_for_good,
    say_in_the_log,
    fail_at_seven,
    count_in,
    count_and_die_at_13,
    count_and_die_once_at_13,
    mirror,
    sum_of_block,
    sum_of_nothing,
    crate::carried::through,
    crate::carried::same,
    crate::carried::same_of_one,
    crate::carried::die_once,
    crate::carried::nap,
    crate::carried::keep,
    crate::carried::hold,
    crate::carried::many,
    crate::carried::count_of,
    crate::carried::echo,
];

pub fn square(number: u64) -> u64 {
    number * number
}

pub fn add(a: i32, b: i32) -> i32 {
    a + b
}

pub fn say() -> String {
    "said".into()
}

/// Returns a text of `length` bytes.
pub fn long(length: usize) -> Vec<u8> {
    (0..length).map(|at| at as u8).collect()
}

/// Records that the call has begun, and returns a text of `length` bytes.
pub fn note_long(place: PathBuf, number: u64, length: usize) -> Vec<u8> {
    note(place, number);
    long(length)
}

pub fn sum(bytes: Vec<u8>) -> u64 {
    bytes.into_iter().map(u64::from).sum()
}

pub fn pid() -> u32 {
    std::process::id()
}

pub fn pid_slowly(millis: u64) -> u32 {
    rest(millis);
    pid()
}

pub fn name() -> (String, bool) {
    (current_process().name(), current_process().daemon())
}

pub fn fail_at(at: u32, number: u32) -> u32 {
    assert!(number != at, "no more paper at {number}");
    number
}

pub fn parse(text: String) -> std::result::Result<u32, std::num::ParseIntError> {
    text.parse()
}

pub fn exit_with(code: i32) {
    std::process::exit(code)
}

pub fn kill_self() {
    raise(Signal::KILL).expect("a process may kill itself");
}

/// Panics where nothing unwinds, as everywhere in a program built with `panic = "abort"`.
pub fn panic_for_good(text: String) {
    extern "C" fn no_way_out(text: &String) {
        panic!("{text}")
    }
    ossature::sys::process::set_rlimit(
        ossature::sys::process::Resource::Core,
        ossature::sys::process::Rlimit { current: Some(0), maximum: Some(0) },
    )
    .expect("a limit can be lowered");
    no_way_out(&text)
}

/// Logs on all levels, and dies if `dies`.
pub fn say_in_the_log(text: String, dies: bool) {
    log::warn!("{text}");
    log::info!(target: "elsewhere", "{text}!");
    log::debug!("{text}?");
    if dies {
        kill_self();
    }
}

pub fn fail_at_seven(number: u32) -> u32 {
    assert_ne!(number, 7, "no more paper");
    number
}

static COUNTS: OnceLock<Array<u64>> = OnceLock::new();

/// Keeps an array that counts the calls.
pub fn count_in(counts: Array<u64>) {
    let _ = COUNTS.set(counts);
}

fn count(number: u64) -> u64 {
    let counts = COUNTS.get().expect("the initializer runs first");
    let mut counts = counts.lock().expect("nobody is killed with the lock");
    counts[number as usize] += 1;
    counts[number as usize]
}

pub fn count_and_die_at_13(number: u64) -> u64 {
    count(number);
    if number == 13 {
        kill_self();
    }
    number + 1
}

pub fn count_and_die_once_at_13(number: u64) -> u64 {
    if count(number) == 1 && number == 13 {
        kill_self();
    }
    number + 1
}

ossature::sys::shareable! {
    /// A plain struct.
    #[derive(Debug, Serialize, Deserialize)]
    pub plain struct Point {
        pub x: f64,
        pub y: f64,
    }
}

pub fn mirror(point: Point) -> Point {
    Point { x: point.y, y: point.x }
}

pub fn sum_of_block(block: [u64; 32]) -> u64 {
    block.iter().sum()
}

pub fn sum_of_nothing(_: [u8; 0]) -> u64 {
    3
}

/// Dies if the number is 1.
pub fn kill_self_at(number: u32) {
    if number == 1 {
        kill_self();
    }
}

/// Dies on the first attempt.
pub fn kill_self_once(place: PathBuf) -> u32 {
    if File::options().write(true).create_new(true).open(&place).is_ok() {
        kill_self();
    }
    7
}

/// Dies on the first attempt, once there is a file `die`.
pub fn kill_self_later_once(place: PathBuf) -> u32 {
    if File::options().write(true).create_new(true).open(place.join("begun")).is_ok() {
        wait_for(place.join("die"));
        kill_self();
    }
    7
}

/// Records that the call has begun, by one more byte in a file.
pub fn note(place: PathBuf, number: u64) -> u64 {
    let mut file = File::options().append(true).create(true).open(place.join(number.to_string())).expect("opens");
    file.write_all(b"x").expect("writes");
    number
}

/// Records that the call has begun, and ends when there is a file `go`.
pub fn note_and_wait(place: PathBuf, number: u64) -> u64 {
    note(place.clone(), number);
    wait_for(place.join("go"));
    number
}

/// Like [`note`], with a long argument.
pub fn note_with(place: PathBuf, number: u64, _: Vec<u8>) -> u64 {
    note(place, number)
}

/// Like [`note_and_wait`], with a long argument.
pub fn note_with_and_wait(place: PathBuf, number: u64, _: Vec<u8>) -> u64 {
    note_and_wait(place, number)
}

/// Records that the call has begun; the sixth call then waits to be killed.
pub fn step((place, number): (PathBuf, u64)) -> u64 {
    note(place.clone(), number);
    if number == 5 {
        wait_for(place.join("never"));
    }
    number
}

/// Records the worker, and that the call has begun, and takes a moment.
pub fn step_softly((place, number): (PathBuf, u64)) -> u64 {
    let workers = place.join("workers");
    let _ = std::fs::create_dir(&workers); // another has
    File::create(workers.join(std::process::id().to_string())).expect("can be made");
    note(place, number);
    std::thread::sleep(Duration::from_micros(300));
    number
}

pub fn wait_for(file: PathBuf) {
    let begun = Instant::now();
    while !file.exists() && begun.elapsed() < Duration::from_secs(50) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn rest(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

/// Ignores `SIGTERM`.
pub fn rest_deaf() {
    ossature::sys::signal::ignore(Signal::TERM).expect("a signal can be ignored");
    std::thread::sleep(Duration::from_secs(50));
}

/// Like `rest_deaf`, and records that it ignores the signal.
pub fn note_deaf(place: PathBuf) {
    ossature::sys::signal::ignore(Signal::TERM).expect("a signal can be ignored");
    File::create(place.join("deaf")).expect("can be made");
    std::thread::sleep(Duration::from_secs(50));
}

/// Allocates memory until there is none.
pub fn allocate() -> usize {
    use ossature::sys::process::{Resource, Rlimit, set_rlimit};
    let most = 1 << 30;
    set_rlimit(Resource::As, Rlimit { current: Some(most), maximum: Some(most) }).expect("a limit can be lowered");
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(vec![1; 16 << 20]);
    }
}

/// Makes a pool within a pool. Returns the error.
pub fn nest() -> String {
    Pool::builder().workers(1).context(Context::Fork).build().err().map_or_else(String::new, |error| error.to_string())
}

/// A value that cannot be serialised.
#[derive(Debug, Deserialize)]
pub struct Unsendable;

impl Serialize for Unsendable {
    fn serialize<S: Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it is not for sending"))
    }
}

pub fn unsendable() -> Unsendable {
    Unsendable
}

/// An argument that cannot be deserialised.
#[derive(Debug)]
pub struct Unreadable(pub u32);

impl Serialize for Unreadable {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        (self.0, self.0).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        match <(u32, u32)>::deserialize(from)?.0 {
            0 => Err(serde::de::Error::custom("it is not for reading")),
            1 => panic!("it must not be read"),
            number => Ok(Self(number)),
        }
    }
}

pub fn unreadable(argument: Unreadable) -> u32 {
    argument.0
}

/// When a [`Trap`] acts.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub enum When {
    Never,
    Written,
    Read,
}

/// The action of a [`Trap`].
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub enum Snap {
    Fails,
    Panics,
    Exits,
    Dies,
}

/// A value that fails, panics or ends its process when it is written or read. The parent writes an argument, and the
/// worker reads it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Trap(pub When, pub Snap);

impl Snap {
    fn snap(self) -> std::result::Result<(), &'static str> {
        match self {
            Self::Fails => return Err("it is a trap"),
            Self::Panics => panic!("planted: it is a trap"),
            Self::Exits => std::process::exit(3),
            Self::Dies => kill_self(),
        }
        Ok(())
    }
}

impl Serialize for Trap {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        if self.0 == When::Written {
            self.1.snap().map_err(serde::ser::Error::custom)?;
        }
        (self.0, self.1).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let (when, snap) = <(When, Snap)>::deserialize(from)?;
        if when == When::Read {
            snap.snap().map_err(serde::de::Error::custom)?;
        }
        Ok(Self(when, snap))
    }
}

/// Returns a trap: the worker writes it, and the parent reads it.
pub fn trapped(when: When, snap: Snap) -> Trap {
    Trap(when, snap)
}

pub fn take_trap(_: Trap) {}

/// Panics with a long text.
pub fn fail_at_length(length: usize) {
    panic!("{}", "x".repeat(length));
}

pub fn acquire() -> u32 {
    let (_, gate) = SET_UP.get().expect("the initializer runs first");
    let begun = Instant::now();
    while gate.get().expect("nobody is killed with the lock") < 100 && begun.elapsed() < Duration::from_secs(50) {
        std::thread::sleep(Duration::from_millis(1));
    }
    pid()
}

pub fn say_number(number: u32) -> String {
    number.to_string()
}

/// Records that the call has begun, and dies once there is a file `die`.
pub fn kill_self_later(place: PathBuf) {
    File::create(place.join("begun")).expect("can be made");
    wait_for(place.join("die"));
    kill_self();
}

pub fn kill_self_with(_: Vec<u8>) {
    kill_self();
}

/// Returns a value with a descriptor in it.
pub fn handed() -> Value<u32> {
    Value::new(7).expect("there is memory")
}

pub fn value_of(value: Value<u32>) -> u32 {
    value.get().expect("nobody is killed with the lock")
}

static SET_UP: OnceLock<(String, Value<u32>)> = OnceLock::new();

pub fn set_up(text: String, count: Value<u32>) -> Result<()> {
    count.with(|count| *count += 1)?;
    let _ = SET_UP.set((text, count));
    Ok(())
}

static NAMED: OnceLock<SharedMemory> = OnceLock::new();

/// Keeps a named block of memory.
pub fn set_up_named(block: SharedMemory) {
    let _ = NAMED.set(block);
}

pub fn read_named() -> u8 {
    NAMED.get().expect("the initializer runs first").get(0).expect("it has a byte")
}

/// The processors on which this worker runs.
pub fn processors() -> Vec<usize> {
    ossature::sys::sched::affinity(None).expect("its own").iter().collect()
}

/// Has `bytes` bytes of memory for a moment. Returns the number of the process.
pub fn fill(bytes: usize) -> u32 {
    std::hint::black_box(vec![1_u8; bytes]);
    pid()
}

pub fn set_up_badly(text: String) {
    panic!("{text}")
}

pub fn set_up_slowly(millis: u64) -> (String, u32) {
    rest(millis);
    what_was_set_up()
}

pub fn what_was_set_up() -> (String, u32) {
    let (text, count) = SET_UP.get().expect("the initializer runs first");
    (text.clone(), count.get().expect("nobody is killed with the lock"))
}

// ---- for the tests themselves -------------------------------------------------------------------------------------

/// The start methods of a pool.
pub const CONTEXTS: [Context; 3] = [Context::Fork, Context::Spawn, Context::Forkserver];

/// Runs a test with a pool of each context.
pub fn in_all(workers: usize, test: impl Fn(&Pool)) {
    for context in CONTEXTS {
        let pool = Pool::builder().workers(workers).context(context).build().expect("starts");
        test(&pool);
        pool.close().expect("closes");
        assert!(pool.join_timeout(Duration::from_secs(30)).expect("is waited for"), "{context}: its workers go on");
        drop(pool);
        if context == Context::Forkserver {
            assert!(stop_forkserver(Duration::from_secs(30)).expect("can be waited for"), "the server does not end");
        }
    }
}

/// Makes a pool with the cheapest start method.
pub fn forked(workers: usize) -> Pool {
    let _ = get_start_method();
    Pool::builder().workers(workers).context(Context::Fork).build().expect("starts")
}

/// Waits for the end of the thread that runs the callbacks, which may outlive its pool for a moment.
pub fn alone() {
    soon(|| std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1));
}

/// A new directory, removed at the end.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ossature-pool-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("can be made");
        Self(path)
    }

    pub fn path(&self) -> PathBuf {
        self.0.clone()
    }

    /// Waits until there is a file with this name.
    pub fn wait(&self, name: impl AsRef<Path>) {
        let path = self.0.join(name);
        soon(|| path.exists());
    }

    /// The number of times that a call has begun.
    pub fn begun(&self, number: u64) -> usize {
        std::fs::read(self.0.join(number.to_string())).map_or(0, |bytes| bytes.len())
    }

    pub fn put(&self, name: &str) {
        File::create(self.0.join(name)).expect("can be made");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until `is_so` returns true.
#[track_caller]
pub fn soon(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}
