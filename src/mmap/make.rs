//! Makes the map that the options describe.

use std::fs::File;
use std::os::fd::AsFd;

use ossature_sys::fd;
use ossature_sys::mmap::{Flags, Protection, page_size};

use super::map::{Map, Mmap};
use super::options::{Access, MmapOptions, Shape, cannot_map, invalid, metadata, refused};
use super::window::Window;
use crate::error::{Error, ErrorKind, Result};

impl MmapOptions {
    /// `mmap(NULL, len, protection, flags, fd, offset)`: maps a file. The descriptor is duplicated and can be closed.
    ///
    /// Flush buffered writes to the file before. A regular file is never extended.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the length is 0, when the file is empty, when the offset or the end is beyond
    /// the end of a regular file. Also when the length of another file is not given, and for options that exclude each
    /// other. [`ErrorKind::Unsupported`] for memory that could be both written and executed, and for flags that fit no
    /// file. [`ErrorKind::Os`] with `EACCES` when the descriptor is not open for that, `ENODEV` for what cannot be
    /// mapped (a pipe, a directory), `EPERM` when a seal forbids it, `ENOMEM`.
    ///
    /// # Examples
    /// See the example of [`MmapOptions`].
    pub fn map(&self, file: impl AsFd) -> Result<Mmap> {
        let shape = self.shape()?;
        if shape.flags.contains(Flags::ANONYMOUS) {
            return Err(invalid(
                "cannot map a file with Flags::ANONYMOUS: use `map_anonymous` for memory without a file",
            ));
        }
        let without_effect = Flags::DENYWRITE | Flags::EXECUTABLE | Flags::STACK;
        let known = Flags::SHARED | Flags::PRIVATE | Flags::POPULATE | Flags::NORESERVE | without_effect;
        if !known.contains(shape.flags) {
            return Err(Error::new(ErrorKind::Unsupported, format!("a file cannot be mapped with {:?}", shape.flags)));
        }
        let executable = shape.protection.contains(Protection::EXEC);
        if executable && (shape.writes() || !shape.shared) {
            let message = "a map of code must be shared and read-only: use Flags::SHARED with READ | EXEC, and a second map to write";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let (file, len, regular) = self.opened(file)?;
        let map = Map::of_file(&file, self.offset, len, &shape).map_err(cannot_map)?;
        Ok(self.made(map, Some(file), regular, shape.access))
    }

    /// Maps a file that no process can change any more, so that [`Mmap::as_slice`] lends its bytes. Such a file is a
    /// memory file that is sealed against writing and shrinking, or a file with fs-verity.
    ///
    /// The kernel provides the proof, and the proof is permanent. A file system that another program serves (FUSE)
    /// proves nothing. The options about access, flags and protection do not apply.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when there is no proof; otherwise as [`map`](Self::map).
    ///
    /// # Examples
    /// ```
    /// use ossature::mmap::Mmap;
    /// use ossature::sys::{fd, mmap::{Memfd, Seals}};
    ///
    /// let memory = Memfd::new(c"settled")?;
    /// fd::write(&memory, b"for ever")?;
    /// assert!(Mmap::options().map_proven(&memory).is_err(), "it can change");
    /// memory.add_seals(Seals::WRITE | Seals::SHRINK)?;
    /// assert_eq!(Mmap::options().map_proven(&memory)?.as_slice(), Some(&b"for ever"[..]));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[doc(alias = "map_if_safe")]
    pub fn map_proven(&self, file: impl AsFd) -> Result<Mmap> {
        if self.access != Access::Default || self.flags.is_some() || self.protection.is_some() {
            return Err(invalid("a map of an unchangeable file is read-only: give no access, flags or protection"));
        }
        let (file, len, regular) = self.opened(file)?;
        if !regular {
            return Err(invalid("only a regular file can be proven to stay as it is"));
        }
        if fd::is_on_fuse(&file).map_err(cannot_map)? {
            return Err(invalid("the program behind a FUSE file system can change the file: map it by `map`"));
        }
        let map = Map::proven(&file, self.offset, len)?;
        Ok(self.made(map, Some(file), regular, Access::Read))
    }

    /// `mmap(NULL, len, protection, flags | MAP_ANONYMOUS, -1, 0)`: zeroed memory without a file: Python's `mmap(-1,
    /// len)`.
    ///
    /// [`Mmap::anonymous`] and [`Mmap::private`] are short for it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the length is not given or 0, or an offset is given, or for options that
    /// exclude each other. [`ErrorKind::Unsupported`] for memory that could be executed. [`ErrorKind::Os`] with
    /// `ENOMEM` when there is not that much memory or too few huge pages, `EINVAL` for flags that no memory without a
    /// file has.
    ///
    /// # Examples
    /// See the example of [`MmapOptions`].
    pub fn map_anonymous(&self) -> Result<Mmap> {
        let shape = self.shape()?;
        if shape.protection.contains(Protection::EXEC) {
            return Err(Error::new(ErrorKind::Unsupported, "memory without a file has no code: map a file that has"));
        }
        if self.offset != 0 {
            return Err(invalid("memory without a file has no offset: leave `offset` out"));
        }
        let len = self.len.filter(|&len| len > 0);
        let len = len.ok_or_else(|| invalid("memory without a file needs a length of at least 1: give `len`"))?;
        let map = Map::of_memory(len, &shape).map_err(refused("memory cannot be mapped"))?;
        Ok(self.made(map, None, false, shape.access))
    }

    fn made(&self, map: Map, file: Option<File>, regular: bool, access: Access) -> Mmap {
        let file = file.filter(|_| !self.untracked);
        let regular = regular && file.is_some();
        let (offset, window) = (self.offset, Window::default());
        Mmap { map, file, regular, offset, access, position: 0, written: false, window }
    }

    /// The kernel's arguments for the options.
    fn shape(&self) -> Result<Shape> {
        let both = Protection::READ | Protection::WRITE;
        let explicit = self.flags.is_some() || self.protection.is_some();
        let (access, flags, protection) = match self.access {
            Access::Default => {
                let protection = self.protection.unwrap_or(both);
                // Python's rule: a map without PROT_WRITE is read-only, whatever the other bits.
                let access = match (protection.contains(Protection::READ), protection.contains(Protection::WRITE)) {
                    (true, true) => Access::Default,
                    (false, true) => Access::Write,
                    _ => Access::Read,
                };
                (access, self.flags.unwrap_or(Flags::SHARED), protection)
            }
            _ if explicit => return Err(invalid("`access` excludes `flags` and `protection`: give one or the other")),
            Access::Read => (Access::Read, Flags::SHARED, Protection::READ),
            Access::Write => (Access::Write, Flags::SHARED, both),
            Access::Copy => (Access::Copy, Flags::PRIVATE, both),
        };
        if protection.is_empty() || !(both | Protection::EXEC).contains(protection) {
            return Err(invalid("the protection must consist of READ, WRITE and EXEC, and must not be empty"));
        }
        let sharing = flags & (Flags::SHARED | Flags::PRIVATE);
        if sharing != Flags::SHARED && sharing != Flags::PRIVATE {
            return Err(invalid("the flags must have exactly one of Flags::SHARED and Flags::PRIVATE"));
        }
        Ok(Shape { access, shared: sharing == Flags::SHARED, flags, protection: protection | Protection::READ })
    }

    /// Returns a duplicate of the descriptor, the number of bytes to map, and whether the file is regular.
    fn opened(&self, file: impl AsFd) -> Result<(File, usize, bool)> {
        let file = File::from(fd::duplicate(file).map_err(refused("the descriptor of the file cannot be duplicated"))?);
        let state = metadata(&file).map_err(cannot_map)?;
        if self.len == Some(0) {
            return Err(invalid("0 bytes cannot be mapped: leave `len` out to map the rest of the file"));
        }
        let len = if state.is_file() {
            self.within(state.len())?
        } else {
            let len = self.len.map(|len| len as u64);
            len.ok_or_else(|| invalid("the length of a file that is not regular is unknown: give `len`"))?
        };
        // No pointer spans more than isize::MAX bytes, and the map begins and ends at a page.
        let most = isize::MAX as u64 - 2 * page_size() as u64;
        let fits = len <= most && self.offset.checked_add(len).is_some_and(|end| i64::try_from(end).is_ok());
        let len = usize::try_from(len).ok().filter(|_| fits).ok_or_else(|| {
            let message = format!("{len} bytes from {} on exceed the address space: map a part", self.offset);
            Error::new(ErrorKind::OutOfRange, message)
        })?;
        Ok((file, len, state.is_file()))
    }

    /// The length of the map within a regular file of `size` bytes.
    fn within(&self, size: u64) -> Result<u64> {
        if size == 0 {
            return Err(invalid("an empty file cannot be mapped: set its length first"));
        }
        if self.offset >= size {
            return Err(invalid(format!("the offset {} is not within the file of {size} bytes", self.offset)));
        }
        let rest = size - self.offset;
        match self.len.map(|len| len as u64) {
            None => Ok(rest),
            Some(len) if len <= rest => Ok(len),
            Some(len) => {
                let (offset, message) = (self.offset, "make the file longer first, by `File::set_len`");
                Err(invalid(format!("{len} bytes from {offset} on are not within the file of {size} bytes: {message}")))
            }
        }
    }
}
