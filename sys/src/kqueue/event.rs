//! The record of a change or an event, and the names of the values in it.

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::time::Duration;

use rustix::process::{Pid, Signal};

use super::numbers as n;
use crate::errno::Errno;
use crate::fd::{AsFd, AsRawFd};

/// The kind of event that a knote watches: a C number with a name.
///
/// The numbers are those of the system; on Linux they are FreeBSD's.
///
/// # Examples
/// ```
/// use ossature_sys::kqueue::Filter;
///
/// assert_eq!((Filter::READ.number(), Filter::TIMER.number()), (-1, -7));
/// assert_eq!(Filter::from_number(-2), Filter::WRITE);
/// assert_eq!(format!("{:?} {:?}", Filter::USER, Filter::from_number(-99)), "USER Filter(-99)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter(n::FilterNumber);

impl Filter {
    /// A descriptor that can be read. `data` is the number of bytes, or of waiting connections.
    #[doc(alias("EVFILT_READ", "KQ_FILTER_READ"))]
    pub const READ: Self = Self(n::EVFILT_READ);
    /// A descriptor that can be written. `data` is the room in bytes.
    #[doc(alias("EVFILT_WRITE", "KQ_FILTER_WRITE"))]
    pub const WRITE: Self = Self(n::EVFILT_WRITE);
    /// Asynchronous input and output. Refused on Linux.
    #[doc(alias("EVFILT_AIO", "KQ_FILTER_AIO"))]
    pub const AIO: Self = Self(n::EVFILT_AIO);
    /// A change of the file behind a descriptor, selected by the notes.
    #[doc(alias("EVFILT_VNODE", "KQ_FILTER_VNODE"))]
    pub const VNODE: Self = Self(n::EVFILT_VNODE);
    /// The end of a process. The ident is the process id.
    #[doc(alias("EVFILT_PROC", "KQ_FILTER_PROC"))]
    pub const PROC: Self = Self(n::EVFILT_PROC);
    /// Signals of this process, counted in `data`. The ident is the number of the signal.
    #[doc(alias("EVFILT_SIGNAL", "KQ_FILTER_SIGNAL"))]
    pub const SIGNAL: Self = Self(n::EVFILT_SIGNAL);
    /// A timer. `data` is its period, and then the number of expirations.
    #[doc(alias("EVFILT_TIMER", "KQ_FILTER_TIMER"))]
    pub const TIMER: Self = Self(n::EVFILT_TIMER);
    /// The state of a network link, of older FreeBSDs. Refused on Linux.
    #[cfg(target_os = "linux")]
    #[doc(alias("EVFILT_NETDEV", "KQ_FILTER_NETDEV"))]
    pub const NETDEV: Self = Self(n::EVFILT_NETDEV);
    /// Changes of the list of mounted file systems. Refused on Linux.
    #[cfg(target_os = "linux")]
    #[doc(alias = "EVFILT_FS")]
    pub const FS: Self = Self(n::EVFILT_FS);
    /// An event that the program triggers itself.
    #[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
    #[doc(alias = "EVFILT_USER")]
    pub const USER: Self = Self(n::EVFILT_USER);
    /// A descriptor whose write buffer is empty. Refused on Linux.
    #[cfg(target_os = "linux")]
    #[doc(alias = "EVFILT_EMPTY")]
    pub const EMPTY: Self = Self(n::EVFILT_EMPTY);

    /// The filter with this number.
    pub const fn from_number(number: n::FilterNumber) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> n::FilterNumber {
        self.0
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::READ => "READ",
            Self::WRITE => "WRITE",
            Self::AIO => "AIO",
            Self::VNODE => "VNODE",
            Self::PROC => "PROC",
            Self::SIGNAL => "SIGNAL",
            Self::TIMER => "TIMER",
            #[cfg(target_os = "linux")]
            Self::NETDEV => "NETDEV",
            #[cfg(target_os = "linux")]
            Self::FS => "FS",
            #[cfg(target_os = "linux")]
            Self::EMPTY => "EMPTY",
            #[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
            Self::USER => "USER",
            Self(other) => return write!(f, "Filter({other})"),
        })
    }
}

