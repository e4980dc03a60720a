//! The mapping itself. This is the only file of this module that may say `unsafe`. The crate memmap2 makes and owns the
//! maps of files, and [`Region`] those without a file. This file decides which bytes the map lends as a slice.

#![allow(unsafe_code, reason = "memmap2's constructors and the slices need it; each argues why")]

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use memmap2::{MmapOptions as Maker, MmapRaw, RemapOptions};
use ossature_sys::errno::{self, Errno, retry};
use ossature_sys::mmap::{Discard, Flags, Inherit, Memfd, Protection, Region, RegionRef, Seals, page_size};
use ossature_sys::process::generation;
use ossature_sys::{faults, fd};

use super::options::{Access, MmapOptions, Shape, cannot_map};
use super::window::Window;
use crate::error::{Error, ErrorKind, Result};

/// Mapped memory with a position, of a file or without one. Dropping the value unmaps it.
///
/// Differs from Python's `mmap`: it is closed by its drop, so no call meets a closed map. Whatever borrows its bytes
/// keeps it from being dropped or resized. A read-only map has the same type; a write to it is an error, as in Python.
///
/// # Examples
/// ```
/// use std::io::{Read, Seek, Write};
/// use ossature::mmap::{Access, Mmap};
/// use ossature::sys::mmap::Memfd;
///
/// let file = Memfd::new(c"bones")?;
/// file.set_len(206)?;
/// let mut map = Mmap::new(&file, Access::Write)?;
/// map.write_all(b"skull femur")?;
/// map.rewind()?;
/// let mut first = [0; 5];
/// map.read_exact(&mut first)?;
/// assert_eq!((&first, map.find(b"femur")?), (b"skull", Some(6)));
/// assert_eq!((map.get(-1)?, map.slice(6..11)?), (0, b"femur".to_vec()));
///
/// // Another process may do this at any time.
/// file.set_len(1)?;
/// assert_eq!(map.get(100).unwrap_err().kind(), ossature::ErrorKind::Truncated);
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "mmap")]
#[doc(alias = "close")]
pub struct Mmap {
    pub(super) map: Map,
    /// The duplicate of the descriptor, if it is kept.
    pub(super) file: Option<File>,
    /// Whether `file` is present and regular, so that its length shows whether the bytes exist.
    pub(super) regular: bool,
    pub(super) offset: u64,
    pub(super) access: Access,
    pub(super) position: usize,
    /// Whether a page may differ from that of the file, if the map is private.
    pub(super) written: bool,
    pub(super) window: Window,
}

/// A mapping of a file or of memory without one.
#[derive(Debug)]
pub(super) struct Map {
    kind: Kind,
    protection: Protection,
    shared: bool,
    lends: Lends,
    /// The process that has the pages, if its forked children do not have them.
    home: Option<u32>,
}

#[derive(Debug)]
enum Kind {
    File(MmapRaw),
    Memory(Region),
    /// The state after the pages are lost or are not this process's to unmap.
    Nothing,
}

/// The slices that the map may lend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lends {
    /// None: others may write the bytes or truncate the file.
    Nothing,
    /// For reading: the bytes never change, by the kernel's proof or the caller's promise.
    Reading,
    /// For writing: the bytes belong to this process alone, or the caller promises it.
    Writing,
}

impl Map {
    /// Maps a file whose length was checked. The map lends no slice of it, whatever the file is.
    pub(super) fn of_file(file: &File, offset: u64, len: usize, shape: &Shape) -> errno::Result<Self> {
        let maker = maker(offset, len, shape.flags);
        let raw = call(|| match (shape.shared, shape.writes(), shape.protection.contains(Protection::EXEC)) {
            (true, true, _) => maker.map_raw(file),
            (true, false, false) => maker.map_raw_read_only(file),
            // SAFETY: the map becomes a raw one before anything is borrowed from it.
            (true, false, true) => unsafe { maker.map_exec(file) }.map(MmapRaw::from),
            // SAFETY: as above.
            (false, true, _) => unsafe { maker.map_copy(file) }.map(MmapRaw::from),
            // SAFETY: as above.
            (false, false, _) => unsafe { maker.map_copy_read_only(file) }.map(MmapRaw::from),
        })?;
        Ok(Self::new(Kind::File(raw), shape.protection, shape.shared, Lends::Nothing))
    }

    /// Maps a file whose bytes never change, as the kernel proves.
    pub(super) fn proven(file: &File, offset: u64, len: usize) -> Result<Self> {
        let maker = maker(offset, len, Flags::SHARED);
        let ask = || match maker.map_if_safe(file) {
            Ok(map) => Ok(Ok(map)),
            Err(error) if error.map_failed() => Err(raw_errno(&error.into())),
            Err(error) => Ok(Err(error.to_string())),
        };
        let map = match retry(|| faults::call("mmap", ask)) {
            Ok(Ok(map)) => map,
            Ok(Err(why)) => return Err(unproven(&why)),
            // Before Linux 6.7 a memory file that is sealed against writing cannot be mapped shared.
            Err(Errno::PERM) if is_sealed(file, offset + len as u64) == Ok(true) => {
                // SAFETY: the file is sealed against writing and shrinking, seals are never taken back, and it is long
                // enough: the bytes are there and never change.
                call(|| unsafe { maker.map_copy_read_only(file) }).map_err(cannot_map)?
            }
            Err(errno) => return Err(cannot_map(errno)),
        };
        Ok(Self::new(Kind::File(map.into()), Protection::READ, true, Lends::Reading))
    }

