//! Pools on a server.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::pickle::Value;
use ossature::multiprocessing::connection::{Connection, pipe};
use ossature::multiprocessing::managers::{Exception, IteratorProxy, Manager};
use ossature::multiprocessing::{Context, Pool};

use crate::LONG;
use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("served_pool_runs_tasks_in_processes_of_its_own", served_pool_runs_tasks_in_processes_of_its_own),
    ("served_pool_tells_how_calls_failed", served_pool_tells_how_calls_failed),
    ("iterator_that_panics_leaves_a_served_pool_whole", iterator_that_panics_leaves_a_served_pool_whole),
    ("waits_for_a_served_pool_end_with_their_time", waits_for_a_served_pool_end_with_their_time),
    ("served_pool_refuses_what_is_not_a_call", served_pool_refuses_what_is_not_a_call),
    ("arguments_from_clients_are_decoded_within_bounds", arguments_from_clients_are_decoded_within_bounds),
    ("workers_end_with_their_pool_and_with_the_server", workers_end_with_their_pool_and_with_the_server),
    ("iterator_gives_keys_until_the_dict_changes", iterator_gives_keys_until_the_dict_changes),
];

pub fn pid_after(millis: u64) -> u32 {
    thread::sleep(Duration::from_millis(millis));
    std::process::id()
}

pub fn power(base: u64, exponent: u32) -> u64 {
    base.pow(exponent)
}

pub fn fail(how: String) -> u8 {
    match how.as_str() {
        "panic" => panic!("no more paper"),
        "die" => std::process::abort(),
        _ => 7,
    }
}

pub fn an_end() -> Connection {
    pipe().unwrap().0
}

pub fn send_one(end: Connection) {
    let _ = end.send(&1_u8);
}

pub fn units(items: Vec<()>) -> usize {
    items.len()
}

pub fn wide(items: Vec<Option<[u64; 16]>>) -> usize {
    items.len()
}

fn manager() -> Manager {
    Manager::start(Context::Spawn).unwrap()
}

fn is_there(pid: u32) -> bool {
    std::path::Path::new("/proc").join(pid.to_string()).exists()
}

fn served_pool_runs_tasks_in_processes_of_its_own() {
    let manager = manager();
    let pool = manager.pool(2).unwrap();
    assert_eq!(pool.workers().unwrap(), 2);
    assert_eq!(pool.apply(power, (2, 10)).unwrap(), 1024);
    let pids = pool.map(pid_after, [20_u64; 8]).unwrap();
    let server = manager.process().unwrap().pid().unwrap().as_raw_nonzero().get() as u32;
    assert!(pids.iter().all(|pid| *pid != std::process::id() && *pid != server), "{pids:?}");
    assert_eq!(pool.starmap(power, [(2, 2), (3, 2), (4, 2)]).unwrap(), [4, 9, 16]);
    let in_order = pool.imap(pid_after, [60, 0]).unwrap();
    assert_eq!(in_order.collect::<ossature::Result<Vec<_>>>().unwrap().len(), 2);

    // Results are objects of the server: another thread, or another client, may ask for them, and again.
    let result = pool.apply_async(power, (5, 2)).unwrap();
    let other = thread::spawn({
        let result = result.clone();
        move || result.get().unwrap()
    });
    assert_eq!((other.join().unwrap(), result.get().unwrap(), result.get().unwrap()), (25, 25, 25));
    assert_eq!(pool.map(pid_after, []).unwrap(), [0; 0]);
    assert_eq!(manager.number_of_objects().unwrap(), 2, "the pool and the result");
}

fn served_pool_tells_how_calls_failed() {
    let manager = manager();
    let pool = manager.pool(1).unwrap();
    let result = pool.apply_async(fail, ("panic".to_owned(),)).unwrap();
    let error = result.get().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Remote);
    assert!(error.to_string().contains("no more paper"), "{error}");
    assert!(!result.successful().unwrap());
    assert_eq!(result.get().unwrap_err().to_string(), error.to_string(), "as often as it is asked for");
    let error = pool.apply(fail, ("die".to_owned(),)).unwrap_err();
    assert!(error.to_string().contains("died"), "{error}");
    assert_eq!(pool.apply(fail, (String::new(),)).unwrap(), 7, "the pool goes on");
    let each: Vec<_> = pool.imap(fail, ["", "panic", ""].map(str::to_owned)).unwrap().map(Result::ok).collect();
    assert_eq!(each, [Some(7), None, Some(7)], "an error of one call is not the end");
    pool.close().unwrap();
    let error = pool.apply(fail, (String::new(),)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Remote, "{error}");
    assert!(pool.join_timeout(LONG).unwrap());
}

/// All items are drawn before any is sent. So the panic reaches the caller, and the server has received no call.
fn iterator_that_panics_leaves_a_served_pool_whole() {
    let manager = manager();
    let pool = manager.pool(1).unwrap();
    let items = || (0..10_u64).inspect(|number| assert!(*number != 3, "planted: the iterator panics"));
    let panics = |call: &dyn Fn()| catch_unwind(AssertUnwindSafe(call)).is_err();
    for _ in 0..2 {
        assert!(panics(&|| drop(pool.map(pid_after, items()))));
        assert!(panics(&|| drop(pool.imap(pid_after, items()))));
        assert!(panics(&|| drop(pool.imap_unordered(pid_after, items()))));
        assert!(panics(&|| drop(pool.starmap(power, items().map(|number| (number, 2))))));
        assert_eq!(manager.number_of_objects().unwrap(), 1, "the pool");
        assert_eq!(pool.apply(power, (2, 10)).unwrap(), 1024);
    }
}

