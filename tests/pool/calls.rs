//! Calls and their values.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::Value;
use ossature::multiprocessing::process::PanicReport;

use crate::harness::Test;
use crate::work::{self, Place, Unreadable, forked, in_all};

pub const TESTS: &[Test] = &[
    ("calls::apply_and_map_work_in_every_context", apply_and_map_work_in_every_context),
    ("calls::values_of_any_length_come_back_whole", values_of_any_length_come_back_whole),
    ("calls::many_small_calls_in_every_chunk_size", many_small_calls_in_every_chunk_size),
    ("calls::whoever_waits_for_a_map_sleeps_through_most_of_it", whoever_waits_for_a_map_sleeps_through_most_of_it),
    ("calls::calls_of_a_map_begin_while_later_items_are_drawn", calls_of_a_map_begin_while_later_items_are_drawn),
    (
        "calls::a_map_that_is_not_given_out_whole_begins_no_further_call",
        a_map_that_is_not_given_out_whole_begins_no_further_call,
    ),
    ("calls::imap_draws_no_faster_than_results_are_taken", imap_draws_no_faster_than_results_are_taken),
    (
        "calls::a_look_ahead_that_nobody_chose_grows_while_results_are_waited_for",
        a_look_ahead_that_nobody_chose_grows_while_results_are_waited_for,
    ),
    ("calls::imap_gives_errors_in_their_places", imap_gives_errors_in_their_places),
    ("calls::unordered_results_come_as_they_are_ready", unordered_results_come_as_they_are_ready),
    ("calls::a_panic_comes_back_with_its_place", a_panic_comes_back_with_its_place),
    ("calls::the_first_error_of_a_map_comes_after_all_calls", the_first_error_of_a_map_comes_after_all_calls),
    ("calls::an_error_comes_back_as_text", an_error_comes_back_as_text),
    ("calls::what_cannot_be_sent_fails_alone", what_cannot_be_sent_fails_alone),
    ("calls::an_unreadable_argument_fails_its_own_call_only", an_unreadable_argument_fails_its_own_call_only),
    ("calls::results_are_waited_for_within_limits", results_are_waited_for_within_limits),
    ("calls::nonsense_is_refused", nonsense_is_refused),
    ("calls::threads_share_a_pool", threads_share_a_pool),
];

fn apply_and_map_work_in_every_context() {
    in_all(2, |pool| {
        assert_eq!(pool.apply(work::square, (12,)).unwrap(), 144);
        assert_eq!(pool.apply(work::say, ()).unwrap(), "said");
        assert_eq!(pool.map(work::square, 0..100).unwrap(), (0..100).map(|n| n * n).collect::<Vec<u64>>());
        assert_eq!(pool.starmap(work::add, [(1, 2), (3, 4)]).unwrap(), [3, 7]);
        assert_eq!(pool.map(work::square, std::iter::empty()).unwrap(), [0; 0]);
        let both = [pool.apply_async(work::add, (1, 1)).unwrap(), pool.apply_async(work::add, (2, 2)).unwrap()];
        assert_eq!(both.map(|result| result.get().unwrap()), [2, 4]);
        let (name, daemon) = pool.apply(work::name, ()).unwrap();
        assert!(name.contains("PoolWorker-") && daemon, "{name}");
        assert_ne!(pool.apply(work::pid, ()).unwrap(), std::process::id());
    });
}

fn values_of_any_length_come_back_whole() {
    let pool = forked(2);
    for length in [0, 1, 175, 176, 177, 30_000, 32_768, 32_769, 131_072, 1 << 20, 5 << 20] {
        let made = pool.apply(work::long, (length,)).unwrap();
        assert!(made == work::long(length), "{length}");
        assert_eq!(pool.apply(work::sum, (made.clone(),)).unwrap(), work::sum(made));
    }
    let lengths = [100_000; 40];
    let many = pool.map(work::long, lengths).unwrap();
    assert!(many.iter().all(|one| *one == work::long(100_000)));
    assert_eq!(pool.map(work::sum, many).unwrap(), [work::sum(work::long(100_000)); 40]);
}

fn many_small_calls_in_every_chunk_size() {
    let pool = forked(3);
    for size in [1, 7, 1000, 20_000] {
        let squares = pool.chunksize(size).unwrap().map(work::square, 0..10_000).unwrap();
        assert!(squares.into_iter().eq((0..10_000).map(|n| n * n)), "{size}");
    }
    let lengthless = (0..1000).filter(|n| n % 2 == 0);
    assert_eq!(pool.map(work::square, lengthless).unwrap().len(), 500);
}

/// The number of times that this thread has fallen asleep.
fn sleeps() -> u32 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

