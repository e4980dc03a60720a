//! Options, flags, protection, and which maps lend slices.

use std::fs::File;
use std::io::{BufRead, Seek, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use ossature::ErrorKind::{InvalidInput, OutOfRange, Unsupported};
use ossature::mmap::{Access, Discard, Flags, Mmap, Protection, page_size};
use ossature::sys::errno::Errno;
use ossature::sys::mmap::{Memfd, Seals};

use crate::harness::Test;
use crate::{bytes, every_kind, file, kind};

pub const TESTS: &[Test] = &[
    ("flags_and_protections_have_the_numbers_of_c", flags_and_protections_have_the_numbers_of_c),
    ("flags_reach_the_kernel", flags_reach_the_kernel),
    ("flags_that_fit_no_map_are_refused", flags_that_fit_no_map_are_refused),
    ("protection_decides_what_a_map_is_for", protection_decides_what_a_map_is_for),
    ("an_offset_may_be_any_place", an_offset_may_be_any_place),
    ("what_cannot_be_mapped_is_an_error_that_says_why", what_cannot_be_mapped_is_an_error_that_says_why),
    ("a_device_is_mapped_by_its_length", a_device_is_mapped_by_its_length),
    ("the_descriptor_may_be_closed", the_descriptor_may_be_closed),
    ("slices_are_lent_of_what_nobody_else_changes", slices_are_lent_of_what_nobody_else_changes),
    ("a_proof_is_asked_of_the_kernel", a_proof_is_asked_of_the_kernel),
    ("a_trusted_map_is_written_through_its_slice", a_trusted_map_is_written_through_its_slice),
    (
        "a_private_copy_keeps_its_bytes_and_shows_those_of_the_file",
        a_private_copy_keeps_its_bytes_and_shows_those_of_the_file,
    ),
    ("a_file_for_appending_is_written_in_place", a_file_for_appending_is_written_in_place),
    ("ranges_outside_are_errors_that_name_both_lengths", ranges_outside_are_errors_that_name_both_lengths),
    ("a_map_is_shared_between_threads_for_reading", a_map_is_shared_between_threads_for_reading),
];

/// The flags that the kernel shows for the mapping at an address; `None` without smaps.
pub fn vm_flags(address: *const u8) -> Option<Vec<String>> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").ok()?;
    let mut within = false;
    for line in smaps.lines() {
        let first = line.split([' ', '-']).next()?;
        if let (Ok(start), Some((_, rest))) = (usize::from_str_radix(first, 16), line.split_once('-')) {
            let end = usize::from_str_radix(rest.split(' ').next()?, 16).ok()?;
            within = (start..end).contains(&address.addr());
        }
        if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| within) {
            return Some(flags.split_whitespace().map(str::to_owned).collect());
        }
    }
    None
}

fn flags_and_protections_have_the_numbers_of_c() {
    let numbers = [
        (Flags::SHARED, 1, libc::MAP_SHARED),
        (Flags::PRIVATE, 2, libc::MAP_PRIVATE),
        (Flags::ANONYMOUS, libc::MAP_ANON, libc::MAP_ANONYMOUS),
        (Flags::DENYWRITE, libc::MAP_DENYWRITE, libc::MAP_DENYWRITE),
        (Flags::EXECUTABLE, libc::MAP_EXECUTABLE, libc::MAP_EXECUTABLE),
        (Flags::POPULATE, libc::MAP_POPULATE, libc::MAP_POPULATE),
        (Flags::STACK, libc::MAP_STACK, libc::MAP_STACK),
        (Flags::NORESERVE, libc::MAP_NORESERVE, libc::MAP_NORESERVE),
        (Flags::HUGETLB, libc::MAP_HUGETLB, libc::MAP_HUGETLB),
        (Flags::huge(2 << 20).unwrap(), libc::MAP_HUGETLB | libc::MAP_HUGE_2MB, libc::MAP_HUGETLB | 21 << 26),
    ];
    for (flag, number, same) in numbers {
        assert_eq!((flag.bits(), number), (number as u32, same), "{flag:?}");
    }
    #[cfg(target_arch = "x86_64")]
    assert_eq!(Flags::LOW_32_BITS.bits(), libc::MAP_32BIT as u32);
    let protections = [Protection::READ, Protection::WRITE, Protection::EXEC].map(|protection| protection.bits());
    assert_eq!(
        (protections, [1, 2, 4]),
        ([libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC].map(|bits| bits as u32), protections)
    );
    // SAFETY: sysconf(3) has no preconditions.
    assert_eq!(page_size() as i64, unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as i64);
    assert_eq!([Access::Default, Access::Read, Access::Write, Access::Copy].map(|access| access as i32), [0, 1, 2, 3]);
}

