//! Searches: at once where a slice is lent, by copied windows where others may change the file.

use memchr::memmem::{Finder, FinderRev};

use super::Mmap;
use crate::error::Result;
use crate::index::Span;

/// How many new bytes a window has: they stay in the caches between the copy and the search.
const STEP: usize = 128 << 10;

impl Mmap {
    /// Where `needle` stands first from the position on; `None` if it is not there.
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

    /// Where `needle` stands last from the position on; `None` if it is not there.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    ///
    /// # Examples
    /// See the example of [`find`](Self::find).
    pub fn rfind(&self, needle: impl AsRef<[u8]>) -> Result<Option<usize>> {
        self.rfind_in(needle, self.position..)
    }

    /// Where `needle` stands first within a range; `None` if it is not there as a whole.
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
        // Of each window as many bytes are kept as a needle may have in it and not end.
        let keep = needle.len().saturating_sub(1);
        let mut window = vec![0; range.len().min(keep.saturating_add(STEP))];
        let (mut kept, mut next) = (0, range.start);
        loop {
            let filled = window.len().min(kept + (range.end - next));
            self.copy_out(next, &mut window[kept..filled])?;
            next += filled - kept;
            if let Some(at) = finder.find(&window[..filled]) {
                return Ok(Some(next - filled + at));
            }
            if next == range.end {
                return Ok(None);
            }
            kept = keep.min(filled);
            window.copy_within(filled - kept..filled, 0);
        }
    }

    /// Where `needle` stands last within a range; `None` if it is not there as a whole.
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
        let mut window = vec![0; range.len().min(keep.saturating_add(STEP))];
        let (mut kept, mut next) = (0, range.end);
        loop {
            let new = (window.len() - kept).min(next - range.start);
            window.copy_within(..kept, new);
            next -= new;
            self.copy_out(next, &mut window[..new])?;
            let filled = new + kept;
            if let Some(at) = finder.rfind(&window[..filled]) {
                return Ok(Some(next + at));
            }
            if next == range.start {
                return Ok(None);
            }
            kept = keep.min(filled);
        }
    }

    /// The line at the position with its newline, or what is left without one; empty at the end. The position moves
    /// behind it.
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
            step = STEP.min(step * 2);
        }
        self.position += line.len();
        Ok(line)
    }
}
