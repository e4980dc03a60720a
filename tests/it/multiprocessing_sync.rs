//! The waiting primitives of `multiprocessing` within one process. `tests/shared_sync.rs` tests them between several.

use std::error::Error as _;
use std::thread;
use std::time::Duration;

use ossature::multiprocessing::sharedctypes::synchronized_with;
use ossature::multiprocessing::sync::SEM_VALUE_MAX;
use ossature::multiprocessing::{
    Barrier, BoundedSemaphore, Condition, Event, HandoffLock, Lock, RLock, RawValue, RwLock, Semaphore,
};
use ossature::sys::errno::Errno;
use ossature::sys::futex::Cancel;
use ossature::sys::scope::{LockBackend, NotOwner, Refused, Shared};
use ossature::sys::sync::barrier::Broken;
use ossature::sys::sync::semaphore::Overflow;
use ossature::{ErrorKind, Result};

const A_BIT: Duration = Duration::from_millis(5);

fn elsewhere<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(body).join().unwrap())
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// The common behaviour of `Lock`, `RLock` and `Condition`.
macro_rules! behaviour_of_what_one_holds {
    ($name:ident, $Face:ident) => {
        mod $name {
            use super::*;

            // _TestLock.test_lock, test_rlock
            #[test]
            fn release_without_acquire_is_an_error() {
                let lock = $Face::new().unwrap();
                assert_eq!(kind(lock.release()), Some(ErrorKind::NotOwner));
                lock.acquire().unwrap();
                assert!(lock.locked() && lock.is_mine());
                lock.release().unwrap();
                assert!(!lock.locked() && !lock.is_mine());
                let error = lock.release().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotOwner);
                assert!(error.to_string().contains("no thread holds"), "{error}");
                let why = std::error::Error::source(&error).and_then(|why| why.downcast_ref::<NotOwner>());
                assert_eq!(why, Some(&NotOwner::Free));
            }

            #[test]
            fn another_thread_neither_gets_nor_releases_it() {
                let lock = $Face::new().unwrap();
                lock.acquire().unwrap();
                elsewhere(|| {
                    assert!(!lock.try_acquire().unwrap());
                    assert!(!lock.acquire_timeout(A_BIT).unwrap());
                    assert!(lock.try_lock().unwrap().is_none());
                    assert!(lock.lock_timeout(A_BIT).unwrap().is_none());
                    let error = lock.release().unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::NotOwner);
                    assert!(error.to_string().contains("HandoffLock"), "{error}");
                    let why = std::error::Error::source(&error).and_then(|why| why.downcast_ref::<NotOwner>());
                    assert_eq!(why, Some(&NotOwner::HeldByAnother));
                });
                lock.release().unwrap();
                elsewhere(|| {
                    assert!(lock.try_acquire().unwrap());
                    lock.release().unwrap();
                });
            }

            #[test]
            fn cancelled_wait_ends_without_it() {
                let (lock, stop) = ($Face::new().unwrap(), Cancel::new());
                stop.cancel();
                lock.acquire().unwrap();
                assert!(!elsewhere(|| lock.acquire_timeout(&stop)).unwrap());
                lock.release().unwrap();
            }

            // _TestLock.test_lock_context
            #[test]
            fn with_releases_also_when_the_body_panics() {
                let lock = $Face::new().unwrap();
                assert_eq!(lock.with(|| lock.is_mine()).unwrap(), true);
                let body = || lock.with(|| panic!("on purpose")).unwrap();
                assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_err());
                assert!(!lock.locked());
            }

            #[test]
            fn guard_that_outlives_a_release_releases_nobody_elses() {
                let lock = $Face::new().unwrap();
                let guard = lock.lock().unwrap();
                lock.release().unwrap();
                thread::scope(|scope| {
                    let (taken, told) = std::sync::mpsc::channel();
                    let (go, wait) = std::sync::mpsc::channel();
                    let lock = &lock;
                    scope.spawn(move || {
                        lock.acquire().unwrap();
                        taken.send(()).unwrap();
                        wait.recv().unwrap();
                        lock.release().unwrap();
                    });
                    told.recv().unwrap();
                    drop(guard);
                    assert!(lock.locked(), "it is the other thread's");
                    go.send(()).unwrap();
                });
                assert!(!lock.locked());
            }

            #[test]
            fn abandoned_one_is_refused_until_it_is_repaired() {
                let lock = $Face::new().unwrap();
                lock.lock().unwrap().abandon();
                assert_eq!(kind(lock.acquire()), Some(ErrorKind::Abandoned));
                assert_eq!(kind(lock.with(|| ())), Some(ErrorKind::Abandoned));
                assert!(!lock.locked(), "refused is not taken");
                let guard = lock.lock().unwrap();
                assert!(guard.abandoned());
                #[allow(unused_mut, reason = "one kind repairs through `&mut`")]
                let mut guard = guard;
                guard.mark_consistent();
                drop(guard);
                lock.with(|| ()).unwrap();
            }

            #[test]
            fn one_that_was_given_up_is_refused_for_good() {
                let lock = $Face::new().unwrap();
                lock.lock().unwrap().mark_unrecoverable();
                assert_eq!(kind(lock.acquire()), Some(ErrorKind::Unrecoverable));
                assert_eq!(kind(lock.try_lock()), Some(ErrorKind::Unrecoverable));
            }

            #[test]
            fn second_mapping_is_the_same_lock() {
                let lock = $Face::new().unwrap();
                let again = lock.try_clone().unwrap();
                lock.acquire().unwrap();
                assert!(again.locked() && again.is_mine());
                assert!(!elsewhere(|| again.try_acquire()).unwrap());
                lock.release().unwrap();
                again.with(|| assert!(lock.locked())).unwrap();
            }

            #[test]
            fn guards_a_raw_value() {
                let lock = $Face::new().unwrap();
                let value = synchronized_with(RawValue::new(5).unwrap(), lock);
                value.with(|value| *value += 1).unwrap();
                assert_eq!(value.get().unwrap(), 6);
            }
        }
    };
}

