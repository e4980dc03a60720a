//! Maps and other processes: files that they truncate and write, memory that children share or do not get.

use std::io::{BufRead, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use ossature::ErrorKind::{NotAllowed, Truncated};
use ossature::mmap::{Access, Inherit, Mmap, page_size};
use ossature::sys::process::fork;

use crate::harness::Test;
use crate::{file, io_kind, kind};

pub const TESTS: &[Test] = &[
    ("a_file_cut_in_the_middle_of_a_read_is_an_error", a_file_cut_in_the_middle_of_a_read_is_an_error),
    ("an_access_by_a_pointer_would_have_ended_the_process", an_access_by_a_pointer_would_have_ended_the_process),
    ("every_call_on_a_cut_file_is_an_error", every_call_on_a_cut_file_is_an_error),
    ("the_rest_of_the_last_page_is_lost_too", the_rest_of_the_last_page_is_lost_too),
    ("what_another_process_writes_is_read_at_once", what_another_process_writes_is_read_at_once),
    ("a_child_shares_shared_memory_and_copies_private", a_child_shares_shared_memory_and_copies_private),
    ("a_map_kept_from_children_fails_there", a_map_kept_from_children_fails_there),
    ("a_child_finds_zeros_instead_of_a_secret", a_child_finds_zeros_instead_of_a_secret),
];

/// The maps of a test's file.
fn maps(file: &std::fs::File) -> Vec<(&'static str, Mmap)> {
    let mut written = Mmap::new(file, Access::Copy).unwrap();
    written.set(0, b'.').unwrap();
    vec![
        ("write", Mmap::new(file, Access::Write).unwrap()),
        ("read", Mmap::new(file, Access::Read).unwrap()),
        ("copy", Mmap::new(file, Access::Copy).unwrap()),
        ("written copy", written),
        ("untracked", Mmap::options().untracked().map(file).unwrap()),
    ]
}

fn a_file_cut_in_the_middle_of_a_read_is_an_error() {
    const LEN: usize = 8 << 20;
    let given = file(&vec![b'.'; LEN]);
    for (name, mut map) in maps(&given) {
        let mut stop = Mmap::anonymous(1).unwrap();
        let mut cutter = fork(|| {
            while stop.get(0).unwrap() == 0 {
                for len in [0, LEN as u64 / 2, LEN as u64] {
                    given.set_len(len).unwrap();
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
            0
        })
        .unwrap();
        let (mut whole, mut cut) = (0, 0);
        let mut buffer = vec![0; LEN];
        let began = Instant::now();
        // Until both were seen, on a machine with other work too.
        while began.elapsed() < Duration::from_millis(300)
            || ((whole == 0 || cut == 0) && began.elapsed() < Duration::from_secs(10))
        {
            map.rewind().unwrap();
            let mut outcomes = vec![
                map.read_at(0, &mut buffer),
                map.find_in(b"no such bytes", ..).map(drop),
                map.rfind_in(b"no such bytes", ..).map(drop),
                map.get(LEN - 1).map(drop),
                map.get(0).map(drop),
                map.readline().map(drop),
                map.read_until(b'\n', &mut Vec::new()).map(drop).map_err(Into::into),
            ];
            if map.access() != Access::Read {
                outcomes.push(map.set_slice(LEN - 9.., b"the bytes"));
                outcomes.push(map.copy_within(..1 << 20, 1 << 19));
            }
            for outcome in outcomes {
                match outcome {
                    Ok(()) => whole += 1,
                    Err(error) if error.kind() == Truncated => cut += 1,
                    Err(error) => panic!("{name}: {error}"),
                }
            }
        }
        stop.set(0, 1).unwrap();
        assert!(cutter.wait().unwrap().success());
        assert!(whole > 0 && cut > 0, "{name}: {whole} whole, {cut} cut");
        given.set_len(LEN as u64).unwrap();
    }
}

fn an_access_by_a_pointer_would_have_ended_the_process() {
    let given = file(&vec![7; 2 * page_size()]);
    let map = Mmap::new(&given, Access::Read).unwrap();
    given.set_len(1).unwrap();
    let mut child = fork(|| {
        let lost = map.as_ptr().wrapping_add(page_size());
        // SAFETY: the address is mapped; the signal is what is asked for.
        u8::from(unsafe { lost.read_volatile() } == 0)
    })
    .unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGBUS));
    assert_eq!(kind(map.get(page_size())), Truncated);
}

fn every_call_on_a_cut_file_is_an_error() {
    let given = file(&vec![b'x'; 3 * page_size()]);
    for (name, mut map) in maps(&given) {
        let (page, end) = (page_size(), 3 * page_size());
        given.set_len(page as u64).unwrap();
        assert_eq!([map.get(page), map.get(-1)].map(kind), [Truncated; 2], "{name}");
        assert_eq!([map.slice(..), map.slice(page - 1..page + 1)].map(kind), [Truncated; 2], "{name}");
        assert_eq!([map.find(b"y"), map.rfind(b"y"), map.find_in(b"y", page..)].map(kind), [Truncated; 3], "{name}");
        assert_eq!((kind(map.readline()), map.position()), (Truncated, 0), "{name}");
        assert_eq!(
            (io_kind(map.read_to_end(&mut vec![1])), io_kind(map.read(&mut vec![0; end])), map.position()),
            (Truncated, Truncated, 0)
        );
        map.seek(std::io::SeekFrom::Start(page as u64)).unwrap();
        assert_eq!(
            (kind(map.read_byte()), io_kind(map.fill_buf().map(drop)), io_kind(map.fill_buf().map(drop))),
            (Truncated, Truncated, Truncated)
        );
        if map.access() != Access::Read {
            assert_eq!(
                [map.set(page, 1), map.set_slice(page.., &vec![1; 2 * page]), map.write_byte(1)].map(kind),
                [Truncated; 3],
                "{name}"
            );
            assert_eq!((io_kind(map.write(b"bytes")), map.position()), (Truncated, page));
            assert_eq!(
                [map.copy_within(..1, page), map.copy_within(page..page + 1, 0)].map(kind),
                [Truncated; 2],
                "{name}"
            );
        }
        // What is there is there.
        assert_eq!((map.get(1).unwrap(), map.slice(1..page).unwrap().len()), (b'x', page - 1), "{name}");
        let error = map.get(-1).unwrap_err();
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::UnexpectedEof);
        // And comes back with the file.
        given.set_len(end as u64).unwrap();
        given.write_all_at(&vec![b'x'; 2 * page], page as u64).unwrap();
        assert_eq!(map.get(-1).unwrap(), b'x', "{name}");
    }
}