bitflags::bitflags! {
    /// The action of a change, or the state of an event. Unknown bits are kept.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::kqueue::Flags;
    ///
    /// assert_eq!((Flags::ADD | Flags::CLEAR).bits(), 0x21);
    /// assert!(Flags::SYSFLAGS.contains(Flags::EOF | Flags::ERROR | Flags::FLAG1));
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Flags: n::FlagBits {
        /// Add the knote, or change it. Enables it, unless [`DISABLE`](Self::DISABLE) is set too.
        #[doc(alias("EV_ADD", "KQ_EV_ADD"))]
        const ADD = 0x1;
        /// Remove the knote.
        #[doc(alias("EV_DELETE", "KQ_EV_DELETE"))]
        const DELETE = 0x2;
        /// Enable the knote's events again.
        #[doc(alias("EV_ENABLE", "KQ_EV_ENABLE"))]
        const ENABLE = 0x4;
        /// Keep the knote, and do not report its events.
        #[doc(alias("EV_DISABLE", "KQ_EV_DISABLE"))]
        const DISABLE = 0x8;
        /// Remove the knote after its first event.
        #[doc(alias("EV_ONESHOT", "KQ_EV_ONESHOT"))]
        const ONESHOT = 0x10;
        /// Clear the state after each report: the next event reports only what happened since.
        #[doc(alias("EV_CLEAR", "KQ_EV_CLEAR"))]
        const CLEAR = 0x20;
        /// Report the result of this change by an event with [`ERROR`](Self::ERROR), and 0 in `data` if it succeeded.
        #[doc(alias = "EV_RECEIPT")]
        const RECEIPT = 0x40;
        /// Disable the knote after each event.
        #[doc(alias = "EV_DISPATCH")]
        const DISPATCH = 0x80;
        /// Bits that are reserved for the system.
        #[doc(alias("EV_SYSFLAGS", "KQ_EV_SYSFLAGS"))]
        const SYSFLAGS = 0xf000;
        /// A bit that some filters use inside the system.
        #[doc(alias("EV_FLAG1", "KQ_EV_FLAG1"))]
        const FLAG1 = 0x2000;
        /// Only on macOS: the identity of a knote includes its `udata`.
        #[doc(alias = "EV_UDATA_SPECIFIC")]
        const UDATA_SPECIFIC = 0x100;
        /// Only on macOS: [`DISPATCH`](Self::DISPATCH) with [`UDATA_SPECIFIC`](Self::UDATA_SPECIFIC).
        #[doc(alias = "EV_DISPATCH2")]
        const DISPATCH2 = 0x180;
        /// Reported: nothing more will come. Data that came before may still be pending.
        #[doc(alias("EV_EOF", "KQ_EV_EOF"))]
        const EOF = 0x8000;
        /// Reported: a change failed, or had [`RECEIPT`](Self::RECEIPT). `data` is the error's number, or 0.
        #[doc(alias("EV_ERROR", "KQ_EV_ERROR"))]
        const ERROR = 0x4000;

        const _ = !0;
    }
}

