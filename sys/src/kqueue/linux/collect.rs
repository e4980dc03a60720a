//! Collects what is due in memory and what is ready in the kernel, in turns, into the caller's buffer.

use core::mem::MaybeUninit;

use super::change::now;
use super::io;
use super::state::{CLOCK, NEWS, PROCESSES, QueueState, SIGNALS, WAKE, WALL, WRITES};
use super::table::{At, Kind, Slot};
use crate::deadline::Deadline;
use crate::epoll::{Event, Interest};
use crate::errno::{Errno, Result, retry};
use crate::fd::{BorrowedFd, FromRawFd, OwnedFd};
use crate::kqueue::{Filter, Flags, Kevent, Notes};
use crate::raw::process::{RawUsage, WaitFor, pidfd_exit_status, waitid};
use crate::timerfd::Clock;

/// The caller's buffer for events, filled from the front.
pub(super) struct Found<'e> {
    events: &'e mut [MaybeUninit<Kevent>],
    filled: usize,
}

impl<'e> Found<'e> {
    pub(super) fn new(events: &'e mut [MaybeUninit<Kevent>]) -> Self {
        Self { events, filled: 0 }
    }

    /// Writes one event if there is room.
    pub(super) fn push(&mut self, event: Kevent) {
        if let Some(place) = self.events.get_mut(self.filled) {
            place.write(event);
            self.filled += 1;
        }
    }

    pub(super) fn room(&self) -> usize {
        self.events.len() - self.filled
    }

    pub(super) fn is_full(&self) -> bool {
        self.room() == 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub(super) fn into_filled(self) -> &'e [Kevent] {
        // SAFETY: `push` wrote the first `filled` elements, and they stay borrowed for as long.
        unsafe { core::slice::from_raw_parts(self.events.as_ptr().cast(), self.filled) }
    }
}

impl QueueState {
    /// Puts the events to be reported into `found`, up to its capacity.
    ///
    /// # Errors
    /// The kernel's error for a queue without a descriptor left for new sets.
    pub(super) fn collect(&mut self, found: &mut Found<'_>) -> Result<()> {
        self.round = self.round.wrapping_add(1).max(1);
        self.memory_first = !self.memory_first;
        self.expire();
        // Such an entry would never come up, because the kernel is not called. A sleeper would not sleep.
        let renewed = if self.orphans > 0 && self.outside == 0 { self.renew() } else { Ok(()) };
        if self.memory_first {
            self.take_active(found);
        }
        let before = self.table.active();
        if (self.outside > 0 || self.has_wall()) && !found.is_full() {
            self.ask_kernel(found)?;
        }
        if self.stale {
            self.stale = false;
            self.renew()?;
        }
        if !self.memory_first || self.table.active() != before {
            self.take_active(found);
        }
        renewed
    }

    /// Counts the expirations of the timers that are due.
    fn expire(&mut self) {
        for wall in [false, true] {
            if self.table.next_instant(wall).is_none() {
                continue;
            }
            let now = now(if wall { Clock::Realtime } else { Clock::Monotonic });
            while let Some(at) = self.table.next_expired(wall, now) {
                let slot = self.table.at_mut(at);
                let is_timer = slot.filter == Filter::TIMER.number(); // or one of `look_again`
                match (now - slot.instant).checked_div(slot.period).filter(|_| is_timer) {
                    Some(whole) => {
                        let missed = whole + 1;
                        slot.count = slot.count.saturating_add(missed);
                        slot.instant = slot.instant.saturating_add(missed.saturating_mul(slot.period));
                        self.table.start(at);
                    }
                    None => slot.count = slot.count.saturating_add(1),
                }
                self.table.activate(at);
            }
        }
    }

    /// Reports the active knotes. A knote that remains active goes to the end of the list, and each knote is reported
    /// once.
    fn take_active(&mut self, found: &mut Found<'_>) {
        for _ in 0..self.table.active() {
            if found.is_full() {
                return;
            }
            let Some(at) = self.table.next_active() else { return };
            if self.table.at(at).round == self.round {
                self.table.activate(at);
            } else {
                self.report_active(at, found);
            }
        }
    }

