//! Pools in ordinary tests, beside libtest's threads. The first line of each test registers the table of tasks.

use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::{Pool, Tasks, freeze_support, tasks};

static TASKS: Tasks = tasks![double, end, pipes];

fn double(number: u32) -> u32 {
    2 * number
}

fn end() {
    std::process::abort();
}

/// The pipes of this process beside its standard streams.
fn pipes() -> Vec<String> {
    let open = std::fs::read_dir("/proc/self/fd").map_or(Vec::new(), |list| list.flatten().collect());
    let open =
        open.iter().filter(|entry| entry.file_name().to_string_lossy().parse().is_ok_and(|number: i32| number > 2));
    let links = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.map(|link| link.to_string_lossy().into_owned()).filter(|link| link.starts_with("pipe:")).collect()
}

/// After a supervisor was killed, the parent sees by that pipe that the last of its workers has ended.
#[test]
fn a_spawned_worker_holds_the_pipe_of_its_pool() {
    freeze_support(TASKS);
    let pool = Pool::new(1).unwrap();
    let (theirs, ours) = (pool.apply(pipes, ()).unwrap(), pipes());
    assert!(theirs.iter().any(|pipe| ours.contains(pipe)), "{theirs:?} {ours:?}");
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
