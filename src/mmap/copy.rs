//! Copies in and out of a map, which return an error where an access would raise SIGBUS.
//!
//! | map | read through | written through |
//! | --- | --- | --- |
//! | bytes that no other process changes | the slice | the slice |
//! | memory without a file | relaxed copies | relaxed copies |
//! | a file with a descriptor | `pread`, or `process_vm_readv` where that is forbidden | `process_vm_writev`, or `pwrite` |
//! | a private map that was written; a file without a descriptor | `process_vm_readv` | `process_vm_writev` |
//!
//! After a copy by the kernel into or out of the pages of a file, the length of the file is checked. The rest of the
//! last page of a shorter file still exists, but reads as zeros and loses writes.

use std::fs::File;

use ossature_sys::errno::Errno;
use ossature_sys::fd;

use super::Mmap;
use super::map::{Absent, Answer};
use super::options::{invalid, metadata, refused};
use crate::error::{Error, ErrorKind, Result};

/// How often a copy is repeated if a page was missing although the file is long enough.
const TRIES: usize = 64;

/// The direction of a copy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

impl Mmap {
    /// Copies `into.len()` bytes from the offset `at`, all within the map.
    pub(super) fn copy_out(&self, at: usize, into: &mut [u8]) -> Result<()> {
        self.check_range(at, into.len())?;
        if let Some(bytes) = self.map.as_slice() {
            into.copy_from_slice(bytes.get(at..at + into.len()).unwrap_or_default());
            return Ok(());
        }
        if !self.map.is_file() {
            return self.map.with(|region| region.copy_out(at, into)).map_err(|absent| absent.error("the map"));
        }
        if into.is_empty() {
            return Ok(());
        }
        // A private page that was written is no longer that of the file.
        let same = self.map.is_shared() || !self.written;
        if let Some(file) = self.file.as_ref().filter(|_| self.regular && same) {
            if self.read_file(file, at, into)? {
                return Ok(());
            }
        }
        let end = at + into.len();
        self.through_pages(end, Way::Out, || self.map.with(|region| region.try_copy_out(at, into)))
    }

    /// Copies `bytes` to the offset `at`; all are within the map.
    pub(super) fn copy_in(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        self.check_writable()?;
        self.check_range(at, bytes.len())?;
        self.window.clear();
        if let Some(place) = self.map.as_mut_slice() {
            place.get_mut(at..at + bytes.len()).unwrap_or_default().copy_from_slice(bytes);
            return Ok(());
        }
        if !self.map.is_file() {
            return self.map.with(|region| region.copy_in(at, bytes)).map_err(|absent| absent.error("the map"));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.written = true;
        self.through_pages(at + bytes.len(), Way::In, || match self.map.with(|region| region.try_copy_in(at, bytes)) {
            Err(Absent::Refused(errno)) if forbidden(errno) && self.regular && self.map.is_shared() => {
                self.write_file(at, bytes).map_err(Absent::Refused)
            }
            done => done,
        })
    }

    /// Makes a copy through the pages of the file, up to `end` in the map, and returns the outcome.
    fn through_pages(&self, end: usize, way: Way, mut copy: impl FnMut() -> Answer<()>) -> Result<()> {
        for _ in 0..TRIES {
            match copy() {
                // A page is missing: the file is shorter, or was a moment ago.
                Err(Absent::Refused(Errno::FAULT)) if self.regular => self.check_file(end)?,
                Err(Absent::Refused(Errno::FAULT)) => return Err(truncated()),
                Err(Absent::Refused(errno)) if forbidden(errno) => return Err(self.no_way(way)),
                Err(absent) => return Err(absent.error("the map")),
                Ok(()) if self.regular => return self.check_file(end),
                Ok(()) => return Ok(()),
            }
        }
        let message =
            "a page of the map cannot be read or written: the file system has no room for it, or the device failed";
        Err(Error::os(Errno::FAULT, message))
    }

    /// Reads the bytes from the file itself; `false` if that is impossible here.
    fn read_file(&self, file: &File, at: usize, into: &mut [u8]) -> Result<bool> {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match fd::read_at(file, rest, self.offset + (at + done) as u64) {
                Ok(0) => return Err(truncated()),
                Ok(len) => done += len,
                // Forbidden, or a file without such reads: one of secret memory, or one opened with O_DIRECT.
                Err(errno) if forbidden(errno) || [Errno::INVAL, Errno::OPNOTSUPP].contains(&errno) => {
                    return Ok(false);
                }
                Err(errno) => return Err(refused("the mapped file cannot be read")(errno)),
            }
        }
        Ok(true)
    }