bitflags::bitflags! {
    /// The filter's own bits: the events to report, or those that happened. Unknown bits are kept.
    ///
    /// Each filter has names of its own, and the same bit has another name with another filter.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::kqueue::Notes;
    ///
    /// assert_eq!((Notes::WRITE | Notes::EXTEND).bits(), 6);
    /// assert_eq!(Notes::LOWAT.bits(), Notes::DELETE.bits(), "of two filters");
    /// ```
    #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Notes: u32 {
        /// READ, WRITE: the `data` of the change is the minimum number of bytes for a report.
        #[doc(alias("NOTE_LOWAT", "KQ_NOTE_LOWAT"))]
        const LOWAT = n::NOTE_LOWAT;

        /// VNODE: the file has no name any more.
        #[doc(alias("NOTE_DELETE", "KQ_NOTE_DELETE"))]
        const DELETE = n::NOTE_DELETE;
        /// VNODE: the file was written.
        #[doc(alias("NOTE_WRITE", "KQ_NOTE_WRITE"))]
        const WRITE = n::NOTE_WRITE;
        /// VNODE: the file became longer.
        #[doc(alias("NOTE_EXTEND", "KQ_NOTE_EXTEND"))]
        const EXTEND = n::NOTE_EXTEND;
        /// VNODE: the attributes of the file changed.
        #[doc(alias("NOTE_ATTRIB", "KQ_NOTE_ATTRIB"))]
        const ATTRIB = n::NOTE_ATTRIB;
        /// VNODE: the number of names of the file changed.
        #[doc(alias("NOTE_LINK", "KQ_NOTE_LINK"))]
        const LINK = n::NOTE_LINK;
        /// VNODE: the file was renamed.
        #[doc(alias("NOTE_RENAME", "KQ_NOTE_RENAME"))]
        const RENAME = n::NOTE_RENAME;
        /// VNODE: access to the file was revoked. Refused on Linux.
        #[doc(alias("NOTE_REVOKE", "KQ_NOTE_REVOKE"))]
        const REVOKE = n::NOTE_REVOKE;
        /// VNODE: the file was opened.
        #[cfg(any(target_os = "linux", target_os = "freebsd"))]
        #[doc(alias = "NOTE_OPEN")]
        const OPEN = n::NOTE_OPEN;
        /// VNODE: the file was closed by a program that could not write to it.
        #[cfg(any(target_os = "linux", target_os = "freebsd"))]
        #[doc(alias = "NOTE_CLOSE")]
        const CLOSE = n::NOTE_CLOSE;
        /// VNODE: the file was closed by a program that could write to it.
        #[cfg(any(target_os = "linux", target_os = "freebsd"))]
        #[doc(alias = "NOTE_CLOSE_WRITE")]
        const CLOSE_WRITE = n::NOTE_CLOSE_WRITE;
        /// VNODE: the file was read.
        #[cfg(any(target_os = "linux", target_os = "freebsd"))]
        #[doc(alias = "NOTE_READ")]
        const READ = n::NOTE_READ;

        /// PROC: the process ended.
        #[doc(alias("NOTE_EXIT", "KQ_NOTE_EXIT"))]
        const EXIT = n::NOTE_EXIT;
        /// PROC: the process forked. On Linux after `Kqueue::follow_processes`.
        #[doc(alias("NOTE_FORK", "KQ_NOTE_FORK"))]
        const FORK = n::NOTE_FORK;
        /// PROC: the process executed a program. On Linux after `Kqueue::follow_processes`.
        #[doc(alias("NOTE_EXEC", "KQ_NOTE_EXEC"))]
        const EXEC = n::NOTE_EXEC;
        /// PROC: follow the forks of the process. On Linux after `Kqueue::follow_processes`.
        #[doc(alias("NOTE_TRACK", "KQ_NOTE_TRACK"))]
        const TRACK = n::NOTE_TRACK;
        /// PROC, in an event: a fork could not be followed; on Linux also: events were lost.
        #[doc(alias("NOTE_TRACKERR", "KQ_NOTE_TRACKERR"))]
        const TRACKERR = n::NOTE_TRACKERR;
        /// PROC, in an event: the child of a process whose forks are followed. The data is the parent's process id.
        #[doc(alias("NOTE_CHILD", "KQ_NOTE_CHILD"))]
        const CHILD = n::NOTE_CHILD;
        /// PROC: the bits that select what to watch.
        #[doc(alias("NOTE_PCTRLMASK", "KQ_NOTE_PCTRLMASK"))]
        const PCTRLMASK = 0xf000_0000;
        /// PROC: the bits that carry a number.
        #[doc(alias("NOTE_PDATAMASK", "KQ_NOTE_PDATAMASK"))]
        const PDATAMASK = 0x000f_ffff;

        /// NETDEV: the link is up. Refused on Linux.
        #[doc(alias("NOTE_LINKUP", "KQ_NOTE_LINKUP"))]
        const LINKUP = 1;
        /// NETDEV: the link is down. Refused on Linux.
        #[doc(alias("NOTE_LINKDOWN", "KQ_NOTE_LINKDOWN"))]
        const LINKDOWN = 2;
        /// NETDEV: the state of the link is not known. Refused on Linux.
        #[doc(alias("NOTE_LINKINV", "KQ_NOTE_LINKINV"))]
        const LINKINV = 4;

        /// USER: trigger the event.
        #[doc(alias = "NOTE_TRIGGER")]
        const TRIGGER = 0x0100_0000;
        /// USER: the stored bits become the AND of both.
        #[doc(alias = "NOTE_FFAND")]
        const FFAND = 0x4000_0000;
        /// USER: the stored bits become the OR of both.
        #[doc(alias = "NOTE_FFOR")]
        const FFOR = 0x8000_0000;
        /// USER: the stored bits become these bits.
        #[doc(alias = "NOTE_FFCOPY")]
        const FFCOPY = 0xc000_0000;
        /// USER: the bits that select the operation on the stored bits.
        #[doc(alias = "NOTE_FFCTRLMASK")]
        const FFCTRLMASK = 0xc000_0000;
        /// USER: the bits that are stored.
        #[doc(alias = "NOTE_FFLAGSMASK")]
        const FFLAGSMASK = 0x00ff_ffff;

        /// TIMER: `data` is in seconds.
        #[cfg(not(any(target_os = "openbsd", target_os = "dragonfly")))]
        #[doc(alias = "NOTE_SECONDS")]
        const SECONDS = n::NOTE_SECONDS;
        /// TIMER: `data` is in milliseconds, which is the default.
        #[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd"))]
        #[doc(alias = "NOTE_MSECONDS")]
        const MSECONDS = n::NOTE_MSECONDS;
        /// TIMER: `data` is in microseconds.
        #[cfg(not(any(target_os = "openbsd", target_os = "dragonfly")))]
        #[doc(alias = "NOTE_USECONDS")]
        const USECONDS = n::NOTE_USECONDS;
        /// TIMER: `data` is in nanoseconds.
        #[cfg(not(any(target_os = "openbsd", target_os = "dragonfly")))]
        #[doc(alias = "NOTE_NSECONDS")]
        const NSECONDS = n::NOTE_NSECONDS;
        /// TIMER: `data` is an instant on the wall clock. Setting the clock moves the event.
        #[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd"))]
        #[doc(alias("NOTE_ABSTIME", "NOTE_ABSOLUTE"))]
        const ABSTIME = n::NOTE_ABSTIME;

        const _ = !0;
    }
}

