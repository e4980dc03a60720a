//! The portable cases of CPython's `_TestQueue`, `TestSimpleQueue` and `test_queue`; docs/python-tests.md lists them.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Barrier, mpsc};
use std::thread::scope;
use std::time::{Duration, Instant};

use ossature::multiprocessing::queues::PutError;
use ossature::multiprocessing::{Event, JoinableQueue, Process, Queue, SimpleQueue};
use ossature::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("cases::a_full_queue_is_emptied_by_a_child", a_full_queue_is_emptied_by_a_child),
    ("cases::items_of_a_child_are_got_in_each_way", items_of_a_child_are_got_in_each_way),
    ("cases::items_of_parent_and_child_come_in_order", items_of_parent_and_child_come_in_order),
    ("cases::the_length_follows_puts_and_gets", the_length_follows_puts_and_gets),
    ("cases::four_children_finish_all_tasks", four_children_finish_all_tasks),
    ("cases::a_failed_put_takes_no_place", a_failed_put_takes_no_place),
    ("cases::a_child_sees_a_simple_queue_become_longer", a_child_sees_a_simple_queue_become_longer),
    ("cases::one_queue_is_filled_and_emptied_again_and_again", one_queue_is_filled_and_emptied_again_and_again),
    ("cases::tasks_are_joined_twice", tasks_are_joined_twice),
    ("cases::an_empty_queue_that_was_shut_down_refuses", an_empty_queue_that_was_shut_down_refuses),
    ("cases::a_queue_is_shut_down_step_by_step", a_queue_is_shut_down_step_by_step),
    ("cases::every_method_after_a_shutdown", every_method_after_a_shutdown),
    ("cases::every_method_after_an_immediate_shutdown", every_method_after_an_immediate_shutdown),
    ("cases::many_threads_are_shut_down", many_threads_are_shut_down),
    ("cases::getters_are_shut_down", getters_are_shut_down),
    ("cases::putters_are_shut_down", putters_are_shut_down),
    ("cases::joins_end_with_an_immediate_shutdown_or_with_the_tasks", joins_end_with_a_shutdown),
    ("cases::a_sleeping_get_hears_of_the_shutdown", a_sleeping_get_hears_of_the_shutdown),
];

const LONG: Duration = Duration::from_secs(30);

/// Runs a call, and checks that it takes as long as the limit, and not much longer.
#[track_caller]
fn timed<T>(limit: Duration, call: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = call();
    let took = begun.elapsed();
    assert!(took >= limit && took < limit + Duration::from_secs(10), "{took:?} for {limit:?}");
    done
}

fn ends(process: &Process) {
    assert!(process.join_timeout(LONG).unwrap().is_some_and(|exit| exit.success()));
}

fn a_full_queue_is_emptied_by_a_child() {
    let queue = Queue::bounded(6).unwrap();
    let (start, go_on) = (Event::new().unwrap(), Event::new().unwrap());
    let child = Process::fork(|| -> ossature::Result<()> {
        start.wait()?;
        (1..=6).try_for_each(|number| queue.get().map(|got: i32| assert_eq!(got, number)))?;
        go_on.set();
        Ok(())
    })
    .unwrap();
    assert!(queue.is_empty().unwrap() && !queue.is_full().unwrap());
    queue.put(1).unwrap();
    queue.put_timeout(2, LONG).unwrap();
    queue.try_put(3).unwrap();
    (4..7).for_each(|number| queue.put(number).unwrap());
    assert!(!queue.is_empty().unwrap() && queue.is_full().unwrap());
    let limit = Duration::from_millis(80);
    assert!(timed(Duration::ZERO, || queue.try_put(7)).unwrap_err().is_full());
    assert!(timed(limit, || queue.put_timeout(7, limit)).unwrap_err().is_full());
    start.set();
    go_on.wait().unwrap();
    assert!(queue.is_empty().unwrap() && !queue.is_full().unwrap());
    ends(&child);
}

