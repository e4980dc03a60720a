//! The list of living threads.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::channel;

use ossature::ErrorKind;
use ossature::threading::{self, Event, Thread, current_thread, enumerate, main_thread};

use crate::support::soon;

#[test]
fn the_living_are_listed_from_start_to_end() {
    soon(|| {
        let end = Arc::new(Event::new());
        let watched = end.clone();
        let thread = Thread::new(move || watched.wait());
        assert!(!enumerate().contains(&thread), "not started");
        thread.start().unwrap();
        assert!(enumerate().contains(&thread));
        assert!(threading::active_count() >= 2, "this one and the main thread");
        end.set();
        thread.join().unwrap();
        assert!(!enumerate().contains(&thread), "ended");
    });
}

// test_enumerate_after_join
#[test]
fn a_joined_thread_is_not_listed() {
    soon(|| {
        for _ in 0..300 {
            let thread = Thread::spawn(|| ()).unwrap();
            thread.join().unwrap();
            assert!(!enumerate().contains(&thread));
        }
    });
}

#[test]
fn the_current_thread_is_the_one_that_was_started() {
    soon(|| {
        let thread = Thread::new(current_thread);
        thread.start().unwrap();
        let seen = thread.result().unwrap();
        assert_eq!(seen, thread);
        assert_ne!(seen, current_thread());
    });
}

// test_foreign_thread, test_ident_of_no_threading_threads
#[test]
fn a_thread_started_elsewhere_gets_a_dummy_until_it_ends() {
    soon(|| {
        let (tell, hear) = channel();
        let (go, wait) = channel::<()>();
        let foreign = std::thread::spawn(move || {
            let me = current_thread();
            assert_eq!(me, current_thread());
            assert_eq!(me.ident(), Some(threading::get_ident()));
            tell.send(me).unwrap();
            wait.recv().unwrap();
        });
        let dummy = hear.recv().unwrap();
        assert!(dummy.name().starts_with("Dummy-"), "{dummy:?}");
        assert!(dummy.daemon() && dummy.is_alive() && enumerate().contains(&dummy));
        assert_eq!(dummy.join().unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(dummy.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
        go.send(()).unwrap();
        foreign.join().unwrap();
        assert!(!dummy.is_alive() && !enumerate().contains(&dummy));
        dummy.join().unwrap();
    });
}

#[test]
fn a_thread_that_never_asked_is_not_listed() {
    soon(|| {
        let before = current_thread();
        let ident = std::thread::spawn(threading::get_ident).join().unwrap();
        assert!(enumerate().iter().all(|thread| thread.ident() != Some(ident)));
        assert_ne!(before.ident(), Some(ident));
    });
}

// test_main_thread
#[test]
fn the_main_thread_is_known_to_others() {
    let main = main_thread();
    assert_eq!((main.name().as_str(), main.daemon(), main.is_alive()), ("MainThread", false, true));
    assert!(enumerate().contains(&main));
    assert_ne!(main, current_thread(), "libtest runs tests in threads of its own");
    assert_eq!(main.native_id(), Some(ossature::sys::process::id()));
}

#[test]
fn a_last_value_may_ask_for_the_current_thread() {
    struct Asks(std::sync::mpsc::Sender<Thread>);
    impl Drop for Asks {
        fn drop(&mut self) {
            let _ = self.0.send(current_thread());
        }
    }
    thread_local!(static LAST: RefCell<Option<Asks>> = const { RefCell::new(None) });
    soon(|| {
        for ours in [false, true] {
            let (tell, hear) = channel();
            let body = move || LAST.set(Some(Asks(tell)));
            if ours {
                Thread::spawn(body).unwrap().join().unwrap();
            } else {
                std::thread::spawn(body).join().unwrap();
            }
            let asked = hear.recv().expect("answered");
            assert!(!enumerate().contains(&asked), "and not left in the list: {asked:?}");
        }
    });
}

#[test]
fn listing_inside_a_hook_or_destructor_does_not_hang() {
    struct Lists;
    impl Drop for Lists {
        fn drop(&mut self) {
            assert!(!enumerate().is_empty());
        }
    }
    soon(|| {
        let thread = Thread::spawn(|| Lists).unwrap();
        drop(thread.result().unwrap());
        drop(Thread::spawn(|| Lists).unwrap().join());
    });
}
