//! The ends of pools: closed, terminated, dropped, forgotten, inherited.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::pool::futures::Executor;
use ossature::multiprocessing::{Context, Pool, Process, active_children, pipe};
use ossature::sys::process::{Signal, pidfd_open};

use crate::harness::Test;
use crate::work::{self, Place, forked, soon};

pub const TESTS: &[Test] = &[
    ("ends::a_closed_pool_makes_its_calls", a_closed_pool_makes_its_calls),
    ("ends::a_terminated_pool_cancels_at_once", a_terminated_pool_cancels_at_once),
    ("ends::a_deaf_task_is_killed_at_the_end", a_deaf_task_is_killed_at_the_end),
    ("ends::a_kill_overtakes_a_terminate", a_kill_overtakes_a_terminate),
    ("ends::join_is_for_pools_that_have_ended", join_is_for_pools_that_have_ended),
    ("ends::a_closed_pool_goes_on_with_what_has_begun", a_closed_pool_goes_on_with_what_has_begun),
    ("ends::a_join_waits_for_results_that_another_thread_takes", a_join_waits_for_results_that_another_thread_takes),
    ("ends::a_join_leaves_out_what_its_own_thread_would_draw", a_join_leaves_out_what_its_own_thread_would_draw),
    ("ends::a_join_leaves_out_what_an_ended_thread_would_draw", a_join_leaves_out_what_an_ended_thread_would_draw),
    ("ends::an_executor_ends_though_another_thread_holds_items", an_executor_ends_though_another_thread_holds_items),
    ("ends::a_join_inside_a_callback_leaves_out_all_items", a_join_inside_a_callback_leaves_out_all_items),
    ("ends::a_dropped_pool_ends_its_results", a_dropped_pool_ends_its_results),
    ("ends::the_thread_of_the_callbacks_ends_with_its_pool", the_thread_of_the_callbacks_ends_with_its_pool),
    ("ends::a_forked_child_may_not_use_the_pool", a_forked_child_may_not_use_the_pool),
    ("ends::nothing_outlives_a_killed_parent", nothing_outlives_a_killed_parent),
    ("ends::a_forked_pool_holds_no_connection_of_its_parent", a_forked_pool_holds_no_connection_of_its_parent),
    ("ends::a_forgotten_pool_does_not_hold_up_the_end", a_forgotten_pool_does_not_hold_up_the_end),
];

fn a_closed_pool_makes_its_calls() {
    let pool = forked(2);
    let place = Place::new("closed");
    // More than there are slots.
    let many = pool.chunksize(1).unwrap().map_async(work::square, 0..2000).unwrap();
    let noted = pool.starmap_async(work::note, (0..10).map(|number| (place.path(), number))).unwrap();
    pool.close().unwrap();
    pool.close().unwrap();
    assert_eq!(pool.apply(work::square, (1,)).unwrap_err().kind(), ErrorKind::ShutDown);
    assert_eq!(pool.map(work::square, [1]).unwrap_err().kind(), ErrorKind::ShutDown);
    pool.join().unwrap();
    assert!((0..10).all(|number| place.begun(number) == 1));
    assert_eq!(noted.get().unwrap().len(), 10);
    assert_eq!(many.get().unwrap().len(), 2000);
}

fn a_terminated_pool_cancels_at_once() {
    let pool = forked(2);
    let place = Place::new("terminated");
    let ended = pool.apply_async(work::square, (3,)).unwrap();
    assert!(ended.wait(Duration::from_secs(30)).unwrap());
    let running = pool.apply_async(work::note_and_wait, (place.path(), 0)).unwrap();
    let waiting = pool.map_async(work::rest, [30_000; 5]).unwrap();
    place.wait("0");
    let begun = Instant::now();
    pool.terminate().unwrap();
    assert_eq!(running.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(waiting.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(ended.get().unwrap(), 9);
    pool.join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4));
    pool.terminate().unwrap();
    assert_eq!(pool.apply(work::square, (1,)).unwrap_err().kind(), ErrorKind::ShutDown);
}