fn items_of_a_child_are_got_in_each_way() {
    let queue = Queue::new().unwrap();
    let (start, go_on) = (Event::new().unwrap(), Event::new().unwrap());
    let child = Process::fork(|| -> ossature::Result<()> {
        start.wait()?;
        (2..6).try_for_each(|number| queue.put(number))?;
        go_on.set();
        Ok(())
    })
    .unwrap();
    assert!(queue.is_empty().unwrap());
    start.set();
    go_on.wait().unwrap();
    assert!(!queue.is_empty().unwrap(), "as soon as the child has put them");
    assert_eq!((queue.get().unwrap(), queue.get_timeout(LONG).unwrap()), (2, Some(3)));
    assert_eq!((queue.try_get().unwrap(), queue.get().unwrap()), (Some(4), 5));
    assert!(queue.is_empty().unwrap());
    let limit = Duration::from_millis(200);
    assert_eq!(timed(Duration::ZERO, || queue.try_get()).unwrap(), None);
    assert_eq!(timed(limit, || queue.get_timeout(limit)).unwrap(), None);
    ends(&child);
}

fn items_of_parent_and_child_come_in_order() {
    let queue = Queue::new().unwrap();
    (0..10).for_each(|number| queue.put(number).unwrap());
    let child = Process::fork(|| (10..20).try_for_each(|number| queue.put(number)).map_err(Error::from)).unwrap();
    (0..20).for_each(|number| assert_eq!(queue.get_timeout(LONG).unwrap(), Some(number)));
    assert_eq!(queue.try_get().unwrap(), None);
    ends(&child);
}

fn the_length_follows_puts_and_gets() {
    let queue = Queue::new().unwrap();
    let length = || queue.len().unwrap();
    assert_eq!(length(), 0);
    queue.put(1).unwrap();
    assert_eq!(length(), 1);
    queue.put(5).unwrap();
    assert_eq!(length(), 2);
    queue.get().unwrap();
    assert_eq!(length(), 1);
    queue.get().unwrap();
    assert_eq!(length(), 0);
}

fn four_children_finish_all_tasks() {
    let tasks = JoinableQueue::new().unwrap();
    let work = || -> ossature::Result<()> {
        while let Some(number) = tasks.get()? {
            assert!(number < 10);
            std::thread::sleep(Duration::from_millis(10));
            tasks.task_done()?;
        }
        Ok(())
    };
    let children: Vec<Process> = (0..4).map(|_| Process::fork(work).unwrap()).collect();
    (0..10).for_each(|number| tasks.put(Some(number)).unwrap());
    assert!(tasks.join_timeout(LONG).unwrap());
    children.iter().for_each(|_| tasks.put(None).unwrap());
    children.iter().for_each(ends);
}

/// A value whose number can be encoded only if it is even.
#[derive(Debug, PartialEq, Deserialize)]
struct Even(u32);

impl Serialize for Even {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0 % 2 == 0 { self.0.serialize(to) } else { Err(serde::ser::Error::custom("it is odd")) }
    }
}

fn a_failed_put_takes_no_place() {
    let queue = Queue::bounded(1).unwrap();
    for _ in 0..3 {
        assert!(matches!(queue.put(Even(1)), Err(PutError::Failed(Even(1), _))));
        queue.try_put(Even(2)).unwrap();
        assert_eq!(queue.len().unwrap(), 1);
        assert!(queue.try_put(Even(4)).unwrap_err().is_full());
        assert_eq!(queue.get_timeout(LONG).unwrap(), Some(Even(2)));
        assert!(queue.is_empty().unwrap());
    }
}

fn a_child_sees_a_simple_queue_become_longer() {
    let queue = SimpleQueue::new().unwrap();
    let (start, go_on) = (Event::new().unwrap(), Event::new().unwrap());
    let child = Process::fork(|| -> ossature::Result<()> {
        start.wait()?;
        queue.put(queue.is_empty()?)?;
        queue.put(queue.is_empty()?)?;
        go_on.set();
        Ok(())
    })
    .unwrap();
    assert!(queue.is_empty().unwrap());
    start.set();
    go_on.wait().unwrap();
    assert!(!queue.is_empty().unwrap());
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (true, false));
    assert!(queue.is_empty().unwrap());
    ends(&child);
}