    fn report_active(&mut self, at: At, found: &mut Found<'_>) {
        let slot = *self.table.at(at);
        let flags = Flags::from_bits_retain(slot.flags);
        let clears = flags.contains(Flags::CLEAR);
        let event = event_of(&slot);
        match Filter::from_number(slot.filter) {
            Filter::READ | Filter::WRITE => {
                let seen = Interest::from_bits_retain(slot.found);
                let is_kept = slot.kind() == Kind::Watched && !io::has_low_water(&slot);
                match self.level(&slot, seen) {
                    Err(_) => drop(self.remove(at)),
                    // An edge for which there was no room, and whose cause ended meanwhile: waits for the next one.
                    Ok(_) if is_kept && !io::is_ready(&slot) => drop(self.enter(at, false)),
                    Ok(level) if level.is_ready => {
                        if !clears && !is_kept {
                            self.table.activate(at);
                        }
                        self.report_level(at, &slot, level.data, seen, found);
                    }
                    // Linux reports new room only if there was none before.
                    Ok(_) if slot.filter == Filter::WRITE.number() => self.look_again(at),
                    Ok(_) => {}
                }
            }
            Filter::USER if slot.count > 0 => {
                if clears {
                    self.table.at_mut(at).count = 0;
                } else {
                    self.table.activate(at);
                }
                self.report(at, event.with_notes(Notes::from_bits_retain(slot.notes)).with_data(slot.data), found);
            }
            Filter::VNODE if slot.found != 0 => {
                if clears {
                    self.table.at_mut(at).found = 0;
                } else {
                    self.table.activate(at);
                }
                self.report(at, event.with_notes(Notes::from_bits_retain(slot.found)), found);
            }
            Filter::PROC if slot.found & !Notes::EXIT.bits() != 0 => self.report_news(at, &slot, found),
            Filter::PROC if slot.found != 0 => {
                let event = event.with_notes(Notes::from_bits_retain(slot.found)).with_data(slot.data);
                self.table.at_mut(at).flags |= Flags::ONESHOT.bits();
                self.report(at, event.with_flags(event.flags() | Flags::EOF | Flags::ONESHOT), found);
            }
            Filter::TIMER | Filter::SIGNAL if slot.count > 0 => {
                self.table.at_mut(at).count = 0;
                // The BSDs document that these clear themselves.
                let flags = event.flags() | Flags::CLEAR;
                let data = i64::try_from(slot.count).unwrap_or(i64::MAX);
                self.report(at, event.with_flags(flags).with_data(data), found);
            }
            _ => {}
        }
    }

    /// Reports the events of a process before its end. Its end follows in an event of its own, because both have data.
    fn report_news(&mut self, at: At, slot: &Slot, found: &mut Found<'_>) {
        let end = Notes::EXIT.bits() & slot.found;
        let notes = Notes::from_bits_retain(slot.found ^ end);
        let event = event_of(slot).with_notes(notes);
        let parent = if notes.contains(Notes::CHILD) { i64::from(slot.parent) } else { 0 };
        let mut flags = event.flags() | Flags::CLEAR; // as the BSDs say
        self.table.at_mut(at).found = end;
        if end != 0 {
            self.table.activate(at);
        } else if slot.is_over() {
            // The end was not requested.
            flags |= Flags::EOF | Flags::ONESHOT;
            self.table.at_mut(at).flags |= Flags::ONESHOT.bits();
        }
        self.report(at, event.with_flags(flags).with_data(parent), found);
    }

    /// Schedules another check of a WRITE knote whose room is below its mark, as if the knote were a timer.
    fn look_again(&mut self, at: At) {
        /// The time until the next check, in nanoseconds.
        const WHILE: u64 = 10_000_000;
        self.table.at_mut(at).instant = now(Clock::Monotonic) + WHILE;
        self.table.start(at);
    }

