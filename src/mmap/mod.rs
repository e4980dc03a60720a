//! Files as memory: Python's `mmap` module.
//!
//! | Python | here |
//! | --- | --- |
//! | `mmap(fd, 0)` | [`Mmap::new`] with an [`Access`], for the whole file |
//! | `mmap(fd, length, flags, prot, access, offset)` | [`Mmap::options`] |
//! | `mmap(-1, length)` | [`Mmap::anonymous`], shared with forked children; [`Mmap::private`] is cheaper |
//! | `m[i]`, `m[-1]`, `m[a:b]`, and assigning to them | [`get`](Mmap::get), [`set`](Mmap::set), [`slice`](Mmap::slice), [`set_slice`](Mmap::set_slice) |
//! | `m.read(n)`, `m.write(b)`, `m.seek(n)` | [`Read`](std::io::Read), [`BufRead`](std::io::BufRead), [`Write`](std::io::Write) and [`Seek`](std::io::Seek) |
//! | `m.find(b)`, `m.rfind(b)` | [`find`](Mmap::find), [`rfind`](Mmap::rfind); in a range [`find_in`](Mmap::find_in) |
//! | `m.move(dest, src, n)` | [`copy_within`](Mmap::copy_within) |
//! | `m.flush(offset, size)` | [`flush_range`](Mmap::flush_range) |
//! | `m.madvise(...)` | [`advise`](Mmap::advise), [`discard`](Mmap::discard), [`inherit`](Mmap::inherit) |
//! | `m.size()`, `len(m)` | [`file_len`](Mmap::file_len), [`len`](Mmap::len) |
//!
//! ```
//! use ossature::mmap::{Access, Mmap};
//! use std::io::BufRead;
//!
//! let path = std::env::temp_dir().join(format!("ossature-log-{}", std::process::id()));
//! std::fs::write(&path, "started\nERROR: no bones\nended\n")?;
//! let mut log = Mmap::new(std::fs::File::open(&path)?, Access::Read)?;
//! assert_eq!(log.find(b"ERROR")?, Some(8));
//! let lines = BufRead::lines(&mut log).collect::<Result<Vec<_>, _>>()?;
//! assert_eq!(lines[1], "ERROR: no bones");
//! # std::fs::remove_file(path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When others change the file
//! Other processes may write a mapped file, or truncate it. In Python, and in most libraries, the next access to the
//! lost pages ends the process with SIGBUS. A `&[u8]` of such bytes is undefined behaviour. Here each call copies, and
//! the kernel makes the copy: a truncated file is [`ErrorKind::Truncated`], and no signal is sent. Each access costs a
//! system call, so copy whole records, not bytes.
//!
//! [`Mmap::as_slice`] lends the bytes where nothing else changes them. That holds for private memory, and for a file
//! that the kernel proves to be unchangeable ([`MmapOptions::map_proven`]). It also holds for a file for which the
//! caller vouches ([`MmapOptions::map_trusted`], which is `unsafe`).

mod copy;
mod find;
mod io;
mod make;
mod manage;
mod map;
mod options;
mod window;

use std::fmt;
use std::os::fd::AsFd;

use ossature_sys::errno::Errno;

pub use crate::index::{Index, Span};
pub use map::Mmap;
pub use options::{Access, MmapOptions};
#[doc(inline)]
pub use ossature_sys::mmap::{Advice, Discard, Flags, Inherit, Protection, page_size};

use self::options::refused;
use crate::error::{Error, ErrorKind, Result};

impl Mmap {
    /// Maps a whole file. The descriptor is duplicated and can be closed.
    ///
    /// # Errors
    /// As [`MmapOptions::map`].
    ///
    /// # Examples
    /// See the example of [`Mmap`].
    pub fn new(file: impl AsFd, access: Access) -> Result<Self> {
        Self::options().access(access).map(file)
    }

