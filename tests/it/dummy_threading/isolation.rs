//! Real threads beside dummy threads.

#![allow(clippy::arc_with_non_send_sync, reason = "hooks have the form of those of threading")]

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::dummy_thread;
use ossature::dummy_threading::{self, Thread, current_thread, main_thread};
use ossature::threading;

use super::world;

#[test]
fn the_real_threads_do_not_hear_of_these() {
    world(|| {
        let listed = Thread::builder().name("only here").spawn(|| {
            let real = threading::enumerate();
            real.iter().any(|thread| thread.name() == "only here")
        });
        assert!(!listed.unwrap().result().unwrap());
        dummy_threading::set_trace(Some(Arc::new(|_: &Thread, _| ())));
        dummy_threading::shutdown();
        let real = threading::Thread::spawn(|| {
            assert!(dummy_threading::trace().is_none(), "another world");
            let inner = Thread::spawn(|| (current_thread().name(), threading::current_thread().name()));
            (inner.unwrap().result().unwrap(), current_thread() == main_thread())
        });
        let real = real.unwrap();
        let ((here, there), back) = real.result().unwrap();
        assert_eq!((here.as_str(), there, back), ("Thread-1", real.name(), true));
    });
}

#[test]
fn a_panic_within_a_real_thread_stays_within_the_start() {
    world(|| {
        let real = threading::Thread::spawn(|| {
            dummy_threading::set_excepthook(Some(Arc::new(|_: &dummy_threading::PanicReport<'_>| ())));
            let inner: Thread = Thread::spawn(|| panic!("inside")).unwrap();
            inner.result().unwrap_err().kind()
        });
        assert_eq!(real.unwrap().result().unwrap(), ErrorKind::Panicked);
    });
}

#[test]
fn constants_are_those_of_the_module_below() {
    assert_eq!(dummy_threading::TIMEOUT_MAX, dummy_thread::TIMEOUT_MAX);
    let error: dummy_threading::ThreadError = dummy_threading::set_stack_size(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// A program whose text is the same for both modules. Returns what it saw.
macro_rules! program {
    ($threading:ident, $Here:ident) => {{
        use ossature::dummy_threading::{Backend, $Here as Here};
        use ossature::sys::scope::Scope;
        use ossature::$threading::{self as threading, Barrier, BrokenBarrierError, Local, Thread, Timer};

        static DEPTH: Local<Cell<u32>> = Local::new(|| Cell::new(0));
        let done = Arc::new(Here::event());
        let sum = Arc::new(Here::lock(0));
        DEPTH.with(|depth| depth.set(5));
        let (tell, add) = (done.clone(), sum.clone());
        let worker = Thread::builder().name("worker").daemon(true).prepare(move || {
            *Here::settle(add.lock()).unwrap() += DEPTH.with(Cell::get) + 1;
            tell.set();
            (threading::current_thread().name(), threading::current_thread().daemon())
        });
        worker.start().unwrap();
        Here::settle(done.wait()).unwrap();
        let seen = worker.result().unwrap();
        let barrier: Barrier = Here::barrier(1);
        let passed: Result<u32, BrokenBarrierError> = barrier.wait();
        let fire = sum.clone();
        let timer = Timer::new(Duration::from_millis(1), move || *Here::settle(fire.lock()).unwrap() += 10);
        timer.start().unwrap();
        let _ = timer.wait();
        let total = *Here::settle(sum.lock()).unwrap();
        let again = worker.start().unwrap_err().kind();
        (seen, passed, total, DEPTH.with(Cell::get), again, threading::stack_size())
    }};
}

#[test]
fn one_program_runs_in_both_worlds() {
    world(|| {
        let there = program!(threading, Native);
        assert_eq!(there, (("worker".into(), true), Ok(0), 11, 5, ErrorKind::AlreadyStarted, 0));
        assert_eq!(there, program!(dummy_threading, Inline));
    });
}