fn whoever_waits_for_a_map_sleeps_through_most_of_it() {
    let pool = forked(2);
    let one_each = pool.chunksize(1).unwrap();
    let before = sleeps();
    assert_eq!(one_each.map(work::square, 0..10_000).unwrap().len(), 10_000);
    let fell_asleep = sleeps() - before;
    assert!(fell_asleep < 1000, "{fell_asleep}: it is woken for many outcomes at once");
}

/// The length in bytes of arguments that are sent to a worker at once.
const LONG: usize = 16 << 10;

fn calls_of_a_map_begin_while_later_items_are_drawn() {
    let (place, pool) = (Place::new("drawn"), forked(1));
    let items = (0..3).map(|number| {
        if number == 1 {
            place.wait("0"); // the call of the item before has begun
        }
        (place.path(), number, vec![0; LONG])
    });
    assert_eq!(pool.chunksize(1).unwrap().starmap(work::note_with, items).unwrap(), [0, 1, 2]);
}

fn a_map_that_is_not_given_out_whole_begins_no_further_call() {
    let (place, pool) = (Place::new("halfway"), forked(1));
    let items = (0..100).map(|number| {
        if number == 99 {
            place.wait("0");
            panic!("planted: no more items");
        }
        (place.path(), number, vec![0; LONG])
    });
    let one_each = pool.chunksize(1).unwrap();
    let map = AssertUnwindSafe(|| one_each.starmap(work::note_with_and_wait, items));
    assert!(catch_unwind(map).is_err());
    place.put("go"); // for the first call, behind which are the others
    assert_eq!(pool.apply(work::square, (3,)).unwrap(), 9);
    let begun: Vec<u64> = (0..100).filter(|number| place.begun(*number) > 0).collect();
    assert_eq!(begun, [0]);
}

fn imap_draws_no_faster_than_results_are_taken() {
    let pool = forked(2);
    let drawn = Cell::new(0_u64);
    let endless = std::iter::from_fn(|| {
        drawn.set(drawn.get() + 1);
        Some(drawn.get())
    });
    let view = pool.chunksize(2).unwrap().lookahead(10);
    let mut squares = view.imap(work::square, endless).unwrap();
    assert_eq!(drawn.get(), 10);
    for number in 1..=50 {
        assert_eq!(squares.next().unwrap().unwrap(), number * number);
        assert!(drawn.get() <= number + 10, "{} at {number}", drawn.get());
    }
    drop(squares);
    // Others are drawn when two for each worker are left.
    drawn.set(0);
    let counted = (0..).inspect(|_| drawn.set(drawn.get() + 1));
    let mut squares = pool.chunksize(1).unwrap().lookahead(8).imap(work::square, counted).unwrap();
    let after: Vec<_> = squares.by_ref().take(9).map(|_| drawn.get()).collect();
    assert_eq!(after, [8, 8, 8, 8, 12, 12, 12, 12, 16]);
    drop(squares);
    assert_eq!(
        pool.imap(work::square, 0..1000).unwrap().map(Result::unwrap).sum::<u64>(),
        (0..1000).map(|n| n * n).sum::<u64>()
    );
}

/// The look-ahead grows from four items for each worker to 64, and no further.
fn a_look_ahead_that_nobody_chose_grows_while_results_are_waited_for() {
    let pool = forked(1);
    let drawn = Cell::new(0);
    let pauses = std::iter::repeat(2).inspect(|_| drawn.set(drawn.get() + 1));
    let mut rests = pool.imap(work::rest, pauses).unwrap();
    assert_eq!(drawn.get(), 4);
    let mut most = 0;
    for taken in 1..=300 {
        assert_eq!(rests.next().unwrap().unwrap(), 2);
        assert!(drawn.get() <= taken + 64, "{} at {taken}", drawn.get());
        most = most.max(drawn.get() - taken);
    }
    assert!(most > 32, "{most}");
}

fn imap_gives_errors_in_their_places() {
    let pool = forked(2);
    let numbers: Vec<_> = pool.imap(work::unreadable, (0..6).map(Unreadable)).unwrap().collect();
    let kinds: Vec<_> = numbers.iter().map(|number| number.as_ref().map_err(ossature::Error::kind)).collect();
    assert_eq!(kinds, [Err(ErrorKind::Decode), Err(ErrorKind::Remote), Ok(&2), Ok(&3), Ok(&4), Ok(&5)]);
    let mut slow = pool.imap(work::rest, [200, 0]).unwrap();
    assert!(matches!(slow.next_timeout(Duration::from_millis(1)), Some(Ok(None))), "and it is kept for the next call");
    assert!(matches!(slow.next_timeout(Duration::from_secs(30)), Some(Ok(Some(200)))));
    assert!(matches!(slow.next_timeout(Duration::from_secs(30)), Some(Ok(Some(0)))));
    assert!(slow.next_timeout(Duration::ZERO).is_none() && slow.next().is_none());
}

