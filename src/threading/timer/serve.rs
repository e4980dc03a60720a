//! The work of the timer threads, by the table of the [wheel](super::wheel).

use std::fmt::Arguments;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::futex::Limit;
use ossature_sys::process::generation;
use ossature_sys::sched;
use ossature_sys::sync::lock::Guard;

use super::shot::{INITIAL, OVER, PENDING, Shot, finish, fire};
use super::wheel::{Begun, Call, Leader, Timers, allow_threads, max_threads};
use crate::error::{Error, ErrorKind, Result};
use crate::thread::{Native, Plan, catch, install};
use crate::threading::inner::{Inner, Kind, Thread, set_current, set_inherited, take_current};
use crate::threading::registry::{Registry, registry, shutting_down};
use crate::threading::{hooks, local};

/// The time for which a thread is kept when no timer is pending.
const LINGER: Duration = Duration::from_millis(100);

/// The target of the messages in the `log` facade.
const TARGET: &str = "threading";

pub(super) fn set_max_threads(most: NonZeroUsize) {
    allow_threads(most);
    registry().fill_vacancy();
}

pub(super) fn delayed() -> u64 {
    registry().wheel.timers.lock().delayed
}

impl Registry {
    pub(super) fn start(&'static self, shot: &Arc<Shot>, at: Deadline) -> Result<()> {
        let state = &shot.state;
        let mut timers = self.wheel.settled();
        if timers.closed {
            return Err(shutting_down("can't start the timer"));
        }
        state.generation.store(generation(), Relaxed);
        if state.phase.compare_exchange(INITIAL, PENDING, Relaxed, Relaxed).is_err() {
            return Err(Error::new(ErrorKind::AlreadyStarted, "the timer was already started: make a new timer"));
        }
        timers.queue.push(at, shot.clone());
        timers.awaited += usize::from(!state.daemon.load(Relaxed));
        if timers.wake_leader(at) {
            drop(timers);
            self.wheel.sooner.notify(1);
            return Ok(());
        }
        let call = timers.call();
        drop(timers);
        self.answer(call).or_else(|error| self.unstart(shot, error))
    }

    /// Removes a timer that no thread would wait for, unless a thread has started meanwhile.
    #[cold]
    fn unstart(&self, shot: &Arc<Shot>, error: Error) -> Result<()> {
        let mut timers = self.wheel.settled();
        let served = timers.threads > 0;
        let pending = shot.state.phase.load(Relaxed) == PENDING;
        if served || !pending {
            return Ok(());
        }
        timers.queue.remove(shot);
        timers.awaited -= usize::from(!shot.state.daemon.load(Relaxed));
        shot.state.phase.store(INITIAL, Relaxed);
        Err(error)
    }

    pub(super) fn cancel(&self, shot: &Arc<Shot>) -> bool {
        let mut timers = self.wheel.timers.lock();
        if shot.state.phase.compare_exchange(PENDING, OVER, Relaxed, Relaxed).is_err() {
            return false;
        }
        timers.queue.note_cancelled();
        let calm = timers.release(shot);
        // A leader that waits for nothing is to know it, so that it can end.
        let alone = timers.queue.len() == 0 && matches!(timers.leader, Leader::Asleep(_));
        if alone {
            timers.leader = Leader::Awake;
        }
        drop(timers);
        if alone {
            self.wheel.sooner.notify(1);
        }
        self.tell_calm(calm);
        true
    }

    /// Wakes a shutdown that waits for timers, if `calm`: there is none left to wait for.
    fn tell_calm(&self, calm: bool) {
        if calm {
            self.wheel.calm.notify_all();
        }
    }

    /// Makes a thread the leader, if there is none, after the maximum number of threads was raised.
    fn fill_vacancy(&'static self) {
        let call = self.wheel.timers.lock().call();
        // Without a new thread the timers wait until a callback returns.
        let _ = self.answer(call);
    }

    /// Wakes or starts the leader that `call` requests.
    ///
    /// # Errors
    /// The system could not start a thread, and there is no other thread for timers.
    fn answer(&'static self, call: Call) -> Result<()> {
        match call {
            Call::Nobody => Ok(()),
            Call::Idle => {
                self.wheel.called.notify(1);
                Ok(())
            }
            Call::Vacant { waiting } => {
                if let Some(waiting) = waiting {
                    let most = max_threads();
                    log(format_args!(
                        "all {most} threads for timers are in callbacks, {waiting} timers wait: \
                         Timer::set_max_threads allows more"
                    ));
                }
                Ok(())
            }
            Call::New => self.start_thread().or_else(|error| self.go_without(error)),
        }
    }

    fn start_thread(&'static self) -> Result<()> {
        install();
        let inner = Arc::new(Inner::new(Native::new(), Kind::Service, Some("Timer".into()), true));
        let (thread, plan) = (inner.clone(), Plan { name: Some("Timer".into()), stack: 0 });
        let body = move || {
            thread.native.enter();
            set_current(thread.clone());
            self.serve(&Thread::of(thread.clone()));
            drop(take_current());
            thread.native.leave();
        };
        inner.native.start(plan, |_| Ok(()), body).map(drop)
    }