/// Runs `waits`, and checks that it waits until `frees` was called.
#[track_caller]
fn waits_for<T: Send>(waits: impl FnOnce() -> T + Send, frees: impl FnOnce()) -> T {
    let freed = &AtomicBool::new(false);
    scope(|scope| {
        let waiter = scope.spawn(move || {
            let value = waits();
            assert!(freed.load(SeqCst), "it did not wait");
            value
        });
        std::thread::sleep(Duration::from_millis(30));
        freed.store(true, SeqCst);
        frees();
        waiter.join().unwrap()
    })
}

fn one_queue_is_filled_and_emptied_again_and_again() {
    const SIZE: i32 = 5;
    let queue = Queue::bounded(SIZE as usize).unwrap();
    for _ in 0..2 {
        assert!(queue.is_empty().unwrap() && !queue.is_full().unwrap() && queue.len().unwrap() == 0);
        [111, 333, 222].into_iter().for_each(|number| queue.put(number).unwrap());
        assert_eq!([(); 3].map(|()| queue.get().unwrap()), [111, 333, 222]);
        (0..SIZE - 1).for_each(|number| queue.put(number).unwrap());
        assert!(!queue.is_full().unwrap());
        queue.put(10).unwrap();
        assert!(queue.is_full().unwrap() && !queue.is_empty().unwrap());
        assert!(queue.try_put(30).unwrap_err().is_full());
        assert!(queue.put_timeout(30, Duration::from_millis(10)).unwrap_err().is_full());
        waits_for(|| queue.put(30), || assert_eq!(queue.get().unwrap(), 0)).unwrap();
        waits_for(|| queue.put_timeout(30, LONG), || assert_eq!(queue.get().unwrap(), 1)).unwrap();
        [2, 3, 10, 30, 30].into_iter().for_each(|number| assert_eq!(queue.get().unwrap(), number));
        assert_eq!((queue.len().unwrap(), queue.try_get().unwrap()), (0, None));
        assert_eq!(queue.get_timeout(Duration::from_millis(10)).unwrap(), None);
        assert_eq!(waits_for(|| queue.get(), || queue.put(7).unwrap()).unwrap(), 7);
        assert_eq!(waits_for(|| queue.get_timeout(LONG), || queue.put(8).unwrap()).unwrap(), Some(8));
        (0..SIZE).for_each(|number| queue.try_put(number).unwrap());
        assert!(queue.try_put(1).unwrap_err().is_full());
        (0..SIZE).for_each(|number| assert_eq!(queue.try_get().unwrap(), Some(number)));
        assert_eq!(queue.try_get().unwrap(), None);
    }
}

