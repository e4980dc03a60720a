//! The storm's use of [`Process`]: children, fork servers and whole parents die while they start, work and end.
//!
//! The storm has two generations of descendants. A *parent*, itself a [`Process`] by fork, starts children under every
//! [`Context`](ossature::multiprocessing::Context), including daemons. It joins each from up to three threads at once
//! and checks the results. The storm kills one of its descendants, which may be a fork server, or the parent itself.
//! Sometimes it lets the parent end by itself, with daemons left. The storm is a subreaper, so it inherits the
//! processes that are left, and none may be left.
//!
//! A death counts as inside when the parent or a child of it was starting or ending.
//!
//! | must hold | or else |
//! | --- | --- |
//! | all joiners get the expected code, or -9 if that child was killed | `broken` |
//! | a start fails only if a process died during it | `broken` |
//! | no task begins without a start, or more than once | `broken` |
//! | after each turn there is no zombie, no listed child, and no further descriptor | `broken` |
//! | daemons, half-started children and the fork server end with the parent | `broken` |
//! | every wait is over within ten seconds | `hangs` |

mod family;
mod parent;

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use ossature::multiprocessing::{Process, Tasks, tasks};
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::process::{
    ExitStatus, Pid, Signal, become_subreaper, group_of, id, pidfd_send_signal, pidfd_wait, resign_subreaper,
};
use ossature::sys::shareable;
use ossature::sys::shm::Shm;

use crate::kills::pause;
use crate::random::Random;
use crate::trial::Trial;
use crate::{Counts, PATIENCE};
use family::Relative;

/// The tasks of spawned children.
pub static TASKS: Tasks = tasks![parent::work, crate::pool::set_up, crate::pool::call];

shareable! {
    /// The messages between storm, parent and children.
    pub struct Board {
        /// Above zero when the parent must end.
        end: AtomicU32,
        /// The number of turns of the parent, its warm-up included.
        turns: AtomicU32,
        /// The number of tasks begun.
        begun: AtomicU32,
        /// The phase of the child that reported last.
        phase: AtomicU32,
        /// The process id of the process killed last.
        struck: AtomicU32,
        /// Incremented before each kill and again after that death, so it is odd during a death.
        strikes: AtomicU32,
        broken: AtomicU32,
    }
}

/// No child exists, or all work.
const AT_PEACE: u32 = 0;
const STARTING: u32 = 1;
const WORKING: u32 = 2;
const ENDING: u32 = 3;

impl Board {
    fn breaks(&self, what: &str) {
        if self.broken.fetch_add(1, SeqCst) < 5 {
            eprintln!("storm: {what}");
        }
    }

    /// Whether a process was dying since `strikes` had the value `since`.
    fn is_disturbed(&self, since: u32) -> bool {
        since % 2 == 1 || self.strikes.load(SeqCst) != since
    }

    fn is_narrow(phase: u32) -> bool {
        phase == STARTING || phase == ENDING
    }
}

pub struct ProcessStorm {
    board: Shm<Board>,
    parent: Option<Process>,
    /// The process group of the last parent and of all its descendants; children of other trials are in another group.
    group: Option<Pid>,
}

pub fn make() -> Box<dyn Trial> {
    let number = || AtomicU32::new(0);
    let board = Board::init(number(), number(), number(), number(), number(), number(), number());
    let board = Shm::place(board).expect("memory for the storm");
    become_subreaper().expect("the kernel has subreapers");
    Box::new(ProcessStorm { board, parent: None, group: None })
}

impl Trial for ProcessStorm {
    fn play(&mut self, random: &mut Random, counts: &mut Counts) {
        let broken = self.board.broken.load(SeqCst);
        match random.below(16) {
            0 => self.end_in_peace(random, counts),
            1..=4 => self.strike_parent(random, counts),
            _ => self.strike_relative(random, counts),
        }
        counts.broken += self.board.broken.load(SeqCst) - broken;
    }
}

impl ProcessStorm {
    /// The parent, after its warm-up.
    fn parent(&mut self, random: &mut Random, counts: &mut Counts) -> Option<Process> {
        if self.parent.is_none() {
            for number in [&self.board.end, &self.board.turns, &self.board.phase] {
                number.store(0, SeqCst);
            }
            let (board, seed) = (&self.board, random.below(u64::MAX >> 11));
            let started = Process::builder().name("parent").fork(|| parent::run(board, seed));
            let parent = started.unwrap_or_else(|error| {
                eprintln!("storm: cannot start a parent: {error}");
                std::process::exit(2)
            });
            self.group = parent.pid();
            self.parent = Some(parent);
            self.turns_pass(0, counts);
        }
        self.parent.clone().filter(|_| counts.hangs == 0)
    }

    /// Waits until the parent has taken more than `turns` turns.
    fn turns_pass(&self, turns: u32, counts: &mut Counts) {
        let began = Instant::now();
        while self.board.turns.load(SeqCst) <= turns {
            if began.elapsed() >= PATIENCE {
                return counts.hang(&format!("a parent takes no further turn; {}", self.state()));
            }
            self.reap_orphans();
            thread::yield_now();
        }
    }

    /// Reaps orphans, as the first process of a system does. A child whose fork server was killed is known to have
    /// ended only after this.
    fn reap_orphans(&self) {
        for orphan in self.orphans().iter().filter(|orphan| orphan.is_zombie()) {
            let _ = orphan.open().map(|pidfd| pidfd_wait(&pidfd, Duration::ZERO)); // now, or next time
        }
    }

