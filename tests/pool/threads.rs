//! The pool of threads.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::pool::ThreadPool;

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("threads::calls_and_maps_work_with_what_is_not_serialisable", calls_and_maps_work_with_what_is_not_serialisable),
    ("threads::calls_run_beside_each_other", calls_run_beside_each_other),
    ("threads::results_come_in_order_or_as_they_are_ready", results_come_in_order_or_as_they_are_ready),
    ("threads::a_panic_is_the_error_of_its_call", a_panic_is_the_error_of_its_call),
    (
        "threads::a_closed_pool_makes_its_calls_and_a_terminated_one_cancels",
        a_closed_pool_makes_its_calls_and_a_terminated_one_cancels,
    ),
    ("threads::a_closed_pool_goes_on_with_what_has_begun", a_closed_pool_goes_on_with_what_has_begun),
    ("threads::a_drop_that_panics_ends_no_thread", a_drop_that_panics_ends_no_thread),
    ("threads::the_values_of_a_map_are_given_once", the_values_of_a_map_are_given_once),
    ("threads::an_initializer_runs_in_each_thread", an_initializer_runs_in_each_thread),
];

const LONG: Duration = Duration::from_secs(30);

fn calls_and_maps_work_with_what_is_not_serialisable() {
    let pool = ThreadPool::new(3).unwrap();
    let (tell, hear) = mpsc::channel();
    pool.apply(move || tell.send(7).unwrap()).unwrap();
    assert_eq!(hear.recv_timeout(LONG).unwrap(), 7);
    let shared: Vec<Arc<u32>> = pool.map(|number| Arc::new(number * 2), 0..100).unwrap();
    assert!(shared.iter().map(|number| **number).eq((0..200).step_by(2)));
    assert_eq!(pool.map(|(a, b)| a + b, [(1, 2), (3, 4)]).unwrap(), [3, 7]);
    assert_eq!(pool.map(|number: u8| number, []).unwrap(), [0; 0]);
    let mut later = pool.apply_async(|| std::thread::sleep(Duration::from_millis(100))).unwrap();
    assert!(!later.ready() && !later.wait(Duration::from_millis(1)));
    assert_eq!(later.get_timeout(Duration::ZERO).unwrap(), None);
    assert_eq!(later.get_timeout(LONG).unwrap(), Some(()));
    assert_eq!(later.get_timeout(LONG).unwrap_err().kind(), ErrorKind::NoResult);
    assert_eq!(ThreadPool::new(0).unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn calls_run_beside_each_other() {
    let pool = ThreadPool::new(3).unwrap();
    let meeting = Arc::new(Barrier::new(3));
    let met = pool.map(move |number| (meeting.wait().is_leader(), number), 0..3).unwrap();
    assert_eq!(met.iter().filter(|(leader, _)| *leader).count(), 1, "each waited for the others");
}

fn results_come_in_order_or_as_they_are_ready() {
    let pool = ThreadPool::new(2).unwrap();
    let rest = |millis: u64| {
        std::thread::sleep(Duration::from_millis(millis));
        millis
    };
    let ordered: Vec<u64> = pool.imap(rest, [200, 0, 0]).unwrap().map(Result::unwrap).collect();
    assert_eq!(ordered, [200, 0, 0]);
    let ready: Vec<u64> = pool.imap_unordered(rest, [200, 0, 0]).unwrap().map(Result::unwrap).collect();
    assert_eq!(ready, [0, 0, 200]);
    let drawn = Cell::new(0);
    let endless = std::iter::from_fn(|| {
        drawn.set(drawn.get() + 1);
        Some(drawn.get())
    });
    let mut numbers = pool.imap(|number: u32| number, endless).unwrap();
    for number in 1..=30 {
        assert_eq!(numbers.next().unwrap().unwrap(), number);
        assert!(drawn.get() <= number + 8, "{} at {number}", drawn.get());
    }
    let mut slow = pool.imap(rest, [100]).unwrap();
    assert!(matches!(slow.next_timeout(Duration::from_millis(1)), Some(Ok(None))));
    assert!(matches!(slow.next_timeout(LONG), Some(Ok(Some(100)))) && slow.next().is_none());
}

fn a_panic_is_the_error_of_its_call() {
    let pool = ThreadPool::new(1).unwrap();
    let numbers: Vec<_> = pool.imap(|number: u32| assert!(number != 1, "planted"), 0..3).unwrap().collect();
    assert!(numbers[0].is_ok() && numbers[2].is_ok());
    let error = numbers[1].as_ref().unwrap_err();
    assert!(error.kind() == ErrorKind::Remote && error.to_string().contains("planted"), "{error}");
    let error = pool.map(|number: u32| assert!(number < 5, "planted at {number}"), 0..9).unwrap_err();
    assert!(error.to_string().contains("planted at 5"), "the first in order: {error}");
}

fn a_closed_pool_makes_its_calls_and_a_terminated_one_cancels() {
    let pool = ThreadPool::new(1).unwrap();
    let count = Arc::new(AtomicU32::new(0));
    let counting = count.clone();
    let counted = pool.map_async(move |_| counting.fetch_add(1, SeqCst), 0..50).unwrap();
    assert_eq!(pool.join().unwrap_err().kind(), ErrorKind::InvalidInput);
    pool.close();
    assert_eq!(pool.apply(|| 1).unwrap_err().kind(), ErrorKind::ShutDown);
    pool.join().unwrap();
    assert_eq!((count.load(SeqCst), counted.get().unwrap().len()), (50, 50));

    let pool = ThreadPool::new(1).unwrap();
    let (tell, hear) = mpsc::channel();
    let running =
        pool.apply_async(move || tell.send(()).map(|()| std::thread::sleep(Duration::from_millis(50)))).unwrap();
    let waiting = pool.apply_async(|| 1).unwrap();
    let mut results = pool.imap(|number: u32| number, 0..).unwrap();
    hear.recv_timeout(LONG).unwrap();
    pool.terminate();
    assert_eq!(waiting.get().unwrap_err().kind(), ErrorKind::Cancelled, "at once");
    let kinds: Vec<_> = results.by_ref().map(|result| result.unwrap_err().kind()).collect();
    assert_eq!(kinds, [[ErrorKind::Cancelled; 4].as_slice(), &[ErrorKind::ShutDown]].concat());
    pool.join().unwrap();
    assert!(running.get().unwrap().is_ok(), "it had begun");
}

fn a_closed_pool_goes_on_with_what_has_begun() {
    let results = |taken: &mut dyn Iterator<Item = ossature::Result<u64>>| taken.map(Result::unwrap).sum::<u64>();
    let pool = ThreadPool::new(2).unwrap();
    let mut ordered = pool.imap(|number: u64| number, 0..100).unwrap();
    let mut unordered = pool.imap_unordered(|number: u64| number, 0..100).unwrap();
    let mut cut = pool.imap(|number: u64| number, 0..).unwrap();
    assert_eq!(ordered.next().transpose().unwrap(), Some(0));
    pool.close();
    assert_eq!(pool.apply(|| 1).unwrap_err().kind(), ErrorKind::ShutDown);
    assert!(pool.imap(|number: u64| number, 0..1).is_err_and(|error| error.kind() == ErrorKind::ShutDown));
    assert_eq!(results(&mut ordered), 4950);
    std::thread::scope(|scope| {
        let (tell, hear) = mpsc::channel();
        let unordered = &mut unordered;
        let taker = scope.spawn(move || {
            let first = unordered.next().unwrap().unwrap();
            tell.send(()).unwrap();
            first + results(unordered)
        });
        hear.recv().unwrap();
        pool.join().unwrap(); // and cuts what this thread would draw
        assert_eq!(taker.join().unwrap(), 4950);
    });
    let kinds: Vec<_> = cut.by_ref().map(|value| value.map_err(|error| error.kind())).collect();
    assert_eq!(kinds.last(), Some(&Err(ErrorKind::ShutDown)));
    assert!(kinds.len() == 9 && cut.next().is_none(), "{kinds:?}");
    let pool = Arc::new(ThreadPool::new(2).unwrap());
    let closing = pool.clone();
    let items = (0..100_u64).inspect(move |number| {
        if *number == 10 {
            closing.close()
        }
    });
    assert_eq!(pool.map(|number| number, items).unwrap().iter().sum::<u64>(), 4950);
    pool.join().unwrap();
}

/// A value that panics in its drop, also as the payload of a panic.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::panic_any("planted: a drop panics");
        }
    }
}

