//! Maps whose closures borrow: the workers are copies of this process.

use std::sync::Arc;

use ossature_sys::deadline::Deadline;

use super::board;
use super::chunk::{Chunk, default_chunksize};
use super::ground::Setup;
use super::hub::Hub;
use super::job::{Job, Keep};
use super::kept::Pieces;
use super::wanted::Wanted;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context::Context;
use crate::multiprocessing::tasks::{Calls, Form};
use crate::multiprocessing::transfer::{Transfer, Writing};

/// Calls `f` with each item, in `workers` copies of this process, and waits for all values, in the order of the items.
///
/// The copies have the items already: the items are not serialised, and may be of any type. Only the values are
/// serialised. The closure may borrow. What it changes in memory is not seen in this process.
///
/// Calls go to workers in chunks as with [`Pool::map`](super::Pool::map). A worker that dies is replaced by another
/// copy of this process as it was at the beginning.
///
/// # Errors
/// * [`MultiThreaded`](ErrorKind::MultiThreaded) while other threads run, and the other errors of
///   [`ProcessBuilder::fork`](crate::multiprocessing::process::ProcessBuilder::fork).
/// * [`InvalidInput`](ErrorKind::InvalidInput) for no workers or more than 1024.
/// * As [`AsyncResult::get`](super::AsyncResult::get) of the first item in order that has no value. Every call is made,
///   also after another has failed.
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::pool::fork_map;
///
/// let words = ["seven", "and", "eight"]; // borrowed, and not serialised
/// let longest = words.iter().map(|word| word.len()).max().unwrap_or(0);
/// let padded = fork_map(&words, 2, |word| format!("{word:>longest$}"))?;
/// assert_eq!(padded, ["seven", "  and", "eight"]);
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn fork_map<T, R: Transfer>(items: &[T], workers: usize, f: impl Fn(&T) -> R) -> Result<Vec<R>> {
    if workers == 0 || workers > board::WORKERS_MAX {
        return Err(Error::new(ErrorKind::InvalidInput, "fork_map needs at least 1 worker and at most 1024"));
    }
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let setup = Setup::new("ForkPoolWorker");
    // An index of this slice only: no other code gives out chunks of this pool.
    let call = |(index,): (usize,)| items.get(index).map(&f);
    let runner = |calls: &mut Calls<'_>| calls.run_closure(call);
    let hub = Hub::start(workers.min(items.len()), Context::Fork, setup, None, 0, Some(&runner))?;
    let ended = Ended(hub);
    let job = Arc::new(Job::new(std::any::type_name_of_val(&f), Keep::All));
    let (size, writing) = (default_chunksize(items.len(), workers), Writing::begin());
    let mut chunks = Vec::new();
    for start in (0..items.len()).step_by(size) {
        let mut chunk = Chunk::new(&job, Form::Value);
        for index in start..items.len().min(start + size) {
            chunk.push(&writing, &(index,))?;
        }
        chunk.base = job.give(chunk.count() as usize);
        chunks.push(chunk);
    }
    drop(writing);
    ended.0.submit(chunks)?;
    ended.0.wait(Deadline::NEVER, Wanted::All, || job.is_done())?;
    let values: Vec<Option<R>> = job.take_all(Pieces::new())?;
    values.into_iter().map(|value| value.ok_or_else(|| job.taken())).collect()
}

/// Ends the workers when dropped, also after an error.
struct Ended(Arc<Hub>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}
