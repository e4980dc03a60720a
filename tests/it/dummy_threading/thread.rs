//! Threads that run inside their start.

#![allow(clippy::arc_with_non_send_sync, reason = "hooks have the form of those of threading")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::dummy_thread;
use ossature::dummy_threading::{self, RLock, Semaphore, Thread, current_thread};

use super::world;

#[test]
fn a_started_thread_is_over_when_start_returns() {
    world(|| {
        let ran = Rc::new(Cell::new(0));
        let inner = ran.clone();
        let thread = Thread::new(move || inner.set(inner.get() + 1));
        assert!(!thread.is_alive() && thread.ident().is_none());
        assert_eq!(thread.join().unwrap_err().kind(), ErrorKind::NotStarted);
        assert_eq!(ran.get(), 0, "not before its start");
        thread.start().unwrap();
        assert_eq!(ran.get(), 1);
        assert!(!thread.is_alive());
        thread.join().unwrap();
        assert!(thread.join_timeout(Duration::ZERO).unwrap());
        assert_eq!(thread.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
        assert_eq!(ran.get(), 1, "once");
        thread.result().unwrap();
        assert_eq!(thread.result().unwrap_err().kind(), ErrorKind::NoResult, "taken");
    });
}

// test_tasks
#[test]
fn ten_tasks_pass_a_semaphore_and_a_lock() {
    world(|| {
        let seats = Rc::new(Semaphore::local_bounded(3));
        let running = Rc::new(RLock::local(Cell::new(0)));
        let most = Rc::new(Cell::new(0));
        let tasks: Vec<Thread> = (0..10)
            .map(|n| {
                let (seats, running, most) = (seats.clone(), running.clone(), most.clone());
                let task = Thread::builder().name(format!("<thread {n}>")).prepare(move || {
                    let _seat = seats.permit().unwrap();
                    let now = running.lock().unwrap();
                    now.set(now.get() + 1);
                    most.set(now.get().max(most.get()));
                    drop(now);
                    let now = running.lock().unwrap();
                    now.set(now.get() - 1);
                });
                task.start().unwrap();
                task
            })
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!((seats.value(), most.get()), (3, 1), "never two at once");
    });
}

#[test]
fn threads_are_numbered_from_one_and_show_what_they_are() {
    world(|| {
        let first = Thread::spawn(|| ()).unwrap();
        let named = Thread::builder().name("clerk").daemon(true).prepare(|| ());
        assert_eq!(format!("{named:?}"), "Thread(clerk, initial daemon)");
        let second = Thread::new(|| ());
        assert_eq!((first.name(), second.name(), named.name()), ("Thread-1".into(), "Thread-2".into(), "clerk".into()));
        assert_eq!(format!("{first:?}"), "Thread(Thread-1, stopped 1)");
        assert_eq!(format!("{:?}", current_thread()), "Thread(MainThread, started 1)");
        second.set_name("other");
        assert_eq!(second.name(), "other");
    });
}

#[test]
fn the_daemon_flag_is_inherited_and_fixed_by_the_start() {
    world(|| {
        let outer = Thread::builder().daemon(true).prepare(|| Thread::new(|| ()).daemon());
        assert!(outer.daemon() && !Thread::new(|| ()).daemon());
        outer.start().unwrap();
        assert_eq!(outer.set_daemon(false).unwrap_err().kind(), ErrorKind::AlreadyStarted);
        assert!(outer.result().unwrap());
        let other = Thread::new(|| ());
        other.set_daemon(true).unwrap();
        assert!(other.daemon());
    });
}

#[test]
fn a_panic_is_told_to_the_hook_and_goes_no_further() {
    world(|| {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let told = heard.clone();
        dummy_threading::set_excepthook(Some(Arc::new(move |report: &dummy_threading::PanicReport<'_>| {
            let here = *report.thread() == current_thread() && report.thread().is_alive();
            let place = report.location().unwrap_or_default().to_owned();
            told.borrow_mut().push((report.thread().name(), report.message().map(str::to_owned), here, place));
        })));
        let thread = Thread::builder().name("clerk").spawn(|| -> u32 { panic!("no more paper") }).unwrap();
        let heard = heard.take();
        assert_eq!(heard.len(), 1);
        assert_eq!((heard[0].0.as_str(), heard[0].1.as_deref(), heard[0].2), ("clerk", Some("no more paper"), true));
        assert!(heard[0].3.starts_with(file!()), "{heard:?}");
        thread.join().unwrap();
        let error = thread.result().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        assert!(error.to_string().contains("no more paper"), "{error}");
        assert!(dummy_threading::excepthook().is_some());
        dummy_threading::set_excepthook(None);
        assert!(dummy_threading::excepthook().is_none());
    });
}

#[test]
fn the_hook_of_all_is_used_where_none_is_set_and_may_be_called_by_another() {
    world(|| {
        let thread = Thread::spawn(|| panic!("printed, as it should be")).unwrap();
        assert_eq!(thread.result().unwrap_err().kind(), ErrorKind::Panicked);
        let seen = Rc::new(Cell::new(false));
        let see = seen.clone();
        dummy_threading::set_excepthook(Some(Arc::new(move |report: &dummy_threading::PanicReport<'_>| {
            see.set(report.is_exit());
            dummy_threading::default_excepthook(report);
        })));
        Thread::spawn(|| dummy_threading::exit()).map(|left: Thread| left.join().unwrap()).unwrap();
        assert!(seen.get());
    });
}

#[test]
fn a_thread_that_leaves_has_no_result() {
    world(|| {
        let thread: Thread<u32> = Thread::spawn(|| dummy_threading::exit()).unwrap();
        assert_eq!(thread.result().unwrap_err().kind(), ErrorKind::NoResult);
    });
}

#[test]
fn an_interrupt_during_the_run_comes_out_of_start() {
    world(|| {
        let thread = Thread::new(|| dummy_thread::interrupt_main().unwrap());
        assert_eq!(thread.start().unwrap_err().kind(), ErrorKind::Interrupted);
        assert!(!thread.is_alive());
        thread.result().unwrap();
    });
}
