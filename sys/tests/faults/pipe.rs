//! Pipes with failing system calls.

use ossature_sys::errno::Errno;
use ossature_sys::pipe::{Flags, capacity, pipe, set_capacity, unread};

use crate::sweep::{alone, fails_with, sweep};

#[test]
fn everything_about_a_pipe_ends_and_leaks_nothing() {
    let _alone = alone();
    let seen = sweep("pipe", &[], || {
        let (reader, writer) = pipe(Flags::NONBLOCK)?;
        set_capacity(&writer, capacity(&reader)?)?;
        unread(&reader).map(drop)
    });
    assert_eq!((seen.calls, seen.survived), (4, 0));
}

#[test]
fn no_descriptor_left_is_an_error() {
    let _alone = alone();
    fails_with("pipe2", Errno::MFILE, || pipe(Flags::empty()));
    fails_with("pipe2", Errno::NFILE, || pipe(Flags::empty()));
}
