//! Event counters with failing system calls.

use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::{CancelFd, EventFd, Until};
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::fd::OwnedFd;

use crate::sweep::{alone, fails_with, survives, sweep};

const SPAN: Duration = Duration::from_millis(3);

#[test]
fn everything_about_an_event_ends_and_leaks_nothing() {
    let _alone = alone();
    sweep("eventfd", &["write", "read", "ppoll"], || {
        let event = EventFd::counter(0)?;
        event.add(2, SPAN)?;
        event.take(SPAN)?;
        event.take(SPAN)?;
        event.try_add(u64::MAX - 1)?;
        event.add(1, SPAN)?;
        let event = EventFd::try_from(OwnedFd::from(EventFd::semaphore(1)?))?;
        event.try_take().map(drop)
    });
}

#[test]
fn everything_about_a_cancel_ends_and_leaks_nothing() {
    let _alone = alone();
    sweep("eventfd", &["write", "read", "ppoll"], || {
        let (stop, event) = (CancelFd::new()?, EventFd::counter(0)?);
        stop.within(SPAN).when_readable(&event, |deadline| event.take(deadline))?;
        stop.cancel()?;
        stop.within(SPAN).when_readable(&event, |deadline| event.take(deadline))?;
        stop.within(SPAN).is_readable(&event)?;
        stop.is_cancelled()?;
        stop.reset()
    });
}

#[test]
fn limit_without_a_cancel_adds_no_call() {
    let _alone = alone();
    let event = EventFd::counter(0).unwrap();
    let calls = |take: &dyn Fn()| {
        let [reads, polls] = ["read", "ppoll"].map(|call| Rule::on(call, Fault::Count).arm().unwrap());
        take();
        (reads.seen(), polls.seen())
    };
    let limited = |span| Until::from(span).when_readable(&event, |deadline| event.take(deadline)).map(drop).unwrap();
    for (span, most) in [(Duration::ZERO, (1, 0)), (SPAN, (2, 1))] {
        let bare = calls(&|| event.take(span).map(drop).unwrap());
        assert_eq!((bare, calls(&|| limited(span))), (most, most));
    }
}

#[test]
fn no_descriptor_left_is_an_error() {
    let _alone = alone();
    fails_with("eventfd", Errno::MFILE, || EventFd::counter(0));
    fails_with("eventfd", Errno::NOMEM, || EventFd::semaphore(0));
}

#[test]
fn interrupted_calls_are_made_again() {
    let _alone = alone();
    let event = EventFd::counter(9).unwrap();
    survives("write", Errno::INTR, || event.try_add(1));
    survives("read", Errno::INTR, || {
        assert_eq!(event.try_take(), Ok(Some(10)));
        Ok(())
    });
    survives("ppoll", Errno::INTR, || {
        assert_eq!(event.take(SPAN), Ok(None));
        Ok(())
    });
}

#[test]
fn interrupted_wait_goes_on_with_what_is_left() {
    let _alone = alone();
    let event = EventFd::counter(0).unwrap();
    let rule = Rule::on("ppoll", Fault::Fail(Errno::INTR)).times(1000).arm().unwrap();
    let start = std::time::Instant::now();
    assert_eq!(event.take(SPAN), Ok(None));
    assert!(start.elapsed() >= SPAN);
    assert!(rule.hits() > 0);
}

#[test]
fn looking_now_never_sleeps() {
    let _alone = alone();
    let event = EventFd::counter(0).unwrap();
    let sleeps = Rule::on("ppoll", Fault::Count).arm().unwrap();
    let calls = Rule::on("*", Fault::Count).arm().unwrap();
    assert_eq!(event.take(Deadline::NOW), Ok(None));
    assert_eq!((sleeps.seen(), calls.seen()), (0, 1));
    assert_eq!(event.add(3, Deadline::NOW), Ok(true));
    assert_eq!((sleeps.seen(), calls.seen()), (0, 2));
}
