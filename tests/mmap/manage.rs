//! Lengths, write-back, advice and names.

use std::os::unix::fs::FileExt;

use ossature::ErrorKind::{InvalidInput, OutOfRange, Truncated, Unsupported};
use ossature::mmap::{Access, Advice, Discard, Flags, Inherit, Mmap, page_size};
use ossature::sys::errno::Errno;
use ossature::sys::mmap::{Memfd, Seals};

use crate::access::vm_flags;
use crate::harness::Test;
use crate::{bytes, file, kind};

pub const TESTS: &[Test] = &[
    ("a_map_and_its_file_grow_and_shrink_together", a_map_and_its_file_grow_and_shrink_together),
    ("what_a_file_holds_behind_the_map_is_kept", what_a_file_holds_behind_the_map_is_kept),
    ("a_file_that_was_shortened_is_not_made_longer_again", a_file_that_was_shortened_is_not_made_longer_again),
    ("a_refused_length_changes_nothing", a_refused_length_changes_nothing),
    ("memory_without_a_file_is_resized", memory_without_a_file_is_resized),
    ("what_is_flushed_is_in_the_file", what_is_flushed_is_in_the_file),
    ("every_advice_reaches_the_kernel", every_advice_reaches_the_kernel),
    ("what_is_discarded_is_whole_pages", what_is_discarded_is_whole_pages),
    ("a_hole_is_made_in_the_file", a_hole_is_made_in_the_file),
    ("memory_has_a_name_in_proc", memory_has_a_name_in_proc),
    ("a_move_of_many_windows_is_that_of_a_slice", a_move_of_many_windows_is_that_of_a_slice),
];

fn a_map_and_its_file_grow_and_shrink_together() {
    for offset in [0, 100, page_size() as u64] {
        let given = file(&vec![b'o'; offset as usize + 10]);
        let mut map = Mmap::options().offset(offset).map(&given).unwrap();
        map.set_slice(.., b"0123456789").unwrap();
        for len in [5, 20, 3 * page_size() + 1, 40 << 20, 10, 1] {
            map.resize(len).unwrap();
            assert_eq!((map.len(), map.file_len().unwrap()), (len, offset + len as u64));
            assert_eq!(map.get(0).unwrap(), b'0');
            map.set(-1, b'!').unwrap();
            let mut last = [0];
            given.read_exact_at(&mut last, offset + len as u64 - 1).unwrap();
            assert_eq!((last[0], map.get(-1).unwrap(), kind(map.get(len))), (b'!', b'!', OutOfRange));
            map.set(0, b'0').unwrap();
        }
    }
}

fn what_a_file_holds_behind_the_map_is_kept() {
    let given = file(b"0123456789");
    let mut map = Mmap::options().len(4).map(&given).unwrap();
    map.resize(2).unwrap();
    map.resize(6).unwrap();
    assert_eq!((bytes(&given), map.slice(..).unwrap()), (b"0123456789".to_vec(), b"012345".to_vec()));
    map.resize(12).unwrap();
    assert_eq!((bytes(&given), map.slice(8..).unwrap()), (b"0123456789\0\0".to_vec(), b"89\0\0".to_vec()));
}

fn a_file_that_was_shortened_is_not_made_longer_again() {
    let given = file(&[b'x'; 100]);
    let mut map = Mmap::new(&given, Access::Write).unwrap();
    given.set_len(50).unwrap();
    for len in [80, 100, 200, 30] {
        assert_eq!((kind(map.resize(len)), map.len(), bytes(&given).len()), (Truncated, 100, 50), "{len}");
    }
    assert_eq!(map.slice(..50).unwrap(), [b'x'; 50]);
    given.set_len(100).unwrap(); // asked for
    map.resize(200).unwrap();
    assert_eq!(bytes(&given), [&[b'x'; 50][..], &[0; 150]].concat());
}

