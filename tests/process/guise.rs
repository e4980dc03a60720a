//! Threads behind the names of processes.

use std::cell::RefCell;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::{Context, Process, active_children};
use ossature::sys::fd::AsFd;
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::process::ExitStatus;

use crate::harness::Test;
use crate::worlds::{Scratch, redirect};

pub const TESTS: &[Test] = &[
    ("a_thread_is_waited_for_like_a_process", a_thread_is_waited_for_like_a_process),
    ("a_thread_that_panics_has_code_one", a_thread_that_panics_has_code_one),
    ("an_error_of_a_thread_is_printed_under_its_name", an_error_of_a_thread_is_printed_under_its_name),
    ("a_daemon_may_have_threads", a_daemon_may_have_threads),
    ("a_thread_does_not_wait_for_itself", a_thread_does_not_wait_for_itself),
    (
        "a_thread_may_ask_for_itself_while_its_values_are_dropped",
        a_thread_may_ask_for_itself_while_its_values_are_dropped,
    ),
];

fn a_thread_is_waited_for_like_a_process() {
    let (tell, hear) = channel::<()>();
    let child = Process::builder().context(Context::Thread).thread(move || {
        let _ = hear.recv(); // hung up is as good
        7
    });
    let child = child.unwrap();
    assert!(child.name().starts_with("DummyProcess-"), "{child:?}");
    assert_eq!((child.pid(), child.exit_code(), child.is_alive().unwrap()), (None, None, true));
    assert!(format!("{child:?}").ends_with(&format!("' parent={} started>", std::process::id())), "{child:?}");
    assert_eq!(active_children(), std::slice::from_ref(&child));
    assert_eq!(child.join_timeout(Duration::from_millis(2)).unwrap(), None);
    assert_eq!(child.terminate().unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(child.close().unwrap_err().kind(), ErrorKind::InvalidInput);
    drop(tell);
    let mut list = [PollFd::from_borrowed(child.as_fd(), PollFlags::IN)];
    assert_eq!(poll(&mut list, Duration::from_secs(40)).unwrap(), 1);
    assert_eq!(child.join().unwrap(), ExitStatus::Code(7));
    assert_eq!((child.exit_code(), active_children()), (Some(7), vec![]));
    child.terminate().unwrap();
    child.close().unwrap();
}

/// A value that requests the end of its own process when the thread drops its values.
struct Asks(Process, Sender<(bool, Option<i32>, ExitStatus)>);

impl Drop for Asks {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(20)); // somebody waits for this thread by then
        let told = (self.0.is_alive().unwrap(), self.0.exit_code(), self.0.join().unwrap());
        let _ = self.1.send(told);
    }
}

fn a_thread_may_ask_for_itself_while_its_values_are_dropped() {
    thread_local!(static ASKS: RefCell<Option<Asks>> = const { RefCell::new(None) });
    let (lend, own) = channel::<Process>();
    let (tell, hear) = channel();
    let child = Process::builder().thread(move || {
        ASKS.set(Some(Asks(own.recv().unwrap(), tell)));
        7
    });
    let child = child.unwrap();
    lend.send(child.clone()).unwrap();
    assert_eq!(child.join().unwrap(), ExitStatus::Code(7));
    assert_eq!(
        hear.try_recv().unwrap(),
        (false, Some(7), ExitStatus::Code(7)),
        "its values are gone before the wait ends"
    );
}

fn a_thread_that_panics_has_code_one() {
    let child = Process::builder().thread(|| -> u8 { panic!("no more paper; this is meant to be seen") }).unwrap();
    assert_eq!(child.join().unwrap(), ExitStatus::Code(1));
    let panic = child.panic().unwrap().expect("it panicked");
    assert!(panic.message().starts_with("no more paper") && panic.location().contains("guise.rs"), "{panic:?}");
    let quiet = Process::builder().thread(|| -> u8 { ossature::thread::exit() }).unwrap();
    assert_eq!(quiet.join().unwrap(), ExitStatus::Code(0));
}

fn an_error_of_a_thread_is_printed_under_its_name() {
    let scratch = Scratch::new();
    // A program of its own, whose standard error is a file.
    let program = Process::fork(|| {
        redirect(2, &scratch.path("err"));
        let clerk = Process::builder().name("clerk").thread(|| {
            assert_eq!(ossature::threading::current_thread().name(), "clerk");
            Err::<u8, _>("out of ink")
        });
        assert_eq!(clerk.unwrap().join().unwrap(), ExitStatus::Code(1));
    });
    assert!(program.unwrap().join().unwrap().success());
    assert_eq!(scratch.read("err"), "Process clerk:\nError: \"out of ink\"\n");
}

fn a_daemon_may_have_threads() {
    let child = Process::builder()
        .daemon(true)
        .fork(|| Process::builder().thread(|| 3).unwrap().join().unwrap().code().unwrap_or(0));
    let answered = child.map(|child| child.join().unwrap());
    assert_eq!(answered.unwrap(), ExitStatus::Code(3));
}

fn a_thread_does_not_wait_for_itself() {
    let (tell, hear) = channel::<Process>();
    let child = Process::builder().thread(move || {
        let me = hear.recv().unwrap();
        u8::from(me.join().unwrap_err().kind() == ErrorKind::WouldDeadlock)
    });
    let child = child.unwrap();
    tell.send(child.clone()).unwrap();
    assert_eq!(child.join().unwrap(), ExitStatus::Code(1));
}
