//! Waiting for descriptors: Python's `select` and `selectors` modules.
//!
//! | Python | here |
//! | --- | --- |
//! | `select.select(r, w, x, timeout)` | [`select`] over slices of your own objects |
//! | `select.poll()` | [`Poll`]: owns or borrows its objects, returns them in registration order |
//! | `select.epoll()` | [`Epoll`], with [`EpollExt`] for lists that it allocates |
//! | `select.kqueue()`, `select.kevent()` | [`Kqueue`], [`Kevent`]; the names of the numbers are in [`sys::kqueue`](crate::sys::kqueue) |
//! | `selectors` | [`selectors`]: one trait over several system calls |
//!
//! A *waitable object* implements `AsFd`: files, sockets, pipes, children's pidfds, an `Epoll`. For a bare number, use
//! a `BorrowedFd`. Timeouts are a `Duration`, an `Option<Duration>` (`None` waits for as long as it takes)
//! or a [`Deadline`]. A signal never ends a wait early.
//!
//! ```
//! use ossature::select::select;
//! use std::{io::Write, os::unix::net::UnixStream, time::Duration};
//!
//! let pairs = [UnixStream::pair().unwrap(), UnixStream::pair().unwrap()];
//! (&pairs[1].1).write_all(b"x").unwrap();
//! let readers = [&pairs[0].0, &pairs[1].0];
//! let ready = select(&readers, &[], &[], Duration::from_secs(1)).unwrap();
//! assert!(ready.read.len() == 1 && std::ptr::eq(*ready.read[0], readers[1]));
//! ```
//!
//! Every backend exists on Linux, so a program need not test for names, as in Python. [`Epoll::new`] returns an error
//! if the kernel cannot make the object now.

mod kqueue;
mod poll;
pub mod selectors;

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

#[doc(inline)]
pub use kqueue::Kqueue;
#[doc(inline)]
pub use ossature_sys::deadline::Deadline;
#[doc(inline)]
pub use ossature_sys::epoll::{Epoll, Event, Interest};
#[doc(inline)]
pub use ossature_sys::kqueue::{Filter, Flags, Kevent, Notes};
#[doc(inline)]
pub use ossature_sys::pipe::PIPE_BUF;
#[doc(inline)]
pub use ossature_sys::poll::PollFlags;
#[doc(inline)]
pub use poll::Poll;

use ossature_sys::errno::Errno;
use ossature_sys::poll::PollFd;
use ossature_sys::select::{EXCEPT, FdSet, READ, WRITE, select_slice};

use crate::error::{Error, Result};

/// The default maximum number of events of Python's `epoll.poll`: `FD_SETSIZE - 1`.
pub const MAX_EVENTS: usize = 1023;

/// The ready objects of a [`select`]: references to the caller's objects, in their given order, with duplicates.
///
/// # Examples
/// ```
/// use std::{os::unix::net::UnixStream, time::Duration};
/// use ossature::select::{Ready, select};
///
/// let (one, _other) = UnixStream::pair()?;
/// let idle: Ready<'_, UnixStream> = select(std::slice::from_ref(&one), &[], &[], Duration::ZERO)?;
/// assert!(idle.is_empty(), "nothing to read");
/// let ready = select(&[], std::slice::from_ref(&one), &[], Duration::ZERO)?;
/// assert_eq!((ready.read.len(), ready.write.len(), ready.except.len()), (0, 1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Ready<'a, T> {
    /// The objects that can be read (or accept, or are at their end).
    pub read: Vec<&'a T>,
    /// The objects that can be written.
    pub write: Vec<&'a T>,
    /// The objects in an exceptional condition, usually TCP with urgent data.
    pub except: Vec<&'a T>,
}

impl<T> Ready<'_, T> {
    /// Whether no object is ready, because the time ran out.
    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && self.write.is_empty() && self.except.is_empty()
    }
}

