//! Hooks at a start, an end and a panic. The hooks belong to the process, so each test listens for its own threads
//! only.

use std::panic::{Location, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ossature::ErrorKind;
use ossature::threading::{self, PanicReport, Thread, TraceEvent, current_thread, default_excepthook};

use crate::support::soon;

/// Held by the test that sets hooks: only one may at a time.
static HOOKS: Mutex<()> = Mutex::new(());

struct Hooked<'h>(#[allow(dead_code, reason = "held")] MutexGuard<'h, ()>);

fn alone() -> Hooked<'static> {
    Hooked(HOOKS.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Drop for Hooked<'_> {
    fn drop(&mut self) {
        threading::set_excepthook(None);
        threading::set_trace(None);
        threading::set_profile(None);
    }
}

/// The data that a hook saw of a panic.
#[derive(Debug, PartialEq)]
struct Seen {
    thread: String,
    message: Option<String>,
    location: Option<String>,
    is_exit: bool,
    in_itself: bool,
    traced: bool,
}

fn listen(name: &'static str) -> Receiver<Seen> {
    let (tell, hear) = channel();
    let tell: Mutex<Sender<Seen>> = Mutex::new(tell);
    threading::set_excepthook(Some(Arc::new(move |report: &PanicReport<'_>| {
        if report.thread().name() != name {
            return default_excepthook(report);
        }
        let seen = Seen {
            thread: report.thread().name(),
            message: report.message().map(str::to_owned),
            location: report.location().map(str::to_owned),
            is_exit: report.is_exit(),
            traced: report.backtrace().is_some(),
            in_itself: *report.thread() == current_thread() && report.thread().is_alive(),
        };
        let _ = tell.lock().unwrap().send(seen);
    })));
    hear
}

fn run(name: &'static str, work: fn()) -> Thread {
    let thread = Thread::builder().name(name).spawn(work).unwrap();
    thread.join().unwrap();
    thread
}

// test_excepthook, test_custom_excepthook, test_print_exception
#[test]
fn a_panic_reaches_the_hook_with_name_words_and_place() {
    let _alone = alone();
    soon(|| {
        let hear = listen("panics");
        let line = Location::caller().line() + 1;
        let thread = run("panics", || panic!("out of {}", "cheese"));
        let seen = hear.try_recv().expect("called before the join ends");
        let place = seen.location.as_deref().unwrap();
        assert!(place.starts_with(&format!("{}:{line}:", file!())), "{place}");
        assert_eq!(seen.message.as_deref(), Some("out of cheese"));
        assert_eq!((seen.thread.as_str(), seen.is_exit, seen.in_itself), ("panics", false, true));
        let wanted = std::backtrace::Backtrace::capture().status() == std::backtrace::BacktraceStatus::Captured;
        assert_eq!(seen.traced, wanted, "a trace that was not taken is none");
        assert!(hear.try_recv().is_err(), "once");
        let error = thread.result().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        assert!(error.to_string().contains("out of cheese"), "{error}");
    });
}

// test_system_exit
#[test]
fn an_exit_is_quiet_but_the_hook_hears_of_it() {
    let _alone = alone();
    soon(|| {
        let hear = listen("exits");
        let thread = run("exits", || threading::exit());
        let seen = hear.try_recv().unwrap();
        assert!(seen.is_exit && seen.message.is_none() && seen.location.is_none());
        assert_eq!(thread.result().unwrap_err().kind(), ErrorKind::NoResult);
    });
}

#[test]
fn an_exit_drops_what_the_thread_holds() {
    soon(|| {
        let (tell, hear) = channel::<()>();
        let thread = Thread::spawn(move || {
            let _held = tell;
            threading::exit()
        });
        let thread: Thread = thread.unwrap();
        thread.join().unwrap();
        assert!(hear.recv().is_err(), "the sender is gone");
    });
}

#[test]
fn a_caught_panic_is_not_reported() {
    let _alone = alone();
    soon(|| {
        let hear = listen("catches");
        run("catches", || assert!(catch_unwind(|| panic!("caught")).is_err()));
        assert!(hear.try_recv().is_err());
    });
}

/// A value that catches a panic of its own when it is dropped.
struct Clumsy;

impl Drop for Clumsy {
    fn drop(&mut self) {
        assert!(catch_unwind(|| panic!("caught in a destructor")).is_err());
    }
}