fn flags_reach_the_kernel() {
    let file = file(&vec![0; 4 * page_size()]);
    let anonymous = |flags| Mmap::options().len(4 * page_size()).flags(flags).map_anonymous();
    let of_file = |flags| Mmap::options().flags(flags).map(&file);
    let shows =
        |map: &Mmap, flag: &str| vm_flags(map.as_ptr()).is_none_or(|flags| flags.iter().any(|shown| shown == flag));
    for sharing in [Flags::SHARED, Flags::PRIVATE] {
        for (plain, lean) in [
            (anonymous(sharing), anonymous(sharing | Flags::NORESERVE)),
            (of_file(sharing), of_file(sharing | Flags::NORESERVE)),
        ] {
            let (plain, lean) = (plain.unwrap(), lean.unwrap());
            assert_eq!(shows(&plain, "sh"), sharing == Flags::SHARED || vm_flags(plain.as_ptr()).is_none());
            // The kernel accounts for nothing where it never refuses memory, and not for shared files.
            assert!(
                shows(&lean, "nr")
                    || std::fs::read_to_string("/proc/sys/vm/overcommit_memory")
                        .is_ok_and(|mode| mode.starts_with('2'))
            );
        }
        for ignored in [Flags::DENYWRITE, Flags::EXECUTABLE, Flags::STACK] {
            let (mut memory, mut map) = (anonymous(sharing | ignored).unwrap(), of_file(sharing | ignored).unwrap());
            memory.set(0, 1).unwrap();
            map.set(0, 1).unwrap();
        }
        let there = anonymous(sharing | Flags::POPULATE).unwrap();
        let mut resident = [0_u8; 4];
        // SAFETY: the range is the map, and the vector has a byte for each of its pages.
        let asked = unsafe { libc::mincore(there.as_ptr().cast(), there.len(), resident.as_mut_ptr().cast()) };
        assert!(asked != 0 || resident.iter().all(|page| page & 1 == 1), "{resident:?}");
        of_file(sharing | Flags::POPULATE).unwrap().set(0, 1).unwrap();
    }
    assert!(anonymous(Flags::PRIVATE | Flags::ANONYMOUS).is_ok(), "as it is anyway");
    #[cfg(target_arch = "x86_64")]
    assert!(anonymous(Flags::PRIVATE | Flags::LOW_32_BITS).unwrap().as_ptr().addr() < 1 << 31);
    // Whether some are set aside is not for a test to say; what is made must come back whole.
    let huge = Flags::huge(2 << 20).unwrap();
    for sharing in [Flags::PRIVATE, Flags::SHARED] {
        match anonymous(sharing | huge) {
            Ok(mut map) => {
                map.set(-1, 7).unwrap();
                let place = map.as_ptr();
                assert!(map.get(-1).unwrap() == 7 && shows(&map, "ht"));
                assert_eq!(kind(map.discard(.., Discard::DontNeed)), Unsupported);
                drop(map);
                assert!(vm_flags(place).is_none(), "unmapped");
            }
            Err(error) => assert!(
                [Some(Errno::NOMEM), Some(Errno::INVAL), Some(Errno::NOENT), Some(Errno::PERM)]
                    .contains(&error.errno()),
                "{error}"
            ),
        }
    }
}

fn flags_that_fit_no_map_are_refused() {
    let some = file(b"some");
    let of_file = |flags| kind(Mmap::options().flags(flags).map(&some));
    let errno = |flags| Mmap::options().len(1).flags(flags).map_anonymous().unwrap_err().errno();
    for sharing in [Flags::empty(), Flags::SHARED | Flags::PRIVATE, Flags::POPULATE] {
        assert_eq!(
            (of_file(sharing), kind(Mmap::options().len(1).flags(sharing).map_anonymous())),
            (InvalidInput, InvalidInput)
        );
    }
    assert_eq!(
        (of_file(Flags::SHARED | Flags::ANONYMOUS), of_file(Flags::SHARED | Flags::HUGETLB)),
        (InvalidInput, Unsupported)
    );
    let fixed = Flags::from_bits_retain(libc::MAP_FIXED as u32);
    assert_eq!((of_file(Flags::PRIVATE | fixed), errno(Flags::PRIVATE | fixed)), (Unsupported, Some(Errno::INVAL)));
    // Huge pages without a size, a size without huge pages, and pages that may be missing later.
    let huge = Flags::huge(2 << 20).unwrap();
    let size = Flags::from_bits_retain(huge.bits() & !Flags::HUGETLB.bits());
    for strange in [Flags::HUGETLB, size, huge | Flags::NORESERVE] {
        assert_eq!(errno(Flags::PRIVATE | strange), Some(Errno::INVAL), "{strange:?}");
    }
    assert_eq!(kind(Mmap::options().len(1).offset(4096).map_anonymous()), InvalidInput);
}

