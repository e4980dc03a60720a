//! The portable cases of CPython's `_TestPool` and of `test_concurrent_futures`; docs/python-tests.md lists them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::pool::ThreadPool;
use ossature::multiprocessing::pool::futures::{Executor, Future, ReturnWhen, as_completed, wait};
use ossature::multiprocessing::{Context, Pool, Value};

use crate::harness::Test;
use crate::work::{self, Place, Snap, Trap, When, forked};

pub const TESTS: &[Test] = &[
    ("cases::maps_come_in_chunks_of_each_form", maps_come_in_chunks_of_each_form),
    ("cases::nothing_to_do_ends_at_once", nothing_to_do_ends_at_once),
    ("cases::a_map_that_fails_tells_its_callback", a_map_that_fails_tells_its_callback),
    ("cases::items_that_cannot_be_written_fail_the_map", items_that_cannot_be_written_fail_the_map),
    ("cases::an_iterator_that_panics_leaves_the_pool_whole", an_iterator_that_panics_leaves_the_pool_whole),
    (
        "cases::an_item_that_cannot_be_written_comes_behind_the_results_of_those_before",
        an_item_that_cannot_be_written_comes_behind_the_results_of_those_before,
    ),
    (
        "cases::an_iterator_may_use_the_pool_and_panic_again_when_it_is_dropped",
        an_iterator_may_use_the_pool_and_panic_again_when_it_is_dropped,
    ),
    (
        "cases::an_iterator_that_panics_leaves_a_pool_of_threads_whole",
        an_iterator_that_panics_leaves_a_pool_of_threads_whole,
    ),
    ("cases::ten_thousand_sleepers_are_terminated", ten_thousand_sleepers_are_terminated),
    ("cases::long_panics_do_not_hold_up_the_join", long_panics_do_not_hold_up_the_join),
    ("cases::arguments_and_values_of_threads_are_dropped", arguments_and_values_of_threads_are_dropped),
    ("cases::values_that_cannot_be_written_cost_no_worker", values_that_cannot_be_written_cost_no_worker),
    ("cases::short_lived_workers_are_replaced", short_lived_workers_are_replaced),
    ("cases::a_large_pool_maps", a_large_pool_maps),
    ("cases::an_executor_maps_with_errors_in_their_places", an_executor_maps_with_errors_in_their_places),
    ("cases::waits_end_as_was_asked_also_with_ended_futures", waits_end_as_was_asked_also_with_ended_futures),
    ("cases::completed_futures_come_with_those_ended_before", completed_futures_come_with_those_ended_before),
    ("cases::callbacks_see_the_value_the_error_and_the_cancel", callbacks_see_the_value_the_error_and_the_cancel),
    ("cases::a_result_ends_its_wait_with_the_cancel", a_result_ends_its_wait_with_the_cancel),
    ("cases::a_saturated_executor_has_as_many_workers_as_before", a_saturated_executor_has_as_many_workers_as_before),
    ("cases::a_shutdown_does_not_hang", a_shutdown_does_not_hang),
    ("cases::an_executor_that_is_gone_has_made_its_calls", an_executor_that_is_gone_has_made_its_calls),
    ("cases::arguments_that_do_harm_end_their_own_call", arguments_that_do_harm_end_their_own_call),
    ("cases::values_that_do_harm_end_their_own_call", values_that_do_harm_end_their_own_call),
    ("cases::deaths_after_the_shutdown_do_not_hang", deaths_after_the_shutdown_do_not_hang),
    ("cases::threads_map_without_anybody_who_waits", threads_map_without_anybody_who_waits),
];

const LONG: Duration = Duration::from_secs(30);

fn executor_of(workers: usize) -> Executor {
    Executor::from(forked(workers))
}

fn squares(count: u64) -> Vec<u64> {
    (0..count).map(|number| number * number).collect()
}

