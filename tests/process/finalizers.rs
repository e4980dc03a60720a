//! Finalizers, and the order of the end of a process.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ossature::multiprocessing::util::{Finalize, is_exiting, set_daemon_grace};
use ossature::multiprocessing::{Process, pipe};
use ossature::threading::Thread;

use crate::worlds::{Scratch, Spawn, World, append, put, runs, wait_for};

pub const ALONE: &[crate::harness::Test] = &[
    ("a_finalizer_runs_once_and_may_be_cancelled", a_finalizer_runs_once_and_may_be_cancelled),
    ("a_finalizer_does_nothing_in_a_forked_child", a_finalizer_does_nothing_in_a_forked_child),
    ("a_finalizer_that_panics_stops_no_other", a_finalizer_that_panics_stops_no_other),
    ("finalizers_come_and_go_while_they_run", finalizers_come_and_go_while_they_run),
    ("a_program_that_exits_has_the_same_end", a_program_that_exits_has_the_same_end),
    ("values_can_be_sent_to_the_very_end", values_can_be_sent_to_the_very_end),
    ("a_daemon_that_does_not_listen_is_killed_when_its_time_is_over", a_daemon_that_does_not_listen_is_killed),
    ("a_daemon_that_is_started_while_the_daemons_end_is_ended_too", a_daemon_that_comes_late_is_ended_too),
];

crate::in_every_world![finalizers_run_in_their_order, daemons_end_and_others_are_waited_for];

fn note(path: &Path, word: &'static str) -> impl FnOnce() + Send + 'static {
    let path = path.to_owned();
    move || append(&path, &format!("{word} "))
}

/// Registers finalizers that append their priority, and whether the process was ending.
pub fn note_at_exit(path: &Path, priorities: &[i32]) {
    for &priority in priorities {
        let path = path.to_owned();
        let note = move || append(&path, &format!("{priority}:{} ", is_exiting()));
        Finalize::at_exit(priority, note).leave();
    }
}

/// Registers the same finalizers as CPython's test.
pub fn all_kinds(path: &Path) {
    struct Holder(#[expect(dead_code, reason = "it runs when this is dropped")] Finalize);
    drop(Holder(Finalize::new(note(path, "a"))));
    let b = Finalize::new(note(path, "b"));
    assert!(b.call() && !b.call());
    drop(b);
    // Alive to the end of the process, and not for exit.
    std::mem::forget(Holder(Finalize::new(note(path, "c"))));
    Finalize::at_exit(1, note(path, "d10")).leave();
    for word in ["d01", "d02", "d03"] {
        Finalize::at_exit(0, note(path, word)).leave();
    }
    Finalize::at_exit(-10, note(path, "e")).leave();
    Finalize::at_exit(-100, note(path, "stop")).leave();
}

// _TestFinalize.test_finalize
fn finalizers_run_in_their_order<W: World>() {
    let scratch = Scratch::new();
    let child = W::start("finalize", &scratch.text("log"));
    assert!(child.join().unwrap().success());
    assert_eq!(scratch.read("log"), "a b d10 d03 d02 d01 e stop ");
}

fn daemons_end_and_others_are_waited_for<W: World>() {
    let scratch = Scratch::new();
    let child = W::start("have-children", &scratch.text(""));
    assert!(child.join().unwrap().success());
    assert_eq!(scratch.read("log"), "1:true 0:true -1:true ");
    let told = scratch.read("daemon");
    let pid = told.lines().find_map(|line| line.strip_prefix("pid ")).unwrap();
    assert!(!runs(pid.parse().unwrap()), "the daemon was ended and waited for");
    assert_eq!(scratch.read("child"), "the thread's word", "the other was waited for");
}

fn a_finalizer_runs_once_and_may_be_cancelled() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    let first = Finalize::new(note(&log, "first"));
    assert!(first.is_active());
    assert_eq!(format!("{first:?}"), "<Finalize object>");
    assert!(first.call() && !first.call() && !first.is_active());
    assert_eq!(format!("{first:?}"), "<Finalize object, dead>");
    let second = Finalize::at_exit(5, note(&log, "second"));
    assert_eq!(format!("{second:?}"), "<Finalize object, exitpriority=5>");
    second.cancel();
    assert!(!second.is_active() && !second.call());
    drop((first, second));
    assert_eq!(scratch.read("log"), "first ");
}

fn a_finalizer_does_nothing_in_a_forked_child() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    let finalize = Finalize::at_exit(0, note(&log, "ran"));
    let child = Process::fork(|| {
        assert!(!finalize.is_active() && !finalize.call());
        assert_eq!(format!("{finalize:?}"), "<Finalize object, dead>");
    });
    assert!(child.unwrap().join().unwrap().success());
    let mut child = ossature::sys::process::fork(|| u8::from(finalize.call())).unwrap();
    assert!(child.wait().unwrap().success(), "nor in one of another's making");
    assert!(!log.exists() && finalize.is_active());
    drop(finalize);
    assert_eq!(scratch.read("log"), "ran ");
}