behaviour_of_what_one_holds!(lock, Lock);
behaviour_of_what_one_holds!(rlock, RLock);
behaviour_of_what_one_holds!(condition, Condition);

#[test]
fn taking_a_lock_twice_is_an_error_instead_of_a_hang() {
    let lock = Lock::new().unwrap();
    lock.acquire().unwrap();
    assert_eq!(kind(lock.acquire()), Some(ErrorKind::WouldDeadlock));
    assert_eq!(kind(lock.with(|| ())), Some(ErrorKind::WouldDeadlock));
    assert_eq!(kind(lock.acquire_timeout(None)), Some(ErrorKind::WouldDeadlock));
    lock.release().unwrap();
}

// LockTests.test_acquire_timeout
#[test]
fn holder_that_asks_again_is_told_no_after_its_time() {
    let lock = Lock::new().unwrap();
    lock.acquire().unwrap();
    assert!(!lock.try_acquire().unwrap() && lock.try_lock().unwrap().is_none());
    let began = std::time::Instant::now();
    assert!(!lock.acquire_timeout(A_BIT).unwrap());
    assert!(began.elapsed() >= A_BIT);
    assert!(lock.is_mine());
    lock.release().unwrap();
    assert!(lock.try_acquire().unwrap());
    lock.release().unwrap();
}

// _TestLock.test_rlock
#[test]
fn rlock_is_free_after_as_many_releases_as_acquires() {
    let lock = RLock::new().unwrap();
    for depth in 1..=3 {
        assert!(lock.try_acquire().unwrap());
        assert_eq!(lock.depth(), depth);
    }
    for _ in 0..3 {
        assert!(!elsewhere(|| lock.try_acquire()).unwrap());
        lock.release().unwrap();
    }
    assert!(elsewhere(|| lock.try_acquire().unwrap() && lock.release().is_ok()));
    assert_eq!(kind(lock.release()), Some(ErrorKind::NotOwner));
}

#[test]
fn handoff_lock_is_released_by_anyone() {
    let lock = HandoffLock::new().unwrap();
    lock.acquire().unwrap();
    assert!(lock.locked() && !lock.try_acquire().unwrap() && !lock.acquire_timeout(A_BIT).unwrap());
    elsewhere(|| lock.release()).unwrap();
    let error = lock.release().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    lock.try_clone().unwrap().with(|| assert!(lock.locked())).unwrap();
    assert!(!lock.locked());
}

