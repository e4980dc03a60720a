//! The choice of the next task and the length of its turn: three known policies.

use std::time::{Duration, Instant};

use crate::own::Outcome;
use crate::task::Task;

/// The next turn.
#[derive(Debug, PartialEq)]
pub enum Turn {
    /// The task with this index, for this duration.
    Of(usize, Duration),
    /// No task, for this duration.
    Nobody(Duration),
}

/// A policy that chooses among tasks of which at least one is ready.
pub trait Policy {
    fn next(&mut self, tasks: &mut [Task], now: Instant) -> Turn;

    /// Receives how long a task ran in its turn, which may be shorter than the turn.
    fn ran(&mut self, _index: usize, _span: Duration) {}
}

/// The policy with the name `name`.
pub fn named(name: &str, quantum: Duration, tasks: &[Task]) -> Outcome<Box<dyn Policy>> {
    Ok(match name {
        "round-robin" => Box::new(RoundRobin { quantum, last: usize::MAX }),
        "lottery" => {
            let mut seed = [0; 8];
            ossature::sys::random::fill(&mut seed)?;
            Box::new(Lottery { quantum, random: u64::from_ne_bytes(seed) | 1 })
        }
        "deadline" => Box::new(Deadline::new(tasks)),
        other => return Err(format!("{other} is not a policy; use round-robin, lottery or deadline").into()),
    })
}

/// Runs one task after the other, each for the same time.
struct RoundRobin {
    quantum: Duration,
    last: usize,
}

impl Policy for RoundRobin {
    fn next(&mut self, tasks: &mut [Task], _: Instant) -> Turn {
        let count = tasks.len();
        let after = (1..=count).map(|step| self.last.wrapping_add(step) % count);
        match after.into_iter().find(|index| tasks[*index].is_ready()) {
            Some(index) => {
                self.last = index;
                Turn::Of(index, self.quantum)
            }
            None => Turn::Nobody(self.quantum),
        }
    }
}

/// Draws a ticket among those of the ready tasks.
struct Lottery {
    quantum: Duration,
    random: u64,
}

impl Policy for Lottery {
    fn next(&mut self, tasks: &mut [Task], _: Instant) -> Turn {
        // Marsaglia's xorshift: no secret depends on it.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let ready = || tasks.iter().enumerate().filter(|(_, task)| task.is_ready());
        let all: u64 = ready().map(|(_, task)| u64::from(task.wish.tickets)).sum();
        let mut drawn = self.random.checked_rem(all).unwrap_or(0);
        for (index, task) in ready() {
            match drawn.checked_sub(task.wish.tickets.into()) {
                Some(left) => drawn = left,
                None => return Turn::Of(index, self.quantum),
            }
        }
        Turn::Nobody(self.quantum)
    }
}

/// Gives each task a part of every period; the task whose period ends first goes first.
struct Deadline {
    jobs: Vec<Job>,
}

/// The current period of a task.
struct Job {
    ends: Instant,
    left: Duration,
}

impl Deadline {
    fn new(tasks: &[Task]) -> Self {
        let now = Instant::now();
        let job = |task: &Task| Job { ends: now + task.wish.period, left: task.wish.part };
        Self { jobs: tasks.iter().map(job).collect() }
    }
}

impl Policy for Deadline {
    fn next(&mut self, tasks: &mut [Task], now: Instant) -> Turn {
        for (job, task) in self.jobs.iter_mut().zip(tasks.iter_mut()) {
            while job.ends <= now {
                task.missed += u32::from(task.is_ready() && !job.left.is_zero());
                job.ends += task.wish.period;
                job.left = task.wish.part;
            }
        }
        let ready = || self.jobs.iter().enumerate().filter(|(index, _)| tasks[*index].is_ready());
        let until = |instant: Instant| instant.saturating_duration_since(now);
        // A period that ends meanwhile begins another, which may be more urgent.
        let next_end = ready().map(|(_, job)| until(job.ends)).min().unwrap_or_default();
        let due = ready().filter(|(_, job)| !job.left.is_zero());
        match due.min_by_key(|(_, job)| job.ends) {
            Some((index, job)) => Turn::Of(index, job.left.min(next_end)),
            None => Turn::Nobody(next_end),
        }
    }

    fn ran(&mut self, index: usize, span: Duration) {
        self.jobs[index].left = self.jobs[index].left.saturating_sub(span);
    }
}
