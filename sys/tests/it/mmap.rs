//! Mapped memory from outside: maps, memory files, seals, copies.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::SeqCst;

use ossature_sys::errno::Errno;
use ossature_sys::mmap::{Advice, Discard, Flags, Inherit, Memfd, Protection, Region, RegionRef, Seals, page_size};

fn memory(bytes: &[u8]) -> Memfd {
    let memory = Memfd::new(c"test").unwrap();
    ossature_sys::fd::write(&memory, bytes).unwrap();
    memory
}

fn bytes(region: &Region) -> Vec<u8> {
    let mut bytes = vec![0; region.len()];
    region.copy_out(0, &mut bytes).unwrap();
    bytes
}

/// Whether a file is of a kind that has seals. The file system of temporary files decides that.
fn takes_seals(file: &File) -> bool {
    // SAFETY: F_GET_SEALS takes nothing.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) != -1 }
}

/// Makes a file in the file system, without a name.
fn file(bytes: &[u8]) -> File {
    let path =
        std::env::temp_dir().join(format!("ossature-mmap-{}-{:?}", std::process::id(), std::thread::current().id()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn new_memory_is_zero_and_as_long_as_asked() {
    for make in [Region::private, Region::anonymous] {
        let region = make(page_size() + 3).unwrap();
        assert_eq!(region.len(), page_size() + 3);
        assert!(bytes(&region).iter().all(|&byte| byte == 0));
    }
}

#[test]
fn nothing_cannot_be_mapped() {
    let memory = memory(b"abc");
    assert_eq!(Region::private(0).unwrap_err(), Errno::INVAL);
    assert_eq!(Region::anonymous(0).unwrap_err(), Errno::INVAL);
    assert_eq!(Region::shared(&memory, 0).unwrap_err(), Errno::INVAL);
    assert_eq!(Region::file_read(&memory, 1, 0).unwrap_err(), Errno::INVAL);
}

#[test]
fn more_than_the_address_space_is_out_of_memory() {
    for len in [usize::MAX, isize::MAX as usize, isize::MAX as usize + 1, usize::MAX - page_size() + 1] {
        assert_eq!(Region::private(len).unwrap_err(), Errno::NOMEM);
    }
}

#[test]
fn hostile_ranges_are_refused_and_touch_nothing() {
    let region = Region::private(100).unwrap();
    let wrong = [(0, 101), (100, 1), (101, 0), (usize::MAX, 1), (1, usize::MAX), (usize::MAX, usize::MAX)];
    for (offset, len) in wrong {
        assert_eq!(region.fill(offset, len, 1), Err(Errno::RANGE), "{offset} {len}");
        assert_eq!(region.advise(offset, len, Advice::Normal), Err(Errno::RANGE), "{offset} {len}");
        assert_eq!(region.lock(offset, len), Err(Errno::RANGE), "{offset} {len}");
        assert_eq!(region.unlock(offset, len), Err(Errno::RANGE), "{offset} {len}");
        assert_eq!(region.sync(offset, len), Err(Errno::RANGE), "{offset} {len}");
    }
    let mut into = [7; 10];
    assert_eq!(region.copy_out(91, &mut into), Err(Errno::RANGE));
    assert_eq!(region.copy_in(91, &into), Err(Errno::RANGE));
    assert_eq!(into, [7; 10]);
    assert_eq!(bytes(&region), [0; 100]);
    assert_eq!(region.copy_in(100, &[]), Ok(()));
}

#[test]
fn copies_of_every_length_and_alignment_move_exactly_their_bytes() {
    let region = Region::private(8192).unwrap();
    let source: Vec<u8> = (0..8192u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 1).collect();
    for len in (0..200).chain([255, 256, 257, 1023, 1024, 1499, 1500, 1501, 4096, 5000]) {
        for (from, to) in [(0, 0), (1, 0), (0, 1), (3, 5), (8, 15), (64, 63)] {
            region.fill(0, 8192, 0).unwrap();
            region.copy_in(to, &source[from..from + len]).unwrap();
            let now = bytes(&region);
            assert_eq!(&now[to..to + len], &source[from..from + len], "{len} {from} {to}");
            assert!(now[..to].iter().chain(&now[to + len..]).all(|&byte| byte == 0), "{len} {from} {to}");

            let mut back = vec![0; len + 2 + from];
            region.copy_out(to, &mut back[from + 1..from + 1 + len]).unwrap();
            assert_eq!(&back[from + 1..from + 1 + len], &source[from..from + len], "{len} {from} {to}");
            assert!(back[..=from].iter().chain(&back[from + 1 + len..]).all(|&byte| byte == 0), "{len} {from} {to}");
        }
    }
}

#[test]
fn fill_stops_where_it_was_told() {
    let region = Region::private(2000).unwrap();
    for (offset, len) in [(0, 0), (1, 1), (3, 255), (5, 256), (7, 257), (0, 2000)] {
        region.fill(0, 2000, 0).unwrap();
        region.fill(offset, len, 0xa5).unwrap();
        for (at, byte) in bytes(&region).into_iter().enumerate() {
            assert_eq!(byte == 0xa5, (offset..offset + len).contains(&at), "{offset} {len} {at}");
        }
    }
}

#[test]
fn writers_and_readers_at_once_see_only_bytes_that_were_stored() {
    let region = Region::anonymous(10_000).unwrap();
    std::thread::scope(|scope| {
        for byte in [1, 2] {
            let region = &region;
            scope.spawn(move || (0..500).for_each(|_| region.copy_in(1, &vec![byte; 9_000]).unwrap()));
        }
        for _ in 0..500 {
            assert!(bytes(&region).iter().all(|byte| (0..3).contains(byte)));
        }
    });
    assert!(matches!(bytes(&region)[9_000], 1 | 2));
}

#[test]
fn two_maps_of_one_memory_file_show_the_same_bytes() {
    let memory = memory(&[0; 5000]);
    let (here, there) = (Region::shared(&memory, 5000).unwrap(), Region::shared(&memory, 100).unwrap());
    here.copy_in(90, b"hello").unwrap();
    assert_eq!(&bytes(&there)[90..95], b"hello");
    there.atomic_u32(12).unwrap().store(u32::MAX, SeqCst);
    assert_eq!(here.atomic_u32(12).unwrap().load(SeqCst), u32::MAX);
}

#[test]
fn words_out_of_line_or_out_of_reach_are_refused() {
    let region = Region::anonymous(16).unwrap();
    assert!(region.atomic_u32(12).is_ok());
    assert_eq!(region.atomic_u32(13).unwrap_err(), Errno::RANGE);
    assert_eq!(region.atomic_u32(2).unwrap_err(), Errno::INVAL);
    assert_eq!(region.atomic_u32(usize::MAX).unwrap_err(), Errno::RANGE);
    let read_only = Region::file_read(memory(&[0; 8]), 0, 8).unwrap();
    assert_eq!(read_only.atomic_u32(0).unwrap_err(), Errno::ACCESS);
}

#[test]
fn a_file_is_mapped_from_any_offset() {
    let page = page_size();
    let content: Vec<u8> = (0..3 * page).map(|at| (at / 7) as u8).collect();
    let file = file(&content);
    for offset in [0, 1, page - 1, page, page + 1, 2 * page + 5, 3 * page - 1] {
        let region = Region::file_read(&file, offset as u64, 3 * page - offset).unwrap();
        assert_eq!(bytes(&region), content[offset..], "{offset}");
        region.advise(0, region.len(), Advice::Sequential).unwrap();
        region.advise(region.len() - 1, 1, Advice::WillNeed).unwrap();
    }
}

#[test]
fn a_range_behind_the_end_of_the_file_is_refused() {
    let file = file(b"ten bytes.");
    assert!(Region::file_read(&file, 9, 1).is_ok());
    for (offset, len) in [(10, 1), (0, 11), (9, 2), (u64::MAX, 1), (u64::MAX - 4096, 4096), (1 << 63, 1)] {
        assert_eq!(Region::file_read(&file, offset, len).unwrap_err(), Errno::RANGE, "{offset} {len}");
    }
    assert_eq!(file.metadata().unwrap().len(), 10);
}

#[test]
fn a_shared_write_reaches_the_file_and_a_copy_does_not() {
    let file = file(b"0123456789");
    let (shared, copy) = (Region::file_write(&file, 5, 5).unwrap(), Region::file_copy(&file, 5, 5).unwrap());
    copy.copy_in(0, b"abcde").unwrap();
    assert_eq!(bytes(&shared), b"56789");
    shared.copy_in(1, b"__").unwrap();
    shared.sync(1, 2).unwrap();
    shared.sync_later(0, 5).unwrap();
    assert_eq!(bytes(&copy), b"abcde");
    assert_eq!(bytes(&Region::file_read(&file, 0, 10).unwrap()), b"012345__89");
}

#[test]
fn the_kernel_decides_what_can_be_mapped() {
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    assert_eq!(Region::file_read(&reader, 0, 1).unwrap_err(), Errno::NODEV);
    let directory = File::open("/").unwrap();
    assert_eq!(Region::file_read(&directory, 0, 1).unwrap_err(), Errno::NODEV);
    let read_only = File::open("/dev/zero").unwrap();
    assert_eq!(Region::file_write(&read_only, 0, 1).unwrap_err(), Errno::ACCESS);
    assert_eq!(bytes(&Region::file_read(&read_only, 0, 9).unwrap()), [0; 9]);
}

#[test]
fn read_only_memory_takes_no_bytes() {
    let file = file(b"0123456789");
    let mut region = Region::file_read(&file, 0, 10).unwrap();
    assert_eq!(region.copy_in(0, b"x"), Err(Errno::ACCESS));
    assert_eq!(region.fill(0, 1, 0), Err(Errno::ACCESS));
    assert!(region.as_mut_slice().is_none() && region.as_slice().is_none());
    region.protect(Protection::READ | Protection::WRITE).unwrap();
    region.copy_in(0, b"x").unwrap();
    region.protect(Protection::empty()).unwrap();
    assert_eq!(region.copy_out(0, &mut [0]), Err(Errno::ACCESS));
    region.protect(Protection::READ).unwrap();
    assert_eq!(bytes(&region), b"x123456789");
}

#[test]
fn protection_beyond_the_open_mode_or_the_known_bits_is_refused() {
    let mut region = Region::file_read(File::open("/dev/zero").unwrap(), 0, 1).unwrap();
    assert_eq!(region.protect(Protection::READ | Protection::WRITE), Err(Errno::ACCESS));
    assert_eq!(region.protect(Protection::from_bits_retain(0x0100_0000)), Err(Errno::INVAL));
    assert_eq!(region.protection(), Protection::READ);
}

#[test]
fn private_memory_is_lent_as_a_slice_while_it_may_be_written() {
    let mut region = Region::private(10).unwrap();
    region.as_mut_slice().unwrap().copy_from_slice(b"0123456789");
    assert_eq!(bytes(&region), b"0123456789");
    region.protect(Protection::READ).unwrap();
    assert!(region.as_mut_slice().is_none());
    assert!(Region::anonymous(10).unwrap().as_mut_slice().is_none());
}

#[test]
fn only_a_memory_file_sealed_against_writing_and_shrinking_is_lent() {
    let memory = memory(b"settled");
    for seals in [Seals::empty(), Seals::SHRINK, Seals::GROW] {
        memory.add_seals(seals).unwrap();
        assert_eq!(Region::sealed(&memory, 7).unwrap_err(), Errno::PERM);
    }
    memory.add_seals(Seals::WRITE).unwrap();
    assert!(memory.seals().unwrap().contains(Seals::WRITE | Seals::SHRINK | Seals::GROW));
    assert_eq!(Region::sealed(&memory, 8).unwrap_err(), Errno::RANGE);
    let mut region = Region::sealed(&memory, 7).unwrap();
    assert_eq!(region.as_slice(), Some(&b"settled"[..]));
    assert_eq!(region.protect(Protection::READ | Protection::WRITE), Err(Errno::PERM));
    assert_eq!(region.remap(8), Err(Errno::INVAL));
    assert_eq!(Region::shared(&memory, 7).unwrap_err(), Errno::PERM);
    region.protect(Protection::empty()).unwrap();
    assert!(region.as_slice().is_none());
    // A pipe takes no seals. A file of tmpfs or hugetlbfs does, and is made with one against more of them; others do
    // not.
    let (reader, _writer) = ossature_sys::pipe::pipe(ossature_sys::pipe::Flags::empty()).unwrap();
    assert_eq!(Region::sealed(reader, 7).unwrap_err(), Errno::INVAL);
    let refused = Region::sealed(file(b"settled"), 7).unwrap_err();
    let expected = if takes_seals(&file(b"")) { Errno::PERM } else { Errno::INVAL };
    assert_eq!(refused, expected);
}

#[test]
fn a_seal_against_writing_waits_for_the_last_writable_map() {
    let memory = memory(b"busy");
    let region = Region::shared(&memory, 4).unwrap();
    assert_eq!(memory.add_seals(Seals::WRITE), Err(Errno::BUSY));
    drop(region);
    memory.add_seals(Seals::WRITE).unwrap();
}

#[test]
fn sealed_lengths_stay() {
    let memory = memory(b"0123456789");
    memory.add_seals(Seals::SHRINK).unwrap();
    assert_eq!(memory.set_len(9), Err(Errno::PERM));
    memory.set_len(11).unwrap();
    memory.add_seals(Seals::GROW | Seals::SEAL).unwrap();
    assert_eq!(memory.set_len(12), Err(Errno::PERM));
    assert_eq!(memory.reserve(100_000), Err(Errno::PERM));
    assert_eq!(memory.add_seals(Seals::WRITE), Err(Errno::PERM));
    assert_eq!(memory.len(), Ok(11));
}

#[test]
fn reserved_memory_is_there() {
    let memory = Memfd::new(c"reserved").unwrap();
    memory.reserve(100_000).unwrap();
    assert_eq!(memory.len(), Ok(100_000));
    assert!(rustix::fs::fstat(&memory).unwrap().st_blocks * 512 >= 100_000);
    assert_eq!(memory.reserve(0), Err(Errno::INVAL));
}

#[test]
fn more_memory_is_reserved_without_what_is_before_it() {
    const MIB: u64 = 1 << 20;
    let memory = Memfd::new(c"more").unwrap();
    memory.set_len(16 * MIB).unwrap();
    memory.reserve_more(9 * MIB, 13 * MIB).unwrap();
    let found = rustix::fs::fstat(&memory).unwrap().st_blocks as u64 * 512;
    assert!((4 * MIB..8 * MIB).contains(&found), "{found}");
    memory.reserve_more(15 * MIB, 17 * MIB).unwrap();
    assert_eq!(memory.len(), Ok(17 * MIB));
    for (from, to) in [(1, 1), (2, 1), (u64::MAX, 0)] {
        assert_eq!(memory.reserve_more(from, to), Err(Errno::INVAL), "{from} {to}");
    }
    assert_eq!(memory.reserve_more(0, u64::MAX), Err(Errno::NOMEM));
    let again = rustix::fs::fstat(&memory).unwrap().st_blocks as u64 * 512;
    assert!(again >= found + 2 * MIB, "nothing is given back by a call that does nothing: {again}");
}

#[test]
fn a_memory_file_is_closed_on_exec_and_known_by_its_seals() {
    let memory = memory(b"");
    assert!(ossature_sys::fd::is_cloexec(&memory).unwrap());
    let twin = Memfd::from_fd(ossature_sys::fd::duplicate(memory.as_fd()).unwrap()).unwrap();
    assert_eq!(twin.seals(), memory.seals());
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    assert_eq!(Memfd::from_fd(reader).unwrap_err(), Errno::INVAL);
    let name = std::ffi::CString::new(vec![b'x'; 250]).unwrap();
    assert_eq!(Memfd::new(&name).unwrap_err(), Errno::INVAL);
}

#[test]
fn a_region_grows_and_shrinks_with_its_bytes() {
    let mut region = Region::private(10).unwrap();
    region.copy_in(0, b"0123456789").unwrap();
    region.remap(50 * page_size() + 1).unwrap();
    assert_eq!(region.len(), 50 * page_size() + 1);
    assert_eq!(&bytes(&region)[..11], b"0123456789\0");
    region.fill(50 * page_size(), 1, 9).unwrap();
    region.remap(4).unwrap();
    assert_eq!(bytes(&region), b"0123");
    assert_eq!(region.copy_out(4, &mut [0]), Err(Errno::RANGE));
    for len in [0, usize::MAX, isize::MAX as usize] {
        assert!(region.remap(len).is_err());
        assert_eq!(bytes(&region), b"0123");
    }
}

#[test]
fn a_map_of_a_file_from_inside_a_page_keeps_its_place_when_it_grows() {
    let page = page_size();
    let content: Vec<u8> = (0..9 * page).map(|at| (at / 3) as u8).collect();
    let file = file(&content);
    let mut region = Region::file_read(&file, page as u64 + 7, 10).unwrap();
    region.remap(7 * page).unwrap();
    assert_eq!(bytes(&region), content[page + 7..8 * page + 7]);
}

#[test]
fn shared_anonymous_memory_does_not_grow_into_pages_that_would_fault() {
    let mut region = Region::anonymous(10).unwrap();
    assert_eq!(region.remap(11), Err(Errno::INVAL));
    region.remap(5).unwrap();
    assert_eq!(region.len(), 5);
}

#[test]
fn advice_leaves_the_bytes_alone() {
    let region = Region::private(3 * page_size()).unwrap();
    region.fill(0, region.len(), 5).unwrap();
    let all = [Advice::Normal, Advice::Random, Advice::Sequential, Advice::DontDump, Advice::DoDump, Advice::Cold];
    for advice in all {
        region.advise(page_size() + 1, 1, advice).unwrap();
    }
    // These depend on how the kernel was built, and on its age.
    for advice in [Advice::Mergeable, Advice::Unmergeable, Advice::HugePage, Advice::NoHugePage, Advice::PageOut] {
        assert!(matches!(region.advise(0, region.len(), advice), Ok(()) | Err(Errno::INVAL)));
    }
    for advice in [Advice::PopulateRead, Advice::PopulateWrite] {
        assert!(matches!(region.advise(0, region.len(), advice), Ok(()) | Err(Errno::INVAL)));
    }
    assert!(bytes(&region).iter().all(|&byte| byte == 5));
}

#[test]
fn discarded_pages_read_as_zero_and_their_neighbours_stay() {
    let page = page_size();
    let region = Region::private(3 * page).unwrap();
    region.fill(0, region.len(), 5).unwrap();
    // SAFETY: nobody relies on these bytes.
    unsafe { region.discard(page, page, Discard::DontNeed) }.unwrap();
    let now = bytes(&region);
    assert!(now[page..2 * page].iter().all(|&byte| byte == 0));
    assert!(now[..page].iter().chain(&now[2 * page..]).all(|&byte| byte == 5));

    let memory = memory(&vec![1; page]);
    let region = Region::shared(&memory, page).unwrap();
    // SAFETY: nobody relies on these bytes.
    unsafe { region.discard(0, page, Discard::Remove) }.unwrap();
    assert_eq!(bytes(&region), vec![0; page]);
    // SAFETY: nobody relies on these bytes; this kind of memory cannot be freed lazily.
    assert_eq!(unsafe { region.discard(0, page, Discard::Free) }, Err(Errno::INVAL));
}

#[test]
fn what_children_inherit_is_accepted_where_it_fits() {
    let region = Region::private(10).unwrap();
    for how in [Inherit::Nothing, Inherit::Pages, Inherit::Zeros, Inherit::Contents] {
        // SAFETY: undone before any child could use it; a child of another test uses nothing of this one.
        assert_eq!(unsafe { region.inherit(0, 10, how) }, Ok(()));
    }
    let shared = Region::anonymous(10).unwrap();
    // SAFETY: refused.
    assert_eq!(unsafe { shared.inherit(0, 10, Inherit::Zeros) }, Err(Errno::INVAL));
}

#[test]
fn pages_are_locked_and_unlocked_from_any_offset() {
    let region = Region::private(3 * page_size()).unwrap();
    region.lock(page_size() - 1, 2).unwrap();
    region.unlock(0, region.len()).unwrap();
    region.lock_on_use(5, 1).unwrap();
    region.unlock(5, 1).unwrap();
}

#[test]
fn leaked_memory_stays_mapped() {
    let region = Region::anonymous(100).unwrap();
    region.copy_in(50, b"still here").unwrap();
    let leaked = region.leak();
    // SAFETY: it is mapped for ever and nobody writes it any more.
    assert_eq!(unsafe { &leaked.as_ref()[50..60] }, b"still here");
}

#[test]
fn flags_make_memory_of_their_kind_and_no_other() {
    for sharing in [Flags::SHARED, Flags::PRIVATE] {
        let mut region = Region::with_flags(page_size() + 1, sharing | Flags::NORESERVE | Flags::POPULATE).unwrap();
        region.copy_in(page_size(), b"x").unwrap();
        assert_eq!((region.len(), region.as_mut_slice().is_some()), (page_size() + 1, sharing == Flags::PRIVATE));
        assert_eq!(region.remap(10 * page_size()).is_ok(), sharing == Flags::PRIVATE, "shared memory does not grow");
    }
    let huge = Flags::huge(2 << 20).unwrap();
    let fixed = Flags::from_bits_retain(libc::MAP_FIXED as u32);
    let size = Flags::from_bits_retain(huge.bits() & !Flags::HUGETLB.bits());
    for strange in [fixed, Flags::HUGETLB, size, huge | Flags::NORESERVE, Flags::SHARED] {
        assert_eq!(Region::with_flags(1, Flags::PRIVATE | strange).unwrap_err(), Errno::INVAL, "{strange:?}");
    }
    assert_eq!(Region::with_flags(1, Flags::empty()).unwrap_err(), Errno::INVAL);
    assert_eq!(Region::with_flags(0, Flags::PRIVATE).unwrap_err(), Errno::INVAL);
    assert_eq!(Region::with_flags(usize::MAX, Flags::PRIVATE | huge).unwrap_err(), Errno::NOMEM);
    assert_eq!([0, 1, 3, 4097].map(Flags::huge), [None; 4]);
}

#[test]
fn huge_pages_are_given_back_whole() {
    let huge = Flags::huge(2 << 20).unwrap();
    let Ok(region) = Region::with_flags(3, Flags::PRIVATE | huge) else { return }; // none are set aside
    region.fill(0, 3, 7).unwrap();
    region.advise(1, 2, Advice::Normal).unwrap();
    let place = region.as_ptr().as_ptr();
    drop(region);
    let mut resident = [0_u8];
    // SAFETY: mincore(2) answers ENOMEM for what is not mapped, and else writes one byte for one page.
    assert_eq!(unsafe { libc::mincore(place.cast(), 1, resident.as_mut_ptr().cast()) }, -1, "unmapped");
}

#[test]
fn a_copy_by_the_kernel_fails_where_an_access_would_end_the_process() {
    let file = file(&vec![7; 3 * page_size()]);
    let region = Region::file_write(&file, 0, 3 * page_size()).unwrap();
    match region.try_copy_in(page_size() - 2, b"bones") {
        Err(Errno::NOSYS | Errno::PERM) => return, // an emulator or a sandbox
        done => done.unwrap(),
    }
    let mut bytes = [0; 5];
    region.try_copy_out(page_size() - 2, &mut bytes).unwrap();
    assert_eq!(&bytes, b"bones");
    file.set_len(page_size() as u64 - 1).unwrap();
    let mut all = vec![1; 3 * page_size()];
    assert_eq!(region.try_copy_out(0, &mut all), Err(Errno::FAULT));
    assert_eq!(region.try_copy_out(2 * page_size(), &mut bytes), Err(Errno::FAULT));
    assert_eq!(region.try_copy_in(page_size() - 1, b"xx"), Err(Errno::FAULT), "the second byte");
    region.try_copy_out(page_size() - 2, &mut bytes[..2]).unwrap();
    assert_eq!(bytes[0], b'b');
    // Nothing to copy is no call.
    region.try_copy_out(3 * page_size(), &mut []).unwrap();
    region.try_copy_in(3 * page_size(), &[]).unwrap();
    assert_eq!(region.try_copy_out(3 * page_size(), &mut [0]), Err(Errno::RANGE));
    let read = Region::file_read(&file, 0, 1).unwrap();
    assert_eq!(read.try_copy_in(0, b"x"), Err(Errno::ACCESS));
}

#[test]
fn a_borrowed_region_leaves_the_mapping_to_its_owner() {
    let file = file(&vec![7; 2 * page_size()]);
    let owner = Region::file_write(&file, 5, page_size()).unwrap();
    for _ in 0..2 {
        // SAFETY: `owner` lives on and lends no slice.
        let same = unsafe { RegionRef::new(owner.as_ptr(), owner.len(), Protection::READ | Protection::WRITE) };
        same.copy_in(0, b"bones").unwrap();
        same.advise(1, 10, Advice::Normal).unwrap();
        same.sync(1, 10).unwrap();
        assert_eq!((same.len(), same.as_slice()), (page_size(), None));
    }
    assert_eq!(&bytes(&owner)[..6], b"bones\x07");
}

/// No page is ever mapped at such a low address.
#[test]
fn pages_that_are_gone_are_not_written_to_their_file() {
    let nowhere = NonNull::new(std::ptr::without_provenance_mut(page_size())).unwrap();
    // SAFETY: no byte is there, and a sync reads and writes none.
    let gone = unsafe { RegionRef::new(nowhere, 1, Protection::READ) };
    assert_eq!([gone.sync(0, 1), gone.sync_later(0, 1)], [Err(Errno::NOMEM); 2]);
}

#[test]
fn memory_without_a_file_has_a_name() {
    for (region, shown) in
        [(Region::private(1).unwrap(), "[anon:a name]"), (Region::anonymous(1).unwrap(), "[anon_shmem:a name]")]
    {
        match region.set_name(c"a name") {
            Ok(()) => assert!(std::fs::read_to_string("/proc/self/maps").is_ok_and(|maps| maps.contains(shown))),
            Err(error) => assert!([Errno::INVAL, Errno::BADF, Errno::NOSYS].contains(&error), "{error}"),
        }
    }
    assert!(Region::file_read(file(b"x"), 0, 1).unwrap().set_name(c"a name").is_err());
}