#[test]
fn a_panic_caught_on_the_way_out_does_not_hide_the_one_that_escapes() {
    let _alone = alone();
    soon(|| {
        let hear = listen("clumsy");
        let line = Location::caller().line() + 3;
        run("clumsy", || {
            let _clumsy = Clumsy;
            panic!("the first")
        });
        let seen = hear.try_recv().unwrap();
        let place = seen.location.unwrap();
        assert!(place.starts_with(&format!("{}:{line}:", file!())), "{place}");
        assert_eq!(seen.message.as_deref(), Some("the first"));
        assert!(hear.try_recv().is_err(), "once");
    });
}

#[test]
fn an_unwinding_by_hand_has_not_the_place_of_a_panic_caught_before() {
    let _alone = alone();
    soon(|| {
        let hear = listen("resumes another");
        run("resumes another", || {
            let caught = catch_unwind(|| panic!("caught"));
            assert!(caught.is_err());
            std::panic::resume_unwind(Box::new("by hand"))
        });
        let seen = hear.try_recv().unwrap();
        assert_eq!((seen.message.as_deref(), seen.location), (Some("by hand"), None));
    });
}

#[test]
fn an_unwinding_by_hand_has_no_place() {
    let _alone = alone();
    soon(|| {
        let hear = listen("resumes");
        let thread = run("resumes", || std::panic::resume_unwind(Box::new(17_u8)));
        let seen = hear.try_recv().unwrap();
        assert_eq!((seen.message, seen.location, seen.is_exit), (None, None, false));
        assert_eq!(*thread.take().unwrap().unwrap_err().downcast::<u8>().unwrap(), 17);
    });
}

// test_custom_excepthook_fail
#[test]
fn a_hook_that_panics_does_not_stop_the_thread_from_ending() {
    let _alone = alone();
    soon(|| {
        let name = "hook panics";
        threading::set_excepthook(Some(Arc::new(move |report: &PanicReport<'_>| {
            assert_ne!(report.thread().name(), name, "the hook panics; this line is meant to be seen");
        })));
        let thread = run(name, || panic!("first"));
        assert_eq!(thread.result().unwrap_err().kind(), ErrorKind::Panicked);
        let next = Thread::spawn(|| 1).unwrap();
        assert_eq!(next.result().unwrap(), 1);
    });
}

// test_original_excepthook, test_gettrace, test_getprofile
#[test]
fn hooks_are_told_and_put_back() {
    let _alone = alone();
    assert!(threading::excepthook().is_none() && threading::trace().is_none() && threading::profile().is_none());
    let hook: threading::ExceptHook = Arc::new(|_: &PanicReport<'_>| ());
    threading::set_excepthook(Some(hook.clone()));
    assert!(Arc::ptr_eq(&threading::excepthook().unwrap(), &hook));
    let trace: threading::TraceHook = Arc::new(|_, _| ());
    threading::set_trace(Some(trace.clone()));
    assert!(Arc::ptr_eq(&threading::trace().unwrap(), &trace));
    let profile: threading::ProfileHook = Arc::new(|_, _| ());
    threading::set_profile(Some(profile.clone()));
    assert!(Arc::ptr_eq(&threading::profile().unwrap(), &profile));
}

#[test]
fn the_trace_hook_sees_both_ends_of_later_threads() {
    let _alone = alone();
    soon(|| {
        let (tell, hear) = channel();
        let tell = Mutex::new(tell);
        threading::set_trace(Some(Arc::new(move |thread: &Thread, moment| {
            if thread.name() == "traced" {
                assert_eq!(*thread, current_thread());
                let _ = tell.lock().unwrap().send(moment);
            }
        })));
        run("traced", || ());
        assert_eq!(hear.try_iter().collect::<Vec<_>>(), [TraceEvent::Start, TraceEvent::End]);
        run("traced", || threading::exit());
        assert_eq!(hear.try_iter().collect::<Vec<_>>(), [TraceEvent::Start, TraceEvent::End]);
        threading::set_trace(None);
        run("traced", || ());
        assert_eq!(hear.try_iter().count(), 0);
    });
}

#[test]
fn the_profile_hook_hears_how_long_it_took() {
    let _alone = alone();
    soon(|| {
        let (tell, hear) = channel();
        let tell = Mutex::new(tell);
        threading::set_profile(Some(Arc::new(move |thread: &Thread, took| {
            if thread.name() == "profiled" {
                let _ = tell.lock().unwrap().send(took);
            }
        })));
        run("profiled", || std::thread::sleep(Duration::from_millis(10)));
        let took = hear.try_recv().unwrap();
        assert!(took >= Duration::from_millis(10), "{took:?}");
    });
}
