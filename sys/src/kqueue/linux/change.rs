//! Changes: what each flag does to a knote, and what each filter needs when a knote is added.

use super::state::QueueState;
use super::table::{At, Kind};
use crate::epoll::Interest;
use crate::errno::{Errno, Result};
use crate::fd::{AsRawFd, BorrowedFd, IntoRawFd};
use crate::kqueue::{Filter, Flags, Kevent, Notes};
use crate::process::pidfd_open;
use crate::signal::{Signal, mask, numbered};
use crate::timerfd::Clock;

/// The flags that stay with a knote.
const KEPT: Flags = Flags::ONESHOT.union(Flags::CLEAR).union(Flags::DISPATCH).union(Flags::RECEIPT);

impl QueueState {
    pub(super) fn change(&mut self, change: &Kevent) -> Result<()> {
        let filter = change.filter();
        if filter.number() == 0 {
            return Ok(()); // of FreeBSD: no filter is no change
        }
        let found = self.table.find(change.ident(), filter.number());
        let flags = change.flags();
        match found {
            Some(at) if flags.contains(Flags::DELETE) => self.remove(at),
            Some(at) => self.alter(at, change),
            None if flags.contains(Flags::ADD) && !flags.contains(Flags::DELETE) => self.add(change),
            None if is_open(change) => Err(Errno::NOENT),
            None => Err(Errno::BADF),
        }
    }

    /// Whether the knote of a change exists.
    pub(super) fn has(&self, change: &Kevent) -> bool {
        self.table.find(change.ident(), change.filter().number()).is_some()
    }

    /// Removes the knote that a change added.
    pub(super) fn forget(&mut self, change: &Kevent) {
        if let Some(at) = self.table.find(change.ident(), change.filter().number()) {
            let _ = self.remove(at);
        }
    }

    fn add(&mut self, change: &Kevent) -> Result<()> {
        let filter = change.filter();
        let at = self.table.add(change.ident(), filter.number())?;
        if !matches!(filter, Filter::TIMER | Filter::USER) {
            self.outside += 1;
        }
        let flags = change.flags();
        let slot = self.table.at_mut(at);
        slot.flags = (flags & KEPT).bits();
        slot.udata = change.udata();
        slot.set_disabled(flags.contains(Flags::DISABLE));
        let added = match filter {
            Filter::READ | Filter::WRITE => self.add_io(at, change),
            Filter::TIMER => self.set_timer(at, change),
            Filter::USER => {
                self.touch_user(at, change, true);
                Ok(())
            }
            Filter::SIGNAL => self.add_signal(at, change),
            Filter::PROC => self.add_process(at, change),
            Filter::VNODE => {
                slot.notes = change.notes().bits();
                self.watch_file(at)
            }
            _ => Err(Errno::INVAL),
        };
        if added.is_err() {
            let _ = self.remove(at);
        }
        added
    }

    /// Changes a knote that exists.
    fn alter(&mut self, at: At, change: &Kevent) -> Result<()> {
        let (filter, flags) = (change.filter(), change.flags());
        let before = *self.table.at(at);
        let slot = self.table.at_mut(at);
        slot.udata = change.udata();
        if flags.contains(Flags::ADD) {
            slot.flags = (flags & KEPT).bits();
        }
        if flags.contains(Flags::DISABLE) {
            slot.set_disabled(true);
        } else if flags.intersects(Flags::ADD | Flags::ENABLE) {
            slot.set_disabled(false);
        }
        let made = match filter {
            Filter::READ | Filter::WRITE => self.alter_io(at, change),
            Filter::TIMER if flags.contains(Flags::ADD) => self.set_timer(at, change),
            Filter::USER => {
                self.touch_user(at, change, false);
                Ok(())
            }
            Filter::PROC if flags.contains(Flags::ADD) => self.set_notes(at, change.notes()),
            Filter::VNODE if flags.contains(Flags::ADD) => {
                slot.notes = change.notes().bits();
                slot.found &= change.notes().bits();
                self.watch_file(at)
            }
            _ => Ok(()),
        };
        if let Err(errno) = made {
            // The knote of a closed descriptor was removed already.
            if self.table.of_generation(at, before.generation).is_some() {
                self.restore(at, &before);
            }
            return Err(errno);
        }
        if self.table.at(at).is_disabled() {
            self.table.deactivate(at);
            if filter == Filter::WRITE {
                self.table.stop(at);
            }
        } else if self.has_news(at) {
            self.table.activate(at);
        }
        Ok(())
    }

