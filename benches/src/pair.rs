//! Two processes at work on one object: this process and a forked one, each on its core, for the same time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use std::time::Duration;

use crate::machine;
use crate::rivals::{futex_wait, futex_wake};

/// The work of each process, the first or the second, until the given instant; returns the number of operations.
type Job<'a> = Box<dyn Fn(u64, usize) -> u64 + 'a>;

/// Jobs, and the two processes that run them.
pub struct Pair<'a> {
    cores: [usize; 2],
    jobs: Vec<Job<'a>>,
    partner: Option<libc::pid_t>,
    control: &'static Control,
}

impl std::fmt::Debug for Pair<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("cores", &self.cores).field("partner", &self.partner).finish()
    }
}

/// The results of the two in one run.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Nanoseconds per operation over both processes.
    pub each: f64,
    /// The slower party's number of operations divided by the faster's.
    pub fairness: f64,
}

#[repr(align(128))]
struct Control {
    command: AtomicU32,
    answers: AtomicU32,
    job: AtomicU32,
    start: AtomicU64,
    stop: AtomicU64,
    done: AtomicU64,
    over: AtomicU32,
}

/// The number of exchanges between two reads of the clock.
const LOOK: u64 = 16;

impl<'a> Pair<'a> {
    /// Two parties for `cores`, which may be the same core twice, without a job.
    pub fn on(cores: [usize; 2]) -> Self {
        let control = Control {
            command: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            job: AtomicU32::new(0),
            start: AtomicU64::new(0),
            stop: AtomicU64::new(0),
            done: AtomicU64::new(0),
            over: AtomicU32::new(0),
        };
        Self { cores, jobs: Vec::new(), partner: None, control: machine::shared(control) }
    }

    /// Adds the job of repeating `operation`, with `between` operations between two reads of the clock, and returns its
    /// number.
    ///
    /// # Panics
    ///
    /// If the pair is at work already.
    pub fn add(&mut self, between: u64, operation: impl Fn() + 'a) -> usize {
        assert!(self.partner.is_none(), "the partner already has its list of jobs");
        self.jobs.push(Box::new(move |stop, _| {
            let mut done = 0;
            while monotonic() < stop {
                for _ in 0..between {
                    operation();
                }
                done += between;
            }
            done
        }));
        self.jobs.len() - 1
    }

    /// Adds the job of sending a token back and forth, and returns its number. `post` puts the token into the mailbox
    /// of a side, and `take` waits for it in its own. Each direction counts as one operation.
    ///
    /// # Panics
    ///
    /// If the pair is at work already.
    pub fn exchange(&mut self, post: impl Fn(usize) + 'a, take: impl Fn(usize) + 'a) -> usize {
        assert!(self.partner.is_none(), "the partner already has its list of jobs");
        let over = &self.control.over;
        self.jobs.push(Box::new(move |stop, side| {
            let mut done = 0;
            loop {
                if side == 1 {
                    take(1);
                    // Before the answer, after which the first one may say something else.
                    let last = over.load(Relaxed) == 1;
                    post(0);
                    done += 1;
                    if last {
                        return done;
                    }
                } else {
                    let last = done % LOOK == LOOK - 1 && monotonic() >= stop;
                    over.store(u32::from(last), Relaxed);
                    post(1);
                    take(0);
                    done += 1;
                    if last {
                        return done;
                    }
                }
            }
        }));
        self.jobs.len() - 1
    }

    /// Runs job number `job` in both processes for `span`.
    pub fn run(&mut self, job: usize, span: Duration) -> Outcome {
        if self.partner.is_none() {
            self.partner = Some(self.start_partner());
        }
        let control = self.control;
        // Time enough for the partner to be awake on its own core before either begins.
        let start = monotonic() + 300_000;
        control.job.store(job as u32, Relaxed);
        control.start.store(start, Relaxed);
        control.stop.store(start + span.as_nanos() as u64, Relaxed);
        let turn = control.command.fetch_add(1, Release) + 1;
        futex_wake(&control.command, 1);
        let mine = machine::on_core(self.cores[0], || control.work(&self.jobs, 0));
        loop {
            let answers = control.answers.load(Acquire);
            if answers == turn {
                break;
            }
            futex_wait(&control.answers, answers);
        }
        let (mine, theirs) = (mine as f64, control.done.load(Relaxed) as f64);
        Outcome { each: span.as_nanos() as f64 / (mine + theirs), fairness: mine.min(theirs) / mine.max(theirs) }
    }

    fn start_partner(&self) -> libc::pid_t {
        // SAFETY: the child runs only the jobs, futex calls and prctl, and it leaves by _exit or by being killed; this
        // process has one thread, so no lock can be left held in the child.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork");
        if child > 0 {
            return child;
        }
        // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        machine::pin(&self.cores[1..]);
        let control = self.control;
        for turn in 1.. {
            while control.command.load(Acquire) != turn {
                futex_wait(&control.command, turn - 1);
            }
            control.done.store(control.work(&self.jobs, 1), Relaxed);
            control.answers.store(turn, Release);
            futex_wake(&control.answers, 1);
        }
        unreachable!("the parent ends before four thousand million turns")
    }
}

impl Control {
    /// Runs the job of this turn at its start time.
    fn work(&self, jobs: &[Job<'_>], side: usize) -> u64 {
        let job = &jobs[self.job.load(Relaxed) as usize];
        // On one core the other party has to get there too.
        while monotonic() < self.start.load(Relaxed) {
            std::thread::yield_now();
        }
        job(self.stop.load(Relaxed), side)
    }
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        if let Some(partner) = self.partner.take() {
            // SAFETY: the partner is our own child and not reaped yet, so the number is still its own.
            unsafe { libc::kill(partner, libc::SIGKILL) };
            // SAFETY: waitpid(2) takes a null status pointer.
            unsafe { libc::waitpid(partner, std::ptr::null_mut(), 0) };
        }
    }
}

/// The monotonic clock in nanoseconds, the same in all processes.
pub fn monotonic() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime(2) fills the struct it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