fn a_drop_that_panics_ends_no_thread() {
    let goes_on = |pool: &ThreadPool| {
        let mut next = pool.apply_async(|| 1).unwrap();
        assert_eq!(next.get_timeout(LONG).unwrap(), Some(1), "the thread goes on");
    };
    let pool = ThreadPool::new(1).unwrap();
    let mut thrown = pool.apply_async(|| std::panic::panic_any(Bomb)).unwrap();
    assert_eq!(thrown.get_timeout(LONG).map(drop).unwrap_err().kind(), ErrorKind::Remote);
    goes_on(&pool);
    let (tell, hear) = mpsc::channel::<()>();
    let forsaken = pool.apply_async(move || {
        let _ = hear.recv_timeout(LONG);
        Bomb
    });
    drop(forsaken.unwrap()); // so the thread drops the value
    tell.send(()).unwrap();
    goes_on(&pool);

    let (tell, hear) = mpsc::channel::<()>();
    let begun = Arc::new(Barrier::new(2));
    let begins = begun.clone();
    let running = pool.apply_async(move || {
        begins.wait();
        hear.recv_timeout(LONG).is_ok()
    });
    begun.wait();
    let captured = Bomb; // the last of the calls drops it
    let mut waiting =
        pool.map_async(move |_: Bomb| assert!(size_of_val(&captured) == 0), (0..9).map(|_| Bomb)).unwrap();
    let (bomb, mut last) = (Bomb, pool.apply_async(|| 1).unwrap());
    let mut held = pool.apply_async(move || std::mem::forget(bomb)).unwrap();
    pool.terminate();
    tell.send(()).unwrap();
    assert!(running.unwrap().get().unwrap());
    assert_eq!(waiting.get_timeout(LONG).map(drop).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(last.get_timeout(LONG).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(held.get_timeout(LONG).unwrap_err().kind(), ErrorKind::Cancelled);
    pool.join().unwrap();
}

fn the_values_of_a_map_are_given_once() {
    let pool = ThreadPool::new(2).unwrap();
    let mut all = pool.map_async(|number: u32| number, 0..3).unwrap();
    assert_eq!(all.get_timeout(LONG).unwrap(), Some(vec![0, 1, 2]));
    assert_eq!(all.get_timeout(LONG).unwrap_err().kind(), ErrorKind::NoResult);
}

fn an_initializer_runs_in_each_thread() {
    thread_local! { static BASE: Cell<u32> = const { Cell::new(0) } }
    let begun = Arc::new(AtomicU32::new(0));
    let counting = begun.clone();
    let set_up = move || {
        counting.fetch_add(1, SeqCst);
        BASE.set(10);
    };
    let pool = ThreadPool::with_initializer(3, set_up).unwrap();
    assert_eq!(pool.map(|number: u32| BASE.get() + number, 0..30).unwrap(), (10..40).collect::<Vec<_>>());
    pool.close();
    pool.join().unwrap();
    assert_eq!(begun.load(SeqCst), 3);
}