fn the_rest_of_the_last_page_is_lost_too() {
    let given = file(&[b'x'; 100]);
    for (name, mut map) in maps(&given) {
        given.set_len(50).unwrap();
        assert_eq!(map.get(49).unwrap(), b'x');
        // Without the descriptor nothing tells the zeros of the page from those of the file.
        if name == "untracked" {
            assert_eq!(map.get(50).unwrap(), 0);
        } else {
            assert_eq!((kind(map.get(50)), kind(map.slice(..))), (Truncated, Truncated), "{name}");
            if map.access() != Access::Read {
                assert_eq!(
                    (kind(map.set(60, 1)), kind(map.set_slice(40..60, &[1; 20]))),
                    (Truncated, Truncated),
                    "{name}"
                );
            }
        }
        given.set_len(100).unwrap();
        given.write_all_at(&[b'x'; 100], 0).unwrap();
    }
}

fn what_another_process_writes_is_read_at_once() {
    let given = file(&[b'.'; 100]);
    for (name, map) in maps(&given) {
        let mut child = fork(|| {
            let mut map = Mmap::new(&given, Access::Write).unwrap();
            map.set_slice(50..55, b"bones").map_or(1, |()| 0)
        })
        .unwrap();
        assert!(child.wait().unwrap().success());
        // A private copy keeps the whole page that it has written.
        let seen = (name != "written copy").then_some(50);
        assert_eq!(
            (map.slice(50..55).unwrap() == b"bones", map.find(b"bones").unwrap()),
            (seen.is_some(), seen),
            "{name}"
        );
        given.write_all_at(b".....", 50).unwrap();
        assert_eq!(map.slice(50..55).unwrap(), b".....", "{name}");
    }
}

