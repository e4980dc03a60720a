//! The threads of all timers: one sleeps, one calls, and another starts only when a callback is slow.
//!
//! | role | threads | work |
//! | --- | --- | --- |
//! | leader | at most one | sleeps until the first timer is due, and takes it |
//! | runner | at most one | calls the due timers, one after the other |
//! | slow | any | still in a callback for which the leader waits no longer |
//! | idle | any | waits to become the leader |
//!
//! | from | to | when |
//! | --- | --- | --- |
//! | leader | runner | a timer is due, and there is no runner, or the runner's callback has lasted [`SLOW`]; an idle or a new thread becomes the leader |
//! | runner | runner | its callback has ended, and the next timer is due: the same thread calls it |
//! | runner | idle | its callback has ended, and nothing is due |
//! | runner | slow | its callback has lasted `SLOW`, a timer is due, and the leader takes that timer |
//! | slow | leader, idle | its callback has ended; it becomes the leader if there is none |
//! | idle | leader | the lead is vacant |
//! | leader, idle | ended | nothing is pending for a tenth of a second |
//!
//! A thread that starts a timer before the leader's instant wakes the leader, and so does a runner that goes idle.
//! All threads together are never more than [`max_threads`]. When they are all in callbacks, the lead is *vacant*: the
//! first thread that returns becomes the leader. A timer that is called late because of that is counted and logged.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::lock::{Guard, Lock};

use super::queue::Queue;
use super::shot::{RUNNING, Shot};

/// The time that a callback may take before another thread calls the next timer that is due.
const SLOW: Duration = Duration::from_millis(1);

/// The maximum number of timer threads. A forked child inherits its parent's setting.
static MAX_THREADS: AtomicUsize = AtomicUsize::new(64);

pub(super) fn max_threads() -> usize {
    MAX_THREADS.load(Relaxed)
}

pub(super) fn allow_threads(most: NonZeroUsize) {
    MAX_THREADS.store(most.get(), Relaxed);
}

/// The thread that waits for the first timer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leader {
    None,
    /// A thread was called, and has not come yet. There is at most one such call.
    Coming,
    /// The leader is awake, and checks the queue again before it sleeps.
    Awake,
    /// The leader sleeps until this instant.
    Asleep(Deadline),
    /// The leader has nothing to wait for, and stays until this instant in case a timer is added.
    Lingering(Deadline),
}

/// The call that is in progress and not known to be slow.
#[derive(Clone, Copy)]
pub(super) struct Runner {
    /// The number of the call. A slow runner finds a different number, or none.
    number: u64,
    /// The instant from which the call counts as slow.
    slow_at: Deadline,
}

pub(super) struct Timers {
    pub(super) queue: Queue,
    /// The number of pending or running timers that shutdown waits for.
    pub(super) awaited: usize,
    pub(super) leader: Leader,
    pub(super) runner: Option<Runner>,
    /// The number of the last call.
    pub(super) calls: u64,
    /// The number of threads, busy or idle.
    pub(super) threads: usize,
    /// The number of threads that are in callbacks.
    pub(super) calling: usize,
    /// Whether the first thread is being started; its start may fail.
    pub(super) first_is_due: bool,
    /// The number of threads that wait to become the leader.
    pub(super) idle: usize,
    /// Whether there is no leader, because all threads are in callbacks.
    pub(super) vacant: bool,
    /// The instant at which the last time without a leader ended.
    pub(super) vacant_until: Deadline,
    /// The number of timers that were called late because every thread was in a callback.
    pub(super) delayed: u64,
    /// Whether the lack of a leader has been logged.
    pub(super) told: bool,
    pub(super) closed: bool,
}

/// The timers of one process.
pub(in super::super) struct Wheel {
    pub(super) timers: Lock<Timers>,
    /// Wakes the leader for a timer that is due before its instant.
    pub(super) sooner: Condition,
    /// Wakes idle threads when a leader is called or a thread has ended.
    pub(super) called: Condition,
    /// Signals that no timer is left that shutdown waits for.
    pub(super) calm: Condition,
    /// Signals that the first thread has come, or cannot be started.
    pub(super) first: Condition,
}

/// How to get a leader, once the lock is released.
#[must_use = "nobody leads otherwise"]
pub(super) enum Call {
    Nobody,
    Idle,
    New,
    /// Every thread is in a callback, and this number of timers is known to wait.
    Vacant {
        waiting: Option<usize>,
    },
}

/// A timer that the calling thread has taken, to call it.
pub(super) struct Begun {
    pub(super) number: u64,
    pub(super) shot: Arc<Shot>,
    /// The delay of the timer because no thread was free, if the delay is to be logged.
    pub(super) late: Option<Duration>,
}

impl Timers {
    /// Chooses a thread to be the leader, if one is needed.
    pub(super) fn call(&mut self) -> Call {
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

    /// Whether an idle thread must become the leader.
    pub(super) fn wants_leader(&self) -> bool {
        self.leader == Leader::Coming || (self.leader == Leader::None && self.queue.len() > 0)
    }

    /// The instant at which the leader looks at a timer that is due at `at`: not while the runner may still call it.
    pub(super) fn look_at(&self, at: Deadline) -> Deadline {
        self.runner.map_or(at, |runner| at.max(runner.slow_at))
    }

    /// Wakes the leader from a sleep that lasts longer than until `at`; returns whether the caller must notify it.
    pub(super) fn wake_leader(&mut self, at: Deadline) -> bool {
        let at = self.look_at(at);
        let late = matches!(self.leader, Leader::Asleep(until) | Leader::Lingering(until) if at < until);
        if late {
            self.leader = Leader::Awake;
        }
        late
    }

    /// Takes the first timer if it is due. The calling thread becomes the runner.
    pub(super) fn begin(&mut self) -> Option<Begun> {
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

    /// The timer that the thread that made call `number` calls next: none, if that call was slow or no timer is due.
    pub(super) fn begin_next(&mut self, number: u64) -> Option<Begun> {
        if self.runner.is_none_or(|runner| runner.number != number) {
            return None;
        }
        self.runner = None;
        self.begin()
    }

    /// Leaves the timers without a leader. Returns the number of timers that wait, if that is to be logged.
    pub(super) fn leave_vacant(&mut self) -> Option<usize> {
        if !std::mem::replace(&mut self.vacant, true) {
            self.told = false;
        }
        let waits = self.queue.first().is_some_and(Deadline::has_passed) && !self.told;
        self.told |= waits;
        waits.then(|| self.queue.len())
    }

    /// Records that shutdown need not wait for a timer any more; returns whether it was the last one.
    pub(super) fn release(&mut self, shot: &Shot) -> bool {
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

    /// Prevents further starts of timers, if there is none to wait for.
    pub(in super::super) fn close(&self) -> bool {
        let mut timers = self.timers.lock();
        timers.closed |= timers.awaited == 0;
        timers.closed
    }

    /// Waits until there is no timer left that shutdown waits for.
    pub(in super::super) fn wait_until_calm(&self) {
        let mut timers = self.timers.lock();
        while timers.awaited != 0 {
            timers = self.calm.wait(timers);
        }
    }

    /// Takes the lock once it is known whether there is a thread. A timer that is added earlier might never be called,
    /// because the error of that thread's start goes only to the caller that started the thread.
    pub(super) fn settled(&self) -> Guard<'_, Timers> {
        let mut timers = self.timers.lock();
        while timers.first_is_due {
            timers = self.first.wait(timers);
        }
        timers
    }

    pub(super) fn first_is_known(&self, timers: &mut Timers) {
        if std::mem::take(&mut timers.first_is_due) {
            self.first.notify_all();
        }
    }
}
