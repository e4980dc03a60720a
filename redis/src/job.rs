//! A job: the calls of one `apply`, `map` or `imap`. It stores the inputs of the calls that are in no chunk yet, and
//! the outcomes.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ossature::multiprocessing::pool::engine::{self, Wants};
use ossature::{Error, ErrorKind};

use crate::engine::Described;
use crate::wire::Body;

/// The time that the calls of a chunk should take together.
const CHUNK: Duration = Duration::from_millis(20);
/// The maximum length of the arguments in a chunk of several calls, in bytes.
const MOST: usize = 1 << 20;
/// The maximum number of the shortest chunks in flight, per process.
const SHORT: u128 = 64;
/// The maximum number of calls in a chunk.
const CALLS: usize = 1 << 15;

/// The reason why a call has no value.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// A worker reported the failure: the worker's host, and the bytes of the report.
    Reported(Arc<str>, Arc<[u8]>, Range<usize>),
    /// The host that ran the call was lost: its description.
    Lost(Arc<str>),
    /// The call was cancelled.
    Cancelled,
    /// The pool ended before the call: the kind and the text of the error.
    Over(ErrorKind, Arc<str>),
}

impl Failure {
    pub(crate) fn into_error(self, task: &str) -> Error {
        match self {
            Self::Reported(host, bytes, range) => engine::failed(task, &host, bytes.get(range).unwrap_or_default()),
            Self::Lost(is) => {
                let host = Described::of_text(&is).map_or_else(
                    || is.to_string(),
                    |is| format!("{} (its worker is process {} there)", is.host, is.pid),
                );
                let text =
                    format!("the host {host} was lost while it ran {task}; a pool with retries runs such calls again");
                engine::error(ErrorKind::WorkerDied, text)
            }
            Self::Cancelled => engine::error(ErrorKind::Cancelled, format!("{task} was cancelled")),
            Self::Over(kind, text) => engine::error(kind, text.to_string()),
        }
    }
}

/// The end of a call. The type is small, because a map has one for each item.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The range of the value in an answer, which has less than 4 GiB.
    Value(Arc<[u8]>, Range<u32>),
    Failed(Box<Failure>),
}

impl Outcome {
    pub(crate) fn failed(failure: &Failure) -> Self {
        Self::Failed(Box::new(failure.clone()))
    }
}

#[derive(Clone, Debug)]
enum Place {
    Waiting,
    Ended(Outcome),
    Taken,
}

/// A function that the pool calls once a job is done.
pub(crate) type Callback = Box<dyn FnOnce() + Send>;

thread_local! {
    /// Whether this thread calls callbacks.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread calls a callback.
pub(crate) fn is_in_callback() -> bool {
    IN_CALLBACK.get()
}

/// Marks this thread as the thread for callbacks.
pub(crate) fn callbacks_run_here() {
    IN_CALLBACK.set(true);
}

/// The options of a job's calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) wants: Wants,
    /// The time limit of one call.
    pub(crate) limit: Option<Duration>,
    /// How often a call is retried after the death of its worker or host.
    pub(crate) retries: u32,
    /// The number of calls in a chunk; `None` to choose it by time.
    pub(crate) chunksize: Option<usize>,
}

pub(crate) struct Job {
    pub(crate) task: &'static str,
    pub(crate) manner: Manner,
    /// The arguments of the calls that are in no chunk, from the call `cut` on, and the end of each call's arguments.
    inputs: Vec<u8>,
    ends: VecDeque<usize>,
    /// The number of bytes removed from the front of the inputs, and the end of the bytes in chunks.
    gone: usize,
    used: usize,
    cut: usize,
    pub(crate) given: usize,
    pub(crate) ended: usize,
    pub(crate) failed: usize,
    /// The index of the first outcome in the list.
    first: usize,
    outcomes: VecDeque<Place>,
    /// The indexes of the finished calls in the order of their ends, if a caller needs them.
    came: Option<VecDeque<usize>>,
    /// The number of chunks in flight.
    pub(crate) chunks: usize,
    /// The time of one call, as the workers report.
    pace: Option<Duration>,
    pub(crate) cancelled: bool,
    /// The number of handles of the result.
    pub(crate) held: u32,
    /// Whether the job is in the list of jobs with calls to send.
    pub(crate) ready: bool,
    pub(crate) callbacks: Vec<Callback>,
    /// The number of callbacks that come before the result and have not ended. Until it is 0, the values stay here.
    pub(crate) before: u32,
}