// _TestSemaphore.test_semaphore
#[test]
fn semaphore_counts_down_and_up_and_beyond() {
    let seats = Semaphore::new(2).unwrap();
    let values = [0, 1].map(|_| {
        seats.acquire().unwrap();
        seats.get_value()
    });
    assert_eq!(values, [1, 0]);
    assert!(seats.locked() && !seats.try_acquire().unwrap() && !seats.acquire_timeout(A_BIT).unwrap());
    elsewhere(|| seats.release()).unwrap();
    seats.release_many(3).unwrap();
    assert_eq!(seats.get_value(), 4, "more than it began with");
}

// _TestSemaphore.test_bounded_semaphore
#[test]
fn bounded_semaphore_refuses_what_it_never_had() {
    let seats = BoundedSemaphore::new(2).unwrap();
    assert_eq!(kind(seats.release()), Some(ErrorKind::InvalidInput));
    seats.acquire().unwrap();
    let error = seats.try_clone().unwrap().release_many(2).unwrap_err();
    assert!(error.source().is_some_and(|source| source.is::<Overflow>()), "{error}");
    assert_eq!(seats.get_value(), 1, "all or none");
    seats.release().unwrap();
}

#[test]
fn permit_gives_its_unit_back() {
    let seats = BoundedSemaphore::new(1).unwrap();
    let seat = seats.permit().unwrap();
    assert!(seats.try_permit().unwrap().is_none() && seats.permit_timeout(A_BIT).unwrap().is_none());
    drop(seat);
    seats.with(|| assert!(seats.locked())).unwrap();
    seats.permit().unwrap().forget();
    assert!(seats.locked());
    seats.release().unwrap();
}

#[test]
fn semaphore_has_no_more_units_than_posix_allows() {
    let full = Semaphore::new(SEM_VALUE_MAX).unwrap();
    assert_eq!(kind(full.release()), Some(ErrorKind::InvalidInput));
    assert_eq!(full.get_value(), SEM_VALUE_MAX);
    full.acquire().unwrap();
    full.release().unwrap();
    for error in [Semaphore::new(SEM_VALUE_MAX + 1).err(), BoundedSemaphore::new(u32::MAX).map(drop).err()] {
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("2147483647"), "{error}");
    }
}

// _TestCondition.test_notify, test_timeout
#[test]
fn wait_and_notify_need_the_lock() {
    let changed = Condition::new().unwrap();
    assert_eq!(kind(changed.wait()), Some(ErrorKind::NotOwner));
    assert_eq!(kind(changed.wait_timeout(A_BIT)), Some(ErrorKind::NotOwner));
    assert_eq!(kind(changed.wait_for(|| true, A_BIT)), Some(ErrorKind::NotOwner));
    assert_eq!(kind(changed.notify(1)), Some(ErrorKind::NotOwner));
    assert!(changed.notify_all().unwrap_err().to_string().contains("neither release it nor wait or notify with it"));
    changed.acquire().unwrap();
    assert_eq!((changed.notify(1).unwrap(), changed.notify_all().unwrap()), (0, 0));
    assert!(!changed.wait_timeout(A_BIT).unwrap());
    changed.release().unwrap();
}

#[test]
fn wait_lets_every_level_go_and_takes_them_again() {
    let changed = Condition::new().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            changed.acquire().unwrap();
            let guard = changed.lock().unwrap();
            changed.wait().unwrap();
            changed.release().unwrap();
            assert!(changed.is_mine(), "the other level");
            drop(guard);
            assert!(!changed.is_mine());
        });
        while changed.with(|| changed.notify(1)).unwrap().unwrap() == 0 {
            thread::yield_now();
        }
        waiter.join().unwrap();
    });
    assert!(!changed.locked());
}

// _TestCondition.test_waitfor, test_waitfor_timeout
#[test]
fn wait_for_answers_what_was_asked_last() {
    let (changed, value) = (Condition::new().unwrap(), RawValue::new(0).unwrap());
    changed.acquire().unwrap();
    assert!(!changed.wait_for(|| value.get() == 4, A_BIT).unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            while value.get() < 4 {
                changed.with(|| value.set(value.get() + 1)).unwrap();
                changed.with(|| changed.notify(1)).unwrap().unwrap();
            }
        });
        assert!(changed.wait_for(|| value.get() == 4, None).unwrap());
        changed.release().unwrap();
    });
}

