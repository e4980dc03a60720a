//! Pools in ordinary tests, beside libtest's threads: the table is given in the first line of the test.

use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::{Pool, Tasks, freeze_support, tasks};

static TASKS: Tasks = tasks![double, end];

fn double(number: u32) -> u32 {
    2 * number
}

fn end() {
    std::process::abort();
}

/// The supervisor is beside libtest's threads too, so it starts its workers by spawn.
#[test]
fn a_pool_of_a_test_works_and_replaces_its_workers() {
    freeze_support(TASKS);
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(double, 0..10).unwrap(), (0..20).step_by(2).collect::<Vec<_>>());
    let error = pool.apply(end, ()).unwrap_err();
    assert_eq!((error.kind(), error.exit_status().and_then(|exit| exit.signal())), (ErrorKind::WorkerDied, Some(6)));
    assert_eq!(pool.apply(double, (4,)).unwrap(), 8);
    pool.close().unwrap();
    assert!(pool.join_timeout(Duration::from_secs(30)).unwrap());
}
