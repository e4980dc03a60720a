//! Workers and supervisors that die: each call ends once, with its value or its error, and the pool continues.

use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::{Context, Pool, active_children};
use ossature::sys::process::{Pid, Signal, pidfd_open, pidfd_send_signal};

use crate::harness::Test;
use crate::work::{self, Place, forked, in_all};

pub const TESTS: &[Test] = &[
    ("deaths::a_killed_workers_call_ends_as_that", a_killed_workers_call_ends_as_that),
    ("deaths::an_exit_in_a_task_is_a_death", an_exit_in_a_task_is_a_death),
    ("deaths::only_the_running_call_of_a_chunk_is_charged", only_the_running_call_of_a_chunk_is_charged),
    ("deaths::only_the_running_call_of_a_map_is_charged", only_the_running_call_of_a_map_is_charged),
    ("deaths::a_call_is_tried_again_as_often_as_was_said", a_call_is_tried_again_as_often_as_was_said),
    ("deaths::a_long_value_of_the_next_worker_is_whole", a_long_value_of_the_next_worker_is_whole),
    ("deaths::a_worker_is_replaced_while_the_parent_computes", a_worker_is_replaced_while_the_parent_computes),
    ("deaths::a_killed_supervisor_is_restarted", a_killed_supervisor_is_restarted),
    (
        "deaths::a_supervisor_that_somebody_else_closed_is_restarted",
        a_supervisor_that_somebody_else_closed_is_restarted,
    ),
    ("deaths::a_closed_pool_replaces_a_worker_at_once", a_closed_pool_replaces_a_worker_at_once),
    ("deaths::a_call_that_takes_too_long_is_killed", a_call_that_takes_too_long_is_killed),
    ("deaths::a_running_call_can_be_cancelled", a_running_call_can_be_cancelled),
    ("deaths::stopped_workers_keep_no_call_from_the_others", stopped_workers_keep_no_call_from_the_others),
    ("deaths::a_worker_out_of_memory_fails_alone", a_worker_out_of_memory_fails_alone),
    ("deaths::a_panic_that_aborts_comes_with_the_death", a_panic_that_aborts_comes_with_the_death),
    ("deaths::random_kills_lose_no_call_and_repeat_none", random_kills_lose_no_call_and_repeat_none),
];

fn kill(pid: u32) {
    send(Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
}

fn send(pid: Pid, signal: Signal) {
    if let Ok(pidfd) = pidfd_open(pid) {
        let _ = pidfd_send_signal(&pidfd, signal); // it has ended
    }
}

/// Whether the process is in this state, as /proc names it.
fn is_in(pid: Pid, state: char) -> bool {
    let line = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    line.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state))
}

/// All workers but the last are stopped in their sleep. The kernel does not count them as sleepers then, so a wake
/// skips them.
fn stopped_workers_keep_no_call_from_the_others() {
    let pool = forked(4);
    let pids = || -> Vec<Pid> { pool.stats().unwrap().iter().filter_map(|worker| worker.pid).collect() };
    work::soon(|| pids().len() == 4 && pids().iter().all(|pid| is_in(*pid, 'S')));
    let stopped = &pids()[..3];
    stopped.iter().for_each(|pid| send(*pid, Signal::STOP));
    work::soon(|| stopped.iter().all(|pid| is_in(*pid, 'T')));
    for number in 2..5 {
        let mut square = pool.apply_async(work::square, (number,)).unwrap();
        assert_eq!(square.get_timeout(Duration::from_secs(30)).unwrap(), Some(number * number));
        assert_eq!(pool.apply(work::square, (number,)).unwrap(), number * number);
    }
    stopped.iter().for_each(|pid| send(*pid, Signal::CONT));
    assert_eq!(pool.map(work::square, 0..100).unwrap().len(), 100);
}

fn a_killed_workers_call_ends_as_that() {
    in_all(2, |pool| {
        let error = pool.apply(work::kill_self, ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WorkerDied);
        assert_eq!(error.exit_status().and_then(|exit| exit.signal()), Some(9));
        assert!(error.pid().is_some());
        assert!(error.to_string().contains("kill_self") && error.to_string().contains("SIGKILL"), "{error}");
        assert_eq!(pool.map(work::square, 0..20).unwrap().len(), 20, "the pool goes on");
    });
}

