//! The portable cases of CPython's `test_mmap.py`; docs/python-tests.md lists them.

#![allow(clippy::reversed_empty_ranges, reason = "an end with a minus is counted from the end of the map")]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use ossature::ErrorKind::{InvalidInput, OutOfRange};
use ossature::mmap::{Access, Advice, Flags, Mmap, Protection, page_size};
use ossature::sys::errno::Errno;

use crate::harness::Test;
use crate::{bytes, every_kind, file, io_kind, kind};

pub const TESTS: &[Test] = &[
    ("a_file_is_read_written_searched_and_resized", a_file_is_read_written_searched_and_resized),
    ("access_says_who_sees_what_is_written", access_says_who_sees_what_is_written),
    (
        "an_untracked_map_has_no_file_length_and_no_other_length",
        an_untracked_map_has_no_file_length_and_no_other_length,
    ),
    ("bytes_with_zeros_are_found", bytes_with_zeros_are_found),
    ("find_takes_every_start_and_end", find_takes_every_start_and_end),
    ("the_rest_of_a_file_is_mapped_from_an_offset", the_rest_of_a_file_is_mapped_from_an_offset),
    ("moves_overlap_in_either_direction", moves_overlap_in_either_direction),
    ("new_memory_is_zero_and_takes_every_byte", new_memory_is_zero_and_takes_every_byte),
    ("what_is_left_is_read_at_once", what_is_left_is_read_at_once),
    ("slices_have_steps_as_lists_have", slices_have_steps_as_lists_have),
    ("an_empty_file_cannot_be_mapped", an_empty_file_cannot_be_mapped),
    ("bytes_and_pieces_move_the_position", bytes_and_pieces_move_the_position),
    ("a_position_beyond_a_shorter_map_reads_nothing", a_position_beyond_a_shorter_map_reads_nothing),
    ("flushing_needs_no_file", flushing_needs_no_file),
    ("debug_shows_access_length_position_and_offset", debug_shows_access_length_position_and_offset),
    ("advice_begins_within_the_map", advice_begins_within_the_map),
    ("files_beyond_4_gib_are_mapped_in_part_and_whole", files_beyond_4_gib_are_mapped_in_part_and_whole),
];

fn a_file_is_read_written_searched_and_resized() {
    let page = page_size();
    let file = file(&vec![0; 2 * page]);
    file.write_all_at(b"foo", page as u64).unwrap();
    let mut map = Mmap::options().len(2 * page).map(&file).unwrap();
    assert_eq!((map.find(b"foo").unwrap(), map.len()), (Some(page), 2 * page));
    assert_eq!((map.get(0).unwrap(), map.slice(0..3).unwrap()), (0, vec![0; 3]));
    assert_eq!((kind(map.get(2 * page)), kind(map.set(2 * page, 0))), (OutOfRange, OutOfRange));

    map.set(0, b'3').unwrap();
    map.set_slice(page + 3..page + 6, b"bar").unwrap();
    assert_eq!(map.slice(0..3).unwrap(), b"3\0\0");
    assert_eq!(map.slice(page - 1..page + 7).unwrap(), b"\0foobar\0");
    map.flush().unwrap();
    assert_eq!(bytes(&file)[page..page + 6], *b"foobar");

    assert_eq!((map.seek(SeekFrom::Start(0)).unwrap(), map.position()), (0, 0));
    assert_eq!((map.seek(SeekFrom::Current(42)).unwrap(), map.position()), (42, 42));
    assert_eq!((map.seek(SeekFrom::End(0)).unwrap(), map.position()), (2 * page as u64, 2 * page));
    let beyond = [SeekFrom::Current(-1 - map.position() as i64), SeekFrom::End(1), SeekFrom::Start(u64::MAX)];
    for to in beyond.into_iter().chain([SeekFrom::End(-(map.len() as i64) - 1), SeekFrom::Current(i64::MAX)]) {
        assert_eq!((io_kind(map.seek(to)), map.position()), (InvalidInput, 2 * page));
    }

    map.resize(512).unwrap();
    assert_eq!((map.len(), map.file_len().unwrap(), bytes(&file).len()), (512, 512, 512));
    assert_eq!(io_kind(map.seek(SeekFrom::Start(513))), InvalidInput);
}

