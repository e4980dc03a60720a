//! Delayed calls: [`Timer`].
//!
//! All timers are in one ordered queue, and one thread sleeps until the first timer is due. A timer costs one
//! allocation and a place in the queue, and no thread or descriptor. A timer that is cancelled before its time costs no
//! wake-up.
//!
//! ```
//! use std::time::Duration;
//! use ossature::threading::Timer;
//!
//! let timer = Timer::new(Duration::from_millis(5), || println!("five milliseconds later"));
//! timer.start()?;
//! timer.wait();
//! assert!(!timer.cancel(), "too late");
//! # Ok::<(), ossature::Error>(())
//! ```
//!
//! **Which thread calls.** One thread calls the due timers, one after the other. A second thread calls the next due
//! timer only if a callback has lasted more than a millisecond. So a slow callback delays another timer by at most a
//! millisecond, until [`Timer::max_threads`] callbacks (64 by default) are slow at once. From then on a timer waits
//! until a callback ends. Such timers are counted ([`Timer::delayed`]) and logged as a warning of the `log` crate's
//! target `threading`. Python starts a thread for each timer instead: a thousand slow callbacks run at once, and need a
//! thousand threads.
//!
//! These threads are in no list of threads, and their own name is `Timer`. They live while a timer is pending and for
//! up to two tenths of a second afterwards. Until then [`fork`](ossature_sys::process::fork()) refuses.

mod queue;
mod serve;
mod shot;
mod wheel;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::futex::Limit;
use ossature_sys::process::generation;
use ossature_sys::sync::event::Event;
use ossature_sys::sync::lock::Lock;

use self::shot::{INITIAL, OVER, PENDING, RUNNING, Shot, TimerState};
use super::inner::inherited;
use super::registry::registry;
use crate::error::{Error, ErrorKind, Result};

pub(super) use wheel::Wheel;

/// The shortest interval, so that a timer without an interval takes its turn among the others.
const SOONEST: Duration = Duration::from_nanos(1);

/// Calls a closure once, after an interval, unless the timer is cancelled before. Clones refer to the same timer;
/// dropping a timer does not cancel it.
///
/// Differs from Python: a timer is not a thread, so it has no name, is in no list, and has [`wait`](Self::wait) instead
/// of `join`. The callback contains its arguments. The [`excepthook`](super::set_excepthook) reports a panic of the
/// callback.
///
/// In a forked child the parent's timers do not fire; new ones do.
///
/// # Examples
/// ```standalone_crate
/// use std::num::NonZero;
/// use std::time::Duration;
/// use ossature::threading::Timer;
///
/// Timer::set_max_threads(NonZero::new(2).unwrap());
/// assert_eq!((Timer::max_threads(), Timer::delayed()), (2, 0));
///
/// let reminder = Timer::new(Duration::from_secs(3600), || println!("an hour later"));
/// reminder.set_interval(Duration::from_secs(60))?; // before its start
/// reminder.set_daemon(true)?;
/// assert!(reminder.daemon() && reminder.interval() == Duration::from_secs(60));
/// reminder.start()?;
/// assert!(reminder.is_alive() && !reminder.wait_timeout(Duration::from_millis(1)));
/// assert!(reminder.cancel(), "its minute is not over");
/// assert!(reminder.is_finished());
/// reminder.wait(); // returns at once
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone)]
pub struct Timer(Arc<Shot>);

impl Timer {
    /// A timer that calls `callback` the given interval after its [start](Self::start). [`shutdown`](super::shutdown())
    /// waits for the timer, unless the calling thread is a daemon or [`set_daemon`](Self::set_daemon) says otherwise.
    #[inline]
    pub fn new(interval: Duration, callback: impl FnOnce() + Send + 'static) -> Self {
        let state = TimerState {
            phase: AtomicU8::new(INITIAL),
            daemon: AtomicBool::new(inherited()),
            generation: AtomicU32::new(0),
            interval: AtomicU64::new(nanos(interval)),
            finished: Event::new(),
        };
        Self(Arc::new(Shot { state, callback: Lock::new(Some(callback)) }))
    }