fn maps_come_in_chunks_of_each_form() {
    let pool = forked(4);
    let pairs = || (0..100_i32).map(|number| (number, 99 - number));
    let twenty = pool.chunksize(20).unwrap();
    assert_eq!(twenty.starmap(work::add, pairs()).unwrap(), [99; 100]);
    assert_eq!(pool.starmap_async(work::add, pairs()).unwrap().get().unwrap(), [99; 100]);
    assert_eq!(pool.map_async(work::square, 0..10).unwrap().get().unwrap(), squares(10));
    assert_eq!(twenty.map(work::square, 0..100).unwrap(), squares(100));
    let mut results = pool.chunksize(100).unwrap().imap(work::square, 0..1000).unwrap();
    for expected in squares(1000) {
        assert_eq!(results.next().unwrap().unwrap(), expected);
    }
    assert!(results.next().is_none() && results.next().is_none());
    let unordered = pool.chunksize(100).unwrap().imap_unordered(work::square, 0..1000).unwrap();
    let mut values: Vec<u64> = unordered.map(Result::unwrap).collect();
    values.sort_unstable();
    assert_eq!(values, squares(1000));
}

fn nothing_to_do_ends_at_once() {
    let pool = forked(1);
    let none = || std::iter::empty::<u64>();
    assert_eq!(pool.map(work::square, none()).unwrap(), [0; 0]);
    assert!(pool.imap(work::square, none()).unwrap().next().is_none());
    assert!(pool.imap_unordered(work::square, none()).unwrap().next().is_none());
    let mut result = pool.chunksize(1).unwrap().map_async(work::square, none()).unwrap();
    assert!(result.ready().unwrap() && result.successful().unwrap());
    assert_eq!(result.get_timeout(Duration::ZERO).unwrap(), Some(vec![]));
    let (tell, hear) = mpsc::channel();
    let empty = pool.map_async_with(work::square, none(), move |values| tell.send(values).unwrap()).unwrap();
    assert_eq!(hear.recv_timeout(LONG).unwrap().unwrap(), [0; 0]);
    pool.close().unwrap();
    assert!(pool.join_timeout(LONG).unwrap());
    drop((pool, result, empty));
    work::alone();
}

fn a_map_that_fails_tells_its_callback() {
    let pool = forked(2);
    let (tell, hear) = mpsc::channel();
    let bad = [Trap(When::Read, Snap::Fails)];
    let failed = pool.map_async_with(work::take_trap, bad, move |done| tell.send(done).unwrap()).unwrap();
    assert_eq!(hear.recv_timeout(LONG).unwrap().unwrap_err().kind(), ErrorKind::Decode);
    assert!(hear.recv_timeout(LONG).is_err(), "it is called once");
    drop((pool, failed));
    work::alone();
}

fn items_that_cannot_be_written_fail_the_map() {
    let pool = forked(2);
    for _ in 0..3 {
        let error = pool.map(work::take_trap, [Trap(When::Written, Snap::Fails); 10]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("it is a trap"), "{error}");
        assert!(pool.imap(work::take_trap, [Trap(When::Written, Snap::Fails)]).is_err());
    }
    assert_eq!(pool.map(work::square, 0..10).unwrap(), squares(10));
}

/// `count` numbers, with a panic in place of the number at `at`.
fn numbers(count: u64, at: u64) -> impl Iterator<Item = u64> {
    (0..count).inspect(move |number| assert!(*number != at, "planted: the iterator panics"))
}

