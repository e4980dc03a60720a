//! Queues in waits by descriptor.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::wait;
use ossature::multiprocessing::{JoinableQueue, Process, Queue, SimpleQueue, pipe};
use ossature::sys::epoll::{Epoll, Interest};
use ossature::sys::select::{FdSet, select};

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("queue_is_waited_for_beside_a_connection_and_a_process", queue_is_waited_for),
    ("every_kind_of_queue_has_a_descriptor", every_kind_of_queue),
    ("descriptor_hears_of_items_of_another_process", descriptor_hears_of_another_process),
    ("descriptor_hears_of_a_shutdown", descriptor_hears_of_a_shutdown),
    ("descriptor_goes_into_select_and_epoll", descriptor_goes_into_select_and_epoll),
    ("descriptor_hears_of_every_item_beside_killed_putters", descriptor_hears_beside_killed_putters),
    ("forked_child_waits_at_its_own_descriptor", forked_child_waits_at_its_own),
];

const PATIENCE: Duration = Duration::from_secs(30);

fn queue_is_waited_for() {
    let (queue, (near, far)) = (Queue::new().unwrap(), pipe().unwrap());
    let child = Process::fork(|| -> u8 {
        std::thread::sleep(PATIENCE);
        0
    })
    .unwrap();
    let readiness = queue.readiness().unwrap();
    assert_eq!(queue.try_get().unwrap(), None);
    assert!(wait(&[&near, &readiness, &child], Duration::from_millis(1)).unwrap().is_empty());
    queue.put(7).unwrap();
    assert_eq!(wait(&[&near, &readiness, &child], PATIENCE).unwrap(), [1]);
    far.send(&1).unwrap();
    child.kill().unwrap();
    child.join().unwrap();
    assert_eq!(wait(&[&near, &readiness, &child], PATIENCE).unwrap(), [0, 1, 2]);
    assert_eq!([queue.try_get().unwrap(), queue.try_get().unwrap()], [Some(7), None]);
    assert_eq!(wait(&[&near, &readiness], PATIENCE).unwrap(), [0]);
    assert!(wait(&[&readiness], Duration::ZERO).unwrap().is_empty());
}

fn every_kind_of_queue() {
    let tasks = JoinableQueue::bounded(3).unwrap();
    let readiness = tasks.readiness().unwrap();
    tasks.put(1).unwrap();
    assert_eq!(wait(&[&readiness], PATIENCE).unwrap(), [0]);
    assert_eq!(tasks.get().unwrap(), 1);
    tasks.task_done().unwrap();
    assert_eq!(tasks.get_timeout(Duration::from_millis(1)).unwrap(), None);
    assert!(wait(&[&readiness], Duration::ZERO).unwrap().is_empty());
    let simple = SimpleQueue::new().unwrap();
    let again = simple.try_clone().unwrap();
    let (one, other) = (simple.readiness().unwrap(), again.readiness().unwrap());
    assert_eq!(one.as_raw_fd(), other.as_raw_fd(), "one for all handles");
    assert_eq!(again.try_get().unwrap(), None);
    simple.put(2).unwrap();
    assert_eq!(wait(&[&one], PATIENCE).unwrap(), [0]);
    assert_eq!([again.try_get().unwrap(), simple.try_get().unwrap()], [Some(2), None]);
    assert!(wait(&[&other], Duration::ZERO).unwrap().is_empty());
}