fn protection_decides_what_a_map_is_for() {
    let given = file(b"0123456789");
    let with = |flags, protection| Mmap::options().flags(flags).protection(protection).map(&given);
    let (read, write, exec) = (Protection::READ, Protection::WRITE, Protection::EXEC);
    for (protection, access) in [(read, Access::Read), (write, Access::Write), (read | write, Access::Default)] {
        for flags in [Flags::SHARED, Flags::PRIVATE] {
            let mut map = with(flags, protection).unwrap();
            assert_eq!((map.access(), map.get(1).unwrap()), (access, b'1'));
            assert_eq!(map.set(1, b'1').is_ok(), access != Access::Read);
            let memory = Mmap::options().len(10).flags(flags).protection(protection).map_anonymous();
            let mut memory = memory.unwrap();
            assert_eq!((memory.access(), memory.slice(..).unwrap()), (access, vec![0; 10]));
            assert_eq!(
                (memory.set(1, 1).is_ok(), memory.resize(5).is_ok()),
                (access != Access::Read, access != Access::Read)
            );
            let writable = vm_flags(memory.as_ptr()).map(|flags| flags.iter().any(|flag| flag == "wr"));
            assert_ne!(writable, Some(access == Access::Read), "the kernel knows too");
            assert_eq!(memory.as_slice().is_some(), flags == Flags::PRIVATE);
            assert_eq!(memory.as_mut_slice().is_some(), flags == Flags::PRIVATE && access != Access::Read);
        }
    }
    for protection in [exec, read | exec] {
        assert_eq!(with(Flags::SHARED, protection).unwrap().get(9).unwrap(), b'9');
        assert_eq!(kind(with(Flags::PRIVATE, protection)), Unsupported);
        assert_eq!(kind(with(Flags::SHARED, protection | write)), Unsupported);
        assert_eq!(kind(Mmap::options().len(1).protection(protection).map_anonymous()), Unsupported);
    }
    let strange = Protection::from_bits_retain(0x10);
    assert_eq!(
        [with(Flags::SHARED, Protection::empty()), with(Flags::SHARED, read | strange)].map(kind),
        [InvalidInput; 2]
    );
    assert_eq!(bytes(&given), b"0123456789");
}

fn an_offset_may_be_any_place() {
    let len = 3 * page_size();
    let data: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
    let file = file(&data);
    for offset in [0, 1, page_size() - 1, page_size(), page_size() + 1, len - 1] {
        for access in [Access::Read, Access::Write, Access::Copy] {
            let map = Mmap::options().offset(offset as u64).access(access).map(&file).unwrap();
            assert_eq!(map.slice(..).unwrap(), &data[offset..]);
            let untracked =
                Mmap::options().offset(offset as u64).len(len - offset).access(access).untracked().map(&file).unwrap();
            assert_eq!(untracked.slice(..).unwrap(), &data[offset..]);
        }
    }
    let mut map = Mmap::options().offset(5).len(10).map(&file).unwrap();
    map.set_slice(.., b"0123456789").unwrap();
    assert_eq!(bytes(&file)[4..16], [&[4], &b"0123456789"[..], &[15]].concat());
}

fn what_cannot_be_mapped_is_an_error_that_says_why() {
    let given = file(b"some");
    let reading = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&given))).unwrap();
    let errno = |map: ossature::Result<Mmap>| map.unwrap_err().errno();
    assert_eq!(errno(Mmap::new(&reading, Access::Write)), Some(Errno::ACCESS));
    let text = Mmap::new(&reading, Access::Write).unwrap_err().to_string();
    assert!(text.contains("open it for reading") && text.contains("also for writing"), "{text}");
    let (reader, writer) = ossature::sys::pipe::pipe(ossature::sys::pipe::Flags::empty()).unwrap();
    assert_eq!(kind(Mmap::new(&reader, Access::Read)), InvalidInput, "it has no end");
    assert_eq!(errno(Mmap::options().len(10).access(Access::Read).map(&reader)), Some(Errno::NODEV));
    assert_eq!(errno(Mmap::options().len(10).map(&writer)), Some(Errno::ACCESS));
    assert_eq!(errno(Mmap::options().len(10).access(Access::Read).map(File::open("/").unwrap())), Some(Errno::NODEV));
    assert_eq!(errno(Mmap::private(usize::MAX)), Some(Errno::NOMEM));
    // A seal forbids to write, and says so.
    let memory = Memfd::new(c"sealed").unwrap();
    memory.set_len(10).unwrap();
    memory.add_seals(Seals::WRITE).unwrap();
    assert_eq!(errno(Mmap::new(&memory, Access::Write)), Some(Errno::PERM));
    assert!(Mmap::new(&memory, Access::Copy).unwrap().set(0, 1).is_ok());
}