fn panics(call: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

fn an_iterator_that_panics_leaves_the_pool_whole() {
    let pool = forked(2);
    for (count, at) in [(1, 0), (1, 0), (10, 3), (100, 77)] {
        assert!(panics(|| drop(pool.chunksize(1).unwrap().map(work::square, numbers(count, at)))));
        assert!(panics(|| drop(pool.starmap(work::add, numbers(count, at).map(|number| (number as i32, 1))))));
        for (size, ahead) in [(1, 8), (2, 8), (7, 100), (7, usize::MAX)] {
            let chunked = pool.chunksize(size).unwrap().lookahead(ahead);
            // The results of the items before the panic come first, those of a chunk that was begun among them.
            let mut taken = Vec::new();
            let mut take = || taken.extend(chunked.imap(work::square, numbers(count, at)).unwrap().map(Result::unwrap));
            assert!(panics(&mut take));
            assert_eq!(taken, squares(at), "{size} {ahead}");
            taken.clear();
            let all = || chunked.imap_unordered(work::square, numbers(count, at)).unwrap().map(Result::unwrap);
            assert!(panics(|| taken.extend(all())));
            taken.sort_unstable();
            assert_eq!(taken, squares(at), "{size} {ahead}");
        }
        assert_eq!(pool.map(work::square, 0..50).unwrap(), squares(50));
    }
    // The iterator itself goes on behind its panic.
    for (size, ahead) in [(1, 1), (1, 9), (2, 2), (3, 9), (1, usize::MAX)] {
        let chunked = pool.chunksize(size).unwrap().lookahead(ahead);
        let mut results = chunked.imap(work::square, numbers(4, 2)).unwrap();
        let mut values = Vec::new();
        while let Some(value) = catch_unwind(AssertUnwindSafe(|| results.next())).unwrap_or(Some(Ok(99))) {
            values.push(value.unwrap());
        }
        assert_eq!(values, [0, 1, 99, 9], "99 is the panic");
    }
    pool.close().unwrap();
    assert!(pool.join_timeout(LONG).unwrap(), "no call is lost that somebody would wait for");
}

fn an_item_that_cannot_be_written_comes_behind_the_results_of_those_before() {
    let pool = forked(2);
    let items =
        |snap| (0..8).map(move |number| if number == 5 { Trap(When::Written, snap) } else { Trap(When::Never, snap) });
    for size in [1, 3, 8] {
        let chunked = pool.chunksize(size).unwrap().lookahead(8);
        let results: Vec<_> = chunked.imap(work::take_trap, items(Snap::Fails)).unwrap().collect();
        assert!(results.len() == 6 && results[..5].iter().all(Result::is_ok), "{results:?}");
        assert_eq!(results[5].as_ref().unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut results = chunked.imap(work::take_trap, items(Snap::Panics)).unwrap();
        assert!(results.by_ref().take(5).all(|result| result.is_ok()));
        assert!(panics(|| drop(results.next())));
        assert_eq!(results.filter(Result::is_ok).count(), 2, "those behind the panic");
    }
    assert_eq!(pool.map(work::square, 0..50).unwrap(), squares(50));
}

/// One iterator panics in its drop, too, and another uses the pool.
fn an_iterator_may_use_the_pool_and_panic_again_when_it_is_dropped() {
    struct Stubborn;
    impl Iterator for Stubborn {
        type Item = u64;
        fn next(&mut self) -> Option<u64> {
            panic!("planted: the iterator panics")
        }
    }
    impl Drop for Stubborn {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("planted: its drop panics");
            }
        }
    }
    let pool = forked(1);
    let mut results = pool.imap(work::square, [2, 3].into_iter().chain(Stubborn)).unwrap();
    assert!(results.by_ref().take(2).map(Result::unwrap).eq([4, 9]));
    for _ in 0..3 {
        assert!(panics(|| drop(results.next())));
    }
    assert!(panics(|| drop(results)));
    let nested = (0..6).map(|number| pool.apply(work::square, (number,)).unwrap());
    let fourth: Vec<u64> = pool.imap(work::square, nested).unwrap().map(Result::unwrap).collect();
    assert_eq!(fourth, [0, 1, 16, 81, 256, 625]);
    let nested = (0..6).map(|number| pool.apply(work::square, (number,)).unwrap());
    assert_eq!(pool.map(work::square, nested).unwrap(), fourth);
}

fn an_iterator_that_panics_leaves_a_pool_of_threads_whole() {
    let pool = ThreadPool::new(2).unwrap();
    let square = |number: u64| number * number;
    assert!(panics(|| drop(pool.map(square, numbers(10, 3)))));
    let mut taken = Vec::new();
    assert!(panics(|| taken.extend(pool.imap(square, numbers(10, 3)).unwrap().map(Result::unwrap))));
    assert_eq!(taken, squares(3));
    taken.clear();
    assert!(panics(|| taken.extend(pool.imap_unordered(square, numbers(30, 17)).unwrap().map(Result::unwrap))));
    taken.sort_unstable();
    assert_eq!(taken, squares(17));
    assert!(panics(|| drop(pool.imap(square, numbers(1, 0)))), "at once, for there is no result before");
    let mut results = pool.imap(square, numbers(4, 2)).unwrap();
    let mut values = Vec::new();
    while let Some(value) = catch_unwind(AssertUnwindSafe(|| results.next())).unwrap_or(Some(Ok(99))) {
        values.push(value.unwrap());
    }
    assert_eq!(values, [0, 1, 99, 9], "99 is the panic");
    assert_eq!(pool.map(square, 0..50).unwrap(), squares(50));
    pool.close();
    pool.join().unwrap();
}

