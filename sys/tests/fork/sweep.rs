//! The sweep finds planted leaks, in a process of one thread, so that threads count too.

use std::cell::{Cell, RefCell};
use std::mem::forget;
use std::thread;
use std::time::Duration;

use ossature_sys::errno::{Errno, Result};
use ossature_sys::eventfd::EventFd;
use ossature_sys::faults::sweep::{Call, Failure, Left, Sweep};
use ossature_sys::faults::{Fault, Rule, call};
use ossature_sys::fd::{AsFd, AsRawFd, duplicate};
use ossature_sys::mmap::Region;

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("a_planted_descriptor_is_found_by_the_call_that_failed", a_planted_descriptor_is_found_by_the_call_that_failed),
    ("a_descriptor_closed_twice_is_found", a_descriptor_closed_twice_is_found),
    ("planted_memory_is_found", planted_memory_is_found),
    ("a_planted_thread_is_found", a_planted_thread_is_found),
    ("a_leak_without_an_error_is_found", a_leak_without_an_error_is_found),
    ("many_descriptors_are_compared_too", many_descriptors_are_compared_too),
    ("what_is_returned_is_dropped_undisturbed", what_is_returned_is_dropped_undisturbed),
];

const ERRNOS: [Errno; 2] = [Errno::INTR, Errno::IO];

/// Runs the operation, which leaks. Returns what the sweep found.
#[track_caller]
fn found<T>(sweep: Sweep<'_>, operation: impl FnMut() -> Result<T>) -> (Option<Call>, Left) {
    match sweep.run(operation) {
        Err(Failure::Leaked { call, left }) => (call, left),
        other => panic!("{other:?}"),
    }
}

/// Runs `leak` when the second of two calls fails for good.
fn when_the_second_fails(leak: impl Fn()) -> Result<()> {
    call("first", || Ok::<_, Errno>(()))?;
    match call("second", || Ok(())) {
        Err(Errno::IO) => leak(),
        other => return other,
    }
    Err(Errno::IO)
}

fn a_planted_descriptor_is_found_by_the_call_that_failed() {
    let leaked = Cell::new(None);
    let leak = || {
        let counter = std::fs::File::open("/dev/null").unwrap();
        leaked.set(Some(counter.as_raw_fd()));
        forget(counter);
    };
    let (call, left) = found(Sweep::new(&ERRNOS), || when_the_second_fails(leak));
    let call = call.unwrap();
    assert_eq!((&*call.name, call.nth, call.errno), ("second", 2, Errno::IO));
    assert_eq!((left.descriptors(), left.descriptor()), (1, leaked.get()));
    assert_eq!((left.mapped(), left.threads()), (0, 0));
    let number = leaked.take().unwrap();
    let text = Failure::<()>::Leaked { call: Some(call), left }.to_string();
    assert_eq!(
        text,
        format!("left behind when second (call 2) fails with \"{}\": +1 descriptors (number {number})", Errno::IO)
    );
    close(number);
}

fn close(number: i32) {
    // SAFETY: a test leaked it, and nothing else knows it.
    drop(unsafe { <ossature_sys::fd::OwnedFd as ossature_sys::fd::FromRawFd>::from_raw_fd(number) });
}

fn a_descriptor_closed_twice_is_found() {
    let other = duplicate(EventFd::counter(0).unwrap()).unwrap();
    let number = other.as_raw_fd();
    forget(other);
    let (call, left) = found(Sweep::new(&ERRNOS), || when_the_second_fails(|| close(number)));
    assert_eq!((call.unwrap().nth, left.descriptors(), left.descriptor()), (2, -1, None));

    // Another file under the same number is not the same descriptor.
    let counter = EventFd::counter(0).unwrap();
    let number = counter.as_fd().as_raw_fd();
    let replace = || {
        let null = std::fs::File::open("/dev/null").unwrap();
        // SAFETY: dup2(2) takes two numbers; the counter's is this test's own.
        assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), number) }, number);
    };
    let (_, left) = found(Sweep::new(&ERRNOS), || when_the_second_fails(replace));
    assert_eq!(left.descriptors(), 0);
    assert_eq!(
        left.to_string(),
        "a descriptor that leads to another file; does something else run beside the sweep? Use one test thread"
    );
}

