//! Notifications from the file system: events of watched files and directories.
//!
//! A watch is a number within one [`Inotify`]; events carry it. Events are read into the caller's buffer and parsed
//! there, so nothing is allocated. If the kernel's queue overflows, events are lost. Then an event with
//! [`Events::Q_OVERFLOW`] and no watch reports this: examine everything again.
//!
//! ```
//! use core::time::Duration;
//! use ossature_sys::inotify::{Events, Inotify, ROOM};
//!
//! let news = Inotify::new()?;
//! let watch = news.add(c"/dev/null", Events::OPEN)?;
//! let _opened = std::fs::File::open("/dev/null").unwrap();
//! let mut buffer = [0; ROOM];
//! let event = news.read(&mut buffer, Duration::from_secs(5))?.next().expect("it was opened");
//! assert_eq!(event.watch(), Some(watch));
//! assert!(event.events().contains(Events::OPEN));
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```
//!
//! Source: inotify(7).

use core::ffi::CStr;
use core::fmt;

use bitflags::bitflags;
use rustix::fs::inotify::{self as kernel, CreateFlags, WatchFlags};

use crate::deadline::Deadline;
use crate::errno::Result;
use crate::fd::{AboveStandard, AsFd, BorrowedFd, OwnedFd, PollFlags, above_standard, by_deadline};
use crate::raw;

bitflags! {
    /// The events to watch for, the events that happened, and the options of a watch.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Events: u32 {
        /// The file was read.
        #[doc(alias = "IN_ACCESS")]
        const ACCESS = 0x1;
        /// The file was written or truncated.
        #[doc(alias = "IN_MODIFY")]
        const MODIFY = 0x2;
        /// The file's mode, owner, times, links or extended attributes changed.
        #[doc(alias = "IN_ATTRIB")]
        const ATTRIB = 0x4;
        /// A process that had the file open for writing closed it.
        #[doc(alias = "IN_CLOSE_WRITE")]
        const CLOSE_WRITE = 0x8;
        /// A process that had the file open, but not for writing, closed it.
        #[doc(alias = "IN_CLOSE_NOWRITE")]
        const CLOSE_NOWRITE = 0x10;
        /// The file was opened.
        #[doc(alias = "IN_OPEN")]
        const OPEN = 0x20;
        /// A file or directory was moved out of the watched directory.
        #[doc(alias = "IN_MOVED_FROM")]
        const MOVED_FROM = 0x40;
        /// A file or directory was moved into the watched directory.
        #[doc(alias = "IN_MOVED_TO")]
        const MOVED_TO = 0x80;
        /// A file or directory was created in the watched directory.
        #[doc(alias = "IN_CREATE")]
        const CREATE = 0x100;
        /// A file or directory was removed from the watched directory.
        #[doc(alias = "IN_DELETE")]
        const DELETE = 0x200;
        /// The watched file or directory itself was removed.
        #[doc(alias = "IN_DELETE_SELF")]
        const DELETE_SELF = 0x400;
        /// The watched file or directory itself was moved.
        #[doc(alias = "IN_MOVE_SELF")]
        const MOVE_SELF = 0x800;
        /// Either end of a move.
        #[doc(alias = "IN_MOVE")]
        const MOVE = 0xc0;
        /// Either kind of close.
        #[doc(alias = "IN_CLOSE")]
        const CLOSE = 0x18;
        /// All events that can be watched for.
        #[doc(alias = "IN_ALL_EVENTS")]
        const ALL = 0xfff;

        /// Reported: the file system was unmounted.
        #[doc(alias = "IN_UNMOUNT")]
        const UNMOUNT = 0x2000;
        /// Reported, without a watch: the queue overflowed and events are lost.
        #[doc(alias = "IN_Q_OVERFLOW")]
        const Q_OVERFLOW = 0x4000;
        /// Reported: the watch was removed, by the program or together with its file.
        #[doc(alias = "IN_IGNORED")]
        const IGNORED = 0x8000;
        /// Reported: the event concerns a directory.
        #[doc(alias = "IN_ISDIR")]
        const ISDIR = 0x4000_0000;

        /// Option: watch the path only if it is a directory.
        #[doc(alias = "IN_ONLYDIR")]
        const ONLYDIR = 0x0100_0000;
        /// Option: watch a symbolic link itself, not its target.
        #[doc(alias = "IN_DONT_FOLLOW")]
        const DONT_FOLLOW = 0x0200_0000;
        /// Option: report no events of files that were unlinked from the directory.
        #[doc(alias = "IN_EXCL_UNLINK")]
        const EXCL_UNLINK = 0x0400_0000;
        /// Option: fail if the path is watched already.
        #[doc(alias = "IN_MASK_CREATE")]
        const MASK_CREATE = 0x1000_0000;
        /// Option: add the events to those of an existing watch.
        #[doc(alias = "IN_MASK_ADD")]
        const MASK_ADD = 0x2000_0000;
        /// Option: remove the watch after one event.
        #[doc(alias = "IN_ONESHOT")]
        const ONESHOT = 0x8000_0000;
        const _ = !0;
    }
}

/// A watch of one [`Inotify`].
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::inotify::{Events, Inotify, ROOM, Watch};
///
/// let news = Inotify::new()?;
/// let watch: Watch = news.add(c"/dev/null", Events::OPEN)?;
/// news.remove(watch)?;
/// let mut buffer = [0; ROOM];
/// let last = news.read(&mut buffer, Duration::from_secs(5))?.next().expect("the watch ends");
/// assert!(last.events().contains(Events::IGNORED) && last.watch() == Some(watch));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watch(pub(crate) i32);

/// The size of a buffer that holds at least one event with the longest name: the minimum for [`Inotify::read`].
pub const ROOM: usize = HEADER + 256;

/// A queue of file-system events.
#[derive(Debug)]
pub struct Inotify(OwnedFd);

impl Inotify {
    /// `inotify_init1(IN_CLOEXEC | IN_NONBLOCK)`: a queue without watches.
    ///
    /// # Errors
    /// `EMFILE` when the process has no descriptor left or the user too many queues, `ENFILE`, `ENOMEM`.
    #[doc(alias = "inotify_init1")]
    pub fn new() -> Result<Self> {
        raw::call("inotify_init1", || kernel::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)).map(Self)
    }

    /// `inotify_add_watch(fd, path, events)`: watches a path; a path that is watched already keeps its number and gets
    /// these events instead.
    ///
    /// # Errors
    /// `ENOENT`, `EACCES` and `ENOTDIR` for the path, `EEXIST` with [`Events::MASK_CREATE`] when it is watched already.
    /// `EINVAL` when `events` names nothing to watch for, `ENOSPC` when the user has too many watches, `ENOMEM`.
    #[doc(alias = "inotify_add_watch")]
    pub fn add(&self, path: &CStr, events: Events) -> Result<Watch> {
        let flags = WatchFlags::from_bits_retain(events.bits());
        raw::call("inotify_add_watch", || kernel::add_watch(&self.0, path, flags)).map(Watch)
    }

    /// `inotify_rm_watch(fd, watch)`: removes a watch; its last event has [`Events::IGNORED`].
    ///
    /// # Errors
    /// `EINVAL` when the watch was removed already.
    ///
    /// # Examples
    /// See the example of [`Watch`].
    #[doc(alias = "inotify_rm_watch")]
    pub fn remove(&self, watch: Watch) -> Result<()> {
        raw::call("inotify_rm_watch", || kernel::remove_watch(&self.0, watch.0))
    }

    /// `read(fd, buffer, ...)`: takes all events that fit, waiting for the first; none when no event came by the
    /// deadline.
    ///
    /// # Errors
    /// `EINVAL` when the buffer is too small for the next event: [`ROOM`] bytes never are.
    pub fn read<'b>(&self, buffer: &'b mut [u8], timeout: impl Into<Deadline>) -> Result<Iter<'b>> {
        let len = by_deadline(self.as_fd(), PollFlags::IN, timeout.into(), || {
            raw::call("read", || rustix::io::read(&self.0, &mut *buffer))
        })?;
        Ok(Iter::new(buffer.get(..len.unwrap_or(0)).unwrap_or_default()))
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

crate::fd::as_raw_fd!(Inotify);

impl AboveStandard for Inotify {
    fn above_standard(self) -> Result<Self> {
        above_standard(self.0).map(Self)
    }
}

impl From<Inotify> for OwnedFd {
    fn from(news: Inotify) -> Self {
        news.0
    }
}

/// One event, in the buffer that it was read into.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::inotify::{Event, Events, Inotify, ROOM};
/// use std::{ffi::CString, fs, os::unix::ffi::OsStrExt};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = std::env::temp_dir().join(format!("news-{}", std::process::id()));
/// fs::create_dir(&folder)?;
/// let news = Inotify::new()?;
/// news.add(&CString::new(folder.as_os_str().as_bytes())?, Events::MOVED_FROM | Events::MOVED_TO)?;
/// fs::write(folder.join("old"), b"")?;
/// fs::rename(folder.join("old"), folder.join("new"))?;
///
/// let mut buffer = [0; 2 * ROOM];
/// let events: Vec<Event<'_>> = news.read(&mut buffer, Duration::from_secs(5))?.collect();
/// assert_eq!(events.iter().map(Event::name).collect::<Vec<_>>(), [Some(&b"old"[..]), Some(b"new")]);
/// assert_eq!(events[0].cookie(), events[1].cookie(), "two ends of one move");
/// fs::remove_dir_all(folder)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[doc(alias = "inotify_event")]
pub struct Event<'b> {
    watch: i32,
    events: u32,
    cookie: u32,
    name: &'b [u8],
}

impl<'b> Event<'b> {
    /// The watch of the event; `None` for an overflow.
    #[doc(alias = "wd")]
    pub fn watch(&self) -> Option<Watch> {
        (self.watch >= 0).then_some(Watch(self.watch))
    }

    /// The events that happened, as bits.
    #[doc(alias = "mask")]
    pub fn events(&self) -> Events {
        Events::from_bits_retain(self.events)
    }

    /// The number that connects the two events of one move; 0 for all other events.
    pub fn cookie(&self) -> u32 {
        self.cookie
    }

    /// The file's name within a watched directory, without null bytes; `None` when the event concerns the watched file
    /// or directory itself.
    pub fn name(&self) -> Option<&'b [u8]> {
        (!self.name.is_empty()).then_some(self.name)
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Event");
        shown.field("watch", &self.watch).field("events", &self.events()).field("cookie", &self.cookie);
        shown.field("name", &format_args!("{}", self.name.escape_ascii())).finish()
    }
}

/// The events in a buffer.
///
/// A buffer that ends within an event, or whose event claims a longer name than there is, ends the iteration there.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::inotify::{Inotify, Iter, ROOM};
///
/// let mut buffer = [0; ROOM];
/// let mut news: Iter<'_> = Inotify::new()?.read(&mut buffer, Duration::ZERO)?;
/// assert_eq!(news.next(), None, "nothing is watched");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Debug)]
pub struct Iter<'b> {
    rest: &'b [u8],
}

/// The size of an event before its name: watch, mask, cookie and the length of the name.
const HEADER: usize = 16;

impl<'b> Iter<'b> {
    /// Parses bytes that were read from an inotify descriptor by other means.
    ///
    /// ```
    /// use ossature_sys::inotify::Iter;
    ///
    /// assert_eq!(Iter::new(b"too short").count(), 0);
    /// ```
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    fn parse(&self) -> Option<(Event<'b>, &'b [u8])> {
        let (watch, rest) = self.rest.split_first_chunk::<4>()?;
        let (events, rest) = rest.split_first_chunk::<4>()?;
        let (cookie, rest) = rest.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_ne_bytes(*len)).ok()?;
        let (padded, rest) = rest.split_at_checked(len)?;
        let event = Event {
            watch: i32::from_ne_bytes(*watch),
            events: u32::from_ne_bytes(*events),
            cookie: u32::from_ne_bytes(*cookie),
            name: padded.split(|&byte| byte == 0).next().unwrap_or_default(),
        };
        Some((event, rest))
    }
}

impl<'b> Iterator for Iter<'b> {
    type Item = Event<'b>;

    fn next(&mut self) -> Option<Event<'b>> {
        let parsed = self.parse();
        // Bytes that cannot be parsed now cannot be parsed later either.
        self.rest = parsed.map_or(&[], |(_, rest)| rest);
        parsed.map(|(event, _)| event)
    }
}

impl core::iter::FusedIterator for Iter<'_> {}
