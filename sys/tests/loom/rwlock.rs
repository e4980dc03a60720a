//! The reader-writer lock: no reader runs beside a writer, and every thread gets the lock, whichever dies at any step.
//!
//! The number of executions grows fast with the threads, because each of them may also read old values of the shares.
//! So most scenes have two threads and several switches away from a running thread, and again three threads and few
//! switches. Without a switch, threads still take turns in any order where one sleeps or ends.

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use ossature_sys::futex::{Cancel, Limit};
use ossature_sys::model::rwlock::{Private, RwLock};

use crate::{explore, explore_to};

/// More steps than a reader makes that waits for the turn, so that the last of them does not die.
const READ_STEPS: u32 = 44;
/// More steps than such a reader makes that also adds shares.
const ADD_STEPS: u32 = READ_STEPS + 4;
/// More steps than a writer makes that waits for the turn and for a share.
const WRITE_STEPS: u32 = 38;

fn reader(lock: &Arc<RwLock>, id: u32) -> JoinHandle<Option<u32>> {
    let lock = lock.clone();
    thread::spawn(move || lock.read(id, Limit::NEVER))
}

fn writer(lock: &Arc<RwLock>, id: u32) -> JoinHandle<bool> {
    let lock = lock.clone();
    thread::spawn(move || lock.write(id, Limit::NEVER))
}

/// Writes beside this number of readers.
fn threads_read_and_write(readers: usize) {
    let lock = Arc::new(Private::new());
    let readers: Vec<_> = (0..readers)
        .map(|_| {
            let lock = lock.clone();
            thread::spawn(move || assert!(lock.read(Limit::NEVER).unwrap() <= 1))
        })
        .collect();
    assert!(lock.write(Limit::NEVER));
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(lock.read(Limit::NOW), Some(1));
}

#[test]
fn threads_read_beside_each_other_and_write_alone() {
    explore_to(5, || threads_read_and_write(1));
    explore_to(1, || threads_read_and_write(2));
}

/// Writes beside another writer, and beside a reader if `reads` is set.
fn threads_write(reads: bool) {
    let lock = Arc::new(Private::new());
    let others = {
        let (one, two) = (lock.clone(), lock.clone());
        let writes = thread::spawn(move || assert!(one.write(Limit::NEVER)));
        let reads = reads.then(|| thread::spawn(move || assert!(two.read(Limit::NEVER).unwrap() <= 2)));
        [Some(writes), reads]
    };
    assert!(lock.write(Limit::NEVER));
    for other in others.into_iter().flatten() {
        other.join().unwrap();
    }
    assert_eq!(lock.read(Limit::NOW), Some(2));
}

#[test]
fn two_writing_threads_and_a_reader_are_all_served() {
    explore_to(5, || threads_write(false));
    explore_to(1, || threads_write(true));
}

/// A writer that is cancelled while it waits for a reader admits the other readers again.
#[test]
fn cancelled_writer_lets_readers_in_again() {
    explore(|| {
        let (lock, cancel) = (Arc::new(Private::new()), Arc::new(Cancel::new()));
        let hasty = {
            let (lock, cancel) = (lock.clone(), cancel.clone());
            thread::spawn(move || lock.write(Limit::from(&*cancel)))
        };
        let reads = {
            let lock = lock.clone();
            thread::spawn(move || lock.read(Limit::NEVER).unwrap())
        };
        cancel.cancel();
        let wrote = hasty.join().unwrap();
        assert!(reads.join().unwrap() <= u32::from(wrote));
        assert_eq!(lock.read(Limit::NOW), Some(u32::from(wrote)));
    });
}

/// Writes beside readers with these numbers.
fn participants_read_and_write(readers: &[u32]) {
    let lock = Arc::new(RwLock::new());
    let readers: Vec<_> = readers.iter().map(|id| reader(&lock, *id)).collect();
    assert!(lock.write(1, Limit::NEVER));
    for reader in readers {
        assert!(reader.join().unwrap().unwrap() <= 1);
    }
    assert_eq!(lock.read(1, Limit::NOW), Some(1));
    assert!(lock.is_free() && lock.is_open());
}

#[test]
fn participants_read_beside_each_other_and_write_alone() {
    explore_to(4, || participants_read_and_write(&[2]));
    // One switch makes some millions of executions of this scene.
    explore_to(0, || participants_read_and_write(&[2, 3]));
}