fn a_device_is_mapped_by_its_length() {
    let zero = File::options().read(true).write(true).open("/dev/zero").unwrap();
    let mut map = Mmap::options().len(100).map(&zero).unwrap();
    map.set_slice(10..15, b"bones").unwrap();
    assert_eq!((map.find(b"bones").unwrap(), map.slice(9..16).unwrap()), (Some(10), b"\0bones\0".to_vec()));
    let mut copy = Mmap::options().len(100).access(Access::Copy).map(&zero).unwrap();
    copy.write_all(b"bones").unwrap();
    assert_eq!(copy.slice(..6).unwrap(), b"bones\0");
}

fn the_descriptor_may_be_closed() {
    let given = file(b"0123456789");
    let same = given.try_clone().unwrap();
    let mut map = Mmap::new(given, Access::Write).unwrap();
    map.set(0, b'x').unwrap();
    assert_eq!((map.file_len().unwrap(), bytes(&same)), (10, b"x123456789".to_vec()));
    // The position of the open file is not that of the map.
    Write::write_all(&mut &same, b"!").unwrap();
    assert_eq!((map.position(), map.file_len().unwrap(), map.len()), (0, 11, 10));
}

fn slices_are_lent_of_what_nobody_else_changes() {
    for (name, mut map) in every_kind(b"bones") {
        let lends = ["trusted file", "private memory"].contains(&name);
        assert_eq!((map.as_mut_slice().is_some(), map.as_slice()), (lends, lends.then_some(&b"bones"[..])), "{name}");
    }
    // What the kernel takes away when it likes is not lent.
    let mut map = Mmap::private(page_size()).unwrap();
    map.set(0, 7).unwrap();
    match map.discard(.., Discard::Free) {
        Ok(()) => assert!([0, 7].contains(&map.get(0).unwrap())),
        Err(error) => assert_eq!(error.errno(), Some(Errno::INVAL)), // an emulator
    }
    assert!(map.as_slice().is_none() && map.as_mut_slice().is_none());
    map.set_slice(1..6, b"bones").unwrap();
    assert_eq!(map.find(b"bones").unwrap(), Some(1));
}

fn a_proof_is_asked_of_the_kernel() {
    let memory = || {
        let memory = Memfd::new(c"proof").unwrap();
        ossature::sys::fd::write(&memory, b"0123456789").unwrap();
        memory
    };
    for (seals, enough) in
        [(Seals::WRITE | Seals::SHRINK, true), (Seals::WRITE, false), (Seals::SHRINK | Seals::GROW, false)]
    {
        let memory = memory();
        memory.add_seals(seals).unwrap();
        match Mmap::options().offset(2).map_proven(&memory) {
            Ok(mut map) => {
                assert!(enough);
                assert!(map.as_mut_slice().is_none());
                assert_eq!((map.as_slice(), map.access()), (Some(&b"23456789"[..]), Access::Read));
                assert_eq!(
                    (map.find(b"5").unwrap(), map.rfind(b"5").unwrap(), map.fill_buf().unwrap()),
                    (Some(3), Some(3), &b"23456789"[..])
                );
                assert_eq!(
                    (map.set(0, 1).unwrap_err().errno(), map.resize(1).unwrap_err().errno()),
                    (Some(Errno::ACCESS), Some(Errno::ACCESS))
                );
                // What does not change whatever is advised stays lent.
                map.discard(.., Discard::DontNeed).unwrap();
                assert_eq!(map.as_slice(), Some(&b"23456789"[..]));
            }
            Err(error) => {
                assert!(!enough && error.kind() == InvalidInput, "{error}");
                let text = error.to_string();
                assert!(text.contains("F_SEAL_") && text.contains("Seals::SHRINK | Seals::WRITE"), "{text}");
            }
        }
        assert_eq!(kind(Mmap::options().access(Access::Write).map_proven(&memory)), InvalidInput);
        assert_eq!(kind(Mmap::options().len(11).map_proven(&memory)), InvalidInput);
    }
    assert_eq!(kind(Mmap::options().map_proven(file(b"some"))), InvalidInput);
    assert_eq!(kind(Mmap::options().len(1).map_proven(File::open("/dev/zero").unwrap())), InvalidInput);
}

