//! Python's `select.kqueue`: an event queue whose calls return lists.

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::kqueue::{self, Filter, Flags, Kevent, refusal};

use crate::error::{Error, ErrorKind, Result};

/// The event queue of the BSDs and macOS. On Linux it is the queue of [`sys::kqueue`](crate::sys::kqueue), which lists
/// the differences from a BSD. Closed when dropped.
///
/// The numbers of a [`Kevent`] have types with their C names: [`Filter`], [`Flags`], [`Notes`](super::Notes). Python's
/// `KQ_FILTER_READ` is [`Filter::READ`], `KQ_EV_ADD` is [`Flags::ADD`], `KQ_NOTE_WRITE` is `Notes::WRITE`.
///
/// Differs from Python: a queue cannot be made from a descriptor of another one (`kqueue.fromfd`). On Linux the
/// descriptor is only a part of the queue; the rest is in this object's memory.
///
/// # Examples
/// ```
/// use std::{io::Write, os::unix::net::UnixStream, time::Duration};
/// use ossature::select::{Filter, Flags, Kevent, Kqueue};
///
/// let (near, mut far) = UnixStream::pair()?;
/// let mut queue = Kqueue::new()?;
/// far.write_all(b"hello")?;
/// let changes = [Kevent::read(&near), Kevent::timer(1, Duration::from_millis(5)).with_flags(Flags::ADD | Flags::ONESHOT)];
/// let events = queue.control(changes, 10, Duration::from_secs(5))?;
/// assert_eq!((events[0].filter(), events[0].data()), (Filter::READ, 5));
///
/// queue.control([Kevent::read(&near).with_flags(Flags::DELETE)], 0, None)?; // no room: does not wait
/// let events = queue.control([], 10, None)?;
/// assert_eq!((events[0].filter(), events[0].data()), (Filter::TIMER, 1));
/// assert!(queue.fileno().is_ok() && !queue.is_closed());
/// queue.close();
/// assert!(queue.is_closed() && queue.control([], 1, None).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "select.kqueue")]
pub struct Kqueue {
    queue: Option<kqueue::Kqueue>,
}

impl Kqueue {
    /// Makes a queue without knotes.
    ///
    /// # Errors
    /// [`ErrorKind::Os`] with `EMFILE` or `ENFILE` when no descriptor is left, with `ENOMEM`.
    pub fn new() -> Result<Self> {
        let queue = kqueue::Kqueue::new().map_err(|errno| Error::os(errno, "kqueue: cannot make a queue"))?;
        Ok(Self { queue: Some(queue) })
    }

    /// Applies the changes in order, then waits for events and returns at most `max_events` of them.
    ///
    /// A change that fails is listed as an event with [`Flags::ERROR`] and the error's number in its data. If a change
    /// failed, the call does not wait. An empty list means that the time ran out. With no room for events the call does
    /// not wait.
    ///
    /// # Errors
    /// * [`ErrorKind::InvalidInput`]: the queue is closed, or belongs to the parent of this process.
    /// * [`ErrorKind::Unsupported`]: Linux does not support a change, and there is no room for its event. The message
    ///   contains the reason.
    /// * [`ErrorKind::Os`]: another change failed, and there is no room for its event; or the kernel failed.
    pub fn control(
        &self,
        changes: impl IntoIterator<Item = Kevent>,
        max_events: usize,
        timeout: impl Into<Deadline>,
    ) -> Result<Vec<Kevent>> {
        /// The maximum number of events of one call; more are left for the next call.
        const MOST: usize = 1 << 16;
        let (queue, deadline) = (self.open()?, timeout.into());
        let mut answers = Vec::new();
        for change in changes {
            let answer = match queue.change(&change) {
                Ok(()) if !change.flags().contains(Flags::RECEIPT) => continue,
                Ok(()) => 0,
                Err(errno) if answers.len() >= max_events => return Err(refused(&change, errno)),
                Err(errno) => i64::from(errno.raw_os_error()),
            };
            if answers.len() < max_events {
                answers.push(change.with_flags(Flags::ERROR).with_data(answer));
            }
        }
        if !answers.is_empty() || max_events == 0 {
            return Ok(answers);
        }
        let mut room = vec![MaybeUninit::uninit(); max_events.min(MOST)];
        queue.wait(&mut room, deadline).map(<[Kevent]>::to_vec).map_err(|errno| Error::os(errno, "kqueue"))
    }

    /// The queue's own descriptor, which is readable while the queue has something to report.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] as for [`control`](Self::control), [`ErrorKind::Os`] with `EMFILE` and the like at
    /// the first call.
    pub fn fileno(&self) -> Result<BorrowedFd<'_>> {
        self.open()?.descriptor().map_err(|errno| Error::os(errno, "kqueue: cannot make the queue's descriptor"))
    }

    /// Closes the queue. A closed queue can be closed again.
    pub fn close(&mut self) {
        self.queue = None;
    }

    /// Whether the queue was closed, or belongs to the parent of this process: a forked child does not inherit queues.
    #[doc(alias = "closed")]
    pub fn is_closed(&self) -> bool {
        self.queue.as_ref().is_none_or(kqueue::Kqueue::is_inherited)
    }

    fn open(&self) -> Result<&kqueue::Kqueue> {
        match &self.queue {
            Some(queue) if !queue.is_inherited() => Ok(queue),
            Some(_) => {
                let message =
                    "kqueue: the queue belongs to the parent of this process: make a new one in the forked child";
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
            None => Err(Error::new(ErrorKind::InvalidInput, "kqueue: the queue is closed")),
        }
    }
}

/// Makes the error for a refused change, with the object and the remedy.
#[cold]
fn refused(change: &Kevent, errno: Errno) -> Error {
    let (ident, filter) = (change.ident(), change.filter());
    if let Some(reason) = refusal(change) {
        return Error::with_errno(ErrorKind::Unsupported, errno, format!("kqueue: {reason}"));
    }
    match filter {
        Filter::SIGNAL if errno == Errno::OPNOTSUPP => {
            let message = format!(
                "kqueue: signal {ident} is not blocked in this thread; block it with sys::signal::block before any other \
                 thread starts"
            );
            Error::with_errno(ErrorKind::Unsupported, errno, message)
        }
        Filter::VNODE | Filter::READ if errno == Errno::OPNOTSUPP => {
            let message = format!("kqueue: cannot watch the file of descriptor {ident} without /proc: mount it");
            Error::with_errno(ErrorKind::Unsupported, errno, message)
        }
        _ => Error::os(errno, format!("kqueue: cannot change {filter:?} {ident}")),
    }
}

impl fmt::Debug for Kqueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kqueue").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}