fn an_exit_in_a_task_is_a_death() {
    let pool = forked(1);
    let error = pool.apply(work::exit_with, (3,)).unwrap_err();
    assert_eq!((error.kind(), error.exit_status().and_then(|exit| exit.code())), (ErrorKind::WorkerDied, Some(3)));
    let error = pool.apply(work::exit_with, (0,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied, "a good exit is none in a task");
    assert_eq!(pool.apply(work::square, (2,)).unwrap(), 4);
}

fn only_the_running_call_of_a_chunk_is_charged() {
    let pool = forked(1);
    let place = Place::new("charged");
    // In one chunk: 0 to 4 end, 5 waits and is killed, 6 to 9 were taken by the same worker and have not begun.
    let worker = pool.apply(work::pid, ()).unwrap();
    let mut results = pool
        .chunksize(10)
        .unwrap()
        .lookahead(10)
        .imap(work::step, (0..10).map(|number| (place.path(), number)))
        .unwrap();
    place.wait("5");
    kill(worker);
    for number in 0..5 {
        assert_eq!(results.next().unwrap().unwrap(), number);
    }
    let error = results.next().unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.pid().map(|pid| pid.as_raw_nonzero().get() as u32)),
        (ErrorKind::WorkerDied, Some(worker))
    );
    for number in 6..10 {
        assert_eq!(results.next().unwrap().unwrap(), number);
    }
    assert!(results.next().is_none());
    assert!((0..10).all(|number| place.begun(number) == 1), "each call began once");
}

/// The chunks of a map are cut from one list. Call 5 is alone in its chunk, or between two others.
fn only_the_running_call_of_a_map_is_charged() {
    for (chunksize, first, retries) in [(1, 0, 0), (3, 1, 0), (1, 0, 1), (3, 1, 1)] {
        let place = Place::new("map");
        let pool = Pool::builder().workers(1).context(Context::Fork).retries(retries).build().unwrap();
        let worker = pool.apply(work::pid, ()).unwrap();
        // Every seventh call has a longer path than a slot takes.
        let path = |number| place.path().join("./".repeat(if number % 7 == 0 { 150 } else { 0 }));
        let items = (first..40).map(|number| (path(number), number));
        let results = pool.chunksize(chunksize).unwrap().map_async(work::step, items).unwrap();
        place.wait("5");
        kill(worker);
        if retries == 0 {
            let error = results.get().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WorkerDied);
            assert_eq!(error.pid().map(|pid| pid.as_raw_nonzero().get() as u32), Some(worker));
        } else {
            // A look at the result publishes the call again.
            work::soon(|| !results.ready().unwrap() && place.begun(5) == 2);
            place.put("never"); // so that the second try ends
            assert_eq!(results.get().unwrap(), (first..40).collect::<Vec<_>>());
        }
        let times = |number| 1 + if number == 5 { retries as usize } else { 0 };
        assert!((first..40).all(|number| place.begun(number) == times(number)), "chunks of {chunksize}");
    }
}

fn a_call_is_tried_again_as_often_as_was_said() {
    let place = Place::new("again");
    let builder = || Pool::builder().workers(1).context(Context::Fork);
    let pool = builder().retries(1).build().unwrap();
    assert_eq!(pool.apply(work::kill_self_once, (place.0.join("once"),)).unwrap(), 7);
    assert_eq!(pool.apply(work::kill_self, ()).unwrap_err().kind(), ErrorKind::WorkerDied);
    drop(pool);
    let pool = builder().build().unwrap();
    let error = pool.apply(work::kill_self_once, (place.0.join("never"),)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied, "by default it runs once at most");
}

/// The next worker has published the first pieces of its value before the parent handles the dead worker.
fn a_long_value_of_the_next_worker_is_whole() {
    let pool = forked(1);
    let place = Place::new("pieces");
    for number in 0..3 {
        let dies = pool.apply_async(work::kill_self, ()).unwrap();
        let long = pool.apply_async(work::note_long, (place.path(), number, 1 << 20)).unwrap();
        place.wait(number.to_string());
        std::thread::sleep(Duration::from_millis(50)); // until its stream is full
        assert!(long.get().unwrap() == work::long(1 << 20));
        assert_eq!(dies.get().unwrap_err().kind(), ErrorKind::WorkerDied);
    }
}

