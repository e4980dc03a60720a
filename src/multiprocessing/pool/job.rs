//! A job: the outcomes of one `apply`, `map` or `imap`, as bytes from the workers. The thread that requests a value
//! decodes it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ossature_sys::eventfd::EventFd;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::kept::{Kept, Pieces};
use super::values::Values;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::{self, Bounds, Descriptors, Packed, Trust, split_measured};

/// The outcome of a call. It is small, because an `imap` has one for each item.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The call's value. A clone is the same value, with the same descriptors.
    Value(Arc<Packed>),
    /// The call's value, which is short and has no descriptors. So it needs no memory of its own.
    Short(Short),
    Failed(Failure),
}

/// The bytes of a short value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    length: u8,
    bytes: [u8; Short::MOST],
}

const _: () = assert!(size_of::<Outcome>() <= size_of::<Failure>() + size_of::<usize>());

impl Short {
    /// The maximum length. An outcome is as large as its largest failure anyway.
    const MOST: usize = 30;

    fn new(value: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MOST];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(Self { length: value.len() as u8, bytes })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&self.bytes)
    }
}

/// The place of a call's outcome.
enum Place {
    Waiting,
    Ended(Outcome),
    Taken,
}

/// The way in which outcomes are kept.
pub(super) enum Keep {
    /// All outcomes are kept until the last has come.
    All,
    /// Each outcome is kept until it is taken.
    Each,
    /// All values are kept until the last has come, in the form in which they came.
    Plain(Values),
}

/// A function to call once a job has ended.
pub(super) type Callback = Box<dyn FnOnce() + Send>;

/// The callbacks of a pool's jobs that are done, and the number of callbacks that are being called.
#[derive(Default)]
pub(super) struct Due(Mutex<(VecDeque<Callback>, usize)>);

impl Due {
    fn state(&self) -> MutexGuard<'_, (VecDeque<Callback>, usize)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // no change leaves it half made
    }

    fn add(&self, callback: Callback) {
        self.state().0.push_back(callback);
    }

    /// Whether a callback is due, and no thread calls one.
    pub(super) fn has_any(&self) -> bool {
        let state = self.state();
        !state.0.is_empty() && state.1 == 0
    }

    /// Whether every callback has ended.
    pub(super) fn has_ended(&self) -> bool {
        let state = self.state();
        state.0.is_empty() && state.1 == 0
    }

    /// Returns the next callback. The caller calls it, reports its [end](Self::end) and then requests the next one.
    /// Returns `None` while another callback is being called.
    pub(super) fn begin(&self) -> Option<Callback> {
        let mut state = self.state();
        if state.1 > 0 {
            return None;
        }
        let callback = state.0.pop_front()?;
        state.1 += 1;
        Some(callback)
    }

    pub(super) fn end(&self) {
        self.state().1 -= 1;
    }
}

/// The right of a callback to come before the result: the result is not available before this is dropped.
pub(super) struct Before(Arc<Job>);

impl Drop for Before {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        inner.before -= 1;
        inner.signal();
    }
}

/// The size of the values from which the parent decodes them while other calls still run.
const MANY: usize = 16 << 10;

/// The state of the calls of a job.
pub(super) struct Job {
    pub(super) task: &'static str,
    /// Whether each outcome is kept until it is taken.
    each: bool,
    cancelled: AtomicBool,
    state: Mutex<Inner>,
}

struct Inner {
    /// The index of the first outcome in the list.
    first: usize,
    outcomes: VecDeque<Place>,
    /// The indices of the outcomes in the order of their arrival, for `Keep::Each`.
    came: VecDeque<usize>,
    /// The values until they are taken, for `Keep::All`, and the failures by the index of their calls.
    kept: Option<Kept>,
    failures: BTreeMap<usize, Failure>,
    /// The number of published calls, and of ended calls.
    given: usize,
    ended: usize,
    /// The number of ended calls without a value.
    failed: usize,
    /// The values of a plain job.
    plain: Option<Values>,
    callbacks: Vec<(Callback, Arc<Due>)>,
    /// The number of callbacks that come before the result and have not ended. Until it is 0, the values stay here.
    before: usize,
    /// The events to raise when every call has ended, and again when the result is available.
    signals: Vec<Arc<EventFd>>,
}

