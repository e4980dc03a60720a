//! The executor and its futures.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::pool::AsyncResult;
use ossature::multiprocessing::pool::futures::{Executor, Future, ReturnWhen, as_completed, wait};
use ossature::sys::poll::{PollFd, PollFlags, poll};

use crate::harness::Test;
use crate::work::{self, Place, forked};

pub const TESTS: &[Test] = &[
    ("futures::a_future_is_cancelled_only_before_it_begins", a_future_is_cancelled_only_before_it_begins),
    ("futures::wait_returns_as_soon_as_was_asked", wait_returns_as_soon_as_was_asked),
    ("futures::futures_come_as_they_end", futures_come_as_they_end),
    ("futures::callbacks_are_called_once_and_a_panic_stops_none", callbacks_are_called_once_and_a_panic_stops_none),
    ("futures::callbacks_of_a_pool_get_values_and_errors", callbacks_of_a_pool_get_values_and_errors),
    ("futures::a_callback_and_its_result_both_have_the_value", a_callback_and_its_result_both_have_the_value),
    ("futures::a_result_and_a_join_come_behind_their_callbacks", a_result_and_a_join_come_behind_their_callbacks),
    ("futures::inside_a_callback_nobody_waits_for_callbacks", inside_a_callback_nobody_waits_for_callbacks),
    ("futures::shutdown_makes_the_calls_or_cancels_them", shutdown_makes_the_calls_or_cancels_them),
    ("futures::whoever_waits_hears_of_the_end_at_once", whoever_waits_hears_of_the_end_at_once),
];

const LONG: Duration = Duration::from_secs(30);

fn executor(workers: usize) -> Executor {
    Executor::from(forked(workers))
}

