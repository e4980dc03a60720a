//! The outcomes that a thread waits for, and the number of waiting threads.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use super::job::Job;

/// The outcomes for which a thread waits.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'j> {
    /// Any single outcome.
    Each,
    /// All outcomes of one job.
    Job(&'j Arc<Job>),
    /// All outcomes of the pool.
    All,
}

/// A guard that counts a waiting thread.
pub(super) struct Waiting<'h>(&'h AtomicUsize);

impl<'h> Waiting<'h> {
    pub(super) fn begin(count: &'h AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