fn ten_thousand_sleepers_are_terminated() {
    let pool = forked(3);
    let sleepers = pool.chunksize(1).unwrap().map_async(work::rest, [40_000; 10_000]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    pool.terminate().unwrap();
    assert!(pool.join_timeout(LONG).unwrap() && begun.elapsed() < Duration::from_secs(20));
    assert_eq!(sleepers.get().unwrap_err().kind(), ErrorKind::Cancelled);
}

fn long_panics_do_not_hold_up_the_join() {
    let pool = forked(2);
    let failing = pool.map_async(work::fail_at_length, [1 << 20; 2]).unwrap();
    std::thread::sleep(Duration::from_millis(50)); // nobody reads what they tell
    pool.close().unwrap();
    assert!(pool.join_timeout(LONG).unwrap());
    let error = failing.get().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Remote);
    assert!(error.to_string().contains("xxxxxx"), "its text is long");
}

fn arguments_and_values_of_threads_are_dropped() {
    struct Counted(Arc<AtomicU32>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let (dropped, pool) = (Arc::new(AtomicU32::new(0)), ThreadPool::new(2).unwrap());
    let items: Vec<Counted> = (0..10).map(|_| Counted(dropped.clone())).collect();
    let same = pool.map(|item: Counted| item, items).unwrap();
    assert_eq!((same.len(), dropped.load(SeqCst)), (10, 0), "what comes back is the same");
    drop(same);
    assert_eq!(dropped.load(SeqCst), 10);
    drop(pool.apply_async({
        let item = Counted(dropped.clone());
        move || item
    }));
    pool.close();
    pool.join().unwrap();
    assert_eq!(dropped.load(SeqCst), 11, "a result that nobody wants is dropped, too");
}

fn values_that_cannot_be_written_cost_no_worker() {
    let pool = forked(1);
    let worker = pool.apply(work::pid, ()).unwrap();
    for _ in 0..20 {
        assert_eq!(pool.apply(work::unsendable, ()).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(pool.apply(work::pid, ()).unwrap(), worker);
}

fn short_lived_workers_are_replaced() {
    let pool = Pool::builder().workers(3).context(Context::Fork).max_tasks_per_child(10).build().unwrap();
    let before = pool.apply(work::pid, ()).unwrap();
    let results: Vec<_> = (0..100).map(|number| pool.apply_async(work::square, (number,)).unwrap()).collect();
    assert!(results.into_iter().map(|result| result.get().unwrap()).eq(squares(100)));
    let after: Vec<u32> = (0..12).map(|_| pool.apply(work::pid, ()).unwrap()).collect();
    assert!(!after.contains(&before), "it has made more than ten calls");
    // Closed before their calls are made, such pools make them too.
    let pool = Pool::builder().workers(3).context(Context::Fork).max_tasks_per_child(1).build().unwrap();
    let results: Vec<_> = (0..6).map(|number| pool.apply_async(work::rest, (100 + number,)).unwrap()).collect();
    pool.close().unwrap();
    assert!(pool.join_timeout(LONG).unwrap());
    assert!(results.into_iter().map(|result| result.get().unwrap()).eq(100..106));
}

fn a_large_pool_maps() {
    let pool = forked(200);
    assert_eq!(pool.workers(), 200);
    assert_eq!(pool.map(work::square, 0..1000).unwrap().iter().sum::<u64>(), 332_833_500);
}

fn an_executor_maps_with_errors_in_their_places() {
    let executor = executor_of(2);
    assert_eq!(executor.submit(work::add, (2, 8)).unwrap().result().unwrap(), 10);
    assert_eq!(executor.map(work::square, 0..10).unwrap().map(Result::unwrap).collect::<Vec<_>>(), squares(10));
    for size in [6, 40, 50] {
        let chunked = executor.pool().chunksize(size).unwrap();
        assert_eq!(chunked.imap(work::square, 0..40).unwrap().map(Result::unwrap).collect::<Vec<_>>(), squares(40));
    }
    let mut values = executor.map(work::unreadable, [2, 3, 1, 5].map(work::Unreadable)).unwrap();
    assert_eq!((values.next().unwrap().unwrap(), values.next().unwrap().unwrap()), (2, 3));
    assert_eq!(values.next().unwrap().unwrap_err().kind(), ErrorKind::Remote);
    // A limit: what comes within it, and then nothing.
    let mut naps = executor.map(work::rest, [0, 0, 20_000]).unwrap();
    assert!(
        matches!(naps.next_timeout(LONG), Some(Ok(Some(0)))) && matches!(naps.next_timeout(LONG), Some(Ok(Some(0))))
    );
    assert!(matches!(naps.next_timeout(Duration::from_millis(50)), Some(Ok(None))));
    executor.kill_workers().unwrap();
}

/// A future with a value, a future with an error, and a cancelled future.
fn ended(executor: &Executor, place: &Place) -> [Future<u64>; 3] {
    let good = executor.submit(work::rest, (1,)).unwrap();
    let bad = executor.submit(work::square, (u64::MAX,)).unwrap(); // it overflows
    assert_eq!(good.result().unwrap(), 1);
    let bad_kind = bad.exception().unwrap().map(|error| error.kind());
    let blocked: Vec<_> = (0..executor.pool().workers() as u64)
        .map(|number| executor.submit(work::note_and_wait, (place.path(), number)).unwrap())
        .collect();
    (0..blocked.len()).for_each(|number| place.wait(number.to_string()));
    let cancelled = executor.submit(work::rest, (40_000,)).unwrap();
    assert!(cancelled.cancel().unwrap());
    place.put("go");
    assert!(blocked.iter().all(|future| future.result().is_ok()));
    std::fs::remove_file(place.0.join("go")).unwrap();
    assert_eq!(bad_kind, Some(ErrorKind::Remote));
    [good, bad, cancelled]
}

fn waits_end_as_was_asked_also_with_ended_futures() {
    let place = Place::new("waits");
    let executor = executor_of(2);
    let [good, bad, cancelled] = ended(&executor, &place);
    let resting = executor.submit(work::note_and_wait, (place.path(), 7)).unwrap();
    let done = |futures: &[&Future<u64>], when| {
        let futures: Vec<_> = futures.iter().map(|future| (*future).clone()).collect();
        wait(&futures, Duration::from_millis(60), when).unwrap().done
    };
    use ReturnWhen::{AllCompleted, FirstCompleted, FirstException};
    assert_eq!(done(&[&cancelled, &good, &resting], FirstCompleted), [0, 1]);
    assert_eq!(done(&[&bad, &resting], FirstException), [0]);
    assert_eq!(done(&[&resting, &cancelled], FirstException), [1]);
    let begun = Instant::now();
    assert_eq!(done(&[&cancelled, &bad, &good, &resting], AllCompleted), [0, 1, 2]);
    assert!(begun.elapsed() >= Duration::from_millis(60), "the limit was over");
    let failing = executor.submit(work::square, (u64::MAX,)).unwrap();
    let waited = wait(&[good.clone(), failing, resting.clone()], LONG, FirstException).unwrap();
    assert_eq!((waited.done, waited.not_done), (vec![0, 1], vec![2]));
    place.put("go");
    // One future twice.
    assert_eq!(wait(&[resting.clone(), resting], LONG, AllCompleted).unwrap().done, [0, 1]);
    // Many at once.
    let many: Vec<_> = (0..100).map(|number| executor.submit(work::square, (number,)).unwrap()).collect();
    assert_eq!(wait(&many, LONG, AllCompleted).unwrap().done.len(), 100);
}

fn completed_futures_come_with_those_ended_before() {
    let place = Place::new("completed");
    let executor = executor_of(2);
    let [good, bad, cancelled] = ended(&executor, &place);
    let more = [12, 13].map(|number| executor.submit(work::square, (number,)).unwrap());
    let all = [good.clone(), bad.clone(), cancelled.clone()].into_iter().chain(more);
    assert_eq!(as_completed(all).map(Result::unwrap).count(), 5);
    let resting = executor.submit(work::note_and_wait, (place.path(), 7)).unwrap();
    for limit in [Duration::ZERO, Duration::from_millis(50)] {
        let mut rest = as_completed([good.clone(), bad.clone(), resting.clone(), cancelled.clone()]);
        for _ in 0..3 {
            assert!(rest.next_timeout(limit).unwrap().unwrap().unwrap().done().unwrap());
        }
        assert!(rest.next_timeout(limit).unwrap().unwrap().is_none());
    }
    place.put("go");
    let clones = as_completed(std::iter::repeat_n(resting, 3)).map(Result::unwrap);
    assert_eq!(clones.filter(|future| future.done().unwrap()).count(), 3, "each clone is a future of its own");
}

fn callbacks_see_the_value_the_error_and_the_cancel() {
    let place = Place::new("callbacks");
    let executor = executor_of(1);
    for early in [true, false] {
        let (tell, hear) = mpsc::channel();
        let add = |future: &Future<u64>| {
            let tell = tell.clone();
            let call = move |future: &Future<u64>| {
                let seen = (future.cancelled().unwrap(), future.result().map_err(|error| error.kind()));
                tell.send(seen).unwrap();
            };
            future.add_done_callback(call).unwrap();
        };
        let blocked = executor.submit(work::note_and_wait, (place.path(), u64::from(early))).unwrap();
        place.wait(u64::from(early).to_string());
        let [good, bad, cancelled] = [(5,), (u64::MAX,), (6,)].map(|call| executor.submit(work::square, call).unwrap());
        if early {
            [&good, &bad, &cancelled].into_iter().for_each(add);
        }
        assert!(cancelled.cancel().unwrap());
        place.put("go");
        assert!(blocked.result().is_ok() && wait(&[good.clone(), bad.clone()], LONG, ReturnWhen::AllCompleted).is_ok());
        if !early {
            [&cancelled, &good, &bad].into_iter().for_each(add);
        }
        let mut seen = [(); 3].map(|()| hear.recv_timeout(LONG).unwrap());
        seen.sort_by_key(|(cancelled, result)| (!cancelled, result.is_err()));
        assert_eq!(seen, [(true, Err(ErrorKind::Cancelled)), (false, Ok(25)), (false, Err(ErrorKind::Remote))]);
        std::fs::remove_file(place.0.join("go")).unwrap();
    }
    drop(executor);
    work::alone();
}

fn a_result_ends_its_wait_with_the_cancel() {
    let place = Place::new("cancelled");
    let executor = executor_of(1);
    let blocked = executor.submit(work::note_and_wait, (place.path(), 0)).unwrap();
    place.wait("0");
    let future = executor.submit(work::square, (3,)).unwrap();
    assert_eq!(future.result_timeout(Duration::ZERO).unwrap(), None);
    assert!(future.exception_timeout(Duration::from_millis(20)).unwrap().is_none());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| (future.result().unwrap_err().kind(), future.exception().unwrap().is_some()));
        std::thread::sleep(Duration::from_millis(50));
        assert!(future.cancel().unwrap() && future.cancel().unwrap(), "and once more");
        assert_eq!(waits.join().unwrap(), (ErrorKind::Cancelled, true));
    });
    assert!(future.cancelled().unwrap() && future.done().unwrap() && !future.running().unwrap());
    assert!(blocked.running().unwrap() && !blocked.cancel().unwrap() && !blocked.cancelled().unwrap());
    place.put("go");
    assert_eq!(blocked.exception().unwrap().map(|error| error.kind()), None);
}

