//! Queues as arguments of processes, and what Python's manual says about processes that use queues.

use std::time::Duration;

use ossature::multiprocessing::{Context, JoinableQueue, Process, Queue, SimpleQueue, Tasks, stop_forkserver, tasks};

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("workers_are_fed_until_a_stop_in_every_context", workers_are_fed_until_a_stop),
    ("process_with_items_in_a_queue_ends_and_is_joined", process_with_items_ends),
    ("joinable_queue_counts_over_processes", joinable_queue_counts_over_processes),
    ("simple_queue_is_an_argument", simple_queue_is_an_argument),
    ("forked_child_uses_its_parents_queue", forked_child_uses_its_parents_queue),
];

pub static TASKS: Tasks = tasks![
    calculate,
    put_many,
    finish_all,
    echo,
    crate::killed::send_for_ever,
    crate::killed::get_for_ever,
    crate::readiness::put_slowly,
    crate::channel::send_for_ever,
    crate::channel::hold,
    crate::carried::answer,
    crate::carried::echo_long,
];

const PATIENCE: Duration = Duration::from_secs(30);

/// Python's example: workers take calls from one queue and put results into another until a STOP.
pub fn calculate(jobs: Queue<Option<(u64, u64)>>, results: Queue<u64>) -> ossature::Result<()> {
    while let Some((left, right)) = jobs.get()? {
        results.put(left * right)?;
    }
    Ok(())
}

fn workers_are_fed_until_a_stop() {
    for context in [Context::Fork, Context::Spawn, Context::Forkserver] {
        let (jobs, results) = (Queue::new().unwrap(), Queue::bounded(10).unwrap());
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let arguments = (jobs.try_clone().unwrap(), results.try_clone().unwrap());
                Process::builder().context(context).start(calculate, arguments).unwrap()
            })
            .collect();
        for number in 0..100 {
            jobs.put(Some((number, 2))).unwrap();
        }
        let mut sum = 0;
        for _ in 0..100 {
            sum += results.get_timeout(PATIENCE).unwrap().expect("a result");
        }
        assert_eq!(sum, 9900);
        for _ in &workers {
            jobs.put(None).unwrap();
        }
        for worker in workers {
            assert!(worker.join_timeout(PATIENCE).unwrap().is_some());
            assert_eq!(worker.exit_code(), Some(0));
        }
    }
    assert!(stop_forkserver(PATIENCE).unwrap());
}

pub fn put_many(queue: Queue<Vec<u8>>) -> ossature::Result<()> {
    for _ in 0..1000 {
        queue.put(vec![7; 1000])?;
    }
    Ok(())
}

/// With Python this waits forever: the process does not end before its items are read.
fn process_with_items_ends() {
    let queue = Queue::new().unwrap();
    let process = Process::spawn(put_many, (queue.try_clone().unwrap(),)).unwrap();
    assert!(process.join_timeout(PATIENCE).unwrap().is_some(), "joined before its items are read");
    assert_eq!(queue.len().unwrap(), 1000);
    for _ in 0..1000 {
        assert_eq!(queue.get().unwrap(), [7; 1000]);
    }
}

pub fn finish_all(tasks: JoinableQueue<u32>) -> ossature::Result<()> {
    while let Ok(task) = tasks.get() {
        assert!(task < 50);
        tasks.task_done()?;
    }
    Ok(())
}

fn joinable_queue_counts_over_processes() {
    let tasks = JoinableQueue::bounded(5).unwrap();
    let worker = Process::spawn(finish_all, (tasks.try_clone().unwrap(),)).unwrap();
    for task in 0..50 {
        tasks.put(task).unwrap();
    }
    assert!(tasks.join_timeout(PATIENCE).unwrap());
    tasks.shutdown();
    assert!(worker.join_timeout(PATIENCE).unwrap().is_some());
    assert_eq!(worker.exit_code(), Some(0));
}

pub fn echo(from: SimpleQueue<String>, to: SimpleQueue<String>) -> ossature::Result<()> {
    to.put(from.get()?)?;
    Ok(())
}

fn simple_queue_is_an_argument() {
    let (to, from) = (SimpleQueue::new().unwrap(), SimpleQueue::new().unwrap());
    let worker = Process::spawn(echo, (to.try_clone().unwrap(), from.try_clone().unwrap())).unwrap();
    to.put("there and back".to_owned()).unwrap();
    assert_eq!(from.get().unwrap(), "there and back");
    worker.join().unwrap();
}

/// The parent's thread has used the queue before; the child is another participant.
fn forked_child_uses_its_parents_queue() {
    let queue = Queue::new().unwrap();
    queue.put(1).unwrap();
    let child = Process::fork(|| {
        queue.put(2).unwrap();
        0_u8
    })
    .unwrap();
    child.join().unwrap();
    queue.put(3).unwrap();
    assert_eq!([queue.get().unwrap(), queue.get().unwrap(), queue.get().unwrap()], [1, 2, 3]);
}
