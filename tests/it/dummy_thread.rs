//! Starting without threads. The names of the cases of CPython's `test_dummy_thread.py` are given above the code that
//! covers them.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::dummy_thread::{self, RLock, TIMEOUT_MAX, allocate_lock, interrupt_main, start_new_thread};
use ossature::sys::scope::Refused;
use ossature::sys::sync::handoff::NotLocked;

use crate::support::soon;

// test_initlock, test_release, test_LockType
#[test]
fn a_new_lock_is_free_and_free_again_after_its_release() {
    let lock: dummy_thread::LockType = allocate_lock();
    assert!(!lock.locked());
    lock.acquire().unwrap();
    assert!(lock.locked());
    lock.release().unwrap();
    assert!(!lock.locked());
}

// test_LockType_context_manager
#[test]
fn a_lock_is_held_for_a_closure_and_freed_when_it_panics() {
    let lock = allocate_lock();
    assert_eq!(lock.with(|| lock.locked()), Ok(true));
    assert!(!lock.locked());
    start_new_thread(|| {
        let _ = lock.with(|| dummy_thread::exit());
    })
    .unwrap();
    assert!(!lock.locked());
}

// test_improper_release
#[test]
fn releasing_a_free_lock_is_an_error() {
    let lock = allocate_lock();
    assert_eq!(lock.release(), Err(NotLocked));
    lock.acquire().unwrap();
    lock.release().unwrap();
    assert_eq!(lock.release(), Err(NotLocked));
}

// test_cond_acquire_success, test_cond_acquire_fail
#[test]
fn trying_takes_a_free_lock_and_no_other() {
    let lock = allocate_lock();
    assert_eq!(lock.try_acquire(), Ok(true));
    assert_eq!(lock.try_acquire(), Ok(false));
}

// test_uncond_acquire_success, test_uncond_acquire_return_val
#[test]
fn acquiring_a_taken_lock_is_refused_and_it_stays_taken() {
    soon(|| {
        let lock = allocate_lock();
        assert_eq!(lock.acquire(), Ok(()));
        assert_eq!(lock.acquire(), Err(Refused::WouldDeadlock));
        assert!(lock.locked());
        lock.release().unwrap();
        assert_eq!(lock.acquire(), Ok(()));
    });
}

// test_uncond_acquire_blocking
#[test]
fn a_lock_may_be_released_by_what_is_started() {
    let lock = allocate_lock();
    lock.acquire().unwrap();
    start_new_thread(|| lock.release().unwrap()).unwrap();
    assert_eq!(lock.acquire(), Ok(()));
}

// test_acquire_timeout
#[test]
fn a_taken_lock_is_not_had_within_any_limit_and_nobody_waits() {
    soon(|| {
        let lock = allocate_lock();
        lock.acquire().unwrap();
        assert_eq!(lock.acquire_timeout(TIMEOUT_MAX), Ok(false));
        assert_eq!(lock.acquire_timeout(None), Err(Refused::WouldDeadlock));
        lock.release().unwrap();
        assert_eq!(lock.acquire_timeout(Duration::ZERO), Ok(true));
    });
}

// test_lock_representation
#[test]
fn a_lock_shows_whether_it_is_taken() {
    let lock = allocate_lock();
    assert!(format!("{lock:?}").contains("locked: false"), "{lock:?}");
    lock.acquire().unwrap();
    assert!(format!("{lock:?}").contains("locked: true"), "{lock:?}");
}

// test_multiple_acquire
#[test]
fn a_reentrant_lock_is_free_after_as_many_releases_as_acquisitions() {
    let lock = RLock::local(());
    let first = lock.lock().unwrap();
    let second = lock.lock().unwrap();
    assert_eq!(lock.depth(), 2);
    drop(first);
    assert!(lock.is_locked());
    drop(second);
    assert!(!lock.is_locked());
}