fn a_saturated_executor_has_as_many_workers_as_before() {
    let gate = Value::new(0_u32).unwrap();
    let builder = Pool::builder().workers(4).context(Context::Fork);
    let arguments = ("gate".to_owned(), gate.try_clone().unwrap());
    let executor = Executor::from(builder.initializer(work::set_up, arguments).unwrap().build().unwrap());
    let blocked: Vec<_> = (0..60).map(|_| executor.submit(work::acquire, ()).unwrap()).collect();
    assert_eq!(executor.pool().workers(), 4);
    gate.with(|gate| *gate += 100).unwrap();
    let workers: std::collections::BTreeSet<u32> = blocked.iter().map(|call| call.result().unwrap()).collect();
    assert!((1..=4).contains(&workers.len()), "{workers:?}");
}

fn a_shutdown_does_not_hang() {
    // With calls under way, and with results that nobody takes.
    let executor = executor_of(3);
    let naps: Vec<_> = (0..50).map(|_| executor.submit(work::rest, (20,)).unwrap()).collect();
    executor.shutdown().unwrap();
    assert!(naps.iter().all(|nap| nap.result().is_ok()));
    assert_eq!(executor.submit(work::square, (2,)).unwrap_err().kind(), ErrorKind::ShutDown);
    let executor = executor_of(3);
    let _untaken = executor.map(work::say_number, [2; 4]).unwrap();
    executor.shutdown().unwrap();
    // A call that is cancelled right before.
    let executor = executor_of(1);
    assert_eq!(executor.submit(work::square, (0,)).unwrap().result().unwrap(), 0);
    let cancelled = executor.submit(work::square, (1,)).unwrap();
    let was_cancelled = cancelled.cancel().unwrap();
    executor.shutdown().unwrap();
    assert_eq!(cancelled.result().is_ok(), !was_cancelled);
    // Some are cancelled, and the others make their calls.
    let executor = executor_of(5);
    let naps: Vec<_> = (0..50).map(|_| executor.submit(work::rest, (50,)).unwrap()).collect();
    while !naps[0].running().unwrap() && !naps[0].done().unwrap() {}
    executor.shutdown_now().unwrap();
    let cancelled = naps.iter().filter(|nap| nap.cancelled().unwrap()).count();
    assert!((20..50).contains(&cancelled), "{cancelled} of 50");
    let others = naps.iter().filter(|nap| !nap.cancelled().unwrap());
    others.for_each(|nap| assert!(nap.done().unwrap() && nap.exception().unwrap().is_none()));
}

