//! Ctrl-C in a program with a pool: with interrupts enabled, and without.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::{Context, Pool, Process};
use ossature::sys::fd;
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::process::{ExitStatus, Pid, Signal, fork, new_session, pidfd_open, pidfd_send_signal};
use ossature::sys::signal::{Disposition, disposition};
use ossature::sys::tty::{Pty, make_controlling};
use ossature::thread;

use crate::harness::Test;
use crate::work::{self, Place, soon};

pub const TESTS: &[Test] = &[
    ("interrupts::one_interrupt_ends_the_wait_and_all_workers", one_interrupt_ends_the_wait_and_all_workers),
    ("interrupts::a_signal_for_the_parent_alone_does_the_same", a_signal_for_the_parent_alone_does_the_same),
    ("interrupts::without_the_call_the_default_ends_the_group", without_the_call_the_default_ends_the_group),
    ("interrupts::every_call_of_an_interrupted_pool_says_so", every_call_of_an_interrupted_pool_says_so),
    ("interrupts::a_second_interrupt_ends_a_program_that_is_busy", a_second_interrupt_ends_a_program_that_is_busy),
    ("interrupts::a_forked_child_has_the_default", a_forked_child_has_the_default),
];

/// The program of these tests: a pool whose workers sleep. Started with `--interrupted CONTEXT asks` or `... does-not`.
pub fn program(arguments: &[&str]) {
    let context = match arguments.first() {
        Some(&"fork") => Context::Fork,
        Some(&"forkserver") => Context::Forkserver,
        _ => Context::Spawn,
    };
    if arguments.get(1) == Some(&"asks") {
        thread::interrupt_on(Signal::INT).expect("a handler is installed");
    }
    let pool = Pool::builder().workers(3).context(context).build().expect("starts");
    soon(|| pool.stats().expect("its own").iter().all(|worker| worker.pid.is_some()));
    pool.chunksize(1).and_then(|pool| pool.map(work::rest, [20; 12])).expect("they rest");
    let workers: Vec<_> = pool.stats().expect("its own").iter().filter_map(|worker| worker.pid).collect();
    let supervisor = ossature::multiprocessing::active_children()[0].pid().expect("a process");
    let numbers: Vec<_> = workers.iter().chain([&supervisor]).map(|pid| pid.as_raw_nonzero().to_string()).collect();
    println!("{} {}", std::process::id(), numbers.join(" "));
    let answer = pool.map(work::rest, [60_000; 6]);
    let kind = answer.err().map(|error| error.kind());
    drop(pool);
    println!("{kind:?} {:?}", thread::take_interrupt());
}

/// The program on a terminal of its own.
struct OnTerminal {
    pty: Pty,
    child: ossature::sys::process::Child,
    seen: String,
    /// The parent's number, with which the processes of the program are found.
    parent: Pid,
    processes: Vec<OwnedFd>,
}

impl OnTerminal {
    fn start(context: &str, asks: &str) -> Self {
        let Pty { controller, terminal } = Pty::open().unwrap();
        let child = fork(|| {
            new_session().unwrap();
            make_controlling(&terminal).unwrap();
            let stdio = || fd::duplicate(&terminal).unwrap();
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--interrupted", context, asks]).stdin(stdio()).stdout(stdio()).stderr(stdio());
            panic!("{}", command.exec())
        });
        let pty = Pty { controller, terminal };
        let mut program =
            Self { pty, child: child.unwrap(), seen: String::new(), parent: Pid::INIT, processes: Vec::new() };
        while !program.seen.contains('\n') {
            program.read();
        }
        let numbers = program.seen.split_whitespace().map(|number| Pid::from_raw(number.parse().unwrap()).unwrap());
        let numbers: Vec<_> = numbers.collect();
        program.parent = numbers[0];
        program.processes = numbers.into_iter().map(|pid| pidfd_open(pid).unwrap()).collect();
        program.seen.clear();
        program
    }

    /// Waits for output on the screen, and reads it.
    fn read(&mut self) {
        let mut piece = [0; 4096];
        let ready = poll(&mut [PollFd::new(&self.pty.controller, PollFlags::IN)], Duration::from_secs(30));
        assert_eq!(ready, Ok(1), "nothing more comes: {:?}", self.seen);
        let len = fd::read(&self.pty.controller, &mut piece).unwrap();
        self.seen.push_str(&String::from_utf8_lossy(&piece[..len]));
    }

    /// Waits for the end of the program and of all its processes. Returns how the program ended, how long that took,
    /// and the screen.
    fn end(mut self, since: Instant) -> (ExitStatus, Duration, String) {
        let exit = self.child.wait_timeout(Duration::from_secs(30)).unwrap().expect("it ends");
        for process in &self.processes {
            assert_eq!(poll(&mut [PollFd::new(process, PollFlags::IN)], Duration::from_secs(30)), Ok(1), "it is left");
        }
        let took = since.elapsed();
        while poll(&mut [PollFd::new(&self.pty.controller, PollFlags::IN)], Duration::ZERO) == Ok(1) {
            self.read();
        }
        (exit, took, self.seen)
    }
}

