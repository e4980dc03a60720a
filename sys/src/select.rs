//! Waiting for sets of descriptors: select without its limit of 1,024 descriptors and with correct reports.
//!
//! An [`FdSet`] is a view of the caller's bit array, of any length, that holds borrowed descriptors. C's `fd_set` is
//! written out of bounds by a descriptor above 1,023; here inserting one that does not fit is an error.
//!
//! Linux looks only at the bits within the process's descriptor table (often 256 entries) and leaves the others as they
//! came in. So the kernel reports a closed descriptor 300 as ready. [`select`] makes sure that the highest descriptor
//! is open, by one fcntl. An open descriptor is within the table, so the kernel looks at all lower ones too, and
//! reports a closed one among them as `EBADF`.
//!
//! [`select_slice`] does the same by ppoll, which has no bit arrays at all.
//!
//! ```
//! use ossature_sys::{fd::AsFd, select::{FdSet, select}};
//! use std::{io::Write, os::unix::net::UnixStream, time::Duration};
//!
//! let (mut near, far) = UnixStream::pair().unwrap();
//! near.write_all(b"x").unwrap();
//! let mut words = [0; FdSet::words_for(4096)];
//! let mut read = FdSet::new(&mut words);
//! read.insert(far.as_fd()).unwrap();
//! let ready = select(&mut read, &mut FdSet::none(), &mut FdSet::none(), Duration::from_secs(1)).unwrap();
//! assert_eq!(ready, 1);
//! assert!(read.contains(&far));
//! ```
//!
//! Source: select(2), pselect(2).

use core::fmt;
use core::marker::PhantomData;

use rustix::event::FdSetElement;
use static_assertions::{assert_eq_align, assert_eq_size};

use crate::deadline::{Deadline, retry_until};
use crate::errno::{Errno, Result};
use crate::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use crate::poll::{PollFd, PollFlags, poll};
use crate::raw;

// The kernel's bit arrays are of `unsigned long`, which is as wide as a pointer on every Linux target.
assert_eq_size!(usize, FdSetElement);
assert_eq_align!(usize, FdSetElement);

const BITS: usize = usize::BITS as usize;

/// The events that select counts as readable, for a request and for a result of [`select_slice`].
pub const READ: PollFlags =
    PollFlags::IN.union(PollFlags::RDNORM).union(PollFlags::RDBAND).union(PollFlags::HUP).union(PollFlags::ERR);
/// The events that select counts as writable.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{eventfd::EventFd, poll::PollFd, select::{WRITE, select_slice}};
///
/// let event = EventFd::counter(0)?;
/// let mut fds = [PollFd::new(&event, WRITE)];
/// select_slice(&mut fds, Duration::from_secs(1))?;
/// assert!(fds[0].revents().intersects(WRITE));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub const WRITE: PollFlags = PollFlags::OUT.union(PollFlags::WRNORM).union(PollFlags::WRBAND).union(PollFlags::ERR);
/// The events that select counts as an exceptional condition: urgent data, such as out-of-band data on TCP.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{poll::PollFd, select::{EXCEPT, READ, select_slice}, socket::{Kind, Socket}};
///
/// let (near, far) = Socket::pair(Kind::Stream)?;
/// far.send(b"x", Duration::from_secs(1))?;
/// let mut fds = [PollFd::new(&near, READ | EXCEPT)];
/// assert_eq!(select_slice(&mut fds, Duration::from_secs(1))?, 1);
/// assert!(fds[0].revents().intersects(READ) && !fds[0].revents().intersects(EXCEPT));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub const EXCEPT: PollFlags = PollFlags::PRI;

/// `fd_set`: a set of borrowed descriptors in a bit array of the caller.
///
/// # Examples
/// ```
/// use ossature_sys::{eventfd::EventFd, fd::{AsFd, AsRawFd}, select::FdSet};
///
/// let event = EventFd::counter(0)?;
/// let mut words = [0; FdSet::words_for(1024)];
/// let mut set = FdSet::new(&mut words);
/// assert!(set.is_empty());
/// set.insert(event.as_fd())?;
/// assert!(set.contains(&event));
/// assert_eq!(set.len(), 1);
/// assert_eq!(set.iter().next().map(|fd| fd.as_raw_fd()), Some(event.as_raw_fd()));
/// assert!(set.remove(&event) && !set.remove(&event));
/// set.clear();
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "fd_set")]
pub struct FdSet<'a> {
    // Only bits of descriptors lent for 'a are ever set: `new` clears, `insert` takes the loan, the kernel only clears.
    words: &'a mut [usize],
    lent: PhantomData<BorrowedFd<'a>>,
}

