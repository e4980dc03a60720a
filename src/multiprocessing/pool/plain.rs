//! Maps of plain values: bytes in, bytes out, through the arena.
//!
//! The room of a chunk in the arena has the arguments, then place for the values. A worker stores a value before it
//! notes that the next call begins. So after its death the values of all calls before the running one are there. Calls
//! without a value are told of in the stream, as ever; a last record says that the chunk has ended.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use ossature_sys::deadline::Deadline;
use ossature_sys::shm::{Plain, as_bytes, as_bytes_mut, from_bytes};

use super::chunk::{Chunk, default_chunksize};
use super::hub::Hub;
use super::job::{Failure, Job, Keep};
use super::waits::Wanted;
use super::{Chunked, name};
use crate::error::Result;
use crate::multiprocessing::tasks::{Form, Target};

/// The most bytes of a chunk, values included.
const MOST: usize = 16 << 20;

/// The values of a job, in one piece.
pub(super) struct Values {
    size: usize,
    places: Box<dyn Places>,
    failures: BTreeMap<usize, Failure>,
}

/// A list of values of one type.
trait Places: Any + Send {
    fn bytes(&mut self) -> &mut [u8];

    fn any(self: Box<Self>) -> Box<dyn Any>;
}

impl<R: Plain + Send> Places for Vec<R> {
    fn bytes(&mut self) -> &mut [u8] {
        as_bytes_mut(self)
    }

    fn any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Values {
    pub(super) fn new<R: Plain + Send>(count: usize) -> Self {
        let size = size_of::<R>();
        let zero = from_bytes::<R>(&vec![0; size]);
        let places = zero.map_or_else(Vec::new, |zero| vec![zero; count]);
        Self { size, places: Box::new(places), failures: BTreeMap::new() }
    }

    /// The place for so many values from an index on.
    pub(super) fn place(&mut self, from: usize, count: usize) -> &mut [u8] {
        let bytes = self.places.bytes();
        bytes.get_mut(from * self.size..).and_then(|rest| rest.get_mut(..count * self.size)).unwrap_or_default()
    }

    pub(super) fn fail(&mut self, index: usize, failure: Failure) {
        self.failures.insert(index, failure);
    }

    fn into_list<R: Plain>(self) -> Vec<R> {
        self.places.any().downcast().map_or_else(|_| Vec::new(), |list| *list)
    }
}

impl Chunked<'_> {
    /// See [`Pool::map_plain`](super::Pool::map_plain).
    ///
    /// # Errors
    /// As [`Pool::map_plain`](super::Pool::map_plain).
    pub fn map_plain<F, A, R>(&self, target: F, items: &[A]) -> Result<Vec<R>>
    where
        F: Target<(A,), Output = R>,
        A: Plain,
        R: Plain,
    {
        let hub = &self.pool.0;
        hub.check()?;
        let values = Values::new::<R>(items.len());
        let job = Arc::new(Job::new(name(target, Form::Plain)?, Keep::Plain(values)));
        let most = (MOST / (size_of::<A>() + size_of::<R>()).max(1)).max(1);
        let size = self.chunksize.unwrap_or_else(|| default_chunksize(items.len(), hub.workers())).min(most);
        let chunk = |items: &[A]| {
            let mut chunk = Chunk::new(&job, Form::Plain);
            chunk.push_plain(as_bytes(items), items.len(), size_of::<A>(), size_of::<R>());
            chunk.base = job.give(items.len());
            chunk
        };
        hub.submit(items.chunks(size).map(chunk))?;
        hub.wait(Deadline::NEVER, Wanted::Job(&job), || job.is_done())?;
        let mut values = job.take_plain()?;
        match values.failures.pop_first() {
            Some((_, failure)) => Err(failure.into_error(job.task)),
            None => Ok(values.into_list()),
        }
    }
}

impl Hub {
    /// Takes in the values of the calls of a plain chunk before `until`.
    pub(super) fn fill(&self, chunk: &mut Chunk, until: u32) {
        let until = until.min(chunk.count());
        let (Some(room), Some(count @ 1..)) = (chunk.rare().room, until.checked_sub(chunk.seen)) else { return };
        let start = room.offset as usize + chunk.length() + chunk.seen as usize * chunk.rare().value;
        chunk.job.fill(chunk.at(), count as usize, |place| {
            let _ = self.ground.arena.copy_out(start, place); // the room is as long as that
        });
        chunk.seen = until;
        chunk.has_gone_on();
    }
}
