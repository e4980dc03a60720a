//! The maps of a pool, with a chunk size and a look-ahead.

use std::marker::PhantomData;
use std::sync::Arc;

use super::admitted::Admitted;
use super::chunk::{Chunk, default_chunksize};
use super::handle::{Pool, name};
use super::hub::Hub;
use super::imap::Manner;
use super::job::{Job, Keep};
use super::{IMapIterator, MapResult};
use crate::error::Result;
use crate::multiprocessing::tasks::{Arguments, Form, Target};
use crate::multiprocessing::transfer::{Transfer, Writing};

/// The maps of a pool with their own chunk size or look-ahead.
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::{Pool, Tasks, freeze_support, pool::Chunked, tasks};
///
/// fn power(base: u64, exponent: u32) -> u64 {
///     base.pow(exponent)
/// }
///
/// fn half(number: u64) -> u64 {
///     number / 2
/// }
///
/// static TASKS: Tasks = tasks![power, half];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let pool = Pool::new(2)?;
///     let by_ten: Chunked<'_> = pool.chunksize(10)?;
///     assert_eq!(by_ten.starmap(power, (0..100).map(|n| (n, 2)))?[99], 9801);
///     assert_eq!(by_ten.map(half, 0..100)?[9], 4);
///     let halves = by_ten.lookahead(1000).imap_unordered(half, 0..100)?;
///     assert_eq!(halves.sum::<ossature::Result<u64>>()?, 2450);
///     assert_eq!(by_ten.imap(half, [8])?.next().transpose()?, Some(4));
///     assert_eq!(by_ten.map_async(half, [8])?.get()?, by_ten.starmap_async(power, [(2, 2)])?.get()?);
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Chunked<'p> {
    pub(super) pool: &'p Pool,
    pub(super) chunksize: Option<usize>,
    pub(super) lookahead: Option<usize>,
}

impl Chunked<'_> {
    /// Sets how many items of an [`imap`](Self::imap) may be drawn before their results are taken, at least one chunk.
    /// Several items are drawn at once, as long as two chunks for each worker remain.
    ///
    /// By default it is four chunks for each worker at first. It doubles, up to 64, each time that a result is taken
    /// and the next is not there.
    #[doc(alias = "buffersize")]
    pub fn lookahead(self, items: usize) -> Self {
        Self { lookahead: Some(items), ..self }
    }

    /// Does what [`Pool::map`] does.
    ///
    /// # Errors
    /// As [`Pool::map`].
    pub fn map<F, A, I>(&self, target: F, items: I) -> Result<Vec<F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        self.map_async(target, items)?.get()
    }

    /// Does what [`Pool::map_async`] does.
    ///
    /// # Errors
    /// As [`Pool::map_async`].
    pub fn map_async<F, A, I>(&self, target: F, items: I) -> Result<MapResult<F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        self.starmap_async(target, items.into_iter().map(|item| (item,)))
    }

    /// Does what [`Pool::starmap`] does.
    ///
    /// # Errors
    /// As [`Pool::starmap`].
    pub fn starmap<F, Args, I>(&self, target: F, items: I) -> Result<Vec<F::Output>>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
        I: IntoIterator<Item = Args>,
    {
        self.starmap_async(target, items)?.get()
    }

    /// Does what [`Pool::starmap_async`] does.
    ///
    /// # Errors
    /// As [`Pool::starmap_async`].
    pub fn starmap_async<F, Args, I>(&self, target: F, items: I) -> Result<MapResult<F::Output>>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments,
        I: IntoIterator<Item = Args>,
    {
        let hub = &self.pool.0;
        let admitted = Admitted::new(hub)?;
        let job = Arc::new(Job::new(name(target, Form::Value)?, Keep::All));
        let items = items.into_iter();
        match (self.chunksize, items.size_hint()) {
            (Some(size), _) => give_out(hub, &admitted, &job, items, size)?,
            (None, (least, Some(most))) if least == most => {
                give_out(hub, &admitted, &job, items, default_chunksize(least, hub.workers()))?
            }
            // Without a known length the items are collected first, as in Python.
            (None, _) => {
                let items: Vec<_> = items.collect();
                let size = default_chunksize(items.len(), hub.workers());
                give_out(hub, &admitted, &job, items.into_iter(), size)?
            }
        }
        Ok(MapResult { hub: hub.clone(), job, kind: PhantomData })
    }

    /// Does what [`Pool::imap`] does.
    ///
    /// # Errors
    /// As [`Pool::imap`].
    pub fn imap<F, A, I>(&self, target: F, items: I) -> Result<IMapIterator<I::IntoIter, F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        self.results(target, items, true)
    }

    /// Does what [`Pool::imap_unordered`] does.
    ///
    /// # Errors
    /// As [`Pool::imap_unordered`].
    pub fn imap_unordered<F, A, I>(&self, target: F, items: I) -> Result<IMapIterator<I::IntoIter, F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        self.results(target, items, false)
    }

    fn results<F, A, I>(&self, target: F, items: I, ordered: bool) -> Result<IMapIterator<I::IntoIter, F::Output>>
    where
        F: Target<(A,)>,
        F::Output: Transfer,
        A: Transfer,
        I: IntoIterator<Item = A>,
    {
        let hub = &self.pool.0;
        let admitted = Admitted::new(hub)?;
        let job = Arc::new(Job::new(name(target, Form::Value)?, Keep::Each));
        let chunksize = self.chunksize.unwrap_or(1);
        let of_each = |chunks: usize| hub.workers().saturating_mul(chunks).saturating_mul(chunksize);
        let (lookahead, most) = match self.lookahead {
            Some(items) => (items, items),
            None => (of_each(FEWEST_AHEAD), of_each(MOST_AHEAD)),
        };
        let manner = Manner { form: Form::Value, chunksize, lookahead, most, ordered };
        IMapIterator::begin(hub.clone(), admitted, job, items.into_iter(), manner)
    }
}

