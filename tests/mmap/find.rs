//! Searches and lines across windows, against the same on a slice.

use std::io::{BufRead, Read, Seek, SeekFrom, Write};

use ossature::mmap::{Access, Mmap};

use crate::harness::Test;
use crate::{every_kind, file};

pub const TESTS: &[Test] = &[
    ("needles_across_windows_are_found", needles_across_windows_are_found),
    ("needles_longer_than_windows_are_found", needles_longer_than_windows_are_found),
    ("a_search_begins_at_the_position", a_search_begins_at_the_position),
    ("lines_end_with_their_newline", lines_end_with_their_newline),
    ("what_is_buffered_is_forgotten_by_a_seek_and_a_write", what_is_buffered_is_forgotten_by_a_seek_and_a_write),
];

/// What windows have at a time.
const STEP: usize = 128 << 10;

fn needles_across_windows_are_found() {
    let len = 3 * STEP + 1000;
    let file = file(&vec![b'.'; len]);
    let mut map = Mmap::new(&file, Access::Write).unwrap();
    let needle = b"across";
    for boundary in [0, STEP, 2 * STEP, 3 * STEP, len] {
        for before in 0..=needle.len() {
            let Some(at) = boundary.checked_sub(before).filter(|at| at + needle.len() <= len) else { continue };
            map.set_slice(at..at + needle.len(), needle).unwrap();
            assert_eq!((map.find(needle).unwrap(), map.rfind(needle).unwrap()), (Some(at), Some(at)));
            assert_eq!((map.find_in(needle, at..).unwrap(), map.find_in(needle, at + 1..).unwrap()), (Some(at), None));
            let end = at + needle.len();
            assert_eq!(
                (map.rfind_in(needle, ..end).unwrap(), map.rfind_in(needle, ..end - 1).unwrap()),
                (Some(at), None)
            );
            map.set_slice(at..end, b"......").unwrap();
        }
    }
    // The first window is longer by what is kept of it, from either end.
    let near = |edge: usize| edge - 20..edge + 20;
    for at in near(STEP).chain(near(2 * STEP)).chain(near(len - STEP)).chain(near(len - 2 * STEP)) {
        map.set_slice(at..at + needle.len(), needle).unwrap();
        assert_eq!((map.find(needle).unwrap(), map.rfind(needle).unwrap()), (Some(at), Some(at)));
        map.set_slice(at..at + needle.len(), b"......").unwrap();
    }
    assert_eq!((map.find(needle).unwrap(), map.rfind(needle).unwrap()), (None, None));
    // The first and the last of many.
    for at in [5, STEP + 5, 2 * STEP + 5] {
        map.set_slice(at..at + needle.len(), needle).unwrap();
    }
    assert_eq!((map.find(needle).unwrap(), map.rfind(needle).unwrap()), (Some(5), Some(2 * STEP + 5)));
}

fn needles_longer_than_windows_are_found() {
    let mut data = vec![b'a'; 3 * STEP];
    data[2 * STEP] = b'b';
    let map = Mmap::new(file(&data), Access::Read).unwrap();
    // It begins where many false beginnings are.
    let needle = &data[STEP / 2..2 * STEP + 7];
    assert_eq!((map.find(needle).unwrap(), map.rfind(needle).unwrap()), (Some(STEP / 2), Some(STEP / 2)));
    assert_eq!((map.find(&data).unwrap(), map.rfind(&data).unwrap()), (Some(0), Some(0)));
    assert_eq!(map.find([&data[..], b"x"].concat()).unwrap(), None);
    assert_eq!((map.find(b"").unwrap(), map.rfind(b"").unwrap()), (Some(0), Some(data.len())));
}

fn a_search_begins_at_the_position() {
    for (name, mut map) in every_kind(b"bone on one") {
        map.seek(SeekFrom::Start(2)).unwrap();
        assert_eq!((map.find(b"one").unwrap(), map.rfind(b"one").unwrap()), (Some(8), Some(8)), "{name}");
        map.seek(SeekFrom::Start(9)).unwrap();
        assert_eq!(
            (map.find(b"one").unwrap(), map.rfind(b"one").unwrap(), map.find(b"").unwrap()),
            (None, None, Some(9)),
            "{name}"
        );
        assert_eq!((map.find_in(b"one", ..).unwrap(), map.position()), (Some(1), 9), "{name}");
        // Python finds the empty needle at the start of these ranges too, but not in the last.
        let ranges =
            [(3, 7), (5, 5), (20, 30), (-2, -2), (5, 2)].map(|(start, end)| map.find_in(b"", start..end).unwrap());
        assert_eq!(ranges, [Some(3), Some(5), Some(11), Some(9), Some(5)], "{name}");
        assert_eq!(map.rfind_in(b"", 3..7).unwrap(), Some(7), "{name}");
    }
}

fn lines_end_with_their_newline() {
    let long = vec![b'l'; 100_000];
    let text = [b"first\n\nthird\n", &long[..], b"\nlast"].concat();
    let lines = [&b"first\n"[..], b"\n", b"third\n", &[&long[..], b"\n"].concat(), b"last", b"", b""];
    for (name, mut map) in every_kind(&text) {
        for line in lines {
            assert_eq!(map.readline().unwrap(), line, "{name}");
        }
        assert_eq!(map.position(), text.len());
        map.rewind().unwrap();
        for line in lines {
            let mut read = Vec::new();
            map.read_until(b'\n', &mut read).unwrap();
            assert_eq!(read, line, "{name}");
        }
        map.rewind().unwrap();
        let mut whole = String::new();
        assert_eq!(map.read_to_string(&mut whole).unwrap(), text.len(), "{name}");
        map.rewind().unwrap();
        assert_eq!(map.lines().map(|line| line.unwrap().len()).collect::<Vec<_>>(), [5, 0, 5, 100_000, 4], "{name}");
    }
}

fn what_is_buffered_is_forgotten_by_a_seek_and_a_write() {
    for (name, mut map) in every_kind(b"one\ntwo\nthree\n") {
        let mut line = String::new();
        map.read_line(&mut line).unwrap();
        map.set(4, b'T').unwrap();
        map.read_line(&mut line).unwrap();
        assert_eq!(line, "one\nTwo\n", "{name}");
        map.fill_buf().unwrap();
        map.rewind().unwrap();
        assert_eq!(map.fill_buf().unwrap()[..4], *b"one\n", "{name}");
        map.consume(2);
        assert_eq!(map.position(), 2);
        map.write_all(b"E").unwrap();
        assert_eq!((map.fill_buf().unwrap()[0], map.slice(..4).unwrap()), (b'\n', b"onE\n".to_vec()), "{name}");
        map.consume(1000);
        assert_eq!((map.position(), map.fill_buf().unwrap().len()), (14, 0), "{name}");
    }
    // What others write is seen after a seek, even one to the same place.
    let given = file(b"old\n");
    let mut map = Mmap::new(&given, Access::Read).unwrap();
    map.fill_buf().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&given, b"new", 0).unwrap();
    map.rewind().unwrap();
    assert_eq!(map.fill_buf().unwrap(), b"new\n");
    // Reads of other kinds and buffered ones take turns.
    let file = file(&(0..40_000).map(|n| n as u8).collect::<Vec<_>>());
    let mut map = Mmap::new(&file, Access::Read).unwrap();
    for place in (0..40_000).step_by(2) {
        assert_eq!(map.fill_buf().unwrap()[0], place as u8);
        map.consume(1);
        assert_eq!(map.read_byte().unwrap(), (place + 1) as u8);
    }
}
