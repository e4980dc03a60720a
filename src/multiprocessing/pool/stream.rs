//! The stream of one worker's outcomes to the parent: bytes in shared memory with one writer and one reader.
//!
//! A *record* is a header and its payload. The worker writes a whole record, then makes the record visible by one store
//! of its write position. So the visible part always ends with a complete record: if the worker is killed later, no
//! visible record is lost, and an incomplete record is never visible. A payload that is longer than [`PIECE`] is sent
//! in several records, all but the last of the kind [`Kind::Piece`]. No other record comes between them, because a
//! worker runs one call at a time.
//!
//! | first byte | contents of the record |
//! | --- | --- |
//! | [`LONG`] | a header, then its payload |
//! | [`SHORT`] | a short header, then the value of the first call of a chunk |
//! | less | a value of the next call, whose length is this number; no header |
//!
//! A short header has the difference between the numbers of this chunk and of the chunk before, and the length.
//!
//! The first record of a worker's life has a header.
//!
//! The positions count bytes since the beginning of the pool; the offset in the memory is the position modulo the
//! length. A new worker continues at the end of the visible part of its predecessor's stream.

use std::cell::Cell;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::futex::{self, Reach};
use ossature_sys::mmap::Region;

use super::board::WorkerEntry;
use crate::multiprocessing::transfer::{LONG, split_measured};

/// The length of one stream in bytes.
pub(super) const LENGTH: usize = 128 << 10;
/// The maximum length of the payload of one record.
pub(super) const PIECE: usize = 32 << 10;
/// The length of a header, including the first byte.
const HEADER: usize = 21;

/// The first byte of a short header.
const SHORT: u8 = LONG - 1;
/// The length of a short header, including the first byte.
const SHORT_HEADER: usize = 6;

/// The kind of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A part of a payload, of which more follows.
    Piece,
    /// A value, or its last part.
    Value,
    /// A value with descriptors, whose [packet](super::packets) was sent before.
    Carried,
    /// The text of an error that the task returned.
    Failed,
    /// A report of a panic.
    Panicked,
    /// The reason why the arguments could not be read.
    Undecodable,
    /// The reason why the value could not be written.
    Unencodable,
    /// The panic with which the worker of the chunk died; written by its supervisor.
    LastWords,
    /// Every call of a plain chunk has ended; the calls before the index without a record have values in the arena.
    Filled,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Piece,
        Self::Value,
        Self::Carried,
        Self::Failed,
        Self::Panicked,
        Self::Undecodable,
        Self::Unencodable,
        Self::LastWords,
        Self::Filled,
    ];
}

/// The header of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) sequence: u64,
    pub(super) index: u32,
    pub(super) kind: Kind,
    pub(super) length: u32,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let number = Kind::ALL.iter().position(|kind| *kind == self.kind).unwrap_or_default() as u32;
        let parts: [&[u8]; 5] = [
            &[LONG],
            &self.sequence.to_ne_bytes(),
            &self.index.to_ne_bytes(),
            &number.to_ne_bytes(),
            &self.length.to_ne_bytes(),
        ];
        let mut rest = &mut bytes[..];
        for part in parts {
            let (here, after) = rest.split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = after;
        }
        bytes
    }

    fn from_bytes(bytes: [u8; HEADER]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let sequence = bytes.get(1..9)?.try_into().ok().map(u64::from_ne_bytes)?;
        let kind = *Kind::ALL.get(word(13)? as usize)?;
        Some(Self { sequence, index: word(9)?, kind, length: word(17)? })
    }

    /// Returns the call to which a value without a header belongs if it follows this record.
    fn next(self) -> Next {
        match self.kind {
            Kind::Piece | Kind::LastWords | Kind::Filled => None,
            _ => Some((self.sequence, self.index.wrapping_add(1))),
        }
    }
}

/// A chunk and the index of a call in it.
pub(super) type Next = Option<(u64, u32)>;

/// A record as the parent reads it.
#[derive(Debug, PartialEq)]
pub(super) enum Record<'b> {
    /// A record with a header.
    One(Header, &'b [u8]),
    /// The values of consecutive calls, each after its length: the chunk, the first call, the number of calls.
    Values(u64, u32, u32, &'b [u8]),
}

/// The stream of the entry at `place`, in the memory of all streams.
#[derive(Clone)]
pub(super) struct Stream<'m> {
    memory: &'m Region,
    entry: &'m WorkerEntry,
    start: usize,
    /// A lower bound of the parent's reading position. The word itself is in a cache line that the parent writes.
    was_read: Cell<u64>,
    /// Whether the parent knows that the stream is half full. A parent that listens later checks that itself.
    told: Cell<bool>,
    /// The call whose value needs no header, for the worker.
    next: Cell<Next>,
}

