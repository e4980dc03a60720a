//! Replaces sets that have entries that cannot be named any more.
//!
//! A new set reports every edge-triggered entry that is ready, even if the old set has reported it. So these entries
//! are put into the new set first, and the events that the new set then reports are dropped. The old set has the edges
//! that were not reported yet, and new ones. At the end the entries are armed again in the new set, in this order:
//!
//! | step | an edge that comes after the step |
//! | --- | --- |
//! | the edge-triggered entries are in the new set | is in both sets, until the next step |
//! | the events that the new set reports are dropped | is in both sets |
//! | the new set has the number of the old one | is in both sets |
//! | the entries that the old set reports are armed in the new set | is in the new set, once |

use core::mem::MaybeUninit;

use super::io;
use super::state::{CLOCK, NEWS, PROCESSES, QueueState, SIGNALS, WAKE, WALL, WRITES};
use super::table::{At, Kind, Slot};
use crate::deadline::Deadline;
use crate::epoll::{Epoll, Event, Interest};
use crate::errno::{Errno, Result};
use crate::fd::{AboveStandard, AsFd, AsRawFd, BorrowedFd, duplicate};
use crate::kqueue::Filter;
use crate::raw;

/// The two sets: one for WRITE, and one for READ and all else.
struct Sets {
    set: Epoll,
    writes: Option<Epoll>,
}

impl Sets {
    fn of(&self, filter: Filter) -> Option<&Epoll> {
        if filter == Filter::WRITE { self.writes.as_ref() } else { Some(&self.set) }
    }

