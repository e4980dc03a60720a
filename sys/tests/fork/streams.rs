//! The descriptor numbers of the standard streams in a process that was started without these streams.

use std::os::fd::AsRawFd;

use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::{self, AsFd, open_standard_streams};
use ossature_sys::process::{ExitStatus, fork};

use crate::harness::{Test, descriptors};

pub const TESTS: &[Test] = &[
    ("closed_standard_streams_are_opened", closed_standard_streams_are_opened),
    ("open_standard_streams_stay_as_they_are", open_standard_streams_stay_as_they_are),
    #[cfg(ossature_faults)]
    ("what_a_thread_prints_reaches_no_start", what_a_thread_prints_reaches_no_start),
];

/// Runs `body` in a child where these streams are closed. `body` returns whether all is well.
fn without(streams: &[i32], body: impl FnOnce() -> bool) {
    let mut child = fork(|| {
        for number in streams {
            // SAFETY: nothing in this child owns the standard streams.
            unsafe { libc::close(*number) };
        }
        u8::from(!body())
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)), "{streams:?}");
}

fn closed_standard_streams_are_opened() {
    for streams in [&[0][..], &[1], &[2], &[0, 2], &[0, 1, 2]] {
        without(streams, || {
            let before = descriptors();
            let mut expected = before.clone();
            expected.extend(streams.iter().map(|number| (*number, "/dev/null".to_owned())));
            open_standard_streams().is_ok()
                && descriptors() == expected
                && fd::write_all(fd::stdout(), b"", None) == Ok(0)
                && (!streams.contains(&1) || fd::write_all(fd::stdout(), b"gone", None) == Ok(4))
                && (!streams.contains(&0) || fd::read(fd::stdin(), &mut [0; 1]) == Ok(0))
                && EventFd::counter(0).is_ok_and(|counter| counter.as_fd().as_raw_fd() > 2)
        });
    }
}

fn open_standard_streams_stay_as_they_are() {
    let before = descriptors();
    assert_eq!(open_standard_streams(), Ok(()));
    assert_eq!(descriptors(), before);
}

/// The start is stopped once it has its pipe, and a second thread checks which number the pipe has.
#[cfg(ossature_faults)]
fn what_a_thread_prints_reaches_no_start() {
    use ossature_sys::faults::{Fault, Rule};
    use ossature_sys::process::{Argument, Plan};
    use std::time::Duration;
    let is_pipe = |number| {
        std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|it| it.to_string_lossy().starts_with("pipe:"))
    };
    without(&[0, 1, 2], || {
        std::thread::scope(|scope| {
            let looks = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(150));
                (0..3).any(is_pipe)
            });
            let rule = Rule::on("clone3", Fault::Delay(Duration::from_millis(500))).nth(1).arm().unwrap();
            let ended =
                Plan::new(c"/bin/true", &[Argument::new(c"true"), Argument::END]).unwrap().start().unwrap().wait();
            ended == Ok(ExitStatus::Code(0)) && rule.hits() == 1 && !looks.join().unwrap()
        })
    });
}
