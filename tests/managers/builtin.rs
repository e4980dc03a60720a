//! The built-in types: methods that wait, and special cases of Python's containers.

use std::thread;
use std::time::{Duration, Instant};

use ossature::multiprocessing::connection::pickle::Value;
use ossature::multiprocessing::managers::Exception;
use ossature::multiprocessing::{Context, Manager};

use crate::LONG;
use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("blocked_clients_take_no_thread_and_are_served_in_order", blocked_clients_take_no_thread_and_are_served_in_order),
    ("lock_passes_from_thread_to_thread", lock_passes_from_thread_to_thread),
    ("waits_end_with_their_time", waits_end_with_their_time),
    ("condition_takes_its_lock_again", condition_takes_its_lock_again),
    ("joined_queue_waits_for_its_tasks", joined_queue_waits_for_its_tasks),
    ("lists_have_pythons_corners", lists_have_pythons_corners),
    ("dicts_have_pythons_corners", dicts_have_pythons_corners),
    ("sets_and_arrays_have_pythons_corners", sets_and_arrays_have_pythons_corners),
];

fn manager() -> Manager {
    Manager::start(Context::Spawn).unwrap()
}

/// The number of threads of a process.
fn threads(manager: &Manager) -> usize {
    let pid = manager.process().unwrap().pid().unwrap().as_raw_nonzero();
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

fn blocked_clients_take_no_thread_and_are_served_in_order() {
    const MANY: usize = 300;
    let manager = manager();
    let queue = manager.queue::<usize>(0).unwrap();
    let before = threads(&manager);
    let waiters: Vec<_> = (0..MANY)
        .map(|number| {
            let other = queue.clone();
            let waiter = thread::spawn(move || other.get().unwrap());
            // One after the other, so that their order is known.
            let (begun, wanted) = (Instant::now(), format!(" {} waiting", number + 1));
            while !queue.as_ref().display().unwrap().contains(&wanted) {
                assert!(begun.elapsed() < LONG, "{}", queue.as_ref().display().unwrap());
            }
            waiter
        })
        .collect();
    assert_eq!(threads(&manager), before, "nobody has a thread");
    for number in 0..MANY {
        queue.put(&number).unwrap();
    }
    let got: Vec<usize> = waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect();
    assert_eq!(got, (0..MANY).collect::<Vec<_>>(), "in the order of their arrival");
}

fn lock_passes_from_thread_to_thread() {
    let manager = manager();
    let (lock, total) = (manager.lock().unwrap(), manager.value("q", &0_u64).unwrap());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let _guard = lock.lock().unwrap();
                    total.set(&(total.get().unwrap() + 1)).unwrap();
                }
            });
        }
    });
    assert_eq!(total.get().unwrap(), 100, "nobody was in between");
    assert!(!lock.locked().unwrap());
    let error = lock.release().unwrap_err();
    assert_eq!(error.to_string(), "RuntimeError: release unlocked lock");
    // A thread that ends gives its lock back.
    thread::scope(|scope| assert!(scope.spawn(|| lock.acquire()).join().unwrap().unwrap()));
    assert!(lock.acquire_timeout(LONG).unwrap());
    // What another thread acquired this one may release, except with a reentrant lock.
    let reentrant = manager.rlock().unwrap();
    let _held = reentrant.lock().unwrap();
    thread::scope(|scope| {
        let release = || (lock.release(), reentrant.release());
        let (plain, owned) = scope.spawn(release).join().unwrap();
        plain.unwrap();
        assert_eq!(owned.unwrap_err().to_string(), "RuntimeError: cannot release un-acquired lock");
    });
}

fn waits_end_with_their_time() {
    let manager = manager();
    let short = Duration::from_millis(80);
    let begun = Instant::now();
    assert_eq!(manager.queue::<u8>(0).unwrap().get_timeout(short).unwrap(), None);
    assert!(!manager.event().unwrap().wait_timeout(short).unwrap());
    assert!(!manager.semaphore(0).unwrap().acquire_timeout(short).unwrap());
    let error = manager.barrier(2).unwrap().wait_timeout(short).unwrap_err();
    assert_eq!(error.to_string(), "threading.BrokenBarrierError");
    assert!(begun.elapsed() >= 4 * short && begun.elapsed() < LONG);
}

fn condition_takes_its_lock_again() {
    let manager = manager();
    let condition = manager.condition().unwrap();
    assert_eq!(condition.notify_all().unwrap_err().to_string(), "RuntimeError: cannot notify on un-acquired lock");
    let guard = condition.lock().unwrap();
    assert!(!condition.wait_timeout(Duration::from_millis(30)).unwrap(), "nobody notified");
    let other = condition.clone();
    let waiter = thread::spawn(move || {
        let _guard = other.lock().unwrap();
        other.notify(1).unwrap();
        thread::sleep(Duration::from_millis(50)); // the one that was notified waits for this lock
    });
    assert!(condition.wait().unwrap());
    let mine = thread::scope(|scope| scope.spawn(|| condition.try_acquire().unwrap()).join().unwrap());
    assert!(!mine, "the lock is held again");
    drop(guard);
    waiter.join().unwrap();
}