impl Job {
    pub(super) fn new(task: &'static str, keep: Keep) -> Self {
        let each = matches!(keep, Keep::Each);
        let (kept, plain) = match keep {
            Keep::Plain(values) => (None, Some(values)),
            Keep::All => (Some(Kept::default()), None),
            Keep::Each => (None, None),
        };
        let inner = Inner {
            first: 0,
            outcomes: VecDeque::new(),
            came: VecDeque::new(),
            kept,
            failures: BTreeMap::new(),
            given: 0,
            ended: 0,
            failed: 0,
            plain,
            callbacks: Vec::new(),
            before: 0,
            signals: Vec::new(),
        };
        Self { task, each, cancelled: AtomicBool::new(false), state: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // no change leaves it half made
    }

    /// Makes room for more calls, and returns the index of the first.
    pub(super) fn give(&self, count: usize) -> usize {
        let mut inner = self.inner();
        let first = inner.given;
        inner.given += count;
        if !self.each {
            return first;
        }
        let length = inner.outcomes.len() + count;
        inner.outcomes.resize_with(length, || Place::Waiting);
        first
    }

    /// Stores `count` values of consecutive calls, each after its length.
    pub(super) fn values(&self, first: usize, count: usize, bytes: &[u8]) {
        let mut inner = self.inner();
        if let Some(kept) = &mut inner.kept {
            kept.values(first, count, bytes);
            inner.count(count);
            return;
        }
        let mut rest = bytes;
        let values = std::iter::from_fn(|| {
            let (value, after) = split_measured(rest)?;
            rest = after;
            Some(value)
        });
        for (at, value) in values.enumerate() {
            inner.put(first + at, value_of(value, Descriptors::new()));
        }
    }

    /// Lets `copy` store the values of `count` plain calls, from an index on.
    pub(super) fn fill(&self, from: usize, count: usize, copy: impl FnOnce(&mut [u8])) {
        let mut inner = self.inner();
        if let Some(values) = &mut inner.plain {
            copy(values.place(from, count));
            inner.count(count);
        }
    }

    /// Takes the values of a plain job.
    pub(super) fn take_plain(&self) -> Result<Values> {
        self.inner().plain.take().ok_or_else(|| self.taken())
    }

    /// Stores values without descriptors, each with the index of its call.
    pub(super) fn several(&self, values: &[(usize, &[u8])]) {
        let mut inner = self.inner();
        match &mut inner.kept {
            Some(kept) => {
                values.iter().for_each(|(index, value)| kept.value(*index, value, Descriptors::new()));
                inner.count(values.len());
            }
            None => values.iter().for_each(|(index, value)| inner.put(*index, value_of(value, Descriptors::new()))),
        }
    }

    /// Stores the value of a call, with its descriptors.
    pub(super) fn value(&self, index: usize, payload: &[u8], descriptors: Descriptors) {
        let mut inner = self.inner();
        match &mut inner.kept {
            Some(kept) => {
                kept.value(index, payload, descriptors);
                inner.count(1);
            }
            None => inner.put(index, value_of(payload, descriptors)),
        }
    }

    /// Stores the outcome of a call. In a cancelled job, the death of the worker counts as cancelled.
    pub(super) fn end(&self, index: usize, outcome: Outcome) {
        let mut inner = self.inner();
        let outcome = match outcome {
            Outcome::Failed(Failure::Died { .. }) if self.is_cancelled() => Outcome::Failed(Failure::Cancelled),
            outcome => outcome,
        };
        match (&mut inner.plain, outcome) {
            (Some(values), Outcome::Failed(failure)) => {
                values.fail(index, failure);
                inner.count(1);
            }
            (None, Outcome::Failed(failure)) if !self.each => {
                inner.failures.insert(index, failure);
                inner.failed += 1;
                inner.count(1);
            }
            (_, outcome) => inner.put(index, outcome),
        }
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, SeqCst);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(SeqCst)
    }

    /// Whether every published call has ended.
    pub(super) fn is_done(&self) -> bool {
        let inner = self.inner();
        inner.ended == inner.given
    }

    /// Whether every call, and every callback that comes before the result, has ended.
    pub(super) fn has_result(&self) -> bool {
        self.inner().has_result()
    }

    /// The number of ended calls.
    pub(super) fn ended(&self) -> usize {
        self.inner().ended
    }

    /// Whether no ended call has failed.
    pub(super) fn has_only_values(&self) -> bool {
        self.inner().failed == 0
    }

    /// Whether the next call in order has ended, or any call.
    pub(super) fn has_next(&self, ordered: bool) -> bool {
        self.inner().has_next(ordered)
    }

    /// Takes the outcome of the next call in order, or the outcome that arrived first.
    pub(super) fn take_next(&self, ordered: bool) -> Option<Outcome> {
        self.inner().take_next(ordered)
    }

    /// Takes at most `most` outcomes in this way.
    pub(super) fn take_several(&self, ordered: bool, most: usize, into: &mut VecDeque<Outcome>) {
        let mut inner = self.inner();
        into.extend(std::iter::from_fn(|| inner.take_next(ordered)).take(most));
    }