    /// Maps memory without a file.
    pub(super) fn of_memory(len: usize, shape: &Shape) -> errno::Result<Self> {
        let mut region = Region::with_flags(len, shape.flags)?;
        if !shape.writes() {
            region.protect(shape.protection)?;
        }
        let lends = if shape.shared { Lends::Nothing } else { Lends::Writing };
        Ok(Self::new(Kind::Memory(region), shape.protection, shape.shared, lends))
    }

    fn new(kind: Kind, protection: Protection, shared: bool, lends: Lends) -> Self {
        Self { kind, protection, shared, lends, home: None }
    }

    pub(super) fn len(&self) -> usize {
        match &self.kind {
            Kind::File(raw) => raw.len(),
            Kind::Memory(region) => region.len(),
            Kind::Nothing => 0,
        }
    }

    pub(super) fn as_ptr(&self) -> *mut u8 {
        match &self.kind {
            Kind::File(raw) => raw.as_mut_ptr(),
            Kind::Memory(region) => region.as_ptr().as_ptr(),
            Kind::Nothing => std::ptr::null_mut(),
        }
    }

    pub(super) fn writes(&self) -> bool {
        self.protection.contains(Protection::WRITE)
    }

    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }

    /// Whether the pages belong to a file, which others may truncate.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File(_))
    }

    pub(super) fn has_huge_pages(&self) -> bool {
        matches!(&self.kind, Kind::Memory(region) if region.page() != page_size())
    }

    /// Calls a function of [`Region`] on the mapping, whichever library owns it.
    pub(super) fn with<T>(&self, call: impl FnOnce(&Region) -> errno::Result<T>) -> Answer<T> {
        if self.home.is_some_and(|home| home != generation()) {
            return Err(Absent::InChild);
        }
        let answer = match &self.kind {
            Kind::Memory(region) => call(region),
            Kind::File(raw) => match NonNull::new(raw.as_mut_ptr()) {
                // SAFETY: memmap2 keeps these bytes mapped while `raw` is borrowed, with this protection and pages of
                // the ordinary size. Slices of them are lent by `as_slice` and `as_mut_slice` of `self` only; no call
                // copies in while one is in use, because each that does has `&mut` of the `Mmap`.
                Some(start) => call(&*unsafe { RegionRef::new(start, raw.len(), self.protection) }),
                None => Err(Errno::FAULT),
            },
            Kind::Nothing => Err(Errno::FAULT),
        };
        answer.map_err(Absent::Refused)
    }

    /// Lends the bytes if nothing changes them while they are borrowed.
    pub(super) fn as_slice(&self) -> Option<&[u8]> {
        if self.lends == Lends::Nothing {
            return None;
        }
        match &self.kind {
            // SAFETY: private memory without a file, which is written through `&mut self` only.
            Kind::Memory(region) => Some(unsafe { region.as_slice_unchecked() }),
            // SAFETY: mapped while `raw` is borrowed, at most isize::MAX bytes, initialised by the kernel. No other
            // code writes or removes the bytes: the kernel guarantees that, or the caller of `map_trusted` does. This
            // process writes through `&mut self` only.
            Kind::File(raw) => Some(unsafe { std::slice::from_raw_parts(raw.as_ptr(), raw.len()) }),
            Kind::Nothing => None,
        }
    }

    /// Lends the bytes for writing if nothing else can reach them.
    pub(super) fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        if self.lends != Lends::Writing || !self.writes() {
            return None;
        }
        match &mut self.kind {
            Kind::Memory(region) => region.as_mut_slice(),
            // SAFETY: as in `as_slice`; the caller of `map_trusted` guarantees that no other code reaches the bytes.
            Kind::File(raw) => Some(unsafe { std::slice::from_raw_parts_mut(raw.as_mut_ptr(), raw.len()) }),
            Kind::Nothing => None,
        }
    }

    /// Changes the length; the content up to the shorter length stays.
    pub(super) fn remap(&mut self, len: usize) -> errno::Result<()> {
        match &mut self.kind {
            Kind::Memory(region) => region.remap(len),
            Kind::File(raw) => retry(|| {
                let may_move = RemapOptions::new().may_move(true);
                faults::call("mremap", || {
                    // SAFETY: `&mut self` shows that nothing is borrowed from the map. Its new pages lie within the
                    // file, or are reached by copies that fail: `resize` sees to the first.
                    let remapped = unsafe { raw.remap(len, may_move) };
                    remapped.map_err(|error| raw_errno(&error))
                })
            }),
            Kind::Nothing => Err(Errno::FAULT),
        }
    }

    /// Discards the content of the pages of a range.
    pub(super) fn discard(&mut self, offset: usize, len: usize, how: Discard) -> Answer<()> {
        // The kernel removes the bytes of such pages at some later time, and not through `&mut self`.
        if matches!(how, Discard::Free | Discard::Poison) {
            self.lends = Lends::Nothing;
        }
        // SAFETY: the map contains only bytes, which are copied or lent as bytes. Nothing is borrowed from `self` now,
        // and nothing will be if the advice takes effect later.
        self.with(|region| unsafe { region.discard(offset, len, how) })
    }

    /// Sets what forked children find in a range.
    pub(super) fn inherit(&mut self, offset: usize, len: usize, how: Inherit) -> Answer<()> {
        let whole = offset == 0 && len == self.len();
        if matches!(how, Inherit::Nothing | Inherit::Zeros) {
            // A slice that the child has borrowed from its parent's would change or vanish.
            self.lends = Lends::Nothing;
        }
        if how == Inherit::Nothing {
            self.home.get_or_insert_with(generation);
        }
        // SAFETY: a child neither uses nor unmaps what it does not have: `with` and `drop` compare `home`. Slices are
        // not lent any more.
        self.with(|region| unsafe { region.inherit(offset, len, how) })?;
        if how == Inherit::Pages && whole {
            self.home = None;
        }
        Ok(())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        if self.home.is_some_and(|home| home != generation()) {
            // Something else may be mapped there by now.
            mem::forget(mem::replace(&mut self.kind, Kind::Nothing));
        }
    }
}

