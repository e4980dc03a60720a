//! A job board on a manager: workers of this program, and of CPython, take jobs from one queue and record their
//! results.
//!
//! `cargo run --example job_board [-- --workers N] [--jobs N]`. A CPython joins while it runs: the program prints the
//! lines. With `--self-test` it checks what it prints.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::process::ExitCode;
use std::time::Duration;

use ossature::multiprocessing::connection::AuthKey;
use ossature::multiprocessing::managers::{self, DictProxy, QueueProxy};
use ossature::multiprocessing::{Context, Manager, Process, Tasks, freeze_support, managed, tasks};
use own::{Outcome, option, self_test};

const USAGE: &str = "\
usage: job_board [--workers N] [--jobs N] [--self-test]
Workers take jobs from a board that lives in a process of its own.
  --workers N  how many processes work (default: 3)
  --jobs N     how many jobs there are (default: 12)
  --self-test  checks what it prints";

/// The record of the work so far: an ordinary type, which the macro serves.
#[derive(Debug, Default)]
pub struct Board {
    done: Vec<(u64, String)>,
}

managed! {
    impl Board as BoardProxy {
        /// Creates an empty board.
        pub fn new() -> Self {
            Self::default()
        }

        /// Records that a worker has finished a job, and returns the number of finished jobs.
        pub fn note(&mut self, job: u64, worker: String) -> usize {
            self.done.push((job, worker));
            self.done.len()
        }

        /// The number of jobs that a worker has finished.
        pub fn done_by(&self, worker: String) -> Result<usize, String> {
            match self.done.iter().filter(|(_, by)| *by == worker).count() {
                0 => Err(format!("worker {worker}: no job is done")),
                jobs => Ok(jobs),
            }
        }
    }
}

static TASKS: Tasks = tasks![managers::serve::<(Board,)>, work];

/// Takes jobs until none arrives for a while.
fn work(jobs: QueueProxy<u64>, squares: DictProxy<u64, u64>, board: BoardProxy, name: String) -> ossature::Result<()> {
    while let Some(job) = jobs.get_timeout(Duration::from_millis(200))? {
        squares.insert(&job, &(job * job))?;
        board.note(job, name.clone())?;
        jobs.task_done()?;
    }
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(TASKS); // first in main
    front::run(USAGE, program)
}

fn program() -> Outcome {
    match self_test(&["--workers", "2", "--jobs", "8"])? {
        None => board(),
        Some(text) if text.contains("8 jobs are done: 0 1 4 9 16 25 36 49") && text.contains("refused: ") => Ok(()),
        Some(_) => Err("the jobs are not done".into()),
    }
}

fn board() -> Outcome {
    let workers: u32 = option("workers").map_or(Ok(3), |number| number.parse())?;
    let count: u64 = option("jobs").map_or(Ok(12), |number| number.parse())?;
    let key = AuthKey::from("job board"); // agreed with the workers in Python; a secret in earnest
    let manager = Manager::builder().types::<(Board,)>().authkey(&key).start(Context::Spawn)?;
    println!("a worker in Python may join:");
    println!("  from multiprocessing.managers import BaseManager");
    println!("  m = BaseManager('{}', b'job board'); m.connect()", manager.address());

    let (jobs, squares, board) = (manager.queue(0)?, manager.dict()?, BoardProxy::new(&manager)?);
    for job in 0..count {
        jobs.put(&job)?;
    }
    let start = |number: u32| {
        let name = format!("worker {number}");
        // The workers know the key as their own, for proxies that reach them.
        let builder = Process::builder().context(Context::Spawn).authkey(key.clone());
        builder.start(work, (jobs.clone(), squares.clone(), board.clone(), name))
    };
    let working = (1..=workers).map(start).collect::<Result<Vec<_>, _>>()?;
    jobs.join()?; // until each job is done
    let mut results = squares.values()?;
    results.sort_unstable();
    let results: Vec<String> = results.iter().map(u64::to_string).collect();
    println!("{count} jobs are done: {}", results.join(" "));
    if let Err(refused) = board.done_by("nobody".to_owned()) {
        println!("refused: {refused}");
    }
    for process in &working {
        process.join()?;
    }
    manager.shutdown()?;
    Ok(())
}
