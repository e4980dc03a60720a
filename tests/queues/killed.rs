//! Processes that are killed while they put and get.

use std::time::Duration;

use ossature::multiprocessing::{JoinableQueue, Process, Queue, Value};

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("items_of_killed_putters_are_whole_and_in_order", items_of_killed_putters),
    ("killed_getters_lose_no_item_but_their_own", killed_getters_lose_their_own),
    ("join_does_not_wait_for_a_killed_worker", join_does_not_wait_for_a_killed_worker),
    ("bounded_queue_keeps_its_bound_after_deaths", bounded_queue_keeps_its_bound),
];

const PATIENCE: Duration = Duration::from_secs(30);

pub fn send_for_ever(queue: Queue<(u32, u32, Vec<u8>)>, number: u32) -> ossature::Result<()> {
    for count in 0.. {
        queue.put((number, count, vec![number as u8; (count % 500) as usize]))?;
    }
    Ok(())
}

fn items_of_killed_putters() {
    let queue = Queue::bounded(50).unwrap();
    let mut next = [0; 12];
    for number in 0..12_u32 {
        let child = Process::fork(|| send_for_ever(queue.try_clone().unwrap(), number)).unwrap();
        let mut got = 0;
        while got < 200 + number * 37 {
            let (from, count, bytes) = queue.get_timeout(PATIENCE).unwrap().expect("the others go on");
            assert_eq!(count, next[from as usize], "in order, each once");
            assert!(bytes.len() == (count % 500) as usize && bytes.iter().all(|&byte| byte == from as u8));
            next[from as usize] += 1;
            got += u32::from(from == number);
        }
        child.kill().unwrap();
        child.join().unwrap();
    }
    queue.shutdown();
    for item in queue.iter() {
        let (from, count, _) = item.unwrap();
        assert_eq!(count, next[from as usize]);
        next[from as usize] += 1;
    }
}

pub fn get_for_ever(queue: Queue<u32>, seen: Value<[u32; 64]>) -> ossature::Result<()> {
    loop {
        let number = queue.get()?;
        let mut guard = seen.lock()?;
        guard.mark_consistent(); // the getter before may have been killed with it
        guard[number as usize / 32] |= 1 << (number % 32);
    }
}

/// Each kill may lose the one item that the process had received and not recorded.
fn killed_getters_lose_their_own() {
    const ITEMS: u32 = 2048;
    const KILLS: u32 = 12;
    let (queue, seen) = (Queue::new().unwrap(), Value::new([0_u32; 64]).unwrap());
    let mut put = 0;
    for kill in 0..KILLS {
        let child = Process::fork(|| get_for_ever(queue.try_clone().unwrap(), seen.try_clone().unwrap())).unwrap();
        for _ in 0..ITEMS / KILLS - 1 - kill % 3 {
            queue.put(put).unwrap();
            put += 1;
        }
        while queue.len().unwrap() > 20 {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.join().unwrap();
    }
    while let Some(number) = queue.try_get().unwrap() {
        let mut guard = seen.lock().unwrap();
        guard.mark_consistent();
        let word = &mut guard[number as usize / 32];
        assert_eq!(*word >> (number % 32) & 1, 0, "{number} was received twice");
        *word |= 1 << (number % 32);
    }
    let mut guard = seen.lock().unwrap();
    guard.mark_consistent();
    let got: u32 = guard.iter().map(|word| word.count_ones()).sum();
    assert!(got <= put && put - got <= KILLS, "{} of {put} are lost with {KILLS} deaths", put - got);
}

fn join_does_not_wait_for_a_killed_worker() {
    let tasks = JoinableQueue::new().unwrap();
    for task in 0..3_u32 {
        tasks.put(task).unwrap();
    }
    let got = Value::new(0_u32).unwrap();
    let child = Process::fork(|| -> u8 {
        tasks.get().unwrap();
        got.set(1).unwrap();
        loop {
            std::thread::park();
        }
    })
    .unwrap();
    while got.get().unwrap() == 0 {
        std::thread::yield_now();
    }
    for _ in 0..2 {
        tasks.get().unwrap();
        tasks.task_done().unwrap();
    }
    assert!(!tasks.join_timeout(Duration::from_millis(20)).unwrap(), "the worker has one");
    std::thread::scope(|scope| {
        let joins = scope.spawn(|| tasks.join_timeout(PATIENCE));
        child.kill().unwrap();
        assert!(joins.join().unwrap().unwrap(), "the dead are not waited for");
    });
    child.join().unwrap();
}

fn bounded_queue_keeps_its_bound() {
    let queue = Queue::bounded(4).unwrap();
    for number in 0..20 {
        let child = Process::fork(|| send_for_ever(queue.try_clone().unwrap(), number)).unwrap();
        for _ in 0..number {
            queue.get_timeout(PATIENCE).unwrap().unwrap();
        }
        child.kill().unwrap();
        child.join().unwrap();
        assert!(queue.len().unwrap() <= 4, "{} items", queue.len().unwrap());
    }
    while queue.try_get().unwrap().is_some() {}
    for _ in 0..4 {
        queue.try_put((0, 0, Vec::new())).unwrap();
    }
    assert!(queue.try_put((0, 0, Vec::new())).unwrap_err().is_full());
}