#[test]
fn wait_for_does_not_ask_about_what_was_abandoned() {
    let changed = Condition::new().unwrap();
    changed.lock().unwrap().abandon();
    let guard = changed.lock().unwrap();
    assert_eq!(kind(changed.wait_for(|| panic!("asked"), None)), Some(ErrorKind::Abandoned));
    guard.mark_consistent();
    assert!(changed.wait_for(|| true, None).unwrap());
}

#[test]
fn condition_tells_how_deep_the_caller_holds_it() {
    let changed = Condition::new().unwrap();
    assert_eq!(changed.depth(), 0);
    changed.acquire().unwrap();
    let guard = changed.lock().unwrap();
    assert_eq!((changed.depth(), elsewhere(|| changed.depth())), (2, 0));
    assert!(!changed.wait_timeout(A_BIT).unwrap());
    assert_eq!(changed.depth(), 2, "taken again, as deep as before");
    drop(guard);
    changed.release().unwrap();
    assert_eq!(changed.depth(), 0);
}

/// The behaviour of Python's `Condition(lock)`.
macro_rules! condition_over {
    ($name:ident, $Face:ident) => {
        #[test]
        fn $name() {
            let lock = $Face::new().unwrap();
            let [changed, other] = [(); 2].map(|()| Condition::with_lock(lock.try_clone().unwrap()).unwrap());
            assert_eq!(kind(changed.wait()), Some(ErrorKind::NotOwner));
            assert_eq!(kind(changed.notify(1)), Some(ErrorKind::NotOwner));
            changed.acquire().unwrap();
            assert!(lock.locked() && other.locked());
            assert!(!changed.wait_timeout(A_BIT).unwrap());
            assert!(lock.locked(), "taken again");
            let value = RawValue::new(0).unwrap();
            thread::scope(|scope| {
                scope.spawn(|| {
                    let same = changed.try_clone().unwrap();
                    while value.get() < 4 {
                        lock.with(|| value.set(value.get() + 1)).unwrap();
                        let notify = || (other.notify_all().unwrap(), same.notify(1).unwrap());
                        assert_eq!(lock.with(notify).unwrap().0, 0, "nobody waits for the other");
                    }
                });
                assert!(changed.wait_for(|| value.get() == 4, None).unwrap());
            });
            lock.release().unwrap();
            assert!(!changed.locked());
            assert_eq!(kind(changed.wait_timeout(A_BIT)), Some(ErrorKind::NotOwner));
        }
    };
}

condition_over!(condition_over_a_lock_uses_that_lock, Lock);
condition_over!(condition_over_an_rlock_uses_that_lock, RLock);
condition_over!(condition_over_a_handoff_lock_uses_that_lock, HandoffLock);

#[test]
fn condition_over_an_rlock_releases_every_level() {
    let lock = RLock::new().unwrap();
    let changed = Condition::with_lock(lock.try_clone().unwrap()).unwrap();
    lock.acquire().unwrap();
    lock.acquire().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| while lock.with(|| changed.notify(1)).unwrap().unwrap() == 0 {});
        changed.wait().unwrap();
    });
    assert_eq!((lock.depth(), changed.depth()), (2, 2));
}

// _TestEvent.test_event
#[test]
fn event_is_up_until_it_is_cleared() {
    let event = Event::new().unwrap();
    assert!(!event.is_set() && !event.wait_timeout(Duration::ZERO).unwrap() && !event.wait_timeout(A_BIT).unwrap());
    event.set();
    event.wait().unwrap();
    assert!(event.is_set() && event.wait_timeout(Duration::ZERO).unwrap());
    event.clear();
    assert!(!event.is_set());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| event.wait());
        event.try_clone().unwrap().set();
        waiter.join().unwrap().unwrap();
    });
}

