//! The calls of one chunk of a pool's tasks, in the worker: the loop over them, compiled for each task.
//!
//! An engine gives the bytes of the arguments and an [`Outlet`], and knows nothing of the types.

use std::fmt::Debug;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

use ossature_sys::mmap::Region;
use ossature_sys::shm::{Plain, as_bytes, copy_out, from_bytes, store};

use super::form::Opener;
use super::{Arguments, Form, Target};
use crate::multiprocessing::state::{PanicReport, unreported};
use crate::multiprocessing::transfer::{Descriptors, Reading, Transfer, Writing, split_measured};
use crate::thread;

/// How the call of a task ended. The text or the value is in the outlet's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// The call returned a value.
    Value,
    /// The call failed; the text is that of the error that the task returned.
    Failed,
    /// The call panicked; the buffer holds a [`PanicReport`].
    Panicked,
    /// The arguments could not be read; the text is the reason.
    Undecodable,
    /// The value could not be written; the text is the reason.
    Unencodable,
}

/// The receiver of the reports of a chunk's calls, on the side of the engine that runs them.
pub(crate) trait Outlet {
    /// Reports that the call at `index` begins to decode its arguments.
    fn begin(&mut self, index: u32);

    /// Reports how the call at `index` has ended; `bytes` is the value or the text.
    fn end(&mut self, index: u32, ended: Ended, bytes: &[u8], descriptors: Descriptors);

    /// Reports that the call at `index` has ended with a value without descriptors; `measured` is its length and the
    /// value. If there are `more`, the next call begins.
    fn value(&mut self, index: u32, measured: &[u8], more: bool);

    /// Returns the memory for the values of plain calls, if no report is needed for each call except the two counters.
    fn sink(&self) -> Option<Sink<'_>>;
}

/// The arguments of plain calls, one after the other in the engine's memory.
#[derive(Clone, Copy)]
pub(crate) struct Items<'c> {
    pub(crate) region: &'c Region,
    pub(crate) start: usize,
    /// The length in bytes.
    pub(crate) length: usize,
}

/// How many bytes of arguments are read at once. Another processor has written them, so reads one by one are slow.
const BLOCK: usize = 4096;

impl Items<'_> {
    /// Copies the arguments of one or several calls, beginning with the call at `index`: one batch, and at most `most`
    /// calls. Copies nothing if they are missing.
    fn read<A: Plain>(self, index: u32, most: u32, block: &mut Vec<A>) {
        let (size, at) = (size_of::<A>(), index as usize * size_of::<A>());
        let count = (BLOCK / size.max(1)).max(1).min(most as usize);
        let Some(zero) = from_bytes(&vec![0; size]).filter(|_| at + count * size <= self.length) else {
            return block.clear();
        };
        block.resize(count, zero);
        if copy_out(self.region, self.start + at, block).is_err() {
            block.clear();
        }
    }
}

/// Memory for plain values, and counters that show the progress of the calls.
pub(crate) struct Sink<'s> {
    pub(crate) region: &'s Region,
    /// The offset of the first value.
    pub(crate) start: usize,
    /// The call that runs: `first` plus its index.
    pub(crate) begun: &'s AtomicU64,
    pub(crate) first: u64,
    /// The number of calls that have ended.
    pub(crate) calls: &'s AtomicU64,
}

/// The calls of one chunk. Code outside of this crate cannot make one.
#[doc(hidden)]
pub struct Calls<'c> {
    pub(crate) form: Form,
    pub(crate) count: u32,
    pub(crate) arguments: Reading<'c>,
    /// The arguments of plain calls.
    pub(crate) items: Option<Items<'c>>,
    pub(crate) writing: &'c Writing,
    pub(crate) out: Vec<u8>,
    pub(crate) outlet: &'c mut dyn Outlet,
}

impl Debug for Calls<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("form", &self.form).field("count", &self.count).finish_non_exhaustive()
    }
}

/// The outcome of a call that did not panic.
type Outcome = Result<Option<Descriptors>, (Ended, String)>;

