//! The stream of one worker's outcomes to the parent: bytes in shared memory with one writer and one reader.
//!
//! A *record* is a header and its payload. The worker writes a whole record, then makes the record visible by one store
//! of how far it has written. So the end of what is visible is always the end of a record: a worker that is killed
//! later loses none, and a half-written record never was. A payload that is longer than [`PIECE`] goes in several
//! records, all but the last of the kind [`Kind::Piece`]. Nothing else comes between them, because a worker runs one
//! call at a time.
//!
//! The numbers count bytes since the beginning of the pool, and the place is the number modulo the length. The worker
//! of a new life goes on where the visible part of the one before ends.

use std::cell::Cell;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::futex::{self, Reach};
use ossature_sys::mmap::Region;

use super::board::Seat;

/// The bytes of one stream.
pub(super) const LENGTH: usize = 128 << 10;
/// The longest payload of one record.
pub(super) const PIECE: usize = 32 << 10;
/// The bytes of a header.
pub(super) const HEADER: usize = 20;

/// What a record carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// More of the payload follows.
    Piece,
    /// A value, or its last piece.
    Value,
    /// The same, with descriptors, whose [packet](super::packets) was sent before.
    Carried,
    /// The text of an error that the task returned.
    Failed,
    /// A report of a panic.
    Panicked,
    /// Why the arguments could not be read.
    Undecodable,
    /// Why the value could not be written.
    Unencodable,
    /// With what panic the worker of the chunk died: by its supervisor.
    LastWords,
    /// Every call of a plain chunk has ended; those before the index that were not told of have values in the arena.
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

/// What a record says of its payload.
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
        let parts: [&[u8]; 4] = [
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

    /// The payload at the front of `rest` if it is a value of this chunk and this call. It is taken off `rest`.
    pub(super) fn take_value<'b>(self, rest: &mut &'b [u8]) -> Option<&'b [u8]> {
        let (header, after) = rest.split_first_chunk::<HEADER>()?;
        let Self { sequence, index, kind, length } = Self::from_bytes(*header)?;
        if (sequence, index, kind) != (self.sequence, self.index, Kind::Value) {
            return None;
        }
        let (payload, after) = after.split_at_checked(length as usize)?;
        *rest = after;
        Some(payload)
    }

    fn from_bytes(bytes: [u8; HEADER]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let sequence = bytes.get(..8)?.try_into().ok().map(u64::from_ne_bytes)?;
        let kind = *Kind::ALL.get(word(12)? as usize)?;
        Some(Self { sequence, index: word(8)?, kind, length: word(16)? })
    }
}

/// The stream of the seat at `place`, in the memory of all streams.
#[derive(Clone)]
pub(super) struct Stream<'m> {
    memory: &'m Region,
    seat: &'m Seat,
    start: usize,
    /// How far the parent has read at least. The word itself lies in a cache line that the parent writes.
    was_read: Cell<u64>,
}

impl<'m> Stream<'m> {
    pub(super) fn new(memory: &'m Region, seat: &'m Seat, place: usize) -> Self {
        Self { memory, seat, start: place * LENGTH, was_read: Cell::new(0) }
    }

    /// Whether there is something to read.
    pub(super) fn has_more(&self) -> bool {
        self.seat.written.load(SeqCst) != self.seat.read.load(Acquire) // another thread may have read
    }

    /// Whether so much is there to read that the worker may soon have to wait.
    pub(super) fn is_half_full(&self) -> bool {
        let length = self.seat.written.load(SeqCst).wrapping_sub(self.seat.read.load(Acquire));
        length > LENGTH as u64 / 2
    }

    /// Writes an outcome, in pieces if it is long. Tells the parent with `tell` when the stream is half full, and while
    /// it waits for room.
    pub(super) fn write(&self, header: Header, payload: &[u8], tell: impl Fn()) {
        let mut rest = payload;
        while rest.len() > PIECE {
            let (piece, after) = rest.split_at(PIECE);
            self.write_record(Header { kind: Kind::Piece, length: PIECE as u32, ..header }, piece, &tell);
            rest = after;
        }
        self.write_record(Header { length: rest.len() as u32, ..header }, rest, &tell);
    }

    /// Writes a record if there is room for it, after the end of the worker.
    pub(super) fn write_for_the_dead(&self, header: Header, payload: &[u8]) {
        let payload = payload.get(..payload.len().min(PIECE)).unwrap_or_default();
        let written = self.seat.written.load(Acquire);
        if written + (HEADER + payload.len()) as u64 <= self.seat.read.load(Acquire) + LENGTH as u64 {
            self.write_record(Header { length: payload.len() as u32, ..header }, payload, &|| ());
        }
    }

    fn write_record(&self, header: Header, payload: &[u8], tell: &impl Fn()) {
        let written = self.seat.written.load(Relaxed); // only this worker writes it
        let end = written + (HEADER + payload.len()) as u64;
        let is_half_full = || end > self.was_read.get() + LENGTH as u64 / 2;
        if is_half_full() {
            self.was_read.set(self.seat.read.load(Acquire));
            if end > self.was_read.get() + LENGTH as u64 {
                self.wait_for_room(end, tell);
            }
        }
        // The memory is as long as all streams, so the copies do not fail.
        let _ = self.put(written, &header.to_bytes());
        let _ = self.put(written + HEADER as u64, payload);
        self.seat.written.store(end, Release);
        if is_half_full() {
            tell();
        }
    }

