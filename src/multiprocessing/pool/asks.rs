//! Requests to the parent's side other than waiting: cancelling, whether a call runs, callbacks.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::thread::Builder;

use ossature_sys::deadline::Deadline;

use super::failure::Failure;
use super::ground::raise;
use super::hub::{Hub, Inner};
use super::job::{Callback, Job, Outcome};
use super::wanted::Wanted;
use super::word::{SlotState, state as state_of, word};
use crate::error::Result;
use crate::thread::report_panics;

impl Hub {
    /// Cancels the calls of a job that have not ended. Running calls end with their workers.
    pub(super) fn cancel(&self, job: &Arc<Job>) -> Result<()> {
        let mut inner = self.lock()?;
        self.collect(&mut inner)?;
        job.cancel();
        self.withdraw(&mut inner, |other| Arc::ptr_eq(other, job));
        let mut doomed = false;
        for (at, slot) in self.ground.slots().iter().enumerate() {
            let Some(sequence) = inner.published(at, job) else { continue };
            let SlotState::Claimed(ticket) = state_of(slot.word.load(SeqCst)) else { continue };
            if let Some(entry) = self.ground.entries().get(ticket as usize % self.workers()) {
                entry.doomed.store(sequence.wrapping_add(1), SeqCst);
                doomed = true;
            }
        }
        if doomed {
            raise(self.ground.nudge());
        }
        self.publish(&mut inner)?;
        self.wake_others(&inner);
        Ok(())
    }

    /// Cancels the calls of a job in chunks that no worker has. The calls of other chunks continue.
    pub(super) fn cancel_unless_begun(&self, job: &Arc<Job>) -> Result<()> {
        let mut inner = self.lock()?;
        self.collect(&mut inner)?;
        if self.withdraw(&mut inner, |other| Arc::ptr_eq(other, job)) {
            job.cancel();
        }
        self.publish(&mut inner)?;
        self.wake_others(&inner);
        Ok(())
    }

    /// Cancels every call that no worker has.
    pub(super) fn cancel_waiting(&self) -> Result<()> {
        let mut inner = self.lock()?;
        inner.drawers.cut_all();
        self.collect(&mut inner)?;
        self.withdraw(&mut inner, |job| {
            job.cancel();
            true
        });
        self.publish(&mut inner)?;
        self.wake_others(&inner);
        Ok(())
    }

    /// Takes back the unclaimed chunks of some jobs; their calls end as cancelled. Returns whether there were any.
    fn withdraw(&self, inner: &mut Inner, of: impl Fn(&Arc<Job>) -> bool) -> bool {
        let (mut kept, mut queued, mut withdrawn) = (VecDeque::new(), Vec::new(), Vec::new());
        for chunk in std::mem::take(&mut inner.queue) {
            match of(&chunk.job) {
                true => queued.push(chunk),
                false => kept.push_back(chunk),
            }
        }
        inner.queue = kept;
        inner.handles.clear();
        for (at, slot) in self.ground.slots().iter().enumerate() {
            let Some((job, sequence)) = inner.at(at) else { continue };
            let waits = state_of(slot.word.load(Acquire));
            if !matches!(waits, SlotState::Ready | SlotState::Packed) || !of(&job) {
                continue;
            }
            // A worker may claim it at this moment.
            if slot.word.compare_exchange(word(waits, sequence), word(SlotState::Free, 0), SeqCst, Acquire).is_ok() {
                withdrawn.extend(self.free(inner, at));
            }
        }
        for chunk in queued.iter().map(Box::as_ref).chain(&withdrawn) {
            chunk.left().for_each(|index| chunk.job.end(index, Outcome::Failed(Failure::Cancelled)));
        }
        !(queued.is_empty() && withdrawn.is_empty())
    }

    /// Whether a worker has a call of the job.
    pub(super) fn is_running(&self, job: &Arc<Job>) -> Result<bool> {
        let mut inner = self.lock()?;
        self.collect(&mut inner)?;
        let claimed = |(at, slot): (usize, &super::board::Slot)| {
            inner.published(at, job).is_some() && matches!(state_of(slot.word.load(Acquire)), SlotState::Claimed(_))
        };
        Ok(self.ground.slots().iter().enumerate().any(claimed))
    }