impl<'m> Stream<'m> {
    pub(super) fn new(memory: &'m Region, entry: &'m WorkerEntry, place: usize) -> Self {
        Self {
            memory,
            entry,
            start: place * LENGTH,
            was_read: Cell::new(0),
            told: Cell::new(false),
            next: Cell::new(None),
        }
    }

    /// Whether the stream contains unread records.
    pub(super) fn has_more(&self) -> bool {
        self.entry.written.load(SeqCst) != self.entry.read.load(Acquire) // another thread may have read
    }

    /// Whether the stream contains so much that the worker may soon have to wait.
    pub(super) fn is_half_full(&self) -> bool {
        let length = self.entry.written.load(SeqCst).wrapping_sub(self.entry.read.load(Acquire));
        length > LENGTH as u64 / 2
    }

    /// Writes a value that has its length before it, without a header if possible.
    #[inline]
    pub(super) fn write_value(&self, (sequence, index): (u64, u32), measured: &[u8], tell: impl Fn()) {
        match (measured.split_first(), self.next.get()) {
            (Some((length, value)), Some(next)) if *length < SHORT && next == (sequence, index) => {
                self.next.set(Some((sequence, index.wrapping_add(1))));
                // Apart, for the length was written apart: to read both at once waits for both stores.
                self.write_bytes(&[*length], value, &tell);
            }
            (Some((length, value)), Some((before, _))) if *length < SHORT && index == 0 => {
                let Ok(difference) = i32::try_from(sequence.wrapping_sub(before) as i64) else {
                    return self.write_first(Header { sequence, index, kind: Kind::Value, length: 0 }, measured, &tell);
                };
                self.next.set(Some((sequence, 1)));
                let [a, b, c, d] = difference.to_le_bytes();
                self.write_bytes(&[SHORT, a, b, c, d, *length], value, &tell);
            }
            _ => self.write_first(Header { sequence, index, kind: Kind::Value, length: 0 }, measured, &tell),
        }
    }

    #[cold]
    fn write_first(&self, header: Header, measured: &[u8], tell: &impl Fn()) {
        let (payload, _) = split_measured(measured).unwrap_or_default();
        self.write(header, payload, tell);
    }

    /// Writes an outcome, in several records if it is long. Wakes the parent with `tell` when the stream is half full,
    /// and while this waits for room.
    pub(super) fn write(&self, header: Header, payload: &[u8], tell: impl Fn()) {
        let mut rest = payload;
        while rest.len() > PIECE {
            let (piece, after) = rest.split_at(PIECE);
            self.write_record(Header { kind: Kind::Piece, length: PIECE as u32, ..header }, piece, &tell);
            rest = after;
        }
        self.write_record(Header { length: rest.len() as u32, ..header }, rest, &tell);
    }

    /// Writes a record on behalf of a dead worker, if there is room.
    pub(super) fn write_for_the_dead(&self, header: Header, payload: &[u8]) {
        let payload = payload.get(..payload.len().min(PIECE)).unwrap_or_default();
        let written = self.entry.written.load(Acquire);
        if written + (HEADER + payload.len()) as u64 <= self.entry.read.load(Acquire) + LENGTH as u64 {
            self.write_record(Header { length: payload.len() as u32, ..header }, payload, &|| ());
        }
    }

    fn write_record(&self, header: Header, payload: &[u8], tell: &impl Fn()) {
        self.next.set(header.next());
        self.write_bytes(&header.to_bytes(), payload, tell);
    }

    #[inline]
    fn write_bytes(&self, head: &[u8], payload: &[u8], tell: &impl Fn()) {
        let written = self.entry.written.load(Relaxed); // only this worker writes it
        let end = written + (head.len() + payload.len()) as u64;
        if self.is_half(end) {
            self.make_room(end, tell);
        }
        let place = (written % LENGTH as u64) as usize;
        // The memory is as long as all streams, so the copies do not fail.
        let _ = if place + head.len() + payload.len() <= LENGTH {
            let here = self.start + place;
            self.memory.copy_in(here, head).and_then(|()| self.memory.copy_in(here + head.len(), payload))
        } else {
            self.put(written, head).and_then(|()| self.put(written + head.len() as u64, payload))
        };
        self.entry.written.store(end, Release);
        if self.is_half(end) && !self.told.replace(true) {
            tell();
        }
    }