fn access_says_who_sees_what_is_written() {
    let file = file(b"aaaaaaaaaa");
    let reading = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file))).unwrap();
    let mut map = Mmap::options().len(10).access(Access::Read).map(&reading).unwrap();
    assert_eq!(map.slice(..).unwrap(), b"aaaaaaaaaa");
    let refusals = [
        map.set_slice(.., b"bbbbbbbbbb"),
        map.set(0, b'b'),
        map.write(b"abc").map(drop).map_err(Into::into),
        map.write(b"").map(drop).map_err(Into::into),
        map.write_byte(b'd'),
        map.resize(20),
        map.copy_within(0..1, 1),
    ];
    for refused in refusals {
        assert_eq!(refused.unwrap_err().errno(), Some(Errno::ACCESS));
    }
    assert_eq!((bytes(&file), map.position()), (b"aaaaaaaaaa".to_vec(), 0));

    assert_eq!(kind(Mmap::options().len(11).map(&file)), InvalidInput);
    let mut map = Mmap::options().len(10).access(Access::Write).map(&file).unwrap();
    map.set_slice(.., b"cccccccccc").unwrap();
    map.flush().unwrap();
    assert_eq!((map.slice(..).unwrap(), bytes(&file)), (b"cccccccccc".to_vec(), b"cccccccccc".to_vec()));

    // A file that is open for reading is enough.
    let mut map = Mmap::new(&reading, Access::Copy).unwrap();
    map.set_slice(.., b"dddddddddd").unwrap();
    map.flush().unwrap();
    assert_eq!((map.slice(..).unwrap(), bytes(&file)), (b"dddddddddd".to_vec(), b"cccccccccc".to_vec()));
    assert_eq!(kind(map.resize(20)), InvalidInput);

    let both = Mmap::options().flags(Flags::PRIVATE).access(Access::Write).map(&file);
    assert_eq!(kind(both), InvalidInput);
    let both = Mmap::options().protection(Protection::READ).access(Access::Read).map(&file);
    assert_eq!(kind(both), InvalidInput);
    let mut code = Mmap::options().protection(Protection::READ | Protection::EXEC).map(&file).unwrap();
    assert_eq!((code.access(), code.get(0).unwrap()), (Access::Read, b'c'));
    assert!(code.write(b"abcdef").is_err() && code.write_byte(0).is_err());
}

fn an_untracked_map_has_no_file_length_and_no_other_length() {
    for keep in [true, false] {
        let given = file(&[b'a'; 64]);
        let seen = given.try_clone().unwrap();
        let mut map = Mmap::options().len(64).untracked().map(&given).unwrap();
        if !keep {
            drop(given);
        }
        assert_eq!(map.file_len().unwrap_err().errno(), Some(Errno::BADF));
        assert_eq!((kind(map.resize(128)), kind(map.resize(32)), map.len()), (InvalidInput, InvalidInput, 64));
        map.write_byte(b'X').unwrap();
        map.set(2, b'Y').unwrap();
        map.flush().unwrap();
        assert_eq!((&bytes(&seen)[..4], map.position()), (&b"XaYa"[..], 1));
        map.rewind().unwrap();
        assert_eq!((map.read_byte().unwrap(), bytes(&seen).len()), (b'X', 64));
    }
    let map = Mmap::anonymous(64).unwrap();
    assert_eq!(map.file_len().unwrap_err().errno(), Some(Errno::BADF));
}

fn bytes_with_zeros_are_found() {
    let data = b"aabaac\x00deef\x00\x00aa\x00";
    for (name, map) in every_kind(data) {
        for start in 0..=data.len() {
            for end in start..=data.len() {
                let mut part = data[start..end].to_vec();
                let first = (0..=data.len() - part.len()).find(|&at| data[at..].starts_with(&part));
                assert_eq!(map.find(&part).unwrap(), first, "{name} {part:?}");
                part.push(b'x');
                assert_eq!((map.find(&part).unwrap(), map.rfind(&part).unwrap()), (None, None), "{name}");
            }
        }
    }
}