fn a_trusted_map_is_written_through_its_slice() {
    let given = file(b"0123456789");
    // SAFETY: nobody else has the file, which is read here only between the uses of the slices.
    let mut map = unsafe { Mmap::options().offset(1).map_trusted(&given) }.unwrap();
    map.as_mut_slice().unwrap()[..5].copy_from_slice(b"bones");
    map.set(-1, b'!').unwrap();
    assert_eq!((map.as_slice().unwrap(), map.slice(..).unwrap()), (&b"bones678!"[..], b"bones678!".to_vec()));
    drop(map);
    assert_eq!(bytes(&given), b"0bones678!");
    // SAFETY: as above.
    let mut copy = unsafe { Mmap::options().access(Access::Copy).map_trusted(&given) }.unwrap();
    copy.as_mut_slice().unwrap().fill(b'.');
    assert_eq!((copy.get(3).unwrap(), bytes(&given)), (b'.', b"0bones678!".to_vec()));
    // SAFETY: as above.
    let mut read = unsafe { Mmap::options().access(Access::Read).map_trusted(&given) }.unwrap();
    assert!(read.as_mut_slice().is_none());
    assert_eq!(read.as_slice(), Some(&b"0bones678!"[..]));
    // An error, not a slice that vanishes with its pages.
    read.rewind().unwrap();
    assert_eq!(kind(read.read_at(5, &mut [0; 6])), OutOfRange);
}

fn a_private_copy_keeps_its_bytes_and_shows_those_of_the_file() {
    let given = file(&vec![b'a'; 2 * page_size()]);
    let mut map = Mmap::new(&given, Access::Copy).unwrap();
    given.write_all_at(b"first", 0).unwrap();
    assert_eq!(map.slice(..5).unwrap(), b"first", "read from the file");
    map.set(0, b'F').unwrap();
    given.write_all_at(b"later", 0).unwrap();
    given.write_all_at(b"later", page_size() as u64).unwrap();
    assert_eq!(map.slice(..5).unwrap(), b"First", "read from the page");
    assert_eq!(map.slice(page_size()..page_size() + 5).unwrap(), b"later", "a page that was not written");
    assert_eq!((map.find(b"later").unwrap(), bytes(&given)[0]), (Some(page_size()), b'l'));
    map.discard(.., Discard::DontNeed).unwrap();
    assert_eq!(map.slice(..5).unwrap(), b"later", "what was written is lost");
}

fn a_file_for_appending_is_written_in_place() {
    let given = file(b"0123456789");
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&given));
    let appending = File::options().read(true).append(true).custom_flags(libc::O_CLOEXEC).open(path).unwrap();
    let mut map = Mmap::new(&appending, Access::Write).unwrap();
    map.set_slice(2..4, b"xx").unwrap();
    assert_eq!((bytes(&given), map.file_len().unwrap()), (b"01xx456789".to_vec(), 10));
}

fn ranges_outside_are_errors_that_name_both_lengths() {
    for (name, mut map) in every_kind(b"0123456789") {
        let error = map.read_at(8, &mut [0; 3]).unwrap_err();
        assert_eq!(error.to_string(), "3 bytes from offset 8 are not within the map of 10 bytes", "{name}");
        assert_eq!(map.get(-11).unwrap_err().to_string(), "index -11 is out of range: the map has 10 bytes");
        assert_eq!(
            [map.read_at(11, &mut []), map.read_at(usize::MAX, &mut [0]), map.copy_within(5.., 6)].map(kind),
            [OutOfRange; 3]
        );
        assert_eq!([map.flush_range(5..11), map.flush_range_async(11..)].map(|done| done.is_err()), [true; 2]);
        map.read_at(10, &mut []).unwrap();
    }
}

fn a_map_is_shared_between_threads_for_reading() {
    fn assert_shared<T: Send + Sync>(_: &T) {}
    for (name, map) in every_kind(&[7; 10_000]) {
        assert_shared(&map);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    assert_eq!((map.find_in(b"\x07", 5000..).unwrap(), map.get(-1).unwrap()), (Some(5000), 7), "{name}")
                });
            }
        });
    }
}