    /// The same for a callback that comes before the result: whoever waits for the result waits for the callback too.
    pub(super) fn call_back_before(
        self: &Arc<Self>,
        job: &Arc<Job>,
        callback: impl FnOnce() + Send + 'static,
    ) -> Result<()> {
        let before = job.hold_back();
        let callback = move || {
            let _before = before; // until the callback has ended, also by a panic
            callback();
        };
        self.call_back(job, Box::new(callback))
    }

    /// Arranges that the thread for callbacks calls a callback once the job is done.
    pub(super) fn call_back(self: &Arc<Self>, job: &Arc<Job>, callback: Callback) -> Result<()> {
        let mut inner = self.lock()?;
        let over = self.over.load(SeqCst);
        if !inner.called && !over {
            let hub = self.clone();
            Builder::new().name("PoolCallbacks".into()).spawn(move || hub.call())?;
            inner.called = true;
            self.stranded.store(false, SeqCst);
        }
        job.call_back(callback, &self.due);
        self.wake_others(&inner);
        drop(inner);
        if over {
            self.run_due(); // the thread may be gone
        }
        Ok(())
    }

    /// Runs the thread for callbacks, until the pool has ended and every callback was called.
    fn call(&self) {
        loop {
            let waited = self.wait(Deadline::NEVER, Wanted::Each, || self.due.has_any() || self.over.load(SeqCst));
            self.run_due();
            if waited.is_err() {
                // The next callback starts another thread. What became due meanwhile is called here.
                if let Ok(mut inner) = self.lock() {
                    inner.called = false;
                    self.stranded.store(true, SeqCst);
                    self.wake_others(&inner);
                }
                return self.run_due();
            }
            if self.over.load(SeqCst) && !self.due.has_any() {
                return;
            }
        }
    }

    /// Calls the callbacks of the jobs that are done. Does nothing while a thread calls a callback, because that thread
    /// then calls the others.
    fn run_due(&self) {
        while let Some(callback) = self.due.begin() {
            let outer = CALLS.replace(true);
            report_panics(callback); // a panic has been printed
            CALLS.set(outer);
            self.due.end();
            if self.waiting.load(SeqCst) > 0 {
                let _ = self.lock().map(|inner| self.wake_others(&inner)); // fails in another process alone
            }
        }
    }

    /// Whether the result of a job is available: every call has ended, and every callback that comes before the result.
    /// Inside a callback no wait includes callbacks, because they are called one after the other.
    pub(super) fn has_result(&self, job: &Job) -> bool {
        job.has_result() || is_in_callback() && job.is_done()
    }

    /// Waits until the result of a job is available, or `is_enough`. Returns false if the time ran out.
    pub(super) fn wait_for(&self, job: &Arc<Job>, until: Deadline, is_enough: impl Fn() -> bool) -> Result<bool> {
        self.wait_with_callbacks(until, Wanted::Job(job), || self.has_result(job) || is_enough())
    }

    /// Waits until every callback has ended. Returns false if the time ran out.
    pub(super) fn wait_for_callbacks(&self, until: Deadline) -> Result<bool> {
        self.wait_with_callbacks(until, Wanted::Each, || self.due.has_ended() || is_in_callback())
    }

    /// Waits until `is_ready`, and calls the due callbacks if the thread for callbacks has ended.
    fn wait_with_callbacks(&self, until: Deadline, wanted: Wanted<'_>, is_ready: impl Fn() -> bool) -> Result<bool> {
        let is_stranded = || self.stranded.load(SeqCst) && self.due.has_any();
        loop {
            if !self.wait(until, wanted, || is_ready() || is_stranded())? {
                return Ok(false);
            }
            if is_ready() {
                return Ok(true);
            }
            self.run_due();
        }
    }
}

thread_local! {
    /// Whether this thread calls a callback.
    static CALLS: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread calls a callback.
pub(super) fn is_in_callback() -> bool {
    CALLS.get()
}