    /// Restores the state of a knote from before a change that failed.
    fn restore(&mut self, at: At, before: &super::table::Slot) {
        let slot = self.table.at_mut(at);
        (slot.udata, slot.flags, slot.notes) = (before.udata, before.flags, before.notes);
        (slot.data, slot.found) = (before.data, before.found);
        slot.set_disabled(before.is_disabled());
    }

    /// Whether a knote has an event that was not reported, or has to be checked.
    fn has_news(&self, at: At) -> bool {
        let slot = self.table.at(at);
        match Filter::from_number(slot.filter) {
            // The kernel reports a changed entry again.
            Filter::READ | Filter::WRITE => slot.kind() == Kind::Always,
            Filter::VNODE | Filter::PROC => slot.found != 0,
            _ => slot.count != 0,
        }
    }

    // ---- READ and WRITE -------------------------------------------------------------------------------------------

    fn set_low_water(&mut self, at: At, change: &Kevent) {
        let slot = self.table.at_mut(at);
        slot.notes = (change.notes() & Notes::LOWAT).bits();
        slot.data = change.data().max(1);
    }

    fn add_io(&mut self, at: At, change: &Kevent) -> Result<()> {
        self.set_low_water(at, change);
        match self.enter(at, true) {
            Ok(()) => {
                self.table.at_mut(at).set_kind(Kind::Watched);
                Ok(())
            }
            // Always ready: a regular file, a directory, `/dev/null`.
            Err(Errno::PERM) => self.add_always(at),
            Err(errno) => Err(errno),
        }
    }

    fn add_always(&mut self, at: At) -> Result<()> {
        let slot = self.table.at_mut(at);
        slot.set_kind(Kind::Always);
        let (ident, filter) = (slot.ident, slot.filter);
        // SAFETY: the call only takes a number; one that is not open gives EBADF.
        let fd = unsafe { BorrowedFd::borrow_raw(super::file::number(ident)?) };
        if filter == Filter::READ.number() && super::file::is_regular(&super::file::stat(fd)?) {
            self.watch_file(at)?;
        }
        self.table.activate(at);
        Ok(())
    }

    fn alter_io(&mut self, at: At, change: &Kevent) -> Result<()> {
        let flags = change.flags();
        if flags.contains(Flags::ADD) {
            self.set_low_water(at, change);
        }
        if self.table.at(at).kind() == Kind::Always {
            let slot = *self.table.at(at);
            return match self.level(&slot, Interest::empty()) {
                Err(Errno::BADF) => {
                    let _ = self.remove(at);
                    Err(Errno::BADF)
                }
                _ => Ok(()),
            };
        }
        match self.enter(at, false) {
            Err(gone @ (Errno::BADF | Errno::NOENT)) => {
                let _ = self.remove(at);
                // The number is open again, and is another file's now: a new knote.
                if gone == Errno::NOENT && flags.contains(Flags::ADD) { self.add(change) } else { Err(gone) }
            }
            entered => entered,
        }
    }

    // ---- TIMER ----------------------------------------------------------------------------------------------------