    /// Starts the interval. A timer that was cancelled before is finished at once.
    ///
    /// # Errors
    /// * [`ErrorKind::AlreadyStarted`] the second time.
    /// * `EAGAIN` if there is no thread for timers yet and the system cannot start one; the timer can be started again.
    /// * [`ErrorKind::ShuttingDown`] after [`shutdown`](super::shutdown()).
    #[inline]
    pub fn start(&self) -> Result<()> {
        let state = &self.0.state;
        match state.phase.load(Acquire) {
            INITIAL => registry().start(&self.0, Deadline::after(self.interval().max(SOONEST))),
            // Cancelled before its start, which is only once.
            OVER if state.generation.swap(generation(), AcqRel) == 0 => Ok(()),
            _ => Err(Error::new(ErrorKind::AlreadyStarted, "the timer was already started: make a new timer")),
        }
    }

    /// Cancels the timer if its call has not begun; returns whether this prevented the call. Any thread may cancel, any
    /// number of times. The callback is dropped at once.
    #[inline]
    pub fn cancel(&self) -> bool {
        let state = &self.0.state;
        let cancelled = match state.phase.compare_exchange(INITIAL, OVER, AcqRel, Acquire) {
            Ok(_) => true,
            Err(PENDING) if state.generation.load(Relaxed) == generation() => registry().cancel(&self.0),
            // The parent's timer, which no thread of this process will call.
            Err(PENDING) => state.phase.compare_exchange(PENDING, OVER, AcqRel, Relaxed).is_ok(),
            Err(_) => false,
        };
        if cancelled {
            state.finished.set();
            self.0.callback.discard();
        }
        cancelled
    }

    /// The interval of the timer.
    pub fn interval(&self) -> Duration {
        Duration::from_nanos(self.0.state.interval.load(Relaxed))
    }

    /// Changes the interval before the start. The interval is kept in nanoseconds, up to 584 years.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyStarted`] after its start.
    pub fn set_interval(&self, interval: Duration) -> Result<()> {
        self.is_initial()?;
        self.0.state.interval.store(nanos(interval), Relaxed);
        Ok(())
    }

    /// Whether [`shutdown`](super::shutdown()) does not wait for the timer.
    pub fn daemon(&self) -> bool {
        self.0.state.daemon.load(Relaxed)
    }

    /// Sets, before the start, whether [`shutdown`](super::shutdown()) does not wait for the timer.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyStarted`] after its start.
    pub fn set_daemon(&self, daemon: bool) -> Result<()> {
        self.is_initial()?;
        self.0.state.daemon.store(daemon, Relaxed);
        Ok(())
    }

    /// The maximum number of threads that call the timers of a process: 64, or the value of
    /// [`set_max_threads`](Self::set_max_threads).
    pub fn max_threads() -> usize {
        wheel::max_threads()
    }

    /// Sets the maximum number of threads that call the timers of a process. Threads beyond that number end when their
    /// callbacks end. With one thread, all callbacks run one after the other.
    ///
    /// A callback that waits for another timer's callback needs a second thread.
    pub fn set_max_threads(most: NonZeroUsize) {
        serve::set_max_threads(most);
    }

    /// The number of timers of this process that were called late because every timer thread was in a callback.
    pub fn delayed() -> u64 {
        serve::delayed()
    }

    fn is_initial(&self) -> Result<()> {
        match self.0.state.phase.load(Acquire) {
            INITIAL => Ok(()),
            _ => Err(Error::new(ErrorKind::AlreadyStarted, "the timer was already started: set this before `start`")),
        }
    }

    /// Whether the timer was started, was not cancelled, and its call has not ended.
    pub fn is_alive(&self) -> bool {
        let state = &self.0.state;
        matches!(state.phase.load(Acquire), PENDING | RUNNING) && state.generation.load(Relaxed) == generation()
    }

    /// Whether the call has ended or the timer was cancelled.
    #[doc(alias = "finished")]
    pub fn is_finished(&self) -> bool {
        self.0.state.finished.is_set()
    }

    /// Waits until the call has ended or the timer was cancelled. Waits forever if no thread starts the timer, or when
    /// called from the callback itself.
    #[doc(alias = "join")]
    pub fn wait(&self) {
        self.wait_timeout(Limit::NEVER);
    }

    /// Waits until the call has ended or the timer was cancelled, at most until the limit; returns whether it did.
    pub fn wait_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> bool {
        self.0.state.finished.wait_timeout(limit)
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.0.state.phase.load(Acquire) {
            INITIAL => "initial",
            PENDING => "pending",
            RUNNING => "running",
            _ => "finished",
        };
        write!(f, "Timer({:?}, {phase})", self.interval())
    }
}

fn nanos(interval: Duration) -> u64 {
    u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX)
}
