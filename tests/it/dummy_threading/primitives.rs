//! Primitives that cannot wait, and return an error instead.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ossature::dummy_threading::{
    Backend, Barrier, BrokenBarrierError, Condition, Event, HandoffLock, Inline, Lock, Native, RLock, Semaphore, Thread,
};
use ossature::sys::scope::Refused;
use ossature::sys::sync::barrier::WaitError;
use ossature::sys::sync::condition::Wait;
use ossature::sys::sync::semaphore::Overflow;

use super::{LONG, world};

#[test]
fn a_taken_lock_is_refused_instead_of_waited_for() {
    world(|| {
        let lock = Lock::local(1);
        let held = lock.lock().unwrap();
        assert!(matches!(lock.lock(), Err(Refused::WouldDeadlock)));
        assert!(matches!(lock.try_lock(), Ok(None)));
        assert!(matches!(lock.lock_timeout(LONG), Ok(None)));
        drop(held);
        assert_eq!(*lock.lock().unwrap(), 1);
        let bare = HandoffLock::local();
        assert!(bare.release().is_err(), "nobody holds it");
    });
}

#[test]
fn a_reentrant_lock_is_taken_again() {
    let lock = RLock::local(());
    let levels = [lock.lock().unwrap(), lock.lock().unwrap(), lock.try_lock().unwrap().unwrap()];
    assert_eq!(lock.depth(), 3);
    drop(levels);
    assert!(!lock.is_locked());
}

#[test]
fn nobody_can_notify_who_waits() {
    world(|| {
        let (lock, condition) = (Lock::local(0), Condition::local());
        let refused = condition.wait(lock.lock().unwrap());
        assert!(matches!(refused, Err(Refused::WouldDeadlock)));
        assert!(!lock.is_locked(), "let go");
        let (guard, notified) = condition.wait_timeout(lock.lock().unwrap(), LONG).unwrap();
        assert!(!notified && lock.is_locked());
        let (guard, ended) = condition.wait_for(guard, |number| **number == 0, None).unwrap();
        assert_eq!(ended, Wait::Ready, "what holds already is not waited for");
        let (_guard, ended) = condition.wait_for(guard, |number| **number == 1, LONG).unwrap();
        assert_eq!(ended, Wait::TimedOut);
        assert_eq!((condition.notify(1), condition.notify_all()), (0, 0));
    });
}

#[test]
fn an_empty_semaphore_is_refused_and_a_bounded_one_keeps_its_bound() {
    world(|| {
        let seats = Semaphore::local_bounded(1);
        seats.acquire().unwrap();
        assert_eq!(seats.try_acquire(), Ok(false));
        assert_eq!(seats.acquire(), Err(Refused::WouldDeadlock));
        assert_eq!(seats.acquire_timeout(LONG), Ok(false));
        seats.release(1).unwrap();
        assert_eq!(seats.release(1), Err(Overflow));
        let seats = Semaphore::local(0);
        seats.release(2).unwrap();
        assert_eq!(seats.value(), 2);
    });
}

#[test]
fn an_event_that_is_down_is_refused_and_one_that_is_up_is_passed() {
    world(|| {
        let event = Event::local();
        assert_eq!(event.wait(), Err(Refused::WouldDeadlock));
        assert_eq!(event.wait_timeout(LONG), Ok(false));
        let event = Rc::new(event);
        let set = event.clone();
        Thread::spawn(move || set.set()).unwrap();
        assert_eq!((event.wait(), event.wait_timeout(Duration::ZERO)), (Ok(()), Ok(true)));
        event.clear();
        assert!(!event.is_set());
    });
}

#[test]
fn a_barrier_of_one_is_passed_and_any_other_is_refused() {
    world(|| {
        let ran = Cell::new(false);
        assert_eq!(Barrier::local(1).wait_with(|| ran.set(true)), Ok(0));
        assert!(ran.get());
        let fails = Barrier::local(1);
        assert_eq!(fails.wait_with(|| Err::<(), _>(5)), Err(WaitError::Action(5)));
        assert_eq!(fails.wait(), Err(BrokenBarrierError::Failed));
        let barrier = Barrier::local(2);
        assert_eq!(barrier.wait(), Err(BrokenBarrierError::WouldDeadlock));
        assert_eq!((barrier.parties(), barrier.waiting()), (2, 0));
        barrier.abort();
        assert!(barrier.is_broken());
        assert_eq!(barrier.wait(), Err(BrokenBarrierError::Aborted));
        barrier.reset().unwrap();
        assert!(!barrier.is_broken());
    });
}

/// A program that waits for an action of a later thread.
fn backwards<B: Backend>() -> Result<(), Refused> {
    let (event, turn) = (B::event(), B::handoff_lock());
    B::settle(turn.acquire())?;
    turn.release().expect("taken");
    let (seats, more) = (B::bounded_semaphore(1), B::semaphore(1));
    B::settle(seats.acquire())?;
    B::settle(more.acquire())?;
    assert_eq!(B::barrier(1).wait(), Ok(0));
    let (lock, again) = (B::lock(1), B::rlock(2));
    assert_eq!(*B::settle(lock.lock())? + *B::settle(again.lock())?, 3);
    let (_guard, notified) = B::settle(B::condition().wait_timeout(B::settle(lock.lock())?, Duration::ZERO))?;
    assert!(!notified);
    if B::settle(event.wait_timeout(Duration::ZERO))? {
        Ok(())
    } else {
        B::settle(seats.acquire_timeout(Duration::ZERO)).map(drop)
    }
}

#[test]
fn code_over_a_backend_runs_in_both_worlds() {
    world(|| {
        assert_eq!(backwards::<Native>(), Ok(()));
        assert_eq!(backwards::<Inline>(), Ok(()));
    });
}

#[test]
fn a_thread_that_waits_for_a_later_one_hears_that_it_would_be_for_ever() {
    world(|| {
        let full = Rc::new(Event::local());
        let filled = full.clone();
        let consumer = Thread::spawn(move || filled.wait()).unwrap();
        let producer = Thread::spawn(move || full.set()).unwrap();
        producer.result().unwrap();
        assert_eq!(consumer.result().unwrap(), Err(Refused::WouldDeadlock));
    });
}
