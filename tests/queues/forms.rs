//! The behaviour of a queue within one process.

use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Access, Connection};
use ossature::multiprocessing::queues::{PutError, QueueBuilder};
use ossature::multiprocessing::{JoinableQueue, Queue, SimpleQueue, pipe};
use ossature::sys::futex::Cancel;
use serde::{Deserialize, Serialize};

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("items_come_in_their_order_and_are_there_at_once", items_come_in_their_order),
    ("bounded_queue_gives_the_item_back", bounded_queue_gives_the_item_back),
    ("put_and_get_keep_their_limit", put_and_get_keep_their_limit),
    ("sleeping_putter_goes_on_when_an_item_was_got", sleeping_putter_goes_on),
    ("shutdown_ends_both_sides", shutdown_ends_both_sides),
    ("item_that_cannot_be_encoded_is_an_error_of_put", item_that_cannot_be_encoded),
    ("item_of_another_type_is_an_error_of_get", item_of_another_type),
    ("join_waits_for_every_task", join_waits_for_every_task),
    ("task_done_once_for_each_item", task_done_once_for_each_item),
    ("queue_goes_over_a_connection_of_the_program_and_to_nobody_else", queue_goes_within_the_program),
    ("queue_without_items_takes_few_pages", queue_without_items_takes_few_pages),
    ("threads_of_one_process_use_one_queue", threads_use_one_queue),
    ("put_that_waits_for_room_lets_others_put", put_that_waits_for_room_lets_others_put),
    ("call_that_does_not_wait_waits_for_another_that_joins", call_that_does_not_wait),
];

const SOON: Duration = Duration::from_millis(5);

/// Waits for the ends of threads, which a scope does not. Until then they take part in the queue.
fn end<'s>(threads: impl IntoIterator<Item = std::thread::ScopedJoinHandle<'s, ()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn items_come_in_their_order() {
    let queue = Queue::new().unwrap();
    for number in 0..1000_u32 {
        queue.put((number, "x".repeat(number as usize))).unwrap();
        assert!(!queue.is_empty().unwrap(), "as soon as put returned");
    }
    assert_eq!(queue.len().unwrap(), 1000);
    for number in 0..1000 {
        let (got, text): (u32, String) = queue.get().unwrap();
        assert_eq!((got, text.len()), (number, number as usize));
    }
    assert!(queue.is_empty().unwrap());
    let simple = SimpleQueue::new().unwrap();
    simple.put(vec![0_u8; 2_000_000]).unwrap();
    assert_eq!(simple.get().unwrap().len(), 2_000_000);
    assert!(simple.is_empty().unwrap());
}

fn bounded_queue_gives_the_item_back() {
    let queue = Queue::bounded(3).unwrap();
    for round in 0..50 {
        for number in 0..3 {
            assert!(!queue.is_full().unwrap());
            queue.try_put(vec![number; 3]).unwrap();
        }
        assert!(queue.is_full().unwrap());
        let error = queue.try_put(vec![9]).unwrap_err();
        assert!(error.is_full() && error.to_string().contains("maxsize"), "{error} in round {round}");
        assert_eq!(error.into_inner(), [9]);
        assert_eq!(queue.get().unwrap(), [0; 3]);
        queue.try_put(vec![3; 3]).unwrap();
        for number in 1..4 {
            assert_eq!(queue.get().unwrap(), [number; 3]);
        }
    }
    let error: ossature::Error = {
        let full = Queue::bounded(1).unwrap();
        full.put(1).unwrap();
        full.try_put(2).unwrap_err().into()
    };
    assert_eq!(error.kind(), ErrorKind::Full);
    assert_eq!(Queue::<u8>::bounded(0).unwrap().maxsize(), None, "as with Python");
}

fn put_and_get_keep_their_limit() {
    let (queue, stop) = (Queue::bounded(1).unwrap(), Cancel::new());
    assert!(queue.get_timeout(SOON).unwrap().is_none());
    queue.put(1).unwrap();
    assert!(queue.put_timeout(2, SOON).unwrap_err().is_full());
    stop.cancel();
    assert!(queue.put_timeout(2, &stop).unwrap_err().is_full());
    assert_eq!(queue.get_timeout(&stop).unwrap(), Some(1), "there is no wait to cancel");
    assert_eq!(queue.get_timeout(&stop).unwrap(), None);
}

fn sleeping_putter_goes_on() {
    let queue = &Queue::bounded(1).unwrap();
    queue.put(0).unwrap();
    std::thread::scope(|scope| {
        let putters: Vec<_> = (1..20).map(|number| scope.spawn(move || queue.put(number).unwrap())).collect();
        let mut got: Vec<i32> = (0..20).map(|_| queue.get().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, (0..20).collect::<Vec<_>>());
        end(putters);
    });
}

fn shutdown_ends_both_sides() {
    let queue = Queue::bounded(2).unwrap();
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| queue.put(3));
        while !queue.is_full().unwrap() {
            std::thread::yield_now();
        }
        queue.shutdown();
        // It either waited for room or came too late.
        assert!(matches!(waits.join().unwrap(), Err(PutError::ShutDown(3))));
    });
    assert_eq!(queue.iter().map(Result::unwrap).collect::<Vec<i32>>(), [1, 2]);
    assert_eq!(queue.get().unwrap_err().kind(), ErrorKind::ShutDown);
    assert_eq!(queue.try_get().unwrap_err().kind(), ErrorKind::ShutDown);
    let error: ossature::Error = queue.put(4).unwrap_err().into();
    assert_eq!(error.kind(), ErrorKind::ShutDown);

    let tasks = JoinableQueue::new().unwrap();
    tasks.put(1).unwrap();
    tasks.put(2).unwrap();
    let _: i32 = tasks.get().unwrap();
    std::thread::scope(|scope| {
        let joins = scope.spawn(|| tasks.join());
        assert_eq!(tasks.shutdown_now().unwrap(), 1);
        tasks.task_done().unwrap();
        joins.join().unwrap().unwrap();
    });
    assert_eq!(tasks.get().unwrap_err().kind(), ErrorKind::ShutDown);
}

struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it will not"))
    }
}

fn item_that_cannot_be_encoded() {
    let queue = Queue::new().unwrap();
    let error = queue.put(Stubborn).unwrap_err();
    assert!(error.to_string().contains("it will not"), "{error}");
    assert!(matches!(error, PutError::Failed(Stubborn, _)) && queue.is_empty().unwrap());
}

#[derive(Debug, Deserialize)]
struct Other {
    _name: String,
}

fn item_of_another_type() {
    let queue = Queue::new().unwrap();
    queue.put(300_u32).unwrap();
    let (near, far) = pipe().unwrap();
    near.send(&queue).unwrap();
    let other: Queue<Other> = far.recv().unwrap();
    let error = other.get().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("Other"), "{error}");
}

fn join_waits_for_every_task() {
    let tasks = &JoinableQueue::new().unwrap();
    for number in 0..300_u32 {
        tasks.put(number).unwrap();
    }
    std::thread::scope(|scope| {
        let workers = [(); 3].map(|()| {
            scope.spawn(|| {
                while let Some(task) = tasks.try_get().unwrap() {
                    assert!(task < 300);
                    tasks.task_done().unwrap();
                }
            })
        });
        tasks.join().unwrap();
        end(workers);
        assert_eq!(tasks.unfinished().unwrap(), 0);
    });
}

fn task_done_once_for_each_item() {
    let tasks = JoinableQueue::new().unwrap();
    tasks.join().unwrap();
    tasks.put(1_u8).unwrap();
    let error = tasks.task_done().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("once for each item"), "{error}");
    tasks.get().unwrap();
    tasks.task_done().unwrap();
    assert!(tasks.task_done().is_err());
    assert!(tasks.join_timeout(Duration::ZERO).unwrap());
}

fn queue_goes_within_the_program() {
    let queue = Queue::<String>::bounded(4).unwrap();
    let (near, far) = pipe().unwrap();
    near.send(&queue).unwrap();
    let there: Queue<String> = far.recv().unwrap();
    assert_eq!(there.maxsize(), Some(4));
    there.put("over there".to_owned()).unwrap();
    assert_eq!(queue.get().unwrap(), "over there");
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let stranger = Connection::from_fd(one.into(), Access::Both).unwrap();
    let error = stranger.send(&queue).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAllowed);
}

fn queue_without_items_takes_few_pages() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssShmem")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let before = resident();
    let queues: Vec<Queue<u32>> = (0..20).map(|_| Queue::new().unwrap()).collect();
    for queue in &queues {
        for round in 0..2000 {
            queue.put(round).unwrap();
            queue.get().unwrap();
        }
    }
    let each = (resident() - before) / queues.len();
    assert!(each < 64, "{each} KiB for a queue that is never long");
}

fn threads_use_one_queue() {
    let queue = &Queue::new().unwrap();
    std::thread::scope(|scope| {
        let putters = [0_u32, 1, 2, 3].map(|thread| {
            scope.spawn(move || {
                for number in 0..1000_u32 {
                    queue.put((thread, number)).unwrap();
                }
            })
        });
        let mut next = [0_u32; 4];
        for _ in 0..4000 {
            let (thread, number) = queue.get().unwrap();
            assert_eq!(number, next[thread as usize], "of one thread in order");
            next[thread as usize] += 1;
        }
        end(putters);
    });
}

/// A long item does not fit. Shorter items do, and the bound allows them.
fn put_that_waits_for_room_lets_others_put() {
    let queue: &Queue<Vec<u8>> = &QueueBuilder::new().capacity(64 << 10).maxsize(100).build().unwrap();
    queue.put(vec![1; 40_000]).unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| queue.put(vec![2; 40_000]).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        for _ in 0..20 {
            queue.try_put(vec![3; 100]).unwrap();
        }
        let mut lengths = Vec::new();
        while lengths.len() < 22 {
            lengths.push(queue.get().unwrap().len());
        }
        assert_eq!(lengths.iter().filter(|&&len| len == 40_000).count(), 2);
        end([waits]);
    });
}

/// Puts an item without a wait. Under an emulator, a thread may be stopped for longer than the 10 ms that the call
/// gives it.
fn put_now(queue: &Queue<i32>) {
    let may_stand_still =
        std::env::var_os("OSSATURE_EMULATED").is_some() || std::env::var_os("OSSATURE_TEST_SLOWNESS").is_some();
    while let Err(error) = queue.try_put(1) {
        assert!(may_stand_still, "{error}");
    }
}

/// Many threads put for the first time, at once: no call fails for lack of room.
fn call_that_does_not_wait() {
    for _ in 0..10 {
        let (unbounded, bounded) = (&Queue::new().unwrap(), &Queue::bounded(1000).unwrap());
        std::thread::scope(|scope| {
            let threads = [(); 12].map(|()| {
                scope.spawn(|| {
                    for _ in 0..20 {
                        put_now(unbounded);
                        put_now(bounded);
                    }
                })
            });
            end(threads);
        });
        assert_eq!((unbounded.len().unwrap(), bounded.len().unwrap()), (240, 240));
    }
}
