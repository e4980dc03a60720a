//! A test runner with one thread. It runs each test under an alarm, and checks afterwards that no child or descriptor
//! is left.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ossature_sys::errno::Errno;
use ossature_sys::signal::{Signal, restore_default};

pub type Test = (&'static str, fn());

/// The number of seconds after which a test counts as hung, on a machine without other load.
const PATIENCE: u32 = 60;

/// The factor by which tests run slower here. The script that sets up an emulator sets this variable.
fn slowness() -> u32 {
    std::env::var("OSSATURE_TEST_SLOWNESS").map_or(1, |factor| factor.parse().expect("a number"))
}

/// The number of instructions between two places at which a test stops a process; it is `usual` on a real machine. An
/// emulator takes a hundred times as long for a traced instruction. A long run uses a smaller stride. Its test then
/// tries more places, and its time limit grows in the same ratio.
#[allow(dead_code, reason = "each test binary uses its part")]
pub fn stride(usual: usize) -> usize {
    let asked = std::env::var("OSSATURE_TEST_STRIDE").map_or(usual, |most| most.parse().expect("a number"));
    if slowness() > 1 {
        return 5 * usual + 2;
    }
    let stride = usual.min(asked).max(1);
    if stride < usual {
        // SAFETY: alarm(2) has no preconditions; its handler is installed before the first test.
        unsafe { libc::alarm(PATIENCE * usual.div_ceil(stride) as u32) };
    }
    stride
}

/// Whether a test tries enough places to reach each state. It does not where it tries few, on a slow machine.
#[allow(dead_code, reason = "each test binary uses its part")]
pub fn tries_all_places() -> bool {
    slowness() == 1
}

/// The name of the running test, for the handler of the alarm.
static RUNNING: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// The variable that passes to a test's programs the number of the process that runs the tests, and the namespace of
/// that number.
const RUNNER_NAME: &str = "OSSATURE_TEST_RUNNER";

/// The process that runs the tests: this process, or the process from which it was forked.
static RUNNER: AtomicI32 = AtomicI32::new(0);

// SAFETY: POSIX declares it so; missing from the libc crate.
unsafe extern "C" {
    fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> libc::c_int;
}

/// The namespace in which process numbers have the same meaning.
fn pid_namespace() -> String {
    fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Makes the kernel kill a waiting child of the runner when the runner ends for any reason.
extern "C" fn end_with_the_runner() {
    // SAFETY: getppid(2) has no preconditions, and is allowed after a fork.
    if unsafe { libc::getppid() } == RUNNER.load(SeqCst) {
        // SAFETY: prctl(2) takes numbers with this request, and is allowed after a fork.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) };
    }
}

/// Makes this process the one that runs the tests.
pub fn become_the_runner() {
    let pid = std::process::id() as i32;
    if RUNNER.swap(pid, SeqCst) == 0 {
        // SAFETY: pthread_atfork(3) takes a function that lives as long as the program.
        assert_eq!(unsafe { pthread_atfork(None, None, Some(end_with_the_runner)) }, 0);
    }
    // SAFETY: this process has one thread, or an emulator's besides, which does not look at the environment.
    unsafe { std::env::set_var(RUNNER_NAME, format!("{pid} {}", pid_namespace())) };
}

/// Sleeps until the test ends this process. The process ends by itself when the process that runs the tests has ended,
/// so that a killed test program leaves no process behind.
#[allow(dead_code, reason = "each test binary uses its part")]
pub fn rest() -> ! {
    use ossature_sys::poll::{PollFd, PollFlags, poll};
    use ossature_sys::process::{Pid, pidfd_open};
    let told = std::env::var(RUNNER_NAME).unwrap_or_default();
    let runner = told.split_once(' ').filter(|(_, namespace)| *namespace == pid_namespace());
    match runner.and_then(|(pid, _)| Pid::from_raw(pid.parse().ok()?)).map(pidfd_open) {
        // A signal that is handled here is no reason to wake.
        Some(Ok(runner)) => {
            while poll(&mut [PollFd::new(&runner, PollFlags::IN)], Duration::from_secs(1000)) != Ok(1) {}
        }
        // It has ended already.
        Some(Err(Errno::SRCH)) => {}
        // It has no number in another namespace, or there is no descriptor left.
        _ => loop {
            std::thread::park();
        },
    }
    ossature_sys::process::exit(99)
}

pub fn run(tests: &[Test]) {
    run_where(tests, |_| true, |_| true)
}

/// Like [`run`]. Only the tests for which `forks` is true need this process to have one thread, and only those for
/// which `possible` is true can be run on this system.
pub fn run_where(tests: &[Test], forks: impl Fn(&str) -> bool, possible: impl Fn(&str) -> bool) {
    let Choice { wanted, skipped, list } = Choice::of(std::env::args().skip(1));
    if list {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let threads = threads();
    let (mut passed, mut failed, mut left_out) = (0, 0, 0);
    let mut runnable = tests.to_vec();
    runnable.retain(|(name, _)| possible(name));
    if runnable.len() < tests.len() {
        left_out = tests.len() - runnable.len();
        println!("SKIPPED: {left_out} tests, for this system lacks what they are about");
    }
    if threads > 1 {
        // An emulator of user space has helper threads in the very process, which the kernel counts like any other.
        let before = runnable.len();
        runnable.retain(|(name, _)| !forks(name));
        left_out = tests.len() - runnable.len();
        let these = before - runnable.len();
        println!("SKIPPED: {these} tests, for the kernel counts {threads} threads before the first test");
    }
    become_the_runner();
    arm_alarm();
    let patience = PATIENCE * slowness();
    // A shell without job control has what it starts in the background ignore interrupts, which children would inherit.
    restore_default(Signal::INT).expect("an interrupt can have its default action");
    for &(name, test) in &runnable {
        let named_in = |list: &[String]| list.iter().any(|part| name.contains(part.as_str()));
        if (!wanted.is_empty() && !named_in(&wanted)) || named_in(&skipped) {
            left_out += 1;
            continue;
        }
        RUNNING[0].store(name.as_ptr() as usize, SeqCst);
        RUNNING[1].store(name.len(), SeqCst);
        if forks(name) {
            await_threads(threads);
        }
        let before = descriptors();
        let start = Instant::now();
        // SAFETY: alarm(2) has no preconditions; its handler is installed.
        unsafe { libc::alarm(patience) };
        let mut ok = catch_unwind(test).is_ok();
        // SAFETY: as above.
        unsafe { libc::alarm(0) };
        if has_children() {
            eprintln!("{name}: left a child behind");
            ok = false;
        }
        if let Some(after) = await_descriptors(&before) {
            eprintln!("{name}: descriptors before {before:?}, after {after:?}");
            ok = false;
        }
        println!("test {name} ... {} ({:.2?})", if ok { "ok" } else { "FAILED" }, start.elapsed());
        if ok { passed += 1 } else { failed += 1 }
    }
    println!("{passed} passed, {failed} failed");
    // The line that libtest prints, for whoever counts.
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {left_out} filtered out"
    );
    if failed > 0 {
        std::process::exit(1);
    }
}

/// The choice of tests on the command line, as libtest accepts it: parts of names, `--skip PART`, `--list`.
struct Choice {
    wanted: Vec<String>,
    skipped: Vec<String>,
    list: bool,
}

impl Choice {
    fn of(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut choice = Self { wanted: Vec::new(), skipped: Vec::new(), list: false };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--skip" => choice.skipped.extend(arguments.next()),
                "--list" => choice.list = true,
                // The rest of libtest's options mean nothing to one thread.
                option if option.starts_with('-') => {}
                _ => choice.wanted.push(argument),
            }
        }
        choice
    }
}