fn planted_memory_is_found() {
    for (anonymous, region) in [(false, true), (true, false)] {
        let leak = || {
            forget(if region { Region::anonymous(1 << 20).unwrap() } else { Region::private(123 << 20).unwrap() });
        };
        let sweep = Sweep::new(&ERRNOS);
        let sweep = if anonymous { sweep.anonymous(100 << 20) } else { sweep };
        let (_, left) = found(sweep, || when_the_second_fails(leak));
        assert_eq!(left.mapped(), if region { 1 << 20 } else { 123 << 20 });
        assert_eq!(left.to_string(), format!("+{} mapped bytes", left.mapped()));
    }
    // It is not asked for, so it is not looked at.
    Sweep::new(&ERRNOS).run(|| when_the_second_fails(|| forget(Region::private(123 << 20).unwrap()))).unwrap();
}

fn a_planted_thread_is_found() {
    let patience = Duration::from_millis(1500);
    let leak = || drop(thread::spawn(move || thread::sleep(patience)));
    let (_, left) = found(Sweep::new(&ERRNOS), || when_the_second_fails(leak));
    assert_eq!((left.threads(), left.to_string()), (1, "+1 threads".to_owned()));
    thread::sleep(patience);
    Sweep::new(&ERRNOS).run(|| when_the_second_fails(|| thread::spawn(|| ()).join().unwrap())).unwrap();
    Sweep::new(&ERRNOS).ignore_threads().run(|| when_the_second_fails(leak)).unwrap();
    thread::sleep(patience);
}

fn a_leak_without_an_error_is_found() {
    let leaked = RefCell::new(Vec::new());
    let (call, left) = found(Sweep::new(&ERRNOS), || {
        leaked.borrow_mut().push(EventFd::counter(0)?);
        Ok(())
    });
    assert_eq!((call, left.descriptors()), (None, 1));

    let watched = Sweep::new(&[]).watch(|| leaked.borrow_mut().clear());
    assert!(matches!(watched, Err(Failure::Leaked { call: None, left }) if left.descriptors() == -2));
    assert_eq!(Sweep::new(&[]).watch(|| 3), Ok(3));
}

fn many_descriptors_are_compared_too() {
    // More than one reading of the list returns.
    let counter = EventFd::counter(0).unwrap();
    let many: Vec<_> = (0..300).map(|_| duplicate(&counter).unwrap()).collect();
    let leaked = Cell::new(None);
    let (_, left) =
        found(Sweep::new(&ERRNOS), || when_the_second_fails(|| leaked.set(Some(duplicate(&counter).unwrap()))));
    assert_eq!((left.descriptors(), left.descriptor()), (1, leaked.take().map(|fd| fd.as_raw_fd())));
    drop(many);
}

fn what_is_returned_is_dropped_undisturbed() {
    struct Calls;
    impl Drop for Calls {
        fn drop(&mut self) {
            assert_eq!(call("at_the_end", || Ok(())), Ok::<_, Errno>(()));
        }
    }
    let swept = Sweep::new(&ERRNOS).run(|| call("made", || Ok::<_, Errno>(Calls))).unwrap();
    assert_eq!((swept.calls, swept.refused, swept.survived), (1, 2, 0));
    let rule = Rule::on("at_the_end", Fault::Count).arm().unwrap();
    let mut met = Vec::new();
    let run = Sweep::new(&ERRNOS).run_with(
        || call("made", || Ok::<_, Errno>(Calls)),
        |call, answer| {
            met.push((call.map(|call| call.errno), answer.map(drop)));
        },
    );
    assert!(run.is_ok());
    let refused = ERRNOS.map(|errno| (Some(errno), Err(errno)));
    assert_eq!(met, [[(None, Ok(())); 2], refused].concat());
    assert_eq!(rule.seen(), 2);
}