fn joined_queue_waits_for_its_tasks() {
    let manager = manager();
    let queue = manager.queue::<u32>(2).unwrap();
    queue.put(&1).unwrap();
    queue.put(&2).unwrap();
    let consumer = thread::spawn({
        let queue = queue.clone();
        move || {
            let mut sum = 0;
            for _ in 0..3 {
                sum += queue.get().unwrap();
                queue.task_done().unwrap();
            }
            sum
        }
    });
    queue.put(&3).unwrap(); // waits for room
    queue.join().unwrap();
    assert_eq!(consumer.join().unwrap(), 6);
    assert_eq!(queue.task_done().unwrap_err().to_string(), "ValueError: task_done() called too many times");
    queue.shutdown_now().unwrap();
    assert_eq!(Exception::inside(&queue.put(&1).unwrap_err()).unwrap().class(), "queue.ShutDown");
}

fn lists_have_pythons_corners() {
    let manager = manager();
    let list = manager.create("list", (vec![3, 1, 2],)).unwrap();
    let ask = |method: &str, args: Vec<i64>| -> String {
        let args = args.into_iter().map(Into::into).collect();
        match list.call_with::<Vec<i64>>(method, args, Vec::new()) {
            Ok(items) => format!("{items:?}"),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(ask("__mul__", vec![2]), "[3, 1, 2, 3, 1, 2]");
    assert_eq!(ask("__getitem__", vec![3]), "IndexError: list index out of range");
    assert!(ask("__mul__", vec![isize::MAX as i64 / 4]).starts_with("MemoryError"));
    assert!(list.call::<bool>("__contains__", (2.0,)).unwrap() && !list.call::<bool>("__contains__", ("2",)).unwrap());
    assert_eq!(list.call::<Vec<i64>>("__getslice__", (1, 99)).unwrap(), [1, 2]);
    assert!(list.call::<()>("remove", (7,)).unwrap_err().to_string().contains("x not in list"));
    list.call::<()>("append", ("text",)).unwrap();
    assert!(list.call::<()>("sort", ()).unwrap_err().to_string().contains("not supported between instances"));
}

fn dicts_have_pythons_corners() {
    let manager = manager();
    let dict = manager.create_with("dict", Vec::new(), vec![("a".to_owned(), 1.into())]).unwrap();
    dict.call::<()>("__setitem__", (1, "int")).unwrap();
    assert_eq!(dict.call::<String>("__getitem__", (1.0,)).unwrap(), "int", "1 and 1.0 are one key");
    assert_eq!(dict.call::<()>("__getitem__", ("b",)).unwrap_err().to_string(), "KeyError: b");
    let error = dict.call::<()>("__setitem__", (vec![1], 2)).unwrap_err();
    assert_eq!(error.to_string(), "TypeError: unhashable type: 'list'");
    assert_eq!(dict.display().unwrap(), "{'a': 1, 1: 'int'}");
    let keys = dict.call::<ossature::multiprocessing::managers::Proxy>("__iter__", ()).unwrap();
    assert_eq!(keys.call::<String>("__next__", ()).unwrap(), "a");
    let [text, bytes] = [Value::Text("b".to_owned()), Value::Bytes(b"b".to_vec())];
    dict.call_with::<()>("__setitem__", vec![text.clone(), 3.into()], Vec::new()).unwrap();
    dict.call_with::<()>("__setitem__", vec![bytes, 4.into()], Vec::new()).unwrap();
    assert_eq!(dict.call_with::<u8>("__getitem__", vec![text], Vec::new()).unwrap(), 3, "bytes are another key");
    dict.call::<()>("__delitem__", ("a",)).unwrap();
    let error = keys.call::<String>("__next__", ()).unwrap_err();
    assert_eq!(error.to_string(), "RuntimeError: dictionary changed size during iteration");
}

fn sets_and_arrays_have_pythons_corners() {
    let manager = manager();
    let set = manager.set([1, 2, 3]).unwrap();
    assert_eq!(set.intersection(&[3, 2, 9]).unwrap(), [2, 3]);
    assert_eq!(set.difference(&[1]).unwrap(), [2, 3]);
    assert!(set.as_ref().call::<()>("remove", (9,)).unwrap_err().to_string().starts_with("KeyError"));
    assert!(set.as_ref().call::<bool>("issubset", (vec![1, 2, 3, 4],)).unwrap());

    let array = manager.array("h", &[1, 2]).unwrap();
    let error = array.set(0, &70_000).unwrap_err();
    assert!(error.to_string().starts_with("OverflowError"), "{error}");
    assert!(manager.array("h", &[70_000]).is_err() && manager.array("x", &[1]).is_err());
    assert_eq!(array.as_ref().display().unwrap(), "array('h', [1, 2])");
}
