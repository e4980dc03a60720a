//! Threads behind the names of processes.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::dummy::connection::{Listener, connect};
use ossature::multiprocessing::dummy::{
    Barrier, Condition, Event, JoinableQueue, Lock, Pool, Queue, RLock, Semaphore, active_children, current_process,
    pipe, spawn,
};
use ossature::multiprocessing::queues::PutError;
use ossature::thread::get_native_id;

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
            far.put(number).unwrap();
        }
        far.join();
    })
    .unwrap();
    for number in 0..100 {
        assert_eq!(queue.get_timeout(LONG).unwrap(), Some(number));
        assert!(queue.len() <= 2);
        assert!(process.exit_code().is_none(), "it waits until all are done");
        queue.task_done().unwrap();
    }
    assert!(process.join_timeout(LONG).unwrap().is_some());
    assert_eq!(queue.try_get().unwrap(), None);
    assert_eq!(queue.task_done().unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// The cases of `tests/queues/cases.rs`, which are also run for processes.
#[test]
fn a_dummy_queue_has_the_cases_of_processes() {
    let queue = Queue::bounded(6);
    assert!(queue.is_empty() && !queue.is_full() && queue.try_get().unwrap().is_none());
    (1..6).for_each(|number| queue.put(number).unwrap());
    assert!(queue.put_timeout(6, LONG).is_ok() && queue.len() == 6);
    assert!(queue.is_full() && matches!(queue.try_put(7), Err(PutError::Full(7))));
    let (limit, begun) = (Duration::from_millis(50), Instant::now());
    assert!(queue.put_timeout(7, limit).unwrap_err().is_full());
    assert!(begun.elapsed() >= limit);
    let far = queue.clone();
    let child = spawn(move || {
        (1..7).for_each(|number| assert_eq!(far.get().unwrap(), number));
        far.task_done().unwrap();
    })
    .unwrap();
    assert!(child.join_timeout(LONG).unwrap().unwrap().success());
    assert!(queue.is_empty() && !queue.is_full() && !queue.join_timeout(Duration::ZERO), "one of six is done");
    let begun = Instant::now();
    assert!(queue.get_timeout(limit).unwrap().is_none() && begun.elapsed() >= limit);

    let tasks: JoinableQueue<Option<u32>> = Queue::bounded(0); // no bound, as for processes and in Python
    let workers = [(); 4].map(|()| {
        let tasks = tasks.clone();
        spawn(move || {
            while let Some(number) = tasks.get().unwrap() {
                assert!(number < 10);
                tasks.task_done().unwrap();
            }
        })
        .unwrap()
    });
    (0..10).for_each(|number| tasks.put_timeout(Some(number), LONG).unwrap());
    assert!(tasks.join_timeout(LONG));
    workers.iter().for_each(|_| tasks.put(None).unwrap());
    workers.into_iter().for_each(|worker| assert!(worker.join_timeout(LONG).unwrap().unwrap().success()));
}

/// Whether the thread with this number sleeps in the kernel.
fn sleeps(thread: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.trim_start().starts_with('S')
}

/// Runs `call` in another thread, and `end` once that thread sleeps. Returns the result of `call`.
fn while_asleep<R: Send>(call: impl FnOnce() -> R + Send, end: impl FnOnce()) -> R {
    let number = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        let asleep = scope.spawn(|| {
            number.store(get_native_id().as_raw_nonzero().get().unsigned_abs(), SeqCst);
            call()
        });
        while number.load(SeqCst) == 0 || !sleeps(number.load(SeqCst)) {
            std::thread::yield_now();
        }
        end();
        asleep.join().unwrap()
    })
}

#[test]
fn a_dummy_queue_that_is_shut_down_ends_both_sides() {
    let queue = Queue::bounded(2);
    (1..3).for_each(|number| queue.put(number).unwrap());
    assert!(!queue.is_shut_down());
    let refused = while_asleep(|| queue.put_timeout(3, LONG), || queue.shutdown());
    assert!(matches!(refused, Err(PutError::ShutDown(3))), "it waited for room");
    assert!(queue.is_shut_down() && matches!(queue.try_put(4), Err(PutError::ShutDown(4))));
    assert_eq!((&queue).into_iter().collect::<Vec<i32>>(), [1, 2]);
    assert_eq!(queue.get().unwrap_err().kind(), ErrorKind::ShutDown);
    assert_eq!(queue.get_timeout(LONG).unwrap_err().kind(), ErrorKind::ShutDown);
    assert_eq!(queue.try_get().unwrap_err().kind(), ErrorKind::ShutDown);
    let error: ossature::Error = queue.put(5).unwrap_err().into();
    assert_eq!(error.kind(), ErrorKind::ShutDown);
    assert!(!queue.join_timeout(Duration::ZERO), "items that were got are to be done all the same");
    (1..3).for_each(|_| queue.task_done().unwrap());
    queue.join();

    let empty: Queue<i32> = Queue::new();
    assert_eq!(while_asleep(|| empty.get_timeout(LONG), || empty.shutdown()).unwrap_err().kind(), ErrorKind::ShutDown);
    empty.shutdown(); // again, which changes nothing
    assert_eq!(empty.iter().count(), 0);
}

/// An item whose drop uses the queue that contained it.
struct Uses(Queue<Self>, Arc<std::sync::atomic::AtomicU32>);

impl Drop for Uses {
    fn drop(&mut self) {
        assert!(self.0.is_shut_down());
        self.1.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_dummy_queue_that_is_shut_down_at_once_drops_its_items_which_count_as_done() {
    let (queue, dropped): (JoinableQueue<Uses>, _) = (JoinableQueue::bounded(3), Arc::default());
    (0..3).for_each(|_| assert!(queue.put(Uses(queue.clone(), Arc::clone(&dropped))).is_ok()));
    let got = queue.get().unwrap();
    let joined = while_asleep(
        || queue.join_timeout(LONG),
        || {
            assert_eq!((queue.shutdown_now(), dropped.load(SeqCst), queue.len()), (2, 2, 0));
            assert!(!queue.join_timeout(Duration::ZERO), "one was got, and is not done");
            queue.task_done().unwrap();
        },
    );
    assert!(joined);
    assert!(queue.try_get().is_err() && queue.task_done().is_err());
    drop(got);
    assert_eq!((dropped.load(SeqCst), queue.shutdown_now()), (3, 0));

    let early = JoinableQueue::new();
    early.put(1).unwrap();
    early.task_done().unwrap(); // before its get, which Python allows too
    assert_eq!(early.shutdown_now(), 1);
    early.join();
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