    /// Waits until the parent has read so much that the stream may reach `end`. A parent that has ended ends its
    /// workers.
    #[cold]
    fn wait_for_room(&self, end: u64, tell: &impl Fn()) {
        loop {
            self.seat.starved.store(1, SeqCst);
            let seen = self.seat.room.load(SeqCst);
            self.was_read.set(self.seat.read.load(SeqCst));
            if end <= self.was_read.get() + LENGTH as u64 {
                return;
            }
            tell();
            let _ = futex::wait(&self.seat.room, seen, Reach::Shared, Deadline::NEVER); // looks again after any end
        }
    }

    /// Reads the records that are there. `take` gets each header and its payload, and what follows, of which it may
    /// take more.
    ///
    /// # Errors
    /// `EPROTO` for bytes that no worker of this program writes.
    pub(super) fn read(&self, scratch: &mut Vec<u8>, mut take: impl FnMut(Header, &[u8], &mut &[u8])) -> Result<()> {
        let (read, written) = (self.seat.read.load(Relaxed), self.seat.written.load(Acquire)); // only the parent writes `read`
        let length = written.wrapping_sub(read);
        if length == 0 {
            return Ok(());
        }
        if length > LENGTH as u64 {
            return Err(Errno::PROTO);
        }
        scratch.clear();
        scratch.resize(length as usize, 0);
        self.get(read, scratch)?;
        let mut rest = &scratch[..];
        while !rest.is_empty() {
            let (header, after) = rest.split_first_chunk::<HEADER>().ok_or(Errno::PROTO)?;
            let header = Header::from_bytes(*header).ok_or(Errno::PROTO)?;
            let (payload, after) = after.split_at_checked(header.length as usize).ok_or(Errno::PROTO)?;
            rest = after;
            take(header, payload, &mut rest);
        }
        self.seat.read.store(written, SeqCst);
        if self.seat.starved.load(SeqCst) != 0 && self.seat.starved.swap(0, SeqCst) != 0 {
            self.seat.room.fetch_add(1, SeqCst);
            let _ = futex::wake(&self.seat.room, u32::MAX, Reach::Shared); // the word is mapped
        }
        Ok(())
    }

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

#[cfg(test)]
mod tests {
    use super::super::board::seats;
    use super::*;

    fn header(index: u32) -> Header {
        Header { sequence: 1 << 33 | 5, index, kind: Kind::Value, length: 0 }
    }

    #[test]
    fn records_come_out_as_they_went_in_round_the_end_too() {
        let (memory, seats) = (Region::anonymous(2 * LENGTH).unwrap(), seats(2).unwrap());
        let stream = Stream::new(&memory, &seats[1], 1);
        let mut scratch = Vec::new();
        for round in 0..40_u32 {
            let payload = vec![round as u8; 9000];
            stream.write(header(round), &payload, || unreachable!("there is room"));
            let mut got = Vec::new();
            stream.read(&mut scratch, |header, bytes, _| got.push((header, bytes.to_vec()))).unwrap();
            assert_eq!(got, [(Header { length: 9000, ..header(round) }, payload)]);
        }
        assert!(!stream.has_more());
    }

    #[test]
    fn a_long_payload_comes_in_pieces_while_the_reader_reads() {
        let (memory, seats) = (Region::anonymous(LENGTH).unwrap(), seats(1).unwrap());
        let payload: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
        let mut got = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| Stream::new(&memory, &seats[0], 0).write(header(3), &payload, || {}));
            let (stream, mut scratch, mut last) = (Stream::new(&memory, &seats[0], 0), Vec::new(), Kind::Piece);
            while last == Kind::Piece {
                let take = |header: Header, bytes: &[u8], _: &mut &[u8]| {
                    got.extend_from_slice(bytes);
                    last = header.kind;
                };
                stream.read(&mut scratch, take).unwrap();
            }
        });
        assert!(got == payload);
    }

    #[test]
    fn a_record_that_was_not_made_visible_is_overwritten() {
        let (memory, seats) = (Region::anonymous(LENGTH).unwrap(), seats(1).unwrap());
        let stream = Stream::new(&memory, &seats[0], 0);
        stream.write(header(0), b"whole", || {});
        stream.put(seats[0].written.load(SeqCst), &[0xff; 100]).unwrap(); // and then the worker was killed
        stream.write(header(1), b"of the next life", || {});
        let mut got = Vec::new();
        stream.read(&mut Vec::new(), |header, bytes, _| got.push((header.index, bytes.to_vec()))).unwrap();
        assert_eq!(got, [(0, b"whole".to_vec()), (1, b"of the next life".to_vec())]);
    }

    #[test]
    fn values_of_one_chunk_are_taken_together_and_nothing_else_is() {
        let (memory, seats) = (Region::anonymous(LENGTH).unwrap(), seats(1).unwrap());
        let stream = Stream::new(&memory, &seats[0], 0);
        let failed = Header { kind: Kind::Failed, ..header(2) };
        let other = Header { sequence: 7, ..header(3) };
        for header in [header(0), header(1), failed, header(3), other] {
            stream.write(header, &[header.index as u8], || {});
        }
        let mut got = Vec::new();
        let take = |first: Header, _: &[u8], rest: &mut &[u8]| {
            let more = (first.index + 1..9).map_while(|index| header(index).take_value(rest)).count();
            got.push((first.index, more));
        };
        stream.read(&mut Vec::new(), take).unwrap();
        assert_eq!(got, [(0, 1), (2, 1), (3, 0)]);
    }

    #[test]
    fn bytes_that_are_no_record_are_an_error() {
        let (memory, seats) = (Region::anonymous(LENGTH).unwrap(), seats(1).unwrap());
        let stream = Stream::new(&memory, &seats[0], 0);
        stream.put(0, &[0xff; 100]).unwrap();
        seats[0].written.store(100, SeqCst);
        assert_eq!(stream.read(&mut Vec::new(), |_, _, _| unreachable!("no record")), Err(Errno::PROTO));
    }
}
