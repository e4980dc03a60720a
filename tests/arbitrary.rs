//! Values from the bytes of a fuzzer; without the feature `arbitrary` this file is empty.
#![cfg(feature = "arbitrary")]

use std::collections::HashSet;
use std::os::fd::AsFd;

use arbitrary::Unstructured;
use ossature::arbitrary as from;
use ossature::sys::deadline::Deadline;
use ossature::sys::fd::is_cloexec;
use ossature::sys::pipe::Flags;

/// Bytes of every kind, the same in each run.
fn bytes() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(20_000).collect()
}

#[test]
fn every_kind_of_value_comes() {
    let bytes = bytes();
    let mut bytes = Unstructured::new(&bytes);
    let flags: HashSet<u32> = (0..20).map(|_| from::flags::<Flags>(&mut bytes).unwrap().bits()).collect();
    assert!(flags.len() > 15 && flags.iter().any(|bits| bits >> 31 == 1));
    let deadlines: Vec<_> = (0..40).map(|_| from::deadline(&mut bytes).unwrap()).collect();
    assert!(deadlines.contains(&Deadline::NOW) && deadlines.contains(&Deadline::NEVER));
    assert!(deadlines.iter().any(|deadline| deadline.remaining().is_some_and(|left| !left.is_zero())));
    let signals: HashSet<_> = (0..200).map(|_| from::signal(&mut bytes).unwrap().as_raw()).collect();
    assert!(signals.len() > 40 && !signals.contains(&32));
    assert!((0..20).any(|_| from::signals(&mut bytes).unwrap() != Default::default()));
    #[cfg(feature = "multiprocessing")]
    {
        let families: HashSet<_> =
            (0..40).map(|_| format!("{:?}", std::mem::discriminant(&from::address(&mut bytes).unwrap()))).collect();
        assert_eq!(families.len(), 3);
    }
    let objects = from::descriptors(&mut bytes, 200).unwrap();
    assert!(!objects.is_empty() && objects.iter().all(|(one, _)| is_cloexec(one.as_fd()).unwrap()));
    assert!(objects.iter().any(|(_, other)| other.is_some()) && objects.iter().any(|(_, other)| other.is_none()));
}

#[test]
fn no_bytes_make_values_too() {
    let mut none = Unstructured::new(&[]);
    assert_eq!(from::flags::<Flags>(&mut none).unwrap(), Flags::empty());
    assert_eq!(from::deadline(&mut none).unwrap(), Deadline::NOW);
    assert!(from::descriptors(&mut none, 3).unwrap().is_empty());
}
