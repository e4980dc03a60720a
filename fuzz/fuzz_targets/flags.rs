//! Flag words of any bits against the raw calls: unknown bits are kept, and the kernel's answer is the caller's.
#![no_main]

use core::ffi::c_int;
use std::fs::File;
use std::os::fd::FromRawFd;

use libfuzzer_sys::fuzz_target;
use ossature_sys::mmap::{Memfd, Seals};
use ossature_sys::pipe::{Flags, pipe};

/// The answer of a C call that yields a descriptor, which is closed again.
fn closed(answer: c_int) -> Result<(), i32> {
    // SAFETY: a call that did not answer -1 has just opened this descriptor, and nobody else knows it.
    let file = (answer >= 0).then(|| unsafe { File::from_raw_fd(answer) });
    file.map(drop).ok_or_else(|| std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

fuzz_target!(|bits: (u32, u32)| {
    assert_eq!(Flags::from_bits_retain(bits.0).bits(), bits.0);
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for the two descriptors that pipe2(2) writes.
    let raw = unsafe { libc::pipe2(ends.as_mut_ptr(), bits.0 as c_int | libc::O_CLOEXEC) };
    let raw = if raw == 0 { closed(ends[0]).and(closed(ends[1])) } else { closed(raw) };
    let ours = pipe(Flags::from_bits_retain(bits.0)).map(drop).map_err(|errno| errno.raw_os_error());
    assert_eq!(ours, raw, "pipe2 with {:#x}", bits.0);

    let seals = Seals::from_bits_retain(bits.1);
    assert_eq!(seals.bits(), bits.1);
    let memfd = Memfd::new(c"fuzz").expect("a memfd");
    let before = memfd.seals().expect("seals");
    let wanted = memfd.add_seals(seals).map_or(before, |()| before | seals);
    // The kernel adds seals of its own beside F_SEAL_EXEC.
    let after = memfd.seals().expect("seals");
    assert!(
        after.contains(wanted) && (after == wanted || seals.contains(Seals::EXEC)),
        "{before:?} {seals:?} {after:?}"
    );
});