fn a_finalizer_that_panics_stops_no_other() {
    let scratch = Scratch::new();
    let log = scratch.path("log");
    let child = Process::fork(|| {
        Finalize::at_exit(1, || panic!("a finalizer panics; this line is meant to be seen")).leave();
        Finalize::at_exit(0, note(&log, "after")).leave();
        let late = log.clone();
        Finalize::at_exit(2, move || Finalize::at_exit(-1, note(&late, "late")).leave()).leave();
        let cancelled = Finalize::at_exit(0, note(&log, "cancelled"));
        Finalize::at_exit(3, move || cancelled.cancel()).leave();
    });
    assert!(child.unwrap().join().unwrap().success());
    assert_eq!(scratch.read("log"), "after late ");
}

// _TestFinalize.test_thread_safety
fn finalizers_come_and_go_while_they_run() {
    let child = Process::fork(|| {
        static STOP: AtomicBool = AtomicBool::new(false);
        static TURNS: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
        for turn in 0..3 {
            // A daemon, so that the end does not wait for it before it comes to the finalizers.
            let thread = Thread::builder().daemon(true).spawn(move || {
                while !STOP.load(SeqCst) {
                    let mut kept = Vec::new();
                    for n in 0..10 {
                        kept.push(Finalize::at_exit(n * turn % 7, || ()));
                    }
                    kept.into_iter().step_by(2).for_each(Finalize::leave);
                    TURNS[turn as usize].fetch_add(1, SeqCst);
                }
            });
            thread.unwrap();
        }
        let see_turns = || {
            for turns in &TURNS {
                let before = turns.load(SeqCst);
                while turns.load(SeqCst) < before + 10 {
                    std::thread::yield_now();
                }
            }
        };
        see_turns();
        // Those run at the end of this, while the threads make others.
        Finalize::at_exit(0, see_turns).leave();
        Finalize::at_exit(-1, move || {
            see_turns();
            STOP.store(true, SeqCst);
        })
        .leave();
    });
    assert!(child.unwrap().join().unwrap().success());
}

/// The end of a program, not of a child's work: a forked process that leaves by exit(3).
fn a_program_that_exits_has_the_same_end() {
    let scratch = Scratch::new();
    let (log, ready) = (scratch.path("log"), scratch.path("ready"));
    let mut program = ossature::sys::process::fork(|| {
        let daemon = Process::builder().daemon(true).fork(|| -> u8 {
            put(&ready, &std::process::id().to_string());
            crate::harness::rest()
        });
        drop(daemon.unwrap());
        let parent = ossature::sys::process::id();
        let child = Process::fork(|| {
            wait_for(&ready);
            wait_for(&log); // the first finalizers have run
            while runs(fs::read_to_string(&ready).unwrap().parse().unwrap()) {
                std::thread::sleep(Duration::from_millis(1));
            }
            // In its wait for this child; one that did not wait would come to the last finalizer first, and be gone.
            crate::worlds::wait_asleep(parent.as_raw_nonzero().get());
            append(&log, "child ");
        });
        drop(child.unwrap());
        wait_for(&ready);
        note_at_exit(&log, &[-1, 0]);
        std::process::exit(3)
    })
    .unwrap();
    assert_eq!(program.wait().unwrap().code(), Some(3));
    assert_eq!(scratch.read("log"), "0:true child -1:true ");
    assert!(!runs(scratch.read("ready").parse().unwrap()));
}

