//! Files: the events of inotify, for VNODE and for READ on a regular file.

use core::ffi::CStr;
use core::fmt::{self, Write};

use rustix::fs::{FileType, SeekFrom, Stat};

use super::state::QueueState;
use super::table::{At, Slot};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::fd::{BorrowedFd, RawFd};
use crate::inotify::{Events, Watch};
use crate::kqueue::{Filter, Notes};
use crate::raw;

/// The distance from a regular file's offset to its end: `None` for other files. Negative beyond the end.
pub(super) fn unread(fd: BorrowedFd<'_>) -> Result<Option<i64>> {
    let stat = stat(fd)?;
    if !is_regular(&stat) {
        return Ok(None);
    }
    let offset = raw::call("lseek", || rustix::fs::seek(fd, SeekFrom::Current(0)))?;
    Ok(Some(stat.st_size as i64 - i64::try_from(offset).unwrap_or(i64::MAX)))
}

pub(super) fn stat(fd: BorrowedFd<'_>) -> Result<Stat> {
    raw::call("fstat", || rustix::fs::fstat(fd))
}

pub(super) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// The events that a knote needs of its file.
fn wanted(slot: &Slot) -> Events {
    if slot.filter == Filter::READ.number() {
        return Events::MODIFY;
    }
    let notes = Notes::from_bits_retain(slot.notes);
    // A change of its names comes as ATTRIB.
    let mut events = Events::ATTRIB;
    let changes = Events::MODIFY | Events::CREATE | Events::DELETE | Events::MOVE;
    let pairs = [
        (Notes::WRITE | Notes::EXTEND | Notes::LINK, changes),
        (Notes::DELETE, Events::DELETE_SELF),
        (Notes::RENAME, Events::MOVE_SELF),
        (Notes::OPEN, Events::OPEN),
        (Notes::CLOSE, Events::CLOSE_NOWRITE),
        (Notes::CLOSE_WRITE, Events::CLOSE_WRITE),
        (Notes::READ, Events::ACCESS),
    ];
    for (note, more) in pairs {
        if notes.intersects(note) {
            events |= more;
        }
    }
    events
}

impl QueueState {
    /// Records the file of a knote, and has inotify watch it.
    ///
    /// # Errors
    /// `EBADF`, `EOPNOTSUPP` without `/proc`, `ENOSPC` and `ENOMEM` without watches.
    pub(super) fn watch_file(&mut self, at: At) -> Result<()> {
        let slot = *self.table.at(at);
        // SAFETY: the calls below only take a number; one that is not open gives EBADF.
        let fd = unsafe { BorrowedFd::borrow_raw(number(slot.ident)?) };
        let stat = stat(fd)?;
        let path = Path::of_descriptor(slot.ident);
        let path = path.as_c_str().ok_or(Errno::INVAL)?;
        // In addition to what other knotes of the same file want.
        let watch = match self.news()?.add(path, wanted(&slot) | Events::MASK_ADD) {
            // The descriptor is open, so `/proc` is missing.
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(Errno::OPNOTSUPP),
            watch => watch?,
        };
        let slot = self.table.at_mut(at);
        (slot.period, slot.instant) = identity(&stat);
        (slot.len, slot.links) = (stat.st_size as i64, stat.st_nlink as u32);
        self.table.watch(at, watch.0);
        Ok(())
    }

    /// Removes the inotify watch of a knote's file, unless another knote needs it.
    pub(super) fn forget_watch(&mut self, at: At) {
        let number = self.table.at(at).number;
        self.table.unwatch(at);
        if self.table.watched(number, None).is_none() {
            if let Some(news) = &self.news {
                // The watch may have been removed with its file.
                let _ = news.remove(Watch(number));
            }
        }
    }

    /// Reads the pending events of inotify, and records them in the knotes.
    pub(super) fn read_news(&mut self) -> Result<()> {
        /// The maximum number of buffers at once, so that a storm of changes does not delay other knotes.
        const ROUNDS: usize = 16;
        let mut buffer = [0; 4096];
        for _ in 0..ROUNDS {
            let Some(news) = &self.news else { return Ok(()) };
            let mut events = news.read(&mut buffer, Deadline::NOW)?.peekable();
            if events.peek().is_none() {
                return Ok(());
            }
            for event in events {
                match event.watch() {
                    Some(watch) => self.tell(watch.0, event.events(), event.name().is_some()),
                    None => self.tell_of_loss(),
                }
            }
        }
        Ok(())
    }

