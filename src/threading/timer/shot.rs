//! One timer: its state, and its callback.

use std::sync::atomic::Ordering::Release;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};

use ossature_sys::sync::event::Event;
use ossature_sys::sync::lock::Lock;

pub(super) const INITIAL: u8 = 0;
pub(super) const PENDING: u8 = 1;
pub(super) const RUNNING: u8 = 2;
pub(super) const OVER: u8 = 3;

/// The state that every timer has.
pub(super) struct TimerState {
    pub(super) phase: AtomicU8,
    /// Whether shutdown does not wait for the timer.
    pub(super) daemon: AtomicBool,
    /// The generation of the process in which the timer was started.
    pub(super) generation: AtomicU32,
    pub(super) interval: AtomicU64,
    pub(super) finished: Event,
}

/// A timer with its callback.
pub(super) struct Shot<F: ?Sized = dyn Call> {
    pub(super) state: TimerState,
    pub(super) callback: F,
}

/// A callback that is kept until it is called or dropped.
pub(super) trait Call: Send + Sync {
    fn call(&self);
    fn discard(&self);
}

impl<F: FnOnce() + Send> Call for Lock<Option<F>> {
    fn call(&self) {
        let callback = self.lock().take();
        if let Some(callback) = callback {
            callback();
        }
    }

    fn discard(&self) {
        let callback = self.lock().take();
        drop(callback); // outside the lock: what it captured may come back here
    }
}

/// Calls the callback; called by the thread that found the timer due.
pub(super) fn fire(shot: &Shot) {
    shot.callback.call();
}

/// Runs after the callback.
pub(super) fn finish(shot: &Shot) {
    shot.state.phase.store(OVER, Release);
    shot.state.finished.set();
}
