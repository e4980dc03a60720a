//! The calls of a pool, without failures except in the tasks.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature_redis::{Executor, IMapIterator};

use crate::support::{LONG, Server, Test, until, worker};
use crate::work::*;

pub const TESTS: &[Test] = &[
    ("every_call_of_a_local_pool_gives_the_same_values", every_call_of_a_local_pool_gives_the_same_values),
    ("what_a_task_does_wrong_is_told_as_in_a_local_pool", what_a_task_does_wrong_is_told_as_in_a_local_pool),
    ("items_of_an_imap_are_drawn_as_results_are_taken", items_of_an_imap_are_drawn_as_results_are_taken),
    ("an_executor_gives_futures_as_a_local_one_does", an_executor_gives_futures_as_a_local_one_does),
    ("callbacks_and_progress_tell_of_each_end", callbacks_and_progress_tell_of_each_end),
    ("results_and_the_join_come_behind_their_callbacks", results_and_the_join_come_behind_their_callbacks),
    ("an_imap_goes_on_in_a_closed_pool", an_imap_goes_on_in_a_closed_pool),
    ("an_imap_ends_in_a_terminated_pool", an_imap_ends_in_a_terminated_pool),
    ("threads_that_wait_read_for_each_other", threads_that_wait_read_for_each_other),
    ("a_thread_that_waits_hears_of_the_end_of_the_pool", a_thread_that_waits_hears_of_the_end_of_the_pool),
    ("a_call_takes_thirteen_commands_in_three_requests", a_call_takes_thirteen_commands_in_three_requests),
    ("long_arguments_and_values_lie_beside_the_stream", long_arguments_and_values_lie_beside_the_stream),
    ("above_512_mib_all_is_refused_where_it_is", above_512_mib_all_is_refused_where_it_is),
    ("a_million_calls_take_what_the_outstanding_ones_take", a_million_calls_take_what_the_outstanding_ones_take),
    ("a_cancelled_call_ends_with_its_process", a_cancelled_call_ends_with_its_process),
    ("a_call_that_takes_too_long_is_killed", a_call_that_takes_too_long_is_killed),
    ("a_pool_that_is_closed_makes_its_calls", a_pool_that_is_closed_makes_its_calls),
    ("nothing_of_a_finished_job_stays", nothing_of_a_finished_job_stays),
    ("two_workers_share_a_job_and_tell_of_themselves", two_workers_share_a_job_and_tell_of_themselves),
    ("what_this_crate_uses_of_ossature_does_what_it_says", what_this_crate_uses_of_ossature_does_what_it_says),
    ("a_worker_that_is_told_to_end_ends_its_calls_first", a_worker_that_is_told_to_end_ends_its_calls_first),
];

fn every_call_of_a_local_pool_gives_the_same_values() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 2, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    assert_eq!(pool.apply(square, (12,)).unwrap(), 144);
    assert_eq!(pool.apply_result(parse, ("12".to_owned(),)).unwrap(), 12);
    let squares: Vec<u64> = (0..5000).map(|n| n * n).collect();
    assert_eq!(pool.map(square, 0..5000).unwrap(), squares);
    assert_eq!(pool.starmap(add, [(1, 2), (3, 4)]).unwrap(), [3, 7]);
    assert_eq!(pool.chunksize(50).unwrap().map(square, 0..5000).unwrap(), squares);
    assert_eq!(pool.imap(square, 0..5000).unwrap().collect::<Result<Vec<_>, _>>().unwrap(), squares);
    let mut unordered = pool.imap_unordered(square, 0..5000).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    unordered.sort_unstable();
    assert_eq!(unordered, squares);
    let (one, many) = (pool.apply_async(add, (1, 1)).unwrap(), pool.map_async(square, [3]).unwrap());
    assert!(one.wait(LONG).unwrap() && one.ready().unwrap() && one.successful().unwrap());
    assert_eq!((one.get().unwrap(), many.get().unwrap()), (2, vec![9]));
    assert_eq!(pool.map(square, [0; 0]).unwrap(), [0; 0]);
    assert_eq!(pool.chunksize(0).unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn what_a_task_does_wrong_is_told_as_in_a_local_pool() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let error = pool.apply(fail, ("no more paper".to_owned(),)).unwrap_err();
    assert!(error.kind() == ErrorKind::Remote && error.to_string().contains("no more paper"), "{error}");
    let error = pool.apply_result(parse, ("x".to_owned(),)).unwrap_err();
    assert!(error.kind() == ErrorKind::TaskFailed && error.to_string().contains("InvalidDigit"), "{error}");
    let error = pool.apply(makes_a_file, ()).map(drop).unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("descriptor"), "{error}");
    let mut several = pool.map_async(fail, ["a".to_owned(), "b".to_owned()]).unwrap();
    assert!(several.get_timeout(LONG).unwrap_err().to_string().contains("a"));
    assert!(!several.successful().unwrap() && several.ended().unwrap() == 2);
    let mut one = pool.apply_async(square, (2,)).unwrap();
    assert_eq!(one.get_timeout(LONG).unwrap(), Some(4));
    assert_eq!(one.get_timeout(LONG).unwrap_err().kind(), ErrorKind::NoResult, "it was given");
}