impl fmt::Debug for Notes {
    /// Formats the number, because the names depend on the filter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notes({:#x})", self.bits())
    }
}

/// `struct kevent`: a change to make, or an event that happened, in exactly the system's layout.
///
/// Kevents compare and order as values: ident, filter, flags, notes, data, udata.
///
/// Differs from Python: `data` has 64 bits where the system's has; `Kevent` is hashable, because it does not change
/// behind a shared reference.
///
/// # Examples
/// ```
/// use ossature_sys::kqueue::{Filter, Flags, Kevent, Notes};
///
/// let change = Kevent::new(5, Filter::READ).with_flags(Flags::ADD | Flags::CLEAR).with_udata(7);
/// assert_eq!((change.ident(), change.filter(), change.udata()), (5, Filter::READ, 7));
/// assert_eq!(Kevent::new(5, Filter::READ).flags(), Flags::ADD, "as Python's kevent()");
/// assert!(Kevent::new(4, Filter::WRITE) < change);
/// let low = change.with_notes(Notes::LOWAT).with_data(100);
/// assert_eq!((low.notes(), low.data(), low.error()), (Notes::LOWAT, 100, None));
/// ```
#[doc(alias = "struct kevent")]
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Kevent(n::Raw);

impl Kevent {
    /// A record for this ident and filter: flags [`Flags::ADD`], everything else 0.
    ///
    /// The ident of a filter for descriptors is a bare number, as on every system with kqueue. The queue never reads,
    /// writes or closes that descriptor. [`read`](Self::read) and the others take the object instead.
    pub fn new(ident: usize, filter: Filter) -> Self {
        Self(n::raw(ident, filter.0, Flags::ADD.bits(), 0, 0, 0))
    }

    /// Adds a knote for reading from this object.
    ///
    /// # Examples
    /// See the example of [`Kqueue`](super::Kqueue).
    pub fn read(fd: impl AsFd) -> Self {
        Self::new(fd.as_fd().as_raw_fd() as usize, Filter::READ) // an open descriptor's number is not negative
    }

    /// Adds a knote for writing to this object.
    ///
    /// # Examples
    /// See the example of [`Kqueue`](super::Kqueue).
    pub fn write(fd: impl AsFd) -> Self {
        Self::new(fd.as_fd().as_raw_fd() as usize, Filter::WRITE)
    }

    /// Adds a knote for these changes of the file behind this object.
    ///
    /// # Examples
    /// See the example of [`Kqueue`](super::Kqueue).
    pub fn vnode(fd: impl AsFd, notes: Notes) -> Self {
        Self::new(fd.as_fd().as_raw_fd() as usize, Filter::VNODE)
            .with_flags(Flags::ADD | Flags::CLEAR)
            .with_notes(notes)
    }

    /// Adds a timer of this period, which begins now. With [`Flags::ONESHOT`] it expires once.
    ///
    /// In nanoseconds where the system has them, otherwise in milliseconds, rounded up.
    ///
    /// # Examples
    /// See the example of [`Kqueue`](super::Kqueue).
    pub fn timer(ident: usize, period: Duration) -> Self {
        let timer = Self::new(ident, Filter::TIMER);
        #[cfg(not(any(target_os = "openbsd", target_os = "dragonfly")))]
        return timer.with_notes(Notes::NSECONDS).with_data(i64::try_from(period.as_nanos()).unwrap_or(i64::MAX));
        #[cfg(any(target_os = "openbsd", target_os = "dragonfly"))]
        timer.with_data(i64::try_from(period.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX))
    }

