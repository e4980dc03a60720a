//! Futex waits with failing system calls: interrupted, refused, and without the newest call.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::futex::{Reach, Wait, Waiter, wait, wait_any, wake};
use ossature_sys::scope::Shared;
use ossature_sys::shm::Shm;
use ossature_sys::sync::rwlock::RwLock;

use crate::support::soon;
use crate::sweep::alone;

#[test]
fn an_interrupted_wait_goes_on_to_its_deadline() {
    let _alone = alone();
    let word = AtomicU32::new(0);
    let span = Duration::from_millis(15);
    for (call, words) in [("futex", 1), ("futex_waitv", 2)] {
        let rule = Rule::on(call, Fault::Fail(Errno::INTR)).times(3).arm().unwrap();
        let start = Instant::now();
        let ended = soon(|| match words {
            1 => wait(&word, 0, Reach::Shared, span),
            _ => wait_any(&[Waiter::new(&word, 0, Reach::Shared); 2], span),
        });
        assert_eq!(ended, Ok(Wait::TimedOut));
        assert!(start.elapsed() >= span);
        assert_eq!(rule.hits(), 3);
    }
}

/// A time long enough for a thread to fall asleep.
const SHORT: Duration = Duration::from_millis(1);

/// A signal cuts the wait short, or the kernel refuses to sleep for a while.
#[test]
fn a_writer_whose_wait_is_cut_short_waits_on_for_the_reader() {
    let _alone = alone();
    let (private, shared) = (&RwLock::new(0), &Shm::place(RwLock::<u32, Shared>::shared(0)).unwrap());
    let span = Duration::from_millis(15);
    for errno in [Errno::INTR, Errno::NOMEM] {
        let read = (private.read(), shared.read().unwrap());
        soon(|| {
            thread::scope(|scope| {
                for is_shared in [false, true] {
                    let writer = scope.spawn(move || {
                        assert!(private.write_timeout(SHORT).is_none()); // by futex_waitv, if there is such a call
                        let rules = ["futex", "futex_waitv"].map(|name| Rule::on(name, Fault::Fail(errno)).times(3));
                        let rules = rules.map(|rule| rule.arm().unwrap());
                        let start = Instant::now();
                        let taken = match is_shared {
                            false => private.write_timeout(span).is_some(),
                            true => shared.write_timeout(span).unwrap().is_some(),
                        };
                        (taken, start.elapsed() >= span, rules.iter().map(|rule| rule.hits()).sum::<u64>())
                    });
                    assert_eq!(writer.join().unwrap(), (false, true, 3));
                }
            });
        });
        drop(read);
        drop((private.try_write().unwrap(), shared.try_write().unwrap().unwrap()));
    }
}

#[test]
fn refusals_come_back_as_they_are() {
    let _alone = alone();
    let word = AtomicU32::new(0);
    for errno in [Errno::NOMEM, Errno::PERM, Errno::FAULT] {
        let rule = Rule::on("futex", Fault::Fail(errno)).arm().unwrap();
        assert_eq!(wait(&word, 0, Reach::Private, Deadline::NOW), Err(errno));
        assert_eq!(wake(&word, 1, Reach::Private), Err(errno));
        assert_eq!(rule.hits(), 2);
    }
}

#[test]
fn without_futex_waitv_any_of_the_words_still_ends_the_wait() {
    let _alone = alone();
    let words = [const { AtomicU32::new(0) }; 3];
    for changed in 0..3 {
        soon(|| {
            thread::scope(|scope| {
                let sleeper = scope.spawn(|| {
                    let missing = Rule::on("futex_waitv", Fault::Fail(Errno::NOSYS)).arm().unwrap();
                    let waiters = [0, 1, 2].map(|index| Waiter::new(&words[index], 0, Reach::Private));
                    let ended = wait_any(&waiters, Deadline::NEVER).unwrap();
                    (ended, missing.hits())
                });
                words[changed].store(1, SeqCst);
                while !sleeper.is_finished() {
                    wake(&words[changed], 1, Reach::Private).unwrap();
                    thread::yield_now();
                }
                let (ended, hits) = sleeper.join().unwrap();
                assert!(ended == Wait::Changed || (changed == 0 && ended == Wait::Woken), "{ended:?}");
                assert_eq!(hits, 1);
            });
        });
        words[changed].store(0, SeqCst);
    }
}

#[test]
fn without_futex_waitv_the_deadline_holds() {
    let _alone = alone();
    let word = AtomicU32::new(0);
    let _missing = Rule::on("futex_waitv", Fault::Fail(Errno::NOSYS)).arm().unwrap();
    let waiters = [Waiter::new(&word, 0, Reach::Shared); 2];
    let span = Duration::from_millis(35);
    let start = Instant::now();
    assert_eq!(soon(|| wait_any(&waiters, span)), Ok(Wait::TimedOut));
    assert!(start.elapsed() >= span);
    assert_eq!(wait_any(&waiters, Deadline::NOW), Ok(Wait::TimedOut));
}