fn items_of_an_imap_are_drawn_as_results_are_taken() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 2, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let mut squares: IMapIterator<_, u64> = pool.imap(square, 0..).unwrap(); // without an end
    assert_eq!(squares.next().transpose().unwrap(), Some(0));
    assert!(matches!(squares.next_timeout(LONG), Some(Ok(Some(1)))));
    assert!(squares.take(10_000).zip(2..).all(|(value, n)| value.unwrap() == n * n));
    let naps = pool.imap_unordered(nap, [300, 1]).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(naps.len(), 2);
}

fn an_executor_gives_futures_as_a_local_one_does() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &[]);
    let executor = Executor::from(pool().connect(&server.url(), "p").unwrap());
    let (value, failed) = (executor.submit(square, (3,)).unwrap(), executor.submit(fail, ("x".to_owned(),)).unwrap());
    let (tell, hear) = mpsc::channel();
    value.add_done_callback(move |future| drop(tell.send(future.done()))).unwrap();
    assert!(hear.recv_timeout(LONG).unwrap().unwrap());
    assert!(value.exception().unwrap().is_none() && !value.cancel().unwrap() && !value.cancelled().unwrap());
    assert_eq!((value.result().unwrap(), value.clone().result().unwrap()), (9, 9), "as often as it is asked for");
    assert_eq!(failed.exception_timeout(LONG).unwrap().flatten().unwrap().kind(), ErrorKind::Remote);
    assert_eq!(failed.result_timeout(LONG).unwrap_err().kind(), ErrorKind::Remote);
    let long = executor.submit(nap, (600_000,)).unwrap();
    assert!(long.result_timeout(Duration::from_millis(50)).unwrap().is_none() && !long.done().unwrap());
    assert!(long.cancel().unwrap() && long.cancelled().unwrap() && long.done().unwrap());
    assert_eq!(executor.map(square, [1, 2]).unwrap().map(Result::unwrap).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(executor.pool().workers(), 1);
    let last = executor.submit(nap, (300,)).unwrap();
    executor.shutdown().unwrap();
    assert!(last.done().unwrap());
    assert_eq!(executor.submit(square, (1,)).unwrap_err().kind(), ErrorKind::ShutDown);
}

fn callbacks_and_progress_tell_of_each_end() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 2, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let (tell, hear) = mpsc::channel();
    let (all, bad) = (tell.clone(), tell.clone());
    let one = pool.apply_async_with(square, (8,), move |value| drop(tell.send(value.into_iter().collect()))).unwrap();
    assert_eq!(hear.recv_timeout(LONG), Ok(vec![64]));
    assert!(one.wait(LONG).unwrap() && one.successful().unwrap());
    assert_eq!(one.get().unwrap(), 64, "both have the value");
    drop(pool.map_async_with(square, [2, 4], move |values| drop(all.send(values.unwrap_or_default()))).unwrap());
    assert_eq!(hear.recv_timeout(LONG), Ok(vec![4, 16]), "though nobody holds the result");
    let told = move |value: ossature::Result<u32>| drop(bad.send(vec![u64::from(value.is_err())]));
    drop(pool.apply_async_with(fail, ("x".to_owned(),), told).unwrap());
    assert_eq!(hear.recv_timeout(LONG), Ok(vec![1]));
    let mut seen = Vec::new();
    let naps = pool.map_async(nap, [1; 100]).unwrap().get_with_progress(|ended| seen.push(ended)).unwrap();
    assert_eq!((naps.len(), seen.first(), seen.last()), (100, Some(&0), Some(&100)));
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
}