impl<'a> FdSet<'a> {
    /// An empty set over `words`, which are cleared; it holds descriptors below `words.len() * usize::BITS`.
    #[inline]
    #[doc(alias = "FD_ZERO")]
    pub fn new(words: &'a mut [usize]) -> Self {
        words.fill(0);
        Self { words, lent: PhantomData }
    }

    /// A set without elements and without room: for the arguments of [`select`] that are not needed.
    #[inline]
    pub const fn none() -> Self {
        Self { words: &mut [], lent: PhantomData }
    }

    /// The number of words that hold the descriptors `0..descriptors`.
    #[inline]
    pub const fn words_for(descriptors: usize) -> usize {
        descriptors.div_ceil(BITS)
    }

    /// Adds `fd`.
    ///
    /// # Errors
    /// `ERANGE` when the bit array is too short for it; the set is as before.
    #[inline]
    #[doc(alias = "FD_SET")]
    pub fn insert(&mut self, fd: BorrowedFd<'a>) -> Result<()> {
        let (index, bit) = place(fd);
        *self.words.get_mut(index).ok_or(Errno::RANGE)? |= bit;
        Ok(())
    }

    /// Removes `fd`, and returns whether it was in the set.
    #[inline]
    #[doc(alias = "FD_CLR")]
    pub fn remove(&mut self, fd: impl AsFd) -> bool {
        let (index, bit) = place(fd.as_fd());
        let Some(word) = self.words.get_mut(index) else { return false };
        let was_in = *word & bit != 0;
        *word &= !bit;
        was_in
    }

    /// Whether `fd` is in the set; after [`select`]: whether it is ready.
    #[inline]
    #[doc(alias = "FD_ISSET")]
    pub fn contains(&self, fd: impl AsFd) -> bool {
        let (index, bit) = place(fd.as_fd());
        self.words.get(index).is_some_and(|word| word & bit != 0)
    }

    /// Removes all descriptors.
    #[inline]
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// The number of descriptors in the set.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The descriptors in the set, in ascending order.
    pub fn iter(&self) -> Iter<'_, 'a> {
        Iter { rest: self.words.iter(), word: 0, base: 0, lent: PhantomData }
    }

    fn highest(&self) -> Option<BorrowedFd<'a>> {
        let (index, word) = self.words.iter().enumerate().rfind(|(_, word)| **word != 0)?;
        Some(lent(index * BITS + (BITS - 1 - word.leading_zeros() as usize)))
    }

    /// The kernel's view, for descriptors below `bound`; `None` when empty.
    fn elements(&mut self, bound: usize) -> Result<Option<&mut [FdSetElement]>> {
        if self.is_empty() {
            return Ok(None);
        }
        let words: *mut [usize] = self.words.get_mut(..Self::words_for(bound)).ok_or(Errno::INVAL)?;
        // SAFETY: the element is a transparent wrapper of a C `unsigned long`, asserted above to be laid out as usize;
        // the exclusive borrow is handed on.
        Ok(Some(unsafe { &mut *(words as *mut [FdSetElement]) }))
    }
}

#[inline]
fn place(fd: BorrowedFd<'_>) -> (usize, usize) {
    let number = fd.as_raw_fd() as usize; // a borrowed descriptor is not negative
    (number / BITS, 1 << (number % BITS))
}

#[inline]
fn lent<'a>(number: usize) -> BorrowedFd<'a> {
    // SAFETY: only called for a bit that is set, and only `insert` sets bits, with a descriptor lent for 'a.
    unsafe { BorrowedFd::borrow_raw(number as RawFd) }
}

impl fmt::Debug for FdSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|fd| fd.as_raw_fd())).finish()
    }
}

impl<'s, 'a> IntoIterator for &'s FdSet<'a> {
    type Item = BorrowedFd<'a>;
    type IntoIter = Iter<'s, 'a>;

    fn into_iter(self) -> Iter<'s, 'a> {
        self.iter()
    }
}

