//! Maps of files with failing system calls: present only under `--cfg ossature_faults`.

use std::fs::File;
use std::io::{Seek, Write};

use ossature::mmap::{Access, Advice, Discard, Mmap};
use ossature::sys::errno::Errno;
use ossature::sys::faults::sweep::Sweep;
use ossature::sys::faults::{Fault, Rule};
use ossature::sys::mmap::{Memfd, Seals};
use ossature::{ErrorKind, Result};

use crate::kind;

fn memory(bytes: &[u8]) -> Memfd {
    let memory = Memfd::new(c"faulty").unwrap();
    ossature::sys::fd::write(&memory, bytes).unwrap();
    memory
}

/// Runs `life` while every call of these C functions fails.
fn without<T>(calls: &[&'static str], errno: Errno, life: impl FnOnce() -> T) -> T {
    let rules = calls.iter().map(|name| Rule::on(name, Fault::Fail(errno)).arm().expect("a build with faults"));
    let rules: Vec<_> = rules.collect();
    let answer = life();
    drop(rules);
    answer
}

#[test]
fn a_map_is_made_used_and_given_back_whatever_fails() {
    let _alone = crate::alone();
    let file = memory(&[b'x'; 10_000]);
    let sealed = memory(b"for ever");
    sealed.add_seals(Seals::WRITE | Seals::SHRINK).unwrap();
    let errnos =
        [Errno::INTR, Errno::NOMEM, Errno::MFILE, Errno::AGAIN, Errno::PERM, Errno::NOSPC, Errno::NOSYS, Errno::FAULT];
    let life = || -> Result<()> {
        file.set_len(10_000)?;
        let mut map = Mmap::options().offset(5).map(&file)?;
        map.set_slice(10..15, b"bones")?;
        map.find(b"bones")?;
        map.write_all(b"femur")?;
        map.rewind()?;
        map.readline()?;
        map.flush_range(..)?;
        map.advise(.., Advice::WillNeed)?;
        map.resize(20_000)?;
        map.resize(5_000)?;
        let mut copy = Mmap::new(&file, Access::Copy)?;
        copy.set(3, 7)?;
        copy.get(3)?;
        copy.discard(.., Discard::DontNeed)?;
        let mut private = Mmap::private(123 << 20)?;
        private.resize(124 << 20)?;
        Mmap::options().map_proven(&sealed).map(drop)
    };
    let swept = Sweep::new(&errnos).ignore_threads().run_with(life, |call, _| {
        let len = file.len().unwrap();
        assert!([10_000, 20_005, 5_005].contains(&len), "{len} after {call:?}");
    });
    let swept = swept.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(swept.calls >= 30 && swept.refused > swept.calls, "{swept:?}");
}

#[test]
fn a_read_goes_the_other_way_where_one_is_forbidden() {
    let _alone = crate::alone();
    let file = memory(b"0123456789");
    let map = Mmap::new(&file, Access::Read).unwrap();
    for errno in [Errno::NOSYS, Errno::PERM, Errno::ACCESS, Errno::INVAL, Errno::OPNOTSUPP] {
        without(&["pread"], errno, || assert_eq!(map.slice(..).unwrap(), b"0123456789"));
    }
    for errno in [Errno::NOSYS, Errno::PERM, Errno::ACCESS] {
        without(&["process_vm_readv"], errno, || assert_eq!(map.slice(..).unwrap(), b"0123456789"));
        let error = without(&["process_vm_readv", "pread"], errno, || map.slice(..).unwrap_err());
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("process_vm_readv"), "{error}");
    }
    let error = without(&["pread"], Errno::IO, || map.slice(..).unwrap_err());
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::IO)));
    file.set_len(5).unwrap();
    for forbidden in [["pread"], ["process_vm_readv"]] {
        without(&forbidden, Errno::NOSYS, || {
            assert_eq!((kind(map.slice(..)), map.slice(..5).unwrap()), (ErrorKind::Truncated, b"01234".to_vec()));
        });
    }
}

#[test]
fn a_write_goes_the_other_way_where_one_is_forbidden() {
    let _alone = crate::alone();
    for errno in [Errno::NOSYS, Errno::PERM, Errno::ACCESS] {
        let file = memory(b"0123456789");
        let mut map = Mmap::new(&file, Access::Write).unwrap();
        without(&["process_vm_writev"], errno, || map.set_slice(2..5, b"abc").unwrap());
        assert_eq!(map.slice(..).unwrap(), b"01abc56789");
        // A write to the file would make it longer again.
        file.set_len(5).unwrap();
        without(&["process_vm_writev"], errno, || {
            assert_eq!([map.set(5, 1), map.set_slice(4..6, b"xx")].map(kind), [ErrorKind::Truncated; 2]);
            map.set(4, b'!').unwrap();
        });
        assert_eq!((file.len().unwrap(), map.slice(..5).unwrap()), (5, b"01ab!".to_vec()));
        let error = without(&["process_vm_writev", "pwrite"], errno, || map.set(0, 1).unwrap_err());
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("process_vm_writev"), "{error}");
    }
}

