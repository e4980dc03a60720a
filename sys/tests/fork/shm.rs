//! Shared memory in unusual processes: with limits, without standard streams, in another pid namespace.

use std::fs::File;
use std::os::fd::AsRawFd;

use ossature_sys::errno::Errno;
use ossature_sys::fd::{OwnedFd, duplicate};
use ossature_sys::process::{ExitStatus, Resource, Rlimit, fork, replace_stdout, rlimit, set_rlimit};
use ossature_sys::scope::Shared;
use ossature_sys::shm::{AttachError, Shareable, Shm};
use ossature_sys::sync::lock::Lock;

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    (
        "memory_beyond_the_limit_of_files_is_an_error_and_no_signal",
        memory_beyond_the_limit_of_files_is_an_error_and_no_signal,
    ),
    ("memory_never_has_the_number_of_a_standard_stream", memory_never_has_the_number_of_a_standard_stream),
    ("memory_of_another_pid_namespace_is_refused", memory_of_another_pid_namespace_is_refused),
];

pub fn descriptor<T: ?Sized + Shareable>(shm: &Shm<T>) -> OwnedFd {
    // SAFETY: the tests attach to it, or look at its number.
    duplicate(unsafe { shm.descriptor() }).unwrap()
}

pub fn attach(memory: OwnedFd) -> Result<Shm<Lock<u64, Shared>>, AttachError> {
    // SAFETY: all who have the descriptor are in the test, and use it through `Shm`.
    unsafe { Shm::from_fd(memory) }
}

fn memory_beyond_the_limit_of_files_is_an_error_and_no_signal() {
    let mut child = fork(|| {
        let Rlimit { maximum, .. } = rlimit(Resource::Fsize).unwrap();
        for current in [0, 64, 4096] {
            set_rlimit(Resource::Fsize, Rlimit { current: Some(current), maximum }).unwrap();
            assert_eq!(Shm::place_slice(1000, |_| 0_u64).unwrap_err(), Errno::FBIG);
            assert_eq!(Shm::place_locked_slice(1000, |_| 0_u64).unwrap_err(), Errno::FBIG);
            assert_eq!(Shm::place([0_u64; 1000]).unwrap_err(), Errno::FBIG);
        }
        // What is as large as is allowed is made.
        assert_eq!(Shm::place_slice(64, |_| 7_u8).unwrap().len(), 64);
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

/// A program without std's start code may have none of the standard streams open, and opens others under their numbers.
fn memory_never_has_the_number_of_a_standard_stream() {
    let mut child = fork(|| {
        let other = File::open("/dev/null").unwrap();
        let made = Shm::place(Lock::<u64, Shared>::shared(7)).unwrap();
        let spare = descriptor(&made);
        let close = || {
            for number in 0..3 {
                // SAFETY: this child uses none of them any more.
                unsafe { libc::close(number) };
            }
        };
        close();
        let placed = Shm::place(Lock::<u64, Shared>::shared(8)).unwrap();
        let cloned = made.try_clone().unwrap();
        let attached = attach(duplicate(&spare).unwrap()).unwrap();
        for memory in [&placed, &cloned, &attached] {
            // SAFETY: only its number is looked at.
            assert!(unsafe { memory.descriptor() }.as_raw_fd() > 2);
        }
        replace_stdout(&other).unwrap();
        assert_eq!(*placed.try_clone().unwrap().lock().unwrap(), 8);
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

fn memory_of_another_pid_namespace_is_refused() {
    let outer = Shm::place(Lock::<u64, Shared>::shared(7)).unwrap();
    let mut child = fork(|| {
        // SAFETY: unshare(2) has no preconditions.
        if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
            println!("SKIPPED: memory_of_another_pid_namespace_is_refused may not make a pid namespace");
            return 0;
        }
        let mut nested = fork(|| {
            assert_eq!(attach(descriptor(&outer)).unwrap_err(), AttachError::OtherPidNamespace);
            let own = Shm::place(Lock::<u64, Shared>::shared(7)).unwrap();
            assert!(attach(descriptor(&own)).is_ok());
            0
        })
        .unwrap();
        assert_eq!(nested.wait(), Ok(ExitStatus::Code(0)));
        // This process has stayed where it was.
        assert!(attach(descriptor(&outer)).is_ok());
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}