impl Job {
    pub(crate) fn new(task: &'static str, manner: Manner, by_coming: bool) -> Self {
        Self {
            task,
            manner,
            inputs: Vec::new(),
            ends: VecDeque::new(),
            gone: 0,
            used: 0,
            cut: 0,
            given: 0,
            ended: 0,
            failed: 0,
            first: 0,
            outcomes: VecDeque::new(),
            came: by_coming.then(VecDeque::new),
            chunks: 0,
            pace: None,
            cancelled: false,
            held: 1,
            ready: false,
            callbacks: Vec::new(),
            before: 0,
        }
    }

    /// Adds calls: the arguments of all, and the end of each call's arguments.
    pub(crate) fn give(&mut self, bytes: &[u8], ends: &[usize]) {
        let base = self.gone + self.inputs.len();
        self.inputs.extend_from_slice(bytes);
        self.ends.extend(ends.iter().map(|end| base + end));
        self.given += ends.len();
        let places = self.outcomes.len() + ends.len();
        self.outcomes.resize_with(places, || Place::Waiting);
    }

    /// The number of calls that are in no chunk.
    pub(crate) fn uncut(&self) -> usize {
        self.ends.len()
    }

    /// The number of calls in the next chunk, with `processes` processes to run them.
    fn size(&self, processes: usize) -> usize {
        let left = self.uncut();
        if self.manner.limit.is_some() {
            return left.min(1); // so that the host knows which call takes too long
        }
        if let Some(size) = self.manner.chunksize {
            return left.min(size);
        }
        let by_time = self.by_time();
        // Towards the end chunks shrink, so that all processes end together.
        let share = left.div_ceil(processes.saturating_mul(2).max(1)).max(by_time / 16);
        left.min(by_time).min(share.max(1))
    }

    /// The number of calls that fill the time of a chunk.
    pub(crate) fn by_time(&self) -> usize {
        let Some(pace) = self.pace else { return 1 };
        ((CHUNK.as_nanos() / pace.as_nanos().max(1)) as usize).clamp(1, CALLS)
    }

    /// The maximum number of chunks in flight for `processes` processes. It is three for each process, and more for
    /// short chunks: enough for about the time of a chunk, so that every request carries several.
    pub(crate) fn window(&self, processes: usize) -> usize {
        let least = processes.saturating_mul(3).max(8);
        let (Some(pace), Some(calls)) = (self.pace, self.manner.chunksize) else { return least };
        let takes = pace.as_nanos().saturating_mul(calls as u128).max(1);
        let by_time = processes.saturating_mul((CHUNK.as_nanos() / takes).min(SHORT) as usize);
        let bytes = self.inputs.len() / self.ends.len().max(1) * calls;
        least.max(by_time.min(MOST / bytes.max(1)))
    }

    /// Cuts the next chunk: the index of its first call, the number of calls, and the bytes.
    pub(crate) fn cut(&mut self, processes: usize) -> Option<(usize, usize, Arc<[u8]>)> {
        let size = self.size(processes);
        let mut body = Body::new(self.task, self.manner.wants, self.manner.limit);
        let (base, mut count, mut from) = (self.cut, 0, self.used);
        let last = size.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(from);
        body.reserve(size, (last - from).min(MOST));
        while count < size {
            let Some(end) = self.ends.front().copied() else { break };
            if count > 0 && body.len() + (end - from) > MOST {
                break;
            }
            self.ends.pop_front();
            body.push(self.inputs.get(from - self.gone..end - self.gone).unwrap_or_default());
            (count, from) = (count + 1, end);
        }
        self.cut += count;
        self.used = from;
        // The bytes go when they are half of what is there, so that each is moved once at most on the average.
        let used = from - self.gone;
        if used * 2 >= self.inputs.len() {
            self.inputs.drain(..used);
            self.gone = from;
        }
        (count > 0).then(|| (base, count, body.finish()))
    }