/// The descriptors of an [`FdSet`], in ascending order.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, select::{FdSet, Iter}};
///
/// let mut words = [0; 1];
/// let mut set = FdSet::new(&mut words);
/// set.insert(fd::stdout())?;
/// set.insert(fd::stderr())?;
/// let members: Iter<'_, '_> = set.iter();
/// assert_eq!(members.count(), 2);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Debug)]
pub struct Iter<'s, 'a> {
    rest: core::slice::Iter<'s, usize>,
    word: usize,
    base: usize, // of the word after `word`
    lent: PhantomData<BorrowedFd<'a>>,
}

impl<'a> Iterator for Iter<'_, 'a> {
    type Item = BorrowedFd<'a>;

    fn next(&mut self) -> Option<BorrowedFd<'a>> {
        while self.word == 0 {
            self.word = *self.rest.next()?;
            self.base += BITS;
        }
        let number = self.base - BITS + self.word.trailing_zeros() as usize;
        self.word &= self.word - 1;
        Some(lent(number))
    }
}

/// `pselect(n, read, write, except, timeout, NULL)`: waits until a member of a set is ready, keeps only ready members
/// in the sets, and returns their total number.
///
/// Differs from Python: descriptors may be of any number that the bit arrays hold; the timeout is in nanoseconds.
/// Running out of time is `Ok(0)` and leaves the sets empty. Three empty sets sleep. On an error the sets are as
/// before.
///
/// # Errors
/// * `EBADF`: a member is not open (which borrowed descriptors exclude).
/// * `EINVAL`: the bit array of a set that is not empty is too short for the highest member of another. Give the sets
///   arrays of one length.
/// * `ENOMEM`: the kernel lacks memory for its copies.
#[doc(alias = "pselect")]
pub fn select(
    read: &mut FdSet<'_>,
    write: &mut FdSet<'_>,
    except: &mut FdSet<'_>,
    timeout: impl Into<Deadline>,
) -> Result<usize> {
    let deadline = timeout.into();
    let tops = [read.highest(), write.highest(), except.highest()];
    let top = tops.into_iter().flatten().max_by_key(AsRawFd::as_raw_fd);
    let mut bound = 0;
    if let Some(top) = top {
        raw::call("fcntl", || rustix::io::fcntl_getfd(top))?;
        bound = top.as_raw_fd().saturating_add(1);
    }
    let mut read = read.elements(bound as usize)?;
    let mut write = write.elements(bound as usize)?;
    let mut except = except.elements(bound as usize)?;
    let ready = retry_until(deadline, |left| {
        let (read, write, except) = (read.as_deref_mut(), write.as_deref_mut(), except.as_deref_mut());
        // SAFETY: every member is an open descriptor, because it is borrowed for as long as the set; each array has at
        // least `bound` bits.
        raw::call("pselect", || unsafe { rustix::event::select(bound, read, write, except, left) })
    })?;
    Ok(ready as usize) // not negative: that is the error branch
}

/// Select by means of ppoll: entries request [`READ`], [`WRITE`], [`EXCEPT`] or several of them. Test the results with
/// `revents().intersects(READ)` and so on. Returns the number of entries with events.
///
/// Unlike [`poll()`], a descriptor that is not open is an error. Unlike [`select`], any number of descriptors
/// of any number needs no bit array, and a hang-up ends the wait of an entry that did not ask for [`READ`].
///
/// # Errors
/// `EBADF` when a descriptor is not open: the entries of such descriptors report [`PollFlags::NVAL`]. `EINVAL` for more
/// entries than the process may have descriptors.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::{eventfd::EventFd, poll::PollFd, select::{READ, WRITE, select_slice}};
///
/// let event = EventFd::counter(0)?;
/// let mut fds = [PollFd::new(&event, READ | WRITE)];
/// assert_eq!(select_slice(&mut fds, Duration::from_secs(1))?, 1);
/// assert!(fds[0].revents().intersects(WRITE) && !fds[0].revents().intersects(READ));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn select_slice(fds: &mut [PollFd<'_>], timeout: impl Into<Deadline>) -> Result<usize> {
    let ready = poll(fds, timeout)?;
    if ready > 0 && fds.iter().any(|entry| entry.revents().contains(PollFlags::NVAL)) {
        return Err(Errno::BADF);
    }
    Ok(ready)
}