    /// Reports an event, and changes its knote as its flags require.
    fn report(&mut self, at: At, event: Kevent, found: &mut Found<'_>) {
        found.push(event);
        let slot = self.table.at_mut(at);
        slot.round = self.round;
        let flags = Flags::from_bits_retain(slot.flags);
        if flags.contains(Flags::ONESHOT) {
            // The kernel's error for a descriptor that was closed meanwhile is ignored: the event was reported.
            let _ = self.remove(at);
        } else if flags.contains(Flags::DISPATCH) {
            slot.set_disabled(true);
            self.table.deactivate(at);
        }
    }

    fn report_level(&mut self, at: At, slot: &Slot, data: i64, seen: Interest, found: &mut Found<'_>) {
        let mut event = event_of(slot).with_data(data);
        if slot.kind() == Kind::Watched {
            if io::is_over(slot, seen) {
                event = event.with_flags(event.flags() | Flags::EOF);
            }
            let reported = self.table.at_mut(at);
            (reported.len, reported.found) = (data, seen.bits());
        }
        let was_one_shot = io::interest(slot).contains(Interest::ONESHOT);
        self.report(at, event, found);
        let is_there = self.table.of_generation(at, slot.generation).is_some();
        if is_there && slot.kind() == Kind::Watched && !was_one_shot && self.table.at(at).is_disabled() {
            // Epoll disabled the entry of a DISPATCH knote itself, but not one that is edge-triggered.
            let _ = self.enter(at, false);
        }
    }

    // ---- the kernel -----------------------------------------------------------------------------------------------

    fn ask_kernel(&mut self, found: &mut Found<'_>) -> Result<()> {
        /// The number of events at once that fit on a page of the stack.
        const BATCH: usize = 128;
        let mut room = [MaybeUninit::<Event>::uninit(); BATCH];
        let mut is_again = false;
        // The queue's own descriptors that were reported: these take no room.
        let mut own = 0_u64;
        loop {
            let most = found.room().min(BATCH);
            let (room, _) = room.split_at_mut(most);
            let events = self.set.poll(room, Deadline::NOW)?;
            let count = events.len();
            for event in events {
                match event.token() {
                    WRITES => self.ask_writes(found)?,
                    WAKE => {} // `rearm` takes it
                    CLOCK | WALL => self.rang(event.token())?,
                    SIGNALS => self.read_signals()?,
                    NEWS => self.read_news()?,
                    PROCESSES => self.read_processes()?,
                    token => {
                        is_again |= self.met(token, event.flags(), found);
                        continue;
                    }
                }
                let bit = 1 << (event.token() >> 32);
                is_again |= own & bit != 0;
                own |= bit;
            }
            // A knote that comes up again was ready all the time: all knotes have come up.
            if count < most || is_again || found.is_full() {
                return Ok(());
            }
        }
    }

    fn ask_writes(&mut self, found: &mut Found<'_>) -> Result<()> {
        const BATCH: usize = 128;
        let mut room = [MaybeUninit::<Event>::uninit(); BATCH];
        loop {
            let most = found.room().min(BATCH);
            let (room, _) = room.split_at_mut(most);
            let Some(writes) = self.writes.as_ref().filter(|_| most > 0) else { return Ok(()) };
            let events = writes.poll(room, Deadline::NOW)?;
            let (count, mut is_again) = (events.len(), false);
            for event in events {
                is_again |= self.met(event.token(), event.flags(), found);
            }
            if count < most || is_again {
                return Ok(());
            }
        }
    }