/// Waits a while for the threads of the last test: a scope of std waits for their closures, not for their ends.
fn await_threads(most: u64) {
    let end = Instant::now() + Duration::from_secs(2) * slowness();
    while threads() > most && Instant::now() < end {
        std::thread::yield_now();
    }
}

/// Waits a while until the same descriptors are open as before. A thread that a server has told to end closes its
/// descriptors a moment after the server's end. Returns the open descriptors if they differ.
fn await_descriptors(before: &BTreeMap<i32, String>) -> Option<BTreeMap<i32, String>> {
    let end = Instant::now() + Duration::from_secs(2) * slowness();
    loop {
        let now = descriptors();
        if now == *before {
            return None;
        }
        if Instant::now() >= end {
            return Some(now);
        }
        std::thread::yield_now();
    }
}

/// The number of threads of this process as the kernel counts them.
fn threads() -> u64 {
    fs::metadata("/proc/self/task").map_or(1, |task| task.nlink() - 2)
}

/// Makes a pipe as files of std: the read end and the write end.
pub fn pipe() -> (File, File) {
    let (reader, writer) = ossature_sys::pipe::pipe(ossature_sys::pipe::Flags::empty()).expect("descriptors are left");
    (reader.into(), writer.into())
}

/// Whether this process has a child, running or dead. A dead child is reaped, so that it fails only one test.
pub fn has_children() -> bool {
    // SAFETY: waitpid(2) may be given a null pointer for the status.
    let answer = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) };
    answer != -1 || std::io::Error::last_os_error().raw_os_error() != Some(Errno::CHILD.raw_os_error())
}