/// A callback that has not returned holds up its own result and the end of the pool, and nothing else.
fn results_and_the_join_come_behind_their_callbacks() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
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
    let mut number = pool.apply_async_with(square, (3,), move |n| hold_one(n.unwrap())).unwrap();
    let mut numbers = pool.map_async_with(square, 0..3, move |all| hold_all(all.unwrap().iter().sum())).unwrap();
    assert_eq!(has_begun.recv_timeout(LONG).unwrap(), 9);
    assert!(!number.ready().unwrap() && number.get_timeout(Duration::ZERO).unwrap().is_none());
    assert_eq!(pool.apply(square, (5,)).unwrap(), 25);
    go_one();
    assert_eq!(number.get().unwrap(), 9);
    assert_eq!(has_begun.recv_timeout(LONG).unwrap(), 5);
    pool.close().unwrap();
    assert!(!pool.join_timeout(Duration::from_millis(20)).unwrap(), "a callback is called");
    assert_eq!(numbers.get_timeout(Duration::ZERO).unwrap(), None);
    go_all();
    pool.join().unwrap();
    assert_eq!(numbers.get_timeout(Duration::ZERO).unwrap(), Some(vec![0, 1, 4]));
}

/// The whole of a map or an imap is given when it begins, as in Python.
fn an_imap_goes_on_in_a_closed_pool() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let mut squares = pool.imap(square, 0..1000).unwrap();
    assert_eq!(squares.next().transpose().unwrap(), Some(0));
    pool.close().unwrap();
    assert_eq!(pool.apply(square, (1,)).unwrap_err().kind(), ErrorKind::ShutDown);
    assert!(squares.zip(1..).all(|(value, n)| value.unwrap() == n * n));
    pool.join().unwrap();
}

fn an_imap_ends_in_a_terminated_pool() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let mut squares = pool.imap(square, 0..).unwrap();
    assert_eq!(squares.next().transpose().unwrap(), Some(0));
    pool.terminate().unwrap();
    pool.close().unwrap(); // it stays terminated
    let kinds: Vec<_> = squares.by_ref().take(1_000_000).filter_map(|value| Some(value.err()?.kind())).collect();
    assert_eq!(kinds.last(), Some(&ErrorKind::ShutDown));
    assert!(squares.next().is_none());
    pool.join().unwrap();
}

fn threads_that_wait_read_for_each_other() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 2, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    std::thread::scope(|threads| {
        for from in 0..4 {
            let pool = &pool;
            threads.spawn(move || {
                for n in from * 150..(from + 1) * 150 {
                    assert_eq!(pool.apply(square, (n,)).unwrap(), n * n);
                }
            });
        }
        for _ in 0..10 {
            let mut with_limit = pool.map_async(square, 0..100).unwrap();
            assert!(with_limit.get_timeout(LONG).unwrap().unwrap().into_iter().eq((0..100).map(|n| n * n)));
        }
    });
    server.say(&["SCRIPT", "FLUSH"]); // as when it was started anew
    assert_eq!((pool.apply(square, (9,)).unwrap(), pool.healed()), (81, 0));
}

fn a_thread_that_waits_hears_of_the_end_of_the_pool() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    std::thread::scope(|threads| {
        let waits = threads.spawn(|| pool.apply(nap, (600_000,)));
        until("it runs", || pool.hosts().iter().any(|host| host.running == 1));
        pool.terminate().unwrap();
        assert_eq!(waits.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    });
}

/// Checks what the crate's documentation says about requests.
fn a_call_takes_thirteen_commands_in_three_requests() {
    const CALLS: u64 = 500;
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let make = |calls: u64| (0..calls).for_each(|n| assert_eq!(pool.apply(square, (n,)).unwrap(), n * n));
    make(10);
    server.say(&["CONFIG", "RESETSTAT"]);
    make(CALLS);
    let stats = server.say(&["INFO", "commandstats"]);
    let count = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    };
    let all: u64 =
        ["evalsha", "xadd", "xread", "xreadgroup", "xack", "xdel", "hset", "hget", "hdel", "hexists", "pexpire"]
            .map(count)
            .iter()
            .sum();
    // Beats and looks for what went back add some, by the time that passes.
    let most = |each: u64| CALLS * each + CALLS / 2;
    assert!(count("evalsha") >= CALLS * 2 && count("evalsha") <= most(2), "{stats}");
    assert!(count("xread") + count("xreadgroup") <= most(2), "{stats}");
    // Two scripts are counted beside what they run.
    assert!(all <= most(15), "{all} in {CALLS} calls: {stats}");
}

