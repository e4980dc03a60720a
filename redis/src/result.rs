//! The results of `apply_async` and `map_async`, which are not available yet.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use ossature::multiprocessing::pool::engine::{self, Unpacker};
use ossature::multiprocessing::transfer::Transfer;
use ossature::sys::deadline::Deadline;
use ossature::{Error, ErrorKind, Result};

use crate::hub::Hub;
use crate::job::Outcome;
use crate::state::HubState;

/// The result of one call, which runs on another machine.
///
/// Dropping the result does not stop the call. A value is given once.
pub struct AsyncResult<R> {
    pub(crate) held: Held,
    pub(crate) kind: PhantomData<fn() -> R>,
}

/// The results of the calls of one map, in the order of the items.
#[must_use = "the values are lost unless the program gets them"]
pub struct MapResult<R> {
    pub(crate) held: Held,
    pub(crate) kind: PhantomData<fn() -> R>,
}

/// A handle of a job.
pub(crate) struct Held {
    pub(crate) hub: Arc<Hub>,
    pub(crate) job: u64,
    pub(crate) task: &'static str,
}

impl Held {
    /// Returns another handle, for a callback.
    pub(crate) fn twin(&self) -> Self {
        self.hub.hold(self.job);
        Self { hub: self.hub.clone(), job: self.job, task: self.task }
    }

    /// Waits until the result is available, or until the deadline. Returns whether the result is available.
    pub(crate) fn wait(&self, until: Deadline) -> Result<bool> {
        let done = |state: &mut HubState| state.job(self.job).is_none_or(|job| job.is_done()).then_some(());
        let called = |state: &mut HubState| state.job(self.job).is_none_or(|job| job.has_result());
        Ok(self.hub.wait(until, done)?.is_some() && self.hub.wait_here(until, called)?)
    }

    /// Takes the value of the only call, which has ended. Copies the value if a callback still needs it.
    pub(crate) fn one<R: Transfer>(&self) -> Result<R> {
        let outcome = self.hub.lock()?.job(self.job).and_then(|job| match job.failure() {
            Some(failure) => Some(Outcome::failed(&failure)), // a failure may be asked for again
            None if job.before > 0 => job.only(),
            None => job.take_next(),
        });
        decode(self.task, outcome.ok_or_else(|| taken(self.task))?)
    }

    /// Returns a copy of the value of the only call, which has ended.
    pub(crate) fn one_again<R: Transfer>(&self) -> Result<R> {
        let outcome = self.hub.lock()?.job(self.job).and_then(|job| job.only());
        decode(self.task, outcome.ok_or_else(|| taken(self.task))?)
    }

    /// Takes the values of all calls, which have ended.
    pub(crate) fn all<R: Transfer>(&self) -> Result<Vec<R>> {
        let (given, outcomes) = {
            let mut state = self.hub.lock()?;
            let Some(job) = state.job(self.job) else { return Err(taken(self.task)) };
            if let Some(failure) = job.failure() {
                return Err(failure.into_error(self.task));
            }
            (job.given, job.take_all())
        };
        let (mut unpacker, mut values) = (Unpacker::begin(), Vec::new());
        for outcome in outcomes {
            if values.is_empty() {
                values.reserve(given);
            }
            values.push(decode_by(&mut unpacker, self.task, outcome)?);
        }
        if values.len() == given { Ok(values) } else { Err(taken(self.task)) }
    }

    /// Makes another handle, for a callback that comes before the result. The result is not available before the handle
    /// is dropped.
    pub(crate) fn hold_back(&self) -> Before {
        let held = self.twin();
        if let Some(job) = self.hub.state().job(self.job) {
            job.before += 1;
        }
        Before(held)
    }
}

/// The right of a callback to come before the result: the result is not available before this is dropped.
pub(crate) struct Before(Held);

impl Before {
    pub(crate) fn held(&self) -> &Held {
        &self.0
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        if let Some(job) = self.0.hub.state().job(self.0.job) {
            job.before = job.before.saturating_sub(1);
        }
        self.0.hub.turn.notify_all();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.hub.let_go(self.job);
    }
}

fn taken(task: &str) -> Error {
    engine::error(ErrorKind::NoResult, format!("an earlier call returned the result of {task}"))
}

/// Decodes the value of one call.
pub(crate) fn decode<R: Transfer>(task: &str, outcome: Outcome) -> Result<R> {
    decode_by(&mut Unpacker::begin(), task, outcome)
}

fn decode_by<R: Transfer>(unpacker: &mut Unpacker, task: &str, outcome: Outcome) -> Result<R> {
    match outcome {
        Outcome::Value(bytes, Range { start, end }) => {
            unpacker.read(bytes.get(start as usize..end as usize).unwrap_or_default())
        }
        Outcome::Failed(failure) => Err(failure.into_error(task)),
    }
}