    /// Writes the bytes to the file itself.
    fn write_file(&self, at: usize, bytes: &[u8]) -> std::result::Result<(), Errno> {
        let file = self.file.as_ref().ok_or(Errno::NOSYS)?;
        // Written at the end, whatever the offset.
        if fd::is_append(file)? {
            return Err(Errno::NOSYS);
        }
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            // A write beyond the end would make the file longer.
            if metadata(file)?.len() < self.offset + (at + bytes.len()) as u64 {
                return Err(Errno::FAULT);
            }
            done += fd::write_at(file, rest, self.offset + (at + done) as u64)?;
        }
        Ok(())
    }

    /// Returns an error if the file does not reach up to `end` in the map.
    pub(super) fn check_file(&self, end: usize) -> Result<()> {
        match &self.file {
            Some(file) if self.regular => {
                let size = metadata(file).map_err(refused("the length of the mapped file is unknown"))?.len();
                if size < self.offset + end as u64 { Err(truncated()) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_range(&self, at: usize, len: usize) -> Result<()> {
        let whole = self.map.len();
        if at > whole || len > whole - at { Err(outside(at, len, whole)) } else { Ok(()) }
    }

    pub(super) fn check_writable(&self) -> Result<()> {
        if self.map.writes() {
            return Ok(());
        }
        Err(Error::os(Errno::ACCESS, "the map is read-only: map with Access::Write or Access::Copy to write"))
    }

    /// The reason why only the pages give access to the bytes, and the remedy.
    #[cold]
    fn no_way(&self, way: Way) -> Error {
        let call = if way == Way::Out { "process_vm_readv" } else { "process_vm_writev" };
        let why = match &self.file {
            None => "the map has no descriptor: map without `untracked`, or",
            Some(_) if !self.regular => "the file is not regular:",
            Some(_) if self.map.is_shared() => "the file does not support reads and writes at an offset:",
            Some(_) => "the map has bytes that the file does not have: map with Access::Read, or",
        };
        let message = format!("{call} is missing or forbidden here, and {why} allow {call} in the sandbox");
        Error::new(ErrorKind::Unsupported, message)
    }
}

/// Whether an errno means a kernel without the call, or a sandbox.
fn forbidden(errno: Errno) -> bool {
    [Errno::NOSYS, Errno::PERM, Errno::ACCESS].contains(&errno)
}

#[cold]
fn truncated() -> Error {
    let message = "the file is shorter than its map, because it was truncated: map the file again, \
                   or use a Memfd sealed with Seals::SHRINK, which cannot be truncated";
    Error::new(ErrorKind::Truncated, message)
}

#[cold]
pub(super) fn outside(at: usize, len: usize, whole: usize) -> Error {
    if len == 0 || at > whole {
        return Error::new(ErrorKind::OutOfRange, format!("offset {at} is not within the map of {whole} bytes"));
    }
    let message = format!("{len} bytes from offset {at} are not within the map of {whole} bytes");
    Error::new(ErrorKind::OutOfRange, message)
}

#[cold]
pub(super) fn wrong_size(places: usize, bytes: usize) -> Error {
    invalid(format!("{bytes} bytes do not fit a range of {places} bytes: a map keeps its length, see `resize`"))
}
