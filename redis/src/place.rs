//! The connection of a queue's user, and the thread that sends the user's heartbeats.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ossature::Result;
use ossature::sys::deadline::Deadline;

use crate::builder::host;
use crate::engine::{Described, Engine, Fault, Got, Outcome, Records, Serving};
use crate::link::Link;
use crate::receiver::BEATS;
use crate::streams::Streams;

/// The time of one wait of a getter at the server, and the pause of a putter between two attempts.
pub(crate) const WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(10));

/// A user of a queue.
pub(crate) struct Place {
    pub(crate) link: Link,
    pub(crate) me: Serving,
    pub(crate) maxsize: Option<usize>,
    pub(crate) outage: Duration,
    pub(crate) names: Duration,
    pub(crate) line: Mutex<Line>,
    /// The records of the guarded items.
    pub(crate) has: Mutex<Vec<String>>,
    pub(crate) over: Mutex<bool>,
    pub(crate) turn: Condvar,
}

/// The connection for calls.
pub(crate) struct Line {
    pub(crate) engine: Option<Streams>,
    /// The number of calls that changed something, including calls with an unknown result.
    pub(crate) calls: u64,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // no change leaves it half made
}

/// The description that the user gives of itself.
pub(crate) fn described() -> Described {
    Described { labels: vec!["q".into()], processes: 0, pid: std::process::id(), calls: 0, running: 0, host: host() }
}

impl Place {
    /// Runs `ask` at the server within a limit, again after each outage.
    pub(crate) fn with<T>(
        &self,
        until: Deadline,
        mut ask: impl FnMut(&mut Line, &mut Streams) -> Outcome<T>,
    ) -> Result<Option<T>> {
        let mut line = lock(&self.line);
        let mut away: Option<Instant> = None;
        loop {
            let opened = match line.engine.take() {
                Some(engine) => Ok(engine),
                None => self.link.open(),
            };
            let fault = match opened {
                Err(fault) => fault,
                Ok(mut engine) => match ask(&mut line, &mut engine) {
                    Ok(done) => {
                        line.engine = Some(engine);
                        return Ok(Some(done));
                    }
                    Err(fault @ (Fault::Full(_) | Fault::Refused(_))) => {
                        line.engine = Some(engine);
                        fault
                    }
                    Err(fault) => fault,
                },
            };
            let since = *away.get_or_insert_with(Instant::now);
            let lasting = matches!(fault, Fault::Auth(_) | Fault::Refused(_));
            // A server without memory is as a full queue: for as long as the caller waits.
            let too_long = since.elapsed() > self.outage && !matches!(fault, Fault::Full(_));
            if lasting || too_long {
                return Err(self.link.error(&fault));
            }
            if until.has_passed() {
                return match fault {
                    Fault::Full(_) => Ok(None),
                    fault => Err(self.link.error(&fault)),
                };
            }
            std::thread::sleep(until.remaining().map_or(WAIT.1, |left| left.min(WAIT.1)));
        }
    }

    /// Runs a call that changes something, within a limit and again after each outage. The call keeps its unique number
    /// while it is repeated. So the server executes the call once, and takes no later call for one whose result is
    /// unknown.
    pub(crate) fn change<T>(
        &self,
        until: Deadline,
        mut ask: impl FnMut(u64, &mut Streams) -> Outcome<T>,
    ) -> Result<Option<T>> {
        let mut number = None;
        self.with(until, |line, engine| {
            let nth = *number.get_or_insert_with(|| {
                line.calls += 1;
                line.calls
            });
            ask(nth, engine)
        })
    }

    /// Runs the thread that sends the user's heartbeats.
    pub(crate) fn keep(&self) {
        let mut engine: Option<Streams> = None;
        loop {
            let over = lock(&self.over);
            let pause = self.me.lease / BEATS;
            let waited = self.turn.wait_timeout_while(over, pause, |over| !*over || !lock(&self.has).is_empty());
            if *waited.unwrap_or_else(PoisonError::into_inner).0 && lock(&self.has).is_empty() {
                break;
            }
            if engine.is_none() {
                engine = self.link.open().ok();
            }
            let beat = engine.as_mut().map(|engine| engine.beat(&self.me, &described(), &[]));
            if beat.is_some_and(|beat| beat.is_err()) {
                engine = None;
            }
        }
        if let Some(mut engine) = engine.or_else(|| self.link.open().ok()) {
            let _ = engine.retire(&self.me); // a server that is away forgets this user by itself
        }
    }

    /// Takes an item, within the limit.
    pub(crate) fn take(&self, until: Deadline) -> Result<Option<(String, Vec<u8>)>> {
        loop {
            let got = self.with(until, |_, engine| {
                let has = lock(&self.has).clone();
                match engine.get(&self.me, &has)? {
                    Got::Unknown => {
                        engine.beat(&self.me, &described(), &[])?;
                        engine.get(&self.me, &has)
                    }
                    Got::Nothing(last) if !until.has_passed() => {
                        let wait = until.remaining().map_or(WAIT.0, |left| left.min(WAIT.0));
                        engine.listen(&last, wait)?;
                        engine.get(&self.me, &has)
                    }
                    got => Ok(got),
                }
            })?;
            match got {
                Some(Got::Item(id, bytes)) => return Ok(Some((id, bytes))),
                _ if until.has_passed() => return Ok(None),
                _ => {}
            }
        }
    }

    /// Reports that an item is finished, or returns it to the queue; `false` if another user has it by now.
    pub(crate) fn acknowledge(&self, id: &str, back: bool) -> Result<bool> {
        let limit = Deadline::after(self.outage);
        let acknowledged = self.change(limit, |nth, engine| engine.acknowledge(&self.me, nth, id, back));
        lock(&self.has).retain(|has| has != id); // last, so that the item does not come again from here
        self.turn.notify_all();
        Ok(acknowledged?.unwrap_or(false))
    }
}
