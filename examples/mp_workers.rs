//! Queues that feed workers: the manual's program, which ends each worker with a STOP item, and a variant that shuts
//! the queue down.
//!
//! `cargo run --example mp_workers [-- --shutdown]`. With `--self-test` it checks what both print.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::process::ExitCode;
use std::time::Duration;

use ossature::multiprocessing::{Process, Queue, Tasks, current_process, freeze_support, tasks};
use own::{Outcome, self_test};
use serde::{Deserialize, Serialize};

const USAGE: &str = "\
usage: mp_workers [--shutdown] [--self-test]
Four processes take tasks from one queue, and put results into another.
  --shutdown   the end of the tasks is the end of their queue; without it a STOP for each worker
  --self-test  runs both ways, and checks what they print";

const WORKERS: usize = 4;

/// The maximum wait for a result; the tasks take milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

static TASKS: Tasks = tasks![work_until_stop, work_until_shutdown];

/// A task is plain data: Python sends the name of a function instead.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Task {
    Multiply(u32, u32),
    Add(u32, u32),
}

/// The items of the queue in the first form.
#[derive(Serialize, Deserialize)]
enum Order {
    Do(Task),
    Stop,
}

fn calculate(task: Task) -> String {
    let (text, result) = match task {
        Task::Multiply(a, b) => (format!("{a} * {b}"), a * b),
        Task::Add(a, b) => (format!("{a} + {b}"), a + b),
    };
    std::thread::sleep(Duration::from_millis(u64::from(result % 5)));
    format!("{} says that {text} = {result}", current_process().name())
}

/// Works until the queue yields STOP, as Python's `for func, args in iter(input.get, 'STOP')`.
fn work_until_stop(orders: Queue<Order>, results: Queue<String>) -> ossature::Result<()> {
    while let Order::Do(task) = orders.get()? {
        results.put(calculate(task))?;
    }
    Ok(())
}

fn work_until_shutdown(tasks: Queue<Task>, results: Queue<String>) -> ossature::Result<()> {
    for task in tasks.iter() {
        results.put(calculate(task?))?;
    }
    Ok(()) // the queue was shut down, and it is empty
}

/// Prints `count` results, in the order in which they arrive.
fn print_results(results: &Queue<String>, count: usize) -> Outcome {
    for _ in 0..count {
        println!("\t{}", results.get_timeout(PATIENCE)?.ok_or("no result in time: did a worker die?")?);
    }
    Ok(())
}

/// Puts tasks, and more when the first are done; `put` and `end` are what differs between the two forms.
fn feed(
    workers: Vec<Process>,
    results: &Queue<String>,
    put: impl Fn(Task) -> ossature::Result<()>,
    end: impl Fn() -> ossature::Result<()>,
) -> Outcome {
    let (first, second) = ((0..20).map(|i| Task::Multiply(i, 7)), (0..10).map(|i| Task::Add(i, 8)));
    first.clone().try_for_each(&put)?;
    println!("results as they come:");
    print_results(results, first.len())?;
    second.clone().try_for_each(&put)?;
    print_results(results, second.len())?;
    end()?;
    for worker in workers {
        let exit = worker.join_timeout(PATIENCE)?.ok_or("a worker did not end in time")?;
        println!("{} ended: {exit}", worker.name());
    }
    Ok(())
}

fn program() -> Outcome {
    for arguments in [&[][..], &["--shutdown"]] {
        match self_test(arguments)? {
            Some(text) => check(&text),
            None => break,
        }
    }
    if std::env::args().any(|argument| argument == "--self-test") {
        return Ok(());
    }
    let results = Queue::new()?;
    let builder = || Process::builder().daemon(true);
    if std::env::args().any(|argument| argument == "--shutdown") {
        let tasks = Queue::new()?;
        let start = |_| builder().start(work_until_shutdown, (tasks.try_clone()?, results.try_clone()?));
        let workers = (0..WORKERS).map(start).collect::<Result<_, _>>()?;
        feed(
            workers,
            &results,
            |task| Ok(tasks.put(task)?),
            || {
                tasks.shutdown(); // no more will come
                Ok(())
            },
        )
    } else {
        let orders = Queue::new()?;
        let start = |_| builder().start(work_until_stop, (orders.try_clone()?, results.try_clone()?));
        let workers = (0..WORKERS).map(start).collect::<Result<_, _>>()?;
        let stop_each = || (0..WORKERS).try_for_each(|_| Ok(orders.put(Order::Stop)?));
        feed(workers, &results, |task| Ok(orders.put(Order::Do(task))?), stop_each)
    }
}

fn check(text: &str) {
    let mut said: Vec<&str> =
        text.lines().filter_map(|line| line.split_once(" says that ")).map(|(_, said)| said).collect();
    assert!(said[..20].iter().all(|text| text.contains(" * 7 = ")), "the first tasks are done first:\n{text}");
    let mut all: Vec<String> = (0..20)
        .map(|i| format!("{i} * 7 = {}", i * 7))
        .chain((0..10).map(|i| format!("{i} + 8 = {}", i + 8)))
        .collect();
    said.sort_unstable();
    all.sort_unstable();
    assert_eq!(said, all);
    assert_eq!(text.matches(" ended: exit code 0\n").count(), WORKERS, "{text}");
}

fn main() -> ExitCode {
    freeze_support(TASKS); // first in main
    front::run(USAGE, program)
}
