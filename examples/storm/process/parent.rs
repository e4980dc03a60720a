//! The parent: starts children, joins them, and checks that nothing is left of them.

use core::sync::atomic::Ordering::SeqCst;
use core::time::Duration;
use std::fs;
use std::thread;
use std::time::Instant;

use ossature::multiprocessing::transfer::Memory;
use ossature::multiprocessing::{Context, Process, active_children};
use ossature::sys::process::{ExitStatus, Signal, id, parent_id, set_group, set_parent_death_signal};
use ossature::sys::shm::Shm;
use ossature::sys::signal::{SignalSet, block};
use ossature::{ErrorKind, Result};

use crate::PATIENCE;
use crate::process::{AT_PEACE, Board, ENDING, STARTING, WORKING, family, number};
use crate::random::Random;

const CONTEXTS: [Context; 4] = [Context::Fork, Context::Spawn, Context::Forkserver, Context::Thread];
/// The working time of an endless child.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// The orders of a child.
#[derive(Clone, Copy, Debug)]
struct Job {
    context: Context,
    daemon: bool,
    /// Whether the child works until it is killed.
    endless: bool,
    microseconds: u64,
    code: u8,
}

/// The work of every child.
pub fn work(Memory(board): Memory<Board>, length: Duration, code: u8) -> u8 {
    // Some are deaf to all but what they are ended by in peace, as a program is that takes its signals from a
    // descriptor.
    let deaf = if code % 2 == 1 { SignalSet::FULL.without(Signal::TERM) } else { SignalSet::EMPTY };
    let _deaf = block(deaf);
    board.begun.fetch_add(1, SeqCst);
    board.phase.store(WORKING, SeqCst);
    thread::sleep(length);
    board.phase.store(ENDING, SeqCst);
    code
}

/// Takes turn after turn, until the board orders the end or this process is killed.
pub fn run(board: &Shm<Board>, seed: u64) -> u8 {
    // The storm may be killed too; what it has made goes with it.
    let storm = parent_id();
    if set_parent_death_signal(Some(Signal::KILL)).is_err() || parent_id() != storm {
        return 1;
    }
    // The storm knows the descendants of this process by it.
    if set_group(None, None).is_err() {
        return 1;
    }
    let mut random = Random::new(seed);
    // What stays for the life of a process, a fork server above all, is there from the first turn of each kind on.
    for context in CONTEXTS {
        turn(board, &[Job { context, daemon: false, endless: false, microseconds: 0, code: 0 }], 0);
    }
    let descriptors = descriptors();
    while board.end.load(SeqCst) == 0 {
        board.turns.fetch_add(1, SeqCst);
        let jobs: Vec<_> = (0..1 + random.below(6) / 4).map(|_| Job::any(&mut random)).collect();
        turn(board, &jobs, random.below(3) as usize);
        let more = self::descriptors().saturating_sub(descriptors);
        if more > 0 {
            board.breaks(&format!("{more} descriptors stay open after {jobs:?}"));
        }
    }
    // The end of the parent is theirs; nobody joins them here.
    for context in CONTEXTS.into_iter().filter(|&context| context != Context::Thread) {
        let job = Job { context, daemon: true, endless: true, microseconds: 0, code: 0 };
        if let Err(error) = job.start(board) {
            board.breaks(&format!("{job:?} cannot be started: {error}"));
        }
    }
    0
}

/// Starts children, joins each from one thread and `more_joiners` further threads, and checks what is left.
fn turn(board: &Shm<Board>, jobs: &[Job], more_joiners: usize) {
    let strikes = board.strikes.load(SeqCst);
    let begun = board.begun.load(SeqCst);
    let mut children = Vec::new();
    for job in jobs {
        board.phase.store(STARTING, SeqCst);
        match job.start(board) {
            Ok(process) => children.push((*job, process)),
            Err(error) if error.kind() == ErrorKind::StartFailed && board.is_disturbed(strikes) => {}
            Err(error) => board.breaks(&format!("{job:?} cannot be started: {error:?}")),
        }
    }
    for (job, process) in &children {
        if job.endless {
            let ended = process.join_timeout(Duration::from_micros(job.microseconds));
            if matches!(ended, Ok(None)) {
                board.phase.store(ENDING, SeqCst);
                let asked = process.terminate();
                asked.unwrap_or_else(|error| board.breaks(&format!("{job:?} cannot be terminated: {error}")));
            }
        }
        let join = || job.judge(board, process, strikes);
        thread::scope(|scope| {
            for _ in 0..more_joiners {
                scope.spawn(join);
            }
            join();
        });
    }
    board.phase.store(AT_PEACE, SeqCst);
    let begun = board.begun.load(SeqCst).wrapping_sub(begun);
    if begun as usize > children.len() {
        board.breaks(&format!("{begun} tasks began, but {} started, of {jobs:?}", children.len()));
    }
    drop(children);
    // A dead fork server is noticed by who needs it next, so only after such a turn, with nobody struck since its
    // beginning, are there no dead at all.
    let zombie = family::children(id()).into_iter().find(family::Relative::is_zombie);
    let undisturbed = !board.is_disturbed(strikes) && jobs.iter().any(|job| job.context == Context::Forkserver);
    if let Some(zombie) = zombie.filter(|_| undisturbed) {
        board.breaks(&format!("{zombie:?} is a zombie after {jobs:?}"));
    }
    let listed = active_children();
    if !listed.is_empty() {
        board.breaks(&format!("{listed:?} are still listed after {jobs:?}"));
    }
}

impl Job {
    fn any(random: &mut Random) -> Self {
        let context = CONTEXTS[random.below(CONTEXTS.len() as u64) as usize];
        let process = context != Context::Thread;
        let daemon = process && random.below(2) == 0;
        let microseconds = [0, 50, 300, 1_000][random.below(4) as usize];
        // None but a daemon may be without an end: the others outlive a parent that is killed.
        Self { context, daemon, endless: daemon && random.below(2) == 0, microseconds, code: random.below(200) as u8 }
    }

    fn start(&self, board: &Shm<Board>) -> Result<Process> {
        let length = if self.endless { FOR_EVER } else { Duration::from_micros(self.microseconds) };
        let began = Instant::now();
        loop {
            let builder = Process::builder().context(self.context).daemon(self.daemon);
            match builder.start(work, (Memory(board.try_clone()?), length, self.code)) {
                // A thread that was joined may still be leaving.
                Err(error) if error.kind() == ErrorKind::MultiThreaded && began.elapsed() < PATIENCE => {}
                other => return other,
            }
        }
    }

    /// Joins a child, and checks that it ended as expected.
    fn judge(&self, board: &Board, process: &Process, strikes: u32) {
        let exit = match process.join_timeout(PATIENCE) {
            Ok(Some(exit)) => exit,
            Ok(None) => return board.breaks(&format!("{self:?} does not end: {process:?}")),
            Err(error) => return board.breaks(&format!("{self:?} cannot be joined: {error}")),
        };
        let struck = process.pid().map(number) == Some(board.struck.load(SeqCst));
        let right = match exit.python_code() {
            Some(-15) => self.endless,
            Some(-9) => struck,
            Some(code) => !self.endless && code == i32::from(self.code),
            // Nobody has reaped it whom one could ask.
            None => self.context == Context::Forkserver && board.is_disturbed(strikes) && exit == ExitStatus::Unknown,
        };
        if !right {
            let told = if struck { "struck" } else { "not struck" };
            board.breaks(&format!("{self:?} ended with {exit:?}, {told}"));
        }
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