impl Calls<'_> {
    /// The form in which the return value is sent.
    #[doc(hidden)]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Runs all calls; `answer` writes the value of a call, after its length.
    fn run<Args: Arguments, R>(
        &mut self,
        call: impl Fn(Args) -> R,
        answer: impl Fn(&Writing, &mut Vec<u8>, R) -> Outcome,
    ) {
        self.run_catching(|calls, index| {
            while *index < calls.count {
                calls.out.clear();
                let outcome = match calls.arguments.next::<Args>() {
                    Ok(args) => answer(calls.writing, &mut calls.out, call(args)),
                    Err(error) => Err((Ended::Undecodable, error.to_string())),
                };
                calls.end_call(*index, outcome);
                *index += 1;
                thread::forget_panics(); // the next call has nothing to do with those
            }
        });
    }

    /// Runs calls with arguments that are plain bytes, and reports values that are plain bytes too.
    fn run_plain<A: Plain, R: Plain>(&mut self, call: impl Fn(A) -> R) {
        let mut block = Vec::new();
        self.run_catching(|calls, index| {
            let count = calls.count;
            let read = |index: u32, most: u32, block: &mut Vec<A>| match calls.items {
                Some(items) => items.read(index, most, block),
                None => block.clear(),
            };
            if let Some(sink) = calls.outlet.sink() {
                let begun = sink.calls.load(Relaxed); // only this worker writes it
                let first = *index;
                read(*index, count - *index, &mut block);
                while *index < count && !block.is_empty() {
                    for item in &block {
                        let value = call(*item);
                        let place = sink.start + *index as usize * size_of::<R>();
                        let _ = store(sink.region, place, value); // the engine made room
                        *index += 1;
                        sink.calls.store(begun.wrapping_add(u64::from(*index - first)), Relaxed);
                        if *index < count {
                            sink.begun.store(sink.first + u64::from(*index), Release); // behind the value
                        }
                        thread::forget_panics();
                    }
                    read(*index, count - *index, &mut block);
                }
            }
            while *index < count {
                read(*index, 1, &mut block);
                match block.first().copied() {
                    Some(item) => {
                        let value = call(item);
                        calls.outlet.end(*index, Ended::Value, as_bytes(&[value]), Descriptors::new());
                    }
                    None => calls.outlet.end(*index, Ended::Undecodable, b"they are too short", Descriptors::new()),
                }
                *index += 1;
                if *index < count {
                    calls.outlet.begin(*index);
                }
                thread::forget_panics();
            }
        });
    }

    /// Runs `body` until it has ended all calls. After a call that panics, runs `body` again from the next call. The
    /// body counts a call once its end is reported, and then begins the next.
    fn run_catching(&mut self, mut body: impl FnMut(&mut Self, &mut u32)) {
        let mut index = 0;
        while index < self.count {
            self.outlet.begin(index);
            // A panic of a `Deserialize`, of the task and of a `Serialize` are one. To catch costs as much as a short
            // call, so it is done once for all that do not panic.
            let ended = thread::catch(|| body(self, &mut index));
            if let Err(escaped) = ended {
                self.panicked(index, &unreported(&escaped));
                thread::report_panics(|| drop(escaped)); // the drop of a payload may panic, too
                index += 1;
            }
        }
    }

    /// Reports that the call at `index` has ended, and that the next one begins.
    #[inline]
    fn end_call(&mut self, index: u32, outcome: Outcome) {
        let more = index + 1 < self.count;
        match outcome {
            Ok(None) => return self.outlet.value(index, &self.out, more),
            Ok(Some(descriptors)) => {
                let (value, _) = split_measured(&self.out).unwrap_or_default();
                self.outlet.end(index, Ended::Value, value, descriptors);
            }
            Err((ended, text)) => self.outlet.end(index, ended, text.as_bytes(), Descriptors::new()),
        }
        if more {
            self.outlet.begin(index + 1);
        }
    }

    /// Ends all calls with the reason why they cannot run.
    #[cold]
    pub(crate) fn refuse(&mut self, text: &str) {
        for index in 0..self.count {
            self.outlet.begin(index);
            self.outlet.end(index, Ended::Undecodable, text.as_bytes(), Descriptors::new());
        }
    }

    /// Runs all calls with a closure in place of the task.
    pub(crate) fn run_closure<Args: Arguments, R: Transfer>(&mut self, call: impl Fn(Args) -> R) {
        self.run(call, |writing, out, answer| value(writing, out, &answer));
    }

    #[cold]
    fn panicked(&mut self, index: u32, report: &PanicReport) {
        self.out.clear();
        let written = self.writing.write(&mut self.out, report);
        self.outlet.end(index, Ended::Panicked, &self.out, written.unwrap_or_default());
    }
}

fn value<T: Transfer>(writing: &Writing, out: &mut Vec<u8>, value: &T) -> Outcome {
    writing.write_measured(out, value).map_err(|error| (Ended::Unencodable, error.to_string()))
}

/// Runs calls for their values.
#[doc(hidden)]
pub trait RunsValue {
    fn run_value(&self, calls: &mut Calls<'_>);
}

/// Runs calls for their values or errors.
#[doc(hidden)]
pub trait RunsResult {
    fn run_result(&self, calls: &mut Calls<'_>);
}

impl<F: Target<Args>, Args: Arguments + 'static> RunsValue for Opener<F, Args, F::Output>
where
    F::Output: Transfer,
{
    fn run_value(&self, calls: &mut Calls<'_>) {
        let task = self.task();
        calls.run(|args| task.call(args), |writing, out, answer| value(writing, out, &answer));
    }
}

impl<F, Args, T, E> RunsResult for Opener<F, Args, Result<T, E>>
where
    F: Target<Args, Output = Result<T, E>>,
    Args: Arguments + 'static,
    T: Transfer,
    E: Debug,
{
    fn run_result(&self, calls: &mut Calls<'_>) {
        let task = self.task();
        calls.run(
            |args| task.call(args),
            |writing, out, answer| match answer {
                Ok(answer) => value(writing, out, &answer),
                Err(error) => Err((Ended::Failed, format!("{error:?}"))),
            },
        );
    }
}

#[doc(hidden)]
pub trait RunsPlain {
    fn run_plain(&self, calls: &mut Calls<'_>);
}

impl<F, A, R> RunsPlain for Opener<F, (A,), R>
where
    F: Target<(A,), Output = R>,
    A: Plain,
    R: Plain,
{
    fn run_plain(&self, calls: &mut Calls<'_>) {
        let task = self.task();
        calls.run_plain(|item| task.call((item,)));
    }
}

impl<F, Args, R> RunsPlain for &Opener<F, Args, R> {
    fn run_plain(&self, calls: &mut Calls<'_>) {
        calls.refuse("the task does not take and return plain values"); // as below
    }
}

impl<F, Args, R> RunsValue for &Opener<F, Args, R> {
    fn run_value(&self, calls: &mut Calls<'_>) {
        calls.refuse("the task does not return a value"); // a pool asks for what the compiler has found
    }
}

impl<F, Args, R> RunsResult for &Opener<F, Args, R> {
    fn run_result(&self, calls: &mut Calls<'_>) {
        calls.refuse("the task does not return a `Result`"); // as above
    }
}
