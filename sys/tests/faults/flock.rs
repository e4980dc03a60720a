//! File locks with failing system calls.

use ossature_sys::errno::Errno;
use ossature_sys::flock::FileLock;

use crate::sweep::{alone, fails_with, sweep};

#[test]
fn a_lock_on_a_file_ends_and_leaks_nothing() {
    let seen = sweep("flock", &["open", "flock"], || FileLock::try_create(c"/dev/null").map(drop));
    // An interruption of either is made good, and EAGAIN says that another has it.
    assert_eq!((seen.calls, seen.survived), (2, 3));
}

#[test]
fn refusals_come_back_and_a_lock_of_another_is_none() {
    let _alone = alone();
    fails_with("open", Errno::MFILE, || FileLock::try_create(c"/dev/null").map(drop));
    fails_with("flock", Errno::NOLCK, || FileLock::try_create(c"/dev/null").map(drop));
}