/// Waits until one of `read` can be read, one of `write` can be written, or one of `except` is in an exceptional
/// condition.
///
/// After the timeout it returns three empty lists; with three empty slices and a timeout it only sleeps. Plain files
/// are always ready. It uses ppoll. So numbers above 1,023 and long lists are allowed, unlike in Python, and a closed
/// descriptor is always an error, unlike in C.
///
/// # Errors
/// [`ErrorKind::Os`](crate::error::ErrorKind::Os) with `EBADF` when an object's descriptor is not open (the message
/// names it); with `ENOMEM` when the kernel lacks memory.
pub fn select<'a, T: AsFd>(
    read: &'a [T],
    write: &'a [T],
    except: &'a [T],
    timeout: impl Into<Deadline>,
) -> Result<Ready<'a, T>> {
    let deadline = timeout.into();
    // Each object is asked for its descriptor once, because a second call may return another descriptor.
    let asked = [read, write, except].map(|list| list.iter().map(|object| (object, object.as_fd())).collect());
    let lists = Lists { asked };
    let mut fds = lists.questions();
    match select_slice(&mut fds, deadline) {
        Ok(0) => {}
        // The event was not requested: ppoll reports hang-ups to writers, while select continues to wait.
        Ok(_) if fds.iter().all(|entry| !entry.revents().intersects(entry.events())) => return lists.exactly(deadline),
        Ok(_) => {}
        Err(errno) => return Err(lists.refused(errno, &fds)),
    }
    let found = |fd: RawFd| {
        let place = fds.binary_search_by_key(&fd, |entry| entry.fd().as_raw_fd());
        place.map_or(PollFlags::empty(), |place| fds[place].revents())
    };
    Ok(lists
        .keep([READ, WRITE, EXCEPT].map(|wanted| move |fd: BorrowedFd<'_>| found(fd.as_raw_fd()).intersects(wanted))))
}

/// The three lists, with the descriptor of each object.
struct Lists<'a, T> {
    asked: [Vec<(&'a T, BorrowedFd<'a>)>; 3],
}

impl<'a, T> Lists<'a, T> {
    /// Makes one entry for each descriptor, sorted by number.
    fn questions(&self) -> Vec<PollFd<'a>> {
        let wanted = self.asked.iter().zip([READ, WRITE, EXCEPT]);
        let mut fds: Vec<_> = wanted
            .flat_map(|(list, flags)| list.iter().map(move |(_, fd)| PollFd::from_borrowed(*fd, flags)))
            .collect();
        fds.sort_unstable_by_key(|entry| entry.fd().as_raw_fd());
        fds.dedup_by(|later, kept| {
            let same = later.fd().as_raw_fd() == kept.fd().as_raw_fd();
            if same {
                kept.set_events(kept.events() | later.events());
            }
            same
        });
        fds
    }

    fn keep<P: Fn(BorrowedFd<'_>) -> bool>(&self, is_ready: [P; 3]) -> Ready<'a, T> {
        let chosen = |list: usize| {
            let ready = self.asked[list].iter().filter(|(_, fd)| is_ready[list](*fd));
            ready.map(|(object, _)| *object).collect()
        };
        Ready { read: chosen(0), write: chosen(1), except: chosen(2) }
    }

    /// Waits in the same way by select(2), for the few cases that ppoll cannot express.
    #[cold]
    fn exactly(&self, deadline: Deadline) -> Result<Ready<'a, T>> {
        let top = self.asked.iter().flatten().map(|(_, fd)| fd.as_raw_fd()).max().unwrap_or(-1);
        let mut words = [(); 3].map(|()| vec![0; FdSet::words_for((top + 1) as usize)]);
        let mut sets = words.each_mut().map(|words| FdSet::new(words));
        for (set, list) in sets.iter_mut().zip(&self.asked) {
            list.iter().try_for_each(|(_, fd)| set.insert(*fd))?;
        }
        let [read, write, except] = &mut sets;
        ossature_sys::select::select(read, write, except, deadline).map_err(|errno| self.refused(errno, &[]))?;
        Ok(self.keep(sets.each_ref().map(|set| move |fd: BorrowedFd<'_>| set.contains(fd))))
    }

    #[cold]
    fn refused(&self, errno: Errno, fds: &[PollFd<'_>]) -> Error {
        let Some(closed) = fds.iter().find(|entry| entry.revents().contains(PollFlags::NVAL)) else {
            return Error::os(errno, "select");
        };
        let closed = closed.fd().as_raw_fd();
        let places = self.asked.iter().zip(["read", "write", "except"]).filter_map(|(list, name)| {
            let place = list.iter().position(|(_, fd)| fd.as_raw_fd() == closed)?;
            Some(format!("{name}[{place}]"))
        });
        let places: Vec<_> = places.collect();
        let places = places.join(", ");
        Error::os(
            errno,
            format!("select: descriptor {closed} in {places} is not open: remove it from the list before closing it"),
        )
    }
}

/// Python's `epoll.poll`, which returns a list.
///
/// # Examples
/// ```
/// use std::{io::Write, os::unix::net::UnixStream, time::Duration};
/// use ossature::select::{Epoll, EpollExt, Interest, MAX_EVENTS};
///
/// let (reader, mut writer) = UnixStream::pair()?;
/// let epoll = Epoll::new()?;
/// epoll.register(&reader, Interest::IN, 7)?;
/// assert!(epoll.poll_list(Duration::ZERO, MAX_EVENTS)?.is_empty(), "the time ran out");
/// writer.write_all(b"x")?;
/// let events = epoll.poll_list(Duration::from_secs(60), MAX_EVENTS)?;
/// assert_eq!(events.len(), 1);
/// assert_eq!(events[0].token(), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait EpollExt {
    /// Waits until a descriptor is ready, and returns at most `max_events` events, usually [`MAX_EVENTS`].
    ///
    /// An empty list means that the time ran out.
    ///
    /// # Errors
    /// [`ErrorKind::Os`](crate::error::ErrorKind::Os) with `EINVAL` when `max_events` is 0.
    fn poll_list(&self, timeout: impl Into<Deadline>, max_events: usize) -> Result<Vec<Event>>;
}

impl EpollExt for Epoll {
    fn poll_list(&self, timeout: impl Into<Deadline>, max_events: usize) -> Result<Vec<Event>> {
        /// The maximum number of events of one call; more are left for the next call.
        const MOST: usize = 1 << 16;
        let mut room = vec![MaybeUninit::uninit(); max_events.min(MOST)];
        match self.poll(&mut room, timeout) {
            Ok(events) => Ok(events.to_vec()),
            Err(errno) if max_events == 0 => Err(Error::os(errno, "epoll: max_events must be at least 1")),
            Err(errno) => Err(Error::os(errno, "epoll")),
        }
    }
}