    /// Drops the inputs of the calls that are in no chunk, so that these calls never run.
    pub(crate) fn forget_inputs(&mut self) -> Range<usize> {
        let left = self.cut..self.cut + self.ends.len();
        self.cut = left.end;
        self.ends.clear();
        self.gone += self.inputs.len();
        self.used = self.gone;
        self.inputs = Vec::new();
        left
    }

    /// Records the time that `calls` calls took.
    pub(crate) fn took(&mut self, took: Duration, calls: usize) {
        let pace = took / u32::try_from(calls.max(1)).unwrap_or(u32::MAX);
        self.pace = Some(match self.pace {
            None => pace,
            Some(before) => (before * 3 + pace) / 4,
        });
    }

    /// Records the end of a call; `false` if the call has ended before.
    pub(crate) fn end(&mut self, index: usize, outcome: Outcome) -> bool {
        let place = index.checked_sub(self.first).and_then(|at| self.outcomes.get_mut(at));
        let Some(place @ Place::Waiting) = place else { return false };
        self.failed += usize::from(matches!(outcome, Outcome::Failed(_)));
        *place = Place::Ended(outcome);
        self.ended += 1;
        if let Some(came) = &mut self.came {
            came.push_back(index);
        }
        true
    }

    pub(crate) fn is_done(&self) -> bool {
        self.ended == self.given
    }

    /// Whether the result is available: every call has ended, and every callback that comes before the result. Inside
    /// a callback no wait includes callbacks, because they are called one after the other.
    pub(crate) fn has_result(&self) -> bool {
        self.is_done() && (self.before == 0 || is_in_callback())
    }

    /// Whether the call at the front has ended or, if order does not matter, any call.
    pub(crate) fn has_next(&self) -> bool {
        match &self.came {
            Some(came) => !came.is_empty(),
            None => matches!(self.outcomes.front(), Some(Place::Ended(_))),
        }
    }

    /// Takes the outcome at the front, or the one that arrived first.
    pub(crate) fn take_next(&mut self) -> Option<Outcome> {
        let index = match &mut self.came {
            Some(came) => came.pop_front()?,
            None => self.first,
        };
        let place = self.outcomes.get_mut(index.checked_sub(self.first)?)?;
        if !matches!(place, Place::Ended(_)) {
            return None;
        }
        let Place::Ended(outcome) = std::mem::replace(place, Place::Taken) else { return None };
        while matches!(self.outcomes.front(), Some(Place::Taken)) {
            self.outcomes.pop_front();
            self.first += 1;
        }
        Some(outcome)
    }

    /// Returns a copy of the outcome of the only call.
    pub(crate) fn only(&self) -> Option<Outcome> {
        match self.outcomes.front()? {
            Place::Ended(outcome) => Some(outcome.clone()),
            Place::Waiting | Place::Taken => None,
        }
    }