fn an_executor_that_is_gone_has_made_its_calls() {
    let executor = executor_of(3);
    let results = [1, 2, 3].map(|number| executor.submit(work::square, (number,)).unwrap());
    drop(executor);
    assert_eq!(results.map(|result| result.result().unwrap()), [1, 4, 9]);
    let executor = executor_of(3);
    let results = executor.map(work::square, 0..10).unwrap();
    executor.close().unwrap(); // without a wait
    assert_eq!(results.map(Result::unwrap).collect::<Vec<_>>(), squares(10));
}

fn arguments_that_do_harm_end_their_own_call() {
    let executor = executor_of(2);
    let submit = |when, snap| executor.submit(work::take_trap, (Trap(when, snap),));
    assert_eq!(submit(When::Written, Snap::Fails).unwrap_err().kind(), ErrorKind::InvalidInput);
    for (snap, kind) in
        [(Snap::Fails, ErrorKind::Decode), (Snap::Exits, ErrorKind::WorkerDied), (Snap::Dies, ErrorKind::WorkerDied)]
    {
        let future = submit(When::Read, snap).unwrap();
        assert_eq!(future.result().unwrap_err().kind(), kind, "{snap:?}");
        assert_eq!(executor.submit(work::square, (3,)).unwrap().result().unwrap(), 9, "the pool goes on");
    }
}