fn long_arguments_and_values_lie_beside_the_stream() {
    let server = Server::start();
    let mut first = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    assert_eq!(pool.map(length, [vec![1; 3 << 20], vec![2; 10], vec![3; 300_000]]).unwrap(), [3 << 20, 10, 300_000]);
    assert_eq!(pool.apply(repeat, (7, 5 << 20)).unwrap(), vec![7; 5 << 20]);
    first.kill();
    until("the worker is lost", || pool.workers() == 0);
    let waits = pool.apply_async(length, (vec![1; 1 << 20],)).unwrap();
    assert!(server.keys("p").iter().any(|key| key.ends_with(":big")), "{:?}", server.keys("p"));
    waits.cancel().unwrap();
    until("it is gone", || !server.keys("p").iter().any(|key| key.ends_with(":big")));
}

fn above_512_mib_all_is_refused_where_it_is() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let long = "7".repeat(512 << 20);
    let texts: ossature_redis::Queue<String> = ossature_redis::Queue::connect(&server.url(), "texts").unwrap();
    assert_eq!(texts.put(&long).unwrap_err().kind(), ErrorKind::TooLong);
    let error = pool.apply_result(parse, (long,)).unwrap_err();
    assert!(error.kind() == ErrorKind::TooLong && error.to_string().contains("::parse"), "{error}");
    let error = pool.apply(text_of, (512 << 20,)).unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("512 MiB"), "{error}");
    assert_eq!(pool.apply(square, (12,)).unwrap(), 144, "the worker goes on");
    assert_eq!(pool.apply(text_of, (100 << 20,)).unwrap().len(), 100 << 20);
}

/// The number of bytes of memory that the server uses.
fn memory(server: &Server) -> u64 {
    let info = server.say(&["INFO", "memory"]);
    info.lines().find_map(|line| line.trim().strip_prefix("used_memory:")).unwrap().parse().unwrap()
}

fn a_million_calls_take_what_the_outstanding_ones_take() {
    const CALLS: u64 = 1_000_000;
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 2, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    assert_eq!(pool.map(square, 0..1000).unwrap().len(), 1000);
    let before = memory(&server);
    // Of two processes, eight chunks are outstanding, each with at most a MiB of arguments, or its values.
    let most = before + CALLS * 2 / 8 + (8 << 20);
    let squares = pool.map_async(square, 0..CALLS).unwrap();
    let (mut samples, mut highest) = (0, 0);
    while !squares.ready().unwrap() {
        (samples, highest) = (samples + 1, memory(&server).max(highest));
    }
    println!("{samples} samples: {before} bytes before, {highest} at most");
    assert!(samples >= 5 && highest <= most, "{samples} samples, {highest} > {most}");
    assert!(squares.get().unwrap().into_iter().eq((0..CALLS).map(|n| n * n)));
    until("the memory is back", || memory(&server) < before + (1 << 20));
}

fn a_cancelled_call_ends_with_its_process() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let (long, behind) = (pool.apply_async(nap, (600_000,)).unwrap(), pool.apply_async(nap, (600_000,)).unwrap());
    until("it runs", || pool.hosts().iter().any(|host| host.running == 1));
    behind.cancel().unwrap();
    long.cancel().unwrap();
    assert_eq!(long.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(behind.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(pool.apply(square, (3,)).unwrap(), 9, "the only process is free again");
    let naps = pool.map_async(nap, [600_000; 3]).unwrap();
    pool.terminate().unwrap();
    assert_eq!(naps.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(pool.apply(square, (3,)).unwrap_err().kind(), ErrorKind::ShutDown);
}

fn a_call_that_takes_too_long_is_killed() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 2, &[]);
    let pool = pool().task_timeout(Duration::from_millis(300)).connect(&server.url(), "p").unwrap();
    assert_eq!(pool.apply(nap, (1,)).unwrap(), 1);
    let begun = Instant::now();
    let results = [600_000, 1, 2].map(|millis| pool.apply_async(nap, (millis,)).unwrap());
    let [late, one, two] = results.map(|result| result.get());
    let error = late.unwrap_err();
    assert!(error.kind() == ErrorKind::WorkerDied && error.to_string().contains("300ms"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!((one.unwrap(), two.unwrap()), (1, 2));
}

fn a_pool_that_is_closed_makes_its_calls() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let naps = pool.map_async(nap, [20; 5]).unwrap();
    assert_eq!(pool.join().unwrap_err().kind(), ErrorKind::InvalidInput);
    pool.close().unwrap();
    assert_eq!(pool.apply_async(nap, (1,)).map(drop).unwrap_err().kind(), ErrorKind::ShutDown);
    assert!(pool.join_timeout(LONG).unwrap());
    assert_eq!(naps.get().unwrap(), [20; 5]);
}

fn nothing_of_a_finished_job_stays() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 2, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    pool.map(square, 0..1000).unwrap();
    let before = memory(&server);
    pool.map(square, 0..200_000).unwrap();
    pool.map(length, [vec![0; 400_000], vec![1; 400_000]]).unwrap();
    until("the keys are gone", || server.keys("p").iter().all(|key| !key.contains(":c:") || key.ends_with(":out")));
    let tasks = server.keys("p").into_iter().find(|key| key.contains(":tasks:")).unwrap();
    until("the stream is empty", || server.say(&["XLEN", &tasks]) == "0");
    until("the memory is back", || memory(&server) < before + (1 << 20));
    drop(pool);
    assert!(server.keys("p").iter().all(|key| !key.contains(":c:")), "{:?}", server.keys("p"));
}

