//! How a pool is built, and how its workers begin and end.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::shared_memory::SharedMemory;
use ossature::multiprocessing::{Context, Pool, Process, Value, stop_forkserver, usable_cpus};
use ossature::sys::process::pidfd_open;
use ossature::sys::sched::{CpuSet, affinity};

use crate::harness::Test;
use crate::work::{self, CONTEXTS};

pub const TESTS: &[Test] = &[
    ("setups::what_no_pool_can_be_is_refused", what_no_pool_can_be_is_refused),
    ("setups::the_default_is_the_usable_processors", the_default_is_the_usable_processors),
    ("setups::an_initializer_runs_first_in_each_worker", an_initializer_runs_first_in_each_worker),
    (
        "setups::a_failing_initializer_breaks_the_pool_with_its_reason",
        a_failing_initializer_breaks_the_pool_with_its_reason,
    ),
    ("setups::a_worker_ends_after_so_many_chunks", a_worker_ends_after_so_many_chunks),
    ("setups::one_chunk_each_never_stalls", one_chunk_each_never_stalls),
    ("setups::workers_of_one_call_follow_each_other", workers_of_one_call_follow_each_other),
    ("setups::a_block_whose_name_is_gone_breaks_the_pool", a_block_whose_name_is_gone_breaks_the_pool),
    ("setups::workers_run_where_they_are_told_to", workers_run_where_they_are_told_to),
    ("setups::processors_that_there_are_not_are_an_error", processors_that_there_are_not_are_an_error),
    ("setups::a_worker_that_has_grown_is_replaced", a_worker_that_has_grown_is_replaced),
    ("setups::idle_workers_end_and_come_back", idle_workers_end_and_come_back),
    ("setups::chunks_and_ends_for_want_of_work_may_meet", chunks_and_ends_for_want_of_work_may_meet),
    ("setups::each_worker_is_told_of", each_worker_is_told_of),
    ("setups::log_records_of_workers_come_to_the_parent", log_records_of_workers_come_to_the_parent),
    ("setups::progress_is_told_once_for_each_change", progress_is_told_once_for_each_change),
];

fn what_no_pool_can_be_is_refused() {
    let kind = |builder: ossature::multiprocessing::pool::PoolBuilder| builder.build().unwrap_err().kind();
    assert_eq!(kind(Pool::builder().workers(0)), ErrorKind::InvalidInput);
    assert_eq!(kind(Pool::builder().workers(1025)), ErrorKind::InvalidInput);
    assert_eq!(kind(Pool::builder().workers(1).max_tasks_per_child(0)), ErrorKind::InvalidInput);
    assert_eq!(kind(Pool::builder().workers(1).task_timeout(Duration::ZERO)), ErrorKind::InvalidInput);
    assert_eq!(kind(Pool::builder().workers(1).context(Context::Thread)), ErrorKind::Unsupported);
    assert_eq!(kind(Pool::builder().workers(1).affinity([])), ErrorKind::InvalidInput);
    assert_eq!(kind(Pool::builder().workers(1).affinity([CpuSet::default()])), ErrorKind::InvalidInput);
    let unlisted = || ();
    assert_eq!(Pool::builder().initializer(unlisted, ()).unwrap_err().kind(), ErrorKind::UnknownTask);
}

fn the_default_is_the_usable_processors() {
    let pool = Pool::builder().context(Context::Fork).build().unwrap();
    assert_eq!(pool.workers(), usable_cpus().unwrap());
    assert_eq!(pool.apply(work::square, (2,)).unwrap(), 4);
}

fn an_initializer_runs_first_in_each_worker() {
    for context in CONTEXTS {
        let count = Value::new(0_u32).unwrap();
        let arguments = ("hello".to_owned(), count.try_clone().unwrap());
        let pool =
            Pool::builder().workers(2).context(context).initializer(work::set_up, arguments).unwrap().build().unwrap();
        let all = pool.chunksize(1).unwrap().map(work::set_up_slowly, [20_u64; 6]).unwrap();
        assert!(all.iter().all(|(text, count)| text == "hello" && (1..=2).contains(count)), "{all:?}");
        assert_eq!(pool.apply(work::kill_self, ()).unwrap_err().kind(), ErrorKind::WorkerDied);
        work::soon(|| count.get().unwrap() == 3); // that of the new one, too
        drop(pool);
        if context == Context::Forkserver {
            assert!(stop_forkserver(Duration::from_secs(30)).unwrap());
        }
    }
}

