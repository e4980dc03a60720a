//! ppoll with failing system calls.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ossature_sys::errno::Errno;
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::poll::{PollFd, PollFlags, poll};

use crate::sweep::{alone, fails_with, sweep};

#[test]
fn a_poll_loses_nothing_and_retries_signals() {
    let _alone = alone();
    let (near, _far) = UnixStream::pair().unwrap();
    let swept = sweep("poll", &["ppoll"], || {
        let mut fds = [PollFd::new(&near, PollFlags::OUT)];
        let ready = poll(&mut fds, Duration::from_secs(1))?;
        assert_eq!((ready, fds[0].revents()), (1, PollFlags::OUT));
        Ok(())
    });
    assert_eq!((swept.calls, swept.survived), (1, 1), "EINTR alone is survived");
}

#[test]
fn a_refusal_is_the_callers() {
    let _alone = alone();
    for errno in [Errno::NOMEM, Errno::INVAL] {
        fails_with("ppoll", errno, || poll(&mut [], Duration::from_secs(1)));
    }
}

#[test]
fn signals_do_not_stretch_the_wait() {
    let _alone = alone();
    let begin = Instant::now();
    let interrupted = Rule::on("ppoll", Fault::Fail(Errno::INTR)).times(1000).arm().unwrap();
    assert_eq!(poll(&mut [], Duration::from_millis(20)), Ok(0));
    assert_eq!(interrupted.hits(), 1000);
    assert!(begin.elapsed() >= Duration::from_millis(20) && begin.elapsed() < Duration::from_secs(5));
}