pub fn put_slowly(queue: Queue<u32>) -> ossature::Result<()> {
    for number in 0..100 {
        queue.put(number)?;
        if number % 10 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// One wait for two queues of two processes.
fn descriptor_hears_of_another_process() {
    let queues = [(); 2].map(|()| Queue::new().unwrap());
    let workers = queues.each_ref().map(|queue| Process::spawn(put_slowly, (queue.try_clone().unwrap(),)).unwrap());
    let [one, other] = queues.each_ref().map(|queue| queue.readiness().unwrap());
    let mut next = [0; 2];
    while next != [100, 100] {
        let ready = wait(&[&one, &other], PATIENCE).unwrap();
        assert!(!ready.is_empty(), "missed after {next:?}");
        for place in ready {
            while let Some(number) = queues[place].try_get().unwrap() {
                assert_eq!(number, next[place]);
                next[place] += 1;
            }
        }
    }
    workers.into_iter().for_each(|worker| assert!(worker.join_timeout(PATIENCE).unwrap().is_some()));
}

fn descriptor_hears_of_a_shutdown() {
    let queue = Queue::<u8>::new().unwrap();
    let readiness = queue.readiness().unwrap();
    assert_eq!(queue.try_get().unwrap(), None);
    assert!(wait(&[&readiness], Duration::ZERO).unwrap().is_empty());
    let there = queue.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || there.shutdown()).join().unwrap();
    });
    for _ in 0..2 {
        assert_eq!(wait(&[&readiness], PATIENCE).unwrap(), [0]);
        assert_eq!(queue.try_get().unwrap_err().kind(), ErrorKind::ShutDown);
    }
}

fn descriptor_goes_into_select_and_epoll() {
    let queue = Queue::new().unwrap();
    let readiness = queue.readiness().unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.register(&readiness, Interest::IN | Interest::ET, 5).unwrap();
    for round in 0..3 {
        assert_eq!(queue.try_get().unwrap(), None);
        let _ = epoll.poll(&mut [const { MaybeUninit::uninit() }; 2], Duration::ZERO).unwrap();
        queue.put(round).unwrap();
        let mut words = [0; 16];
        let mut set = FdSet::new(&mut words);
        set.insert(readiness.as_fd()).unwrap();
        assert_eq!(select(&mut set, &mut FdSet::new(&mut []), &mut FdSet::new(&mut []), PATIENCE), Ok(1));
        assert_eq!(epoll.poll(&mut [const { MaybeUninit::uninit() }; 2], PATIENCE).unwrap().len(), 1, "an edge");
        assert_eq!(queue.try_get().unwrap(), Some(round));
    }
}

/// The getter waits on the descriptor only. It sees the last item of each putter although the putter was killed.
fn descriptor_hears_beside_killed_putters() {
    let queue = Queue::bounded(50).unwrap();
    let readiness = queue.readiness().unwrap();
    let mut next = [0; 30];
    for number in 0..30_u32 {
        let child = Process::fork(|| crate::killed::send_for_ever(queue.try_clone().unwrap(), number)).unwrap();
        let mut got = 0;
        let mut take_all = |next: &mut [u32; 30]| {
            let before = got;
            while let Some((from, count, _)) = queue.try_get().unwrap() {
                assert_eq!(count, next[from as usize], "in order, each once");
                next[from as usize] += 1;
                got += 1;
            }
            (got > before, got)
        };
        while take_all(&mut next).1 < 20 + number * 7 {
            assert_eq!(wait(&[&readiness], PATIENCE).unwrap(), [0]);
        }
        child.kill().unwrap();
        child.join().unwrap();
        // It is not readable only if nothing is there, whatever the dead one left.
        let readable = wait(&[&readiness], Duration::ZERO).unwrap().len() == 1;
        let unread = queue.len().unwrap();
        assert!(readable || unread == 0, "{unread} items are missed");
        take_all(&mut next);
    }
}

fn forked_child_waits_at_its_own() {
    let (queue, answers) = (Queue::new().unwrap(), Queue::new().unwrap());
    let (readiness, answered) = (queue.readiness().unwrap(), answers.readiness().unwrap());
    let child = Process::fork(|| -> u8 {
        let own = queue.readiness().unwrap();
        assert_ne!(own.as_raw_fd(), readiness.as_raw_fd());
        let mut sum = 0;
        while sum < 6 {
            assert_eq!(wait(&[&own], PATIENCE).unwrap(), [0]);
            while let Some(number) = queue.try_get().unwrap() {
                sum += number;
            }
        }
        answers.put(sum).unwrap();
        0
    })
    .unwrap();
    for number in 1..4 {
        queue.put(number).unwrap();
    }
    while answers.is_empty().unwrap() {
        assert_eq!(wait(&[&answered], PATIENCE).unwrap(), [0]);
        if let Some(sum) = answers.try_get().unwrap() {
            assert_eq!(sum, 6);
            break;
        }
    }
    child.join().unwrap();
    assert_eq!(child.exit_code(), Some(0));
}