fn find_takes_every_start_and_end() {
    let data = b"one two ones";
    let n = data.len() as isize;
    let place = |index: isize| if index < 0 { (index + n).max(0) } else { index.min(n) } as usize;
    for (name, map) in every_kind(data) {
        assert_eq!(
            [map.find(b"one"), map.find(b"ones"), map.find_in(b"one", ..-1)].map(Result::unwrap),
            [Some(0), Some(8), Some(0)]
        );
        assert_eq!([map.rfind(b"one"), map.rfind(b"one ")].map(Result::unwrap), [Some(8), Some(0)]);
        assert_eq!([map.rfind_in(b"one", ..-1), map.rfind_in(b"one", ..-2)].map(Result::unwrap), [Some(8), Some(0)]);
        assert_eq!([map.rfind_in(b"one", 1..-1), map.rfind_in(b"one", 1..-2)].map(Result::unwrap), [Some(8), None]);
        for i in -n - 1..=n {
            for j in -n - 1..=n {
                for part in [&b"o"[..], b"on", b"two", b"ones", b"s"] {
                    let (start, end) = (place(i), place(j));
                    let fits = |at: &usize| at + part.len() <= end && data[*at..].starts_with(part);
                    assert_eq!(map.find_in(part, i..j).unwrap(), (start..end).find(fits), "{name} {i} {j}");
                    assert_eq!(map.rfind_in(part, i..j).unwrap(), (start..end).rev().find(fits), "{name} {i} {j}");
                }
            }
        }
    }
}

fn the_rest_of_a_file_is_mapped_from_an_offset() {
    let long = file(&vec![b'm'; 2 << 16]);
    let mut whole = Mmap::new(&long, Access::Default).unwrap();
    let mut read = Vec::new();
    assert_eq!((whole.read_to_end(&mut read).unwrap(), whole.len()), (2 << 16, 2 << 16));
    assert!(read.iter().all(|&byte| byte == b'm'));
    let rest = Mmap::options().offset(65536).access(Access::Read).map(&long).unwrap();
    assert_eq!((kind(rest.get(80_000)), rest.len(), rest.offset()), (OutOfRange, 65536, 65536));
    for offset in [2 << 16, 2_147_418_112, u64::MAX] {
        assert_eq!(kind(Mmap::options().offset(offset).map(&long)), InvalidInput);
        assert_eq!(kind(Mmap::options().offset(offset).len(1).map(&long)), InvalidInput);
    }

    let page = page_size();
    let halves = file(&vec![0; 2 * page]);
    halves.write_all_at(b"foo", page as u64).unwrap();
    let mut map = Mmap::options().offset(page as u64).len(page).map(&halves).unwrap();
    assert_eq!(map.slice(..3).unwrap(), b"foo");
    map.resize(512).unwrap();
    assert_eq!((map.len(), map.slice(..3).unwrap()), (512, b"foo".to_vec()));
    assert_eq!((io_kind(map.seek(SeekFrom::Start(513))), map.file_len().unwrap()), (InvalidInput, page as u64 + 512));
}

fn moves_overlap_in_either_direction() {
    let twice = file(b"ABCDEabcde");
    let mut map = Mmap::new(&twice, Access::Default).unwrap();
    map.copy_within(0..5, 5).unwrap();
    assert_eq!(bytes(&twice), b"ABCDEABCDE");

    let data = b"0123456789";
    for (name, mut map) in every_kind(data) {
        for (to, from) in (0..10).flat_map(|to| (0..10).map(move |from| (to, from))) {
            for len in 0..10 - to.max(from) {
                map.set_slice(.., data).unwrap();
                map.copy_within(from..from + len, to).unwrap();
                let mut moved = *data;
                moved.copy_within(from..from + len, to);
                assert_eq!(map.slice(..).unwrap(), moved, "{name} {to} {from} {len}");
            }
        }
    }
    let mut one = Mmap::anonymous(1).unwrap();
    assert_eq!(
        [one.copy_within(0..2, 0), one.copy_within(0..1, 1), one.copy_within(1..2, 0)].map(kind),
        [OutOfRange; 3]
    );
    #[expect(clippy::reversed_empty_ranges, reason = "it is refused")]
    let reversed = one.copy_within(1..0, 0);
    assert_eq!(kind(reversed), InvalidInput);
    one.copy_within(0..1, 0).unwrap();
    one.copy_within(0..0, 0).unwrap();
    one.copy_within(1..1, 1).unwrap();
}

fn new_memory_is_zero_and_takes_every_byte() {
    for mut map in [Mmap::anonymous(page_size()).unwrap(), Mmap::private(page_size()).unwrap()] {
        assert_eq!(map.slice(..).unwrap(), vec![0; page_size()]);
        for place in 0..page_size() {
            map.set(place, place as u8).unwrap();
            assert_eq!(map.get(place).unwrap(), place as u8);
        }
    }
    for byte in [129, 200, 255] {
        let mut map = Mmap::anonymous(1).unwrap();
        map.write_byte(byte).unwrap();
        assert_eq!(map.get(0).unwrap(), byte);
        map.rewind().unwrap();
        assert_eq!(map.read_byte().unwrap(), byte);
    }
}