fn a_future_is_cancelled_only_before_it_begins() {
    let place = Place::new("future");
    let executor = executor(1);
    let running = executor.submit(work::note_and_wait, (place.path(), 0)).unwrap();
    let waiting = executor.submit(work::note, (place.path(), 1)).unwrap();
    let other = executor.submit(work::note, (place.path(), 2)).unwrap();
    place.wait("0");
    assert!(running.running().unwrap() && !running.done().unwrap());
    assert!(!waiting.running().unwrap());
    assert!(!running.cancel().unwrap() && !running.cancelled().unwrap());
    assert!(waiting.cancel().unwrap() && waiting.cancel().unwrap());
    assert!(waiting.cancelled().unwrap() && waiting.done().unwrap());
    assert_eq!(waiting.result().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(waiting.exception().unwrap().map(|error| error.kind()), Some(ErrorKind::Cancelled));
    place.put("go");
    assert_eq!(running.result().unwrap(), 0);
    assert_eq!(other.result().unwrap(), 2);
    assert!(!other.cancel().unwrap() && other.exception().unwrap().is_none());
    assert_eq!(place.begun(1), 0);
    assert_eq!(other.result().unwrap(), 2, "as often as it is asked for");
}

fn wait_returns_as_soon_as_was_asked() {
    let place = Place::new("waiting");
    let executor = executor(3);
    let slow = executor.submit(work::note_and_wait, (place.path(), 0)).unwrap();
    let good = executor.submit(work::note, (place.path(), 1)).unwrap();
    let first = [slow, good];
    let waited = wait(&first, LONG, ReturnWhen::FirstCompleted).unwrap();
    assert_eq!((waited.done, waited.not_done), (vec![1], vec![0]));
    let waited = wait(&first, Duration::from_millis(20), ReturnWhen::AllCompleted).unwrap();
    assert_eq!((waited.done, waited.not_done), (vec![1], vec![0]));
    let failing = [executor.submit(work::exit_with, (3,)).unwrap(), executor.submit(work::exit_with, (4,)).unwrap()];
    let waited = wait(&failing, LONG, ReturnWhen::FirstException).unwrap();
    assert!(!waited.done.is_empty());
    place.put("go");
    let waited = wait(&first, LONG, ReturnWhen::FirstException).unwrap();
    assert_eq!(waited.not_done, [0; 0], "without an error all are waited for");
    assert_eq!(wait(&[] as &[Future<u8>], LONG, ReturnWhen::AllCompleted).unwrap().done, [0; 0]);
    let other = self::executor(1);
    let mixed = [executor.submit(work::square, (1,)).unwrap(), other.submit(work::square, (1,)).unwrap()];
    assert_eq!(wait(&mixed, LONG, ReturnWhen::AllCompleted).unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn futures_come_as_they_end() {
    let executor = executor(2);
    let futures: Vec<_> = [400, 0, 100].map(|millis| executor.submit(work::rest, (millis,)).unwrap()).into();
    let ended: Vec<u64> = as_completed(futures).map(|future| future.unwrap().result().unwrap()).collect();
    assert_eq!(ended, [0, 100, 400]);
    let mut none = as_completed(Vec::<Future<u8>>::new());
    assert!(none.next().is_none() && none.next_timeout(LONG).is_none());
}

fn callbacks_are_called_once_and_a_panic_stops_none() {
    let executor = executor(1);
    let (tell, hear) = mpsc::channel();
    let future = executor.submit(work::rest, (50,)).unwrap();
    for number in 0..3 {
        let tell = tell.clone();
        let call = move |future: &Future<u64>| {
            tell.send((number, future.done().unwrap())).unwrap();
            assert!(number != 1, "planted: the second callback panics");
        };
        future.add_done_callback(call).unwrap();
    }
    for number in 0..3 {
        assert_eq!(hear.recv_timeout(LONG).unwrap(), (number, true));
    }
    let late = tell.clone();
    future.add_done_callback(move |_| late.send((9, true)).unwrap()).unwrap();
    assert_eq!(hear.recv_timeout(LONG).unwrap(), (9, true));
    let cancelled = executor.submit(work::rest, (30_000,)).unwrap();
    let ended = tell.clone();
    cancelled.add_done_callback(move |future| ended.send((7, future.cancelled().unwrap())).unwrap()).unwrap();
    executor.terminate_workers().unwrap();
    assert_eq!(hear.recv_timeout(LONG).unwrap().0, 7);
    cancelled.add_done_callback(move |_| tell.send((8, true)).unwrap()).unwrap();
    assert_eq!(hear.recv_timeout(LONG).unwrap(), (8, true), "also after the end");
    drop(executor);
    assert!(hear.try_recv().is_err(), "each once");
    work::alone();
}

fn callbacks_of_a_pool_get_values_and_errors() {
    let pool = forked(2);
    let (tell, hear) = mpsc::channel();
    let (good, bad, all) = (tell.clone(), tell.clone(), tell);
    let result =
        pool.apply_async_with(work::square, (3,), move |value| good.send(value.map(|n| vec![n])).unwrap()).unwrap();
    assert_eq!(hear.recv_timeout(LONG).unwrap().unwrap(), [9]);
    assert!(result.wait(LONG).unwrap() && result.successful().unwrap());
    assert_eq!(result.get().unwrap(), 9);
    let failed =
        pool.apply_async_with(work::fail_at, (1, 1), move |value| bad.send(value.map(|n| vec![n.into()])).unwrap());
    assert_eq!(hear.recv_timeout(LONG).unwrap().unwrap_err().kind(), ErrorKind::Remote);
    let failed = failed.unwrap();
    assert!(failed.wait(LONG).unwrap() && !failed.successful().unwrap());
    let squares = pool.map_async_with(work::square, 0..4, move |values| all.send(values).unwrap()).unwrap();
    assert_eq!(hear.recv_timeout(LONG).unwrap().unwrap(), [0, 1, 4, 9]);
    assert!(squares.wait(LONG).unwrap() && squares.ready().unwrap());
    drop((pool, squares));
    work::alone();
}

/// Whichever is first: a file too, of which each has a descriptor of its own.
fn a_callback_and_its_result_both_have_the_value() {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use ossature::multiprocessing::transfer::Handle;

    let pool = forked(2);
    let file = || Handle(File::open("/dev/null").unwrap());
    for result_first in [false, true] {
        let (tell, hear) = mpsc::channel();
        let (one, all, kept) = (tell.clone(), tell.clone(), tell);
        let number = pool.apply_async_with(work::square, (3,), move |n| one.send(vec![n.unwrap()]).unwrap()).unwrap();
        let numbers =
            pool.map_async_with(work::square, 0..3, move |all_of| all.send(all_of.unwrap()).unwrap()).unwrap();
        let (files, closed) = (crate::carried::keep, Arc::new(Mutex::new(None)));
        let own = closed.clone();
        let opened = pool.apply_async_with(files, (0, file()), move |file| {
            *own.lock().unwrap() = Some(file.unwrap());
            kept.send(vec![]).unwrap();
        });
        let opened = opened.unwrap();
        let mut called: Vec<Vec<u64>> = Vec::new();
        if !result_first {
            called.extend((0..3).map(|_| hear.recv_timeout(LONG).unwrap()));
        }
        assert_eq!((number.get().unwrap(), numbers.get().unwrap()), (9, vec![0, 1, 4]));
        let Handle(opened) = opened.get().unwrap();
        called.extend(hear.iter());
        called.sort();
        assert_eq!(called, [vec![], vec![0, 1, 4], vec![9]]);
        let Handle(other) = closed.lock().unwrap().take().unwrap();
        assert!(opened.as_raw_fd() != other.as_raw_fd());
        assert!(opened.metadata().is_ok() && other.metadata().is_ok());
    }
    let executor = Executor::from(pool);
    let future = executor.submit(work::square, (4,)).unwrap();
    let (tell, hear) = mpsc::channel();
    future.add_done_callback(move |future| tell.send(future.result().unwrap()).unwrap()).unwrap();
    assert_eq!((future.result().unwrap(), hear.recv_timeout(LONG).unwrap(), future.result().unwrap()), (16, 16, 16));
    drop((executor, future));
    work::alone();
}

/// A callback that has not returned holds up its own result and the end of the pool, and nothing else.
fn a_result_and_a_join_come_behind_their_callbacks() {
    let pool = forked(1);
    let (begun, has_begun) = mpsc::channel();
    let gate = || {
        let (begun, (open, opened)) = (begun.clone(), mpsc::channel());
        let hold = move |value: u64| {
            begun.send(value).unwrap();
            opened.recv_timeout(LONG).unwrap();
        };
        (move || open.send(()).unwrap(), hold)
    };
    let ((go_one, hold_one), (go_all, hold_all)) = (gate(), gate());
    let mut number = pool.apply_async_with(work::square, (3,), move |n| hold_one(n.unwrap())).unwrap();
    let mut numbers = pool.map_async_with(work::square, 0..3, move |all| hold_all(all.unwrap().iter().sum())).unwrap();
    let readiness = number.readiness().unwrap();
    assert_eq!(has_begun.recv_timeout(LONG).unwrap(), 9);
    assert!(!number.ready().unwrap() && !number.wait(Duration::ZERO).unwrap());
    assert_eq!((number.get_timeout(Duration::ZERO).unwrap(), pool.apply(work::square, (5,)).unwrap()), (None, 25));
    go_one();
    while !number.ready().unwrap() {
        poll(&mut [PollFd::new(&readiness, PollFlags::IN)], None).unwrap();
    }
    assert_eq!(number.get_timeout(Duration::ZERO).unwrap(), Some(9));
    assert_eq!(has_begun.recv_timeout(LONG).unwrap(), 5);
    pool.close().unwrap();
    assert!(!pool.join_timeout(Duration::from_millis(20)).unwrap(), "a callback is called");
    assert_eq!(numbers.get_timeout(Duration::ZERO).unwrap(), None);
    go_all();
    pool.join().unwrap();
    assert_eq!(numbers.get_timeout(Duration::ZERO).unwrap(), Some(vec![0, 1, 4]));
    drop((pool, readiness));
    work::alone();
}

/// Callbacks follow each other, so a wait for the next one would never end.
fn inside_a_callback_nobody_waits_for_callbacks() {
    let pool = Arc::new(forked(1));
    let (tell, hear) = mpsc::channel();
    let (give, take) = mpsc::channel();
    let (inside, first) = (pool.clone(), tell.clone());
    let one = pool.apply_async_with(work::square, (3,), move |_| {
        let other: AsyncResult<u64> = take.recv_timeout(LONG).unwrap();
        assert!(other.wait(LONG).unwrap());
        let readiness = other.readiness().unwrap();
        assert_eq!(poll(&mut [PollFd::new(&readiness, PollFlags::IN)], LONG).unwrap(), 1);
        inside.close().unwrap();
        inside.join().unwrap();
        first.send(other.get().unwrap()).unwrap();
    });
    let one = one.unwrap();
    give.send(pool.apply_async_with(work::square, (4,), move |n| tell.send(n.unwrap()).unwrap()).unwrap()).unwrap();
    assert_eq!([(); 2].map(|()| hear.recv_timeout(LONG).unwrap()), [16, 16]);
    assert_eq!(one.get().unwrap(), 9);
    drop(pool);
    work::alone();
}

fn shutdown_makes_the_calls_or_cancels_them() {
    let place = Place::new("shutdown");
    let executor = executor(1);
    let futures: Vec<_> = (0..20).map(|number| executor.submit(work::note, (place.path(), number)).unwrap()).collect();
    executor.shutdown().unwrap();
    assert!(futures.iter().all(|future| future.done().unwrap()) && (0..20).all(|number| place.begun(number) == 1));
    drop(executor);

    let executor = self::executor(1);
    let running = executor.submit(work::rest, (100,)).unwrap();
    let waiting: Vec<_> = (0..400).map(|_| executor.submit(work::rest, (30_000,)).unwrap()).collect();
    while !running.running().unwrap() && !running.done().unwrap() {}
    executor.shutdown_now().unwrap();
    assert_eq!(running.result().unwrap(), 100, "it had begun");
    assert!(waiting.iter().all(|future| future.cancelled().unwrap()));
}

fn whoever_waits_hears_of_the_end_at_once() {
    let executor = executor(1);
    let deaf = executor.submit(work::rest_deaf, ()).unwrap();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..3).map(|_| scope.spawn(|| deaf.result().unwrap_err().kind())).collect();
        std::thread::sleep(Duration::from_millis(50));
        executor.kill_workers().unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), ErrorKind::Cancelled);
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
