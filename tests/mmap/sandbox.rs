//! Maps in a sandbox: the kernel refuses a call that a map needs, and the error names the call or the remedy.

use std::io::Write;

use libc::c_long;
use ossature::ErrorKind::{Os, Truncated, Unsupported};
use ossature::mmap::{Access, Advice, Mmap};
use ossature::sys::errno::Errno;

use crate::filter::refused;
use crate::harness::Test;
use crate::{bytes, file};

pub const TESTS: &[Test] = &[
    ("a_refused_map_says_what_may_forbid_it", a_refused_map_says_what_may_forbid_it),
    ("a_refused_change_leaves_map_and_file_as_they_were", a_refused_change_leaves_map_and_file_as_they_were),
    ("bytes_go_the_way_that_a_sandbox_allows", bytes_go_the_way_that_a_sandbox_allows),
    ("without_a_way_to_the_bytes_the_error_names_the_call", without_a_way_to_the_bytes_the_error_names_the_call),
];

/// The numbers of mmap(2), ftruncate(2) and fcntl(2). Machines with 32 bits use other numbers.
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
const NUMBERS: [c_long; 3] = [libc::SYS_mmap2, libc::SYS_ftruncate64, libc::SYS_fcntl64];
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
const NUMBERS: [c_long; 3] = [libc::SYS_mmap, libc::SYS_ftruncate, libc::SYS_fcntl];
const MMAP: &[c_long] = &[NUMBERS[0]];
const FTRUNCATE: &[c_long] = &[NUMBERS[1]];
const FCNTL: &[c_long] = &[NUMBERS[2]];

fn a_refused_map_says_what_may_forbid_it() {
    needs!(seccomp_filters);
    let given = file(b"0123456789");
    for errno in [Errno::PERM, Errno::ACCESS, Errno::NOMEM] {
        let made = refused(MMAP, errno, || Mmap::new(&given, Access::Read)).unwrap_err();
        assert_eq!((made.kind(), made.errno()), (Os, Some(errno)));
        assert!(errno != Errno::PERM || made.to_string().contains("sandbox"), "{made}");
        let made = refused(MMAP, errno, || Mmap::private(10)).unwrap_err();
        assert_eq!((made.kind(), made.errno()), (Os, Some(errno)), "{made}");
    }
    let made = refused(FCNTL, Errno::PERM, || Mmap::new(&given, Access::Read)).unwrap_err();
    assert!(made.to_string().contains("duplicated"), "{made}");
    assert_eq!(Mmap::new(&given, Access::Read).unwrap().slice(..).unwrap(), b"0123456789");
}

fn a_refused_change_leaves_map_and_file_as_they_were() {
    needs!(seccomp_filters);
    let given = file(b"0123456789");
    let mut map = Mmap::new(&given, Access::Write).unwrap();
    type Change = fn(&mut Mmap) -> ossature::Result<()>;
    let changes: [(&[c_long], Change, &str); 6] = [
        (&[libc::SYS_mremap], |map| map.resize(100_000), "cannot be resized"),
        (FTRUNCATE, |map| map.resize(100_000), "cannot be resized"),
        (FTRUNCATE, |map| map.resize(4), "cannot be resized"),
        (&[libc::SYS_msync], |map| map.flush_range(..), "cannot be flushed"),
        (&[libc::SYS_msync], |map| map.flush().map_err(Into::into), "cannot be flushed"),
        (&[libc::SYS_madvise], |map| map.advise(.., Advice::WillNeed), "advice"),
    ];
    for (calls, change, says) in changes {
        let error = refused(calls, Errno::PERM, || change(&mut map)).unwrap_err();
        assert_eq!((error.kind(), error.errno()), (Os, Some(Errno::PERM)), "{calls:?}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(
            (map.len(), map.slice(..).unwrap(), bytes(&given)),
            (10, b"0123456789".to_vec(), b"0123456789".to_vec())
        );
    }
    // What may not be unmapped stays mapped, and the drop says nothing.
    refused(&[libc::SYS_munmap], Errno::PERM, || drop(map));
}

fn bytes_go_the_way_that_a_sandbox_allows() {
    needs!(seccomp_filters);
    let given = file(b"0123456789");
    for errno in [Errno::PERM, Errno::NOSYS, Errno::ACCESS] {
        let mut map = Mmap::new(&given, Access::Write).unwrap();
        for forbidden in [libc::SYS_pread64, libc::SYS_process_vm_readv] {
            assert_eq!(refused(&[forbidden], errno, || map.slice(2..5)).unwrap(), b"234");
            assert_eq!(refused(&[forbidden], errno, || map.find(b"789")).unwrap(), Some(7));
        }
        for (forbidden, byte) in [(libc::SYS_pwrite64, b'x'), (libc::SYS_process_vm_writev, b'0')] {
            refused(&[forbidden], errno, || map.set(0, byte)).unwrap();
            assert_eq!((map.get(0).unwrap(), bytes(&given)[0]), (byte, byte));
        }
        given.set_len(5).unwrap();
        for forbidden in [libc::SYS_pread64, libc::SYS_process_vm_readv] {
            let cut = refused(&[forbidden], errno, || map.slice(..)).unwrap_err();
            assert_eq!(cut.kind(), Truncated);
        }
        // No write makes the file longer again.
        for forbidden in [libc::SYS_pwrite64, libc::SYS_process_vm_writev] {
            let cut = refused(&[forbidden], errno, || map.set_slice(3..6, b"xyz")).unwrap_err();
            assert_eq!((cut.kind(), bytes(&given).len()), (Truncated, 5));
        }
        given.set_len(0).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&given, b"0123456789", 0).unwrap();
    }
}

fn without_a_way_to_the_bytes_the_error_names_the_call() {
    needs!(seccomp_filters);
    let given = file(b"0123456789");
    let both_out = [libc::SYS_pread64, libc::SYS_process_vm_readv];
    let both_in = [libc::SYS_pwrite64, libc::SYS_process_vm_writev];
    let names = |error: ossature::Error, call: &str| {
        assert!(error.kind() == Unsupported && error.to_string().contains(call), "{error}");
        assert!(error.to_string().contains("in the sandbox"), "{error}");
    };
    let mut map = Mmap::new(&given, Access::Write).unwrap();
    names(refused(&both_out, Errno::PERM, || map.get(1)).unwrap_err(), "process_vm_readv");
    names(refused(&both_in, Errno::PERM, || map.set(1, 1)).unwrap_err(), "process_vm_writev");
    // A copy that was written, and a map without the descriptor, have one way only.
    let mut copy = Mmap::new(&given, Access::Copy).unwrap();
    copy.write_all(b"x").unwrap();
    names(refused(&both_out[1..], Errno::PERM, || copy.get(1)).unwrap_err(), "process_vm_readv");
    names(refused(&both_in[1..], Errno::PERM, || copy.set(1, 1)).unwrap_err(), "process_vm_writev");
    let untracked = Mmap::options().untracked().map(&given).unwrap();
    names(refused(&both_out[1..], Errno::PERM, || untracked.get(1)).unwrap_err(), "untracked");
    assert_eq!((copy.slice(..2).unwrap(), bytes(&given)), (b"x1".to_vec(), b"0123456789".to_vec()));
    // Memory of this process needs no call.
    let mut private = Mmap::private(10).unwrap();
    refused(&[&both_out[..], &both_in].concat(), Errno::PERM, || private.set(1, 7)).unwrap();
    assert_eq!(private.get(1).unwrap(), 7);
}
