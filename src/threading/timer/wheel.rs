//! The threads of all timers: one sleeps, one calls, and another is started only when a callback is slow.
//!
//! | role | threads | what it does |
//! | --- | --- | --- |
//! | leader | at most one | sleeps until the first timer is due, and takes it |
//! | runner | at most one | calls the due timers, one after the other |
//! | slow | any | still in a callback that the leader has given up waiting for |
//! | idle | any | waits to become the leader |
//!
//! | from | to | when |
//! | --- | --- | --- |
//! | leader | runner | a timer is due, and there is no runner, or the runner's callback has lasted [`SLOW`]; the lead goes to an idle or a new thread |
//! | runner | runner | its callback has ended, and the next timer is due: the same thread calls it |
//! | runner | idle | its callback has ended, and nothing is due |
//! | runner | slow | its callback has lasted `SLOW`, a timer is due, and the leader takes that timer |
//! | slow | leader, idle | its callback has ended; it leads if nobody does |
//! | idle | leader | the lead is vacant |
//! | leader, idle | ended | nothing is pending for [`LINGER`] |
//!
//! A thread that starts a timer before the leader's instant wakes the leader, and so does a runner that goes idle.
//! All threads together are never more than [`max_threads`]. When they are all in callbacks, the lead is *vacant*: the
//! first thread that comes back leads. A timer that is called late because of that is counted and logged.

use std::fmt::Arguments;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::futex::Limit;
use ossature_sys::process::generation;
use ossature_sys::sched;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::lock::{Guard, Lock};

use super::super::Thread;
use super::super::hooks;
use super::super::inner::{Inner, Kind, set_current, set_inherited, take_current};
use super::super::registry::{Registry, registry};
use super::super::shutting_down;
use super::queue::Queue;
use super::{INITIAL, OVER, PENDING, RUNNING, Shot, finish, fire};
use crate::error::{Error, ErrorKind, Result};
use crate::thread::{Native, Plan, catch, install};

/// How long a thread is kept when no timer is pending.
const LINGER: Duration = Duration::from_millis(100);

/// How long a callback may last before another thread calls the next timer that is due.
const SLOW: Duration = Duration::from_millis(1);

/// The target of the messages in the `log` facade.
const TARGET: &str = "threading";

/// How many threads timers may have. A forked child inherits its parent's setting.
static MAX_THREADS: AtomicUsize = AtomicUsize::new(64);

pub(super) fn max_threads() -> usize {
    MAX_THREADS.load(Relaxed)
}

pub(super) fn set_max_threads(most: NonZeroUsize) {
    MAX_THREADS.store(most.get(), Relaxed);
    registry().fill_vacancy();
}

pub(super) fn delayed() -> u64 {
    registry().wheel.timers.lock().delayed
}

/// Who waits for the first timer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leader {
    None,
    /// Somebody was called, and has not come yet. There is never more than one such call.
    Coming,
    /// The leader is awake, and will look at the queue again before it sleeps.
    Awake,
    /// It sleeps until then.
    Asleep(Deadline),
    /// It has nothing to wait for, and stays until then in case something comes.
    Lingering(Deadline),
}

/// The call that is in progress and not known to be slow.
#[derive(Clone, Copy)]
struct Runner {
    /// The number of the call. A slow runner finds another number, or none.
    number: u64,
    /// When the call counts as slow.
    slow_at: Deadline,
}

struct Timers {
    queue: Queue,
    /// How many are pending or running that shutdown waits for.
    awaited: usize,
    leader: Leader,
    runner: Option<Runner>,
    /// The number of the last call.
    calls: u64,
    /// How many threads there are, whatever they do.
    threads: usize,
    /// How many threads are in callbacks.
    calling: usize,
    /// The first thread is being started, and may not come.
    first_is_due: bool,
    /// How many threads wait to become the leader.
    idle: usize,
    /// There is no leader, because all threads are in callbacks.
    vacant: bool,
    /// When the lead was last vacant.
    vacant_until: Deadline,
    /// How many timers were called late because every thread was in a callback.
    delayed: u64,
    /// The vacancy has been logged.
    told: bool,
    closed: bool,
}

/// The timers of one process.
pub(in super::super) struct Wheel {
    timers: Lock<Timers>,
    /// The leader waits here for a timer before its instant.
    sooner: Condition,
    /// Idle threads wait here until a leader is called or a thread has ended.
    called: Condition,
    /// No timer is left that shutdown waits for.
    calm: Condition,
    /// The first thread has come, or cannot be started.
    first: Condition,
}

/// How to get a leader, once the lock is released.
#[must_use = "nobody leads otherwise"]
enum Call {
    Nobody,
    Idle,
    New,
    /// Every thread is in a callback, and this number of timers is known to wait.
    Vacant {
        waiting: Option<usize>,
    },
}

/// A timer that the calling thread has taken, to call it.
struct Begun {
    number: u64,
    shot: Arc<Shot>,
    /// How late the timer is because no thread was free, if that is to be logged.
    late: Option<Duration>,
}

impl Timers {
    /// Sees to it that somebody will lead.
    fn call(&mut self) -> Call {
        if self.leader != Leader::None || self.queue.len() == 0 {
            return Call::Nobody;
        }
        if self.idle > 0 {
            self.leader = Leader::Coming;
            return Call::Idle;
        }
        let most = max_threads();
        if self.threads >= most {
            return Call::Vacant { waiting: self.leave_vacant().filter(|_| most > 1) };
        }
        self.leader = Leader::Coming;
        self.first_is_due = self.threads == 0;
        self.threads += 1;
        Call::New
    }

