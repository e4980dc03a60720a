//! Mapped memory in a sandbox that forbids its system calls.

use libc::c_long;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::mmap::{Advice, Memfd, Protection, Region, page_size};

use crate::filter::refused;

/// The number of mmap(2). Machines with 32 bits use another number.
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
const MMAP: &[c_long] = &[libc::SYS_mmap2];
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
const MMAP: &[c_long] = &[libc::SYS_mmap];

#[test]
fn a_region_names_the_refusal_and_is_as_it_was() {
    needs!(seccomp_filters);
    let file = Memfd::new(c"refused").unwrap();
    file.set_len(2 * page_size() as u64).unwrap();
    let mut region = Region::file_write(&file, 0, page_size()).unwrap();
    region.copy_in(0, b"bones").unwrap();
    for errno in [Errno::PERM, Errno::NOMEM, Errno::ACCESS] {
        let made = refused(MMAP, errno, || [Region::private(1), Region::anonymous(1)].map(|made| made.map(drop)));
        assert_eq!(made, [Err(errno); 2]);
        assert_eq!(refused(MMAP, errno, || Region::shared(&file, 1).map(drop)), Err(errno));
        assert_eq!(refused(&[libc::SYS_mremap], errno, || region.remap(2 * page_size())), Err(errno));
        assert_eq!(refused(&[libc::SYS_mprotect], errno, || region.protect(Protection::READ)), Err(errno));
        type Call = fn(&Region) -> Result<()>;
        let calls: [(&[c_long], Call); 6] = [
            (&[libc::SYS_madvise], |region| region.advise(0, 1, Advice::WillNeed)),
            (&[libc::SYS_msync], |region| region.sync(0, 1)),
            (&[libc::SYS_mlock], |region| region.lock(0, 1)),
            (&[libc::SYS_munlock], |region| region.unlock(0, 1)),
            (&[libc::SYS_process_vm_readv], |region| region.try_copy_out(0, &mut [0; 5])),
            (&[libc::SYS_process_vm_writev], |region| region.try_copy_in(0, b"femur")),
        ];
        for (numbers, call) in calls {
            assert_eq!(refused(numbers, errno, || call(&region)), Err(errno), "{numbers:?}");
        }
        let mut bytes = [0; 5];
        region.copy_out(0, &mut bytes).unwrap();
        assert_eq!(
            (&bytes, region.len(), region.protection()),
            (b"bones", page_size(), Protection::READ | Protection::WRITE)
        );
    }
}

#[test]
fn a_region_that_may_not_be_unmapped_is_left_there() {
    needs!(seccomp_filters);
    let region = Region::private(page_size()).unwrap();
    region.copy_in(0, b"bones").unwrap();
    let place = region.as_ptr();
    refused(&[libc::SYS_munmap], Errno::PERM, || drop(region));
    // SAFETY: the memory is mapped still, as the refusal leaves it, and nobody else has the address.
    assert_eq!(unsafe { place.read() }, b'b');
}