/// The open descriptors and the files that they refer to.
pub fn descriptors() -> BTreeMap<i32, String> {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc is mounted").flatten();
    let open = entries.filter_map(|entry| {
        let number = entry.file_name().to_string_lossy().parse().expect("descriptors are numbers");
        let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
        (!target.ends_with("/fd")).then_some((number, target))
    });
    open.collect()
}

/// Restarts the time limit of the running test: it has several parts, each of which may take that long.
#[allow(dead_code, reason = "each test binary uses its part")]
pub fn begin_anew() {
    // SAFETY: alarm(2) has no preconditions; its handler is installed before the first test.
    unsafe { libc::alarm(PATIENCE * slowness()) };
}

extern "C" fn hung(_: libc::c_int) {
    let name = (RUNNING[0].load(SeqCst) as *const u8, RUNNING[1].load(SeqCst));
    for (text, len) in [(c"HANG: ".as_ptr().cast(), 6), name, (c"\n".as_ptr().cast(), 1)] {
        // SAFETY: write(2) is async-signal-safe; the texts are static, and the name is that of a static table.
        unsafe { libc::write(2, text.cast(), len) };
    }
    // Where: the system call, its arguments and the place in the program.
    let mut place = [0_u8; 256];
    // SAFETY: open(2) is async-signal-safe, the path ends with a null.
    let file = unsafe { libc::open(c"/proc/self/syscall".as_ptr(), libc::O_RDONLY) };
    // SAFETY: read(2) writes at most that many bytes there.
    let len = unsafe { libc::read(file, place.as_mut_ptr().cast(), place.len()) };
    // SAFETY: write(2) reads what was read.
    unsafe { libc::write(2, place.as_ptr().cast(), len.max(0) as usize) };
    // SAFETY: _exit(2) has no preconditions.
    unsafe { libc::_exit(1) }
}

fn arm_alarm() {
    let handler: extern "C" fn(libc::c_int) = hung;
    // SAFETY: the handler makes async-signal-safe calls only.
    unsafe { libc::signal(libc::SIGALRM, handler as libc::sighandler_t) };
}

/// Runs `hold` in a child, and kills the child once it has the result of `hold`.
#[allow(dead_code, reason = "the test programs of the crate above use it")]
#[track_caller]
pub fn killed_holding<G>(hold: impl FnOnce() -> G) {
    let (mut told, tell) = pipe();
    let mut child = ossature_sys::process::fork(|| {
        let _held = hold();
        (&tell).write_all(b"h").expect("the parent listens");
        rest()
    })
    .expect("one thread");
    told.read_exact(&mut [0]).expect("the child tells that it holds");
    child.kill().expect("a child can be killed");
    assert_eq!(child.wait().expect("a child can be waited for").signal(), Some(9));
}

/// Undoes a test's changes to the whole process, also if the test panics.
#[must_use = "dropping this undoes it at once"]
pub struct Afterwards<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for Afterwards<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
