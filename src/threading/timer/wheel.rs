//! The set of all timers, and the threads that wait for the first of them.
//!
//! The set is a heap. A cancelled timer stays in it, without its callback, until it comes to the top or until such ones
//! are the larger half: so cancelling touches nothing but a count.
//!
//! At most one thread *leads*: it sleeps until the first timer is due, and takes it. Before it calls, it hands the lead on, to a
//! thread that has nothing to do or to a new one. Whoever starts a timer that comes before the leader's wakes the leader.

use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::process::generation;
use ossature_sys::sched;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::lock::{Guard, Lock};

use super::super::Thread;
use super::super::core::{Core, Kind, set_inherited, settle, unsettle};
use super::super::hooks;
use super::super::registry::Era;
use super::super::shutting_down;
use super::{INITIAL, OVER, PENDING, RUNNING, Shot, finish, fire};
use crate::error::{Error, ErrorKind, Result};
use crate::thread::{Native, Plan, catch, install};

/// How long a thread without work is kept.
const LINGER: Duration = Duration::from_millis(100);

/// How many cancelled timers are kept beside as many that are not.
const SPARE: usize = 64;

/// When to do what.
struct Entry {
    at: Deadline,
    /// Of two with one instant the one that was started first comes first.
    turn: u64,
    shot: Arc<Shot>,
}

impl Ord for Entry {
    /// The soonest is the greatest.
    fn cmp(&self, other: &Self) -> Order {
        (other.at, other.turn).cmp(&(self.at, self.turn))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Order::Equal
    }
}

impl Eq for Entry {}

/// Who waits for the first timer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leader {
    None,
    /// Somebody was called, and has not come yet. There is never more than one such call.
    Coming,
    /// It is looking, and will look at the top again before it sleeps.
    Awake,
    /// It sleeps until then.
    Asleep(Deadline),
    /// It has nothing to wait for, and stays until then in case something comes.
    Lingering(Deadline),
}

struct Timers {
    heap: BinaryHeap<Entry>,
    /// How many of the heap are pending, and how many are cancelled.
    live: usize,
    dead: usize,
    /// How many are pending or running that shutdown waits for.
    awaited: usize,
    turn: u64,
    leader: Leader,
    /// How many threads wait to be called.
    idle: usize,
    closed: bool,
}

/// The timers of one process.
pub(in super::super) struct Wheel {
    timers: Lock<Timers>,
    /// A timer comes before the leader's: what the leader waits for.
    sooner: Condition,
    /// A leader is called: what the idle wait for.
    called: Condition,
    /// No timer is left that shutdown waits for.
    calm: Condition,
}

/// How to call a leader, once the lock is released.
#[must_use = "nobody leads otherwise"]
enum Call {
    Nobody,
    Idle,
    New,
}

impl Timers {
    /// Sees to it that somebody will lead.
    fn call(&mut self) -> Call {
        if self.leader != Leader::None {
            return Call::Nobody;
        }
        self.leader = Leader::Coming;
        if self.idle > 0 { Call::Idle } else { Call::New }
    }

    /// Whether a thread that has nothing else to do is to lead.
    fn wants_leader(&self) -> bool {
        self.leader == Leader::Coming || (self.leader == Leader::None && self.live > 0)
    }
}