fn a_refused_length_changes_nothing() {
    let given = file(b"0123456789");
    let mut map = Mmap::new(&given, Access::Write).unwrap();
    assert_eq!((kind(map.resize(0)), map.len(), bytes(&given)), (InvalidInput, 10, b"0123456789".to_vec()));
    assert!(map.resize(usize::MAX).is_err());
    // With 32 bits, so long a file is nothing unusual.
    #[cfg(target_pointer_width = "64")]
    assert!(map.resize(isize::MAX as usize).is_err());
    assert_eq!((map.len(), map.slice(..).unwrap(), bytes(&given).len()), (10, b"0123456789".to_vec(), 10));

    let memory = Memfd::new(c"fixed").unwrap();
    memory.set_len(10).unwrap();
    memory.add_seals(Seals::SHRINK | Seals::GROW).unwrap();
    let mut map = Mmap::new(&memory, Access::Write).unwrap();
    map.set_slice(.., b"0123456789").unwrap();
    for len in [5, 100_000] {
        assert_eq!(map.resize(len).unwrap_err().errno(), Some(Errno::PERM));
        assert_eq!((map.len(), map.slice(..).unwrap(), memory.len().unwrap()), (10, b"0123456789".to_vec(), 10));
    }
    for mut private in
        [Mmap::new(&given, Access::Copy).unwrap(), Mmap::options().flags(Flags::PRIVATE).map(&given).unwrap()]
    {
        assert_eq!((kind(private.resize(20)), private.len()), (InvalidInput, 10));
    }
}

fn memory_without_a_file_is_resized() {
    let mut private = Mmap::private(10).unwrap();
    private.set_slice(.., b"0123456789").unwrap();
    private.resize(1 << 20).unwrap();
    assert_eq!((private.as_slice().unwrap()[..11].to_vec(), private.get(-1).unwrap()), (b"0123456789\0".to_vec(), 0));
    private.set(-1, 1).unwrap();
    private.resize(4).unwrap();
    assert_eq!(private.slice(..).unwrap(), b"0123");
    // New pages of shared memory would fault in every process.
    let mut shared = Mmap::anonymous(2 * page_size()).unwrap();
    shared.set_slice(..4, b"0123").unwrap();
    assert_eq!((kind(shared.resize(2 * page_size() + 1)), shared.len()), (InvalidInput, 2 * page_size()));
    shared.resize(3).unwrap();
    assert_eq!((shared.slice(..).unwrap(), kind(shared.resize(4))), (b"012".to_vec(), InvalidInput));
}

fn what_is_flushed_is_in_the_file() {
    let given = file(&vec![0; 3 * page_size()]);
    let mut map = Mmap::options().offset(7).map(&given).unwrap();
    map.set_slice(page_size()..page_size() + 5, b"bones").unwrap();
    map.flush_range(page_size()..page_size() + 5).unwrap();
    map.flush_range_async(..).unwrap();
    map.flush_range(..).unwrap();
    assert_eq!(bytes(&given)[page_size() + 7..][..5], *b"bones");
    for (access, len) in [(Access::Read, 10), (Access::Copy, 10)] {
        let map = Mmap::options().access(access).len(len).map(&given).unwrap();
        map.flush_range(..).unwrap();
        assert_eq!(kind(map.flush_range(..11)), OutOfRange);
    }
}

fn every_advice_reaches_the_kernel() {
    let plain = [
        (Advice::Random, Some("rr"), Advice::Normal),
        (Advice::Sequential, Some("sr"), Advice::Normal),
        (Advice::WillNeed, None, Advice::Normal),
        (Advice::Mergeable, Some("mg"), Advice::Unmergeable),
        (Advice::HugePage, Some("hg"), Advice::NoHugePage),
        (Advice::DontDump, Some("dd"), Advice::DoDump),
        (Advice::Cold, None, Advice::Normal),
        (Advice::PageOut, None, Advice::Normal),
        (Advice::PopulateRead, None, Advice::Normal),
        (Advice::PopulateWrite, None, Advice::Normal),
    ];
    let mut map = Mmap::private(2 * page_size()).unwrap();
    map.set(3, 7).unwrap();
    let shown = |map: &Mmap, flag| vm_flags(map.as_ptr()).map(|flags| flags.iter().any(|shown| shown == flag));
    for (advice, flag, undo) in plain {
        match map.advise(.., advice) {
            // Where the kernel was built without, or is older.
            Err(error) => assert_eq!(error.errno(), Some(Errno::INVAL), "{advice:?}"),
            Ok(()) => {
                assert_ne!(flag.and_then(|flag| shown(&map, flag)), Some(false), "{advice:?}");
                map.advise(.., undo).unwrap();
                assert_ne!(flag.and_then(|flag| shown(&map, flag)), Some(true), "{undo:?}");
            }
        }
        assert_eq!(map.get(3).unwrap(), 7, "{advice:?}");
    }
    for (how, flag, undo) in [(Inherit::Nothing, "dc", Inherit::Pages), (Inherit::Zeros, "wf", Inherit::Contents)] {
        map.inherit(.., how).unwrap();
        assert_ne!(shown(&map, flag), Some(false), "{how:?}");
        map.inherit(.., undo).unwrap();
        assert_ne!(shown(&map, flag), Some(true), "{undo:?}");
    }
    map.discard(.., Discard::DontNeed).unwrap();
    assert_eq!(map.get(3).unwrap(), 0);
    // Privileged, and it takes the machine's memory away: only that it is asked for is tried, with a page that is not
    // there.
    let given = file(b"x");
    let mut read = Mmap::new(&given, Access::Read).unwrap();
    given.set_len(0).unwrap();
    assert!(read.discard(.., Discard::Poison).is_err());
    assert!(Mmap::new(file(b"x"), Access::Read).unwrap().inherit(.., Inherit::Zeros).is_err(), "private memory only");
}

