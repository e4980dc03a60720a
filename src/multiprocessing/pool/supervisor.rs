//! The supervisor: a process of one thread that starts workers, and replaces the workers that end.
//!
//! The parent may compute for hours meanwhile, and may have threads. A worker is a fork of the supervisor, cheap and
//! with nothing of the parent's. (In a test of libtest the supervisor has a second thread, and starts workers by
//! spawn.)
//!
//! | event | effect |
//! | --- | --- |
//! | a worker with a chunk ends | the chunk becomes `Dead`, with the worker's exit and the call that was running |
//! | any worker ends | a new worker takes its entry, unless the pool is closed and no work is left |
//! | five workers in turn end before they were ready, while no worker is ready | the pool is broken, and the board contains the reason |
//! | the parent ends | the supervisor kills all workers, and ends |
//! | the supervisor ends | the kernel kills the workers; the parent starts another supervisor |

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::fence;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::ExitStatus;

use super::board::{BROKEN, CLOSED, FINISHED, INTERRUPTED, KILLED, RUNNING, TERMINATED, WorkerEntry};
use super::exits::{TIMED_OUT, exit_to_number};
use super::ground::{Ground, Parts, Setup, lower, raise};
use super::stream::{Header, Kind};
use super::word::{SlotState, place_of, state, word};
use super::worker::{self, Runner};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context::Context;
use crate::multiprocessing::logging::debug;
use crate::multiprocessing::process::{PanicReport, Process, ProcessBuilder, parent_process};
use crate::multiprocessing::tasks::library_task;
use crate::multiprocessing::transfer::{Handle, Packed, pack};

/// The number of consecutive workers that may end before they are ready.
const MISFORTUNES: u32 = 5;
/// The time from `SIGTERM` until a worker is killed.
const GRACE: Duration = Duration::from_secs(5);
/// The time from `SIGTERM` until a worker is killed after an interrupt.
const SHORT_GRACE: Duration = Duration::from_millis(500);
/// The time before another try to start a worker, after the system had no resources for a start.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs a supervisor that is not a copy of the parent, as a task. `line` closes with the last process of the pool.
pub(in crate::multiprocessing) fn supervise(
    parts: Parts,
    setup: Setup,
    arguments: Option<Packed>,
    line: Handle<OwnedFd>,
) -> u8 {
    match Ground::open(parts) {
        Ok(ground) => run(&ground, &setup, arguments, None, &line.0),
        Err(_) => 1,
    }
}

/// Runs a worker that is not a copy of the supervisor, as a task.
pub(in crate::multiprocessing) fn work(
    parts: Parts,
    setup: Setup,
    arguments: Option<Packed>,
    (place, ticket): (usize, u32),
    _line: Handle<OwnedFd>,
) -> u8 {
    match Ground::open(parts) {
        Ok(ground) => worker::live(&ground, &setup, arguments, None, (place, ticket)),
        Err(_) => 1,
    }
}

/// Supervises until the pool has ended, and returns the exit code. `arguments` are the initializer's. Every worker
/// holds `line`.
pub(super) fn run(
    ground: &Ground,
    setup: &Setup,
    arguments: Option<Packed>,
    runner: Option<Runner<'_>>,
    line: &OwnedFd,
) -> u8 {
    let posts = ground.entries().iter().map(|_| None).collect();
    let mut supervisor =
        Supervisor { ground, setup, arguments, runner, line, posts, misfortunes: 0, started: 0, spawns: false };
    let served = supervisor.serve();
    supervisor.end_all();
    u8::from(served.is_err())
}

struct Supervisor<'g> {
    ground: &'g Ground,
    setup: &'g Setup,
    arguments: Option<Packed>,
    runner: Option<Runner<'g>>,
    /// The pipe end that a forked worker inherits and a spawned worker receives.
    line: &'g OwnedFd,
    /// The worker of each entry.
    posts: Vec<Option<Process>>,
    /// The number of consecutive workers that have ended before they were ready.
    misfortunes: u32,
    /// The number of workers that were started.
    started: u32,
    /// Whether this process cannot fork.
    spawns: bool,
}

