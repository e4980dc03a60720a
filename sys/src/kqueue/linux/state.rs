//! The descriptors of a queue and what keeps them in step with the knotes.

use core::mem::ManuallyDrop;
use core::time::Duration;

use super::connector::Connector;
use super::forks::ASKED;
use super::table::{At, Kind, Table};
use crate::deadline::Deadline;
use crate::epoll::{Epoll, Interest};
use crate::errno::{Errno, Result};
use crate::eventfd::EventFd;
use crate::fd::{AboveStandard, AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use crate::inotify::Inotify;
use crate::kqueue::{Filter, Notes};
use crate::raw;
use crate::signal::SignalSet;
use crate::signalfd::SignalFd;
use crate::timerfd::{Clock, TimerFd};

/// Tokens of the queue's own descriptors: the place is 0, which no knote has.
pub(super) const WRITES: u64 = 1 << 32;
pub(super) const WAKE: u64 = 2 << 32;
pub(super) const CLOCK: u64 = 3 << 32;
pub(super) const WALL: u64 = 4 << 32;
pub(super) const SIGNALS: u64 = 5 << 32;
pub(super) const NEWS: u64 = 6 << 32;
pub(super) const PROCESSES: u64 = 7 << 32;

pub(super) struct State {
    pub(super) table: Table,
    pub(super) set: Epoll,
    pub(super) writes: Option<Epoll>,
    face: Option<ManuallyDrop<Epoll>>,
    /// Whether somebody else closes `face`.
    is_given: bool,
    wake: Option<EventFd>,
    /// Whether `wake` is readable.
    called: bool,
    clock: Option<TimerFd>,
    /// For which instant `clock` is set; 0 for none.
    clock_at: u64,
    wall: Option<TimerFd>,
    wall_at: u64,
    pub(super) signals: Option<SignalFd>,
    pub(super) counted: SignalSet,
    pub(super) news: Option<Inotify>,
    /// Whether FORK, EXEC and TRACK were asked for.
    pub(super) follows: bool,
    pub(super) connector: Option<Connector>,
    /// How many knotes have notes of this kind; `connector` is there as long as any has.
    pub(super) followed: u32,
    /// Whether news was lost since all that had come was read.
    pub(super) is_news_lost: bool,
    sleepers: u32,
    /// Changes when the sets are made anew.
    epoch: u32,
    /// Those who sleep on a set of an earlier epoch.
    left_behind: u32,
    /// For which instant the latest sleeper set its alarm; later changes that come before it wake the sleepers.
    alarm: u64,
    /// Knotes that the kernel has to be asked about.
    pub(super) outside: u32,
    /// The number of this collection; never 0, which new knotes have.
    pub(super) round: u32,
    /// Whose turn it is: memory's, or the kernel's.
    pub(super) memory_first: bool,
    /// Whether an entry was met that nobody can name any more.
    pub(super) stale: bool,
    /// Whether such an entry may be in the set while there is no knote that the kernel has to be asked about.
    pub(super) orphaned: bool,
}

impl State {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            table: Table::new()?,
            set: Epoll::new()?.above_standard()?,
            writes: None,
            face: None,
            is_given: false,
            wake: None,
            called: false,
            clock: None,
            clock_at: 0,
            wall: None,
            wall_at: 0,
            signals: None,
            counted: SignalSet::default(),
            news: None,
            follows: false,
            connector: None,
            followed: 0,
            is_news_lost: false,
            sleepers: 0,
            epoch: 0,
            left_behind: 0,
            alarm: u64::MAX,
            outside: 0,
            round: 0,
            memory_first: false,
            stale: false,
            orphaned: false,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.table.len() as usize
    }

    pub(super) fn set_number(&self) -> RawFd {
        self.set.as_raw_fd()
    }

    pub(super) fn token(&self, at: At) -> u64 {
        u64::from(self.table.at(at).generation) << 32 | u64::from(at)
    }

    /// The set for WRITE knotes.
    pub(super) fn writes(&mut self) -> Result<&Epoll> {
        if self.writes.is_none() {
            let writes = Epoll::new()?.above_standard()?;
            self.set.register(&writes, Interest::IN, WRITES)?;
            self.writes = Some(writes);
        }
        self.writes.as_ref().ok_or(Errno::BADF)
    }

    pub(super) fn news(&mut self) -> Result<&Inotify> {
        if self.news.is_none() {
            let news = Inotify::new()?.above_standard()?;
            self.set.register(&news, Interest::IN, NEWS)?;
            self.news = Some(news);
        }
        self.news.as_ref().ok_or(Errno::BADF)
    }

    /// Counts these signals from now on.
    pub(super) fn count_signals(&mut self, set: SignalSet) -> Result<()> {
        match &self.signals {
            Some(signals) => signals.set(set)?,
            None => {
                let signals = SignalFd::new(set)?.above_standard()?;
                self.set.register(&signals, Interest::IN, SIGNALS)?;
                self.signals = Some(signals);
            }
        }
        self.counted = set;
        Ok(())
    }

    /// Prepares the timer of the wall clock.
    pub(super) fn need_wall(&mut self) -> Result<()> {
        if self.wall.is_none() {
            let wall = TimerFd::new(Clock::Realtime)?.above_standard()?;
            self.set.register(&wall, Interest::IN, WALL)?;
            self.wall = Some(wall);
        }
        Ok(())
    }

    fn need_wake(&mut self) -> Result<()> {
        if self.wake.is_none() {
            let wake = EventFd::counter(0)?.above_standard()?;
            self.set.register(&wake, Interest::IN, WAKE)?;
            self.wake = Some(wake);
        }
        Ok(())
    }

    /// The queue's own descriptor.
    pub(super) fn face(&mut self) -> Result<RawFd> {
        if let Some(face) = &self.face {
            return Ok(face.as_raw_fd());
        }
        self.need_wake()?;
        if self.clock.is_none() {
            let clock = TimerFd::new(Clock::Monotonic)?.above_standard()?;
            self.set.register(&clock, Interest::IN, CLOCK)?;
            self.clock = Some(clock);
        }
        let face = Epoll::new()?.above_standard()?;
        face.register(&self.set, Interest::IN, 0)?;
        let number = face.as_raw_fd();
        self.face = Some(ManuallyDrop::new(face));
        self.settle()?;
        Ok(number)
    }

    /// The queue's own descriptor, which the caller closes from now on.
    ///
    /// # Errors
    /// `EBUSY` when it was given away already.
    pub(super) fn give_face(&mut self) -> Result<OwnedFd> {
        let number = self.face()?;
        if core::mem::replace(&mut self.is_given, true) {
            return Err(Errno::BUSY);
        }
        // SAFETY: `face` is not dropped once it is given, so the answer is the one owner.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }

    // ---- sleeping -------------------------------------------------------------------------------------------------

    /// Counts a sleeper, and says when a timer ends its sleep, and the epoch to end it by.
    pub(super) fn begin_sleep(&mut self) -> Result<(Deadline, u32)> {
        self.need_wake()?;
        let next = self.table.next_instant(false).unwrap_or(u64::MAX);
        self.alarm = next;
        self.settle()?;
        self.sleepers += 1;
        Ok((Deadline::from_nanos(next.max(1)), self.epoch))
    }

    pub(super) fn end_sleep(&mut self, epoch: u32) {
        self.sleepers -= 1;
        if epoch != self.epoch {
            self.left_behind -= 1;
        }
    }

    /// A waiter leaves with what it has. Others may have relied on its alarm, so they look again.
    pub(super) fn leave(&mut self) -> Result<()> {
        if self.sleepers > 0 && self.table.next_instant(false).is_some() {
            self.alarm = u64::MAX;
        }
        self.settle()
    }

    /// Brings what a sleeper and the queue's own descriptor look at in step with the knotes.
    pub(super) fn settle(&mut self) -> Result<()> {
        if let Some(wall) = &self.wall {
            let next = self.table.next_instant(true).unwrap_or(0);
            arm(wall, &mut self.wall_at, next)?;
        }
        if let Some(clock) = &self.clock {
            let next = self.table.next_instant(false).unwrap_or(0);
            arm(clock, &mut self.clock_at, next)?;
        }
        let Some(wake) = &self.wake else { return Ok(()) };
        let sooner = self.sleepers > 0 && self.table.next_instant(false).is_some_and(|next| next < self.alarm);
        let wanted = self.table.active() > 0 || sooner || self.left_behind > 0;
        if wanted && !self.called && (self.sleepers > 0 || self.face.is_some()) {
            wake.try_add(1)?;
            self.called = true;
        } else if !wanted && self.called {
            wake.try_take()?;
            self.called = false;
        }
        Ok(())
    }

    /// The timer of a clock is not set any more, because it expired.
    pub(super) fn rang(&mut self, token: u64) -> Result<()> {
        let (timer, at) = match token {
            CLOCK => (&self.clock, &mut self.clock_at),
            _ => (&self.wall, &mut self.wall_at),
        };
        if let Some(timer) = timer {
            timer.expirations(Deadline::NOW)?;
        }
        *at = 0;
        Ok(())
    }

    // ---- removal --------------------------------------------------------------------------------------------------

    /// Removes a knote with everything that it has in the kernel. The error is the kernel's about a watched descriptor
    /// that was closed; the knote is gone all the same.
    pub(super) fn remove(&mut self, at: At) -> Result<()> {
        let slot = *self.table.at(at);
        let mut answer = Ok(());
        let filter = Filter::from_number(slot.filter);
        match filter {
            Filter::READ | Filter::WRITE if slot.kind() == Kind::Watched => {
                let set = if filter == Filter::READ { Some(&self.set) } else { self.writes.as_ref() };
                // SAFETY: epoll_ctl is told a number to forget; one that is not open is answered by EBADF.
                let fd = unsafe { BorrowedFd::borrow_raw(slot.ident as RawFd) };
                answer = set.map_or(Ok(()), |set| set.unregister(fd));
            }
            Filter::PROC => {
                if slot.number >= 0 {
                    // SAFETY: the knote owns its pidfd, and is removed below.
                    let pidfd = unsafe { OwnedFd::from_raw_fd(slot.number) };
                    // A copy of the descriptor in a forked child would keep the entry.
                    let _ = self.set.unregister(&pidfd);
                }
                if Notes::from_bits_retain(slot.notes).intersects(ASKED) {
                    self.follow_one_less();
                }
            }
            Filter::SIGNAL => {
                let signal = crate::signal::numbered(slot.ident as i32); // it was checked when it was added
                if let Some(signal) = signal.filter(|&signal| self.counted.contains(signal)) {
                    // One signal less fits where the set did.
                    let _ = self.count_signals(self.counted.without(signal));
                }
            }
            _ => {}
        }
        if self.table.is_watched(at) {
            self.forget_watch(at);
        }
        self.table.remove(at);
        if !matches!(filter, Filter::TIMER | Filter::USER) {
            self.outside -= 1;
        }
        // An entry may be left that nobody can name, and a queue without such knotes does not ask the kernel about it.
        self.orphaned |= answer.is_err() && self.outside == 0;
        answer
    }

    /// Makes both sets anew, with every entry that can still be named.
    ///
    /// # Errors
    /// What the kernel says to a new set; the old ones stay.
    pub(super) fn renew(&mut self) -> Result<()> {
        let set = Epoll::new()?.above_standard()?;
        let writes = if self.writes.is_some() { Some(Epoll::new()?.above_standard()?) } else { None };
        let own: [(Option<BorrowedFd<'_>>, u64); 6] = [
            (self.wake.as_ref().map(AsFd::as_fd), WAKE),
            (self.clock.as_ref().map(AsFd::as_fd), CLOCK),
            (self.wall.as_ref().map(AsFd::as_fd), WALL),
            (self.signals.as_ref().map(AsFd::as_fd), SIGNALS),
            (self.news.as_ref().map(AsFd::as_fd), NEWS),
            (self.connector.as_ref().map(AsFd::as_fd), PROCESSES),
        ];
        for (fd, token) in own {
            if let Some(fd) = fd {
                set.register(fd, Interest::IN, token)?;
            }
        }
        for at in self.table.places() {
            let slot = *self.table.at(at);
            if !self.table.is_used(at) {
                continue;
            }
            let filter = Filter::from_number(slot.filter);
            let (old, new) = match filter {
                Filter::PROC if slot.number >= 0 => {
                    // SAFETY: the knote owns its pidfd.
                    let pidfd = unsafe { BorrowedFd::borrow_raw(slot.number) };
                    set.register(pidfd, Interest::IN, self.token(at))?;
                    continue;
                }
                Filter::READ if slot.kind() == Kind::Watched => (Some(&self.set), Some(&set)),
                Filter::WRITE if slot.kind() == Kind::Watched => (self.writes.as_ref(), writes.as_ref()),
                _ => continue,
            };
            let (Some(old), Some(new)) = (old, new) else { continue };
            // SAFETY: as in `remove`.
            let fd = unsafe { BorrowedFd::borrow_raw(slot.ident as RawFd) };
            let (interest, token) = (super::io::interest(&slot), self.token(at));
            match old.modify(fd, interest, token) {
                Ok(()) => new.register(fd, interest, token)?,
                // Closed, and perhaps opened anew by somebody who does not know of the knote.
                Err(Errno::BADF | Errno::NOENT) => drop(self.remove(at)),
                Err(errno) => return Err(errno),
            }
        }
        if let (Some(old), Some(new)) = (&mut self.writes, writes) {
            set.register(&new, Interest::IN, WRITES)?;
            put_behind(old, new)?;
        }
        put_behind(&mut self.set, set)?;
        if let Some(writes) = &self.writes {
            // The entry of the number's former set went with that set.
            match self.set.register(writes, Interest::IN, WRITES) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        if let Some(face) = &self.face {
            match face.register(&self.set, Interest::IN, 0) {
                // It was given away, and closed.
                Err(Errno::BADF | Errno::INVAL) if self.is_given => {}
                registered => registered?,
            }
        }
        // Whoever sleeps on the old set looks at the new one.
        self.epoch = self.epoch.wrapping_add(1);
        self.left_behind = self.sleepers;
        Ok(())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(face) = self.face.take().filter(|_| !self.is_given) {
            drop(ManuallyDrop::into_inner(face));
        }
        for at in self.table.places() {
            let slot = self.table.at(at);
            if self.table.is_used(at) && slot.filter == Filter::PROC.number() && slot.number >= 0 {
                // SAFETY: the knote owns its pidfd, and nobody looks at the table after this.
                drop(unsafe { OwnedFd::from_raw_fd(slot.number) });
            }
        }
    }
}

/// `dup3(new, old, O_CLOEXEC)`: the old number names the new set.
fn put_behind(old: &mut Epoll, new: Epoll) -> Result<()> {
    // SAFETY: both are open descriptors of this queue; the one that `old` stood for is closed, and `old` owns the other.
    raw::call_c("dup3", || unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) }).map(drop)
}

/// Sets a timer for an instant of its clock, unless it is set for it; 0 for none.
fn arm(timer: &TimerFd, at: &mut u64, next: u64) -> Result<()> {
    if *at == next {
        return Ok(());
    }
    if next == 0 {
        timer.disarm()?
    } else {
        timer.set_at(Duration::from_nanos(next))?
    }
    *at = next;
    Ok(())
}
