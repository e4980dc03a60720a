//! The sleepers beside a ring, and what wakes each of them.

use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use ossature_sys::futex::Limit;
use ossature_sys::sync::ring::{Participant, Ring, RingError};

use crate::support::{soon, thread_id, until_asleep};

const SMALL: usize = 64 << 10;

fn ring() -> Ring {
    Ring::new(SMALL).unwrap()
}

/// Runs `wait` in a thread. Returns when that thread sleeps.
fn asleep<'s, R: Send + 's>(
    scope: &'s thread::Scope<'s, '_>,
    wait: impl FnOnce() -> R + Send + 's,
) -> thread::ScopedJoinHandle<'s, R> {
    let (tell, told) = std::sync::mpsc::channel();
    let waits = scope.spawn(move || {
        tell.send(thread_id()).unwrap();
        wait()
    });
    until_asleep(told.recv().unwrap());
    waits
}

/// Runs `body` in a thread that ends without leaving the ring, like a killed thread.
fn dies(ring: &Ring, body: impl FnOnce(&mut Participant<&Ring>) + Send) {
    thread::scope(|scope| {
        let ends = scope.spawn(|| {
            let mut user = ring.join().unwrap();
            body(&mut user);
            std::mem::forget(user);
        });
        ends.join().unwrap();
    });
}

#[test]
fn whoever_waits_for_the_last_task_hears_of_messages_that_are_dropped() {
    needs!(own_nodes);
    let ring = &ring();
    soon(|| {
        let mut user = ring.join().unwrap();
        user.send(b"task").unwrap();
        thread::scope(|scope| {
            let waits = asleep(scope, || ring.wait_until_done(Limit::NEVER));
            user.recv(&mut [0; 8]).unwrap();
            assert_eq!(waits.join().unwrap(), Ok(true));
        });
    });
}

#[test]
fn death_of_a_worker_is_heard_by_all_who_wait() {
    needs!(own_nodes);
    needs!(robust_lists);
    let ring = &ring();
    soon(|| {
        ring.join().unwrap().send(b"task").unwrap();
        thread::scope(|scope| {
            let (end, until) = std::sync::mpsc::channel::<()>();
            let (tell, told) = std::sync::mpsc::channel();
            let worker = scope.spawn(move || {
                dies(ring, move |user| {
                    user.recv_task_timeout(&mut [0; 8], Limit::NEVER).unwrap();
                    tell.send(()).unwrap();
                    let _ = until.recv();
                });
            });
            told.recv().unwrap();
            let waits = [(); 3].map(|()| asleep(scope, || ring.wait_until_done(Limit::NEVER)));
            drop(end);
            worker.join().unwrap();
            for wait in waits {
                assert_eq!(wait.join().unwrap(), Ok(true));
            }
        });
    });
}

#[test]
fn closed_ring_ends_for_all_receivers_when_its_last_writer_dies() {
    needs!(own_nodes);
    needs!(robust_lists);
    let ring = &ring();
    soon(|| {
        thread::scope(|scope| {
            let (end, until) = std::sync::mpsc::channel::<()>();
            let (tell, told) = std::sync::mpsc::channel();
            let writer = scope.spawn(move || {
                dies(ring, move |user| {
                    std::mem::forget(user.reserve(10).unwrap());
                    tell.send(()).unwrap();
                    let _ = until.recv();
                });
            });
            told.recv().unwrap();
            ring.close();
            let waits = [(); 3].map(|()| asleep(scope, || ring.join().unwrap().recv(&mut [0; 8])));
            drop(end);
            writer.join().unwrap();
            for wait in waits {
                assert_eq!(wait.join().unwrap(), Err(RingError::Closed));
            }
        });
    });
}

/// The sender fell asleep before any receiver had the message.
#[test]
fn sleeping_sender_hears_of_the_death_of_a_later_reader() {
    needs!(own_nodes);
    needs!(robust_lists);
    let ring = &ring();
    soon(|| {
        ring.join().unwrap().send(&[1; SMALL]).unwrap();
        thread::scope(|scope| {
            let waits = asleep(scope, || ring.join().unwrap().send(b"after it"));
            dies(ring, |user| std::mem::forget(user.read().unwrap()));
            assert_eq!(waits.join().unwrap(), Ok(()));
        });
        thread::scope(|scope| {
            let waits = asleep(scope, || ring.wait_until_below(1, Limit::NEVER));
            dies(ring, |user| std::mem::forget(user.read().unwrap()));
            assert_eq!(waits.join().unwrap(), Ok(true));
        });
    });
}

#[test]
fn sleeping_sender_goes_on_as_soon_as_its_message_fits() {
    needs!(own_nodes);
    let ring = &ring();
    soon(|| {
        let mut user = ring.join().unwrap();
        for _ in 0..8 {
            user.send(&[1; SMALL / 8]).unwrap();
        }
        thread::scope(|scope| {
            let waits = asleep(scope, || ring.join().unwrap().send(b"small"));
            user.recv(&mut [0; SMALL / 8]).unwrap();
            assert_eq!(waits.join().unwrap(), Ok(()));
        });
    });
}

/// Each worker puts the next task before it reports one as done.
#[test]
fn tasks_that_follow_each_other_are_never_all_done() {
    needs!(own_nodes);
    let (ring, stop) = (&ring(), &std::sync::atomic::AtomicBool::new(false));
    soon(|| {
        ring.join().unwrap().send(b"task").unwrap();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut user = ring.join().unwrap();
                    while !stop.load(SeqCst) {
                        if user.recv_task_timeout(&mut [0; 8], Duration::from_millis(5)).unwrap().is_some() {
                            user.send(b"task").unwrap();
                            user.task_done().unwrap();
                        }
                    }
                });
            }
            let early = (0..200_000).filter(|_| ring.wait_until_done(Limit::NOW).unwrap()).count();
            stop.store(true, SeqCst);
            assert_eq!(early, 0);
        });
    });
}