    /// Passes an event of a file to the knotes that watch it.
    fn tell(&mut self, number: i32, events: Events, in_directory: bool) {
        let mut next = self.table.watched(number, None);
        while let Some(at) = next {
            next = self.table.watched(number, Some(at));
            if events.contains(Events::IGNORED) {
                self.table.unwatch(at);
            }
            if self.tell_one(at, events, in_directory).is_err() {
                let _ = self.remove(at);
            }
        }
    }

    /// Has every knote of a file check its file, because events were lost.
    fn tell_of_loss(&mut self) {
        for at in self.table.places() {
            let is_file = self.table.is_used(at) && self.table.is_watched(at);
            if is_file && self.tell_one(at, Events::MODIFY | Events::ATTRIB, false).is_err() {
                let _ = self.remove(at);
            }
        }
    }

    /// # Errors
    /// `EBADF` when the knote's descriptor was closed, or is now another file's.
    fn tell_one(&mut self, at: At, events: Events, in_directory: bool) -> Result<()> {
        let slot = *self.table.at(at);
        // SAFETY: as in `watch_file`.
        let fd = unsafe { BorrowedFd::borrow_raw(number(slot.ident)?) };
        let stat = stat(fd)?;
        if identity(&stat) != (slot.period, slot.instant) {
            return Err(Errno::BADF);
        }
        if slot.filter == Filter::READ.number() {
            self.table.activate(at);
            return Ok(());
        }
        let mut found = Notes::empty();
        let links = stat.st_nlink as u32;
        if links != slot.links {
            found |= if links == 0 { Notes::DELETE } else { Notes::LINK };
        } else if events.contains(Events::ATTRIB) && !in_directory {
            found |= Notes::ATTRIB;
        }
        let is_changed = in_directory && events.intersects(Events::CREATE | Events::DELETE | Events::MOVE);
        if is_changed || events.contains(Events::MODIFY) && !in_directory {
            found |= Notes::WRITE;
        }
        if stat.st_size as i64 > slot.len {
            found |= Notes::EXTEND;
        }
        // Opens, closes and the like of files in a directory are not reported for the directory.
        if !in_directory {
            let pairs = [
                (Events::DELETE_SELF, Notes::DELETE),
                (Events::MOVE_SELF, Notes::RENAME),
                (Events::OPEN, Notes::OPEN),
                (Events::CLOSE_NOWRITE, Notes::CLOSE),
                (Events::CLOSE_WRITE, Notes::CLOSE_WRITE),
                (Events::ACCESS, Notes::READ),
            ];
            for (event, note) in pairs {
                if events.contains(event) {
                    found |= note;
                }
            }
        }
        let slot = self.table.at_mut(at);
        (slot.len, slot.links) = (stat.st_size as i64, links);
        let found = found & Notes::from_bits_retain(slot.notes);
        slot.found |= found.bits();
        if slot.found != 0 {
            self.table.activate(at);
        }
        Ok(())
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// `/proc/self/fd/N`.
struct Path {
    text: [u8; 40],
    len: usize,
}

impl Path {
    fn of_descriptor(number: usize) -> Self {
        let mut path = Self { text: [0; 40], len: 0 };
        // 14 bytes, at most 20 digits and the final zero.
        let _ = write!(path, "/proc/self/fd/{number}");
        path
    }

    fn as_c_str(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.text).ok()
    }
}

impl Write for Path {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let place = self.text.get_mut(self.len..self.len + part.len()).ok_or(fmt::Error)?;
        place.copy_from_slice(part.as_bytes());
        self.len += part.len();
        Ok(())
    }
}

/// The number of a descriptor, if the ident can be one.
pub(super) fn number(ident: usize) -> Result<RawFd> {
    RawFd::try_from(ident).map_err(|_| Errno::BADF)
}
