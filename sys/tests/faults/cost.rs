//! A primitive without sleepers costs no system call.

use std::sync::atomic::AtomicU32;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::futex::{Reach, Wait, wait};
use ossature_sys::scope::Shared;
use ossature_sys::shm::Shm;
use ossature_sys::sync::event::Event;
use ossature_sys::sync::handoff::HandoffLock;
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rwlock::RwLock;
use ossature_sys::sync::semaphore::Semaphore;

use rustix::thread::ClockId;
use rustix::thread::futex::{WaitvFlags, waitv};

use crate::support::{soon, thread_id, until_asleep};
use crate::sweep::alone;

/// A time long enough for a thread to fall asleep.
const A_BIT: Duration = Duration::from_millis(30);

/// The number of futex(2) calls of this thread in a second run of `turn`. The first run may still find traces of
/// earlier sleepers.
fn calls(turn: impl Fn()) -> u64 {
    turn();
    let count = Rule::on("futex", Fault::Count).arm().unwrap();
    turn();
    count.seen()
}

/// Runs `wait` in another thread, where it gives up.
fn gives_up(wait: impl Fn() -> bool + Sync) {
    soon(|| thread::scope(|scope| assert!(!scope.spawn(&wait).join().unwrap(), "it gave up")));
}

#[test]
fn a_lock_that_nobody_waits_for_any_more_calls_nothing() {
    let _alone = alone();
    let (private, shared) = (Lock::new(0), Shm::place(Lock::<u32, Shared>::shared(0)).unwrap());
    let held = (private.lock(), shared.lock().unwrap());
    gives_up(|| private.lock_timeout(A_BIT).is_some());
    gives_up(|| shared.lock_timeout(A_BIT).unwrap().is_some());
    drop(held);
    assert_eq!(calls(|| drop(private.lock())), 0);
    assert_eq!(calls(|| drop(shared.lock().unwrap())), 0);
}

/// The timer of futex(2) expires late, by the thread's timer slack. The timer of futex_waitv has no slack.
#[test]
fn a_private_wait_with_a_deadline_sleeps_by_the_call_whose_timer_has_no_slack() {
    let _alone = alone();
    let word = AtomicU32::new(1);
    let missing = waitv(&[], WaitvFlags::empty(), None, ClockId::Monotonic) != Err(Errno::INVAL);
    let (lock, event) = (Lock::new(0), Event::new());
    let held = lock.lock();
    soon(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(lock.lock_timeout(A_BIT).is_none()); // the first wait asks whether there is such a call
                let several = Rule::on("futex_waitv", Fault::Count).arm().unwrap();
                let single = Rule::on("futex", Fault::Count).arm().unwrap();
                assert!(lock.lock_timeout(A_BIT).is_none() && !event.wait_timeout(A_BIT));
                let calls = if missing { single.seen() } else { several.seen() };
                assert!(calls >= 2 && several.seen() * single.seen() == 0, "{} {}", several.seen(), single.seen());
                // The thin call is the system call that its documentation names.
                assert_eq!(wait(&word, 1, Reach::Private, A_BIT), Ok(Wait::TimedOut));
                assert!(single.seen() > 0);
            });
        });
    });
    drop(held);
}

#[test]
fn a_reader_writer_lock_that_nobody_waits_for_any_more_calls_nothing() {
    let _alone = alone();
    let (private, shared) = (RwLock::new(0), Shm::place(RwLock::<u32, Shared>::shared(0)).unwrap());
    let read = (private.read(), shared.read().unwrap());
    gives_up(|| private.write_timeout(A_BIT).is_some());
    gives_up(|| shared.write_timeout(A_BIT).unwrap().is_some());
    drop(read);
    let written = (private.write(), shared.write().unwrap());
    gives_up(|| private.read_timeout(A_BIT).is_some());
    gives_up(|| shared.read_timeout(A_BIT).unwrap().is_some());
    drop(written);
    assert_eq!(calls(|| drop((private.read(), private.read()))), 0);
    assert_eq!(calls(|| drop(private.write())), 0);
    assert_eq!(calls(|| drop((shared.read().unwrap(), shared.read().unwrap()))), 0);
    assert_eq!(calls(|| drop(shared.write().unwrap())), 0);
}

#[test]
fn a_semaphore_that_nobody_waits_for_any_more_calls_nothing() {
    let _alone = alone();
    let (private, shared) = (Semaphore::new(0), Shm::place(Semaphore::shared(0)).unwrap());
    let (handoff, taken) = (HandoffLock::new(), Shm::place(HandoffLock::shared()).unwrap());
    handoff.acquire();
    taken.acquire().unwrap();
    gives_up(|| private.acquire_timeout(A_BIT));
    gives_up(|| shared.acquire_timeout(A_BIT).unwrap());
    gives_up(|| handoff.acquire_timeout(A_BIT));
    gives_up(|| taken.acquire_timeout(A_BIT).unwrap());
    private.release(1).unwrap();
    shared.release(1).unwrap();
    handoff.release().unwrap();
    taken.release().unwrap();
    let turn = || {
        private.acquire();
        private.release(1).unwrap();
        shared.acquire().unwrap();
        shared.release(1).unwrap();
        handoff.acquire();
        handoff.release().unwrap();
        taken.acquire().unwrap();
        taken.release().unwrap();
    };
    assert_eq!(calls(turn), 0);
}

#[test]
fn an_event_that_nobody_waits_for_any_more_calls_nothing() {
    let _alone = alone();
    let (private, shared) = (Event::new(), Shm::place(Event::shared()).unwrap());
    let sleeper = |wait: &(dyn Fn() + Sync)| {
        soon(|| {
            thread::scope(|scope| {
                for _ in 0..2 {
                    let (tell, told) = channel();
                    scope.spawn(move || {
                        tell.send(thread_id()).unwrap();
                        wait();
                    });
                    until_asleep(told.recv().unwrap());
                }
                private.set();
                shared.set();
            });
        });
        private.clear();
        shared.clear();
    };
    sleeper(&|| private.wait());
    sleeper(&|| shared.wait().unwrap());
    let turn = || {
        private.set();
        private.clear();
        shared.set();
        shared.clear();
    };
    assert_eq!(calls(turn), 0);
}