fn a_deaf_task_is_killed_at_the_end() {
    let pool = forked(1);
    let place = Place::new("deaf");
    let noted = pool.apply(work::note, (place.path(), 1)).unwrap();
    let deaf = pool.apply_async(work::rest_deaf, ()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let begun = Instant::now();
    pool.terminate().unwrap();
    assert!(pool.join_timeout(Duration::from_secs(30)).unwrap());
    assert!(begun.elapsed() < Duration::from_secs(20) && noted == 1);
    assert_eq!(deaf.get().unwrap_err().kind(), ErrorKind::Cancelled);
}

fn a_kill_overtakes_a_terminate() {
    let executor = Executor::from(forked(1));
    let place = Place::new("overtaken");
    let deaf = executor.submit(work::note_deaf, (place.path(),)).unwrap();
    place.wait("deaf");
    let begun = Instant::now();
    executor.terminate_workers().unwrap();
    std::thread::sleep(Duration::from_millis(50)); // the supervisor gives the worker five seconds
    executor.kill_workers().unwrap();
    assert!(executor.pool().join_timeout(Duration::from_secs(30)).unwrap());
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(deaf.result().unwrap_err().kind(), ErrorKind::Cancelled);
}

fn join_is_for_pools_that_have_ended() {
    let pool = forked(1);
    assert_eq!(pool.join().unwrap_err().kind(), ErrorKind::InvalidInput);
    let resting = pool.apply_async(work::rest, (200,)).unwrap();
    pool.close().unwrap();
    assert!(!pool.join_timeout(Duration::from_millis(1)).unwrap());
    assert!(pool.join_timeout(Duration::from_secs(30)).unwrap());
    pool.join().unwrap();
    assert_eq!(resting.get().unwrap(), 200);
}

fn results(taken: impl Iterator<Item = ossature::Result<u64>>) -> Vec<u64> {
    taken.map(Result::unwrap).collect()
}

/// As in Python: the whole of a map or an imap is given when it begins.
fn a_closed_pool_goes_on_with_what_has_begun() {
    let squares: Vec<u64> = (0..1000).map(|number| number * number).collect();
    for unordered in [false, true] {
        let pool = forked(2);
        let mut taken = match unordered {
            false => pool.imap(work::square, 0..1000).unwrap(),
            true => pool.imap_unordered(work::square, 0..1000).unwrap(),
        };
        let mut all = vec![taken.next().unwrap().unwrap()];
        pool.close().unwrap();
        assert_eq!(pool.apply(work::square, (1,)).unwrap_err().kind(), ErrorKind::ShutDown);
        assert_eq!(pool.imap(work::square, 0..1).map(drop).unwrap_err().kind(), ErrorKind::ShutDown);
        all.extend(results(taken));
        all.sort();
        assert_eq!(all, squares);
        pool.join().unwrap();
    }
    let pool = forked(2);
    let items = (0..1000).inspect(|number| {
        if *number == 10 {
            pool.close().unwrap()
        }
    });
    assert_eq!(pool.chunksize(1).unwrap().map(work::square, items).unwrap(), squares);
    pool.join().unwrap();
    work::alone();
}

fn a_join_waits_for_results_that_another_thread_takes() {
    let pool = forked(1);
    let (go, went) = mpsc::channel();
    let mut taken = pool.imap(work::square, 0..1000).unwrap();
    let first = taken.next().unwrap().unwrap();
    std::thread::scope(|scope| {
        let (tell, hear) = mpsc::channel();
        let taker = scope.spawn(move || {
            let second = taken.next().unwrap().unwrap();
            tell.send(()).unwrap();
            went.recv().unwrap();
            2 + results(taken).len() as u64 - u64::from((first, second) != (0, 1))
        });
        hear.recv().unwrap();
        pool.close().unwrap();
        assert!(!pool.join_timeout(Duration::from_millis(20)).unwrap(), "items are left");
        go.send(()).unwrap();
        pool.join().unwrap();
        assert_eq!(taker.join().unwrap(), 1000);
    });
    drop(pool);
    work::alone();
}

/// Takes the other results in another thread once the pool has ended.
fn left_out(go: impl FnOnce(), mut endless: impl Iterator<Item = ossature::Result<u64>> + Send) {
    std::thread::scope(|scope| {
        let ((tell, hear), (goes_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
        let taker = scope.spawn(move || {
            assert_eq!(endless.next().transpose().unwrap(), Some(0));
            tell.send(()).unwrap();
            may_go_on.recv().unwrap();
            endless.last().map(|value| value.map_err(|error| error.kind()))
        });
        hear.recv().unwrap();
        go();
        goes_on.send(()).unwrap();
        assert_eq!(taker.join().unwrap(), Some(Err(ErrorKind::ShutDown)));
    });
}

fn an_executor_ends_though_another_thread_holds_items() {
    let executor = Executor::from(forked(1));
    let endless = executor.map(work::square, 0..).unwrap();
    left_out(move || drop(executor), endless);
    work::alone();
}

/// The thread that would draw may wait for the callback.
fn a_join_inside_a_callback_leaves_out_all_items() {
    let pool = Arc::new(forked(1));
    let endless = pool.imap(work::square, 0..).unwrap();
    let inside = pool.clone();
    let call = move || {
        let ends = move |_| {
            inside.close().unwrap();
            inside.join().unwrap();
        };
        assert_eq!(pool.apply_async_with(work::square, (3,), ends).unwrap().get().unwrap(), 9);
    };
    left_out(call, endless);
    work::alone();
}

fn a_join_leaves_out_what_its_own_thread_would_draw() {
    let pool = forked(2);
    let (mut endless, dropped) = (pool.imap(work::square, 0..).unwrap(), pool.imap(work::square, 0..).unwrap());
    assert_eq!(endless.next().transpose().unwrap(), Some(0));
    pool.close().unwrap();
    drop(dropped);
    pool.join().unwrap();
    let kinds: Vec<_> = endless.by_ref().map(|value| value.map_err(|error| error.kind())).collect();
    let [values @ .., last] = &kinds[..] else { panic!("no error tells of the end") };
    assert_eq!(*last, Err(ErrorKind::ShutDown));
    assert!(!values.is_empty() && values.iter().zip(1..).all(|(value, n)| *value == Ok(n * n)), "{kinds:?}");
    assert!(endless.next().is_none());
    drop((endless, pool));
    work::alone();
}

fn a_join_leaves_out_what_an_ended_thread_would_draw() {
    let pool = forked(1);
    let mut taken = pool.imap(work::square, 0..).unwrap();
    let (tell, hear) = mpsc::channel();
    // It may still be about to end when the join begins.
    std::thread::spawn(move || {
        assert_eq!(taken.next().transpose().unwrap(), Some(0));
        tell.send(taken).unwrap();
    });
    let mut taken = hear.recv().unwrap();
    pool.close().unwrap();
    pool.join().unwrap();
    assert_eq!(taken.by_ref().last().unwrap().unwrap_err().kind(), ErrorKind::ShutDown);
    drop((taken, pool));
    work::alone();
}

fn a_dropped_pool_ends_its_results() {
    let pool = forked(1);
    let place = Place::new("dropped");
    let running = pool.apply_async(work::note_and_wait, (place.path(), 0)).unwrap();
    let mut results = pool.imap(work::rest, std::iter::repeat(30_000)).unwrap();
    place.wait("0");
    drop(pool);
    assert_eq!(running.get().unwrap_err().kind(), ErrorKind::Cancelled);
    // Those that were under way, then the refusal to give out more, then the end.
    let kinds: Vec<_> = results.by_ref().map(|result| result.unwrap_err().kind()).collect();
    let [under_way @ .., last] = &kinds[..] else { panic!("no error tells of the end") };
    assert!(under_way.iter().all(|kind| *kind == ErrorKind::Cancelled) && under_way.len() == 4, "{kinds:?}");
    assert_eq!(*last, ErrorKind::ShutDown);
    assert!(results.next().is_none());
}

/// After each pool this process has one thread, and can fork again.
fn the_thread_of_the_callbacks_ends_with_its_pool() {
    let (tell, hear) = mpsc::channel();
    let called = move || {
        let tell = tell.clone();
        move |done: ossature::Result<u64>| tell.send(done.map_err(|error| error.kind())).unwrap()
    };
    let next = || hear.recv_timeout(Duration::from_secs(30)).unwrap();
    let fork = || assert!(Process::fork(|| 0_u8).unwrap().join().unwrap().success());

    // Idle, and with a result that outlives the pool.
    let pool = forked(1);
    let kept = pool.apply_async_with(work::square, (3,), called()).unwrap();
    assert_eq!(next(), Ok(9));
    drop(pool);
    work::alone();
    fork();
    assert_eq!(kept.get().unwrap(), 9, "the callback had its own");

    // With calls that run and that wait.
    let pool = forked(1);
    let results = [0; 3].map(|_| pool.apply_async_with(work::rest, (30_000,), called()).unwrap());
    drop(pool);
    assert_eq!([next(), next(), next()], [Err(ErrorKind::Cancelled); 3]);
    work::alone();
    drop(results);

    // Ended before the drop, in each way.
    for end in [Pool::terminate, Pool::close] {
        let pool = forked(1);
        let result = pool.apply_async_with(work::square, (4,), called()).unwrap();
        assert_eq!(next(), Ok(16));
        end(&pool).unwrap();
        pool.join().unwrap();
        drop((pool, result));
        work::alone();
    }

    // By its own last callback, which has the last handle of the pool.
    let (place, pool) = (Place::new("callbacks"), Arc::new(forked(1)));
    let (own, done) = (pool.clone(), called());
    let last = pool.apply_async_with(work::note_and_wait, (place.path(), 0), move |noted| {
        drop(own);
        done(noted);
    });
    let last = last.unwrap();
    place.wait("0");
    drop(pool);
    place.put("go");
    assert_eq!(next(), Ok(0));
    work::alone();
    drop(last);

    // With a supervisor that was killed.
    let pool = forked(1);
    let result = pool.apply_async_with(work::rest, (30_000,), called()).unwrap();
    active_children().into_iter().find(|child| child.name() == "PoolSupervisor").unwrap().kill().unwrap();
    drop((pool, result));
    assert!(next().is_err(), "died or cancelled");
    work::alone();
}

fn a_forked_child_may_not_use_the_pool() {
    let pool = forked(1);
    let result = pool.apply_async(work::square, (3,)).unwrap();
    let child = Process::fork(|| {
        let kinds = [
            pool.apply(work::square, (1,)).unwrap_err().kind(),
            result.wait(Duration::ZERO).unwrap_err().kind(),
            pool.close().unwrap_err().kind(),
            pool.join().unwrap_err().kind(),
        ];
        u8::from(kinds != [ErrorKind::NotAllowed; 4])
    });
    assert_eq!(child.unwrap().join().unwrap().code(), Some(0));
    assert_eq!(result.get().unwrap(), 9);
    assert!(pool.apply(work::nest, ()).unwrap().contains("children: make the pool in the parent"));
}

fn nothing_outlives_a_killed_parent() {
    let (near, far) = pipe().unwrap();
    let parent = Process::fork_with(far, |far| {
        let pool = Pool::builder().workers(2).context(Context::Fork).build().unwrap();
        let workers = pool.chunksize(1).unwrap().map(work::pid_slowly, [20_u64; 4]).unwrap();
        let supervisor = active_children()[0].pid().unwrap().as_raw_nonzero().get() as u32;
        far.send(&(workers, supervisor)).unwrap();
        pool.apply(work::rest, (50_000,)).unwrap();
    })
    .unwrap();
    let (mut all, supervisor): (Vec<u32>, u32) = near.recv().unwrap();
    all.push(supervisor);
    parent.signal(Signal::KILL).unwrap();
    parent.join().unwrap();
    for pid in all {
        let pid = ossature::sys::process::Pid::from_raw(pid as i32).unwrap();
        soon(|| pidfd_open(pid).is_err());
    }
}

fn a_forked_pool_holds_no_connection_of_its_parent() {
    let (near, far) = pipe().unwrap();
    let pool = forked(1);
    assert_eq!(pool.apply(work::square, (2,)).unwrap(), 4);
    drop(near);
    let heard = far.recv_timeout::<u8>(Duration::from_secs(20));
    assert_eq!(heard.unwrap_err().kind(), ErrorKind::Closed, "neither supervisor nor worker holds the other end");
}

fn a_forgotten_pool_does_not_hold_up_the_end() {
    let begun = Instant::now();
    let parent = Process::fork(|| {
        let pool = Pool::builder().workers(2).context(Context::Fork).build().unwrap();
        pool.apply(work::square, (2,)).unwrap();
        std::mem::forget(pool);
    })
    .unwrap();
    assert_eq!(parent.join().unwrap().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
