//! One thread waits while others change and trigger events.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue};

use super::renew::nameless;
use super::{now, wait, wait_for};
use crate::support::{soon, thread_id, until_asleep};

/// The events that a thread in a wait gets when `act` runs meanwhile.
#[track_caller]
fn while_asleep(queue: &Kqueue, act: impl FnOnce()) -> Vec<Kevent> {
    let sleeper = AtomicUsize::new(0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            sleeper.store(thread_id() as usize, SeqCst);
            let mut room = [std::mem::MaybeUninit::uninit(); 8];
            queue.wait(&mut room, Duration::from_secs(8)).unwrap().to_vec()
        });
        soon(|| {
            while sleeper.load(SeqCst) == 0 {
                thread::yield_now();
            }
        });
        until_asleep(sleeper.load(SeqCst) as i32);
        act();
        waiter.join().unwrap()
    })
}

#[test]
fn a_sleeper_wakes_for_everything() {
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::user(1)).unwrap();
    assert_eq!(while_asleep(&queue, || queue.change(&Kevent::trigger(1)).unwrap()).len(), 1);
    let (near, mut far) = UnixStream::pair().unwrap();
    let added = while_asleep(&queue, || {
        queue.change(&Kevent::read(&near)).unwrap();
        far.write_all(b"x").unwrap();
    });
    assert_eq!(added[0].filter(), Filter::READ);
    queue.change(&Kevent::read(&near).with_flags(Flags::DELETE)).unwrap();
    let written =
        while_asleep(&queue, || queue.change(&Kevent::write(&near).with_flags(Flags::ADD | Flags::ONESHOT)).unwrap());
    assert_eq!(written[0].filter(), Filter::WRITE);
    // A timer that comes before the one that the sleeper knows.
    queue.change(&Kevent::timer(1, Duration::from_secs(3600))).unwrap();
    let began = Instant::now();
    let timers = while_asleep(&queue, || {
        queue.change(&Kevent::timer(2, Duration::from_millis(5)).with_flags(Flags::ADD | Flags::ONESHOT)).unwrap()
    });
    assert_eq!(timers[0].ident(), 2);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_sleeper_moves_to_new_sets() {
    let queue = Kqueue::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    let began = Instant::now();
    let told = while_asleep(&queue, || {
        let _kept = nameless(&queue, b"");
        assert_eq!(now(&queue), [], "this wait makes the new sets");
        queue.change(&Kevent::read(&near)).unwrap();
        far.write_all(b"x").unwrap();
    });
    assert_eq!(told[0].data(), 1);
    assert!(began.elapsed() < Duration::from_secs(5), "told at the end of the wait");
}

#[test]
fn a_table_grows_while_somebody_waits() {
    let queue = Kqueue::new().unwrap();
    let woken = while_asleep(&queue, || {
        for ident in 0..5000 {
            queue.change(&Kevent::user(ident)).unwrap();
        }
        queue.change(&Kevent::trigger(4999)).unwrap();
    });
    assert_eq!(woken[0].ident(), 4999);
    assert_eq!(queue.len(), Ok(5000));
}

#[test]
fn a_wait_keeps_its_time() {
    let queue = Kqueue::new().unwrap();
    let began = Instant::now();
    assert_eq!(wait(&queue, Duration::from_millis(20)), []);
    assert!(began.elapsed() >= Duration::from_millis(20));
}

/// Each of four threads triggers its own event until the event was reported as often. Two threads wait.
#[test]
fn no_trigger_is_lost_among_many_threads() {
    const EACH: usize = 2000;
    let queue = Kqueue::new().unwrap();
    let told = [const { AtomicUsize::new(0) }; 4];
    for ident in 0..4 {
        queue.change(&Kevent::user(ident)).unwrap();
    }
    soon(|| {
        thread::scope(|scope| {
            for (ident, told) in told.iter().enumerate() {
                let queue = &queue;
                scope.spawn(move || {
                    for n in 1..=EACH {
                        queue.change(&Kevent::trigger(ident)).unwrap();
                        while told.load(SeqCst) < n {
                            thread::yield_now();
                        }
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    while told.iter().any(|told| told.load(SeqCst) < EACH) {
                        for event in wait_for(&queue, 2, Duration::from_millis(5)) {
                            told[event.ident()].fetch_add(1, SeqCst);
                        }
                    }
                });
            }
        });
    });
    assert!(told.iter().all(|told| told.load(SeqCst) == EACH));
}

/// A one-shot event reaches one of the waiting threads.
#[test]
fn an_event_goes_to_one_waiter() {
    let queue = Kqueue::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    for _ in 0..50 {
        queue.change(&Kevent::read(&near).with_flags(Flags::ADD | Flags::ONESHOT)).unwrap();
        let count = thread::scope(|scope| {
            let waiters = [0; 3].map(|_| scope.spawn(|| wait(&queue, Duration::from_millis(10)).len()));
            far.write_all(b"x").unwrap();
            waiters.map(|waiter| waiter.join().unwrap()).iter().sum::<usize>()
        });
        assert_eq!(count, 1);
    }
}

/// The alarm of one waiter was set for a timer. When that waiter leaves for another reason, the next waiter takes the
/// timer over.
#[test]
fn a_timer_is_told_to_who_still_waits() {
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::user(1)).unwrap();
    soon(|| {
        thread::scope(|scope| {
            // Each has room for one event: on a slow machine both come at once. The waiters have no limit of their own,
            // at whose end they would meet the timer.
            let waiters = [0; 2].map(|_| scope.spawn(|| wait_for(&queue, 1, Deadline::NEVER)[0].filter()));
            thread::sleep(Duration::from_millis(10));
            queue.change(&Kevent::timer(1, Duration::from_millis(30)).with_flags(Flags::ADD | Flags::ONESHOT)).unwrap();
            thread::sleep(Duration::from_millis(5));
            queue.change(&Kevent::trigger(1)).unwrap();
            let mut filters = waiters.map(|waiter| waiter.join().unwrap());
            filters.sort();
            assert_eq!(filters, [Filter::USER, Filter::TIMER]);
        });
    });
}
