//! Calls for another process of this program, which serialises the arguments and decodes the values.

use std::sync::Arc;

use ossature_sys::deadline::Deadline;

use super::Pool;
use super::chunk::{Chunk, default_chunksize};
use super::hub::Hub;
use super::job::{Job, Keep, Outcome};
use super::wanted::Wanted;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::tasks::{Form, look_up};

/// The results of calls for another process, as bytes.
pub(in crate::multiprocessing) struct Opaque {
    hub: Arc<Hub>,
    job: Arc<Job>,
}

impl Pool {
    /// Sends calls of a task to the workers. Each call is the bytes of its arguments, as
    /// [`pack`](crate::multiprocessing::transfer::pack) makes them from a tuple.
    ///
    /// # Errors
    /// As [`map_async`](Pool::map_async); [`UnknownTask`](ErrorKind::UnknownTask) for a name that no table here
    /// contains.
    pub(in crate::multiprocessing) fn give_opaque(
        &self,
        task: &str,
        calls: &[Vec<u8>],
        chunksize: Option<usize>,
    ) -> Result<Opaque> {
        let hub = &self.0;
        hub.check()?;
        let job = Arc::new(Job::new(known(task)?, Keep::Each));
        let size = chunksize.unwrap_or_else(|| default_chunksize(calls.len(), hub.workers())).max(1);
        let mut chunks = Vec::with_capacity(calls.len().div_ceil(size));
        for calls in calls.chunks(size) {
            let mut chunk = Chunk::new(&job, Form::Value);
            for call in calls {
                chunk.push_opaque(call)?;
            }
            chunk.base = job.give(calls.len());
            chunks.push(chunk);
        }
        hub.submit(chunks)?;
        Ok(Opaque { hub: hub.clone(), job })
    }
}

/// Returns the name of a task as the table has it.
///
/// # Errors
/// `UnknownTask` for a name that no table here contains.
pub(super) fn known(task: &str) -> Result<&'static str> {
    look_up(task).map(|task| task.name()).ok_or_else(|| {
        let shown: String = task.chars().take(200).collect();
        let message = format!("{shown} is not a task here: add it to the tasks![...] of the program");
        Error::new(ErrorKind::UnknownTask, message)
    })
}

impl Opaque {
    /// Waits until every call has ended; `false` when the time ran out.
    pub(in crate::multiprocessing) fn wait(&self, until: Deadline) -> Result<bool> {
        self.hub.wait(until, Wanted::Job(&self.job), || self.job.is_done())
    }

    /// Whether every call has ended.
    pub(in crate::multiprocessing) fn is_done(&self) -> Result<bool> {
        self.wait(Deadline::NOW)
    }

    /// Whether every call has ended with a value.
    pub(in crate::multiprocessing) fn has_only_values(&self) -> bool {
        self.job.has_only_values()
    }

    /// The first failure.
    pub(in crate::multiprocessing) fn failure(&self) -> Option<Error> {
        self.job.failure().map(|failure| failure.into_error(self.job.task))
    }

    /// Waits for the next value, in the order of the calls or of their ends; `None` when the time ran out.
    pub(in crate::multiprocessing) fn next(&self, ordered: bool, until: Deadline) -> Result<Option<Vec<u8>>> {
        if !self.hub.wait(until, Wanted::Each, || self.job.has_next(ordered))? {
            return Ok(None);
        }
        match self.job.take_next(ordered) {
            Some(Outcome::Short(value)) => Ok(Some(value.bytes().to_vec())),
            Some(Outcome::Value(packed)) if packed.descriptors.is_none() => {
                Ok(Some(Arc::try_unwrap(packed).map_or_else(|shared| shared.bytes.clone(), |packed| packed.bytes)))
            }
            Some(Outcome::Value(_)) => {
                let text = format!(
                    "cannot return the result of {}: it contains a descriptor or shared memory, which a server does not pass on",
                    self.job.task
                );
                Err(Error::new(ErrorKind::Unsupported, text))
            }
            Some(Outcome::Failed(failure)) => Err(failure.into_error(self.job.task)),
            None => Err(self.job.taken()),
        }
    }
}
