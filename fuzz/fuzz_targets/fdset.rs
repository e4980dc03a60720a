//! FdSet against a BTreeSet: whatever is inserted and removed, both hold the same, and nothing is out of bounds.
#![no_main]

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, BorrowedFd};

use libfuzzer_sys::fuzz_target;
use ossature_sys::select::FdSet;

fuzz_target!(|input: (u8, Vec<(bool, u16)>)| {
    let mut words = vec![0; input.0.into()];
    let room = words.len() * usize::BITS as usize;
    let (mut set, mut model) = (FdSet::new(&mut words), BTreeSet::new());
    for (put_in, number) in input.1 {
        // SAFETY: the set only counts; no call sees the number.
        let fd = unsafe { BorrowedFd::borrow_raw(number.into()) };
        if put_in {
            assert_eq!(set.insert(fd).is_ok(), usize::from(number) < room);
            model.extend((usize::from(number) < room).then_some(i32::from(number)));
        } else {
            assert_eq!(set.remove(fd), model.remove(&i32::from(number)));
        }
        assert_eq!((set.contains(fd), set.len()), (model.contains(&i32::from(number)), model.len()));
    }
    assert!(set.iter().map(|fd| fd.as_raw_fd()).eq(model.iter().copied()));
});