fn a_failing_initializer_breaks_the_pool_with_its_reason() {
    let builder = Pool::builder().workers(2).context(Context::Fork);
    let pool = builder.initializer(work::set_up_badly, ("no more paper".to_owned(),)).unwrap().build().unwrap();
    let error = pool.apply(work::square, (2,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains("no more paper"), "{error}");
    assert_eq!(pool.map(work::square, 0..3).unwrap_err().kind(), ErrorKind::StartFailed, "and from then on");
    pool.close().unwrap();
    assert!(pool.join_timeout(Duration::from_secs(30)).unwrap());
}

fn a_worker_ends_after_so_many_chunks() {
    let pool = Pool::builder().workers(1).context(Context::Fork).max_tasks_per_child(3).build().unwrap();
    let pids: Vec<_> = (0..9).map(|_| pool.apply(work::pid, ()).unwrap()).collect();
    let different: BTreeSet<_> = pids.iter().collect();
    assert_eq!(different.len(), 3, "{pids:?}");
}

fn one_chunk_each_never_stalls() {
    let pool = Pool::builder().workers(2).context(Context::Fork).max_tasks_per_child(1).build().unwrap();
    let squares = pool.chunksize(1).unwrap().map(work::square, 0..1000).unwrap();
    assert!(squares.into_iter().eq((0..1000).map(|n| n * n)));
}

// Python's issue 10332 and others like it: a pool with maxtasksperchild stops at times under load.
fn workers_of_one_call_follow_each_other() {
    // All of them take minutes on a machine with other work. `scripts/long pool-lives` asks for all.
    let all = std::env::var_os("OSSATURE_ALL_LIVES").is_some();
    let (most, until) = (10_000, Instant::now() + Duration::from_secs(if all { 3000 } else { 15 }));
    let pool = Pool::builder().workers(4).context(Context::Fork).max_tasks_per_child(1).build().unwrap();
    let numbers = (0..most).take_while(|_| Instant::now() < until);
    let mut count = 0;
    for square in pool.chunksize(1).unwrap().lookahead(64).imap(work::square, numbers).unwrap() {
        assert_eq!(square.unwrap(), count * count);
        count += 1;
    }
    assert!(count > 64 && (count == most || !all), "{count} calls");
    let started: u64 = pool.stats().unwrap().iter().map(|worker| u64::from(worker.started)).sum();
    assert!(started >= count, "{started} workers for {count} calls");
}

fn a_block_whose_name_is_gone_breaks_the_pool() {
    let block = SharedMemory::create(1).unwrap();
    block.set(0, 7_u8).unwrap();
    let name = block.name().to_owned();
    let again = SharedMemory::open(&name).unwrap();
    let builder = Pool::builder().workers(1).context(Context::Fork);
    let pool = builder.initializer(work::set_up_named, (again,)).unwrap().build().unwrap();
    assert_eq!(pool.apply(work::read_named, ()).unwrap(), 7);
    assert_eq!(pool.apply(work::kill_self, ()).unwrap_err().kind(), ErrorKind::WorkerDied);
    assert_eq!(pool.apply(work::read_named, ()).unwrap(), 7, "the next worker opens it too");
    block.unlink().unwrap();
    assert_eq!(pool.apply(work::read_named, ()).unwrap(), 7, "a worker that has it keeps it");
    assert_eq!(pool.apply(work::kill_self, ()).unwrap_err().kind(), ErrorKind::WorkerDied);
    let error = pool.apply(work::read_named, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains(&name), "{error}");
}

fn workers_run_where_they_are_told_to() {
    let usable: Vec<usize> = affinity(None).unwrap().iter().collect();
    let sets = [usable[0], usable[usable.len() - 1]].map(|cpu| CpuSet::of([cpu]));
    let pool = Pool::builder().workers(3).context(Context::Fork).affinity(sets).build().unwrap();
    let (mut seen, allowed) = (BTreeSet::new(), sets.map(|set| set.iter().collect::<Vec<_>>()));
    for _ in 0..20 {
        seen.insert(pool.apply(work::processors, ()).unwrap());
    }
    assert!(seen.iter().all(|set| allowed.contains(set)), "{seen:?}");
    let one = Pool::builder().workers(1).context(Context::Fork).affinity([CpuSet::of([usable[0]])]).build().unwrap();
    for _ in 0..2 {
        assert_eq!(one.apply(work::processors, ()).unwrap(), [usable[0]]);
        assert_eq!(one.apply(work::kill_self, ()).unwrap_err().kind(), ErrorKind::WorkerDied);
    }
    assert_eq!(affinity(None).unwrap().iter().collect::<Vec<_>>(), usable, "the parent stays where it is");
}

fn processors_that_there_are_not_are_an_error() {
    let pool = Pool::builder().workers(1).context(Context::Fork).affinity([CpuSet::of([1023])]).build().unwrap();
    let error = pool.apply(work::square, (2,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains("PoolBuilder::affinity"), "{error}");
}

fn a_worker_that_has_grown_is_replaced() {
    let most = 1_u64 << 28;
    let pool = Pool::builder().workers(1).context(Context::Fork).max_memory_per_child(most).build().unwrap();
    let small: BTreeSet<_> = (0..5).map(|_| pool.apply(work::fill, (1,)).unwrap()).collect();
    assert_eq!(small.len(), 1, "it stays: {small:?}");
    let grown = pool.apply(work::fill, (3 << 27,)).unwrap();
    assert!(small.contains(&grown));
    assert_ne!(pool.apply(work::fill, (1,)).unwrap(), grown);
    assert_eq!(pool.stats().unwrap()[0].started, 2);
}

fn idle_workers_end_and_come_back() {
    let limit = Duration::from_millis(30);
    let pool = Pool::builder().workers(3).context(Context::Fork).idle_timeout(limit).build().unwrap();
    pool.chunksize(1).unwrap().map(work::rest, [5; 12]).unwrap();
    for _ in 0..3 {
        work::soon(|| pool.stats().unwrap().iter().all(|worker| worker.pid.is_none()));
        let pids: BTreeSet<_> =
            pool.chunksize(1).unwrap().map(work::pid_slowly, [100; 3]).unwrap().into_iter().collect();
        assert_eq!(pids.len(), 3, "as many as there are calls");
    }
    work::soon(|| pool.stats().unwrap().iter().all(|worker| worker.pid.is_none()));
    let started = |pool: &Pool| pool.stats().unwrap().iter().map(|worker| worker.started).sum::<u32>();
    let before = started(&pool);
    assert_eq!(pool.apply(work::square, (3,)).unwrap(), 9);
    assert_eq!(started(&pool), before + 1, "one call brings one worker");
    work::soon(|| pool.stats().unwrap().iter().all(|worker| worker.pid.is_none()));
    let last = pool.map_async(work::square, 0..10).unwrap();
    pool.close().unwrap();
    assert!(pool.join_timeout(Duration::from_secs(30)).unwrap());
    assert_eq!(last.get().unwrap().len(), 10);
}

/// A worker may end at the moment when a chunk arrives for it.
fn chunks_and_ends_for_want_of_work_may_meet() {
    let limit = Duration::from_micros(300);
    let pool = Pool::builder().workers(1).context(Context::Fork).idle_timeout(limit).build().unwrap();
    for number in 0..400_u64 {
        std::thread::sleep(Duration::from_micros(number % 100 * 10));
        let mut square = pool.apply_async(work::square, (number,)).unwrap();
        assert_eq!(square.get_timeout(Duration::from_secs(20)).unwrap(), Some(number * number), "call {number}");
    }
}

fn each_worker_is_told_of() {
    let pool = Pool::builder().workers(2).context(Context::Fork).build().unwrap();
    assert_eq!(pool.stats().unwrap().len(), 2);
    let pids: BTreeSet<_> = pool.chunksize(1).unwrap().map(work::pid_slowly, [20; 6]).unwrap().into_iter().collect();
    let stats = pool.stats().unwrap();
    let told: BTreeSet<_> =
        stats.iter().filter_map(|worker| worker.pid).map(|pid| pid.as_raw_nonzero().get() as u32).collect();
    assert_eq!(told, pids);
    assert_eq!(stats.iter().map(|worker| worker.tasks).sum::<u64>(), 6);
    let busy = stats.iter().map(|worker| worker.busy).sum::<Duration>();
    assert!((Duration::from_millis(120)..Duration::from_secs(20)).contains(&busy), "{busy:?}");
    let resting = pool.apply_async(work::rest, (300,)).unwrap();
    work::soon(|| {
        pool.stats().unwrap().iter().map(|worker| worker.busy).sum::<Duration>() > busy + Duration::from_millis(50)
    });
    resting.get().unwrap();
    let victim = stats[0].pid.unwrap();
    ossature::sys::process::pidfd_send_signal(pidfd_open(victim).unwrap(), ossature::sys::process::Signal::KILL)
        .unwrap();
    work::soon(|| pool.stats().unwrap()[0].pid.is_some_and(|pid| pid != victim));
    assert_eq!(pool.stats().unwrap()[0].started, 2);
    let child = Process::fork(|| u8::from(pool.stats().unwrap_err().kind() != ErrorKind::NotAllowed));
    assert_eq!(child.unwrap().join().unwrap().code(), Some(0));
}

fn progress_is_told_once_for_each_change() {
    let pool = Pool::builder().workers(2).context(Context::Fork).build().unwrap();
    let mut seen = Vec::new();
    let rests = pool.chunksize(1).unwrap().map_async(work::rest, [2; 50]).unwrap();
    let progress = |ended| {
        assert_eq!(pool.stats().unwrap().len(), 2, "it may call the pool");
        seen.push(ended);
    };
    assert_eq!(rests.get_with_progress(progress).unwrap().len(), 50);
    assert!(seen.windows(2).all(|two| two[0] < two[1]), "{seen:?}");
    assert!(seen.first() == Some(&0) && seen.last() == Some(&50) && seen.len() > 5, "{seen:?}");
    let failing = pool.map_async(work::kill_self_at, [0, 1]).unwrap();
    let mut last = 0;
    assert_eq!(failing.get_with_progress(|ended| last = ended).unwrap_err().kind(), ErrorKind::WorkerDied);
    assert_eq!(last, 2);
    assert!(
        pool.map_async(work::square, []).unwrap().get_with_progress(|ended| assert_eq!(ended, 0)).unwrap().is_empty()
    );
}

/// A logger that keeps its messages, with the number of the process.
struct Keeps(Mutex<Vec<String>>);

static KEEPS: Keeps = Keeps(Mutex::new(Vec::new()));

impl log::Log for Keeps {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let place = record.file().map(|file| file.rsplit('/').next().unwrap_or(file).to_owned());
        let line = format!("{} {} {} {place:?} {}", std::process::id(), record.level(), record.target(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

fn log_records_of_workers_come_to_the_parent() {
    let apart = Process::fork(|| {
        log::set_logger(&KEEPS).expect("the first one");
        log::set_max_level(log::LevelFilter::Info);
        let pool = Pool::builder().workers(2).context(Context::Spawn).forward_logs().build().unwrap();
        let take = || {
            let mut lines = std::mem::take(&mut *KEEPS.0.lock().unwrap());
            lines.retain(|line| line.contains(" here") || line.contains("elsewhere"));
            lines
        };
        let me = std::process::id();
        for dies in [false, true] {
            let called = pool.apply(work::say_in_the_log, ("here".to_owned(), dies));
            assert_eq!(called.is_err(), dies);
            let expected = [
                format!("{me} WARN pool::work Some(\"work.rs\") here"),
                format!("{me} INFO elsewhere Some(\"work.rs\") here!"),
            ];
            assert_eq!(take(), expected);
        }
        // More than a pipe holds.
        let long = "here".repeat(500);
        let texts = (0..200).map(|_| (long.clone(), false));
        assert_eq!(pool.starmap(work::say_in_the_log, texts).unwrap().len(), 200);
        assert_eq!(take().len(), 400);
    });
    assert_eq!(apart.unwrap().join().unwrap().code(), Some(0));
}