fn a_worker_is_replaced_while_the_parent_computes() {
    let pool = forked(1);
    let place = Place::new("replaced");
    let worker = pool.apply(work::pid, ()).unwrap();
    let first = pool.apply_async(work::note_and_wait, (place.path(), 0)).unwrap();
    let second = pool.apply_async(work::note, (place.path(), 1)).unwrap();
    place.wait("0");
    kill(worker);
    place.wait("1"); // this process calls nothing of the pool meanwhile
    assert_eq!(first.get().unwrap_err().kind(), ErrorKind::WorkerDied);
    assert_eq!(second.get().unwrap(), 1);
}

fn a_killed_supervisor_is_restarted() {
    for context in [Context::Fork, Context::Spawn] {
        let pool = Pool::builder().workers(2).context(context).build().unwrap();
        let place = Place::new("supervisor");
        let ended = pool.apply_async(work::note, (place.path(), 9)).unwrap();
        place.wait("9");
        assert!(ended.wait(Duration::from_secs(30)).unwrap());
        let results = pool.starmap_async(work::note_and_wait, (0..2).map(|number| (place.path(), number))).unwrap();
        let later = pool.starmap_async(work::note, (2..20).map(|number| (place.path(), number))).unwrap();
        place.wait("0");
        place.wait("1");
        let supervisor = active_children().into_iter().find(|child| child.name() == "PoolSupervisor").unwrap();
        supervisor.kill().unwrap();
        let begun = Instant::now();
        assert_eq!(results.get().unwrap_err().kind(), ErrorKind::WorkerDied, "in the middle of a wait, too");
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(later.get().unwrap(), (2..20).collect::<Vec<_>>(), "what had not begun is not charged");
        assert!((0..20).filter(|n| *n != 9).all(|number| place.begun(number) == 1));
        assert_eq!(ended.get().unwrap(), 9);
        assert_eq!(pool.map(work::square, 0..9).unwrap().len(), 9);
    }
}

fn a_supervisor_that_somebody_else_closed_is_restarted() {
    let pool = forked(1);
    assert_eq!(pool.apply(work::square, (2,)).unwrap(), 4);
    let supervisor = active_children().into_iter().find(|child| child.name() == "PoolSupervisor").unwrap();
    supervisor.kill().unwrap();
    supervisor.join().unwrap();
    supervisor.close().unwrap();
    let mut result = pool.apply_async(work::square, (3,)).unwrap();
    assert_eq!(result.get_timeout(Duration::from_secs(30)).unwrap(), Some(9));
}

fn a_closed_pool_replaces_a_worker_at_once() {
    let place = Place::new("closed-death");
    let pool = Pool::builder().workers(2).context(Context::Fork).retries(1).build().unwrap();
    let supervisor = active_children().into_iter().find(|child| child.name() == "PoolSupervisor").unwrap().pid();
    let mut long = pool.apply_async(work::note_and_wait, (place.path(), 0)).unwrap();
    place.wait("0");
    let mut again = pool.apply_async(work::kill_self_later_once, (place.path(),)).unwrap();
    place.wait("begun");
    pool.close().unwrap(); // the other worker goes on, and nothing is left to claim
    place.put("die");
    assert_eq!(again.get_timeout(Duration::from_secs(20)).unwrap(), Some(7), "while the other worker goes on");
    place.put("go");
    assert_eq!(long.get_timeout(Duration::from_secs(30)).unwrap(), Some(0));
    assert!(pool.join_timeout(Duration::from_secs(30)).unwrap());
    // A pool of one worker, whose supervisor has no other worker to wait for.
    let place = Place::new("closed-death-of-one");
    let pool = Pool::builder().workers(1).context(Context::Fork).retries(1).build().unwrap();
    let before = active_children().into_iter().find(|child| child.name() == "PoolSupervisor").unwrap().pid();
    assert_ne!(before, supervisor);
    let mut again = pool.apply_async(work::kill_self_later_once, (place.path(),)).unwrap();
    place.wait("begun");
    pool.close().unwrap();
    place.put("die");
    std::thread::sleep(Duration::from_millis(100)); // nobody collects meanwhile
    let after =
        active_children().into_iter().find(|child| child.name() == "PoolSupervisor").and_then(|child| child.pid());
    assert_eq!(after, before, "its supervisor waits until the pool has finished");
    assert_eq!(again.get_timeout(Duration::from_secs(20)).unwrap(), Some(7));
    assert!(pool.join_timeout(Duration::from_secs(30)).unwrap());
}