    /// The descendants of the parent that are now children of the storm, including zombies.
    fn orphans(&self) -> Vec<Relative> {
        let parent = self.parent.as_ref().and_then(Process::pid);
        let of_the_parent = |child: &Relative| Some(child.pid) != parent && group_of(Some(child.pid)) == Ok(self.group);
        family::children(id()).into_iter().filter(of_the_parent).collect()
    }

    fn state(&self) -> String {
        let family = self.parent.as_ref().and_then(Process::pid).map(family::below).unwrap_or_default();
        format!("phase {}, struck {}, {family:?}", self.board.phase.load(SeqCst), self.board.struck.load(SeqCst))
    }

    fn strike_relative(&mut self, random: &mut Random, counts: &mut Counts) {
        let Some(pid) = self.parent(random, counts).and_then(|parent| parent.pid()) else { return };
        self.wait_a_while(random);
        let family = family::below(pid);
        if family.is_empty() {
            return;
        }
        let victim = &family[random.below(family.len() as u64) as usize];
        let Some(pidfd) = victim.open().filter(|_| !victim.is_zombie()) else { return };
        self.board.struck.store(number(victim.pid), SeqCst);
        self.board.strikes.fetch_add(1, SeqCst);
        let phase = self.board.phase.load(SeqCst);
        if pidfd_send_signal(&pidfd, Signal::KILL).is_ok() {
            counts.kills += 1;
            counts.died_inside += u32::from(Board::is_narrow(phase));
            if !matches!(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], PATIENCE), Ok(1)) {
                return counts.hang(&format!("{victim:?} does not end"));
            }
        }
        self.board.strikes.fetch_add(1, SeqCst);
        // The turn that it died in, and one that nobody died in.
        self.turns_pass(self.board.turns.load(SeqCst) + 1, counts);
    }

    fn strike_parent(&mut self, random: &mut Random, counts: &mut Counts) {
        let Some(parent) = self.parent(random, counts) else { return };
        self.wait_a_while(random);
        let phase = self.board.phase.load(SeqCst);
        let stopped = random.below(4) == 0;
        if stopped {
            parent.signal(Signal::STOP).expect("the child accepts a signal");
            pause(random);
            counts.stops += 1;
        }
        parent.kill().expect("the child can be killed");
        counts.kills += 1;
        counts.died_inside += u32::from(Board::is_narrow(phase));
        self.ended(&parent, -9, counts);
    }

    fn end_in_peace(&mut self, random: &mut Random, counts: &mut Counts) {
        let Some(parent) = self.parent(random, counts) else { return };
        self.board.end.store(1, SeqCst);
        self.ended(&parent, 0, counts);
    }

    /// Checks that the parent ended with the code `due` and left no process.
    fn ended(&mut self, parent: &Process, due: i32, counts: &mut Counts) {
        match parent.join_timeout(PATIENCE).map(|exit| exit.and_then(ExitStatus::python_code)) {
            Ok(Some(code)) if code == due => {}
            Ok(None) => return counts.hang(&format!("a parent does not end; {}", self.state())),
            other => counts.broke(&format!("a parent ended with {other:?} instead of {due}")),
        }
        self.parent = None;
        let struck = if due == 0 { "ended in peace" } else { "was killed" };
        let began = Instant::now();
        loop {
            let orphans = self.orphans();
            if orphans.is_empty() {
                return;
            }
            if began.elapsed() > 2 * PATIENCE {
                return counts.hang(&format!("{orphans:?} cannot be reaped"));
            }
            // Those that a fork server had become orphans at its end, so after this one there may be others.
            for orphan in orphans {
                bury(&orphan, struck, counts);
            }
        }
    }

    fn wait_a_while(&self, random: &mut Random) {
        pause(random);
        let aim = [AT_PEACE, STARTING, STARTING, WORKING, ENDING, ENDING][random.below(6) as usize];
        let (began, until) = (Instant::now(), random.below(40));
        if random.below(4) > 0 {
            while self.board.phase.load(SeqCst) != aim && began.elapsed() < Duration::from_millis(5) {
                spin_loop();
            }
        }
        // Anywhere within the phase, which is short.
        let met = Instant::now();
        while (met.elapsed().as_micros() as u64) < until * until / 4 {
            spin_loop();
        }
    }
}

/// Waits for a process that has to end soon, and kills it if it does not.
fn bury(orphan: &Relative, why: &str, counts: &mut Counts) {
    let Some(pidfd) = orphan.open() else { return };
    if matches!(pidfd_wait(&pidfd, PATIENCE), Ok(None)) {
        counts.broke(&format!("{orphan:?} still runs although its parent {why}"));
        if pidfd_send_signal(&pidfd, Signal::KILL).is_ok() {
            let _ = pidfd_wait(&pidfd, PATIENCE); // told of already
        }
    }
}

impl Drop for ProcessStorm {
    fn drop(&mut self) {
        let mut counts = Counts::default();
        if let Some(parent) = self.parent.take() {
            parent.kill().expect("the child can be killed");
            self.ended(&parent, -9, &mut counts);
        }
        resign_subreaper().expect("the kernel has subreapers");
        assert!(counts.hangs == 0 && counts.broken == 0, "the last parent leaves no process");
    }
}

/// The process id, as the board stores it.
fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get() as u32
}
