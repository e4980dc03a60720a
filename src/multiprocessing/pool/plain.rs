//! Maps of plain values, whose bytes are copied through the arena without serialisation.
//!
//! The block of a chunk in the arena contains the arguments, then space for the values. A worker stores a value before
//! it records that the next call begins. So after its death the values of all calls before the running one are there.
//! Calls without a value have records in the stream, as in other chunks; a last record marks the end of the chunk.

use std::sync::Arc;

use ossature_sys::deadline::Deadline;
use ossature_sys::shm::{Plain, as_bytes};

use super::chunk::{Chunk, default_chunksize};
use super::chunked::Chunked;
use super::handle::name;
use super::hub::Hub;
use super::job::{Job, Keep};
use super::values::Values;
use super::wanted::Wanted;
use crate::error::Result;
use crate::multiprocessing::tasks::{Form, Target};

/// The maximum size of a chunk, values included.
const MOST: usize = 16 << 20;

impl Chunked<'_> {
    /// Implements [`Pool::map_plain`](super::Pool::map_plain).
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
        hub.submit_plain(&job, items, size, size_of::<R>())?;
        hub.wait(Deadline::NEVER, Wanted::Job(&job), || job.is_done())?;
        let mut values = job.take_plain()?;
        match values.failures.pop_first() {
            Some((_, failure)) => Err(failure.into_error(job.task)),
            None => Ok(values.into_list()),
        }
    }
}

impl Hub {
    /// Publishes the calls of a plain job. The items are copied into the arena while there is room, and each chunk is
    /// published before the next is written.
    fn submit_plain<A: Plain>(&self, job: &Arc<Job>, items: &[A], size: usize, value: usize) -> Result<()> {
        let mut inner = self.lock()?;
        self.heed(&mut inner)?;
        inner.check()?;
        let mut base = job.give(items.len());
        inner.waits = true; // see `submit_one`
        for items in items.chunks(size) {
            let mut chunk = Chunk::new(job, Form::Plain);
            chunk.base = base;
            base += items.len();
            let (bytes, sizes) = (as_bytes(items), (size_of::<A>(), value));
            let length = chunk.bytes.len() + bytes.len() + items.len() * value;
            // The chunks that wait go first. `publish` says what is wrong when there is no memory.
            let room = match inner.queue.is_empty() && inner.free > 0 {
                true => inner.arena.give(&self.arena, length).unwrap_or_default(),
                false => None,
            };
            match room {
                Some(room) => chunk.place_plain(room, (bytes.len(), items.len()), sizes, |head| {
                    let (arena, start) = (&self.ground.arena, room.offset as usize);
                    let _ = arena.copy_in(start, &head).and_then(|()| arena.copy_in(start + head.len(), bytes)); // it fits
                }),
                None => chunk.push_plain(bytes, items.len(), sizes),
            }
            inner.queue.push_back(chunk);
            if let Err(error) = self.publish(&mut inner) {
                inner.waits = false;
                return Err(error);
            }
        }
        inner.waits = false;
        self.collect(&mut inner)
    }

    /// Receives the values of the calls of a plain chunk before `until`.
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
