//! Searches and lines across windows, compared with the same operations on a slice.

use std::io::{BufRead, Read, Seek, SeekFrom, Write};

use ossature::mmap::{Access, Mmap};

use crate::harness::Test;
use crate::{every_kind, file};

pub const TESTS: &[Test] = &[
    ("needles_across_windows_are_found", needles_across_windows_are_found),
    ("needles_across_the_longest_windows_are_found", needles_across_the_longest_windows_are_found),
    ("needles_longer_than_windows_are_found", needles_longer_than_windows_are_found),
    ("a_long_needle_is_not_copied_again_for_every_window", a_long_needle_is_not_copied_again_for_every_window),
    ("a_search_begins_at_the_position", a_search_begins_at_the_position),
    ("lines_end_with_their_newline", lines_end_with_their_newline),
    ("what_is_buffered_is_forgotten_by_a_seek_and_a_write", what_is_buffered_is_forgotten_by_a_seek_and_a_write),
];

/// The maximum length of the first window. Each window is twice as long as the one before, up to 1 MiB.
const FIRST: usize = 64 << 10;

/// The ends of windows that begin at a page.
const ENDS: [usize; 6] = [FIRST, 3 * FIRST, 7 * FIRST, 15 * FIRST, 31 * FIRST, 47 * FIRST];

const NEEDLE: &[u8; 6] = b"across";

/// Writes the needle at each of these places in turn, and searches for it from both ends.
fn look(map: &mut Mmap, range: std::ops::Range<usize>, places: impl Iterator<Item = usize>) {
    let ends = range.end.saturating_sub(NEEDLE.len());
    for at in places.filter(|at| (range.start..=ends).contains(at)) {
        map.set_slice(at..at + NEEDLE.len(), NEEDLE).unwrap();
        let found = (map.find_in(NEEDLE, range.clone()).unwrap(), map.rfind_in(NEEDLE, range.clone()).unwrap());
        assert_eq!(found, (Some(at), Some(at)), "within {range:?} from {} on", map.offset());
        map.set_slice(at..at + NEEDLE.len(), b"......").unwrap();
    }
}

/// The places where a needle crosses a window's edge, or almost does.
fn around(edge: usize) -> impl Iterator<Item = usize> {
    edge.saturating_sub(NEEDLE.len() + 1)..edge + 2
}

fn needles_across_windows_are_found() {
    let len = 16 * FIRST + 1000;
    let file = file(&vec![b'.'; len]);
    // Windows begin at pages of the file, wherever the map and the search begin and end.
    for (offset, start, end) in [(0, 0, len), (0, 1, len - 1), (0, 4096, len - 1000), (4095, 2, len - 4095)] {
        let mut map = Mmap::options().offset(offset as u64).map(&file).unwrap();
        let first = (start + offset) / 4096 * 4096;
        let last = (end + offset).next_multiple_of(4096);
        let edges = ENDS
            .into_iter()
            .flat_map(|end| [first + end, last.saturating_sub(end)])
            .chain([offset + start, offset + end]);
        look(&mut map, start..end, edges.flat_map(|edge| around(edge.saturating_sub(offset))));
    }
    let mut map = Mmap::new(&file, Access::Write).unwrap();
    assert_eq!((map.find(NEEDLE).unwrap(), map.rfind(NEEDLE).unwrap()), (None, None));
    // The first and the last of many.
    for at in [5, FIRST + 5, 12 * FIRST + 5] {
        map.set_slice(at..at + NEEDLE.len(), NEEDLE).unwrap();
    }
    assert_eq!((map.find(NEEDLE).unwrap(), map.rfind(NEEDLE).unwrap()), (Some(5), Some(12 * FIRST + 5)));
    let (at, end) = (5, 5 + NEEDLE.len());
    assert_eq!((map.find_in(NEEDLE, at..end).unwrap(), map.rfind_in(NEEDLE, ..end).unwrap()), (Some(at), Some(at)));
    assert_eq!(
        (map.find_in(NEEDLE, at + 1..).unwrap(), map.rfind_in(NEEDLE, ..end - 1).unwrap()),
        (Some(FIRST + 5), None)
    );
}

fn needles_across_the_longest_windows_are_found() {
    let len = 48 * FIRST;
    let mut map = Mmap::new(file(&vec![b'.'; len]), Access::Write).unwrap();
    look(&mut map, 0..len, ENDS[4..].iter().flat_map(|end| [end - 3, len - end - 3]));
}

fn needles_longer_than_windows_are_found() {
    let mut data = vec![b'a'; 3 * FIRST];
    data[2 * FIRST] = b'b';
    let map = Mmap::new(file(&data), Access::Read).unwrap();
    // It begins where many false beginnings are.
    let needle = &data[FIRST / 2..2 * FIRST + 7];
    assert_eq!((map.find(needle).unwrap(), map.rfind(needle).unwrap()), (Some(FIRST / 2), Some(FIRST / 2)));
    assert_eq!((map.find(&data).unwrap(), map.rfind(&data).unwrap()), (Some(0), Some(0)));
    assert_eq!(map.find([&data[..], b"x"].concat()).unwrap(), None);
    assert_eq!((map.find(b"").unwrap(), map.rfind(b"").unwrap()), (Some(0), Some(data.len())));
}

/// The number of reads of this thread, as the kernel counts them.
fn reads() -> u64 {
    let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("syscr: ")).unwrap().parse().unwrap()
}

fn a_long_needle_is_not_copied_again_for_every_window() {
    let map = Mmap::new(file(&vec![b'.'; 4 << 20]), Access::Read).unwrap();
    let needle = vec![b'x'; 1 << 20];
    let before = reads();
    assert_eq!((map.find(&needle).unwrap(), map.rfind(&needle).unwrap()), (None, None));
    let most = 2 * 5 + 4; // windows, and what it takes to read the number itself
    assert!((8..=most).contains(&(reads() - before)), "{} reads", reads() - before);
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
