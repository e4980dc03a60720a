//! pselect with failing system calls.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::fd::AsFd;
use ossature_sys::poll::PollFd;
use ossature_sys::select::{FdSet, READ, WRITE, select, select_slice};

use crate::sweep::{alone, fails_with, sweep};

#[test]
fn a_select_loses_nothing_and_retries_signals() {
    let _alone = alone();
    let (near, _far) = UnixStream::pair().unwrap();
    let swept = sweep("select", &["pselect"], || {
        let mut words = [0; FdSet::words_for(1024)];
        let mut write = FdSet::new(&mut words);
        write.insert(near.as_fd())?;
        assert_eq!(select(&mut FdSet::none(), &mut write, &mut FdSet::none(), Duration::from_secs(1))?, 1);
        assert!(write.contains(&near));
        Ok(())
    });
    assert_eq!(swept.calls, 2, "one look at the highest descriptor and the call itself");
}

#[test]
fn a_refusal_leaves_the_sets_as_they_were() {
    let _alone = alone();
    let (near, _far) = UnixStream::pair().unwrap();
    let mut words = [0; FdSet::words_for(1024)];
    let mut read = FdSet::new(&mut words);
    read.insert(near.as_fd()).unwrap();
    for call in ["fcntl", "pselect"] {
        let no_time = Deadline::NOW;
        fails_with(call, Errno::NOMEM, || select(&mut read, &mut FdSet::none(), &mut FdSet::none(), no_time));
        assert!(read.contains(&near));
    }
}

#[test]
fn a_signal_that_outlasts_the_deadline_still_clears_the_sets() {
    let _alone = alone();
    let (near, _far) = UnixStream::pair().unwrap();
    let mut words = [0; FdSet::words_for(1024)];
    let mut read = FdSet::new(&mut words);
    read.insert(near.as_fd()).unwrap();
    let interrupted = Rule::on("pselect", Fault::Fail(Errno::INTR)).nth(1).arm().unwrap();
    // The call that failed did not get as far as this rule.
    let late = Rule::on("pselect", Fault::Delay(Duration::from_millis(5))).nth(1).arm().unwrap();
    let ready = select(&mut read, &mut FdSet::none(), &mut FdSet::none(), Duration::from_millis(1));
    assert_eq!((ready, interrupted.hits(), late.hits()), (Ok(0), 1, 1));
    assert!(read.is_empty());
}

#[test]
fn a_slice_loses_nothing_and_retries_signals() {
    let _alone = alone();
    let (near, _far) = UnixStream::pair().unwrap();
    sweep("select_slice", &["ppoll"], || {
        let mut fds = [PollFd::new(&near, READ | WRITE)];
        select_slice(&mut fds, Duration::from_secs(1)).map(drop)
    });
}
