//! Threads without names, handles or lists.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::thread::{self, Handle};
use ossature::threading::{Event, enumerate};

use crate::support::{soon, thread_id};

// test_starting_threads
#[test]
fn a_started_thread_runs_under_the_number_that_was_told() {
    soon(|| {
        let (tell, hear) = channel();
        for _ in 0..10 {
            let tell = tell.clone();
            let ident = thread::start_new_thread(move || tell.send(thread::get_ident()).unwrap()).unwrap();
            assert_eq!(hear.recv().unwrap(), ident);
            assert_ne!(ident, thread::get_ident());
            assert!(ident.get() > 0);
        }
    });
}

#[test]
fn idents_are_never_given_twice() {
    soon(|| {
        let idents: std::collections::BTreeSet<_> =
            (0..200).map(|_| thread::start_new_thread(|| ()).unwrap()).collect();
        assert_eq!(idents.len(), 200);
    });
}

#[test]
fn such_threads_stand_in_no_list() {
    soon(|| {
        let (end, (tell, hear)) = (Arc::new(Event::new()), channel());
        let watched = end.clone();
        let ident = thread::start_new_thread(move || {
            tell.send(()).unwrap();
            watched.wait();
        });
        hear.recv().unwrap();
        assert!(enumerate().iter().all(|thread| thread.ident() != ident.as_ref().ok().copied()));
        end.set();
    });
}

// test_unraisable_exception
#[test]
fn a_panic_ends_that_thread_only() {
    soon(|| {
        let handle =
            thread::start_joinable_thread(|| panic!("a thread panics; this line is meant to be seen")).unwrap();
        handle.join().unwrap();
        assert!(handle.is_done());
    });
}

#[test]
fn exit_ends_the_thread_and_drops_what_it_holds() {
    soon(|| {
        let (tell, hear) = channel::<()>();
        thread::start_new_thread(move || {
            let _held = tell;
            thread::exit()
        })
        .unwrap();
        assert!(hear.recv().is_err());
    });
}

// test_join_thread, test_join_thread_already_exited, test_join_several_times, test_join_with_timeout
#[test]
fn a_handle_waits_as_often_as_one_likes() {
    soon(|| {
        let end = Arc::new(Event::new());
        let watched = end.clone();
        let handle = thread::start_joinable_thread(move || watched.wait()).unwrap();
        assert!(!handle.is_done());
        assert!(!handle.join_timeout(Duration::from_millis(5)).unwrap());
        let other = handle.clone();
        end.set();
        std::thread::scope(|scope| {
            scope.spawn(|| other.join().unwrap());
            handle.join().unwrap();
        });
        handle.join().unwrap();
        assert!(handle.is_done() && handle.join_timeout(Duration::ZERO).unwrap());
        assert_eq!(format!("{handle:?}"), format!("Handle({}, stopped)", handle.ident()));
    });
}

// test_join_from_self
#[test]
fn a_thread_cannot_join_itself() {
    soon(|| {
        let (give, take) = channel::<Handle>();
        let (tell, hear) = channel();
        let handle = thread::start_joinable_thread(move || {
            let me = take.recv().unwrap();
            tell.send((me.join(), me.ident() == thread::get_ident())).unwrap();
        });
        let handle = handle.unwrap();
        give.send(handle.clone()).unwrap();
        let (joined, mine) = hear.recv().unwrap();
        assert_eq!((joined.unwrap_err().kind(), mine), (ErrorKind::WouldDeadlock, true));
        handle.join().unwrap();
    });
}

// test_joinable_not_joined
#[test]
fn a_dropped_handle_lets_the_thread_go_on() {
    soon(|| {
        let (tell, hear) = channel();
        drop(thread::start_joinable_thread(move || tell.send(()).unwrap()).unwrap());
        hear.recv().unwrap();
    });
}

#[test]
fn the_native_id_is_the_kernels() {
    soon(|| {
        let handle = std::thread::spawn(|| (thread::get_native_id().as_raw_nonzero().get(), thread_id()));
        let (ours, kernels) = handle.join().unwrap();
        assert_eq!(ours, kernels);
        assert_ne!(ours, thread_id());
    });
}

#[test]
fn a_name_is_cut_for_the_kernel() {
    soon(|| {
        let named = |name: &'static str| {
            let thread = std::thread::spawn(move || {
                thread::set_name(name).unwrap();
                std::fs::read_to_string(format!("/proc/self/task/{}/comm", thread_id())).unwrap()
            });
            thread.join().unwrap()
        };
        assert_eq!(named("worker"), "worker\n");
        assert_eq!(named("exactly fifteen!"), "exactly fifteen\n");
        assert_eq!(named("ßßßßßßßßßß"), "ßßßßßßß\n");
        assert_eq!(named(""), "\n");
        assert_eq!(named("x\0y"), "x\n");
    });
}

#[test]
fn constants_say_what_they_promise() {
    assert!(thread::daemon_threads_allowed());
    assert_eq!(thread::TIMEOUT_MAX.as_secs_f64(), 9_223_372_036.0);
    soon(|| {
        // And what is longer is not an error, but no limit.
        let handle = thread::start_joinable_thread(|| ()).unwrap();
        assert!(handle.join_timeout(Duration::MAX).unwrap());
    });
}

#[test]
fn a_lock_is_released_by_any_thread() {
    soon(|| {
        let lock = Arc::new(thread::allocate_lock());
        lock.acquire();
        assert!(lock.locked() && !lock.try_acquire() && !lock.acquire_timeout(Duration::from_millis(5)));
        let other = lock.clone();
        let waiter = thread::start_joinable_thread(move || other.acquire()).unwrap();
        lock.release().unwrap();
        waiter.join().unwrap();
        assert!(lock.locked());
        lock.release().unwrap();
        assert!(lock.release().is_err() && !lock.locked());
        assert!(lock.with(|| lock.locked()));
        assert!(!lock.locked());
    });
}
