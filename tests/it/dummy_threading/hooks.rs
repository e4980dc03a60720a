//! Hooks that run before, after and at the end.

#![allow(clippy::arc_with_non_send_sync, reason = "hooks have the form of those of threading")]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::dummy_threading::{self, Thread, Timer, TraceEvent};

use super::world;

#[test]
fn hooks_surround_the_run_of_what_is_started_later() {
    world(|| {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let (trace, profile, work) = (calls.clone(), calls.clone(), calls.clone());
        dummy_threading::set_trace(Some(Arc::new(move |thread: &Thread, moment: TraceEvent| {
            trace.borrow_mut().push(format!("{moment:?} of {}", thread.name()));
        })));
        dummy_threading::set_profile(Some(Arc::new(move |thread: &Thread, took: Duration| {
            profile.borrow_mut().push(format!("{} took time: {}", thread.name(), took >= Duration::from_millis(2)));
        })));
        assert!(dummy_threading::trace().is_some() && dummy_threading::profile().is_some());
        let thread = Thread::builder().name("clerk").prepare(move || {
            std::thread::sleep(Duration::from_millis(2));
            work.borrow_mut().push("work".into());
        });
        thread.start().unwrap();
        assert_eq!(calls.take(), ["Start of clerk", "work", "clerk took time: true", "End of clerk"]);
        dummy_threading::set_trace(None);
        dummy_threading::set_profile(None);
        Thread::spawn(|| ()).unwrap();
        assert!(calls.take().is_empty());
    });
}

#[test]
fn a_hook_that_panics_harms_nobody() {
    world(|| {
        dummy_threading::set_trace(Some(Arc::new(|_: &Thread, _| panic!("a panic that the test expects to see"))));
        assert_eq!(Thread::spawn(|| 5).unwrap().result().unwrap(), 5);
    });
}

#[test]
fn shutdown_calls_back_in_reverse_and_then_nothing_starts() {
    world(|| {
        let order = Rc::new(RefCell::new(Vec::new()));
        {
            let _end = dummy_threading::ShutdownGuard::new();
            for n in [1, 2] {
                let order = order.clone();
                dummy_threading::at_shutdown(move || {
                    assert_eq!(dummy_threading::at_shutdown(|| ()).unwrap_err().kind(), ErrorKind::ShuttingDown);
                    Thread::spawn(move || order.borrow_mut().push(n)).unwrap();
                })
                .unwrap();
            }
        }
        assert_eq!(*order.borrow(), [2, 1]);
        assert_eq!(Thread::spawn(|| ()).unwrap_err().kind(), ErrorKind::ShuttingDown);
        let timer = Timer::new(Duration::ZERO, || ());
        assert_eq!(timer.start().unwrap_err().kind(), ErrorKind::ShuttingDown);
        assert!(timer.cancel(), "not lost");
    });
}
