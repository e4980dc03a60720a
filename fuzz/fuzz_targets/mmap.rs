//! Maps against a vector: reads, writes, searches, moves and lengths at any place, for every kind of map, and a file
//! that is cut meanwhile.
#![no_main]

use std::io::{BufRead, Read, Seek, SeekFrom, Write};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ossature::ErrorKind;
use ossature::mmap::{Access, Mmap};
use ossature::sys::mmap::Memfd;

#[derive(Arbitrary, Debug)]
enum Kind {
    Shared,
    Copy,
    Untracked,
    Private,
    Anonymous,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Slice(i32, i32),
    SetSlice(i16, Vec<u8>),
    Get(i32),
    Set(i32, u8),
    Find(Vec<u8>, i16, i16),
    Move(u16, u16, u16),
    Seek(i32, u8),
    Read(u16),
    Write(Vec<u8>),
    Line,
    BufferedLine,
    Length(u16),
    Cut(u16),
}

/// What Python's slices mean by a range.
fn range(start: i32, end: i32, len: usize) -> std::ops::Range<usize> {
    let place = |index: i32| (if index < 0 { index as i64 + len as i64 } else { index as i64 }).clamp(0, len as i64) as usize;
    place(start)..place(end).max(place(start))
}

fuzz_target!(|input: (Kind, Vec<u8>, u16, Vec<Step>)| {
    let (kind, bytes, offset, steps) = input;
    let bytes = if bytes.is_empty() { vec![7] } else { bytes };
    let memory = Memfd::new(c"fuzz").unwrap();
    memory.set_len(u64::from(offset)).unwrap();
    ossature::sys::fd::write_at(&memory, &bytes, offset.into()).unwrap();
    let mut options = Mmap::options();
    options.offset(offset.into());
    let mut map = match kind {
        Kind::Shared => options.map(&memory).unwrap(),
        Kind::Copy => options.access(Access::Copy).map(&memory).unwrap(),
        Kind::Untracked => options.untracked().map(&memory).unwrap(),
        Kind::Private => Mmap::private(bytes.len()).unwrap(),
        Kind::Anonymous => Mmap::anonymous(bytes.len()).unwrap(),
    };
    map.set_slice(.., &bytes).unwrap();
    let (mut model, mut at) = (bytes, 0_usize);
    for step in steps {
        let len = model.len();
        match step {
            Step::Slice(start, end) => assert_eq!(map.slice(start..end).unwrap(), &model[range(start, end, len)]),
            Step::SetSlice(start, new) => {
                let place = range(start.into(), i32::MAX, len);
                let place = place.start..(place.start + new.len()).min(place.end);
                assert_eq!(map.set_slice(place.clone(), &new).is_ok(), place.len() == new.len());
                if place.len() == new.len() {
                    model[place].copy_from_slice(&new);
                }
            }
            Step::Get(index) => {
                let place = if index < 0 { len.checked_sub(index.unsigned_abs() as usize) } else { Some(index as usize) };
                assert_eq!(map.get(index).ok(), place.and_then(|place| model.get(place).copied()));
            }
            Step::Set(index, byte) => {
                let place = if index < 0 { len.checked_sub(index.unsigned_abs() as usize) } else { Some(index as usize) };
                let place = place.and_then(|place| model.get_mut(place));
                assert_eq!(map.set(index, byte).is_ok(), place.is_some());
                place.into_iter().for_each(|place| *place = byte);
            }
            Step::Find(needle, start, end) => {
                let (start, end) = (i32::from(start), i32::from(end));
                let within = range(start, end, len);
                let is = |place: &usize| place + needle.len() <= within.end && model[*place..].starts_with(&needle);
                let mut places = within.start..within.end + 1;
                assert_eq!(map.find_in(&needle, start..end).unwrap(), places.clone().find(is));
                assert_eq!(map.rfind_in(&needle, start..end).unwrap(), places.rfind(is));
            }
            Step::Move(from, count, to) => {
                let (from, count, to) = (usize::from(from), usize::from(count), usize::from(to));
                let fits = from + count <= len && to + count <= len;
                assert_eq!(map.copy_within(from..from + count, to).is_ok(), fits);
                if fits {
                    model.copy_within(from..from + count, to);
                }
            }
            Step::Seek(by, whence) => {
                let (to, base) = match whence % 3 {
                    0 => (SeekFrom::Start(by.unsigned_abs().into()), 0),
                    1 => (SeekFrom::Current(by.into()), at as i64),
                    _ => (SeekFrom::End(by.into()), len as i64),
                };
                let target = if whence % 3 == 0 { i64::from(by.unsigned_abs()) } else { base + i64::from(by) };
                let fits = (0..=len as i64).contains(&target);
                assert_eq!(map.seek(to).is_ok(), fits);
                at = if fits { target as usize } else { at };
            }
            Step::Read(count) => {
                let mut read = vec![0; count.into()];
                let got = map.read(&mut read).unwrap();
                assert_eq!(got, read.len().min(len.saturating_sub(at)));
                assert_eq!(&read[..got], model.get(at..at + got).unwrap_or_default());
                at += got;
            }
            Step::Write(new) => {
                let fits = new.len() <= len.saturating_sub(at);
                assert_eq!(map.write(&new).is_ok(), fits);
                if fits && !new.is_empty() {
                    model[at..at + new.len()].copy_from_slice(&new);
                    at += new.len();
                }
            }
            Step::Line | Step::BufferedLine => {
                let rest = model.get(at..).unwrap_or_default();
                let line = rest.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default();
                let mut read = Vec::new();
                match step {
                    Step::Line => read = map.readline().unwrap(),
                    _ => _ = map.read_until(b'\n', &mut read).unwrap(),
                }
                assert_eq!(read, line);
                at += line.len();
            }
            Step::Length(new) => {
                let new = usize::from(new);
                let resizes = match kind {
                    Kind::Shared | Kind::Private => new > 0,
                    Kind::Anonymous => new > 0 && new <= len,
                    Kind::Copy | Kind::Untracked => false,
                };
                assert_eq!(map.resize(new).is_ok(), resizes);
                if resizes {
                    // What a shorter mapping loses within its last page comes back when it grows again.
                    let known = new.min(len);
                    let now = map.slice(..).unwrap();
                    assert_eq!(now[..known], model[..known]);
                    model = now;
                }
            }
            Step::Cut(by) => {
                if !matches!(kind, Kind::Shared) {
                    continue;
                }
                // Somebody cuts the file; what is left is there, the rest is an error, and then the file is whole
                // again.
                let left = usize::from(by) % len;
                memory.set_len(u64::from(offset) + left as u64).unwrap();
                assert_eq!(map.slice(..left).unwrap(), &model[..left]);
                assert_eq!(map.get(left).unwrap_err().kind(), ErrorKind::Truncated);
                assert_eq!(map.set(left, 1).unwrap_err().kind(), ErrorKind::Truncated);
                assert_eq!(map.resize(len + 1).unwrap_err().kind(), ErrorKind::Truncated);
                memory.set_len(u64::from(offset) + len as u64).unwrap();
                map.set_slice(left.., &model[left..]).unwrap();
            }
        }
        assert_eq!((map.len(), map.position()), (model.len(), at));
    }
});