    /// Whether a thread that has nothing else to do is to lead.
    fn wants_leader(&self) -> bool {
        self.leader == Leader::Coming || (self.leader == Leader::None && self.queue.len() > 0)
    }

    /// When the leader is to look at a timer that is due at `at`: not while the runner may come to it.
    fn look_at(&self, at: Deadline) -> Deadline {
        self.runner.map_or(at, |runner| at.max(runner.slow_at))
    }

    /// Wakes the leader from a sleep that lasts longer than until `at`; says whether it is to be notified.
    fn wake_leader(&mut self, at: Deadline) -> bool {
        let at = self.look_at(at);
        let late = matches!(self.leader, Leader::Asleep(until) | Leader::Lingering(until) if at < until);
        if late {
            self.leader = Leader::Awake;
        }
        late
    }

    /// Takes the first timer if it is due. The calling thread is the runner from now on.
    fn begin(&mut self) -> Option<Begun> {
        let (at, shot) = self.queue.pop_due()?;
        shot.state.phase.store(RUNNING, Relaxed);
        self.calls += 1;
        self.calling += 1;
        self.runner = Some(Runner { number: self.calls, slow_at: Deadline::after(SLOW) });
        let mut late = None;
        if self.vacant || at <= self.vacant_until {
            late = Some(at.elapsed()).filter(|late| *late > SLOW);
            self.delayed += u64::from(late.is_some());
            late = late.filter(|_| !std::mem::replace(&mut self.told, true));
        }
        Some(Begun { number: self.calls, shot, late })
    }

    /// What the thread that made call `number` calls next: nothing, if that call was slow or nothing is due.
    fn begin_next(&mut self, number: u64) -> Option<Begun> {
        if self.runner.is_none_or(|runner| runner.number != number) {
            return None;
        }
        self.runner = None;
        self.begin()
    }

    /// The lead is vacant from now on. Says how many timers wait, if that is to be logged.
    fn leave_vacant(&mut self) -> Option<usize> {
        if !std::mem::replace(&mut self.vacant, true) {
            self.told = false;
        }
        let waits = self.queue.first().is_some_and(Deadline::has_passed) && !self.told;
        self.told |= waits;
        waits.then(|| self.queue.len())
    }

    /// Notes that a timer no longer has to be waited for; says whether it was the last one.
    fn release(&mut self, shot: &Shot) -> bool {
        let counts = !shot.state.daemon.load(Relaxed);
        self.awaited -= usize::from(counts);
        counts && self.awaited == 0
    }
}

impl Wheel {
    pub(in super::super) fn new() -> Self {
        let timers = Timers {
            queue: Queue::default(),
            awaited: 0,
            leader: Leader::None,
            runner: None,
            calls: 0,
            threads: 0,
            calling: 0,
            first_is_due: false,
            idle: 0,
            vacant: false,
            vacant_until: Deadline::NOW,
            delayed: 0,
            told: false,
            closed: false,
        };
        Self {
            timers: Lock::new(timers),
            sooner: Condition::new(),
            called: Condition::new(),
            calm: Condition::new(),
            first: Condition::new(),
        }
    }

    /// Lets no timer start any more, if there is none to wait for.
    pub(in super::super) fn close(&self) -> bool {
        let mut timers = self.timers.lock();
        timers.closed |= timers.awaited == 0;
        timers.closed
    }

    /// Waits until there is no timer that shutdown waits for.
    pub(in super::super) fn wait_until_calm(&self) {
        let mut timers = self.timers.lock();
        while timers.awaited != 0 {
            timers = self.calm.wait(timers);
        }
    }

    /// Takes the lock once it is known whether there is a thread. A timer that is added earlier might never be called,
    /// because the error of that thread's start goes only to the caller that started the thread.
    fn settled(&self) -> Guard<'_, Timers> {
        let mut timers = self.timers.lock();
        while timers.first_is_due {
            timers = self.first.wait(timers);
        }
        timers
    }

    fn first_is_known(&self, timers: &mut Timers) {
        if std::mem::take(&mut timers.first_is_due) {
            self.first.notify_all();
        }
    }
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
            return Err(Error::new(ErrorKind::AlreadyStarted, "a timer can be started once: make a new one"));
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

    /// Takes a timer back that nobody would wait for, unless somebody came to do that meanwhile.
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

    /// Tells a shutdown that it need not wait for timers any more.
    fn tell_calm(&self, calm: bool) {
        if calm {
            self.wheel.calm.notify_all();
        }
    }

    /// More threads are allowed: one of them leads, if nobody does.
    fn fill_vacancy(&'static self) {
        let call = self.wheel.timers.lock().call();
        // Without a thread the timers wait on for a thread that comes back.
        let _ = self.answer(call);
    }

    /// Gets the leader that was called.
    ///
    /// # Errors
    /// A thread could not be started, and there is no other for timers.
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

    /// A thread could not be started: its timers wait for another, if there is one.
    #[cold]
    fn go_without(&self, error: Error) -> Result<()> {
        let mut timers = self.wheel.timers.lock();
        self.wheel.first_is_known(&mut timers);
        timers.threads -= 1;
        // Not so if a thread that came back leads meanwhile.
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

    /// The life of a thread for timers.
    fn serve(&'static self, me: &Thread) {
        // As late as a timerfd at most, which knows no slack. Forbidden in some sandboxes, and then a little later.
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

    /// The end of a thread: those that are idle look whether they are needed.
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
            super::super::local::clear();
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
                // So many threads are allowed no longer: this one is too many.
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

/// Logs a warning. No lock is held, and a logger that panics ends no thread.
fn log(message: Arguments<'_>) {
    let _ = catch(|| log::warn!(target: TARGET, "{message}"));
}