fn what_is_discarded_is_whole_pages() {
    let page = page_size();
    let mut map = Mmap::private(3 * page + 10).unwrap();
    map.as_mut_slice().unwrap().fill(7);
    for (start, end) in [(1, page), (0, page + 1), (page, 2 * page - 1), (page + 1, 3 * page + 10)] {
        assert_eq!(kind(map.discard(start..end, Discard::DontNeed)), InvalidInput, "{start} {end}");
    }
    assert!(map.as_slice().unwrap().iter().all(|&byte| byte == 7));
    map.discard(page..2 * page, Discard::DontNeed).unwrap();
    map.discard(3 * page.., Discard::DontNeed).unwrap();
    let expected: Vec<u8> = (0..3 * page + 10).map(|at| if at / page % 2 == 0 { 7 } else { 0 }).collect();
    assert_eq!(map.as_slice().unwrap(), expected);
}

fn a_hole_is_made_in_the_file() {
    let page = page_size();
    let memory = Memfd::new(c"hole").unwrap();
    ossature::sys::fd::write(&memory, &vec![7; 3 * page]).unwrap();
    let mut map = Mmap::new(&memory, Access::Write).unwrap();
    map.discard(page..2 * page, Discard::Remove).unwrap();
    assert_eq!([map.get(page - 1), map.get(page), map.get(2 * page)].map(Result::unwrap), [7, 0, 7]);
    // Bytes of the file that are not the map's are never lost.
    let mut part = Mmap::options().offset(10).len(page).map(&memory).unwrap();
    assert_eq!(kind(part.discard(.., Discard::Remove)), InvalidInput);
    let mut part = Mmap::options().len(page + 10).map(&memory).unwrap();
    assert_eq!(kind(part.discard(.., Discard::Remove)), InvalidInput);
    let mut read = Mmap::new(&memory, Access::Read).unwrap();
    assert_eq!(read.discard(.., Discard::Remove).unwrap_err().errno(), Some(Errno::ACCESS));
    assert_eq!((read.get(0).unwrap(), read.get(2 * page + 1).unwrap()), (7, 7));
}

fn memory_has_a_name_in_proc() {
    for (map, shown) in
        [(Mmap::private(100).unwrap(), "[anon:bones]"), (Mmap::anonymous(100).unwrap(), "[anon_shmem:bones]")]
    {
        match map.set_name(c"bones") {
            Ok(()) => assert!(std::fs::read_to_string("/proc/self/maps").is_ok_and(|maps| maps.contains(shown))),
            Err(error) => assert_eq!(error.kind(), Unsupported),
        }
        let long = std::ffi::CString::new(vec![b'x'; 80]).unwrap();
        for name in [&*long, c"a[b", c"a$b", c"a\nb", c"\xc3\xa4"] {
            assert_eq!(kind(map.set_name(name)), InvalidInput, "{name:?}");
        }
    }
    assert_eq!(kind(Mmap::new(file(b"some"), Access::Read).unwrap().set_name(c"bones")), InvalidInput);
}

fn a_move_of_many_windows_is_that_of_a_slice() {
    let data: Vec<u8> = (0..300_000).map(|n| (n % 251) as u8).collect();
    let mut map = Mmap::new(file(&data), Access::Write).unwrap();
    let mut model = data;
    for (from, len, to) in
        [(0, 200_000, 1), (1, 250_000, 0), (5, 131_072, 100_000), (100_000, 200_000, 3), (7, 65_536, 7)]
    {
        map.copy_within(from..from + len, to).unwrap();
        model.copy_within(from..from + len, to);
        assert_eq!(map.slice(..).unwrap(), model, "{from} {len} {to}");
    }
}