    /// Returns options for a part of a file, or for another kind of map.
    ///
    /// # Examples
    /// See the example of [`MmapOptions`].
    pub fn options() -> MmapOptions {
        MmapOptions::default()
    }

    /// Maps zeroed memory without a file, shared with children that are forked later: Python's `mmap(-1, len)`.
    ///
    /// # Errors
    /// As [`MmapOptions::map_anonymous`].
    ///
    /// # Examples
    /// See the example of [`find`](Self::find).
    pub fn anonymous(len: usize) -> Result<Self> {
        Self::options().len(len).map_anonymous()
    }

    /// Maps zeroed memory of this process; forked children have copies of it. Python's `mmap(-1, len,
    /// flags=MAP_PRIVATE)`.
    ///
    /// # Errors
    /// As [`MmapOptions::map_anonymous`].
    ///
    /// # Examples
    /// See the example of [`position`](Self::position).
    pub fn private(len: usize) -> Result<Self> {
        Self::options().len(len).flags(Flags::PRIVATE).map_anonymous()
    }

    /// The number of mapped bytes: at least 1, and not rounded to pages.
    ///
    /// # Examples
    /// See the example of [`resize`](Self::resize).
    #[expect(clippy::len_without_is_empty, reason = "a map has at least one byte")]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// The offset in the file at which the map begins.
    ///
    /// # Examples
    /// ```
    /// use ossature::{mmap::Mmap, sys::mmap::Memfd};
    ///
    /// let file = Memfd::new(c"part")?;
    /// file.set_len(100)?;
    /// assert_eq!(Mmap::options().offset(30).map(&file)?.offset(), 30);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The access, as given or as derived from the protection.
    ///
    /// # Examples
    /// ```
    /// use ossature::mmap::{Access, Mmap, Protection};
    ///
    /// let zeros = Mmap::options().len(10).protection(Protection::READ).map_anonymous()?;
    /// assert_eq!(zeros.access(), Access::Read);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn access(&self) -> Access {
        self.access
    }

    /// The current length of the *file*, in bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Os`] with `EBADF` when there is no file, or no descriptor is kept.
    ///
    /// # Examples
    /// See the example of [`resize`](Self::resize).
    #[doc(alias = "size")]
    pub fn file_len(&self) -> Result<u64> {
        let message = "the map has no file, or was made by `untracked`";
        let file = self.file.as_ref().ok_or_else(|| Error::os(Errno::BADF, message))?;
        Ok(options::metadata(file).map_err(refused("the length of the mapped file is unknown"))?.len())
    }

    /// Returns the byte at an index; -1 is the last one. Python's `m[index]`.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] when there is no such byte (Python's `IndexError`). [`ErrorKind::Truncated`] when the
    /// file was cut short. [`ErrorKind::Unsupported`] when a sandbox forbids the only way to the bytes.
    /// [`ErrorKind::NotAllowed`] in a forked child from which the map was [kept](Self::inherit). [`ErrorKind::Os`] with
    /// `EIO` when the device failed.
    ///
    /// # Examples
    /// See the example of [`Mmap`].
    pub fn get(&self, index: impl Index) -> Result<u8> {
        let mut byte = [0];
        self.copy_out(self.place(index)?, &mut byte)?;
        Ok(byte[0])
    }

    /// Replaces the byte at an index; -1 is the last one. Python's `m[index] = byte`.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`ErrorKind::Os`] with `EACCES` when the map is read-only (Python's `TypeError`).
    ///
    /// # Examples
    /// See the example of [`resize`](Self::resize).
    pub fn set(&mut self, index: impl Index, byte: u8) -> Result<()> {
        self.check_writable()?;
        self.copy_in(self.place(index)?, &[byte])
    }

    /// Returns a copy of a range. Python's `m[a:b]`: positions that do not exist are left out.
    ///
    /// For Python's `m[a:b:step]` take every nth byte of the copy, by [`step_by`](Iterator::step_by).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    /// See the example of [`Mmap`].
    pub fn slice(&self, span: impl Span) -> Result<Vec<u8>> {
        let range = span.resolve(self.len());
        let mut bytes = vec![0; range.len()];
        self.copy_out(range.start, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `buffer` from `at` on, without an allocation.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// let map = ossature::mmap::Mmap::anonymous(100)?;
    /// let mut record = [1; 10];
    /// map.read_at(90, &mut record)?;
    /// assert_eq!(record, [0; 10]);
    /// assert!(map.read_at(91, &mut record).is_err(), "one byte too many");
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn read_at(&self, at: usize, buffer: &mut [u8]) -> Result<()> {
        self.copy_out(at, buffer)
    }

    /// Replaces a range by the same number of bytes. Python's `m[a:b] = bytes`.
    ///
    /// For Python's `m[a:b:step] = bytes` change every nth byte of a copy of the range, and replace the range by the
    /// copy.
    ///
    /// # Errors
    /// As [`set`](Self::set); [`ErrorKind::InvalidInput`] when the range has another length (Python's `IndexError`).
    ///
    /// # Examples
    /// ```
    /// use ossature::mmap::Mmap;
    ///
    /// let mut map = Mmap::private(6)?;
    /// map.set_slice(.., b"skulls")?;
    /// // Python's m[1::2] = b"KLS"
    /// let mut part = map.slice(1..)?;
    /// part.iter_mut().step_by(2).zip(b"KLS").for_each(|(place, byte)| *place = *byte);
    /// map.set_slice(1.., &part)?;
    /// assert_eq!(map.slice(..)?, b"sKuLlS");
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn set_slice(&mut self, span: impl Span, bytes: &[u8]) -> Result<()> {
        self.check_writable()?;
        let range = span.resolve(self.len());
        if range.len() != bytes.len() {
            return Err(copy::wrong_size(range.len(), bytes.len()));
        }
        self.copy_in(range.start, bytes)
    }

    /// Lends the bytes if nothing changes them while they are borrowed: those of [private](Self::private) memory, of a
    /// [proven](MmapOptions::map_proven) file and of a [trusted](MmapOptions::map_trusted) file.
    ///
    /// # Examples
    /// ```
    /// use ossature::mmap::Mmap;
    ///
    /// let mut map = Mmap::private(100)?;
    /// map.as_mut_slice().expect("nobody else reaches it")[3] = 7;
    /// assert_eq!(map.as_slice().expect("nobody else reaches it")[3], 7);
    /// assert!(Mmap::anonymous(100)?.as_slice().is_none(), "a forked child reaches it");
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn as_slice(&self) -> Option<&[u8]> {
        self.map.as_slice()
    }

    /// Lends the bytes for writing if nothing else can reach them: those of [private](Self::private) memory, and of a
    /// [trusted](MmapOptions::map_trusted) file.
    ///
    /// # Examples
    /// See the example of [`as_slice`](Self::as_slice).
    pub fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        if self.map.as_mut_slice().is_some() {
            // The caller may write through the slice, so the map counts as written.
            self.window.clear();
            self.written = true;
        }
        self.map.as_mut_slice()
    }

    /// The address of the first byte. An access through it is not recoverable: it may raise SIGBUS, or race with writes
    /// of others.
    ///
    /// # Examples
    /// ```
    /// assert!(!ossature::mmap::Mmap::anonymous(100)?.as_ptr().is_null());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn as_ptr(&self) -> *mut u8 {
        self.map.as_ptr()
    }

    fn place(&self, index: impl Index) -> Result<usize> {
        let whole = self.len();
        index.resolve(whole).filter(|&place| place < whole).ok_or_else(|| {
            Error::new(ErrorKind::OutOfRange, format!("index {index} is out of range: the map has {whole} bytes"))
        })
    }
}

impl fmt::Debug for Mmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mmap")
            .field("access", &self.access)
            .field("len", &self.len())
            .field("position", &self.position)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
