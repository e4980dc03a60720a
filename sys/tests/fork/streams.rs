//! The numbers of standard streams in a process that was started without them.

use std::os::fd::AsRawFd;

use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::{self, AsFd, open_standard_streams};
use ossature_sys::process::{ExitStatus, fork};

use crate::harness::{Test, descriptors};

pub const TESTS: &[Test] = &[
    ("closed_standard_streams_are_opened", closed_standard_streams_are_opened),
    ("open_standard_streams_stay_as_they_are", open_standard_streams_stay_as_they_are),
];

/// Runs `body` in a child where these streams are closed; it answers whether all is well.
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