    /// Whether to wake the parent for a stream that reaches `end`.
    #[inline]
    fn is_half(&self, end: u64) -> bool {
        end > self.was_read.get() + LENGTH as u64 / 2
    }

    /// Reads the parent's position, and waits until the stream may reach `end`.
    #[cold]
    fn make_room(&self, end: u64, tell: &impl Fn()) {
        self.was_read.set(self.entry.read.load(Acquire));
        if !self.is_half(end) {
            self.told.set(false);
        } else if end > self.was_read.get() + LENGTH as u64 {
            self.wait_for_room(end, tell);
        }
    }

    /// Waits until the parent has read far enough for the stream to reach `end`. A parent that has ended ends its
    /// workers.
    #[cold]
    fn wait_for_room(&self, end: u64, tell: &impl Fn()) {
        loop {
            self.entry.starved.store(1, SeqCst);
            let seen = self.entry.room.load(SeqCst);
            self.was_read.set(self.entry.read.load(SeqCst));
            if end <= self.was_read.get() + LENGTH as u64 {
                return;
            }
            tell();
            let _ = futex::wait(&self.entry.room, seen, Reach::Shared, Deadline::NEVER); // looks again after any end
        }
    }

    /// Reads the available records. `next` is the state after the last read.
    ///
    /// # Errors
    /// `EPROTO` for bytes that no worker of this program writes.
    pub(super) fn read<'s>(
        &self,
        scratch: &'s mut Vec<u8>,
        next: &mut Next,
        mut take: impl FnMut(Record<'s>),
    ) -> Result<()> {
        // Only the parent writes `read`.
        let (read, written) = (self.entry.read.load(Relaxed), self.entry.written.load(Acquire));
        let length = written.wrapping_sub(read);
        if length == 0 {
            return Ok(());
        }
        if length > LENGTH as u64 {
            return Err(Errno::PROTO);
        }
        scratch.resize(length as usize, 0);
        self.get(read, scratch)?;
        let mut rest = &scratch[..];
        while let Some(first) = rest.first() {
            if *first == SHORT {
                let (head, after) = rest.split_first_chunk::<SHORT_HEADER>().ok_or(Errno::PROTO)?;
                let ([_, a, b, c, d, length], (before, _)) = (*head, next.ok_or(Errno::PROTO)?);
                let sequence = before.wrapping_add_signed(i32::from_le_bytes([a, b, c, d]).into());
                let (payload, after) = after.split_at_checked(length.into()).ok_or(Errno::PROTO)?;
                rest = after;
                *next = Some((sequence, 1));
                take(Record::One(Header { sequence, index: 0, kind: Kind::Value, length: length.into() }, payload));
                continue;
            }
            if *first != LONG {
                let (sequence, index) = next.ok_or(Errno::PROTO)?;
                let (count, length) = measure(rest).ok_or(Errno::PROTO)?;
                let (values, after) = rest.split_at_checked(length).ok_or(Errno::PROTO)?;
                rest = after;
                *next = Some((sequence, index.wrapping_add(count)));
                take(Record::Values(sequence, index, count, values));
                continue;
            }
            let (header, after) = rest.split_first_chunk::<HEADER>().ok_or(Errno::PROTO)?;
            let header = Header::from_bytes(*header).ok_or(Errno::PROTO)?;
            let (payload, after) = after.split_at_checked(header.length as usize).ok_or(Errno::PROTO)?;
            rest = after;
            *next = header.next();
            take(Record::One(header, payload));
        }
        self.entry.read.store(written, SeqCst);
        if self.entry.starved.load(SeqCst) != 0 && self.entry.starved.swap(0, SeqCst) != 0 {
            self.entry.room.fetch_add(1, SeqCst);
            let _ = futex::wake(&self.entry.room, u32::MAX, Reach::Shared); // the word is mapped
        }
        Ok(())
    }

    #[cold]
    fn put(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let place = (at % LENGTH as u64) as usize;
        let (here, wrapped) = bytes.split_at(bytes.len().min(LENGTH - place));
        self.memory.copy_in(self.start + place, here)?;
        self.memory.copy_in(self.start, wrapped)
    }