// test_exit, test_SystemExit
#[test]
fn leaving_by_exit_ends_what_was_started_and_nothing_else() {
    let reached = Cell::new(0);
    let started = start_new_thread(|| {
        reached.set(1);
        dummy_thread::exit();
    });
    assert!(started.is_ok());
    assert_eq!(reached.get(), 1);
}

// test_ident
#[test]
fn every_thread_has_the_number_one() {
    let outside = dummy_thread::get_ident();
    assert_eq!(outside.get(), 1);
    let inside = start_new_thread(|| assert_eq!(dummy_thread::get_ident(), outside)).unwrap();
    assert_eq!(inside, outside);
    assert_eq!(std::thread::spawn(dummy_thread::get_ident).join().unwrap(), outside);
}

// test_interrupt_main
#[test]
fn an_interrupt_during_the_run_comes_after_its_end() {
    let ended = Cell::new(false);
    let started = start_new_thread(|| {
        interrupt_main().unwrap();
        ended.set(true);
    });
    let error = started.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::Interrupted);
    assert!(ended.get(), "it ran on");
    assert!(start_new_thread(|| ()).is_ok(), "the interrupt is heard once");
}

// test_interrupt_in_main
#[test]
fn an_interrupt_outside_of_any_run_is_the_callers() {
    assert_eq!(interrupt_main().unwrap_err().kind(), ErrorKind::Interrupted);
    start_new_thread(|| ()).unwrap();
    assert_eq!(interrupt_main().unwrap_err().kind(), ErrorKind::Interrupted);
    assert!(start_new_thread(|| ()).is_ok(), "nothing is remembered");
}

#[test]
fn an_interrupt_is_heard_by_the_innermost_run_and_the_outer_one_can_be_interrupted_after_it() {
    // Python's forgets that it is inside of a run when an inner one ends.
    let outer = start_new_thread(|| {
        let inner = start_new_thread(|| interrupt_main().unwrap());
        assert_eq!(inner.unwrap_err().kind(), ErrorKind::Interrupted);
    });
    assert!(outer.is_ok());
    let outer = start_new_thread(|| {
        start_new_thread(|| ()).unwrap();
        interrupt_main().unwrap();
    });
    assert_eq!(outer.unwrap_err().kind(), ErrorKind::Interrupted);
}

#[test]
fn a_run_that_panics_or_leaves_is_interrupted_all_the_same() {
    let started = start_new_thread(|| {
        interrupt_main().unwrap();
        dummy_thread::exit();
    });
    assert_eq!(started.unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(interrupt_main().unwrap_err().kind(), ErrorKind::Interrupted, "outside again");
}

// test_stack_size_None, test_stack_size_not_None
#[test]
fn there_is_no_stack_to_have_a_size() {
    assert_eq!(dummy_thread::stack_size(), 0);
    for size in [0, 1, 1 << 20] {
        let error = dummy_thread::set_stack_size(size).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("setting thread stack size not supported"), "{error}");
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::Unsupported);
    }
}

// test_arg_passing
#[test]
fn what_is_started_has_what_it_captured_and_may_borrow() {
    let heard = RefCell::new(Vec::new());
    start_new_thread(|| heard.borrow_mut().push((true, true))).unwrap();
    assert_eq!(heard.into_inner(), [(true, true)]);
}

// test_multi_thread_creation
#[test]
fn each_start_has_ended_before_the_next_begins() {
    let order = RefCell::new(Vec::new());
    for n in 0..5 {
        start_new_thread(|| order.borrow_mut().push(n)).unwrap();
        order.borrow_mut().push(n);
    }
    assert_eq!(order.into_inner(), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
}

// test_RaiseException
#[test]
fn a_panic_goes_no_further_than_the_start() {
    let before = Instant::now();
    let after = Cell::new(false);
    start_new_thread(|| {
        assert!(before > Instant::now(), "a panic that the test expects to see reported");
        after.set(true);
    })
    .unwrap();
    assert!(!after.get());
}

#[test]
fn the_longest_timeout_is_that_of_python() {
    assert_eq!(TIMEOUT_MAX.as_secs(), 2_u64.pow(31));
}
