//! An iterator over results, which draws its items no faster than the caller takes results.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ossature_sys::deadline::Deadline;

use super::admitted::Admitted;
use super::chunk::Chunk;
use super::hub::Hub;
use super::job::{Job, Outcome};
use super::refusal::Refusal;
use super::wanted::Wanted;
use crate::error::Result;
use crate::multiprocessing::tasks::Form;
use crate::multiprocessing::transfer::{Transfer, Writing};

/// The results of [`imap`](super::Pool::imap) and [`imap_unordered`](super::Pool::imap_unordered).
///
/// The iterator over the items may be endless. Items are drawn as results are taken, in the thread that takes them, and
/// at most [`lookahead`](super::Chunked::lookahead) items more than results were taken. A failed call is an error in
/// its place, and the iteration continues after it.
///
/// The iteration continues after the pool is closed, and a [`join`](super::Pool::join) in another thread waits for it.
/// A join in the thread that takes the results ends the drawing.
///
/// A panic of the iterator over the items is raised by [`next`](Iterator::next), after the results of the items before,
/// as with [`Iterator::map`]. The pool continues, and so does the iteration if the caller catches the panic.
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
    /// The iterator over the items; `None` when it is exhausted.
    items: Option<I>,
    /// The right to publish items, while there are items.
    admitted: Option<Admitted>,
    form: Form,
    chunksize: usize,
    lookahead: usize,
    /// The limit to which the look-ahead grows while the caller waits for results.
    most: usize,
    /// Items are drawn once at least this many fit into the look-ahead. One at a time would wake a worker for each.
    refill: usize,
    ordered: bool,
    drawn: usize,
    taken: usize,
    /// A chunk without calls, for the next calls.
    spare: Option<Box<Chunk>>,
    /// The next outcomes, which were taken from the job together.
    ready: VecDeque<Outcome>,
    /// The reason why no more items are drawn; it follows the results of the items before.
    refusal: Option<Refusal>,
    kind: PhantomData<fn() -> R>,
}

/// The maximum number of outcomes that are taken from the job under one lock.
const TOGETHER: usize = 16;

/// The settings of an iterator over results.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) form: Form,
    pub(super) chunksize: usize,
    pub(super) lookahead: usize,
    pub(super) most: usize,
    pub(super) ordered: bool,
}