    fn get(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        let place = (at % LENGTH as u64) as usize;
        let (here, wrapped) = bytes.split_at_mut(bytes.len().min(LENGTH - place));
        self.memory.copy_out(self.start + place, here)?;
        self.memory.copy_out(self.start, wrapped)
    }
}

/// Counts the values without a header at the front, and their bytes; `None` if a value is cut off.
fn measure(bytes: &[u8]) -> Option<(u32, usize)> {
    let (mut at, mut count) = (0, 0);
    while let Some(length) = bytes.get(at).filter(|first| **first < SHORT) {
        at += 1 + usize::from(*length);
        count += 1;
    }
    (at <= bytes.len()).then_some((count, at))
}

#[cfg(test)]
mod tests {
    use super::super::board::entries;
    use super::*;

    fn header(index: u32) -> Header {
        Header { sequence: 1 << 33 | 5, index, kind: Kind::Value, length: 0 }
    }

    /// Reads the available records.
    fn records(stream: &Stream<'_>, next: &mut Next) -> Vec<(Header, u32, Vec<u8>)> {
        let mut got = Vec::new();
        let take = |record: Record<'_>| match record {
            Record::One(header, bytes) => got.push((header, 1, bytes.to_vec())),
            Record::Values(sequence, index, count, bytes) => {
                got.push((Header { sequence, index, kind: Kind::Value, length: 0 }, count, bytes.to_vec()));
            }
        };
        stream.read(&mut Vec::new(), next, take).unwrap();
        got
    }

    #[test]
    fn records_come_out_as_they_went_in_round_the_end_too() {
        let (memory, entries) = (Region::anonymous(2 * LENGTH).unwrap(), entries(2).unwrap());
        let stream = Stream::new(&memory, &entries[1], 1);
        for round in 0..40_u32 {
            let payload = vec![round as u8; 9000];
            stream.write(header(round), &payload, || unreachable!("there is room"));
            assert_eq!(records(&stream, &mut None), [(Header { length: 9000, ..header(round) }, 1, payload)]);
        }
        assert!(!stream.has_more());
    }

    #[test]
    fn values_without_a_header_come_out_as_they_went_in_round_the_end_too() {
        let (memory, entries) = (Region::anonymous(2 * LENGTH).unwrap(), entries(2).unwrap());
        let (stream, mut next) = (Stream::new(&memory, &entries[1], 1), None);
        let sequence = header(0).sequence;
        let mut index = 0;
        while index < 60_000 {
            let begun = index;
            for length in (0..250_u8).rev() {
                let measured: Vec<u8> = std::iter::once(length).chain(vec![7; length.into()]).collect();
                stream.write_value((sequence, index), &measured, || unreachable!("there is room"));
                index += 1;
            }
            let (mut seen, mut bytes) = (begun, 0);
            for (header, count, payload) in records(&stream, &mut next) {
                assert_eq!((header.sequence, header.index, header.kind), (sequence, seen, Kind::Value));
                seen += count;
                bytes += payload.len();
            }
            let first = usize::from(begun == 0); // with a header, and so without its length
            assert_eq!((seen, bytes), (index, 250 + (0..250).sum::<usize>() - first));
        }
    }

    #[test]
    fn a_long_payload_comes_in_pieces_while_the_reader_reads() {
        let (memory, entries) = (Region::anonymous(LENGTH).unwrap(), entries(1).unwrap());
        let payload: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
        let mut got = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| Stream::new(&memory, &entries[0], 0).write(header(3), &payload, || {}));
            let (stream, mut last) = (Stream::new(&memory, &entries[0], 0), Kind::Piece);
            while last == Kind::Piece {
                for (header, _, bytes) in records(&stream, &mut None) {
                    got.extend_from_slice(&bytes);
                    last = header.kind;
                }
            }
        });
        assert!(got == payload);
    }

    #[test]
    fn a_record_that_was_not_made_visible_is_overwritten() {
        let (memory, entries) = (Region::anonymous(LENGTH).unwrap(), entries(1).unwrap());
        let stream = Stream::new(&memory, &entries[0], 0);
        stream.write_value((4, 0), b"\x05whole", || {});
        stream.put(entries[0].written.load(SeqCst), &[1; 100]).unwrap(); // and then the worker was killed
        let stream = Stream::new(&memory, &entries[0], 0);
        stream.write_value((4, 1), b"\x04next", || {}); // of another life, which tells of the same chunk
        stream.write_value((4, 2), b"\x04more", || {});
        let got = records(&stream, &mut None);
        let told: Vec<_> = got.iter().map(|(header, count, bytes)| (header.index, *count, &bytes[..])).collect();
        assert_eq!(told, [(0, 1, &b"whole"[..]), (1, 1, b"next"), (2, 1, b"\x04more")]);
    }

    #[test]
    fn only_values_of_one_chunk_that_follow_each_other_have_no_header() {
        let (memory, entries) = (Region::anonymous(LENGTH).unwrap(), entries(1).unwrap());
        let stream = Stream::new(&memory, &entries[0], 0);
        for (sequence, index) in [(1, 0), (1, 1), (1, 2), (1, 4), (2, 5), (2, 6)] {
            stream.write_value((sequence, index), &[1, index as u8], || {});
        }
        stream.write(Header { sequence: 2, index: 7, kind: Kind::Failed, length: 0 }, b"why", || {});
        stream.write_value((2, 8), &[1, 8], || {});
        stream.write_value((2, 9), &[&[LONG, 1, 1, 0, 0][..], &[9; 257]].concat(), || {});
        stream.write(Header { sequence: 2, index: 10, kind: Kind::Filled, length: 0 }, &[], || {});
        stream.write_value((2, 11), &[1, 11], || {});
        let got = records(&stream, &mut None);
        let told: Vec<_> =
            got.iter().map(|(header, count, bytes)| (header.sequence, header.index, *count, bytes.len())).collect();
        let expected =
            [(1, 0, 1, 1), (1, 1, 2, 4), (1, 4, 1, 1), (2, 5, 1, 1), (2, 6, 1, 2), (2, 7, 1, 3), (2, 8, 1, 2)];
        assert_eq!(told[..7], expected);
        assert_eq!(told[7..], [(2, 9, 1, 257), (2, 10, 1, 0), (2, 11, 1, 1)]);
    }

    #[test]
    fn the_first_value_of_a_chunk_has_a_short_header_behind_another_chunk() {
        let (memory, entries) = (Region::anonymous(LENGTH).unwrap(), entries(1).unwrap());
        let stream = Stream::new(&memory, &entries[0], 0);
        let sequences = [7, 8, 6, 1 << 40, (1 << 40) - 5];
        let mut written = 0;
        let mut lengths = Vec::new();
        for sequence in sequences {
            stream.write_value((sequence, 0), b"\x03one", || {});
            stream.write_value((sequence, 1), b"\x03two", || {});
            let now = entries[0].written.load(SeqCst);
            lengths.push(now - std::mem::replace(&mut written, now));
        }
        assert_eq!(lengths, [24 + 4, 9 + 4, 9 + 4, 24 + 4, 9 + 4], "too far away for a short header");
        stream.write_value((9, 0), &[&[SHORT][..], &[1; SHORT as usize]].concat(), || {});
        let told: Vec<_> = records(&stream, &mut None)
            .into_iter()
            .map(|(header, count, bytes)| (header.sequence, header.index, count, bytes.len()))
            .collect();
        let expected: Vec<_> = sequences.iter().flat_map(|at| [(*at, 0, 1, 3), (*at, 1, 1, 4)]).collect();
        assert_eq!((&told[..10], told[10]), (&expected[..], (9, 0, 1, SHORT.into())));
    }

    #[test]
    fn bytes_that_are_no_record_are_an_error() {
        let (memory, entries) = (Region::anonymous(LENGTH).unwrap(), entries(1).unwrap());
        let stream = Stream::new(&memory, &entries[0], 0);
        entries[0].written.store(100, SeqCst);
        // No kind; a value or a short header before any header; a value that is cut off, behind a short header too.
        let wrong = [(LONG, None), (1, None), (SHORT, None), (98, Some((0, 0))), (SHORT, Some((0, 0)))];
        for (bytes, mut next) in wrong.map(|(byte, next)| ([byte; 100], next)) {
            stream.put(0, &bytes).unwrap();
            let read = stream.read(&mut Vec::new(), &mut next, |record| panic!("{record:?}"));
            assert_eq!(read, Err(Errno::PROTO));
        }
    }
}