fn unordered_results_come_as_they_are_ready() {
    let pool = forked(2);
    let times: Vec<u64> = pool.imap_unordered(work::rest, [300, 0, 0]).unwrap().map(Result::unwrap).collect();
    assert_eq!(times, [0, 0, 300]);
    let mut squares: Vec<_> = pool.imap_unordered(work::square, 0..500).unwrap().map(Result::unwrap).collect();
    squares.sort_unstable();
    assert!(squares.into_iter().eq((0..500).map(|n| n * n)));
}

fn a_panic_comes_back_with_its_place() {
    let pool = forked(1);
    let error = pool.apply(work::fail_at, (3, 3)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Remote);
    let report = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<PanicReport>()).unwrap();
    assert_eq!(report.message(), "no more paper at 3");
    assert!(report.location().contains("work.rs:"), "{}", report.location());
    let asked = ["RUST_LIB_BACKTRACE", "RUST_BACKTRACE"].iter().find_map(|name| std::env::var(name).ok());
    let asked = asked.is_some_and(|value| value != "0");
    assert_eq!(report.backtrace().map(|backtrace| backtrace.contains("panicking")), asked.then_some(true));
    assert!(error.to_string().contains("no more paper at 3"));
    assert_eq!(pool.apply(work::fail_at, (3, 4)).unwrap(), 4, "the worker goes on");
}

fn the_first_error_of_a_map_comes_after_all_calls() {
    let pool = forked(2);
    let place = Place::new("errors");
    let items = (0..40).map(|number| (place.path(), number));
    assert_eq!(pool.starmap(work::note, items).unwrap().len(), 40);
    let mut result =
        pool.starmap_async(work::fail_at, (0..40).map(|number| (number - number % 20 + 5, number))).unwrap();
    assert!(result.wait(Duration::from_secs(30)).unwrap());
    assert_eq!(result.ended().unwrap(), 40, "those behind a failed one too");
    assert!(!result.successful().unwrap());
    let error = result.get_timeout(Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("no more paper at 5"), "{error}");
}

fn an_error_comes_back_as_text() {
    let pool = forked(1);
    assert_eq!(pool.apply_result(work::parse, ("12".to_owned(),)).unwrap(), 12);
    let error = pool.apply_result(work::parse, ("twelve".to_owned(),)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TaskFailed);
    assert!(error.to_string().contains("InvalidDigit"), "{error}");
}

fn what_cannot_be_sent_fails_alone() {
    let pool = forked(1);
    let error = pool.apply(work::unsendable, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("unsendable") && error.to_string().contains("not for sending"), "{error}");
    assert_eq!(pool.apply(work::handed, ()).unwrap().get().unwrap(), 7);
    assert_eq!(pool.apply(work::value_of, (Value::new(1_u32).unwrap(),)).unwrap(), 1);
    let error = pool.apply(work::unreadable, (Unreadable(0),)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(pool.apply(work::unreadable, (Unreadable(5),)).unwrap(), 5, "the worker goes on");
}

fn an_unreadable_argument_fails_its_own_call_only() {
    let pool = forked(1);
    let arguments = [0, 4, 1, 5].map(Unreadable); // the first is refused, and the third panics
    let results: Vec<_> = pool.chunksize(4).unwrap().imap(work::unreadable, arguments).unwrap().collect();
    let kinds: Vec<_> = results.into_iter().map(|result| result.map_err(|error| error.kind())).collect();
    assert_eq!(kinds, [Err(ErrorKind::Decode), Ok(4), Err(ErrorKind::Remote), Ok(5)]);
}

fn results_are_waited_for_within_limits() {
    let pool = forked(1);
    let mut result = pool.apply_async(work::rest, (300,)).unwrap();
    assert!(!result.ready().unwrap() && !result.wait(Duration::from_millis(1)).unwrap());
    assert_eq!(result.successful().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(result.get_timeout(Duration::from_millis(1)).unwrap(), None);
    assert_eq!(result.get_timeout(Duration::from_secs(30)).unwrap(), Some(300));
    assert!(result.ready().unwrap() && result.successful().unwrap());
    assert_eq!(result.get_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::NoResult);
}

fn nonsense_is_refused() {
    let pool = forked(1);
    assert_eq!(pool.chunksize(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    let unlisted = |number: u64| number;
    assert_eq!(pool.apply(unlisted, (1,)).unwrap_err().kind(), ErrorKind::UnknownTask);
}

fn threads_share_a_pool() {
    let pool = forked(2);
    std::thread::scope(|scope| {
        for start in 0..4_u64 {
            let pool = &pool;
            scope.spawn(move || {
                for number in start * 100..start * 100 + 100 {
                    assert_eq!(pool.apply(work::square, (number,)).unwrap(), number * number);
                }
            });
        }
    });
}
