//! The descriptors of a queue, and the operations that keep them in step with the knotes.

use core::mem::ManuallyDrop;
use core::time::Duration;

use super::connector::Connector;
use super::sleepers::{Sleepers, Wakeup};
use super::table::{At, FilterTable, Kind};
use crate::deadline::Deadline;
use crate::epoll::{Epoll, Interest};
use crate::errno::{Errno, Result};
use crate::eventfd::EventFd;
use crate::fd::{AboveStandard, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use crate::inotify::Inotify;
use crate::kqueue::{Filter, Notes};
use crate::signal::SignalSet;
use crate::signalfd::SignalFd;
use crate::timerfd::{Clock, TimerFd};

/// Tokens of the queue's own descriptors: their place is 0, which no knote has.
pub(super) const WRITES: u64 = 1 << 32;
pub(super) const WAKE: u64 = 2 << 32;
pub(super) const CLOCK: u64 = 3 << 32;
pub(super) const WALL: u64 = 4 << 32;
pub(super) const SIGNALS: u64 = 5 << 32;
pub(super) const NEWS: u64 = 6 << 32;
pub(super) const PROCESSES: u64 = 7 << 32;

/// The notes that a knote may request beside EXIT.
pub(super) const ASKED: Notes = Notes::FORK.union(Notes::EXEC).union(Notes::TRACK);

pub(super) struct QueueState {
    pub(super) table: FilterTable,
    pub(super) set: Epoll,
    pub(super) writes: Option<Epoll>,
    pub(super) face: Option<ManuallyDrop<Epoll>>,
    /// Whether the receiver of `face` closes it.
    pub(super) is_given: bool,
    /// Whether `set` must be added to `face` again.
    pub(super) is_hidden: bool,
    pub(super) wake: Option<EventFd>,
    pub(super) clock: Option<TimerFd>,
    /// The instant for which `clock` is set; 0 for none.
    clock_at: u64,
    pub(super) wall: Option<TimerFd>,
    wall_at: u64,
    pub(super) signals: Option<SignalFd>,
    pub(super) counted: SignalSet,
    pub(super) news: Option<Inotify>,
    /// Whether FORK, EXEC and TRACK are enabled.
    pub(super) follows: bool,
    pub(super) connector: Option<Connector>,
    /// The number of knotes with such notes; `connector` exists while there are any.
    pub(super) followed: u32,
    /// Whether events were lost since all pending events were last read.
    pub(super) is_news_lost: bool,
    pub(super) sleepers: Sleepers,
    /// The number of knotes that need a question to the kernel.
    pub(super) outside: u32,
    /// The number of this collection; never 0, the number in new knotes.
    pub(super) round: u32,
    /// Whether memory comes first this time, before the kernel.
    pub(super) memory_first: bool,
    /// Whether an entry came up that cannot be named any more.
    pub(super) stale: bool,
    /// The maximum number of such entries since the sets were made.
    pub(super) orphans: u32,
}

impl QueueState {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            table: FilterTable::new()?,
            set: Epoll::new()?.above_standard()?,
            writes: None,
            face: None,
            is_given: false,
            is_hidden: false,
            wake: None,
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
            sleepers: Sleepers::new(),
            outside: 0,
            round: 0,
            memory_first: false,
            stale: false,
            orphans: 0,
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
        self.rearm()?;
        Ok(number)
    }

    /// The queue's own descriptor, which the caller must close.
    ///
    /// # Errors
    /// `EBUSY` when it was given away already.
    pub(super) fn give_face(&mut self) -> Result<OwnedFd> {
        let number = self.face()?;
        if core::mem::replace(&mut self.is_given, true) {
            return Err(Errno::BUSY);
        }
        // SAFETY: `face` is not dropped after it is given, so the result is the only owner.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }

    // ---- sleeping -------------------------------------------------------------------------------------------------

    /// Counts a sleeper. Returns the instant at which a timer ends its sleep, and the epoch for [`Sleepers::end`].
    pub(super) fn begin_sleep(&mut self) -> Result<(Deadline, u32)> {
        self.need_wake()?;
        let next = self.table.next_instant(false);
        let epoch = self.sleepers.begin(next);
        self.rearm().inspect_err(|_| self.sleepers.end(epoch))?;
        Ok((Deadline::from_nanos(next.unwrap_or(u64::MAX).max(1)), epoch))
    }

    /// Records that a waiter leaves with its events. Other waiters may have relied on its alarm, so they are woken.
    pub(super) fn leave(&mut self) -> Result<()> {
        self.sleepers.leave(self.table.next_instant(false));
        self.rearm()
    }

    /// Updates the descriptors that a sleeper and the queue's own descriptor watch, to match the knotes.
    pub(super) fn rearm(&mut self) -> Result<()> {
        self.show()?;
        if let Some(wall) = &self.wall {
            let next = self.table.next_instant(true).unwrap_or(0);
            arm(wall, &mut self.wall_at, next)?;
        }
        if let Some(clock) = &self.clock {
            let next = self.table.next_instant(false).unwrap_or(0);
            arm(clock, &mut self.clock_at, next)?;
        }
        let Some(wake) = &self.wake else { return Ok(()) };
        let (is_active, next) = (self.table.active() > 0, self.table.next_instant(false));
        let begins = match self.sleepers.wakeup(is_active, next, self.face.is_some()) {
            Wakeup::Keep => return Ok(()),
            Wakeup::Begin => wake.try_add(1).map(|_| true)?,
            Wakeup::End => wake.try_take().map(|_| false)?,
        };
        self.sleepers.set_rings(begins);
        Ok(())
    }

    /// Records that the timer of a clock expired, so that it is not set any more.
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

    /// Removes a knote with everything that it has in the kernel. An error concerns a watched descriptor that was
    /// closed; the knote is removed anyway.
    pub(super) fn remove(&mut self, at: At) -> Result<()> {
        let slot = *self.table.at(at);
        let mut answer = Ok(());
        let filter = Filter::from_number(slot.filter);
        match filter {
            Filter::READ | Filter::WRITE if slot.kind() == Kind::Watched => {
                let set = if filter == Filter::READ { Some(&self.set) } else { self.writes.as_ref() };
                // SAFETY: epoll_ctl takes a number to forget, and returns EBADF for one that is not open.
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
        if answer.is_err() {
            self.orphans = self.orphans.saturating_add(1);
        }
        answer
    }
}

impl Drop for QueueState {
    fn drop(&mut self) {
        if let Some(face) = self.face.take().filter(|_| !self.is_given) {
            drop(ManuallyDrop::into_inner(face));
        }
        for at in self.table.places() {
            let slot = self.table.at(at);
            if self.table.is_used(at) && slot.filter == Filter::PROC.number() && slot.number >= 0 {
                // SAFETY: the knote owns its pidfd, and no code reads the table after this.
                drop(unsafe { OwnedFd::from_raw_fd(slot.number) });
            }
        }
    }
}

/// Sets a timer to an instant of its clock, unless it is already set to it; 0 for none.
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
