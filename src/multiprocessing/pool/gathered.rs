//! The outcomes of calls of a pool of threads.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use ossature_sys::deadline::Deadline;

use crate::error::{Error, ErrorKind, Result};

/// The outcomes of the calls of one job.
pub(super) struct Gathered<R> {
    state: Mutex<Outcomes<R>>,
    news: Condvar,
}

pub(super) struct Outcomes<R> {
    pub(super) first: usize,
    /// The outcomes of the calls, in their order. `Some(None)` is an outcome that was taken.
    pub(super) places: VecDeque<Option<Option<Result<R>>>>,
    came: VecDeque<usize>,
    pub(super) waiting: usize,
    /// The number of threads that wait for news.
    sleepers: usize,
}

impl<R> Gathered<R> {
    pub(super) fn new() -> Self {
        let outcomes = Outcomes { first: 0, places: VecDeque::new(), came: VecDeque::new(), waiting: 0, sleepers: 0 };
        Self { state: Mutex::new(outcomes), news: Condvar::new() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, Outcomes<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // no change leaves it half made
    }

    /// Makes room for more calls, and returns the index of the first.
    pub(super) fn give(&self, count: usize) -> usize {
        let mut state = self.state();
        let first = state.first + state.places.len();
        let length = state.places.len() + count;
        state.places.resize_with(length, || None);
        state.waiting += count;
        first
    }

    /// Stores the outcome of a call; `None` means that the call was cancelled.
    pub(super) fn resolve(&self, index: usize, outcome: Option<Result<R>>) {
        let cancelled = || Err(Error::new(ErrorKind::Cancelled, "the pool ended before the call started"));
        let mut state = self.state();
        let at = index - state.first; // taken places go only behind it
        if let Some(place) = state.places.get_mut(at) {
            *place = Some(Some(outcome.unwrap_or_else(cancelled)));
            state.came.push_back(index);
            state.waiting -= 1;
        }
        let wakes = state.sleepers > 0; // std's condition variable makes a system call for nobody, too
        drop(state);
        if wakes {
            self.news.notify_all();
        }
    }

    /// Waits until `is_ready` is true; `None` when the time ran out.
    pub(super) fn wait(
        &self,
        deadline: Deadline,
        is_ready: impl Fn(&Outcomes<R>) -> bool,
    ) -> Option<MutexGuard<'_, Outcomes<R>>> {
        let mut state = self.state();
        while !is_ready(&state) {
            let left = deadline.remaining();
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            state.sleepers += 1;
            state = match left {
                None => self.news.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.sleepers -= 1;
        }
        Some(state)
    }
}

impl<R> Outcomes<R> {
    pub(super) fn has_next(&self, ordered: bool) -> bool {
        if ordered { matches!(self.places.front(), Some(Some(_))) } else { !self.came.is_empty() }
    }

    pub(super) fn take_next(&mut self, ordered: bool) -> Option<Result<R>> {
        let index = if ordered {
            self.came.clear(); // nobody asks for that order
            self.first
        } else {
            self.came.pop_front()?
        };
        let outcome = self.places.get_mut(index - self.first)?.as_mut()?.take();
        while matches!(self.places.front(), Some(Some(None))) {
            self.places.pop_front();
            self.first += 1;
        }
        outcome
    }
}

pub(super) fn taken() -> Error {
    Error::new(ErrorKind::NoResult, "an earlier call returned the result")
}