fn one_interrupt_ends_the_wait_and_all_workers() {
    for context in ["fork", "spawn"] {
        let program = OnTerminal::start(context, "asks");
        assert_eq!(program.processes.len(), 5, "a parent, a supervisor, three workers");
        let begun = Instant::now();
        fd::write(&program.pty.controller, b"\x03").unwrap();
        let (exit, took, screen) = program.end(begun);
        assert_eq!(
            screen,
            "^CSome(Interrupted) Some(Signal(2))\r\n".replace("Signal(2)", &format!("{:?}", Signal::INT))
        );
        assert_eq!(exit, ExitStatus::Code(0), "{context}");
        assert!(took < Duration::from_secs(1), "{context}: {took:?}");
    }
}

fn a_signal_for_the_parent_alone_does_the_same() {
    let program = OnTerminal::start("fork", "asks");
    let begun = Instant::now();
    pidfd_send_signal(pidfd_open(program.parent).unwrap(), Signal::INT).unwrap();
    let (exit, took, screen) = program.end(begun);
    assert!(screen.starts_with("Some(Interrupted) Some("), "{screen}");
    assert_eq!(exit, ExitStatus::Code(0));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

fn without_the_call_the_default_ends_the_group() {
    for context in ["fork", "spawn"] {
        let program = OnTerminal::start(context, "does-not");
        let begun = Instant::now();
        fd::write(&program.pty.controller, b"\x03").unwrap();
        let (exit, took, screen) = program.end(begun);
        assert_eq!((exit.signal(), screen.as_str()), (Some(2), "^C"), "{context}");
        assert!(took < Duration::from_secs(1), "{context}: {took:?}");
    }
}

/// Runs a body that changes a signal's disposition in a process of its own.
#[track_caller]
fn apart(body: impl FnOnce()) {
    assert_eq!(Process::fork(body).unwrap().join().unwrap().code(), Some(0));
}

fn every_call_of_an_interrupted_pool_says_so() {
    apart(|| {
        assert_eq!(disposition(Signal::INT).unwrap(), Disposition::Default);
        thread::interrupt_on(Signal::INT).unwrap();
        let pool = work::forked(2);
        let place = Place::new("interrupted");
        let mut results = pool.imap(work::rest, [60_000; 20]).unwrap();
        let running = pool.apply_async(work::note_and_wait, (place.path(), 0)).unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| running.wait(None));
            std::thread::sleep(Duration::from_millis(50));
            thread::interrupt_main(Signal::INT).unwrap();
            let waited = other.join().unwrap();
            assert!(waited.is_ok_and(|ready| ready) || thread::interrupts().is_cancelled());
        });
        let kind = |result: Option<ossature::Result<u64>>| result.unwrap().unwrap_err().kind();
        assert_eq!(kind(results.next()), ErrorKind::Interrupted);
        assert_eq!(running.get().unwrap_err().kind(), ErrorKind::Interrupted);
        assert_eq!(pool.apply(work::square, (2,)).unwrap_err().kind(), ErrorKind::Interrupted);
        assert!(pool.join_timeout(Duration::from_secs(5)).unwrap(), "its workers have ended");
        assert_eq!(
            Pool::new(1).and_then(|pool| pool.apply(work::square, (2,))).unwrap_err().kind(),
            ErrorKind::Interrupted
        );
        assert_eq!(thread::take_interrupt(), Some(Signal::INT));
        assert_eq!(thread::take_interrupt(), None);
        let again = work::forked(1);
        assert_eq!(again.apply(work::square, (3,)).unwrap(), 9, "it was taken");
        assert_eq!(results.by_ref().last().map(|result| result.unwrap_err().kind()), Some(ErrorKind::Interrupted));
    });
}

fn a_second_interrupt_ends_a_program_that_is_busy() {
    let busy = Process::fork(|| {
        thread::interrupt_on(Signal::INT).unwrap();
        ossature::sys::signal::raise(Signal::INT).unwrap();
        ossature::sys::signal::raise(Signal::INT).unwrap();
    })
    .unwrap();
    assert_eq!(busy.join().unwrap().signal(), Some(2));
}

fn a_forked_child_has_the_default() {
    apart(|| {
        thread::interrupt_on(Signal::INT).unwrap();
        let child = Process::fork(|| {
            work::rest(50_000);
        })
        .unwrap();
        child.interrupt().unwrap();
        assert_eq!(child.join().unwrap().signal(), Some(2));
        assert!(!thread::interrupts().is_cancelled() && thread::take_interrupt().is_none(), "it was the child's alone");
        let pool = work::forked(1);
        assert_eq!(pool.apply(work::square, (3,)).unwrap(), 9);
    });
}
