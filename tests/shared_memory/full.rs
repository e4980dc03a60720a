//! A full file system: an error when a block is made, and never a signal when it is used.

use std::ffi::CStr;

use ossature::multiprocessing::shared_memory::{ShareableList, SharedMemory};
use ossature::multiprocessing::sync::NamedLock;
use ossature::sys::errno::Errno;
use ossature::sys::process::{ExitStatus, Resource, Rlimit, fork, set_rlimit};

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("a_full_file_system_is_an_error_of_creation", a_full_file_system_is_an_error_of_creation),
    ("limits_of_size_are_errors_without_a_signal", limits_of_size_are_errors_without_a_signal),
];

/// The exit code of a child that may not mount a file system of its own.
const NOT_ALLOWED: u8 = 77;

/// Mounts a file system of one MiB at this process's `/dev/shm`.
fn small_memory() -> bool {
    let (kind, place) = (c"tmpfs".as_ptr(), c"/dev/shm".as_ptr());
    // SAFETY: unshare(2) takes numbers.
    let apart = [0, libc::CLONE_NEWUSER].iter().any(|more| unsafe { libc::unshare(libc::CLONE_NEWNS | more) } == 0);
    let nothing: *const libc::c_char = std::ptr::null();
    // SAFETY: mount(2) reads texts that end with a null, and with these flags only the place.
    let private =
        || unsafe { libc::mount(nothing, c"/".as_ptr(), nothing, libc::MS_REC | libc::MS_PRIVATE, nothing.cast()) };
    let options: &CStr = c"size=1m,mode=1777";
    // SAFETY: as above.
    let mount = || unsafe { libc::mount(kind, place, kind, 0, options.as_ptr().cast()) };
    apart && private() == 0 && mount() == 0
}

fn a_full_file_system_is_an_error_of_creation() {
    let mut child = fork(|| {
        if !small_memory() {
            return NOT_ALLOWED;
        }
        let first = SharedMemory::create(600 << 10).unwrap();
        let error = SharedMemory::create(600 << 10).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOSPC));
        assert!(error.to_string().contains("/dev/shm"), "{error}");
        let long = "x".repeat(600 << 10);
        assert_eq!(ShareableList::new([long.as_str()]).unwrap_err().errno(), Some(Errno::NOSPC));
        assert_eq!(std::fs::read_dir("/dev/shm").unwrap().count(), 1, "nothing is left of what failed");
        first.write(0, &vec![7_u8; 600 << 10]).unwrap(); // every page is there
        drop(first);
        let second = SharedMemory::create(600 << 10).unwrap();
        assert_eq!(second.slice(..4), [0; 4]);
        0
    })
    .unwrap();
    match child.wait().unwrap() {
        ExitStatus::Code(NOT_ALLOWED) => eprintln!("LEFT OUT: this process may not mount a file system"),
        end => assert_eq!(end, ExitStatus::Code(0)),
    }
}

fn limits_of_size_are_errors_without_a_signal() {
    let mut child = fork(|| {
        set_rlimit(Resource::Fsize, Rlimit { current: Some(4096), maximum: Some(4096) }).unwrap();
        let error = SharedMemory::create(4097).unwrap_err();
        assert!(error.errno() == Some(Errno::FBIG) && error.to_string().contains("RLIMIT_FSIZE"), "{error}");
        drop(SharedMemory::create(4096).unwrap());
        drop(NamedLock::create().unwrap());
        // A lock takes 16 bytes with 32 bits, and 32 with 64.
        for most in [8, 0] {
            set_rlimit(Resource::Fsize, Rlimit { current: Some(most), maximum: Some(most) }).unwrap();
            let error = NamedLock::create().unwrap_err();
            assert!(error.errno() == Some(Errno::FBIG) && error.to_string().contains("RLIMIT_FSIZE"), "{error}");
        }
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    // Half of a 32-bit process's memory, and more of the machine's, can be had.
    let sizes = if cfg!(target_pointer_width = "64") { &[isize::MAX as usize, usize::MAX][..] } else { &[usize::MAX] };
    for &size in sizes {
        let error = SharedMemory::create(size).unwrap_err().errno();
        assert!([Some(Errno::NOMEM), Some(Errno::FBIG), Some(Errno::NOSPC)].contains(&error), "{error:?}");
    }
}