#[test]
fn a_hasty_writer_leaves_nobody_asleep() {
    explore(|| {
        let lock = Arc::new(RwLock::new());
        let others = (reader(&lock, 2), writer(&lock, 3));
        let wrote = lock.write(1, Limit::NOW);
        assert!(others.0.join().unwrap().unwrap() <= 2 && others.1.join().unwrap());
        assert_eq!(lock.read(1, Limit::NOW), Some(1 + u32::from(wrote)));
    });
}

/// Starts a participant that makes `steps` steps of `body`, and is killed at the next. Returns whether it survived.
fn doomed<R>(lock: &Arc<RwLock>, steps: u32, body: impl FnOnce(&RwLock) -> R + 'static) -> JoinHandle<bool> {
    let lock = lock.clone();
    thread::spawn(move || RwLock::doomed(steps, || body(&lock)).is_some())
}

/// Explores two models for each step: with one other participant and three switches, and with two others and one.
fn killed_at_each_of(steps: u32, model: impl Fn(u32, bool) + Clone + Sync + Send + 'static) {
    for step in 0..steps {
        for with_third in [false, true] {
            let model = model.clone();
            explore_to(if with_third { 1 } else { 3 }, move || model(step, with_third));
        }
    }
}

#[test]
fn killed_reader_keeps_no_writer_and_no_reader_out() {
    killed_at_each_of(READ_STEPS, |steps, with_third| {
        let lock = Arc::new(RwLock::new());
        let doomed = doomed(&lock, steps, |lock| lock.read(2, Limit::NEVER));
        let third = with_third.then(|| writer(&lock, 3));
        assert!(lock.write(1, Limit::NEVER));
        assert!(third.into_iter().all(|third| third.join().unwrap()));
        let survived = doomed.join().unwrap();
        assert!(survived || steps < READ_STEPS - 1, "the last one has no step left to die at");
        assert_eq!(lock.read(1, Limit::NOW), Some(1 + u32::from(with_third)));
        assert!(lock.is_free() && lock.is_open());
    });
}

/// The reader finds the only share in use taken, unless the other reader has left by then. Another participant is a
/// writer, or a reader that needs a further share too.
#[test]
fn killed_reader_that_adds_shares_keeps_nobody_out() {
    killed_at_each_of(ADD_STEPS, |steps, with_third| {
        let lock = Arc::new(RwLock::new());
        let mut others = None;
        // A writer beside both, which drains their shares, would make a thousand times as many executions.
        lock.read_beside(1, Limit::NEVER, || {
            let doomed = doomed(&lock, steps, |lock| lock.read(2, Limit::NEVER));
            others = Some((doomed, with_third.then(|| reader(&lock, 3))));
        });
        let (doomed, third) = others.unwrap();
        assert!(with_third || lock.write(1, Limit::NEVER));
        assert!(third.into_iter().all(|third| third.join().unwrap().is_some()));
        let survived = doomed.join().unwrap();
        assert!(survived || steps < ADD_STEPS - 1, "the last one has no step left to die at");
        assert!(!with_third || lock.write(1, Limit::NOW));
        assert_eq!(lock.read(1, Limit::NOW), Some(1));
        assert!(lock.is_free() && lock.is_open());
    });
}

#[test]
fn killed_writer_keeps_nobody_out_and_leaves_word() {
    killed_at_each_of(WRITE_STEPS, |steps, with_third| {
        let lock = Arc::new(RwLock::new());
        let doomed = doomed(&lock, steps, |lock| lock.write(2, Limit::NEVER));
        let third = with_third.then(|| reader(&lock, 3));
        if with_third {
            assert!(lock.write(1, Limit::NEVER));
        } else {
            assert!(lock.read(1, Limit::NEVER).is_some());
        }
        assert!(third.into_iter().all(|third| third.join().unwrap().is_some()));
        let survived = doomed.join().unwrap();
        assert!(survived || steps < WRITE_STEPS - 1, "the last one has no step left to die at");
        // Whoever comes now mends what the dead one left, and finds the lock free.
        assert!(lock.write(1, Limit::NOW));
        let (count, least) = (lock.read(1, Limit::NOW).unwrap(), 1 + u32::from(with_third));
        assert!(count == least + u32::from(survived) || !survived && count == least + 1);
        assert!(lock.is_free() && lock.is_open());
    });
}
