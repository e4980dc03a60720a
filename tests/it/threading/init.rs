//! One-time initialisation, which returns an error where a plain lock would hang.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};

use ossature::threading::Thread;
use ossature::threading::init::{InitLock, Once};
use ossature::{ErrorKind, Result};

use crate::support::{soon, thread_id, until_asleep};

#[test]
fn of_many_askers_one_makes_the_value() {
    soon(|| {
        let (made, once) = (AtomicU32::new(0), Once::new());
        std::thread::scope(|scope| {
            let askers = [(); 8].map(|()| scope.spawn(|| *once.get_or_init(|| made.fetch_add(1, SeqCst)).unwrap()));
            assert!(askers.into_iter().all(|asker| asker.join().unwrap() == 0));
        });
        assert_eq!((made.load(SeqCst), once.get()), (1, Some(&0)));
    });
}

#[test]
fn who_comes_meanwhile_waits_for_the_value() {
    soon(|| {
        let once = Arc::new(Once::new());
        let (asked, (give, asker)) = (once.clone(), channel());
        let made = once.get_or_init(move || {
            let (tell, hear) = channel();
            let asker = Thread::spawn(move || {
                tell.send(thread_id()).unwrap();
                asked.get_or_init(|| panic!("a second time")).copied()
            });
            until_asleep(hear.recv().unwrap());
            give.send(asker.unwrap()).unwrap();
            1
        });
        assert_eq!(*made.unwrap(), 1);
        assert_eq!(asker.recv().unwrap().result().unwrap().unwrap(), 1);
    });
}

#[test]
fn asking_for_what_one_is_making_is_an_error() {
    let once: Once<u32> = Once::new();
    let made = once.get_or_try_init(|| once.get_or_init(|| 1).copied());
    assert_eq!(made.unwrap_err().kind(), ErrorKind::WouldDeadlock);
    assert_eq!(*once.get_or_init(|| 2).unwrap(), 2, "and nothing stays locked");
}

// rule 1 of the import lock; test_import_from_another_thread
#[test]
fn two_threads_that_make_each_others_value_do_not_hang() {
    soon(|| {
        for _ in 0..50 {
            let (one, two, both) = (Once::new(), Once::new(), Barrier::new(2));
            let make = |mine: &Once<u32>, other: &Once<u32>| -> Result<u32> {
                mine.get_or_try_init(|| {
                    both.wait();
                    other.get_or_init(|| 7).copied()
                })
                .copied()
            };
            let [first, second] = std::thread::scope(|scope| {
                [scope.spawn(|| make(&one, &two)), scope.spawn(|| make(&two, &one))].map(|made| made.join().unwrap())
            });
            // The one that closed the circle is told; the other then makes both.
            let kinds = [&first, &second].map(|made| made.as_ref().map_err(|error| error.kind()).copied());
            assert!(
                kinds == [Err(ErrorKind::WouldDeadlock), Ok(7)] || kinds == [Ok(7), Err(ErrorKind::WouldDeadlock)],
                "{kinds:?}"
            );
        }
    });
}

#[test]
fn a_circle_of_three_is_found() {
    soon(|| {
        let (locks, all) = ([const { InitLock::new() }; 3], Barrier::new(3));
        let turn = |n: usize| {
            let _mine = locks[n].acquire()?;
            all.wait();
            locks[(n + 1) % 3].acquire().map(drop)
        };
        let ended = std::thread::scope(|scope| {
            let turns = [0, 1, 2].map(|n| scope.spawn(move || turn(n)));
            turns.map(|turn| turn.join().unwrap())
        });
        let wrong: Vec<_> = ended.iter().filter_map(|end| end.as_ref().err().map(|error| error.kind())).collect();
        assert_eq!(wrong, [ErrorKind::WouldDeadlock], "exactly one has to give way");
        assert!(locks.iter().all(|lock| !lock.is_held()));
    });
}

// rule 1: an import that starts a thread and waits for it, while that thread imports
#[test]
fn a_thread_that_is_joined_while_it_needs_the_value_does_not_hang() {
    soon(|| {
        let once: Arc<Once<u32>> = Arc::new(Once::new());
        let asked = once.clone();
        let made = once.get_or_try_init(move || {
            let inner = Thread::spawn(move || asked.get_or_init(|| 1).copied())?;
            // Whoever comes second closes the circle: the thread in its asking, or this one in its waiting.
            match inner.join() {
                Ok(()) => inner.result().unwrap(),
                Err(error) => Err(error),
            }
        });
        assert_eq!(made.unwrap_err().kind(), ErrorKind::WouldDeadlock);
    });
}

#[test]
fn joining_a_thread_that_waits_for_what_is_held_is_an_error() {
    soon(|| {
        static LOCK: InitLock = InitLock::new();
        let held = LOCK.acquire().unwrap();
        let (tell, hear) = channel();
        let thread = Thread::spawn(move || {
            tell.send(thread_id()).unwrap();
            LOCK.acquire().map(drop)
        });
        let thread = thread.unwrap();
        until_asleep(hear.recv().unwrap());
        assert_eq!(thread.join().unwrap_err().kind(), ErrorKind::WouldDeadlock);
        drop(held);
        thread.result().unwrap().unwrap();
    });
}

#[test]
fn a_maker_that_panics_or_fails_leaves_it_to_the_next() {
    let once: Once<u32> = Once::new();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        once.get_or_init(|| std::panic::resume_unwind(Box::new(())))
    }));
    assert!(panicked.is_err());
    let failed: std::result::Result<&u32, Box<dyn std::error::Error>> = once.get_or_try_init(|| Err("no".into()));
    assert_eq!(failed.unwrap_err().to_string(), "no");
    assert_eq!(*once.get_or_init(|| 3).unwrap(), 3);
}