fn a_child_shares_shared_memory_and_copies_private() {
    let given = file(&[0; 10]);
    let mut maps = [
        Mmap::anonymous(10).unwrap(),
        Mmap::new(&given, Access::Write).unwrap(),
        Mmap::private(10).unwrap(),
        Mmap::new(&given, Access::Copy).unwrap(),
    ];
    for map in &mut maps {
        map.write_all(b"ab").unwrap();
    }
    let mut child = fork(|| {
        for map in &mut maps {
            // The child has the position of the fork, and moves its own.
            if map.position() != 2 || map.get(1).unwrap() != b'b' || map.write(b"cd").unwrap() != 2 {
                return 1;
            }
        }
        u8::from(maps.iter().any(|map| map.slice(..4).unwrap() != b"abcd"))
    })
    .unwrap();
    assert!(child.wait().unwrap().success());
    let seen = maps.iter().map(|map| (map.get(2).unwrap(), map.position()));
    assert_eq!(seen.collect::<Vec<_>>(), [(b'c', 2), (b'c', 2), (0, 2), (0, 2)]);
}

fn a_map_kept_from_children_fails_there() {
    let given = file(b"0123456789");
    for mut map in
        [Mmap::anonymous(10).unwrap(), Mmap::private(10).unwrap(), Mmap::options().untracked().map(&given).unwrap()]
    {
        map.inherit(.., Inherit::Nothing).unwrap();
        map.set(1, b'1').unwrap();
        assert!(map.as_slice().is_none() && map.as_mut_slice().is_none());
        assert_eq!(map.get(1).unwrap(), b'1');
        let place = map.as_ptr().addr();
        let kept = &mut Some(map);
        let mut child = fork(|| {
            let mut map = kept.take().unwrap();
            let kinds = [
                kind(map.get(1).map(drop)),
                kind(map.set(1, b'2')),
                kind(map.resize(5)),
                kind(map.advise(.., ossature::mmap::Advice::Normal)),
            ];
            // Something else lies there now, and the drop leaves it alone.
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
            let page = place - place % page_size();
            // SAFETY: nothing is replaced.
            let other = unsafe { libc::mmap(std::ptr::without_provenance_mut(page), page_size(), 3, flags, -1, 0) };
            if other.addr() != page {
                return 2;
            }
            drop(map);
            // SAFETY: mapped above for reading and writing.
            unsafe { other.cast::<u8>().write_volatile(7) };
            u8::from(kinds != [NotAllowed; 4])
        })
        .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let mut map = kept.take().unwrap();
        assert_eq!(map.get(1).unwrap(), b'1', "the parent has it");
        map.inherit(.., Inherit::Pages).unwrap();
        let mut child = fork(|| u8::from(map.get(1).unwrap() != b'1')).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

fn a_child_finds_zeros_instead_of_a_secret() {
    let mut secret = Mmap::private(10).unwrap();
    secret.set_slice(..3, b"key").unwrap();
    secret.inherit(.., Inherit::Zeros).unwrap();
    assert_eq!((secret.as_slice(), secret.slice(..3).unwrap()), (None, b"key".to_vec()));
    let mut child = fork(|| u8::from(secret.slice(..3).unwrap() != [0; 3])).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(secret.slice(..3).unwrap(), b"key");
}