fn what_is_left_is_read_at_once() {
    let data: Vec<u8> = (0..16).collect();
    for (name, mut map) in every_kind(&data) {
        for from in [0, 8, 16, 3] {
            let mut read = vec![7];
            map.seek(SeekFrom::Start(from)).unwrap();
            assert_eq!(map.read_to_end(&mut read).unwrap(), 16 - from as usize, "{name}");
            assert_eq!((read[0], &read[1..], map.position()), (7, &data[from as usize..], 16), "{name}");
        }
        assert_eq!((map.read(&mut [0; 4]).unwrap(), map.write(b"").unwrap(), map.position()), (0, 0, 16));
    }
}

fn slices_have_steps_as_lists_have() {
    let data: Vec<u8> = (0..=255).rev().collect();
    let bounds = [0, 1, 3, 19, 300, isize::MAX, -1, -2, -31, -300];
    for (name, mut map) in every_kind(&data) {
        let place = |index: isize| if index < 0 { (index + 256).max(0) } else { index.min(256) } as usize;
        for (start, stop) in bounds.into_iter().flat_map(|start| bounds.map(|stop| (start, stop))) {
            let expected = data.get(place(start)..place(stop)).unwrap_or_default();
            let slice = map.slice(start..stop).unwrap();
            assert_eq!(slice, expected, "{name} {start} {stop}");
            for step in [1, 3, 19, 300] {
                let stepped: Vec<u8> = slice.iter().copied().step_by(step).collect();
                assert_eq!(stepped, expected.iter().copied().step_by(step).collect::<Vec<u8>>());
            }
            let turned: Vec<u8> = slice.iter().rev().copied().collect();
            map.set_slice(start..stop, &turned).unwrap();
            assert_eq!(map.slice(start..stop).unwrap(), turned, "{name}");
            map.set_slice(start..stop, &slice).unwrap();
            // Every third byte, through a copy.
            let mut thirds = slice.clone();
            thirds.iter_mut().step_by(3).for_each(|byte| *byte ^= 0xff);
            map.set_slice(start..stop, &thirds).unwrap();
            assert_eq!(map.slice(start..stop).unwrap(), thirds, "{name}");
            map.set_slice(start..stop, &slice).unwrap();
            let longer = [&slice[..], b"x"].concat();
            assert_eq!(kind(map.set_slice(start..stop, &longer)), InvalidInput, "{name}");
        }
        assert_eq!(
            (map.slice(..).unwrap(), map.slice(-3..).unwrap(), map.slice(..=1).unwrap()),
            (data.clone(), vec![2, 1, 0], vec![255, 254])
        );
        assert_eq!([map.get(-257), map.get(256)].map(kind), [OutOfRange; 2]);
    }
}

fn an_empty_file_cannot_be_mapped() {
    for access in [Access::Read, Access::Write, Access::Copy, Access::Default] {
        let error = Mmap::new(file(b""), access).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (InvalidInput, "an empty file cannot be mapped: set its length first")
        );
    }
    let (some, none) = (file(b"some"), Mmap::options().map_anonymous());
    assert_eq!(
        (kind(Mmap::options().len(0).map(&some)), kind(Mmap::anonymous(0)), kind(none)),
        (InvalidInput, InvalidInput, InvalidInput)
    );
}

fn bytes_and_pieces_move_the_position() {
    let data = b"0123456789";
    for (name, mut map) in every_kind(b"xxxxxxxxxx") {
        for (place, &byte) in data.iter().enumerate() {
            assert_eq!(map.position(), place);
            map.write_byte(byte).unwrap();
        }
        assert_eq!(
            (kind(map.write_byte(b'x')), map.position(), map.slice(..).unwrap()),
            (OutOfRange, 10, data.to_vec()),
            "{name}"
        );
        map.rewind().unwrap();
        for &byte in data {
            assert_eq!(map.read_byte().unwrap(), byte, "{name}");
        }
        assert_eq!((kind(map.read_byte()), map.position()), (OutOfRange, 10));
        map.seek(SeekFrom::Start(3)).unwrap();
        let mut three = [0; 3];
        assert_eq!((map.read(&mut three).unwrap(), &three, map.position()), (3, b"345", 6), "{name}");
        map.seek(SeekFrom::Start(3)).unwrap();
        assert_eq!((map.write(b"bar").unwrap(), map.write(b"baz").unwrap(), map.position()), (3, 3, 9));
        assert_eq!(map.slice(..).unwrap(), b"012barbaz9", "{name}");
        // All or nothing.
        assert_eq!((io_kind(map.write(b"ba")), map.position(), map.get(9).unwrap()), (OutOfRange, 9, b'9'), "{name}");
    }
}

