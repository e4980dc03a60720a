//! Searches: in place where the map lends a slice, by copied windows where others may change the file.

use memchr::memmem::{Finder, FinderRev};

use super::Mmap;
use crate::error::Result;
use crate::index::Span;

/// The number of new bytes in the first window; the search may end there.
const FIRST: usize = 64 << 10;

/// The maximum number of new bytes in a window, if the needle is shorter. They stay in the caches between copy and
/// search.
const MOST: usize = 1 << 20;

/// The page size within which addresses are compared, whatever the system's page size is.
const PAGE: usize = 4096;

/// The buffer for the windows of a search in a map that is copied. A window has new bytes, and some of the window
/// before it.
///
/// New bytes have the same offset within a page as in the map. Some processors copy ten times slower to an address
/// whose offset is a few bytes larger.
struct Room {
    bytes: Vec<u8>,
    /// The start of a page.
    base: usize,
    /// The number of bytes from `base` on for new bytes; whole pages.
    step: usize,
    /// The maximum of `step`.
    most: usize,
    /// The offset of the map within its page.
    skew: usize,
}

impl Room {
    /// Creates a buffer for a search in `len` bytes of a map. It has space for `before` bytes before the new ones, and
    /// for `after` bytes after them.
    fn new(map: &Mmap, len: usize, (before, after): (usize, usize)) -> Self {
        // A step is at least as long as the kept bytes, so that a long needle is not copied again for every few bytes.
        let least = |step: usize| step.max(before.max(after)).min(len + PAGE).next_multiple_of(PAGE);
        let (step, most) = (least(FIRST), least(MOST));
        let bytes = Vec::<u8>::with_capacity(before + PAGE + most + after);
        let address = bytes.as_ptr().addr() + before;
        let base = before + (address.next_multiple_of(PAGE) - address);
        Self { bytes, base, step, most, skew: (map.offset % PAGE as u64) as usize }
    }

    /// The index in `bytes` to which a byte of the map is copied.
    fn place(&self, at: usize) -> usize {
        self.base + (at + self.skew) % PAGE
    }

    /// The end of the window that begins at `start`, unless the search ends before.
    fn end(&self, start: usize) -> usize {
        start + self.step - (start + self.skew) % PAGE
    }

    /// The start of the window that ends at `end`, unless the search ends before.
    fn start(&self, end: usize) -> usize {
        (end + self.skew).saturating_sub(self.step).next_multiple_of(PAGE).saturating_sub(self.skew)
    }

    /// Extends the buffer to `end`; the bytes do not move, because the capacity suffices.
    fn reach(&mut self, end: usize) -> &mut [u8] {
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[..end]
    }

    /// Makes the next window longer.
    fn grow(&mut self) {
        self.step = self.most.min(self.step * 2);
    }
}