    /// Takes the value of the only call. Copies a failure, and a value that a callback still needs.
    pub(super) fn take_value(&self) -> Result<Outcome> {
        let mut inner = self.inner();
        let stays = inner.before > 0;
        match inner.outcomes.front_mut() {
            Some(Place::Ended(Outcome::Failed(failure))) => Ok(Outcome::Failed(failure.clone())),
            Some(Place::Ended(outcome)) if stays => Ok(outcome.clone()),
            Some(place @ Place::Ended(_)) => match std::mem::replace(place, Place::Taken) {
                Place::Ended(outcome) => Ok(outcome),
                Place::Waiting | Place::Taken => Err(self.taken()),
            },
            _ => Err(self.taken()),
        }
    }

    /// Returns a copy of the end of the only call.
    pub(super) fn outcome(&self) -> Result<Outcome> {
        match self.inner().outcomes.front() {
            Some(Place::Ended(outcome)) => Ok(outcome.clone()),
            _ => Err(self.taken()),
        }
    }

    /// The first failure.
    pub(super) fn failure(&self) -> Option<Failure> {
        let failed = |place: &Place| match place {
            Place::Ended(Outcome::Failed(failure)) => Some(failure.clone()),
            _ => None,
        };
        let inner = self.inner();
        inner.failures.values().next().cloned().or_else(|| inner.outcomes.iter().find_map(failed))
    }

    /// Registers an event, which is raised once every call has ended, and again once the result is available.
    pub(super) fn signal(&self, event: Arc<EventFd>) {
        let mut inner = self.inner();
        inner.signals.push(event);
        inner.signal();
    }

    /// Delays the result until the returned value is dropped, for a callback that comes before the result.
    pub(super) fn hold_back(self: &Arc<Self>) -> Before {
        self.inner().before += 1;
        Before(self.clone())
    }

    /// Registers a callback that becomes due once every call has ended.
    pub(super) fn call_back(&self, callback: Callback, due: &Arc<Due>) {
        let mut inner = self.inner();
        if inner.ended == inner.given {
            due.add(callback);
        } else {
            inner.callbacks.push((callback, due.clone()));
        }
    }

    /// Whether there are enough values to decode them before the other values have come. False if a callback receives
    /// all values.
    pub(super) fn has_many(&self) -> bool {
        let inner = self.inner();
        inner.before == 0 && inner.kept.as_ref().is_some_and(|kept| kept.length() >= MANY)
    }

    /// Takes and decodes the available values; false if all values were taken before.
    pub(super) fn take_some<R: DeserializeOwned>(&self, pieces: &mut Pieces<R>) -> bool {
        let kept = self.inner().kept.as_mut().map(std::mem::take);
        kept.map(|kept| kept.read(pieces)).is_some()
    }

    /// Takes the values of all calls in their order, or gives the failure of the first call without a value. `pieces`
    /// has the values that were read before. Values that a callback is to get stay.
    pub(super) fn take_all<R: DeserializeOwned>(&self, mut pieces: Pieces<R>) -> Result<Vec<R>> {
        if !self.has_only_values() {
            if let Some(failure) = self.failure() {
                return Err(failure.into_error(self.task));
            }
        }
        let (kept, given) = {
            let mut inner = self.inner();
            let kept = if inner.before == 0 { inner.kept.take() } else { copy(inner.kept.as_ref(), self.task)? };
            (kept, inner.given)
        };
        kept.ok_or_else(|| self.taken())?.read(&mut pieces);
        pieces.whole(given)?.ok_or_else(|| self.taken())
    }

    /// Passes the outcome of each call to `show`, in the order of the calls, once every call has ended. A value is its
    /// bytes, or `None` if it has descriptors. Later calls show nothing.
    pub(super) fn show_all(&self, mut show: impl FnMut(std::result::Result<Option<&[u8]>, Failure>)) {
        let (kept, failures) = {
            let mut inner = self.inner();
            (inner.kept.take(), std::mem::take(&mut inner.failures))
        };
        let mut failures = failures.into_iter().peekable();
        kept.unwrap_or_default().show(|index, value| {
            while let Some((_, failure)) = failures.next_if(|(failed, _)| *failed < index) {
                show(Err(failure));
            }
            show(Ok(value));
        });
        failures.for_each(|(_, failure)| show(Err(failure)));
    }

    /// Decodes one outcome.
    pub(super) fn decode<R: DeserializeOwned>(&self, outcome: Outcome) -> Result<R> {
        match outcome {
            Outcome::Short(value) => transfer::unpack_alone(value.bytes(), Trust::SameProgram, Bounds::SAME_PROGRAM),
            Outcome::Value(packed) => {
                let own = Arc::try_unwrap(packed).or_else(|shared| shared.try_clone());
                let own = own.map_err(|error| no_copy(error, self.task))?;
                transfer::unpack(own, Trust::SameProgram, Bounds::SAME_PROGRAM)
            }
            Outcome::Failed(failure) => Err(failure.into_error(self.task)),
        }
    }

