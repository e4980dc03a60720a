//! The handles of a job, which go from the chunks that have ended to the next chunks.
//!
//! To count a handle down and up is slow, because a locked instruction waits for the stores before it. The stores to
//! the slots wait for cache lines that the workers have.

use std::sync::Arc;

use super::job::Job;

/// Handles of the job whose chunks are published in this way, for its next chunks.
#[derive(Default)]
pub(super) struct Handles {
    job: Option<Arc<Job>>,
    spare: Vec<Arc<Job>>,
}

impl Handles {
    /// Returns a handle of the job.
    #[inline]
    pub(super) fn take(&mut self, job: &Arc<Job>) -> Arc<Job> {
        match self.spare.pop().filter(|handle| Arc::ptr_eq(handle, job)) {
            Some(handle) => handle,
            None => {
                self.spare.clear(); // they are of another job
                if !self.are_of(job) {
                    self.job = Some(job.clone());
                }
                job.clone()
            }
        }
    }

    /// Keeps the handle of a chunk that has ended, if it is of the job whose chunks are published now.
    #[inline]
    pub(super) fn keep(&mut self, handle: Arc<Job>) {
        if self.are_of(&handle) {
            self.spare.push(handle);
        }
    }

    fn are_of(&self, job: &Arc<Job>) -> bool {
        self.job.as_ref().is_some_and(|of| Arc::ptr_eq(of, job))
    }

    /// Drops all handles, once no chunk of their job may follow.
    pub(super) fn clear(&mut self) {
        self.job = None;
        self.spare.clear();
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.spare.len()
    }
}