    /// Handles an entry that is ready. Returns true if it came up in this collection already.
    fn met(&mut self, token: u64, flags: Interest, found: &mut Found<'_>) -> bool {
        // The halves of a token.
        let (at, generation) = (token as u32, (token >> 32) as u32);
        let Some(at) = self.table.of_generation(at, generation) else {
            self.stale = true;
            return true;
        };
        let slot = *self.table.at(at);
        if slot.filter == Filter::PROC.number() {
            // What the process did before its end is on its way; an error comes again with the socket's own event.
            let _ = self.read_processes();
            self.ended(at);
            return false;
        }
        if slot.is_disabled() {
            return false;
        }
        if slot.round == self.round {
            self.met_again(at, &slot, flags);
            return true;
        }
        let is_told_again = !io::interest(&slot).intersects(Interest::ET | Interest::ONESHOT);
        if found.is_full() && is_told_again {
            return true;
        }
        if found.is_full() || io::has_low_water(&slot) {
            self.table.at_mut(at).found = flags.bits();
            self.table.activate(at);
            return false;
        }
        // An edge that is left over from a full list has the same state.
        self.table.deactivate(at);
        match self.level(&slot, flags) {
            Err(_) => drop(self.remove(at)),
            Ok(level) => self.report_level(at, &slot, level.data, flags, found),
        }
        false
    }

    /// An entry that was reported in this collection is ready again. An edge that came after the report is kept for the
    /// next collection, unless the report already shows the current state.
    fn met_again(&mut self, at: At, slot: &Slot, flags: Interest) {
        if !io::interest(slot).contains(Interest::ET) {
            return;
        }
        let is_over = |found| io::is_over(slot, found);
        let was_over = is_over(Interest::from_bits_retain(slot.found));
        let is_told = |level: io::Level| level.data == slot.len && is_over(flags) == was_over;
        if !self.level(slot, flags).is_ok_and(is_told) {
            self.table.at_mut(at).found = flags.bits();
            self.table.activate(at);
        }
    }

    fn read_signals(&mut self) -> Result<()> {
        let mut room = [MaybeUninit::uninit(); 16];
        loop {
            let Some(signals) = &self.signals else { return Ok(()) };
            let infos = signals.read(&mut room, Deadline::NOW)?;
            for info in infos {
                let Some(signal) = info.signal() else { continue };
                let Some(at) = self.table.find(signal.as_raw() as usize, Filter::SIGNAL.number()) else { continue };
                let slot = self.table.at_mut(at);
                slot.count = slot.count.saturating_add(1);
                self.table.activate(at);
            }
            if infos.len() < 16 {
                return Ok(());
            }
        }
    }

    /// The process of a knote has ended.
    fn ended(&mut self, at: At) {
        let slot = self.table.at_mut(at);
        let number = core::mem::replace(&mut slot.number, -1);
        if number < 0 {
            return;
        }
        // SAFETY: the knote owned its pidfd, and does not any more.
        let pidfd = unsafe { OwnedFd::from_raw_fd(number) };
        let _ = self.set.unregister(&pidfd);
        self.end(at, status(&pidfd));
    }

    fn has_wall(&self) -> bool {
        self.table.next_instant(true).is_some()
    }
}

/// Makes an event of a knote, without its data.
fn event_of(slot: &Slot) -> Kevent {
    let filter = Filter::from_number(slot.filter);
    Kevent::new(slot.ident, filter).with_flags(Flags::from_bits_retain(slot.flags)).with_udata(slot.udata)
}

/// How a process ended, in the form of wait(2); 0 where the kernel does not report it.
fn status(pidfd: &OwnedFd) -> i64 {
    use crate::fd::AsFd;
    /// The options of waitid(2), which leave the child for its parent to reap.
    const LOOK: i32 = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let pidfd: BorrowedFd<'_> = pidfd.as_fd();
    let mut usage = RawUsage::default();
    let waited = retry(|| waitid(WaitFor::Pidfd(pidfd), LOOK, &mut usage));
    match waited {
        Ok(Some(waited)) => match waited.code {
            libc::CLD_EXITED => i64::from(waited.status & 0xff) << 8,
            libc::CLD_DUMPED => i64::from(waited.status | 0x80),
            _ => i64::from(waited.status),
        },
        Ok(None) | Err(Errno::CHILD) | Err(_) => pidfd_exit_status(pidfd).ok().flatten().map_or(0, i64::from),
    }
}
