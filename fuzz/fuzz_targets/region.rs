//! Regions of memory against a vector: copies, fills, words, new lengths, at offsets and lengths of any size.
#![no_main]

use core::sync::atomic::Ordering::Relaxed;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ossature_sys::errno::Errno;
use ossature_sys::mmap::{Memfd, Region};

#[derive(Arbitrary, Debug)]
enum Step {
    In(usize, Vec<u8>),
    Out(usize, u16),
    Fill(usize, usize, u8),
    Word(usize, u32),
    Length(usize),
    Sync(usize, usize),
}
use Step::*;

fn near(offset: usize) -> usize {
    // Half of the numbers lie where something can be hit.
    if offset % 2 == 0 { offset % 12_000 } else { offset }
}

fuzz_target!(|input: (bool, u16, u16, Vec<Step>)| {
    let (private, offset, len, steps) = input;
    let (offset, len) = (usize::from(offset), usize::from(len).max(1));
    let memory = Memfd::new(c"fuzz").unwrap();
    memory.set_len(1 << 18).unwrap();
    let made = if private { Region::private(len) } else { Region::file_write(&memory, offset as u64, len) };
    let (mut region, mut model) = (made.unwrap(), vec![0; len]);
    for step in steps {
        match step {
            In(at, bytes) => match model.get_mut(near(at)..).and_then(|rest| rest.get_mut(..bytes.len())) {
                Some(place) => {
                    place.copy_from_slice(&bytes);
                    region.copy_in(near(at), &bytes).unwrap();
                }
                None => assert_eq!(region.copy_in(near(at), &bytes), Err(Errno::RANGE)),
            },
            Out(at, len) => {
                let mut bytes = vec![7; len.into()];
                match model.get(near(at)..).and_then(|rest| rest.get(..len.into())) {
                    Some(place) => assert_eq!((region.copy_out(near(at), &mut bytes), &*bytes), (Ok(()), place)),
                    None => assert_eq!(region.copy_out(near(at), &mut bytes), Err(Errno::RANGE)),
                }
            }
            Fill(at, len, byte) => match model.get_mut(near(at)..).and_then(|rest| rest.get_mut(..near(len))) {
                Some(place) => {
                    place.fill(byte);
                    region.fill(near(at), near(len), byte).unwrap();
                }
                None => assert_eq!(region.fill(near(at), near(len), byte), Err(Errno::RANGE)),
            },
            Word(at, word) => match region.atomic_u32(near(at)) {
                Ok(place) => {
                    place.store(word, Relaxed);
                    model[near(at)..][..4].copy_from_slice(&word.to_ne_bytes());
                }
                Err(Errno::RANGE) => assert!(near(at).checked_add(4).is_none_or(|end| end > model.len())),
                Err(error) => assert_eq!((error, (region.as_ptr().addr().get() + near(at)) % 4 == 0), (Errno::INVAL, false)),
            },
            Length(len) => {
                // Not beyond the end of the file, nor more than the vector can follow.
                let len = if len % 8 == 0 { usize::MAX - len / 2 } else { len % 100_000 };
                match region.remap(len) {
                    // What a private mapping loses by shrinking within a page comes back when it grows again.
                    Ok(()) => {
                        model.resize(len, 0);
                        region.copy_out(0, &mut model).unwrap();
                    }
                    Err(error) => assert!(len == 0 && error == Errno::INVAL || len > 1 << 40 && error == Errno::NOMEM),
                }
            }
            Sync(at, len) => {
                let within = near(at).checked_add(near(len)).is_some_and(|end| end <= model.len());
                assert_eq!(region.sync(near(at), near(len)), if within { Ok(()) } else { Err(Errno::RANGE) });
            }
        }
        assert_eq!(region.len(), model.len());
    }
});