    /// Takes all outcomes that were not taken yet, in the order of the calls, once every call has ended. Copies them if
    /// a callback still needs them.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Outcome> + use<> {
        let places = match self.before {
            0 => std::mem::take(&mut self.outcomes),
            _ => self.outcomes.clone(),
        };
        if self.before == 0 {
            self.first += places.len();
        }
        places.into_iter().filter_map(|place| match place {
            Place::Ended(outcome) => Some(outcome),
            Place::Waiting | Place::Taken => None,
        })
    }

    /// The first failure in the order of the calls.
    pub(crate) fn failure(&self) -> Option<Failure> {
        if self.failed == 0 {
            return None;
        }
        self.outcomes.iter().find_map(|place| match place {
            Place::Ended(Outcome::Failed(failure)) => Some(Failure::clone(failure)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Calls;

    fn manner(chunksize: Option<usize>) -> Manner {
        Manner { wants: Wants::Value, limit: None, retries: 0, chunksize }
    }

    fn job_of(calls: usize, chunksize: Option<usize>) -> Job {
        let mut job = Job::new("a::task", manner(chunksize), false);
        let bytes: Vec<u8> = (0..calls).map(|n| n as u8).collect();
        job.give(&bytes, &(1..=calls).collect::<Vec<_>>());
        job
    }

    #[test]
    fn every_call_is_cut_once_in_order_with_its_arguments() {
        let mut job = job_of(100, Some(7));
        let mut seen = Vec::new();
        while let Some((base, count, body)) = job.cut(2) {
            assert_eq!(base, seen.len());
            let calls = Calls::read(&body).unwrap();
            assert_eq!(calls.arguments.len(), count);
            seen.extend(calls.arguments.concat());
            if seen.len() == 49 {
                job.give(b"xy", &[1, 2]);
            }
        }
        let expected: Vec<u8> = (0..100).chain(*b"xy").collect();
        assert_eq!((seen, job.uncut(), job.inputs.len()), (expected, 0, 0));
    }

    #[test]
    fn chunks_fill_their_time_and_shrink_at_the_end() {
        let mut job = job_of(100_000, None);
        assert_eq!(job.cut(2).unwrap().1, 1, "nothing is known");
        job.took(Duration::from_millis(2), 100);
        assert_eq!(job.cut(2).unwrap().1, 1000);
        let mut last = 0;
        while let Some((_, count, _)) = job.cut(2) {
            last = count;
        }
        assert!(last < 100, "{last}");
        let mut slow = job_of(10, None);
        slow.took(Duration::from_secs(3600), 1);
        assert_eq!(slow.cut(1).unwrap().1, 1);
    }

    #[test]
    fn more_chunks_are_under_way_the_shorter_they_are() {
        let mut job = job_of(100_000, Some(50));
        assert_eq!((job.window(0), job.window(2), job.window(10)), (8, 8, 30), "nothing is known");
        job.took(Duration::from_micros(50), 50);
        assert_eq!(job.window(2), 128);
        job.took(Duration::from_secs(1), 50);
        assert_eq!(job.window(2), 8);
        let mut long = Job::new("a::task", manner(Some(1)), false);
        long.give(&vec![0; 4 << 18], &[1 << 18, 2 << 18, 3 << 18, 4 << 18]);
        long.took(Duration::from_micros(50), 1);
        assert_eq!(long.window(2), 8, "a MiB at most");
        let mut by_time = job_of(100, None);
        by_time.took(Duration::from_micros(50), 50);
        assert_eq!(by_time.window(2), 8);
    }

    #[test]
    fn an_outcome_counts_once_and_is_taken_in_the_order_that_was_asked_for() {
        let value = |n: u8| Outcome::Value(Arc::from([n]), 0..1);
        let mut ordered = job_of(3, None);
        assert!(ordered.end(1, value(1)) && !ordered.end(1, value(9)) && !ordered.has_next());
        assert!(ordered.end(0, value(0)) && ordered.has_next());
        let next = |job: &mut Job| match job.take_next() {
            Some(Outcome::Value(bytes, _)) => Some(bytes[0]),
            _ => None,
        };
        assert_eq!([next(&mut ordered), next(&mut ordered), next(&mut ordered)], [Some(0), Some(1), None]);
        let mut coming = Job::new("a::task", manner(None), true);
        coming.give(b"ab", &[1, 2]);
        assert!(coming.end(1, value(1)) && coming.end(0, value(0)) && coming.is_done());
        assert_eq!([next(&mut coming), next(&mut coming)], [Some(1), Some(0)]);
        assert!(!coming.end(0, value(7)), "it was taken");
    }
}
