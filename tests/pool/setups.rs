//! How a pool is built, and how its workers begin and end.

use std::collections::BTreeSet;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::{Context, Pool, Value, stop_forkserver, usable_cpus};

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
];

fn what_no_pool_can_be_is_refused() {
    let kind = |builder: ossature::multiprocessing::pool::PoolBuilder| builder.build().unwrap_err().kind();
    assert_eq!(kind(Pool::builder().workers(0)), ErrorKind::InvalidInput);
    assert_eq!(kind(Pool::builder().workers(1025)), ErrorKind::InvalidInput);
    assert_eq!(kind(Pool::builder().workers(1).max_tasks_per_child(0)), ErrorKind::InvalidInput);
    assert_eq!(kind(Pool::builder().workers(1).task_timeout(Duration::ZERO)), ErrorKind::InvalidInput);
    assert_eq!(kind(Pool::builder().workers(1).context(Context::Thread)), ErrorKind::Unsupported);
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