impl Supervisor<'_> {
    fn serve(&mut self) -> Result<()> {
        let parent = parent_process().map(|parent| parent.sentinel()).transpose()?;
        let board = self.ground.board();
        loop {
            let vacant = self.fill();
            let mode = board.mode.load(SeqCst);
            let alive = self.posts.iter().any(Option::is_some);
            match mode {
                TERMINATED | KILLED | INTERRUPTED => return Ok(()),
                BROKEN | FINISHED if !alive => return Ok(()),
                _ => {}
            }
            let mut until = self.next_expiry();
            if vacant {
                until = until.or_sooner(Deadline::after(PAUSE));
            }
            let live: Vec<_> = self.posts.iter().flatten().collect();
            let mut fds = vec![PollFd::new(self.ground.nudge(), PollFlags::IN)];
            fds.extend(parent.iter().map(|parent| PollFd::from_borrowed(*parent, PollFlags::IN)));
            fds.extend(live.iter().map(|worker| PollFd::new(*worker, PollFlags::IN)));
            poll(&mut fds, until)?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if parent.is_some() && ready.get(1) == Some(&true) {
                return Ok(()); // nobody wants anything any more
            }
            if ready.first() == Some(&true) {
                lower(self.ground.nudge());
                self.end_doomed();
            }
            self.look();
            self.end_late();
        }
    }

    /// Starts a worker for each empty entry, if there may be work for it. Returns whether an entry stays empty that
    /// should not.
    fn fill(&mut self) -> bool {
        let board = self.ground.board();
        let mut vacant = false;
        // The number of retired workers that are replaced is the number of waiting chunks.
        let mut waiting = match self.ground.entries().iter().any(WorkerEntry::is_retired) {
            true => board.count_ready(self.ground.slots()),
            false => 0,
        };
        for (place, entry) in self.ground.entries().iter().enumerate() {
            let wanted = match board.mode.load(SeqCst) {
                RUNNING => !entry.is_retired() || waiting > 0,
                CLOSED => board.has_ready(self.ground.slots()),
                _ => false,
            };
            if !wanted || self.posts.get(place).is_none_or(Option::is_some) {
                continue;
            }
            match self.start(place) {
                Ok(worker) => {
                    self.posts[place] = Some(worker);
                    waiting = waiting.saturating_sub(1);
                }
                Err(error) => {
                    vacant = true;
                    self.misfortune(&error.to_string());
                    break;
                }
            }
        }
        vacant
    }

    /// Starts the worker of an entry, with a new ticket.
    fn start(&mut self, place: usize) -> Result<Process> {
        let (ground, setup) = (self.ground, self.setup);
        let Some(entry) = ground.entries().get(place) else { return Err(no_entry()) };
        let count = ground.entries().len() as u32;
        let ticket = entry.ticket.load(Relaxed).checked_add(count).unwrap_or(place as u32);
        entry.ready.store(0, Relaxed);
        entry.expires.store(0, Relaxed);
        entry.doomed.store(0, SeqCst);
        entry.late.store(0, SeqCst);
        entry.retired.store(0, SeqCst);
        entry.ticket.store(ticket, SeqCst);
        self.started += 1;
        let builder = || Process::builder().name(format!("{}-{}", setup.prefix, self.started)).daemon(true);
        let mut arguments = self.arguments.take();
        // The child has its own copy of the arguments; these stay here.
        let forked = (!self.spawns)
            .then(|| builder().fork(|| worker::live(ground, setup, arguments.take(), self.runner, (place, ticket))));
        self.arguments = arguments;
        let child = match forked {
            Some(Err(error)) if error.kind() == ErrorKind::MultiThreaded && self.runner.is_none() => {
                self.spawns = true;
                self.spawn(builder().context(Context::Spawn), place, ticket)?
            }
            Some(child) => child?,
            None => self.spawn(builder().context(Context::Spawn), place, ticket)?,
        };
        let pid = child.pid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32);
        entry.pid.store(pid, SeqCst);
        Ok(child)
    }

    fn spawn(&self, builder: ProcessBuilder, place: usize, ticket: u32) -> Result<Process> {
        let line = Handle(self.line);
        let arguments = pack(&(&self.ground.parts, self.setup, &self.arguments, (place, ticket), line))?;
        builder.order(Context::Spawn, &library_task(work)?, &arguments)
    }

    /// Reaps the workers that have ended.
    fn look(&mut self) {
        for place in 0..self.posts.len() {
            let Some(Some(worker)) = self.posts.get(place) else { continue };
            if let Ok(Some(exit)) = worker.join_timeout(Deadline::NOW) {
                debug!("pool worker {} has ended: {exit}", worker.name());
                let panic = if exit.success() { None } else { worker.panic().ok().flatten() };
                if let Some(post) = self.posts.get_mut(place) {
                    *post = None;
                }
                self.record_death(place, exit, panic.as_ref());
            }
        }
    }

    /// Records the end of a worker, and repairs the state that may have been lost with it.
    fn record_death(&mut self, place: usize, exit: ExitStatus, panic: Option<&PanicReport>) {
        let board = self.ground.board();
        let Some(entry) = self.ground.entries().get(place) else { return };
        let ticket = entry.ticket.load(Relaxed);
        let late = if entry.late.load(SeqCst) != 0 { TIMED_OUT } else { 0 };
        let mut held = false;
        for slot in self.ground.slots() {
            if let (Some(panic), Some(stream)) = (panic, self.ground.stream(place)) {
                if state(slot.word.load(SeqCst)) == SlotState::Claimed(ticket) {
                    let sequence = slot.sequence.load(Relaxed);
                    let header = Header { sequence, index: 0, kind: Kind::LastWords, length: 0 };
                    stream.write_for_the_dead(header, panic.in_one_line().as_bytes());
                }
            }
            held |= slot.record_death(entry, ticket, exit_to_number(exit) | late);
        }
        board.forget_sleeper(place);
        if entry.fetching.swap(0, SeqCst) != 0 {
            board.lost.store(1, SeqCst); // before the parent learns of the end
            held = true;
        }
        entry.vacate();
        match entry.ready.load(SeqCst) {
            0 => {
                let reason = match board.text().as_str() {
                    "" => exit.to_string(),
                    text => format!("{exit}: {text}"),
                };
                self.misfortune(&reason);
            }
            _ => self.misfortunes = 0,
        }
        if held || !exit.success() {
            self.tell_of_end();
        }
        // The dead worker may have been woken for a chunk that it did not claim.
        self.ground.wake_all_workers();
    }

    /// Counts a worker that was not ready, and breaks the pool after several in a row.
    fn misfortune(&mut self, reason: &str) {
        let others = self
            .ground
            .entries()
            .iter()
            .zip(&self.posts)
            .any(|(entry, post)| post.is_some() && entry.ready.load(SeqCst) != 0);
        self.misfortunes = if others { 0 } else { self.misfortunes + 1 };
        if self.misfortunes < MISFORTUNES {
            return;
        }
        let board = self.ground.board();
        board.break_down(&format!(
            "{MISFORTUNES} workers in a row ended before they were ready, the last with {reason}"
        ));
        self.tell_of_end();
        self.ground.wake_all_workers();
    }

    /// Wakes the parent for the end of a worker, even if the parent does not listen. A killed worker may have cleared
    /// the parent's `listening`, and have died before it raised the news.
    fn tell_of_end(&self) {
        self.ground.board().ends.fetch_add(1, SeqCst);
        raise(self.ground.news());
    }

    /// Kills the workers of cancelled chunks.
    fn end_doomed(&self) {
        let slots = self.ground.slots();
        for (entry, post) in self.ground.entries().iter().zip(&self.posts) {
            let doomed = entry.doomed.load(SeqCst);
            let (Some(sequence), Some(worker)) = (doomed.checked_sub(1), post) else { continue };
            fence(SeqCst); // against the worker, which ends the chunk and then looks at the doom
            let slot = slots.get(place_of(sequence, slots.len()));
            let claimed = word(SlotState::Claimed(entry.ticket.load(Relaxed)), sequence);
            if slot.is_some_and(|slot| slot.word.load(SeqCst) == claimed) {
                let _ = worker.kill(); // its end is seen like any other
            } else {
                let _ = entry.doomed.compare_exchange(doomed, 0, SeqCst, Relaxed);
            }
        }
    }

    /// The earliest time at which a running call may time out.
    fn next_expiry(&self) -> Deadline {
        let Some(timeout) = self.setup.timeout else { return Deadline::NEVER };
        let running =
            self.ground.entries().iter().map(|entry| entry.expires.load(SeqCst)).filter(|expires| *expires != 0);
        // A call that begins from now on has its whole time.
        running.map(Deadline::from_nanos).fold(Deadline::after(timeout), Deadline::or_sooner)
    }

    /// Kills the workers whose calls have timed out.
    fn end_late(&self) {
        if self.setup.timeout.is_none() {
            return;
        }
        for (entry, post) in self.ground.entries().iter().zip(&self.posts) {
            let late = |expires: u64| expires != 0 && Deadline::from_nanos(expires).has_passed();
            let expires = entry.expires.load(SeqCst);
            let (true, Some(worker)) = (late(expires), post) else { continue };
            if entry.mark_late(expires) {
                let _ = worker.kill(); // its end is seen like any other
            }
        }
    }

    /// Ends all workers: with `SIGTERM` first if the parent is alive, then with `SIGKILL`.
    fn end_all(&mut self) {
        let mode = self.ground.board().mode.load(SeqCst);
        let polite = mode != KILLED && parent_process().is_none_or(|parent| parent.is_alive().unwrap_or(false));
        for worker in self.posts.iter().flatten() {
            let _ = if polite { worker.terminate() } else { worker.kill() }; // it may have ended meanwhile
        }
        let grace = match mode {
            _ if !polite => Duration::ZERO,
            INTERRUPTED => SHORT_GRACE,
            _ => GRACE,
        };
        self.wait_for_all(Deadline::after(grace));
        for worker in self.posts.iter().flatten() {
            let _ = worker.kill(); // as above
        }
        for worker in self.posts.drain(..).flatten() {
            let _ = worker.join_timeout(GRACE); // a killed process ends, unless the kernel holds it
        }
    }

    /// Waits until all workers have ended, until the deadline, or until the parent wants them killed.
    fn wait_for_all(&mut self, deadline: Deadline) {
        loop {
            for post in &mut self.posts {
                if post.as_ref().is_some_and(|worker| matches!(worker.join_timeout(Deadline::NOW), Ok(Some(_)))) {
                    *post = None;
                }
            }
            let killed = self.ground.board().mode.load(SeqCst) == KILLED;
            if killed || deadline.has_passed() || self.posts.iter().all(Option::is_none) {
                return;
            }
            let mut fds = vec![PollFd::new(self.ground.nudge(), PollFlags::IN)];
            fds.extend(self.posts.iter().flatten().map(|worker| PollFd::new(worker, PollFlags::IN)));
            if poll(&mut fds, deadline).is_err() {
                return;
            }
            lower(self.ground.nudge());
        }
    }
}

#[cold]
fn no_entry() -> Error {
    Error::new(ErrorKind::OutOfRange, "the pool has no such entry")
}