    /// Adds a knote that counts a signal of this process.
    ///
    /// # Examples
    /// See the example of [`Kqueue`](super::Kqueue).
    pub fn signal(signal: Signal) -> Self {
        Self::new(signal.as_raw() as usize, Filter::SIGNAL) // signals are numbered from 1
    }

    /// Adds a knote for the end of a process.
    ///
    /// # Examples
    /// See the example of [`Kqueue`](super::Kqueue).
    pub fn exit(pid: Pid) -> Self {
        Self::new(pid.as_raw_nonzero().get() as usize, Filter::PROC).with_notes(Notes::EXIT) // positive
    }

    /// Adds an event that the program triggers itself, by [`trigger`](Self::trigger).
    ///
    /// # Examples
    /// See the example of [`Kqueue`](super::Kqueue).
    #[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
    pub fn user(ident: usize) -> Self {
        Self::new(ident, Filter::USER).with_flags(Flags::ADD | Flags::CLEAR)
    }

    /// Triggers the event that was added by [`user`](Self::user).
    ///
    /// # Examples
    /// See the example of [`Kqueue`](super::Kqueue).
    #[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
    pub fn trigger(ident: usize) -> Self {
        Self::new(ident, Filter::USER).with_flags(Flags::empty()).with_notes(Notes::TRIGGER)
    }

    /// The same record with these flags.
    pub fn with_flags(mut self, flags: Flags) -> Self {
        self.0.flags = flags.bits() as _;
        self
    }

    /// The same record with these notes.
    pub fn with_notes(mut self, notes: Notes) -> Self {
        self.0.fflags = notes.bits() as _;
        self
    }

    /// The same record with this `data`, cut to the system's width.
    pub fn with_data(mut self, data: i64) -> Self {
        self.0.data = data as _;
        self
    }

    /// The same record with this number of the program, which each event returns.
    pub fn with_udata(mut self, udata: usize) -> Self {
        self.0.udata = udata as _;
        self
    }

    /// The subject of the record: a descriptor, a process, a signal, or a number of the program.
    #[inline]
    pub fn ident(&self) -> usize {
        self.0.ident as usize
    }

    /// The kind of event that is watched.
    #[inline]
    pub fn filter(&self) -> Filter {
        Filter(self.0.filter as _)
    }

    /// The action of the change, or the state of the event.
    #[inline]
    pub fn flags(&self) -> Flags {
        Flags::from_bits_retain(self.0.flags as _)
    }

    /// The filter's own bits.
    #[inline]
    #[doc(alias = "fflags")]
    pub fn notes(&self) -> Notes {
        Notes::from_bits_retain(self.0.fflags as _)
    }

    /// The filter's own number.
    #[inline]
    pub fn data(&self) -> i64 {
        self.0.data as i64
    }

    /// The program's own number, the `udata`.
    #[inline]
    pub fn udata(&self) -> usize {
        self.0.udata as usize
    }

    /// The error that an event with [`Flags::ERROR`] carries; `None` for other events, and for the receipt of a
    /// success.
    pub fn error(&self) -> Option<Errno> {
        let number = i32::try_from(self.data()).ok().filter(|&number| number != 0)?;
        self.flags().contains(Flags::ERROR).then(|| Errno::from_raw_os_error(number))
    }

    /// The event that reports the result of a change: its error, or 0.
    #[cfg(target_os = "linux")]
    pub(super) fn answer(self, errno: i32) -> Self {
        self.with_flags(Flags::ERROR).with_data(i64::from(errno))
    }

    fn key(&self) -> (usize, Filter, Flags, u32, i64, usize) {
        (self.ident(), self.filter(), self.flags(), self.notes().bits(), self.data(), self.udata())
    }
}

impl PartialEq for Kevent {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Kevent {}

impl PartialOrd for Kevent {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kevent {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for Kevent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Debug for Kevent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Kevent");
        shown.field("ident", &self.ident()).field("filter", &self.filter()).field("flags", &self.flags());
        shown.field("notes", &self.notes()).field("data", &self.data()).field("udata", &self.udata()).finish()
    }
}