fn two_workers_share_a_job_and_tell_of_themselves() {
    let server = Server::start();
    let (one, _other) = (worker(&server.url(), "p", 1, &[]), worker(&server.url(), "p", 1, &[]));
    let pool = pool().connect(&server.url(), "p").unwrap();
    until("both are there", || pool.workers() == 2);
    let mut hosts = pool.map(host_of_a_nap, 0..20).unwrap();
    hosts.sort_unstable();
    hosts.dedup();
    assert_eq!(hosts.len(), 2);
    assert!(hosts.contains(&one.pid()));
    until("they count", || pool.hosts().iter().map(|host| host.calls).sum::<u64>() == 20);
    let listed = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["worker", "--list", "--url", &server.url(), "--pool", "p"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("2 workers, 2 processes, 0 dead letters") && text.contains(&one.pid().to_string()), "{text}");
}

fn a_worker_that_is_told_to_end_ends_its_calls_first() {
    let server = Server::start();
    let mut first = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let naps = pool.map_async(nap, [700, 701]).unwrap();
    until("it runs", || pool.hosts().iter().any(|host| host.running == 1));
    first.signal(ossature::sys::signal::Signal::TERM);
    assert_eq!(first.join(), Some(0));
    until("the first was told", || naps.ended().unwrap() == 1);
    until("it has left", || pool.hosts().is_empty());
    let _second = worker(&server.url(), "p", 1, &[]);
    assert_eq!(naps.get().unwrap(), [700, 701]);
}

/// Runs the example in the documentation of the hidden module.
fn what_this_crate_uses_of_ossature_does_what_it_says() {
    use ossature::multiprocessing::pool::engine::{self, CallEnd, Packer, Run, Unpacker, Wants};
    use ossature::multiprocessing::{Context, Pool};
    let task = engine::name_of(square, Wants::Value).unwrap();
    let mut bytes = Vec::new();
    Packer::begin().write(task, &mut bytes, &(8_u64,)).unwrap();
    assert!(engine::build_id().unwrap().is_some());
    let pool = Pool::builder().workers(1).context(Context::Spawn).build().unwrap();
    assert_eq!(engine::known_name(task).unwrap(), task);
    let run: Run = pool.give_calls(task, Wants::Value, [&bytes[..]]).unwrap();
    assert!(pool.wait_until(LONG.into(), || run.is_done()).unwrap());
    let mut value = Vec::new();
    run.take(|told| match told {
        CallEnd::Value(bytes) => value.extend_from_slice(bytes),
        CallEnd::Failed(_) => panic!("{told:?}"),
    });
    assert_eq!(run.count(), 1);
    run.handle().cancel().unwrap();
    run.take(|told| panic!("{told:?} is told again"));
    pool.wake().unwrap();
    assert_eq!(engine::unpack::<u64>(&value).unwrap(), 64);
    let mut unpacker = Unpacker::begin();
    assert_eq!(unpacker.read::<u64>(b"").unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(unpacker.read::<u64>(&[value.as_slice(), b"x"].concat()).unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(unpacker.read::<u64>(&value).unwrap(), 64, "after bytes that are none");
    assert_eq!(engine::pack(&64_u64).unwrap(), value);
    for (failed, kind) in [
        (engine::late(task, Duration::from_secs(1)), ErrorKind::WorkerDied),
        (engine::unreadable("they are too short"), ErrorKind::Decode),
        (engine::unwritable("it is too long"), ErrorKind::InvalidInput),
    ] {
        assert_eq!((engine::is_death(&failed), engine::unmade(&failed)), (kind == ErrorKind::WorkerDied, None));
        assert_eq!(engine::failed(task, "node7", &failed).kind(), kind);
    }
    let error = engine::error(ErrorKind::Closed, "the server is away".into());
    assert_eq!(error.kind(), ErrorKind::Closed);
}