// _TestBarrier.test_barrier, test_action
#[test]
fn barrier_numbers_its_parties_and_runs_the_action_of_the_last() {
    let barrier = Barrier::new(3).unwrap();
    assert_eq!((barrier.parties(), barrier.n_waiting(), barrier.broken()), (3, 0, false));
    let runs = RawValue::new(0_u32).unwrap();
    let wait = || barrier.wait_with(|| runs.set(runs.get() + 1)).unwrap();
    let mut numbers = thread::scope(|scope| {
        let others = [scope.spawn(wait), scope.spawn(wait)];
        let mine = wait();
        others.map(|other| other.join().unwrap()).into_iter().chain([mine]).collect::<Vec<_>>()
    });
    numbers.sort_unstable();
    assert_eq!((numbers, runs.get()), (vec![0, 1, 2], 1));
}

// _TestBarrier.test_timeout, test_abort, test_reset
#[test]
fn broken_barrier_says_why_and_works_again_after_a_reset() {
    let barrier = Barrier::new(2).unwrap();
    let error = barrier.wait_timeout(A_BIT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&Broken::TimedOut));
    assert!(barrier.broken());
    barrier.reset().unwrap();
    assert!(!barrier.broken());
    barrier.abort();
    let error = barrier.wait_with_timeout(A_BIT, || panic!("not the last")).unwrap_err();
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&Broken::Aborted));
    assert!(barrier.reset_timeout(A_BIT).unwrap());
    drop(barrier.join_timeout(A_BIT).unwrap().unwrap());
    let party = barrier.join().unwrap();
    thread::scope(|scope| {
        let other = scope.spawn(|| barrier.wait().unwrap());
        assert_eq!(barrier.wait().unwrap() + other.join().unwrap(), 1);
    });
    drop(party);
}

#[test]
fn action_that_fails_breaks_the_barrier_with_its_error() {
    let barrier = Barrier::new(2).unwrap();
    let act = || std::fs::write("/nonexistent/step", "1");
    let both = thread::scope(|scope| {
        let other = scope.spawn(|| barrier.wait_with(act).unwrap_err());
        [barrier.wait_with(act).unwrap_err(), other.join().unwrap()]
    });
    assert_eq!([0, 1].map(|place| both[place].kind()), [ErrorKind::Broken; 2]);
    let io = |error: &ossature::Error| error.source().unwrap().downcast_ref().map(std::io::Error::kind);
    let failed = |error: &ossature::Error| error.source().unwrap().downcast_ref() == Some(&Broken::Failed);
    let (actor, other) = if io(&both[0]).is_some() { (&both[0], &both[1]) } else { (&both[1], &both[0]) };
    assert_eq!(io(actor), Some(std::io::ErrorKind::NotFound));
    assert!(failed(other) && other.to_string().contains("action"), "{other}");
    barrier.reset().unwrap();
    let again = thread::scope(|scope| {
        let other = scope.spawn(|| barrier.wait_with(|| Ok::<(), String>(())).unwrap());
        barrier.wait().unwrap() + other.join().unwrap()
    });
    assert_eq!(again, 1);
}

#[test]
fn barrier_of_nobody_or_of_too_many_is_refused() {
    assert_eq!(Barrier::new(1).unwrap().wait().unwrap(), 0);
    assert_eq!(Barrier::new(120).unwrap().parties(), 120);
    for parties in [0, 121, u32::MAX] {
        let error = Barrier::new(parties).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&parties.to_string()), "{error}");
    }
    assert_eq!(Barrier::<1_000>::with_capacity(1_000).unwrap().parties(), 1_000);
    let error = Barrier::<1_000>::with_capacity(1_001).unwrap_err();
    assert!(error.to_string().contains("1 to 1000 parties, not 1001"), "{error}");
    let error = Barrier::<65_536>::with_capacity(70_000).unwrap_err();
    assert!(error.to_string().ends_with("use at most 65,536"), "{error}");
    assert!(Barrier::new(300).unwrap_err().to_string().contains("`with_capacity`"));
    assert!(!Barrier::new(0).unwrap_err().to_string().contains("`with_capacity`"));
}

