//! Mapped memory with failing system calls: mapping, changing, unmapping.

use ossature_sys::errno::{Errno, Result};
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::mmap::{Advice, Flags, Memfd, Protection, Region, Seals};

use crate::sweep::{alone, fails_with, survives, sweep};

/// A size that no allocator uses: the sweep counts mappings of this size.
const ODD: usize = 123 << 20;

fn memory(len: u64) -> Memfd {
    let memory = Memfd::new(c"faults").expect("a memfd");
    memory.set_len(len).expect("a length");
    memory
}

#[test]
fn a_memory_file_is_made_mapped_and_given_back_whatever_fails() {
    let _alone = alone();
    let seen =
        sweep("memfd", &["memfd_create", "ftruncate", "fallocate", "fcntl", "mmap", "munmap"], || -> Result<()> {
            let memory = Memfd::new(c"swept")?;
            memory.set_len(8192)?;
            memory.reserve(8192)?;
            memory.add_seals(Seals::SHRINK | Seals::GROW)?;
            let region = Region::shared(&memory, 8192)?;
            region.copy_in(100, b"bytes")?;
            drop(region);
            memory.add_seals(Seals::WRITE)?;
            drop(Region::sealed(&memory, 8192)?);
            Ok(())
        });
    // memfd_create ftruncate fallocate fcntl, fstat mmap munmap, fcntl, fcntl fstat mmap munmap
    assert_eq!(seen.calls, 12);
}

#[test]
fn memory_is_reserved_in_steps_each_of_which_is_tried_again() {
    const MIB: u64 = 1 << 20;
    let seen = sweep("reserve", &["memfd_create", "fallocate"], || Memfd::new(c"steps")?.reserve(5 * MIB));
    assert_eq!(seen.calls, 5, "memfd_create sysinfo, and three of fallocate");

    let _alone = alone();
    let memory = memory(8 * MIB);
    let found = || rustix::fs::fstat(&memory).expect("its state").st_blocks as u64 * 512;
    memory.reserve(MIB).expect("one");
    let before = found();
    let armed = Rule::on("fallocate", Fault::Fail(Errno::NOSPC)).nth(3).arm().expect("a build with faults");
    assert_eq!(memory.reserve_more(MIB, 8 * MIB), Err(Errno::NOSPC));
    assert_eq!((armed.hits(), found()), (1, before), "what was found is given back, and the rest stays");
}

#[test]
fn a_region_is_managed_whatever_fails() {
    let _alone = alone();
    let memory = memory(8192);
    let retried = ["mmap", "madvise", "mlock", "mlock2", "munlock", "msync", "mprotect", "mremap", "munmap"];
    sweep("region", &retried, || -> Result<()> {
        let mut region = Region::file_write(&memory, 1, 100)?;
        region.advise(0, 100, Advice::WillNeed)?;
        region.lock(0, 1)?;
        region.lock_on_use(0, 1)?;
        region.unlock(0, 1)?;
        region.sync(0, 100)?;
        region.sync_later(0, 100)?;
        region.remap(6000)?;
        region.protect(Protection::READ)
    });
}

#[test]
fn private_memory_is_given_back_whatever_fails() {
    let _alone = alone();
    sweep("private", &["mmap", "mremap"], || Region::private(ODD)?.remap(ODD + 1));
}

#[test]
fn no_memory_is_an_error_that_names_itself() {
    let _alone = alone();
    fails_with("mmap", Errno::NOMEM, || Region::private(100));
    fails_with("mmap", Errno::AGAIN, || Region::anonymous(100));
    fails_with("memfd_create", Errno::MFILE, || Memfd::new(c"x"));
    let memory = memory(100);
    fails_with("fallocate", Errno::NOSPC, || memory.reserve(100));
    fails_with("fstat", Errno::IO, || Region::shared(&memory, 100));
}

#[test]
fn a_region_that_cannot_be_changed_is_as_it_was() {
    let _alone = alone();
    let mut region = Region::private(100).expect("a page");
    region.fill(0, 100, 3).expect("within");
    fails_with("mremap", Errno::NOMEM, || region.remap(100_000));
    fails_with("mprotect", Errno::NOMEM, || region.protect(Protection::READ));
    assert_eq!((region.len(), region.protection()), (100, Protection::READ | Protection::WRITE));
    assert_eq!(region.as_mut_slice(), Some(&mut [3; 100][..]));
}

#[test]
fn a_kernel_without_the_noexec_seal_makes_the_memory_file_without_it() {
    let _alone = alone();
    survives("memfd_create", Errno::INVAL, || {
        let memory = Memfd::new(c"old kernel")?;
        memory.set_len(10)?;
        assert!(!memory.seals()?.contains(Seals::EXEC));
        memory.add_seals(Seals::SHRINK)
    });
    fails_with("memfd_create", Errno::INVAL, || Memfd::new(c"every time"));
}

#[test]
fn memory_that_cannot_be_unmapped_at_once_is_unmapped_after_all() {
    let _alone = alone();
    survives("munmap", Errno::NOMEM, || Region::shared(memory(100), 100).map(drop));
    let region = Region::private(100).expect("a page");
    let rule = Rule::on("munmap", Fault::Count).arm().expect("a rule is free");
    drop(region);
    assert_eq!(rule.hits(), 1);
}

#[test]
fn copies_by_the_kernel_go_on_after_a_signal_and_a_short_copy() {
    let _alone = alone();
    let memory = memory(8192);
    sweep("copies", &["process_vm_readv", "process_vm_writev", "mmap"], || -> Result<()> {
        let region = Region::file_write(&memory, 100, 5000)?;
        region.try_copy_in(1, &[7; 4000])?;
        let mut bytes = [0; 4000];
        region.try_copy_out(1, &mut bytes)?;
        assert_eq!(bytes, [7; 4000]);
        Ok(())
    });
    let region = Region::file_write(&memory, 0, 8192).expect("maps");
    for call in ["process_vm_readv", "process_vm_writev"] {
        let short = Rule::on(call, Fault::Shorten(99)).arm().expect("a rule is free");
        let bytes: Vec<u8> = (0..5000).map(|n| n as u8).collect();
        region.try_copy_in(10, &bytes).expect("within");
        let mut same = vec![0; 5000];
        region.try_copy_out(10, &mut same).expect("within");
        assert_eq!((same == bytes, short.hits() > 50), (true, true), "{call}");
    }
}

#[test]
fn named_memory_of_flags_is_given_back_whatever_fails() {
    let _alone = alone();
    sweep("flags", &["mmap", "munmap"], || {
        let region = Region::with_flags(ODD, Flags::SHARED | Flags::NORESERVE)?;
        match region.set_name(c"swept") {
            Err(Errno::INVAL | Errno::BADF) => Ok(()),
            done => done,
        }
    });
}