#[test]
fn what_only_the_pages_have_is_refused_without_them() {
    let _alone = crate::alone();
    let file = memory(b"0123456789");
    let mut copy = Mmap::new(&file, Access::Copy).unwrap();
    without(&["process_vm_readv"], Errno::NOSYS, || assert_eq!(copy.get(1).unwrap(), b'1', "not written yet"));
    copy.set(1, b'x').unwrap();
    let mut untracked = Mmap::options().untracked().map(&file).unwrap();
    without(&["process_vm_readv", "process_vm_writev"], Errno::PERM, || {
        let refused = [copy.get(1).map(drop), copy.set(1, b'y'), untracked.get(1).map(drop), untracked.set(1, b'y')];
        for refused in refused {
            let error = refused.unwrap_err();
            assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("in the sandbox"), "{error}");
        }
    });
    assert_eq!((copy.get(1).unwrap(), untracked.get(1).unwrap()), (b'x', b'1'));
    // To a file that appends, a write at a place goes to the end.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let appending = File::options().read(true).append(true).open(path).unwrap();
    let mut map = Mmap::new(&appending, Access::Write).unwrap();
    assert_eq!(without(&["process_vm_writev"], Errno::NOSYS, || kind(map.set(1, b'y'))), ErrorKind::Unsupported);
    assert_eq!(file.len().unwrap(), 10);
}

#[test]
fn short_copies_are_gone_on_with() {
    let _alone = crate::alone();
    let data: Vec<u8> = (0..=255).collect();
    let file = memory(&data);
    for shortened in ["pread", "process_vm_readv", "process_vm_writev", "pwrite"] {
        let rule = Rule::on(shortened, Fault::Shorten(7)).arm().expect("a build with faults");
        let other = match shortened {
            "process_vm_readv" => Some("pread"),
            "pwrite" => Some("process_vm_writev"),
            _ => None,
        };
        without(other.as_slice(), Errno::NOSYS, || {
            let mut map = Mmap::new(&file, Access::Write).unwrap();
            let turned: Vec<u8> = map.slice(..).unwrap().into_iter().rev().collect();
            map.set_slice(.., &turned).unwrap();
            assert_eq!(map.slice(..).unwrap(), turned);
        });
        assert!(rule.hits() > 30, "{shortened}");
    }
}

#[test]
fn a_page_that_cannot_be_had_is_not_a_cut_file() {
    let _alone = crate::alone();
    let file = memory(b"0123456789");
    let mut map = Mmap::new(&file, Access::Write).unwrap();
    let error = without(&["process_vm_writev"], Errno::FAULT, || map.set(1, 1).unwrap_err());
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::FAULT)));
    // A moment later the page is there.
    let rule = Rule::on("process_vm_writev", Fault::Fail(Errno::FAULT)).times(1).arm().expect("a build with faults");
    map.set(1, b'x').unwrap();
    assert_eq!((rule.hits(), map.get(1).unwrap()), (1, b'x'));
}

#[test]
fn a_length_that_is_refused_half_way_is_taken_back() {
    let _alone = crate::alone();
    let file = memory(b"0123456789");
    let mut map = Mmap::new(&file, Access::Write).unwrap();
    let error = without(&["mremap"], Errno::NOMEM, || map.resize(100_000).unwrap_err());
    assert_eq!((error.errno(), file.len().unwrap(), map.len()), (Some(Errno::NOMEM), 10, 10));
    let error = without(&["ftruncate"], Errno::NOSPC, || map.resize(100_000).unwrap_err());
    assert_eq!((error.errno(), file.len().unwrap(), map.len()), (Some(Errno::NOSPC), 10, 10));
    let error = without(&["ftruncate"], Errno::PERM, || map.resize(4).unwrap_err());
    assert_eq!(
        (error.errno(), file.len().unwrap(), map.slice(..).unwrap()),
        (Some(Errno::PERM), 10, b"0123456789".to_vec())
    );
}

#[test]
fn a_kernel_that_maps_no_sealed_file_shared_maps_it_private() {
    let _alone = crate::alone();
    let sealed = memory(b"for ever");
    sealed.add_seals(Seals::WRITE | Seals::SHRINK).unwrap();
    let refused = Rule::on("mmap", Fault::Fail(Errno::PERM)).times(1).arm().expect("a build with faults");
    let map = Mmap::options().map_proven(&sealed);
    assert_eq!(refused.hits(), 1);
    assert_eq!(map.unwrap().as_slice(), Some(&b"for ever"[..]));
}