fn values_that_do_harm_end_their_own_call() {
    let executor = executor_of(2);
    for (when, snap, kind) in [
        (When::Written, Snap::Fails, ErrorKind::InvalidInput),
        (When::Written, Snap::Exits, ErrorKind::WorkerDied),
        (When::Written, Snap::Dies, ErrorKind::WorkerDied),
        (When::Read, Snap::Fails, ErrorKind::Decode),
    ] {
        let future = executor.submit(work::trapped, (when, snap)).unwrap();
        assert_eq!(future.result().unwrap_err().kind(), kind, "{when:?} {snap:?}");
        assert_eq!(executor.submit(work::square, (3,)).unwrap().result().unwrap(), 9, "the pool goes on");
    }
}

fn deaths_after_the_shutdown_do_not_hang() {
    let place = Place::new("deaths-after");
    let executor = executor_of(2);
    let dies = executor.submit(work::kill_self_later, (place.path(),)).unwrap();
    place.wait("begun");
    executor.close().unwrap();
    place.put("die");
    executor.shutdown().unwrap();
    assert_eq!(dies.result().unwrap_err().kind(), ErrorKind::WorkerDied);
    // With arguments that are longer than a pipe.
    let executor = executor_of(2);
    let deaths = executor.map(work::kill_self_with, vec![vec![7_u8; 1 << 20]; 10]).unwrap();
    assert!(deaths.map(Result::unwrap_err).all(|error| error.kind() == ErrorKind::WorkerDied));
    executor.shutdown().unwrap();
}

fn threads_map_without_anybody_who_waits() {
    let (seen, pool) = (Arc::new(AtomicU32::new(0)), ThreadPool::new(4).unwrap());
    let count = seen.clone();
    drop(pool.map_async(move |number: u32| count.fetch_add(number, SeqCst), 0..10));
    pool.close();
    pool.join().unwrap();
    assert_eq!(seen.load(SeqCst), 45);
    // As many threads as before, however many calls there are.
    let pool = ThreadPool::new(4).unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let blocked: Vec<_> = (0..60)
        .map(|_| {
            let gate = gate.clone();
            pool.apply_async(move || gate.lock().unwrap().recv().is_err()).unwrap()
        })
        .collect();
    assert_eq!(pool.workers(), 4);
    drop(go);
    assert!(blocked.into_iter().all(|call| call.get().unwrap()), "nothing came, and the gate is open");
}
