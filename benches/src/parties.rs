//! Several parties at work on one object, each on its core, for a fixed number of operations: as processes, or as
//! threads of this process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use crate::machine;
use crate::pair::monotonic;
use crate::rivals::{futex_wait, futex_wake};

/// The work of each party, the first of which is this process: the number of the party, and the number of operations.
type Job<'a> = Box<dyn Fn(usize, u64) + 'a>;

/// Jobs, and the processes that run them.
pub struct Parties<'a> {
    cores: Vec<usize>,
    jobs: Vec<Job<'a>>,
    others: Vec<libc::pid_t>,
    control: &'static Control,
}

impl std::fmt::Debug for Parties<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parties").field("cores", &self.cores).field("others", &self.others).finish_non_exhaustive()
    }
}

/// The nanoseconds within which all parties wake on their cores before any begins.
const GATHER: u64 = 300_000;

#[derive(Default)]
#[repr(align(128))]
struct Control {
    command: AtomicU32,
    answers: AtomicU32,
    job: AtomicU32,
    count: AtomicU64,
    start: AtomicU64,
    /// The time at which the last party finished.
    end: AtomicU64,
}

impl<'a> Parties<'a> {
    /// Creates a party for each of these cores, which may repeat, without a job.
    pub fn on(cores: &[usize]) -> Self {
        let control = machine::shared(Control::default());
        Self { cores: cores.to_vec(), jobs: Vec::new(), others: Vec::new(), control }
    }

    /// Adds a job, and returns its number.
    ///
    /// # Panics
    ///
    /// If the parties are at work already.
    pub fn add(&mut self, job: impl Fn(usize, u64) + 'a) -> usize {
        assert!(self.others.is_empty(), "the others already have their list of jobs");
        self.jobs.push(Box::new(job));
        self.jobs.len() - 1
    }

    /// Runs job number `job` with `count` in all parties; returns the nanoseconds until the last one finished.
    pub fn run(&mut self, job: usize, count: u64) -> f64 {
        while self.others.len() + 1 < self.cores.len() {
            self.others.push(self.start_other(self.others.len() + 1));
        }
        let control = self.control;
        let start = monotonic() + GATHER;
        control.job.store(job as u32, Relaxed);
        control.count.store(count, Relaxed);
        control.start.store(start, Relaxed);
        control.end.store(0, Relaxed);
        control.answers.store(0, Relaxed);
        control.command.fetch_add(1, Release);
        futex_wake(&control.command, i32::MAX);
        machine::on_core(self.cores[0], || control.work(&self.jobs, 0));
        loop {
            let answers = control.answers.load(Acquire);
            if answers as usize == self.others.len() {
                break;
            }
            futex_wait(&control.answers, answers);
        }
        (control.end.load(Relaxed) - start) as f64
    }

    fn start_other(&self, party: usize) -> libc::pid_t {
        let before = self.control.command.load(Relaxed);
        // SAFETY: this process has one thread, so no lock can be left held in the child, which leaves by being killed.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork");
        if child > 0 {
            return child;
        }
        // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        machine::pin(&self.cores[party..=party]);
        let control = self.control;
        for turn in before + 1.. {
            while control.command.load(Acquire) != turn {
                futex_wait(&control.command, turn - 1);
            }
            if catch_unwind(AssertUnwindSafe(|| control.work(&self.jobs, party))).is_err() {
                // The others would wait for ever.
                // SAFETY: getppid(2) has no preconditions.
                let parent = unsafe { libc::getppid() };
                // SAFETY: kill(2) takes numbers only; the parent lives, since this child ends with it.
                unsafe { libc::kill(parent, libc::SIGTERM) };
            }
            control.answers.fetch_add(1, Release);
            futex_wake(&control.answers, 1);
        }
        unreachable!("the parent ends before four thousand million turns")
    }
}

impl Control {
    fn work(&self, jobs: &[Job<'_>], party: usize) {
        let job = &jobs[self.job.load(Relaxed) as usize];
        wait_until(self.start.load(Relaxed));
        job(party, self.count.load(Relaxed));
        self.end.fetch_max(monotonic(), Relaxed);
    }
}

impl Drop for Parties<'_> {
    fn drop(&mut self) {
        for other in self.others.drain(..) {
            // SAFETY: it is our own child and not reaped yet, so the number is still its own.
            unsafe { libc::kill(other, libc::SIGKILL) };
            // SAFETY: waitpid(2) takes a null status pointer.
            unsafe { libc::waitpid(other, std::ptr::null_mut(), 0) };
        }
    }
}

/// Waits until `start`, and yields so that parties on the same core reach it too.
fn wait_until(start: u64) {
    while monotonic() < start {
        std::thread::yield_now();
    }
}

/// Runs `job` once in threads of this process; returns the nanoseconds until the last one finished.
pub fn threads(cores: &[usize], job: impl Fn(usize) + Sync) -> f64 {
    let start = monotonic() + GATHER;
    let end = AtomicU64::new(0);
    let work = |party: usize| {
        wait_until(start);
        job(party);
        end.fetch_max(monotonic(), Relaxed);
    };
    std::thread::scope(|scope| {
        for (party, core) in cores.iter().enumerate().skip(1) {
            let work = &work;
            scope.spawn(move || {
                machine::pin(&[*core]);
                work(party);
            });
        }
        machine::on_core(cores[0], || work(0));
    });
    (end.load(Relaxed) - start) as f64
}