impl<I: Iterator, R> IMapIterator<I, R>
where
    I::Item: Transfer,
    R: Transfer,
{
    pub(super) fn begin(hub: Arc<Hub>, admitted: Admitted, job: Arc<Job>, items: I, manner: Manner) -> Result<Self> {
        let Manner { form, chunksize, lookahead, most, ordered } = manner;
        let (drawn, taken, items) = (0, 0, Some(items));
        let mut results = Self {
            hub,
            job,
            items,
            admitted: Some(admitted),
            form,
            chunksize,
            lookahead: 0,
            most,
            refill: 0,
            ordered,
            drawn,
            taken,
            spare: None,
            ready: VecDeque::new(),
            refusal: None,
            kind: PhantomData,
        };
        results.set_lookahead(lookahead);
        results.draw();
        match results.refusal.take() {
            Some(refusal) if results.drawn == 0 => Err(refusal.come()),
            refusal => Ok(Self { refusal, ..results }),
        }
    }

    fn set_lookahead(&mut self, lookahead: usize) {
        let lookahead = lookahead.max(self.chunksize);
        // Two chunks for each worker stay under way.
        let enough = self.hub.workers().saturating_mul(2).saturating_mul(self.chunksize);
        self.refill = lookahead.saturating_sub(enough).min(lookahead / 2).max(self.chunksize);
        self.lookahead = lookahead;
    }

    /// Draws items up to the look-ahead and publishes them, unless something prevents that.
    fn draw(&mut self) {
        if let Some(admitted) = &self.admitted {
            admitted.drawer.draws_here();
        }
        if self.drawn.saturating_add(self.refill) > self.taken.saturating_add(self.lookahead) {
            return;
        }
        let Some(admitted) = self.admitted.take() else { return };
        // Before an item is drawn that no worker takes. To give an item out checks the same for the next one.
        if let Err(error) = self.hub.check_for(&admitted.drawer) {
            self.end(error.into());
        }
        while self.items.is_some()
            && self.refusal.is_none()
            && self.drawn.saturating_add(self.chunksize) <= self.taken.saturating_add(self.lookahead)
        {
            let mut chunk = self.spare.take().unwrap_or_else(|| Chunk::new(&self.job, self.form));
            let mut alone = None;
            let filled = catch_unwind(AssertUnwindSafe(|| self.fill(&mut chunk, &mut alone)));
            chunk.drop_unfinished(); // the call that failed; those before it are given out
            let given = self.give(&admitted, chunk);
            if let Err(error) = given.and_then(|()| alone.map_or(Ok(()), |alone| self.give(&admitted, alone))) {
                self.end(error.into());
                break;
            }
            match filled {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.end(error.into()),
                Err(payload) => self.refusal = Some(Refusal::panicked(payload)),
            }
        }
        self.admitted = Some(admitted).filter(|_| self.items.is_some());
    }

    /// Draws the items of a chunk. An item that must be alone ends the chunk.
    fn fill(&mut self, chunk: &mut Chunk, alone: &mut Option<Box<Chunk>>) -> Result<()> {
        let writing = Writing::begin();
        while (chunk.count() as usize) < self.chunksize && alone.is_none() && !chunk.is_alone() {
            let Some(item) = self.items.as_mut().and_then(Iterator::next) else {
                self.items = None;
                break;
            };
            *alone = chunk.push(&writing, &(item,))?;
        }
        Ok(())
    }

    fn give(&mut self, admitted: &Admitted, mut chunk: Box<Chunk>) -> Result<()> {
        let count = chunk.count() as usize;
        if count > 0 {
            chunk.base = self.job.give(count);
            self.spare = self.hub.submit_next(&admitted.drawer, chunk)?;
            self.drawn += count;
        }
        Ok(())
    }

    /// Stops drawing items, for the given reason.
    fn end(&mut self, refusal: Refusal) {
        self.refusal = Some(refusal);
        self.items = None; // last, for the drop of an iterator may panic
    }

    /// Waits for the next result until the deadline. Returns `Some(Ok(None))` when the time ran out; then a later call
    /// returns the result. Returns `None` after the last result.
    ///
    /// # Errors
    /// As [`AsyncResult::get`](super::AsyncResult::get), for one call. When no more items can be given out, because the
    /// pool has ended or an item cannot be serialised, that error is the last.
    ///
    /// # Panics
    /// When the iterator over the items panics, after the results of the items before.
    pub fn next_timeout(&mut self, timeout: impl Into<Deadline>) -> Option<Result<Option<R>>> {
        self.draw();
        if self.taken == self.drawn {
            return self.refusal.take().map(|refusal| Err(refusal.come()));
        }
        let (job, ordered) = (&self.job, self.ordered);
        let is_undisturbed = self.hub.is_undisturbed();
        if self.ready.is_empty() && is_undisturbed {
            job.take_several(ordered, TOGETHER, &mut self.ready);
        }
        if self.ready.is_empty() || !is_undisturbed {
            match self.hub.wait(timeout.into(), Wanted::Each, || !self.ready.is_empty() || job.has_next(ordered)) {
                Ok(true) if self.ready.is_empty() => job.take_several(ordered, TOGETHER, &mut self.ready),
                Ok(true) => {}
                Ok(false) => return Some(Ok(None)),
                Err(error) => {
                    // Another process's pool: no result comes here.
                    (self.items, self.admitted, self.taken) = (None, None, self.drawn);
                    return Some(Err(error));
                }
            }
        }
        let outcome = self.ready.pop_front()?;
        self.taken += 1;
        if self.lookahead < self.most && self.ready.is_empty() && !job.has_next(ordered) {
            self.set_lookahead(self.lookahead.saturating_mul(2).min(self.most)); // the workers could do with more
        }
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
