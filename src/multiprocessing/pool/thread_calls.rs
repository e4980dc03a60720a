//! The calls of a pool of threads: the right to give calls, and the loop of a thread that makes them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::drawers::{Drawer, Drawers};
use crate::error::{Error, ErrorKind, Result};
use crate::thread;

pub(super) type Call = Box<dyn FnOnce(bool) + Send>;

/// The state that the threads share.
pub(super) struct Shared {
    state: Mutex<PoolState>,
    pub(super) ready: Condvar,
}

#[derive(Default)]
pub(super) struct PoolState {
    /// The waiting calls. A call runs if its argument is true; otherwise it is cancelled.
    pub(super) calls: VecDeque<Call>,
    /// The number of threads that wait for a call.
    idle: usize,
    pub(super) closed: bool,
    /// The maps that continue to give calls after the pool is closed.
    pub(super) drawers: Drawers,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), ready: Condvar::new() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // no change leaves it half made
    }

    /// Runs a thread of the pool, until the pool is closed and no call is left.
    pub(super) fn work(&self) {
        loop {
            let mut state = self.state();
            let call = loop {
                if let Some(call) = state.calls.pop_front() {
                    break call;
                }
                if state.closed && state.drawers.is_empty() {
                    return;
                }
                state.idle += 1;
                state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            };
            drop(state);
            thread::report_panics(|| call(true)); // the drop of a value that nobody waits for may panic
        }
    }

    pub(super) fn submit(&self, calls: impl IntoIterator<Item = Call>) -> Result<()> {
        self.submit_for(None, calls)
    }

    /// Like [`submit`](Self::submit), for a drawer that was admitted before the pool was closed.
    pub(super) fn submit_for(&self, admitted: Option<&Admitted>, calls: impl IntoIterator<Item = Call>) -> Result<()> {
        let mut state = self.state();
        let goes_on = admitted.is_some_and(|admitted| !admitted.drawer.is_cut()); // cut under this lock alone
        if state.closed && !goes_on {
            return Err(shut_down());
        }
        state.calls.extend(calls);
        let wakes = state.idle > 0; // std's condition variable makes a system call for nobody, too
        drop(state);
        if wakes {
            self.ready.notify_all();
        }
        Ok(())
    }
}

#[cold]
fn shut_down() -> Error {
    Error::new(ErrorKind::ShutDown, "the pool is closed and takes no more calls")
}

/// The right to give calls until this is dropped, even if the pool is closed meanwhile.
pub(super) struct Admitted {
    pub(super) shared: Arc<Shared>,
    pub(super) drawer: Arc<Drawer>,
}

impl Admitted {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self> {
        let mut state = shared.state();
        if state.closed {
            return Err(shut_down());
        }
        Ok(Self { shared: shared.clone(), drawer: state.drawers.begin() })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.drawers.end(&self.drawer);
        let ends = state.closed && state.drawers.is_empty();
        drop(state);
        if ends {
            self.shared.ready.notify_all();
        }
    }
}