impl Mmap {
    /// The first position of `needle` from the current position on; `None` if it does not occur.
    ///
    /// As in Python the search begins at the *position*, and so does that of [`rfind`](Self::rfind). An empty needle is
    /// found at once.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`](crate::ErrorKind::Truncated) when the file was cut short; others as
    /// [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// use std::io::{Seek, SeekFrom};
    /// use ossature::mmap::Mmap;
    ///
    /// let mut map = Mmap::anonymous(20)?;
    /// map.set_slice(..11, b"bone on one")?;
    /// assert_eq!((map.find(b"one")?, map.rfind(b"one")?), (Some(1), Some(8)));
    /// map.seek(SeekFrom::Start(2))?;
    /// assert_eq!(map.find(b"one")?, Some(8));
    /// assert_eq!((map.find_in(b"one", ..)?, map.find_in(b"one", -15..-9)?), (Some(1), Some(8)));
    /// assert_eq!((map.find(b"ones")?, map.rfind_in(b"one", ..10)?), (None, Some(1)));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn find(&self, needle: impl AsRef<[u8]>) -> Result<Option<usize>> {
        self.find_in(needle, self.position..)
    }

    /// The last position of `needle` from the current position on; `None` if it does not occur.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    ///
    /// # Examples
    /// See the example of [`find`](Self::find).
    pub fn rfind(&self, needle: impl AsRef<[u8]>) -> Result<Option<usize>> {
        self.rfind_in(needle, self.position..)
    }

    /// The first position of `needle` within a range; `None` if it does not occur there as a whole.
    ///
    /// Differs from Python: a range that ends before its start is an empty range at its start. An empty needle is found
    /// there.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    ///
    /// # Examples
    /// See the example of [`find`](Self::find).
    #[doc(alias = "find")]
    pub fn find_in(&self, needle: impl AsRef<[u8]>, span: impl Span) -> Result<Option<usize>> {
        let (needle, range) = (needle.as_ref(), span.resolve(self.len()));
        if needle.len() > range.len() {
            return Ok(None);
        }
        let finder = Finder::new(needle);
        if let Some(bytes) = self.as_slice() {
            let found = finder.find(bytes.get(range.clone()).unwrap_or_default());
            return Ok(found.map(|at| range.start + at));
        }
        // The end of each window is kept: the bytes of a needle that may continue in the next window.
        let keep = needle.len().saturating_sub(1);
        let mut room = Room::new(self, range.len(), (keep, 0));
        let (mut kept, mut next) = (0, range.start);
        loop {
            let place = room.place(next);
            let new = range.end.min(room.end(next)) - next;
            self.copy_out(next, &mut room.reach(place + new)[place..])?;
            next += new;
            let window = place - kept..place + new;
            if let Some(at) = finder.find(&room.bytes[window.clone()]) {
                return Ok(Some(next - window.len() + at));
            }
            if next == range.end {
                return Ok(None);
            }
            kept = keep.min(window.len());
            room.bytes.copy_within(window.end - kept..window.end, room.base - kept);
            room.grow();
        }
    }

    /// The last position of `needle` within a range; `None` if it does not occur there as a whole.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    ///
    /// # Examples
    /// See the example of [`find`](Self::find).
    #[doc(alias = "rfind")]
    pub fn rfind_in(&self, needle: impl AsRef<[u8]>, span: impl Span) -> Result<Option<usize>> {
        let (needle, range) = (needle.as_ref(), span.resolve(self.len()));
        if needle.len() > range.len() {
            return Ok(None);
        }
        let finder = FinderRev::new(needle);
        if let Some(bytes) = self.as_slice() {
            let found = finder.rfind(bytes.get(range.clone()).unwrap_or_default());
            return Ok(found.map(|at| range.start + at));
        }
        let keep = needle.len().saturating_sub(1);
        let mut room = Room::new(self, range.len(), (0, keep));
        let (mut kept, mut next, mut before) = (0, range.end, room.base);
        loop {
            let start = range.start.max(room.start(next));
            let (place, new) = (room.place(start), next - start);
            let (filled, bytes) = (new + kept, room.reach(place + new + kept));
            bytes.copy_within(before..before + kept, place + new);
            self.copy_out(start, &mut bytes[place..place + new])?;
            if let Some(at) = finder.rfind(&bytes[place..]) {
                return Ok(Some(start + at));
            }
            if start == range.start {
                return Ok(None);
            }
            (kept, next, before) = (keep.min(filled), start, place);
            room.grow();
        }
    }

    /// Returns the line at the position with its newline, or the rest without one; empty at the end. The position moves
    /// to the end of the line.
    ///
    /// Reads what the map holds now. The lines of [`BufRead`](std::io::BufRead) are faster, and may be a little old.
    ///
    /// # Errors
    /// As [`find`](Self::find); the position stays then.
    ///
    /// # Examples
    /// ```
    /// use std::io::{Seek, Write};
    /// use ossature::mmap::Mmap;
    ///
    /// let mut map = Mmap::anonymous(12)?;
    /// map.write_all(b"skull\nfemur!")?;
    /// map.rewind()?;
    /// assert_eq!((map.readline()?, map.readline()?, map.readline()?), (b"skull\n".into(), b"femur!".into(), vec![]));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn readline(&mut self) -> Result<Vec<u8>> {
        let (mut line, mut step) = (Vec::new(), 256);
        let left = self.len().saturating_sub(self.position);
        while line.len() < left {
            let known = line.len();
            line.resize(left.min(known + step), 0);
            self.copy_out(self.position + known, &mut line[known..])?;
            if let Some(at) = memchr::memchr(b'\n', &line[known..]) {
                line.truncate(known + at + 1);
                break;
            }
            step = FIRST.min(step * 2);
        }
        self.position += line.len();
        Ok(line)
    }
}
