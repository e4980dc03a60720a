//! The system's own `kqueue`, where there is one.

use core::ffi::c_int;
use core::mem::MaybeUninit;

use rustix::time::Timespec;

use super::{Kevent, numbers};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// An event queue of the system.
///
/// # Examples
/// ```
/// use core::{mem::MaybeUninit, time::Duration};
/// use ossature_sys::{fd::AsRawFd, kqueue::{Kevent, Kqueue}};
///
/// let queue = Kqueue::new()?;
/// queue.change(&Kevent::timer(1, Duration::from_millis(2)))?;
/// let mut room = [MaybeUninit::uninit(); 4];
/// assert_eq!(queue.wait(&mut room, Duration::from_secs(5))?.len(), 1);
/// assert!(queue.control(&[], &mut [], Duration::ZERO)?.is_empty());
/// assert!(queue.descriptor()?.as_raw_fd() >= 0);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "kqueue")]
#[derive(Debug)]
pub struct Kqueue(OwnedFd);

// SAFETY: a kevent is numbers; the pointer that some systems keep beside them is never followed.
unsafe impl Send for Kevent {}
// SAFETY: as for Send; nothing in it changes through a shared reference.
unsafe impl Sync for Kevent {}

static_assertions::assert_eq_size!(Kevent, numbers::Raw);

impl Kqueue {
    /// `kqueue()`: a queue without knotes, closed on exec.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptor is left, `ENOMEM`.
    pub fn new() -> Result<Self> {
        // SAFETY: kqueue(2) takes nothing.
        let fd = answer(unsafe { libc::kqueue() })?;
        // SAFETY: the result is a new descriptor that no other code owns.
        let queue = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: F_SETFD takes a number.
        answer(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        Ok(queue)
    }

    /// `kevent(kq, changes, n, events, m, timeout)`: makes the changes, then waits for events, fills `events` from the
    /// front and lends back the filled part; empty when the time ran out.
    ///
    /// # Errors
    /// The error of a change, if it fails and `events` has no room for it.
    #[doc(alias = "kevent")]
    pub fn control<'e>(
        &self,
        changes: &[Kevent],
        events: &'e mut [MaybeUninit<Kevent>],
        timeout: impl Into<Deadline>,
    ) -> Result<&'e [Kevent]> {
        let (deadline, mut changes) = (timeout.into(), changes);
        let filled = loop {
            let left = deadline.timespec_left();
            match self.kevent(changes, events, left.as_ref()) {
                // The changes are made even in this case: kqueue(2).
                Err(Errno::INTR) => changes = &[],
                done => break done?,
            }
        };
        // SAFETY: the system wrote the first `filled` elements, which are within the array.
        Ok(unsafe { core::slice::from_raw_parts(events.as_ptr().cast(), filled) })
    }

    /// Makes one change.
    ///
    /// # Errors
    /// The error of the change.
    pub fn change(&self, change: &Kevent) -> Result<()> {
        self.control(core::slice::from_ref(change), &mut [], Deadline::NOW).map(drop)
    }

    /// Waits for events without a change.
    ///
    /// # Errors
    /// The error of the system call.
    pub fn wait<'e>(
        &self,
        events: &'e mut [MaybeUninit<Kevent>],
        timeout: impl Into<Deadline>,
    ) -> Result<&'e [Kevent]> {
        self.control(&[], events, timeout)
    }

    /// Makes a change, like [`change`](Self::change): the system counts signals without a mask.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::kqueue::{Kevent, Kqueue};
    ///
    /// let queue = Kqueue::new()?;
    /// queue.change_and_mask(&Kevent::user(1))?;
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn change_and_mask(&self, change: &Kevent) -> Result<()> {
        self.change(change)
    }

    /// Does nothing: the system reports the notes FORK, EXEC and TRACK without being asked.
    ///
    /// # Errors
    /// None here.
    ///
    /// # Examples
    /// See the example of [`refusal`](super::refusal()).
    pub fn follow_processes(&self) -> Result<()> {
        Ok(())
    }

    /// The queue's own descriptor, which is readable while the queue has something to report.
    ///
    /// # Errors
    /// None here.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        Ok(self.0.as_fd())
    }

    fn kevent(&self, changes: &[Kevent], events: &mut [MaybeUninit<Kevent>], left: Option<&Timespec>) -> Result<usize> {
        let left = left.map(|left| libc::timespec { tv_sec: left.tv_sec as _, tv_nsec: left.tv_nsec as _ });
        let until = left.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
        // Two billion of them do not fit in memory.
        let (given, room) = (changes.len().min(c_int::MAX as usize), events.len().min(c_int::MAX as usize));
        let (first, place) = (changes.as_ptr().cast(), events.as_mut_ptr().cast());
        // SAFETY: the system reads `given` records and a timespec, and writes at most `room` records; `Kevent` is a
        // transparent wrapper of the system's record.
        answer(unsafe { libc::kevent(self.0.as_raw_fd(), first, given as _, place, room as _, until) })
            .map(|filled| filled as usize) // not negative: that is the error branch
    }
}

impl AsFd for Kqueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Kqueue {
    /// Adopts a queue made elsewhere (Python's `kqueue.fromfd`).
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

/// Converts the result of a call that returns -1 and sets errno.
fn answer(answer: c_int) -> Result<c_int> {
    if answer != -1 {
        return Ok(answer);
    }
    #[cfg(any(target_os = "freebsd", target_vendor = "apple"))]
    // SAFETY: the place of errno is the calling thread's own.
    let place = unsafe { libc::__error() };
    #[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
    // SAFETY: as above.
    let place = unsafe { libc::__errno() };
    #[cfg(target_os = "dragonfly")]
    // SAFETY: as above.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the pointer is valid for the life of the thread, and no other thread writes there.
    Err(Errno::from_raw_os_error(unsafe { *place }))
}