// What std drops of the main thread it has dropped by then.
fn values_can_be_sent_to_the_very_end() {
    let (near, far) = pipe().unwrap();
    let mut program = ossature::sys::process::fork(move || {
        near.send("soon").unwrap();
        Finalize::at_exit(0, move || near.send("at the end").unwrap()).leave();
        std::process::exit(0)
    })
    .unwrap();
    assert_eq!(far.recv::<String>().unwrap(), "soon");
    assert_eq!(far.recv::<String>().unwrap(), "at the end");
    assert!(program.wait().unwrap().success());
}

/// Maps much memory, page by page, so that the process still runs for milliseconds after it was killed.
fn give_the_kernel_work_at_the_end() {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, of which nobody else knows.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), 64 << 20, access, flags | libc::MAP_POPULATE, -1, 0) };
    assert_ne!(place, libc::MAP_FAILED);
}

/// One daemon ignores `SIGTERM`, the other is stopped. The alarm of the runner limits the wait for them.
fn a_daemon_that_does_not_listen_is_killed() {
    let scratch = Scratch::new();
    let grace = Duration::from_millis(200);
    let began = Instant::now();
    let mut program = ossature::sys::process::fork(|| {
        set_daemon_grace(grace);
        let mut pids = Vec::new();
        for name in ["deaf", "stopped"] {
            let path = scratch.path(name);
            let daemon = Process::builder().daemon(true).fork(|| -> u8 {
                // SAFETY: no handler is installed.
                unsafe { libc::signal(libc::SIGTERM, if name == "deaf" { libc::SIG_IGN } else { libc::SIG_DFL }) };
                give_the_kernel_work_at_the_end();
                put(&path, &std::process::id().to_string());
                crate::harness::rest()
            });
            let daemon = daemon.unwrap();
            wait_for(&path);
            let pid = daemon.pid().unwrap().as_raw_nonzero().get();
            if name == "stopped" {
                // SAFETY: kill(2) has no preconditions; it is a child that nobody has reaped.
                assert_eq!(unsafe { libc::kill(pid, libc::SIGSTOP) }, 0);
            }
            pids.push(pid);
        }
        let (last, is_there) = (scratch.path("last"), |pid| Path::new(&format!("/proc/{pid}")).exists());
        Finalize::at_exit(-1, move || append(&last, &format!("{}", pids.into_iter().any(is_there)))).leave();
        std::process::exit(3)
    })
    .unwrap();
    assert_eq!(program.wait().unwrap().code(), Some(3));
    assert!(began.elapsed() >= grace, "they had no time");
    for name in ["deaf", "stopped"] {
        assert!(!runs(scratch.read(name).parse().unwrap()), "{name}");
    }
    assert_eq!(scratch.read("last"), "false", "they were waited for before the last finalizers");
}

/// Blocks `SIGTERM`, and returns when the signal has come.
fn await_sigterm() {
    // SAFETY: a sigset_t is a plain bit set; all zeroes is the empty one.
    let (mut set, mut came): (libc::sigset_t, _) = (unsafe { std::mem::zeroed() }, 0);
    // SAFETY: the set may be written.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGTERM) };
    // SAFETY: the set may be read.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    // SAFETY: as above, and the number may be written.
    unsafe { libc::sigwait(&raw const set, &raw mut came) };
}

/// The first daemon reports that it received `SIGTERM`, and a thread then starts the second daemon. The alarm of the
/// runner limits the wait.
fn a_daemon_that_comes_late_is_ended_too() {
    let scratch = Scratch::new();
    let mut program = ossature::sys::process::fork(|| {
        set_daemon_grace(Duration::from_secs(30));
        let (ready, asked, late) = (scratch.path("ready"), scratch.path("asked"), scratch.path("late"));
        let first = Process::builder().daemon(true).fork(|| {
            put(&ready, "");
            await_sigterm();
            put(&asked, "");
            wait_for(&late);
        });
        first.unwrap();
        wait_for(&ready);
        std::thread::spawn(move || {
            wait_for(&asked);
            let second = Spawn::start_with(Process::builder().daemon(true), "sleep", "").unwrap();
            put(&late, &second.pid().unwrap().as_raw_nonzero().to_string());
        });
        std::process::exit(3)
    })
    .unwrap();
    assert_eq!(program.wait().unwrap().code(), Some(3));
    assert!(!runs(scratch.read("late").parse().unwrap()), "the second daemon was ended and waited for");
}
