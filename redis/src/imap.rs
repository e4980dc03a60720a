//! Results one after the other, of items that are drawn no faster than results are taken.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use ossature::multiprocessing::transfer::Transfer;
use ossature::sys::deadline::Deadline;
use ossature::{Error, Result};

use crate::hub::{Hub, Packed};
use crate::job::Manner;
use crate::result::decode;

/// The results of [`imap`](crate::Pool::imap) and [`imap_unordered`](crate::Pool::imap_unordered).
///
/// The iterator over the items may be endless. Items are drawn as results are taken, in the thread that takes them, and
/// only enough to keep the workers busy. A failed call is an error in its place, and the iteration continues after it.
#[must_use = "results are computed as they are taken"]
pub struct IMapIterator<I, R> {
    hub: Arc<Hub>,
    job: u64,
    task: &'static str,
    /// The items; `None` after the last.
    items: Option<I>,
    chunksize: Option<usize>,
    drawn: usize,
    taken: usize,
    /// The error that ended the items; it comes after the results of the items before.
    refusal: Option<Error>,
    kind: PhantomData<fn() -> R>,
}

impl<I: Iterator, R> IMapIterator<I, R>
where
    I::Item: Transfer,
    R: Transfer,
{
    pub(crate) fn begin(hub: Arc<Hub>, task: &'static str, manner: Manner, by_coming: bool, items: I) -> Result<Self> {
        let job = hub.begin(task, manner, by_coming)?;
        let (items, chunksize) = (Some(items), manner.chunksize);
        let mut results =
            Self { hub, job, task, items, chunksize, drawn: 0, taken: 0, refusal: None, kind: PhantomData };
        results.draw();
        match results.refusal.take() {
            Some(refusal) if results.drawn == 0 => Err(refusal),
            refusal => {
                results.refusal = refusal;
                Ok(results)
            }
        }
    }

    /// Submits as many items as may be in flight.
    fn draw(&mut self) {
        if self.items.is_none() {
            return;
        }
        let most = {
            let mut state = self.hub.state();
            let processes = state.processes();
            let Some(job) = state.job(self.job) else { return };
            job.window(processes).saturating_mul(self.chunksize.unwrap_or(job.by_time()))
        };
        let mut packed = Packed::new();
        // Half of them at once at least, so that chunks are not cut of what one result makes room for.
        let room = most.saturating_sub(self.drawn - self.taken);
        if room < most.div_ceil(2) {
            return;
        }
        for _ in 0..room {
            let Some(item) = self.items.as_mut().and_then(Iterator::next) else {
                self.items = None;
                break;
            };
            if let Err(error) = packed.push(self.task, &(item,)) {
                (self.refusal, self.items) = (Some(error), None);
                break;
            }
        }
        let end = packed.ends.last().copied().unwrap_or_default();
        match self.hub.give(self.job, packed.bytes.get(..end).unwrap_or_default(), &packed.ends) {
            Ok(()) => self.drawn += packed.ends.len(),
            Err(error) => (self.refusal, self.items) = (Some(error), None),
        }
    }

    /// Waits for the next result until the deadline. Returns `Some(Ok(None))` at the deadline; a later call returns the
    /// result. Returns `None` after the last result.
    ///
    /// # Errors
    /// As [`AsyncResult::get`](crate::AsyncResult::get), for one call.
    pub fn next_timeout(&mut self, timeout: impl Into<Deadline>) -> Option<Result<Option<R>>> {
        self.draw();
        if self.taken == self.drawn {
            return self.refusal.take().map(Err);
        }
        let next = self.hub.wait(timeout.into(), |state| {
            let job = state.job(self.job)?;
            if job.has_next() { job.take_next() } else { None }
        });
        match next {
            Ok(None) => Some(Ok(None)),
            Ok(Some(outcome)) => {
                self.taken += 1;
                Some(decode(self.task, outcome).map(Some))
            }
            Err(error) => {
                (self.items, self.taken) = (None, self.drawn); // another process's pool
                Some(Err(error))
            }
        }
    }
}

impl<I: Iterator, R> Iterator for IMapIterator<I, R>
where
    I::Item: Transfer,
    R: Transfer,
{
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        self.next_timeout(Deadline::NEVER)?.transpose()
    }
}

impl<I, R> Drop for IMapIterator<I, R> {
    fn drop(&mut self) {
        // Only the dropped iterator could return the remaining results.
        let _ = self.hub.cancel(self.job);
        self.hub.let_go(self.job);
    }
}

impl<I, R> fmt::Debug for IMapIterator<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IMapIterator").field("drawn", &self.drawn).field("taken", &self.taken).finish_non_exhaustive()
    }
}