fn tasks_are_joined_twice() {
    let tasks = JoinableQueue::new().unwrap();
    for _ in 0..2 {
        let work = || {
            let mut sum = 0;
            loop {
                let number: i32 = tasks.get().unwrap();
                tasks.task_done().unwrap();
                match number {
                    -1 => return sum,
                    number => sum += number,
                }
            }
        };
        scope(|scope| {
            let workers = [scope.spawn(work), scope.spawn(work)];
            (0..100).for_each(|number| tasks.put(number).unwrap());
            tasks.join().unwrap();
            [-1; 2].into_iter().for_each(|end| tasks.put(end).unwrap());
            tasks.join().unwrap();
            assert_eq!(workers.map(|worker| worker.join().unwrap()).iter().sum::<i32>(), 4950);
        });
    }
    assert_eq!(tasks.task_done().unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn refused<T: std::fmt::Debug>(put: Result<(), PutError<T>>) -> ErrorKind {
    Error::from(put.unwrap_err()).kind()
}

fn an_empty_queue_that_was_shut_down_refuses() {
    let queue = Queue::new().unwrap();
    queue.shutdown();
    assert_eq!(refused(queue.put("data".to_owned())), ErrorKind::ShutDown);
    assert_eq!(queue.get().unwrap_err().kind(), ErrorKind::ShutDown);

    let queue = Queue::new().unwrap();
    queue.put("data".to_owned()).unwrap();
    queue.shutdown();
    assert_eq!(queue.get().unwrap(), "data");
    assert_eq!(queue.get().unwrap_err().kind(), ErrorKind::ShutDown);

    let queue = Queue::new().unwrap();
    queue.put("data".to_owned()).unwrap();
    assert_eq!(queue.shutdown_now().unwrap(), 1);
    assert_eq!(queue.get().unwrap_err().kind(), ErrorKind::ShutDown);
}

fn a_queue_is_shut_down_step_by_step() {
    let queue = Queue::new().unwrap();
    queue.put(1).unwrap();
    assert!(!queue.is_shut_down());
    queue.shutdown();
    assert!(queue.is_shut_down());
    assert_eq!((queue.shutdown_now().unwrap(), queue.is_shut_down()), (1, true));
    queue.shutdown();
    assert!(queue.is_shut_down() && queue.is_empty().unwrap());
}

fn every_method_after_a_shutdown() {
    let tasks = JoinableQueue::bounded(2).unwrap();
    tasks.put("L".to_owned()).unwrap();
    tasks.try_put("O".to_owned()).unwrap();
    tasks.shutdown();
    assert_eq!(refused(tasks.put("E".to_owned())), ErrorKind::ShutDown);
    assert_eq!(refused(tasks.try_put("W".to_owned())), ErrorKind::ShutDown);
    for letter in ["L", "O"] {
        assert_eq!(tasks.get().unwrap(), letter);
        tasks.task_done().unwrap();
    }
    tasks.join().unwrap();
    assert_eq!(tasks.get().unwrap_err().kind(), ErrorKind::ShutDown);
    assert_eq!(tasks.try_get().unwrap_err().kind(), ErrorKind::ShutDown);
    assert_eq!(timed(Duration::ZERO, || tasks.get_timeout(LONG)).unwrap_err().kind(), ErrorKind::ShutDown);
}

fn every_method_after_an_immediate_shutdown() {
    let tasks = JoinableQueue::bounded(2).unwrap();
    tasks.put("L".to_owned()).unwrap();
    tasks.try_put("O".to_owned()).unwrap();
    assert_eq!(tasks.shutdown_now().unwrap(), 2);
    assert_eq!(refused(tasks.put("E".to_owned())), ErrorKind::ShutDown);
    assert_eq!(refused(tasks.try_put("W".to_owned())), ErrorKind::ShutDown);
    assert_eq!(tasks.get().unwrap_err().kind(), ErrorKind::ShutDown);
    assert_eq!(tasks.try_get().unwrap_err().kind(), ErrorKind::ShutDown);
    assert_eq!(tasks.task_done().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(tasks.unfinished().unwrap(), 0);
    tasks.join().unwrap();
}

/// Four threads put and six get. In the middle another thread shuts the queue down; two threads join.
fn many_threads_are_shut_down() {
    const EACH: u32 = 4000;
    for immediate in [false, true] {
        let tasks = &JoinableQueue::new().unwrap();
        let barrier = &Barrier::new(if immediate { 12 } else { 10 });
        scope(|scope| {
            let (tell, middle) = mpsc::channel();
            let putters = [(); 4].map(|()| {
                let tell = tell.clone();
                scope.spawn(move || {
                    (0..EACH / 4).for_each(|number| tasks.put(number).unwrap());
                    barrier.wait();
                    for number in EACH / 4..EACH {
                        if let Err(error) = tasks.put(number) {
                            assert!(matches!(error, PutError::ShutDown(_)), "{error}");
                            return number;
                        }
                        if number == EACH / 2 {
                            tell.send(()).unwrap();
                        }
                    }
                    EACH
                })
            });
            let getters = [(); 6].map(|()| {
                scope.spawn(move || {
                    tasks.get().unwrap();
                    tasks.task_done().unwrap();
                    barrier.wait();
                    let mut got = 1;
                    loop {
                        match tasks.try_get() {
                            Ok(Some(_)) => tasks.task_done().unwrap(),
                            Ok(None) => {
                                std::thread::yield_now();
                                continue;
                            }
                            Err(error) if error.kind() == ErrorKind::ShutDown => return got,
                            Err(error) => panic!("{error}"),
                        }
                        got += 1;
                    }
                })
            });
            let joins: Vec<_> = (0..if immediate { 2 } else { 0 })
                .map(|_| {
                    scope.spawn(move || {
                        barrier.wait();
                        tasks.join()
                    })
                })
                .collect();
            middle.recv_timeout(LONG).unwrap();
            let dropped = if immediate { tasks.shutdown_now().unwrap() as u32 } else { 0 };
            if !immediate {
                tasks.shutdown();
            }
            let got: u32 = getters.map(|getter| getter.join().unwrap()).iter().sum();
            let put: u32 = putters.map(|putter| putter.join().unwrap()).iter().sum();
            assert_eq!(put, got + dropped, "{dropped} were dropped");
            joins.into_iter().for_each(|join| join.join().unwrap().unwrap());
        });
        assert!(tasks.is_empty().unwrap() && tasks.join_timeout(LONG).unwrap());
    }
}

fn getters_are_shut_down() {
    for (immediate, items) in [(false, 2), (true, 0)] {
        let queue = &Queue::bounded(2).unwrap();
        let (barrier, shut) = (&Barrier::new(4), &AtomicBool::new(false));
        [1, 2].into_iter().for_each(|number: u8| queue.put(number).unwrap());
        scope(|scope| {
            let getters = [(); 3].map(|()| {
                scope.spawn(move || {
                    barrier.wait();
                    while !shut.load(SeqCst) {
                        std::thread::yield_now();
                    }
                    queue.get().map_err(|error| error.kind())
                })
            });
            barrier.wait();
            if immediate {
                queue.shutdown_now().unwrap();
            } else {
                queue.shutdown();
            }
            shut.store(true, SeqCst);
            let got = getters.map(|getter| getter.join().unwrap());
            assert_eq!(got.iter().filter(|got| got.is_ok()).count(), items, "{got:?}");
            assert!(got.iter().all(|got| got.is_ok() || *got == Err(ErrorKind::ShutDown)));
        });
    }
}

fn putters_are_shut_down() {
    for immediate in [false, true] {
        let queue = &Queue::bounded(2).unwrap();
        [1, 2].into_iter().for_each(|number: u8| queue.put(number).unwrap());
        scope(|scope| {
            // They find the queue full, and sleep.
            let putters = [3, 4].map(|number| scope.spawn(move || refused(queue.put(number))));
            std::thread::sleep(Duration::from_millis(30));
            if immediate {
                queue.shutdown_now().unwrap();
            } else {
                queue.shutdown();
            }
            assert_eq!(putters.map(|putter| putter.join().unwrap()), [ErrorKind::ShutDown; 2]);
        });
    }
}

fn joins_end_with_a_shutdown() {
    for immediate in [false, true] {
        let tasks = &JoinableQueue::bounded(2).unwrap();
        [1, 2].into_iter().for_each(|number: u8| tasks.put(number).unwrap());
        assert_eq!((tasks.unfinished().unwrap(), tasks.len().unwrap()), (2, 2));
        scope(|scope| {
            let joins = [(); 2].map(|()| scope.spawn(|| tasks.join()));
            let putter = scope.spawn(|| refused(tasks.put(3)));
            std::thread::sleep(Duration::from_millis(30));
            assert!(joins.iter().all(|join| !join.is_finished()), "two tasks are not done");
            if immediate {
                assert_eq!(tasks.shutdown_now().unwrap(), 2);
            } else {
                tasks.shutdown();
                let done = [(); 2].map(|()| {
                    scope.spawn(|| {
                        tasks.get().unwrap();
                        tasks.task_done().unwrap();
                    })
                });
                done.into_iter().for_each(|done| done.join().unwrap());
            }
            joins.into_iter().for_each(|join| join.join().unwrap().unwrap());
            assert_eq!(putter.join().unwrap(), ErrorKind::ShutDown);
        });
    }
}

fn a_sleeping_get_hears_of_the_shutdown() {
    for immediate in [false, true] {
        let queue = &Queue::<u8>::new().unwrap();
        let shut = || if immediate { drop(queue.shutdown_now()) } else { queue.shutdown() };
        let error = waits_for(|| queue.get(), shut).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ShutDown);
        assert_eq!(error.to_string(), "the queue was shut down and has no more items: make another queue to continue");
    }
}
