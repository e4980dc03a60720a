//! Event counters: a read takes the value that was added, by a deadline.

use std::thread;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::{CancelFd, EventFd, Until};
use ossature_sys::fd::{OwnedFd, duplicate, is_cloexec};

use crate::interrupt::keeps_its_deadline;
use crate::support::soon;

/// The greatest value of an event counter.
const MOST: u64 = u64::MAX - 1;

#[test]
fn counter_gives_everything_at_once() {
    let event = EventFd::counter(4).unwrap();
    assert!(event.try_add(5).unwrap());
    assert_eq!(event.try_take(), Ok(Some(9)));
    assert_eq!(event.try_take(), Ok(None));
}

#[test]
fn semaphore_gives_one_at_a_time() {
    let event = EventFd::semaphore(2).unwrap();
    assert_eq!(event.try_take(), Ok(Some(1)));
    assert_eq!(event.try_take(), Ok(Some(1)));
    assert_eq!(event.try_take(), Ok(None));
}

#[test]
fn event_is_closed_on_exec() {
    assert!(is_cloexec(EventFd::counter(0).unwrap()).unwrap());
}

#[test]
fn taker_is_woken_by_an_add() {
    let event = EventFd::counter(0).unwrap();
    soon(|| {
        thread::scope(|scope| {
            let taker = scope.spawn(|| event.take(Deadline::NEVER));
            assert!(event.add(3, Deadline::NEVER).unwrap());
            assert_eq!(taker.join().unwrap(), Ok(Some(3)));
        });
    });
}

#[test]
fn adder_is_woken_when_there_is_room() {
    let event = EventFd::counter(0).unwrap();
    assert!(event.try_add(MOST).unwrap());
    assert!(!event.try_add(1).unwrap());
    soon(|| {
        thread::scope(|scope| {
            let adder = scope.spawn(|| event.add(1, Deadline::NEVER));
            assert_eq!(event.take(Deadline::NEVER), Ok(Some(MOST)));
            assert_eq!(adder.join().unwrap(), Ok(true));
        });
    });
    assert_eq!(event.try_take(), Ok(Some(1)));
}

#[test]
fn adder_of_a_great_amount_waits_though_one_would_fit() {
    let event = EventFd::counter(2).unwrap();
    let span = Duration::from_millis(20);
    let start = Instant::now();
    assert_eq!(soon(|| event.add(MOST - 1, span)), Ok(false));
    assert!(start.elapsed() >= span);
    soon(|| {
        thread::scope(|scope| {
            let adder = scope.spawn(|| event.add(MOST - 1, Deadline::NEVER));
            thread::sleep(Duration::from_millis(5));
            assert_eq!(event.try_take(), Ok(Some(2)));
            assert_eq!(adder.join().unwrap(), Ok(true));
        });
    });
    assert_eq!(event.try_take(), Ok(Some(MOST - 1)));
}

#[test]
fn amount_that_never_fits_is_an_error() {
    let event = EventFd::counter(0).unwrap();
    assert_eq!(event.add(u64::MAX, Deadline::NEVER), Err(Errno::INVAL));
    assert_eq!(event.try_take(), Ok(None));
}

#[test]
fn now_only_looks() {
    let event = EventFd::counter(0).unwrap();
    assert_eq!(soon(|| event.take(Deadline::NOW)), Ok(None));
    assert!(event.add(MOST, Deadline::NOW).unwrap());
    assert_eq!(soon(|| event.add(1, Deadline::NOW)), Ok(false));
}

#[test]
fn signals_neither_shorten_nor_prolong_a_take() {
    let event = EventFd::counter(0).unwrap();
    assert_eq!(keeps_its_deadline(|span| event.take(span)), Ok(None));
}

#[test]
fn signals_neither_shorten_nor_prolong_an_add() {
    let full = EventFd::counter(0).unwrap();
    assert!(full.try_add(MOST).unwrap());
    assert_eq!(keeps_its_deadline(|span| full.add(1, span)), Ok(false));
}

#[test]
fn event_from_elsewhere_is_made_nonblocking() {
    let event = EventFd::counter(0).unwrap();
    ossature_sys::fd::set_blocking(&event).unwrap();
    let event = EventFd::try_from(OwnedFd::from(event)).unwrap();
    assert_eq!(soon(|| event.try_take()), Ok(None));
}

#[test]
fn two_descriptors_share_one_number() {
    let event = EventFd::counter(0).unwrap();
    let other = EventFd::try_from(duplicate(&event).unwrap()).unwrap();
    assert!(other.try_add(7).unwrap());
    assert_eq!(event.try_take(), Ok(Some(7)));
}

#[test]
fn cancelled_wait_ends_and_what_came_before_is_not_lost() {
    let (stop, event) = (CancelFd::new().unwrap(), EventFd::counter(0).unwrap());
    let take = |until: Until<'_>| until.when_readable(&event, |deadline| event.take(deadline));
    assert!(is_cloexec(&stop).unwrap() && !stop.is_cancelled().unwrap());
    soon(|| {
        thread::scope(|scope| {
            let waits: Vec<_> = (0..3).map(|_| scope.spawn(|| take(Until::from(&stop)))).collect();
            thread::sleep(Duration::from_millis(5));
            assert!(waits.iter().all(|wait| !wait.is_finished()), "nothing ends them yet");
            stop.cancel().unwrap();
            stop.cancel().unwrap();
            waits.into_iter().for_each(|wait| assert_eq!(wait.join().unwrap(), Ok(None)));
        });
        assert_eq!(take(stop.within(Duration::from_secs(60))), Ok(None), "later waits too");
    });
    assert!(Until::from(&stop).is_over().unwrap() && !Until::NEVER.is_over().unwrap());
    assert!(event.try_add(7).unwrap());
    assert_eq!(take(Until::from(&stop)), Ok(Some(7)), "no wait to end");
    stop.reset().unwrap();
    assert!(!stop.is_cancelled().unwrap());
    let start = Instant::now();
    assert_eq!(take(stop.within(Duration::from_millis(5))), Ok(None));
    assert!(start.elapsed() >= Duration::from_millis(5), "the deadline alone ends it");
    assert_eq!(take(stop.within(Deadline::NOW)), Ok(None));
}

#[test]
fn cancelled_wait_for_room_ends() {
    let (stop, full) = (CancelFd::new().unwrap(), EventFd::counter(0).unwrap());
    assert!(full.try_add(MOST).unwrap());
    let add = |deadline| full.add(1, deadline).map(|added| added.then_some(()));
    soon(|| {
        thread::scope(|scope| {
            let wait = scope.spawn(|| Until::from(&stop).when_writable(&full, add));
            stop.cancel().unwrap();
            assert_eq!(wait.join().unwrap(), Ok(None));
        });
    });
    assert!(full.try_take().unwrap().is_some());
    assert_eq!(Until::from(&stop).when_writable(&full, add), Ok(Some(())));
}