fn a_position_beyond_a_shorter_map_reads_nothing() {
    for mut map in [
        Mmap::anonymous(8192).unwrap(),
        Mmap::private(8192).unwrap(),
        Mmap::new(file(&[1; 8192]), Access::Write).unwrap(),
    ] {
        map.read_exact(&mut [0; 5000]).unwrap();
        map.resize(4096).unwrap();
        assert_eq!(
            (map.position(), map.read(&mut [0; 14]).unwrap(), map.read_to_end(&mut Vec::new()).unwrap()),
            (5000, 0, 0)
        );
        assert_eq!(
            (kind(map.read_byte()), kind(map.write_byte(42)), io_kind(map.write(b"abc"))),
            (OutOfRange, OutOfRange, OutOfRange)
        );
        assert_eq!((map.find(b"\0").unwrap(), map.readline().unwrap()), (None, vec![]));
        map.rewind().unwrap();
        map.read_exact(&mut [0; 4096]).unwrap();
    }
}

fn flushing_needs_no_file() {
    let mut map = Mmap::anonymous(16).unwrap();
    map.write_all(b"python").unwrap();
    map.flush().unwrap();
    // Unlike in Python the start may be any place.
    map.flush_range(1..7).unwrap();
    assert_eq!(kind(map.flush_range(1..17)), OutOfRange);
}

fn debug_shows_access_length_position_and_offset() {
    let file = file(&vec![b'a'; 100_000]);
    for (access, position) in
        [(Access::Default, 0), (Access::Read, 5000), (Access::Copy, 10_000), (Access::Write, 12_500)]
    {
        let mut map = Mmap::options().offset(50_000).access(access).map(&file).unwrap();
        map.seek(SeekFrom::Start(position)).unwrap();
        let shown = format!("Mmap {{ access: {access:?}, len: 50000, position: {position}, offset: 50000, .. }}");
        assert_eq!(format!("{map:?}"), shown);
    }
}

fn advice_begins_within_the_map() {
    let page = page_size();
    let map = Mmap::anonymous(2 * page).unwrap();
    assert_eq!(kind(map.advise(2 * page.., Advice::Normal)), OutOfRange);
    map.advise(.., Advice::Normal).unwrap();
    map.advise(page.., Advice::Normal).unwrap();
    map.advise(page..page + 2 * page, Advice::Normal).unwrap(); // ends with the map
    map.advise(..2, Advice::Normal).unwrap();
    map.advise(page + 1..=usize::MAX, Advice::Normal).unwrap();
}

fn files_beyond_4_gib_are_mapped_in_part_and_whole() {
    let sparse = file(b"");
    let tail = b"  DEARdear  ";
    for boundary in [0x8000_0000_u64, 0x1_0000_0000] {
        let start = boundary - tail.len() as u64 / 2;
        match sparse.write_all_at(tail, start) {
            Err(error) if error.raw_os_error() == Some(27) => return, // EFBIG: RLIMIT_FSIZE, or the file system
            done => done.unwrap(),
        }
        let part = Mmap::options().offset(start - 3).access(Access::Read).map(&sparse).unwrap();
        assert_eq!((part.slice(3..).unwrap(), part.offset()), (tail.to_vec(), start - 3));
        let whole = Mmap::new(&sparse, Access::Read);
        if usize::BITS == 64 {
            let whole = whole.unwrap();
            assert_eq!(whole.slice(start as usize..).unwrap(), tail);
            assert_eq!(whole.find_in(b"DEAR", start as usize - 1000..).unwrap(), Some(start as usize + 2));
        } else {
            assert_eq!(kind(whole), OutOfRange);
        }
    }
    let small = Mmap::options().len(0x10000).access(Access::Read).map(&sparse).unwrap();
    assert_eq!(small.file_len().unwrap(), 0x1_0000_0006);
}