    /// Starts a timer, or restarts it and clears its count.
    fn set_timer(&mut self, at: At, change: &Kevent) -> Result<()> {
        const NANOS: i128 = 1_000_000_000;
        let notes = change.notes();
        if !(UNITS | Notes::ABSTIME).contains(notes) {
            return Err(Errno::INVAL);
        }
        let unit = match notes & UNITS {
            Notes::SECONDS => NANOS,
            Notes::USECONDS => 1_000,
            Notes::NSECONDS => 1,
            unit if unit.is_empty() || unit == Notes::MSECONDS => 1_000_000,
            _ => return Err(Errno::INVAL), // two units
        };
        let is_wall = notes.contains(Notes::ABSTIME);
        let is_once = is_wall || change.flags().contains(Flags::ONESHOT);
        // A period of 0 is one unit.
        let data = if change.data() == 0 && !is_once { 1 } else { change.data() };
        if data < 0 {
            return Err(Errno::INVAL);
        }
        // 2^63 nanoseconds, 292 years, count as never.
        let span = u64::try_from(i128::from(data) * unit).unwrap_or(u64::MAX).min(u64::MAX / 2);
        if is_wall {
            self.need_wall()?;
        }
        let now = if is_wall { 0 } else { now(Clock::Monotonic) };
        self.table.stop(at);
        self.table.deactivate(at);
        let slot = self.table.at_mut(at);
        slot.set_wall(is_wall);
        slot.period = if is_once { 0 } else { span };
        slot.instant = now.saturating_add(span).max(1);
        slot.notes = notes.bits();
        slot.count = 0;
        self.table.start(at);
        Ok(())
    }

    // ---- USER -----------------------------------------------------------------------------------------------------

    fn touch_user(&mut self, at: At, change: &Kevent, is_new: bool) {
        let notes = change.notes();
        let given = notes & Notes::FFLAGSMASK;
        let slot = self.table.at_mut(at);
        let stored = Notes::from_bits_retain(slot.notes);
        let stored = match notes & Notes::FFCTRLMASK {
            _ if is_new => given,
            Notes::FFCOPY => given,
            Notes::FFOR => stored | given,
            Notes::FFAND => stored & given,
            _ => stored,
        };
        slot.notes = stored.bits();
        slot.data = change.data();
        if notes.contains(Notes::TRIGGER) {
            slot.count = 1;
            self.table.activate(at);
        }
    }

    // ---- SIGNAL ---------------------------------------------------------------------------------------------------

    fn add_signal(&mut self, at: At, change: &Kevent) -> Result<()> {
        let signal = i32::try_from(change.ident()).ok().and_then(numbered).ok_or(Errno::INVAL)?;
        if signal == Signal::KILL || signal == Signal::STOP {
            return Err(Errno::INVAL);
        }
        // Otherwise a thread that does not block the signal would handle it as usual, and it would not be counted.
        if !mask()?.contains(signal) {
            return Err(Errno::OPNOTSUPP);
        }
        self.table.at_mut(at).notes = change.notes().bits();
        self.count_signals(self.counted.with(signal))
    }

    // ---- PROC -----------------------------------------------------------------------------------------------------

    fn add_process(&mut self, at: At, change: &Kevent) -> Result<()> {
        let pid = i32::try_from(change.ident()).ok().and_then(rustix::process::Pid::from_raw).ok_or(Errno::SRCH)?;
        let pidfd = pidfd_open(pid).map_err(|errno| if errno == Errno::INVAL { Errno::SRCH } else { errno })?;
        self.set.register(&pidfd, Interest::IN, self.token(at))?;
        self.table.at_mut(at).number = pidfd.as_raw_fd();
        let _ = pidfd.into_raw_fd(); // the knote owns it
        self.set_notes(at, change.notes())
    }
}

/// Whether the descriptor of a change is open; true for a filter without descriptors.
fn is_open(change: &Kevent) -> bool {
    if !matches!(change.filter(), Filter::READ | Filter::WRITE | Filter::VNODE) {
        return true;
    }
    let Ok(number) = super::file::number(change.ident()) else { return false };
    // SAFETY: the call only takes a number; one that is not open gives EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    crate::fd::is_cloexec(fd).is_ok()
}

/// The time of a clock in nanoseconds.
pub(super) fn now(clock: Clock) -> u64 {
    u64::try_from(clock.now().as_nanos()).unwrap_or(u64::MAX)
}

/// The notes of TIMER that name a unit.
const UNITS: Notes = Notes::SECONDS.union(Notes::MSECONDS).union(Notes::USECONDS).union(Notes::NSECONDS);