    #[cold]
    pub(super) fn taken(&self) -> Error {
        Error::new(ErrorKind::NoResult, format!("an earlier call returned the result of {}", self.task))
    }
}

fn value_of(bytes: &[u8], descriptors: Descriptors) -> Outcome {
    match Short::new(bytes).filter(|_| descriptors.is_none()) {
        Some(short) => Outcome::Short(short),
        None => Outcome::Value(Arc::new(Packed { bytes: bytes.to_vec(), descriptors })),
    }
}

/// Copies the values.
fn copy(kept: Option<&Kept>, task: &str) -> Result<Option<Kept>> {
    kept.map(Kept::try_clone).transpose().map_err(|error| no_copy(error, task))
}

/// Returns the error of a value that is needed twice, and whose descriptors cannot be copied.
#[cold]
fn no_copy(error: Error, task: &str) -> Error {
    let text =
        format!("no descriptor is left for a second copy of the result of {task} (close some, or raise RLIMIT_NOFILE)");
    error.with_message(text)
}

impl Inner {
    /// Whether the next call in order has ended, or any call.
    fn has_next(&self, ordered: bool) -> bool {
        if ordered { matches!(self.outcomes.front(), Some(Place::Ended(_))) } else { !self.came.is_empty() }
    }

    fn take_next(&mut self, ordered: bool) -> Option<Outcome> {
        let index = if ordered {
            self.came.clear(); // nobody asks for that order
            self.first
        } else {
            self.came.pop_front()?
        };
        let at = index.checked_sub(self.first)?;
        let place = self.outcomes.get_mut(at).filter(|place| matches!(place, Place::Ended(_)))?;
        let Place::Ended(outcome) = std::mem::replace(place, Place::Taken) else { return None };
        while matches!(self.outcomes.front(), Some(Place::Taken)) {
            self.outcomes.pop_front();
            self.first += 1;
        }
        Some(outcome)
    }

    /// Keeps the outcome of a call until it is taken.
    fn put(&mut self, index: usize, outcome: Outcome) {
        let place = index.checked_sub(self.first).and_then(|at| self.outcomes.get_mut(at));
        let Some(place @ Place::Waiting) = place else { return }; // it has ended before
        self.failed += usize::from(matches!(outcome, Outcome::Failed(_)));
        *place = Place::Ended(outcome);
        self.came.push_back(index);
        self.count(1);
    }

    /// Counts calls that have ended.
    fn count(&mut self, count: usize) {
        self.ended += count;
        if self.ended == self.given {
            for (callback, due) in self.callbacks.drain(..) {
                due.add(callback);
            }
            self.signal();
        }
    }

    /// Whether every call has ended, and every callback that comes before the result.
    fn has_result(&self) -> bool {
        self.ended == self.given && self.before == 0
    }

    /// Raises the events if every call has ended, because inside a callback the result is available then. Raises them
    /// once more when the result is available to all threads, for edge-triggered polls.
    fn signal(&mut self) {
        if self.ended == self.given {
            for signal in &self.signals {
                let _ = signal.try_add(1); // a few fit above 0
            }
        }
        if self.has_result() {
            self.signals.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_in_order_leaves_nothing_behind() {
        let job = Job::new("a::task", Keep::Each);
        for index in 0..100 {
            assert_eq!(job.give(1), index);
            job.values(index, 1, &[1, 7]);
            assert!(matches!(job.take_next(true), Some(Outcome::Short(_))));
        }
        let inner = job.inner();
        assert_eq!((inner.came.len(), inner.outcomes.len()), (0, 0));
    }

    /// If a waiting thread took a part, neither the thread nor the callback would have all values.
    #[test]
    fn values_for_a_callback_stay_until_all_are_there() {
        let [read, kept] = [false, true].map(|calls_back| {
            let job = Job::new("a::task", Keep::All);
            let job = Arc::new(job);
            job.give(2);
            let before = calls_back.then(|| job.hold_back());
            job.values(0, 1, &[1; MANY]);
            (job, before)
        });
        assert!(read.0.has_many());
        assert!(!kept.0.has_many());
    }

    #[test]
    fn callbacks_are_called_one_after_the_other() {
        let due = Due::default();
        (0..2).for_each(|_| due.add(Box::new(|| ())));
        assert!(due.has_any() && due.begin().is_some());
        assert!(!due.has_any() && due.begin().is_none() && !due.has_ended());
        due.end();
        assert!(due.has_any() && due.begin().is_some());
        due.end();
        assert!(!due.has_any() && due.has_ended());
    }
}
