//! Futex waits: what wakes them, what does not, and the effect of the deadline.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::futex::{Reach, WAIT_ANY_MAX, Wait, Waiter, wait, wait_any, wake};

use crate::support::soon;

const BOTH: [Reach; 2] = [Reach::Private, Reach::Shared];

#[test]
fn changed_word_is_not_slept_on() {
    let word = AtomicU32::new(7);
    for reach in BOTH {
        assert_eq!(soon(|| wait(&word, 8, reach, Deadline::NEVER)), Ok(Wait::Changed));
    }
}

#[test]
fn wait_ends_at_its_deadline_and_not_before() {
    let word = AtomicU32::new(0);
    for reach in BOTH {
        let start = Instant::now();
        let span = Duration::from_millis(15);
        assert_eq!(soon(|| wait(&word, 0, reach, span)), Ok(Wait::TimedOut));
        assert!(start.elapsed() >= span);
        assert_eq!(soon(|| wait(&word, 0, reach, Deadline::NOW)), Ok(Wait::TimedOut));
    }
}

#[test]
fn wake_says_how_many_slept() {
    let word = AtomicU32::new(0);
    assert_eq!(wake(&word, 5, Reach::Private), Ok(0));
    assert_eq!(wake(&word, 0, Reach::Private), Ok(0));
    soon(|| {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| assert_eq!(wait(&word, 0, Reach::Private, Deadline::NEVER), Ok(Wait::Woken)));
            }
            let mut woken = 0;
            while woken < 3 {
                woken += wake(&word, u32::MAX, Reach::Private).unwrap();
                thread::yield_now();
            }
            assert_eq!(woken, 3);
        });
    });
}

#[test]
fn private_and_shared_sleepers_do_not_meet() {
    let word = AtomicU32::new(0);
    soon(|| {
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| wait(&word, 0, Reach::Shared, Duration::from_millis(200)));
            while !sleeper.is_finished() {
                assert_eq!(wake(&word, 1, Reach::Private), Ok(0));
                thread::yield_now();
            }
            assert_eq!(sleeper.join().unwrap(), Ok(Wait::TimedOut));
        });
    });
}

#[test]
fn wait_any_ends_with_any_of_its_words() {
    let words = [const { AtomicU32::new(0) }; 3];
    soon(|| {
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                let waiters = [0, 1, 2].map(|i| Waiter::new(&words[i], 0, Reach::Shared));
                wait_any(&waiters, Deadline::NEVER)
            });
            // Where `futex_waitv` is missing a change of the second word is felt, a mere wake is not.
            words[2].store(1, SeqCst);
            while !sleeper.is_finished() {
                wake(&words[2], 1, Reach::Shared).unwrap();
                thread::yield_now();
            }
            assert!(matches!(sleeper.join().unwrap(), Ok(Wait::Woken | Wait::Changed)));
        });
    });
    words[2].store(0, SeqCst);
    words[1].store(1, SeqCst);
    let waiters = [0, 1, 2].map(|i| Waiter::new(&words[i], 0, Reach::Shared));
    assert_eq!(soon(|| wait_any(&waiters, Deadline::NEVER)), Ok(Wait::Changed));
    assert_eq!(soon(|| wait_any(&waiters[..1], Duration::from_millis(5))), Ok(Wait::TimedOut));
}

#[test]
fn wait_any_refuses_no_words_and_too_many() {
    let word = AtomicU32::new(0);
    assert_eq!(wait_any(&[], Deadline::NOW), Err(Errno::INVAL));
    let many = [Waiter::new(&word, 0, Reach::Private); WAIT_ANY_MAX + 1];
    assert_eq!(wait_any(&many, Deadline::NOW), Err(Errno::INVAL));
    assert_eq!(wait_any(&many[1..], Deadline::NOW), Ok(Wait::TimedOut));
}