    /// Passes the token of each ready entry to `each`, which consumes the edges. Each set has at most `most` entries.
    fn take(&self, most: usize, mut each: impl FnMut(u64)) -> Result<()> {
        const BATCH: usize = 128;
        let mut room = [MaybeUninit::<Event>::uninit(); BATCH];
        for set in [Some(&self.set), self.writes.as_ref()].into_iter().flatten() {
            // Level-triggered entries are reported again and again, in turn with the others: epoll_wait(2), NOTES.
            for _ in 0..=most / BATCH {
                let events = set.poll(&mut room, Deadline::NOW)?;
                events.iter().for_each(|event| each(event.token()));
                if events.len() < BATCH {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl QueueState {
    /// Rebuilds both sets, with every entry that can still be named. No edge is lost or repeated.
    ///
    /// # Errors
    /// The kernel's error for a new set; the old sets remain.
    #[cold]
    pub(super) fn renew(&mut self) -> Result<()> {
        /// The number of the queue's own descriptors, which are entries too.
        const OWN: usize = 7;
        let new = Sets {
            set: Epoll::new()?.above_standard()?,
            writes: if self.writes.is_some() { Some(Epoll::new()?.above_standard()?) } else { None },
        };
        let again = |set: &Epoll| duplicate(set).map(Epoll::from);
        let old = Sets { set: again(&self.set)?, writes: self.writes.as_ref().map(again).transpose()? };
        let most = (self.table.len() as usize).saturating_add(self.orphans as usize).saturating_add(OWN);
        self.carry_all(&old, &new, true)?;
        new.take(most, |_| ())?;
        self.carry_all(&old, &new, false)?;
        let own: [(Option<BorrowedFd<'_>>, u64); OWN] = [
            (self.wake.as_ref().map(AsFd::as_fd), WAKE),
            (self.clock.as_ref().map(AsFd::as_fd), CLOCK),
            (self.wall.as_ref().map(AsFd::as_fd), WALL),
            (self.signals.as_ref().map(AsFd::as_fd), SIGNALS),
            (self.news.as_ref().map(AsFd::as_fd), NEWS),
            (self.connector.as_ref().map(AsFd::as_fd), PROCESSES),
            (new.writes.as_ref().map(AsFd::as_fd), WRITES),
        ];
        for (fd, token) in own {
            if let Some(fd) = fd {
                new.set.register(fd, Interest::IN, token)?;
            }
        }
        self.place(new)?;
        self.orphans = 0;
        if old.take(most, |token| self.arm(token)).is_err() {
            // An edge that is reported twice does less harm than one that is lost.
            self.table.places().for_each(|at| self.arm(self.token(at)));
        }
        self.show()
    }

    /// Adds the entries of knotes to the new sets: the edge-triggered ones, or the others.
    fn carry_all(&mut self, old: &Sets, new: &Sets, edges: bool) -> Result<()> {
        for at in self.table.places() {
            if self.table.is_used(at) {
                self.carry(at, old, new, edges)?;
            }
        }
        Ok(())
    }

    fn carry(&mut self, at: At, old: &Sets, new: &Sets, edges: bool) -> Result<()> {
        let (slot, token) = (*self.table.at(at), self.token(at));
        let filter = Filter::from_number(slot.filter);
        if filter == Filter::PROC && slot.number >= 0 && !edges {
            // SAFETY: the knote owns its pidfd.
            let pidfd = unsafe { BorrowedFd::borrow_raw(slot.number) };
            return new.set.register(pidfd, Interest::IN, token);
        }
        let interest = io::interest(&slot);
        if !has_entry(&slot) || interest.contains(Interest::ET) != edges {
            return Ok(());
        }
        let (Some(old), Some(new)) = (old.of(filter), new.of(filter)) else { return Ok(()) };
        // SAFETY: epoll_ctl takes a number, and returns EBADF for one that is not open.
        let fd = unsafe { BorrowedFd::borrow_raw(super::file::number(slot.ident)?) };
        // This test changes nothing if the entry exists: a change of the entry would repeat its edge.
        match old.register(fd, interest, token) {
            Err(Errno::EXIST) => new.register(fd, interest, token),
            // The kernel returns this error before it searches for the entry. The entry of a set that is nested too
            // deep may exist, which a change shows. The change repeats an edge, but the queue keeps its old sets then.
            Err(Errno::LOOP) if old.modify(fd, interest, token).is_ok() => Err(Errno::LOOP),
            // Closed, and perhaps opened again by code that does not know the knote. INVAL and LOOP: the number is
            // now that of one of these four sets, or of a set that looks at this queue.
            Ok(()) | Err(Errno::BADF | Errno::PERM | Errno::INVAL | Errno::LOOP) => {
                let _ = self.remove(at);
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    /// Has an edge reported again, if its cause remains.
    fn arm(&self, token: u64) {
        // The halves of a token.
        let Some(at) = self.table.of_generation(token as u32, (token >> 32) as u32) else { return };
        let slot = self.table.at(at);
        let interest = io::interest(slot);
        if !has_entry(slot) || !interest.contains(Interest::ET) {
            return;
        }
        let filter = Filter::from_number(slot.filter);
        let set = if filter == Filter::WRITE { self.writes.as_ref() } else { Some(&self.set) };
        if let (Some(set), Ok(number)) = (set, super::file::number(slot.ident)) {
            // SAFETY: as in `carry`.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            // A descriptor that was closed meanwhile has nothing to report.
            let _ = set.modify(fd, interest, token);
        }
    }

    /// Replaces the old sets by the new ones. A thread that sleeps on the old set then looks at the new one.
    fn place(&mut self, new: Sets) -> Result<()> {
        if let Some(face) = &self.face {
            // A forked child has a copy of the old set, which would keep the entry.
            let _ = face.unregister(&self.set);
            self.is_hidden = true;
        }
        let (number, place) = (new.set.as_raw_fd(), self.set.as_raw_fd());
        // SAFETY: both are open descriptors of this queue. The one that `self.set` stood for is closed, and `self.set`
        // owns the other.
        let placed = raw::call_c("dup3", || unsafe { libc::dup3(number, place, libc::O_CLOEXEC) });
        if placed.is_ok() {
            self.writes = new.writes;
            self.sleepers.renew();
        }
        placed.map(drop)
    }

    /// Adds the set to the queue's own descriptor, if it is not there.
    ///
    /// # Errors
    /// `ENOMEM`, `ENOSPC`; the next call tries again.
    pub(super) fn show(&mut self) -> Result<()> {
        let Some(face) = self.face.as_ref().filter(|_| self.is_hidden) else { return Ok(()) };
        match face.register(&self.set, Interest::IN, 0) {
            // The latter two errors: the descriptor was given away, and closed.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(Errno::BADF | Errno::INVAL) if self.is_given => {}
            Err(errno) => return Err(errno),
        }
        self.is_hidden = false;
        Ok(())
    }
}

/// Whether a knote has an entry in one of the sets under its own ident.
fn has_entry(slot: &Slot) -> bool {
    [Filter::READ, Filter::WRITE].contains(&Filter::from_number(slot.filter)) && slot.kind() == Kind::Watched
}