fn a_call_that_takes_too_long_is_killed() {
    let pool =
        Pool::builder().workers(2).context(Context::Fork).task_timeout(Duration::from_millis(100)).build().unwrap();
    let begun = Instant::now();
    let error = pool.apply(work::rest, (30_000,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied);
    assert!(error.to_string().contains("task_timeout"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    let times: Vec<_> = pool.chunksize(3).unwrap().imap(work::rest, [0, 30_000, 1]).unwrap().collect();
    assert!(matches!(times[..], [Ok(0), Err(_), Ok(1)]), "{times:?}");
}

fn a_running_call_can_be_cancelled() {
    let pool = forked(1);
    let place = Place::new("cancelled");
    let running = pool.apply_async(work::note_and_wait, (place.path(), 0)).unwrap();
    let waiting = pool.apply_async(work::note, (place.path(), 1)).unwrap();
    let other = pool.apply_async(work::note, (place.path(), 2)).unwrap();
    place.wait("0");
    waiting.cancel().unwrap();
    running.cancel().unwrap();
    assert_eq!(running.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(waiting.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(other.get().unwrap(), 2);
    assert_eq!((place.begun(0), place.begun(1), place.begun(2)), (1, 0, 1));
    let ended = pool.apply_async(work::square, (3,)).unwrap();
    assert!(ended.wait(Duration::from_secs(30)).unwrap());
    ended.cancel().unwrap();
    assert_eq!(ended.get().unwrap(), 9, "it had ended before");
}

fn a_worker_out_of_memory_fails_alone() {
    let pool = forked(2);
    let error = pool.apply(work::allocate, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
    assert_eq!(pool.map(work::square, 0..20).unwrap().len(), 20);
}

fn a_panic_that_aborts_comes_with_the_death() {
    in_all(1, |pool| {
        let error = pool.apply(work::panic_for_good, ("no more paper".to_owned(),)).unwrap_err();
        assert_eq!(
            (error.kind(), error.exit_status().and_then(|exit| exit.signal())),
            (ErrorKind::WorkerDied, Some(6))
        );
        let text = error.to_string();
        assert!(text.contains("no more paper") && text.contains("work.rs:"), "{text}");
        let error = pool.apply(work::kill_self, ()).unwrap_err();
        assert!(!error.to_string().contains("panicked"), "{error}");
    });
}

fn random_kills_lose_no_call_and_repeat_none() {
    let pool = forked(3);
    let place = Place::new("storm");
    let count = 600_u64;
    let mut died = 0;
    let view = pool.chunksize(5).unwrap().lookahead(100);
    let mut results = view.imap(work::step_softly, (0..count).map(|number| (place.path(), number))).unwrap();
    let mut random = 12_345_u32;
    for number in 0..count {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if random >> 28 == 0 {
            // One of those that have noted their number.
            let all: Vec<_> =
                std::fs::read_dir(place.path().join("workers")).map_or(Vec::new(), |list| list.flatten().collect());
            if let Some(one) = all.get((random >> 8) as usize % all.len().max(1)) {
                kill(one.file_name().to_string_lossy().parse().unwrap());
            }
        }
        match results.next().unwrap() {
            Ok(value) => assert_eq!(value, number),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WorkerDied, "{error}");
                died += 1;
            }
        }
        assert!(place.begun(number) <= 1, "{number} began twice");
    }
    assert!(results.next().is_none());
    assert!((1..count).contains(&died), "{died} calls died");
}
