//! Sleeping inside the start.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::dummy_threading::{Timer, current_thread};
use ossature::sys::scope::Refused;

use super::{LONG, world};

#[test]
fn a_timer_sleeps_and_calls_inside_its_start() {
    world(|| {
        let seen = Rc::new(RefCell::new(String::new()));
        let see = seen.clone();
        let timer = Timer::new(LONG, move || *see.borrow_mut() = current_thread().name());
        timer.set_interval(Duration::from_millis(20)).unwrap();
        assert_eq!(timer.wait(), Err(Refused::WouldDeadlock));
        assert_eq!(timer.wait_timeout(LONG), Ok(false));
        let start = Instant::now();
        timer.start().unwrap();
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(*seen.borrow(), "Timer");
        assert_eq!((timer.wait(), timer.wait_timeout(Duration::ZERO)), (Ok(()), Ok(true)));
        assert!(timer.is_finished() && !timer.is_alive() && !timer.cancel());
        assert_eq!(timer.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
        assert_eq!(timer.set_interval(LONG).unwrap_err().kind(), ErrorKind::AlreadyStarted);
        assert_eq!(timer.set_daemon(true).unwrap_err().kind(), ErrorKind::AlreadyStarted);
    });
}

#[test]
fn a_timer_cancelled_before_its_start_neither_waits_nor_calls() {
    world(|| {
        let held = Rc::new(());
        let captured = held.clone();
        let timer = Timer::new(LONG, move || panic!("{captured:?}"));
        assert!(timer.cancel() && !timer.cancel());
        assert_eq!(Rc::strong_count(&held), 1, "the callback is gone");
        timer.start().unwrap();
        assert!(timer.is_finished());
        assert_eq!(timer.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
    });
}