macro_rules! waits {
    ($Result:ident) => {
        impl<R> $Result<R> {
            /// Waits until the result is available, or until the deadline. Returns whether the result is available.
            ///
            /// # Errors
            /// [`NotAllowed`](ErrorKind::NotAllowed) in another process than the pool's.
            pub fn wait(&self, timeout: impl Into<Deadline>) -> Result<bool> {
                self.held.wait(timeout.into())
            }

            /// Returns whether the result is available, a value or an error.
            ///
            /// # Errors
            /// As [`wait`](Self::wait).
            pub fn ready(&self) -> Result<bool> {
                self.wait(Deadline::NOW)
            }

            /// Returns whether every call has returned a value.
            ///
            /// # Errors
            /// [`InvalidInput`](ErrorKind::InvalidInput) before the result is [ready](Self::ready).
            pub fn successful(&self) -> Result<bool> {
                if !self.ready()? {
                    return Err(engine::error(ErrorKind::InvalidInput, format!("{} is not ready yet", self.held.task)));
                }
                Ok(self.held.hub.lock()?.job(self.held.job).is_none_or(|job| job.failed == 0))
            }

            /// Cancels the calls that have not ended. The process of a running call is killed within a second. The
            /// result is [`Cancelled`](ErrorKind::Cancelled), unless every call had ended before.
            ///
            /// # Errors
            /// As [`wait`](Self::wait).
            pub fn cancel(&self) -> Result<()> {
                self.held.hub.cancel(self.held.job)
            }

            /// The number of calls that have ended, for a progress bar.
            ///
            /// # Errors
            /// As [`wait`](Self::wait).
            pub fn ended(&self) -> Result<usize> {
                Ok(self.held.hub.lock()?.job(self.held.job).map_or(0, |job| job.ended))
            }
        }

        impl<R> fmt::Debug for $Result<R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Result)).field("task", &self.held.task).finish_non_exhaustive()
            }
        }
    };
}

waits!(AsyncResult);
waits!(MapResult);

impl<R: Transfer> AsyncResult<R> {
    /// Waits for the value.
    ///
    /// # Errors
    /// * [`Remote`](ErrorKind::Remote) when the task panicked. The [source](std::error::Error::source) is the
    ///   [`PanicReport`](ossature::multiprocessing::process::PanicReport).
    /// * [`WorkerDied`](ErrorKind::WorkerDied) when its process died or took longer than
    ///   [`task_timeout`](crate::PoolBuilder::task_timeout), with [`Error::pid`] and [`Error::exit_status`]; the text
    ///   names the host. Also when its host does not report any more; then the error has neither.
    /// * [`TaskFailed`](ErrorKind::TaskFailed) with the text of the error that a task started as
    ///   [`apply_result`](crate::Pool::apply_result) returned.
    /// * [`InvalidInput`](ErrorKind::InvalidInput) when the value cannot be serialised, or holds a descriptor.
    /// * [`Cancelled`](ErrorKind::Cancelled) after [`cancel`](Self::cancel) or the pool's end.
    /// * [`Closed`](ErrorKind::Closed) when the server is unavailable for longer than
    ///   [`outage`](crate::PoolBuilder::outage).
    /// * [`Incompatible`](ErrorKind::Incompatible) when there are workers of other builds of the program alone.
    /// * [`Auth`](ErrorKind::Auth) when the server does not let the program in any more.
    /// * [`NoResult`](ErrorKind::NoResult) when an earlier call returned the value.
    /// * [`NotAllowed`](ErrorKind::NotAllowed) in another process than the pool's.
    pub fn get(mut self) -> Result<R> {
        let missing = taken(self.held.task);
        self.get_timeout(Deadline::NEVER)?.ok_or(missing)
    }

    /// Waits for the value until the deadline. Returns `None` at the deadline.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: impl Into<Deadline>) -> Result<Option<R>> {
        if !self.wait(timeout)? {
            return Ok(None);
        }
        self.held.one().map(Some)
    }
}

impl<R: Transfer> MapResult<R> {
    /// Waits for all values.
    ///
    /// # Errors
    /// As [`AsyncResult::get`], of the first item in order that has no value.
    pub fn get(mut self) -> Result<Vec<R>> {
        let missing = taken(self.held.task);
        self.get_timeout(Deadline::NEVER)?.ok_or(missing)
    }

    /// Waits for the values until the deadline. Returns `None` at the deadline.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: impl Into<Deadline>) -> Result<Option<Vec<R>>> {
        if !self.wait(timeout)? {
            return Ok(None);
        }
        self.held.all().map(Some)
    }

    /// As [`get`](Self::get), but calls `progress` with the number of calls that have ended, first with 0, then after
    /// each change. `progress` runs in this thread, and may call the pool.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_with_progress(self, mut progress: impl FnMut(usize)) -> Result<Vec<R>> {
        let mut seen = 0;
        progress(seen);
        loop {
            let news = self.held.hub.wait(Deadline::NEVER, |state| {
                let Some(job) = state.job(self.held.job) else { return Some((seen, true)) };
                (job.ended > seen || job.is_done()).then_some((job.ended, job.is_done()))
            })?;
            let Some((ended, done)) = news else { continue }; // excluded without a deadline
            if ended > seen {
                seen = ended;
                progress(seen);
            }
            if done {
                return self.get();
            }
        }
    }
}
