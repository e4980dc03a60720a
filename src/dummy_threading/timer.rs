//! A timer, whose `start` waits for the interval.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use ossature_sys::futex::Limit;
use ossature_sys::scope::Refused;

use super::frames::{Phase, frames};
use super::{ThreadBuilder, shutdown};
use crate::error::{Error, ErrorKind, Result};

struct Shot {
    phase: Cell<Phase>,
    finished: Cell<bool>,
    daemon: Cell<bool>,
    interval: Cell<Duration>,
    callback: RefCell<Option<Box<dyn FnOnce()>>>,
}

/// A timer that sleeps inside [`start`](Self::start), then calls. Clones are the same timer.
///
/// ```
/// use std::time::Duration;
/// use ossature::dummy_threading::Timer;
///
/// let timer = Timer::new(Duration::from_millis(5), || println!("five milliseconds later"));
/// timer.start()?;
/// assert!(timer.is_finished());
/// assert!(!timer.cancel(), "too late");
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// ```
/// use std::time::Duration;
/// use ossature::dummy_threading::Timer;
///
/// let timer = Timer::new(Duration::from_secs(3600), || println!("an hour later"));
/// timer.set_interval(Duration::ZERO)?; // before its start
/// timer.set_daemon(true)?;
/// assert!(timer.daemon() && timer.interval() == Duration::ZERO && !timer.is_alive());
/// assert!(timer.wait().is_err(), "nobody else runs who could start it");
/// timer.start()?;
/// timer.wait().unwrap();
/// assert!(timer.wait_timeout(Duration::ZERO).unwrap());
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone)]
pub struct Timer(Rc<Shot>);

impl Timer {
    /// Creates a timer that will call `callback` at `interval` after its [start](Self::start).
    pub fn new(interval: Duration, callback: impl FnOnce() + 'static) -> Self {
        Self(Rc::new(Shot {
            phase: Cell::new(Phase::Initial),
            finished: Cell::new(false),
            daemon: Cell::new(frames().current().daemon.get()),
            interval: Cell::new(interval),
            callback: RefCell::new(Some(Box::new(callback))),
        }))
    }

    /// Sleeps for the interval and calls, in a thread named `Timer`; the [`excepthook`](super::set_excepthook) receives
    /// a panic. A cancelled timer returns at once.
    ///
    /// # Errors
    /// As for [`Thread::start`](super::Thread::start).
    pub fn start(&self) -> Result<()> {
        self.is_initial()?;
        let shot = &self.0;
        if shot.finished.get() {
            shot.phase.set(Phase::Stopped);
            return Ok(());
        }
        shutdown::admit()?;
        shot.phase.set(Phase::Started);
        let callback = shot.callback.take();
        let interval = shot.interval.get();
        let work = move || {
            std::thread::sleep(interval);
            if let Some(callback) = callback {
                callback();
            }
        };
        let started = ThreadBuilder::default().name("Timer").daemon(self.daemon()).spawn(work).map(drop);
        shot.phase.set(Phase::Stopped);
        shot.finished.set(true);
        started
    }

    /// Cancels the timer if it was not started; returns whether this prevents the call. The callback is dropped at
    /// once.
    pub fn cancel(&self) -> bool {
        let shot = &self.0;
        if shot.phase.get() != Phase::Initial || shot.finished.replace(true) {
            return false;
        }
        let callback = shot.callback.take();
        drop(callback); // no longer borrowed: what it captured may come back here
        true
    }

    /// The length of the wait.
    pub fn interval(&self) -> Duration {
        self.0.interval.get()
    }

    /// Sets the length of the wait, before the start.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyStarted`] after its start.
    pub fn set_interval(&self, interval: Duration) -> Result<()> {
        self.is_initial()?;
        self.0.interval.set(interval);
        Ok(())
    }

    /// Whether the callback's thread is a daemon.
    pub fn daemon(&self) -> bool {
        self.0.daemon.get()
    }

    /// Sets the daemon flag of the callback's thread, before the start.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyStarted`] after its start.
    pub fn set_daemon(&self, daemon: bool) -> Result<()> {
        self.is_initial()?;
        self.0.daemon.set(daemon);
        Ok(())
    }

    fn is_initial(&self) -> Result<()> {
        match self.0.phase.get() {
            Phase::Initial => Ok(()),
            _ => Err(Error::new(ErrorKind::AlreadyStarted, "the timer was already started: make a new timer")),
        }
    }

    /// Whether the timer was started and its call has not ended.
    pub fn is_alive(&self) -> bool {
        self.0.phase.get() == Phase::Started
    }

    /// Whether the call has ended or the timer was cancelled.
    #[doc(alias = "finished")]
    pub fn is_finished(&self) -> bool {
        self.0.finished.get()
    }

    /// Returns at once, because the call has ended or the timer was cancelled.
    ///
    /// # Errors
    /// [`Refused::WouldDeadlock`] when neither is so: nothing will change while the caller waits.
    #[doc(alias = "join")]
    pub fn wait(&self) -> std::result::Result<(), Refused> {
        if self.is_finished() { Ok(()) } else { Err(Refused::WouldDeadlock) }
    }

    /// Returns at once whether the call has ended or the timer was cancelled.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait), where nothing limits the wait.
    pub fn wait_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> std::result::Result<bool, Refused> {
        if limit.into().is_never() { self.wait().map(|()| true) } else { Ok(self.is_finished()) }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match (self.0.finished.get(), self.0.phase.get()) {
            (true, _) => "finished",
            (false, Phase::Initial) => "initial",
            (false, _) => "running",
        };
        write!(f, "Timer({:?}, {phase})", self.interval())
    }
}
