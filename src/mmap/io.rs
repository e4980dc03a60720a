//! A map as a file with a position: std's traits, and single bytes.

use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};

use super::Mmap;
use super::copy::outside;
use super::options::invalid;
use super::window::Window;
use crate::error::Result;

impl Mmap {
    /// The position: where the next read or write begins.
    ///
    /// Lies beyond the end after a [`resize`](Self::resize) to less; reads are empty and writes fail then.
    ///
    /// # Examples
    /// ```
    /// use std::io::{Read, Seek, SeekFrom, Write};
    /// use ossature::mmap::Mmap;
    ///
    /// let mut map = Mmap::private(10)?;
    /// map.write_all(b"bones")?;
    /// map.write_byte(b'!')?;
    /// assert_eq!(map.position(), 6);
    /// map.seek(SeekFrom::End(-5))?;
    /// assert_eq!(map.read_byte()?, b'!');
    /// assert_eq!(map.read(&mut [0; 100])?, 4, "the rest");
    /// assert!(map.read_byte().is_err() && map.write_all(b"x").is_err(), "the end");
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[doc(alias = "tell")]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns the byte at the position, and advances the position.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) at the end (Python's `ValueError`); others as
    /// [`get`](Self::get).
    ///
    /// # Examples
    /// See the example of [`position`](Self::position).
    pub fn read_byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.copy_out(self.position, &mut byte)?;
        self.position += 1;
        Ok(byte[0])
    }

    /// Writes a byte at the position, and advances the position.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) at the end (Python's `ValueError`); others as
    /// [`set`](Self::set).
    ///
    /// # Examples
    /// See the example of [`position`](Self::position).
    pub fn write_byte(&mut self, byte: u8) -> Result<()> {
        self.copy_in(self.position, &[byte])?;
        self.position += 1;
        Ok(())
    }

    fn left(&self) -> usize {
        self.len().saturating_sub(self.position)
    }
}

/// Reads from the position on; returns 0 bytes at the end.
impl Read for Mmap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.left());
        // After the end nothing is read, because there is no valid position.
        if let Some(buffer) = buffer.get_mut(..len).filter(|buffer| !buffer.is_empty()) {
            self.copy_out(self.position, buffer)?;
            self.position += len;
        }
        Ok(len)
    }

    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let (known, left) = (bytes.len(), self.left());
        bytes.try_reserve_exact(left)?;
        bytes.resize(known + left, 0);
        self.read(&mut bytes[known..]).inspect_err(|_| bytes.truncate(known))
    }
}

/// Writes at the position, all the bytes or none: writes do not extend a map.
impl Write for Mmap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check_writable()?;
        if bytes.len() > self.left() {
            return Err(outside(self.position, bytes.len(), self.len()).into());
        }
        if !bytes.is_empty() {
            self.copy_in(self.position, bytes)?;
            self.position += bytes.len();
        }
        Ok(bytes.len())
    }

    /// Writes the whole map to its file and waits for it, as [`flush_range`](Mmap::flush_range) does.
    fn flush(&mut self) -> io::Result<()> {
        Ok(self.flush_range(..)?)
    }
}

/// Moves the position within the map or to its end; not beyond, as in Python.
impl Seek for Mmap {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(from) => i128::from(from),
            SeekFrom::Current(by) => self.position as i128 + i128::from(by),
            SeekFrom::End(by) => self.len() as i128 + i128::from(by),
        };
        match usize::try_from(position).ok().filter(|&position| position <= self.len()) {
            Some(position) => {
                self.position = position;
                self.window.clear();
                Ok(position as u64)
            }
            None => Err(invalid(format!("position {position} is not within the map of {} bytes", self.len())).into()),
        }
    }
}

/// Lends the bytes in place if [`as_slice`](Mmap::as_slice) does, and a copy otherwise. The unconsumed part of a copy
/// stays the same until the next seek or write of this `Mmap`, even if others change the file.
impl BufRead for Mmap {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let (position, left) = (self.position, self.left());
        if self.as_slice().is_none() && self.window.from(position).is_empty() && left > 0 {
            let mut window = std::mem::take(&mut self.window);
            let filled = window.fill(position, left.min(Window::LEN), |bytes| self.copy_out(position, bytes));
            self.window = window;
            filled?;
        }
        Ok(match self.map.as_slice() {
            Some(bytes) => bytes.get(position..).unwrap_or_default(),
            None => self.window.from(position),
        })
    }

    fn consume(&mut self, len: usize) {
        self.position += len.min(self.left());
    }
}
