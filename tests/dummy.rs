//! Threads under the names of processes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::dummy::connection::{Listener, connect};
use ossature::multiprocessing::dummy::{
    Barrier, Condition, Event, JoinableQueue, Lock, Pool, Queue, RLock, Semaphore, active_children, current_process,
    pipe, spawn,
};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_dummy_process_is_a_thread_with_an_exit_code() {
    let (near, far) = pipe();
    let process = spawn(move || {
        far.send(current_process().name()).unwrap();
        far.recv().unwrap();
        3_u8
    })
    .unwrap();
    assert!(near.recv().unwrap().starts_with("DummyProcess-"));
    assert_eq!((process.pid(), process.exit_code()), (None, None));
    assert!(active_children().iter().any(|child| child.name() == process.name()));
    near.send(String::new()).unwrap();
    assert!(process.join_timeout(LONG).unwrap().is_some());
    assert_eq!(process.exit_code(), Some(3));
    assert!(!active_children().iter().any(|child| child.name() == process.name()));
}

#[test]
fn the_primitives_are_those_of_threads() {
    let (lock, again) = (Lock::new(1), RLock::new(2));
    assert_eq!((*lock.lock(), *again.lock()), (1, 2));
    assert!(Semaphore::bounded(1).release(1).is_err());
    let event = Event::new();
    event.set();
    assert!(event.is_set());
    let _ = (Condition::new(), Barrier::new(1));
}

#[test]
fn a_dummy_queue_blocks_on_both_sides_and_counts_what_is_done() {
    let queue: JoinableQueue<u32> = Queue::bounded(2);
    let far = queue.clone();
    let process = spawn(move || {
        for number in 0..100 {
            far.put(number);
        }
        far.join();
    })
    .unwrap();
    for number in 0..100 {
        assert_eq!(queue.get_timeout(LONG), Some(number));
        assert!(queue.len() <= 2);
        assert!(process.exit_code().is_none(), "it waits until all are done");
        queue.task_done().unwrap();
    }
    assert!(process.join_timeout(LONG).unwrap().is_some());
    assert_eq!(queue.get_timeout(Duration::ZERO), None);
    assert_eq!(queue.task_done().unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// What `tests/queues/cases.rs` has for processes.
#[test]
fn a_dummy_queue_has_the_cases_of_processes() {
    let queue = Queue::bounded(6);
    assert!(queue.is_empty() && !queue.is_full() && queue.get_timeout(Duration::ZERO).is_none());
    (1..6).for_each(|number| queue.put(number));
    assert_eq!((queue.put_timeout(6, LONG), queue.len()), (Ok(()), 6));
    assert!(queue.is_full() && queue.put_timeout(7, Duration::ZERO) == Err(7));
    let (limit, begun) = (Duration::from_millis(50), Instant::now());
    assert_eq!(queue.put_timeout(7, limit), Err(7));
    assert!(begun.elapsed() >= limit);
    let far = queue.clone();
    let child = spawn(move || {
        (1..7).for_each(|number| assert_eq!(far.get(), number));
        far.task_done().unwrap();
    })
    .unwrap();
    assert!(child.join_timeout(LONG).unwrap().unwrap().success());
    assert!(queue.is_empty() && !queue.is_full() && !queue.join_timeout(Duration::ZERO), "one of six is done");
    let begun = Instant::now();
    assert!(queue.get_timeout(limit).is_none() && begun.elapsed() >= limit);

    let tasks: JoinableQueue<Option<u32>> = Queue::bounded(0); // no bound, as for processes and in Python
    let workers = [(); 4].map(|()| {
        let tasks = tasks.clone();
        spawn(move || {
            while let Some(number) = tasks.get() {
                assert!(number < 10);
                tasks.task_done().unwrap();
            }
        })
        .unwrap()
    });
    (0..10).for_each(|number| assert_eq!(tasks.put_timeout(Some(number), LONG), Ok(())));
    assert!(tasks.join_timeout(LONG));
    workers.iter().for_each(|_| tasks.put(None));
    workers.into_iter().for_each(|worker| assert!(worker.join_timeout(LONG).unwrap().unwrap().success()));
}

#[test]
fn dummy_ends_move_values_and_hear_of_the_end() {
    let (near, far) = pipe();
    let value = Arc::new(7);
    near.send(value.clone()).unwrap();
    assert!(Arc::ptr_eq(&far.recv().unwrap(), &value), "the same, not a copy");
    far.send(value.clone()).unwrap();
    assert!(near.poll(Duration::ZERO) && !far.poll(Duration::ZERO));
    near.send(value).unwrap();
    drop(near);
    assert!(far.recv().is_ok(), "what was sent before the end");
    assert!(far.poll(Duration::ZERO), "the end is something to receive");
    for _ in 0..2 {
        assert_eq!(far.recv().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(far.send(Arc::new(1)).unwrap_err().kind(), ErrorKind::Closed);
    }
}

#[test]
fn clients_meet_a_dummy_listener_by_its_name() {
    let listener = Listener::bind("a counter").unwrap();
    assert_eq!(Listener::bind("a counter").unwrap_err().kind(), ErrorKind::AlreadyRegistered);
    assert!(listener.accept_timeout(Duration::ZERO).is_none());
    let client = spawn(|| -> ossature::Result<()> {
        let server = connect("a counter")?;
        server.send(b"one".to_vec())?;
        assert_eq!(server.recv()?, b"two");
        Ok(())
    })
    .unwrap();
    let end = listener.accept_timeout(LONG).unwrap();
    assert_eq!(end.recv().unwrap(), b"one");
    end.send(b"two".to_vec()).unwrap();
    assert!(client.join_timeout(LONG).unwrap().unwrap().success());
    drop(listener);
    assert_eq!(connect("a counter").unwrap_err().kind(), ErrorKind::NotRegistered);
}

#[test]
fn the_dummy_pool_is_one_of_threads() {
    let pool = Pool::new(2).unwrap();
    let here = std::process::id();
    assert_eq!(
        pool.map(move |number: u32| (number, std::process::id()), 0..3).unwrap(),
        [(0, here), (1, here), (2, here)]
    );
}