fn waits_for_a_served_pool_end_with_their_time() {
    let manager = manager();
    let pool = manager.pool(1).unwrap();
    let result = pool.apply_async(pid_after, (400,)).unwrap();
    assert_eq!(result.get_timeout(Duration::from_millis(1)).unwrap(), None);
    assert!(!result.wait_timeout(Duration::from_millis(1)).unwrap() && !result.ready().unwrap());
    let error = result.successful().unwrap_err();
    assert_eq!(Exception::inside(&error).unwrap().class(), "ValueError");
    let mut each = pool.imap(pid_after, [200]).unwrap();
    assert!(matches!(each.next_timeout(Duration::from_millis(1)), Some(Ok(None))));
    assert!(!pool.join_timeout(Duration::ZERO).unwrap_or(false));
    assert!(matches!(each.next_timeout(LONG), Some(Ok(Some(_)))));
    assert!(each.next_timeout(LONG).is_none() && each.next().is_none());
    assert!(result.get_timeout(LONG).unwrap().is_some());
}

fn served_pool_refuses_what_is_not_a_call() {
    let manager = manager();
    let pool = manager.pool(1).unwrap();
    let submit = |build: &[u8], task: &str, calls: Vec<Value>| {
        let args = vec![Value::Bytes(build.to_vec()), task.into(), Value::List(calls), Value::None];
        pool.as_ref().call_with::<()>("submit", args, Vec::new()).unwrap_err().to_string()
    };
    for build in [&b""[..], b"\xff\xff\xff\xff", &[0; 200]] {
        assert!(submit(build, "x", Vec::new()).contains("same build"));
    }
    let error = pool.as_ref().call::<()>("submit", (1, 2)).unwrap_err();
    assert_eq!(Exception::inside(&error).unwrap().class(), "TypeError");
    let error = pool.as_ref().call::<()>("apply", ()).unwrap_err();
    assert!(error.to_string().contains("not in exposed"), "as a client of CPython is told: {error}");
    for workers in [0, 1024, u32::MAX] {
        let error = manager.pool(workers).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Remote, "{workers}: {error}");
    }
    let (near, _far) = pipe().unwrap();
    let error = pool.apply(send_one, (near,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = pool.apply(an_end, ()).unwrap_err();
    assert!(error.kind() == ErrorKind::Remote && error.to_string().contains("descriptor"), "{error}");
    let error = pool.apply(unlisted, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTask);
    assert_eq!(pool.apply(power, (2, 3)).unwrap(), 8);
}

fn arguments_from_clients_are_decoded_within_bounds() {
    let manager = manager();
    let pool = manager.pool(1).unwrap();
    // Few bytes that say many items: time, and memory.
    let error = pool.apply(units, (vec![(); 100_000],)).unwrap_err();
    assert!(error.kind() == ErrorKind::Remote && error.to_string().contains("take no bytes"), "{error}");
    let error = pool.apply(wide, (vec![None; 1 << 18],)).unwrap_err();
    assert!(error.kind() == ErrorKind::Remote && error.to_string().contains("may take here"), "{error}");
    // A value among others has the bounds of its own length.
    let many = pool.map(units, (0..50).map(|_| vec![(); 1000])).unwrap();
    assert_eq!(many, [1000; 50]);
    assert_eq!(pool.apply(wide, (vec![None; 1000],)).unwrap(), 1000);
}

pub fn unlisted() -> u8 {
    1
}

fn workers_end_with_their_pool_and_with_the_server() {
    let manager = manager();
    let begun = Instant::now();
    let gone = |pid| {
        while is_there(pid) {
            assert!(begun.elapsed() < LONG, "worker {pid} is left");
            thread::sleep(Duration::from_millis(2));
        }
    };
    let pool = manager.pool(1).unwrap();
    let pid = pool.apply(pid_after, (0,)).unwrap();
    assert!(is_there(pid));
    drop(pool);
    gone(pid);

    let pool = manager.pool(1).unwrap();
    let pid = pool.apply(pid_after, (0,)).unwrap();
    pool.terminate().unwrap();
    assert!(pool.join_timeout(LONG).unwrap());
    gone(pid);

    let pool = manager.pool(1).unwrap();
    let pid = pool.apply(pid_after, (0,)).unwrap();
    let waiting = pool.apply_async(pid_after, (60_000,)).unwrap();
    manager.process().unwrap().kill().unwrap();
    // `Os` if the end was noticed before the call, and no other server is there.
    assert!(matches!(waiting.get().unwrap_err().kind(), ErrorKind::Closed | ErrorKind::Os));
    gone(pid);
    drop(Pool::new(1)); // the machine can start others
}

fn iterator_gives_keys_until_the_dict_changes() {
    let manager = manager();
    let dict = manager.dict::<String, u8>().unwrap();
    for key in ["a", "b"] {
        dict.insert(&key.to_owned(), &1).unwrap();
    }
    let keys: IteratorProxy<String> = dict.iter().unwrap();
    assert_eq!(keys.collect::<ossature::Result<Vec<_>>>().unwrap(), ["a", "b"]);
    let mut keys = dict.iter().unwrap();
    assert_eq!(keys.next().unwrap().unwrap(), "a");
    dict.insert(&"c".to_owned(), &1).unwrap();
    assert!(keys.next().unwrap().unwrap_err().to_string().contains("changed size"));
    drop(keys);
    assert_eq!(manager.number_of_objects().unwrap(), 1);
}
