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
//! | leader, idle | ended | nothing is pending for a tenth of a second |
//!
//! A thread that starts a timer before the leader's instant wakes the leader, and so does a runner that goes idle.
//! All threads together are never more than [`max_threads`]. When they are all in callbacks, the lead is *vacant*: the
//! first thread that comes back leads. A timer that is called late because of that is counted and logged.

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

/// How long a callback may last before another thread calls the next timer that is due.
const SLOW: Duration = Duration::from_millis(1);

/// How many threads timers may have. A forked child inherits its parent's setting.
static MAX_THREADS: AtomicUsize = AtomicUsize::new(64);

pub(super) fn max_threads() -> usize {
    MAX_THREADS.load(Relaxed)
}

pub(super) fn allow_threads(most: NonZeroUsize) {
    MAX_THREADS.store(most.get(), Relaxed);
}

/// Who waits for the first timer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leader {
    None,
    /// A thread was called, and has not come yet. There is never more than one such call.
    Coming,
    /// The leader is awake, and will look at the queue again before it sleeps.
    Awake,
    /// The leader sleeps until then.
    Asleep(Deadline),
    /// The leader has nothing to wait for, and stays until then in case something comes.
    Lingering(Deadline),
}

/// The call that is in progress and not known to be slow.
#[derive(Clone, Copy)]
pub(super) struct Runner {
    /// The number of the call. A slow runner finds another number, or none.
    number: u64,
    /// When the call counts as slow.
    slow_at: Deadline,
}

pub(super) struct Timers {
    pub(super) queue: Queue,
    /// How many are pending or running that shutdown waits for.
    pub(super) awaited: usize,
    pub(super) leader: Leader,
    pub(super) runner: Option<Runner>,
    /// The number of the last call.
    pub(super) calls: u64,
    /// How many threads there are, whatever they do.
    pub(super) threads: usize,
    /// How many threads are in callbacks.
    pub(super) calling: usize,
    /// The first thread is being started, and may not come.
    pub(super) first_is_due: bool,
    /// How many threads wait to become the leader.
    pub(super) idle: usize,
    /// There is no leader, because all threads are in callbacks.
    pub(super) vacant: bool,
    /// When the lead was last vacant.
    pub(super) vacant_until: Deadline,
    /// How many timers were called late because every thread was in a callback.
    pub(super) delayed: u64,
    /// The vacancy has been logged.
    pub(super) told: bool,
    pub(super) closed: bool,
}

/// The timers of one process.
pub(in super::super) struct Wheel {
    pub(super) timers: Lock<Timers>,
    /// The leader waits here for a timer before its instant.
    pub(super) sooner: Condition,
    /// Idle threads wait here until a leader is called or a thread has ended.
    pub(super) called: Condition,
    /// No timer is left that shutdown waits for.
    pub(super) calm: Condition,
    /// The first thread has come, or cannot be started.
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
    /// How late the timer is because no thread was free, if that is to be logged.
    pub(super) late: Option<Duration>,
}

impl Timers {
    /// Sees to it that somebody will lead.
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

    /// Whether a thread that has nothing else to do is to lead.
    pub(super) fn wants_leader(&self) -> bool {
        self.leader == Leader::Coming || (self.leader == Leader::None && self.queue.len() > 0)
    }

    /// When the leader is to look at a timer that is due at `at`: not while the runner may come to it.
    pub(super) fn look_at(&self, at: Deadline) -> Deadline {
        self.runner.map_or(at, |runner| at.max(runner.slow_at))
    }

    /// Wakes the leader from a sleep that lasts longer than until `at`; says whether it is to be notified.
    pub(super) fn wake_leader(&mut self, at: Deadline) -> bool {
        let at = self.look_at(at);
        let late = matches!(self.leader, Leader::Asleep(until) | Leader::Lingering(until) if at < until);
        if late {
            self.leader = Leader::Awake;
        }
        late
    }

    /// Takes the first timer if it is due. The calling thread is the runner from now on.
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

    /// What the thread that made call `number` calls next: nothing, if that call was slow or nothing is due.
    pub(super) fn begin_next(&mut self, number: u64) -> Option<Begun> {
        if self.runner.is_none_or(|runner| runner.number != number) {
            return None;
        }
        self.runner = None;
        self.begin()
    }

    /// The lead is vacant from now on. Says how many timers wait, if that is to be logged.
    pub(super) fn leave_vacant(&mut self) -> Option<usize> {
        if !std::mem::replace(&mut self.vacant, true) {
            self.told = false;
        }
        let waits = self.queue.first().is_some_and(Deadline::has_passed) && !self.told;
        self.told |= waits;
        waits.then(|| self.queue.len())
    }

    /// Notes that a timer no longer has to be waited for; says whether it was the last one.
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