impl Wheel {
    pub(in super::super) fn new() -> Self {
        let timers = Timers {
            heap: BinaryHeap::new(),
            live: 0,
            dead: 0,
            awaited: 0,
            turn: 0,
            leader: Leader::None,
            idle: 0,
            closed: false,
        };
        Self { timers: Lock::new(timers), sooner: Condition::new(), called: Condition::new(), calm: Condition::new() }
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
}

impl Era {
    pub(super) fn start(&'static self, shot: &Arc<Shot>, at: Deadline) -> Result<()> {
        let state = &shot.state;
        let mut timers = self.wheel.timers.lock();
        if timers.closed {
            return Err(shutting_down("can't start the timer"));
        }
        state.generation.store(generation(), Relaxed);
        if state.phase.compare_exchange(INITIAL, PENDING, Relaxed, Relaxed).is_err() {
            return Err(Error::new(ErrorKind::AlreadyStarted, "a timer can be started once: make a new one"));
        }
        timers.turn += 1;
        let turn = timers.turn;
        timers.heap.push(Entry { at, turn, shot: shot.clone() });
        timers.live += 1;
        timers.awaited += usize::from(!state.daemon.load(Relaxed));
        match timers.leader {
            Leader::Asleep(until) | Leader::Lingering(until) if at < until => {
                timers.leader = Leader::Awake;
                drop(timers);
                self.wheel.sooner.notify(1);
            }
            Leader::None => {
                let call = timers.call();
                drop(timers);
                if let Err(error) = self.answer(call) {
                    return self.unstart(shot, error);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes a timer back that nobody would wait for, unless somebody came to do that meanwhile.
    #[cold]
    fn unstart(&self, shot: &Arc<Shot>, error: Error) -> Result<()> {
        let mut timers = self.wheel.timers.lock();
        let led = timers.leader != Leader::None;
        let pending = shot.state.phase.load(Relaxed) == PENDING;
        if led || !pending {
            return Ok(());
        }
        timers.heap.retain(|entry| !Arc::ptr_eq(&entry.shot, shot));
        timers.live -= 1;
        timers.awaited -= usize::from(!shot.state.daemon.load(Relaxed));
        shot.state.phase.store(INITIAL, Relaxed);
        Err(error)
    }

    pub(super) fn cancel(&self, shot: &Arc<Shot>) -> bool {
        let mut timers = self.wheel.timers.lock();
        if shot.state.phase.compare_exchange(PENDING, OVER, Relaxed, Relaxed).is_err() {
            return false;
        }
        timers.live -= 1;
        timers.dead += 1;
        let calm = timers.release(shot);
        if timers.dead > timers.live + SPARE {
            timers.heap.retain(|entry| entry.shot.state.phase.load(Relaxed) == PENDING);
            timers.dead = 0;
        }
        // A leader that waits for nothing is to know it, so that it can end.
        let alone = timers.live == 0 && matches!(timers.leader, Leader::Asleep(_));
        if alone {
            timers.leader = Leader::Awake;
        }
        drop(timers);
        if alone {
            self.wheel.sooner.notify(1);
        }
        self.told(calm);
        true
    }

    /// Tells a shutdown that it need not wait for timers any more.
    fn told(&self, calm: bool) {
        if calm {
            self.wheel.calm.notify_all();
        }
    }

    /// Gets the leader that was called.
    fn answer(&'static self, call: Call) -> Result<()> {
        match call {
            Call::Nobody => Ok(()),
            Call::Idle => {
                self.wheel.called.notify(1);
                Ok(())
            }
            Call::New => {
                install();
                let core = Arc::new(Core::new(Native::new(), Kind::Service, Some("Timer".into()), true));
                let (thread, plan) = (core.clone(), Plan { name: Some("Timer".into()), stack: 0 });
                let started = core.native.start(
                    plan,
                    |_| Ok(()),
                    move || {
                        thread.native.enter();
                        settle(thread.clone());
                        self.serve(&Thread::of(thread.clone()));
                        drop(unsettle());
                        thread.native.leave();
                    },
                );
                if started.is_err() {
                    let mut timers = self.wheel.timers.lock();
                    if timers.leader == Leader::Coming {
                        timers.leader = Leader::None;
                    }
                }
                started.map(drop)
            }
        }
    }

    /// The life of a thread for timers.
    fn serve(&'static self, me: &Thread) {
        // As late as a timerfd at most, which knows no slack. Forbidden in some sandboxes, and then a little later.
        let _ = sched::set_timer_slack(Duration::from_nanos(1));
        let mut timers = self.wheel.timers.lock();
        loop {
            if timers.wants_leader() {
                let Some(shot) = self.lead(timers) else { return };
                let daemon = shot.state.daemon.load(Relaxed);
                set_inherited(daemon);
                if let Err(escaped) = catch(|| fire(&shot)) {
                    hooks::report(me, &escaped);
                }
                super::super::local::clear();
                finish(&shot);
                timers = self.wheel.timers.lock();
                let calm = timers.release(&shot);
                drop(timers);
                drop(shot);
                self.told(calm);
                timers = self.wheel.timers.lock();
            } else {
                timers.idle += 1;
                let called;
                (timers, called) = self.wheel.called.wait_timeout(timers, LINGER);
                timers.idle -= 1;
                if !called && !timers.wants_leader() {
                    return;
                }
            }
        }
    }

    /// Waits for the first timer and takes it; `None` when there was none for long.
    fn lead(&'static self, mut timers: Guard<'_, Timers>) -> Option<Arc<Shot>> {
        let mut lingered = false;
        loop {
            timers.leader = Leader::Awake;
            let first = loop {
                match timers.heap.peek() {
                    Some(entry) if entry.shot.state.phase.load(Relaxed) != PENDING => {
                        timers.heap.pop();
                        timers.dead -= 1;
                    }
                    other => break other.map(|entry| entry.at),
                }
            };
            let until = match first {
                Some(at) if at.has_passed() => return self.take(timers),
                Some(at) => {
                    timers.leader = Leader::Asleep(at);
                    at
                }
                None if lingered => {
                    timers.leader = Leader::None;
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

    /// Takes the timer at the top and hands the lead on.
    fn take(&'static self, mut timers: Guard<'_, Timers>) -> Option<Arc<Shot>> {
        let shot = timers.heap.pop()?.shot;
        shot.state.phase.store(RUNNING, Relaxed);
        timers.live -= 1;
        timers.leader = Leader::None;
        let call = if timers.live > 0 { timers.call() } else { Call::Nobody };
        drop(timers);
        // Without a thread to spare the others wait until this one is back.
        let _ = self.answer(call);
        Some(shot)
    }
}

impl Timers {
    /// One less to wait for, perhaps; says whether it was the last.
    fn release(&mut self, shot: &Shot) -> bool {
        let counts = !shot.state.daemon.load(Relaxed);
        self.awaited -= usize::from(counts);
        counts && self.awaited == 0
    }
}