#[test]
fn object_that_is_full_names_itself_and_its_room() {
    let barrier = Barrier::<2>::with_capacity(2).unwrap();
    let _parties = [(); 2].map(|()| barrier.join().unwrap());
    let error = barrier.join().unwrap_err();
    assert_eq!(error.errno(), Some(Errno::AGAIN));
    assert!(error.to_string().contains("barrier of processes has no room for more than 2 participants"), "{error}");

    // Elsewhere readers exclude each other.
    if Shared::backend() == LockBackend::Node {
        let lock = RwLock::<_, 2>::with_capacity(5_u64).unwrap();
        let _one = lock.read().unwrap();
        let error = elsewhere(|| {
            let _two = lock.read().unwrap();
            elsewhere(|| lock.read().map(drop).unwrap_err())
        });
        assert_eq!(error.errno(), Some(Errno::AGAIN));
        assert!(error.to_string().contains("rwlock of processes has no room for more than 2 readers"), "{error}");
        assert!(error.to_string().contains("`RwLock::<_, 65536>::with_capacity(data)`"), "{error}");
        let own = lock.write().unwrap_err();
        assert_eq!(own.source().unwrap().downcast_ref(), Some(&Refused::WouldDeadlock));
        assert!(own.to_string().contains("already reads or writes with this rwlock"), "{own}");
    }

    let semaphore = Semaphore::new(121).unwrap();
    let _permits: Vec<_> = (0..120).map(|_| semaphore.permit().unwrap()).collect();
    let error = semaphore.permit().unwrap_err();
    assert_eq!(error.errno(), Some(Errno::AGAIN));
    assert!(error.to_string().contains("semaphore of processes has no room for more than 120 permits"), "{error}");
    assert!(error.to_string().contains("`Semaphore::<65536>::with_capacity(value)`"), "{error}");

    let changed = Condition::<_, 1>::with_capacity().unwrap();
    let waiting = RawValue::new(0_u32).unwrap();
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            changed.acquire().unwrap();
            waiting.set(1);
            changed.wait().unwrap();
            changed.release().unwrap();
        });
        let error = loop {
            changed.acquire().unwrap();
            // It lets the lock go when it is in the queue.
            let waited = (waiting.get() == 1).then(|| changed.wait());
            changed.release().unwrap();
            if let Some(waited) = waited {
                break waited.unwrap_err();
            }
        };
        changed.acquire().unwrap();
        assert_eq!(changed.notify_all().unwrap(), 1);
        changed.release().unwrap();
        error
    });
    assert_eq!(error.errno(), Some(Errno::AGAIN));
    assert!(error.to_string().contains("condition of processes has no room for more than 1 waiters"), "{error}");
    assert!(error.to_string().contains("`Condition::<_, 65536>::with_capacity()`"), "{error}");
}

#[test]
fn condition_has_room_for_more_than_120_waiters() {
    const WAITERS: u32 = 200;
    let lock = Lock::new().unwrap();
    let changed = Condition::<_, 500>::with_lock_and_capacity(lock.try_clone().unwrap()).unwrap();
    let same = changed.try_clone().unwrap();
    let waiting = RawValue::new(0_u32).unwrap();
    thread::scope(|scope| {
        for _ in 0..WAITERS {
            scope.spawn(|| {
                changed.acquire().unwrap();
                waiting.set(waiting.get() + 1);
                changed.wait().unwrap();
                changed.release().unwrap();
            });
        }
        let mut notified = 0;
        while notified < WAITERS {
            same.acquire().unwrap();
            if waiting.get() == WAITERS {
                notified += same.notify_all().unwrap();
            }
            same.release().unwrap();
        }
    });
}

#[test]
fn errors_of_the_primitives_keep_their_cause() {
    let lock = Lock::new().unwrap();
    let _held = lock.lock().unwrap();
    let error = lock.acquire().unwrap_err();
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&Refused::WouldDeadlock));
    let error: std::io::Error = elsewhere(|| lock.release()).unwrap_err().into();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
}

#[test]
fn every_face_shows_its_state_and_waits_for_nobody() {
    let lock = Lock::new().unwrap();
    let _held = lock.lock().unwrap();
    let shown = elsewhere(|| format!("{lock:?}"));
    assert!(shown.contains("<locked>"), "{shown}");
    let shown = format!("{:?} {:?}", Semaphore::new(7).unwrap(), HandoffLock::new().unwrap());
    assert!(shown.contains("value: 7") && shown.contains("locked: false"), "{shown}");
    let shown = format!("{:?} {:?}", Condition::new().unwrap(), Barrier::new(3).unwrap());
    assert!(shown.contains("Condition") && shown.contains("parties: 3"), "{shown}");
}
