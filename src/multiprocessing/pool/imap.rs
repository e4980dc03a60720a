//! Results one after the other, of items that are drawn no faster than results are taken.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use ossature_sys::deadline::Deadline;

use super::chunk::Chunk;
use super::hub::Hub;
use super::job::Job;
use super::waits::Wanted;
use crate::error::{Error, Result};
use crate::multiprocessing::tasks::Form;
use crate::multiprocessing::transfer::{Transfer, Writing};

/// The results of [`imap`](super::Pool::imap) and [`imap_unordered`](super::Pool::imap_unordered).
///
/// The iterator over the items may be endless. Items are drawn as results are taken, in the thread that takes them, and
/// at most [`lookahead`](super::Chunked::lookahead) items more than results were taken. A failed call is an error in
/// its place, and the iteration goes on behind it.
///
/// Differs from Python, which draws all items at once, in a thread of its own.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::multiprocessing::{Pool, Tasks, freeze_support, pool::IMapIterator, tasks};
///
/// fn square(number: u64) -> u64 {
///     number * number
/// }
///
/// static TASKS: Tasks = tasks![square];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let pool = Pool::new(2)?;
///     let mut squares: IMapIterator<_, u64> = pool.imap(square, 0..)?; // without an end
///     assert_eq!(squares.next().transpose()?, Some(0));
///     assert!(matches!(squares.next_timeout(Duration::from_secs(60)), Some(Ok(Some(1)))));
///     assert_eq!(squares.take(3).collect::<Result<Vec<_>, _>>()?, [4, 9, 16]);
///     Ok(())
/// }
/// ```
#[doc(alias = "IMapUnorderedIterator")]
#[must_use = "results are computed as they are taken"]
pub struct IMapIterator<I, R> {
    pub(super) hub: Arc<Hub>,
    pub(super) job: Arc<Job>,
    /// `None` when there are no more items.
    items: Option<I>,
    form: Form,
    chunksize: usize,
    lookahead: usize,
    ordered: bool,
    drawn: usize,
    taken: usize,
    /// Why there are no more items; it comes behind the results of those before.
    refusal: Option<Error>,
    kind: PhantomData<fn() -> R>,
}

/// How results are taken.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) form: Form,
    pub(super) chunksize: usize,
    pub(super) lookahead: usize,
    pub(super) ordered: bool,
}

impl<I: Iterator, R> IMapIterator<I, R>
where
    I::Item: Transfer,
    R: Transfer,
{
    pub(super) fn begin(hub: Arc<Hub>, job: Arc<Job>, items: I, manner: Manner) -> Result<Self> {
        let Manner { form, chunksize, lookahead, ordered } = manner;
        let (drawn, taken, items) = (0, 0, Some(items));
        let lookahead = lookahead.max(chunksize);
        let mut results = Self {
            hub,
            job,
            items,
            form,
            chunksize,
            lookahead,
            ordered,
            drawn,
            taken,
            refusal: None,
            kind: PhantomData,
        };
        results.draw()?;
        Ok(results)
    }

    /// Gives out as many items as may be under way.
    fn draw(&mut self) -> Result<()> {
        while self.items.is_some() && self.drawn + self.chunksize <= self.taken + self.lookahead {
            self.hub.check()?; // before an item is drawn that nobody takes
            let mut chunk = Chunk::new(&self.job, self.form);
            let writing = Writing::begin();
            let mut alone = None;
            for _ in 0..self.chunksize {
                if alone.is_some() || chunk.is_alone() {
                    break;
                }
                match self.items.as_mut().and_then(Iterator::next) {
                    Some(item) => alone = chunk.push(&writing, &(item,))?,
                    None => {
                        self.items = None;
                        break;
                    }
                }
            }
            drop(writing);
            for mut chunk in [chunk].into_iter().chain(alone).filter(|chunk| chunk.count() > 0) {
                let count = chunk.count() as usize;
                chunk.base = self.job.give(count);
                self.hub.submit([chunk])?;
                self.drawn += count;
            }
        }
        Ok(())
    }

    /// Waits for the next result until the deadline. Returns `Some(Ok(None))` when the time ran out; the result comes
    /// with a later call then. Returns `None` after the last result.
    ///
    /// # Errors
    /// As [`AsyncResult::get`](super::AsyncResult::get), for one call. When no more items can be given out, because the
    /// pool has ended or an item cannot be serialised, that error is the last.
    pub fn next_timeout(&mut self, timeout: impl Into<Deadline>) -> Option<Result<Option<R>>> {
        if let Err(error) = self.draw() {
            self.items = None;
            self.refusal = Some(error);
        }
        if self.taken == self.drawn {
            return self.refusal.take().map(Err);
        }
        let (job, ordered) = (&self.job, self.ordered);
        match self.hub.wait(timeout.into(), Wanted::Each, || job.has_next(ordered)) {
            Ok(true) => {}
            Ok(false) => return Some(Ok(None)),
            Err(error) => {
                // Another process's pool: no result comes here.
                (self.items, self.taken) = (None, self.drawn);
                return Some(Err(error));
            }
        }
        let outcome = self.job.take_next(self.ordered)?;
        self.taken += 1;
        Some(self.job.decode(outcome).map(Some))
    }
}

impl<I: Iterator, R> Iterator for IMapIterator<I, R>
where
    I::Item: Transfer,
    R: Transfer,
{
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        match self.next_timeout(Deadline::NEVER)? {
            Ok(Some(value)) => Some(Ok(value)),
            Ok(None) => None, // excluded without a deadline
            Err(error) => Some(Err(error)),
        }
    }
}

impl<I, R> fmt::Debug for IMapIterator<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IMapIterator").field("drawn", &self.drawn).field("taken", &self.taken).finish_non_exhaustive()
    }
}