    /// Handles a failed start of a thread: the timers wait for another thread, if there is one.
    #[cold]
    fn go_without(&self, error: Error) -> Result<()> {
        let mut timers = self.wheel.timers.lock();
        self.wheel.first_is_known(&mut timers);
        timers.threads -= 1;
        // Unless a thread that returned from a callback leads meanwhile.
        if timers.leader == Leader::Coming {
            timers.leader = Leader::None;
        }
        if timers.threads == 0 {
            return Err(error);
        }
        if timers.leader == Leader::None && timers.leave_vacant().is_some() {
            drop(timers);
            log(format_args!("no thread for timers ({error}): due timers wait until a callback ends"));
        }
        Ok(())
    }

    /// The main loop of a timer thread.
    fn serve(&'static self, me: &Thread) {
        // Wakes are then as exact as those of a timerfd, which has no slack. If a sandbox forbids the call, they are a
        // little later.
        let _ = sched::set_timer_slack(Duration::from_nanos(1));
        let mut timers = self.wheel.timers.lock();
        self.wheel.first_is_known(&mut timers);
        loop {
            if timers.wants_leader() {
                let Some((begun, call)) = self.lead(timers) else { return };
                // If no thread is free, the other timers wait until this thread is back.
                let _ = self.answer(call);
                self.run(me, begun);
                timers = self.wheel.timers.lock();
                continue;
            }
            if timers.threads > max_threads() {
                return self.end(timers);
            }
            // One idle thread is kept while a timer is pending, so that not every call starts a thread.
            let spare = timers.idle == 0 && timers.queue.len() > 0;
            timers.idle += 1;
            let called;
            let limit = if spare { Limit::NEVER } else { LINGER.into() };
            (timers, called) = self.wheel.called.wait_timeout(timers, limit);
            timers.idle -= 1;
            if !called && !timers.wants_leader() {
                return self.end(timers);
            }
        }
    }

    /// Ends a thread; idle threads wake to check whether they are needed.
    fn end(&self, mut timers: Guard<'_, Timers>) {
        timers.threads -= 1;
        let idle = timers.idle;
        drop(timers);
        if idle > 0 {
            self.wheel.called.notify_all();
        }
    }

    /// Calls a timer, and then the timers that became due meanwhile.
    fn run(&'static self, me: &Thread, mut begun: Begun) {
        loop {
            let Begun { number, shot, late } = begun;
            if let Some(late) = late {
                log(format_args!(
                    "a timer is called {late:?} late, because every thread for timers was in a callback: \
                     Timer::set_max_threads allows more"
                ));
            }
            set_inherited(shot.state.daemon.load(Relaxed));
            if let Err(escaped) = catch(|| fire(&shot)) {
                hooks::report(me, &escaped);
            }
            local::clear();
            finish(&shot);
            let mut timers = self.wheel.timers.lock();
            timers.calling -= 1;
            let calm = timers.release(&shot);
            let next = timers.begin_next(number);
            // The leader may sleep until this call would have been slow.
            let sleeps = match timers.queue.first() {
                Some(at) if next.is_none() => timers.wake_leader(at),
                _ => false,
            };
            drop(timers);
            drop(shot);
            if sleeps {
                self.wheel.sooner.notify(1);
            }
            self.tell_calm(calm);
            match next {
                Some(next) => begun = next,
                None => return,
            }
        }
    }

    /// Waits for the first timer and takes it, with the call for the next leader. Ends the thread if no timer was
    /// pending for [`LINGER`].
    fn lead(&'static self, mut timers: Guard<'_, Timers>) -> Option<(Begun, Call)> {
        if std::mem::take(&mut timers.vacant) {
            timers.vacant_until = Deadline::after(Duration::from_nanos(1));
        }
        let mut lingered = false;
        loop {
            timers.leader = Leader::Awake;
            let first = timers.queue.first().map(|at| timers.look_at(at));
            let until = match first {
                // The limit is lower now: this thread is one too many.
                Some(at) if at.has_passed() && timers.calling >= max_threads() => {
                    timers.leader = Leader::None;
                    let waiting = timers.leave_vacant().filter(|_| max_threads() > 1);
                    self.end(timers);
                    let _ = self.answer(Call::Vacant { waiting }); // logs only
                    return None;
                }
                Some(at) if at.has_passed() => {
                    timers.leader = Leader::None;
                    let Some(begun) = timers.begin() else { continue };
                    return Some((begun, timers.call()));
                }
                Some(at) => {
                    timers.leader = Leader::Asleep(at);
                    at
                }
                None if lingered => {
                    timers.leader = Leader::None;
                    self.end(timers);
                    return None;
                }
                None => {
                    let until = Deadline::after(LINGER);
                    timers.leader = Leader::Lingering(until);
                    until
                }
            };
            let woken;
            (timers, woken) = self.wheel.sooner.wait_timeout(timers, until);
            lingered = first.is_none() && !woken;
        }
    }
}

/// Logs a warning. No lock is held, and a panic of the logger ends no thread.
fn log(message: Arguments<'_>) {
    let _ = catch(|| log::warn!(target: TARGET, "{message}"));
}
