//! A template for wrappers of your own: any argument, and under the fault hook each call of the wrapper fails in turn.
//!
//! Copy this file, and put your wrapper in the place of `first_bytes`. `cargo fuzz run template` tries the arguments;
//! `RUSTFLAGS="--cfg ossature_faults" cargo fuzz run template` also looks for what a failed call leaves behind.
#![no_main]

use std::fs::File;
use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use ossature::sys::errno::Errno;
use ossature::sys::faults::sweep::{Failure, Sweep};
use ossature::sys::faults::{self, allowed};

/// The wrapper that is tried: the first bytes of one of three files.
fn first_bytes(which: u8, buffer: &mut [u8]) -> io::Result<usize> {
    let path = ["/dev/zero", "/proc/self/stat", "/nonexistent"][usize::from(which) % 3];
    let mut file = faults::call("open", || File::open(path))?;
    let len = allowed("read", buffer.len());
    faults::call("read", || file.read(&mut buffer[..len]))
}

fuzz_target!(|input: (u8, u8)| {
    let mut buffer = vec![0; input.1.into()];
    if !faults::ENABLED {
        assert!(first_bytes(input.0, &mut buffer).is_ok_and(|len| len <= buffer.len()) || input.0 % 3 == 2);
        return;
    }
    // The fuzzer has threads and descriptors of its own, which stay as they are during a run.
    let sweep = Sweep::new(&[Errno::MFILE, Errno::IO]).ignore_threads();
    match sweep.run(|| first_bytes(input.0, &mut buffer)) {
        Ok(_) | Err(Failure::Undisturbed(_)) => {}
        Err(failure) => panic!("{failure}"),
    }
});
