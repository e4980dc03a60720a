//! A forked process, from its start until its parent has waited for it.

use std::io::Write;
use std::time::Duration;

use ossature::multiprocessing::Process;
use ossature_benches::bench::Bench;
use ossature_benches::python::Pythons;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rounds::Rounds;

/// The amount of memory that the parent has touched, and whose page tables a fork copies.
const PARENT: usize = 16 << 20;

fn ours() {
    let process = Process::fork(|| ()).expect("forks");
    assert!(process.join().expect("is joined").success());
}

/// A child that ends at once, by the bare calls.
pub fn raw() {
    // SAFETY: this process has one thread, and the child leaves at once without running anything of ours.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: _exit(2) ends the child.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: waitpid(2) writes the status of our own child.
    let reaped = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert!(reaped == child && status == 0);
}

/// Checks the result of a call that returns -1 after an error.
fn checked(result: libc::c_int) -> libc::c_int {
    assert!(result >= 0, "{}", std::io::Error::last_os_error());
    result
}

/// A child that ends at once, by the bare calls, with what a process of this crate has. The caller proves that it is
/// the only thread, and buffers are written once. The handle is a pidfd, and a pipe is there for the report of a panic.
/// The child does not share its parent's input. A library with these promises cannot do less.
fn by_hand() {
    // SAFETY: a sigaction is plain data, and all zeroes are one.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: sigaction(2) writes the present action.
    checked(unsafe { libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut action) });
    assert_eq!(action.sa_sigaction, libc::SIG_DFL, "the kernel keeps the status of the child");
    // SAFETY: the call changes nothing in a process with one thread, and fails in others.
    checked(unsafe { libc::unshare(libc::CLONE_VM) });
    let _ = std::io::stdout().flush();
    let mut ends = [0; 2];
    // SAFETY: pipe2(2) writes two numbers.
    checked(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) });
    let close = |number| {
        // SAFETY: each number is one that this function has opened, and is closed once.
        checked(unsafe { libc::close(number) });
    };
    // SAFETY: open(2) reads a path that ends with zero. There is a free number for the handle.
    close(checked(unsafe { libc::open(c"/".as_ptr(), libc::O_PATH | libc::O_CLOEXEC) }));
    // SAFETY: this process has one thread, and the child leaves at once.
    let child = checked(unsafe { libc::fork() });
    if child == 0 {
        close(ends[0]);
        // SAFETY: a stat is plain numbers, and all zeroes are one.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: fstat(2) writes one stat.
        checked(unsafe { libc::fstat(0, &raw mut stat) });
        if stat.st_mode & libc::S_IFMT != libc::S_IFCHR {
            // SAFETY: open(2) reads a path that ends with zero.
            let null = checked(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) });
            // SAFETY: standard input is replaced, which nobody reads in this child.
            checked(unsafe { libc::dup2(null, 0) });
            close(null);
        }
        let ended = std::panic::catch_unwind(|| ());
        close(ends[1]);
        let _ = std::io::stdout().flush();
        // SAFETY: _exit(2) ends the child.
        unsafe { libc::_exit(i32::from(ended.is_err())) };
    }
    // SAFETY: pidfd_open(2) takes numbers.
    let handle = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) } as libc::c_int);
    close(ends[1]);
    let mut ended = libc::pollfd { fd: handle, events: libc::POLLIN, revents: 0 };
    // SAFETY: poll(2) reads and writes one entry.
    checked(unsafe { libc::poll(&raw mut ended, 1, -1) });
    // SAFETY: a siginfo is plain data, and all zeroes are one.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: waitid(2) writes one siginfo.
    checked(unsafe { libc::waitid(libc::P_PIDFD, handle as libc::id_t, &raw mut info, libc::WEXITED) });
    // SAFETY: waitid(2) has filled the part of an ended child.
    assert_eq!((info.si_code, unsafe { info.si_status() }), (libc::CLD_EXITED, 0));
    close(ends[0]);
    close(handle);
}

/// Measures a child that does nothing, of a parent with 16 MiB of touched memory.
pub fn beside_the_raw_calls(bench: &Bench) {
    if !bench.wants("fork-16-mib") {
        return;
    }
    let memory = vec![1_u8; PARENT];
    let mut rounds = Rounds::new();
    rounds.add("ours", ours);
    rounds.add("by-hand", by_hand);
    rounds.add("fork(2)", raw);
    let samples = rounds.run(bench.scaled(300), Duration::from_millis(3));
    assert_eq!(std::hint::black_box(&memory).len(), PARENT);
    bench.compare("fork-16-mib", &samples, "ours", "fork(2)", Bar::AtMost(1.10));
    bench.compare("fork-16-mib", &samples, "ours", "by-hand", Bar::AtMost(1.10));
}

/// The page faults of this process and of its reaped children.
fn faults() -> u64 {
    let of = |who| {
        // SAFETY: a rusage is plain numbers, and all zeroes are one.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: getrusage(2) fills the struct it is given.
        assert_eq!(unsafe { libc::getrusage(who, &raw mut usage) }, 0, "getrusage");
        usage.ru_minflt as u64
    };
    of(libc::RUSAGE_SELF) + of(libc::RUSAGE_CHILDREN)
}

/// Measures the page faults of one process from its start until its parent has waited for it, including the parent's.
pub fn page_faults(bench: &Bench) {
    let row = "fork-page-faults";
    if !bench.wants(row) {
        return;
    }
    let each = |start: fn()| {
        const STARTS: u64 = 200;
        start();
        let before = faults();
        (0..STARTS).for_each(|_| start());
        (faults() - before) as f64 / STARTS as f64
    };
    let (ours, by_hand, raw) = (each(ours), each(by_hand), each(raw));
    let line = |rival: &str, theirs, bar| {
        let (row, rival) = (row.to_owned(), rival.to_owned());
        bench.print(Line { row, unit: Unit::PageFaults, ours, rival, theirs: Some(theirs), ratio: None, bar });
    };
    line("limit", 20.0, Bar::AtMost(1.0));
    line("fork(2)", raw, Bar::Plus(6.0));
    line("by-hand", by_hand, Bar::Plus(6.0));
}

/// Measures the same child of a parent that has just begun, beside the same child in CPython.
pub fn beside_cpython(bench: &Bench) {
    if !bench.wants("fork-cpython") && !bench.wants("fork-small") {
        return;
    }
    let setup = ["import multiprocessing", "multiprocessing.set_start_method('fork')", "def child(): pass"];
    let python = Pythons::start(&[
        setup[0],
        setup[1],
        setup[2],
        "exec('def run():\\n p = multiprocessing.Process(target=child)\\n p.start()\\n p.join()')",
    ]);
    let mut rounds = Rounds::new();
    rounds.add("ours", ours);
    rounds.add("by-hand", by_hand);
    rounds.add("fork(2)", raw);
    python.add(&mut rounds, "run()");
    let samples = rounds.run(bench.scaled(200), Duration::from_millis(3));
    python.compare(bench, "fork-cpython", &samples, "ours", Bar::AtMost(0.10));
    python.compare(bench, "fork-cpython-floor", &samples, "fork(2)", Bar::AtMost(0.10));
    // The bare calls keep none of the promises of a process.
    bench.compare("fork-small-floor", &samples, "by-hand", "fork(2)", Bar::AtMost(1.20));
    let bar = Bar::above_floor(1.20, samples.ratio("by-hand", "fork(2)"));
    bench.compare("fork-small", &samples, "ours", "fork(2)", bar);
    bench.compare("fork-small", &samples, "ours", "by-hand", Bar::AtMost(1.20));
}