/// The result of a call on the mapping.
pub(super) type Answer<T> = std::result::Result<T, Absent>;

/// The reason why a call on the mapping failed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Absent {
    /// Forked children do not have the pages, and this process is such a child.
    InChild,
    Refused(Errno),
}

impl Absent {
    /// The kernel's errno, if the kernel was called.
    pub(super) fn errno(self) -> Option<Errno> {
        match self {
            Self::InChild => None,
            Self::Refused(errno) => Some(errno),
        }
    }

    /// The error of a call named by `what`.
    #[cold]
    pub(super) fn error(self, what: &'static str) -> Error {
        match self {
            Self::InChild => Error::new(
                ErrorKind::NotAllowed,
                "the map is not in this forked child, because of Inherit::Nothing: map the file here",
            ),
            Self::Refused(errno) => Error::os(errno, what),
        }
    }
}

impl MmapOptions {
    /// Maps a file which, as the *caller* promises, nothing else changes, so that the map lends slices: see
    /// [`Mmap::as_slice`] and [`Mmap::as_mut_slice`].
    ///
    /// # Errors
    /// As [`map`](Self::map).
    ///
    /// # Safety
    /// While the `Mmap` lives:
    /// * nothing truncates the file or writes the mapped part of it: no other process, no other map, no descriptor of
    ///   this process;
    /// * if the map is writable, there is no other map of that part of the file.
    ///
    /// # Examples
    /// ```
    /// use ossature::mmap::{Access, Mmap};
    /// use ossature::sys::mmap::Memfd;
    ///
    /// let memory = Memfd::new(c"alone")?;
    /// memory.set_len(100)?;
    /// // SAFETY: no other process has the descriptor, and no code here uses it again before the map is dropped.
    /// let mut map = unsafe { Mmap::options().access(Access::Write).map_trusted(&memory) }?;
    /// map.as_mut_slice().expect("vouched for")[3] = 7;
    /// assert_eq!(map.as_slice().expect("vouched for")[..4], [0, 0, 0, 7]);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub unsafe fn map_trusted(&self, file: impl AsFd) -> Result<Mmap> {
        let mut map = self.map(file)?;
        map.map.lends = if map.map.writes() { Lends::Writing } else { Lends::Reading };
        Ok(map)
    }
}

fn maker(offset: u64, len: usize, flags: Flags) -> Maker {
    let mut maker = Maker::new();
    maker.offset(offset).len(len);
    if flags.contains(Flags::POPULATE) {
        maker.populate();
    }
    if flags.contains(Flags::NORESERVE) {
        maker.no_reserve_swap();
    }
    maker
}

/// Makes a call of memmap2 that a test can let fail.
fn call<T>(map: impl Fn() -> io::Result<T>) -> errno::Result<T> {
    retry(|| faults::call("mmap", || map().map_err(|error| raw_errno(&error))))
}

/// Whether a file is a memory file that reaches up to `end`, and whose bytes and length never change.
fn is_sealed(file: &File, end: u64) -> errno::Result<bool> {
    let memory = Memfd::from_fd(fd::duplicate(file)?)?;
    Ok(memory.seals()?.contains(Seals::WRITE | Seals::SHRINK) && memory.len()? >= end)
}

/// The kernel's errno. Errors of memmap2 without one are about lengths, which were checked before.
fn raw_errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::INVAL, Errno::from_raw_os_error)
}

#[cold]
fn unproven(why: &str) -> Error {
    let message = format!(
        "the file may change: {why}; seal a Memfd with Seals::SHRINK | Seals::WRITE, enable fs-verity, or use `map`"
    );
    Error::new(ErrorKind::InvalidInput, message)
}
