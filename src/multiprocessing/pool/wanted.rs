//! What a thread waits for, and how many threads wait.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use super::job::Job;

/// What a thread waits for.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'j> {
    /// Any outcome may be the one.
    Each,
    /// All outcomes of a job.
    Job(&'j Arc<Job>),
    /// All outcomes.
    All,
}

/// Counts a thread that waits.
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