/// The number of chunks for each worker that an `imap` draws ahead, at first and at most.
const FEWEST_AHEAD: usize = 4;
const MOST_AHEAD: usize = 64;

/// The total size from which chunks are published. Publishing each short chunk by itself woke a worker each time, and a
/// map took twice as long.
const LONG: usize = 16 << 10;

/// Takes back the chunks of a map that cannot be published completely, except those that a worker has claimed.
struct Unfinished<'m> {
    hub: &'m Hub,
    job: &'m Arc<Job>,
    is_whole: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            // A chunk of a dead worker is not published again either.
            self.job.cancel();
            let _ = self.hub.cancel_unless_begun(self.job); // the caller gets the error of the item
        }
    }
}

/// Cuts calls into chunks, and gives chunks out while later items are drawn.
fn give_out<Args: Arguments>(
    hub: &Hub,
    admitted: &Admitted,
    job: &Arc<Job>,
    items: impl Iterator<Item = Args>,
    size: usize,
) -> Result<()> {
    let drawer = Some(&*admitted.drawer);
    let mut unfinished = Unfinished { hub, job, is_whole: false };
    let (mut chunks, mut bytes, mut base, mut given) = (Vec::new(), 0, 0, 0);
    let writing = Writing::begin();
    let mut items = items.peekable();
    while items.peek().is_some() {
        let mut chunk = Chunk::new(job, Form::Value);
        let mut alone = None;
        // Whole chunks, until they are long enough together.
        while chunk.weight(size) < LONG && items.peek().is_some() {
            for item in items.by_ref().take(size) {
                alone = chunk.push(&writing, &item)?;
                if alone.is_some() || chunk.is_alone() {
                    break;
                }
            }
            if alone.is_some() || chunk.is_alone() {
                break;
            }
        }
        let mut add = |mut chunk: Box<Chunk>| {
            chunk.base = base;
            base += chunk.count() as usize;
            bytes += chunk.weight(size);
            chunk.cut(size);
            chunks.push(chunk);
        };
        add(chunk);
        if let Some(alone) = alone {
            add(alone);
        }
        if bytes >= LONG || items.peek().is_none() {
            job.give(base - given); // before any of them can end
            given = base;
            hub.submit_for(drawer, chunks.drain(..))?;
            bytes = 0;
        }
    }
    unfinished.is_whole = true;
    Ok(())
}
