//! The calls of one chunk of a pool's tasks, in the worker: the loop over them, made for each task by the compiler.
//!
//! An engine gives the bytes of the arguments and an [`Outlet`], and knows nothing of the types.

use std::fmt::Debug;

use ossature_sys::shm::{Plain, as_bytes, from_bytes};

use super::form::Opener;
use super::{Arguments, Form, Target};
use crate::multiprocessing::process::{PanicReport, untold};
use crate::multiprocessing::transfer::{Descriptors, Reading, Transfer, Writing};
use crate::thread;

/// How the call of a task ended. The text or the value stands in the outlet's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// A value.
    Value,
    /// The text of the error that the task returned.
    Failed,
    /// A [`PanicReport`].
    Panicked,
    /// The text of the reason why the arguments could not be read.
    Undecodable,
    /// The text of the reason why the value could not be written.
    Unencodable,
}

/// What is told of the calls of a chunk: the side of the engine that runs them.
pub(crate) trait Outlet {
    /// The call at `index` begins, with the decoding of its arguments.
    fn begin(&mut self, index: u32);

    /// The call at `index` has ended, as the bytes say.
    fn end(&mut self, index: u32, ended: Ended, bytes: &[u8], descriptors: Descriptors);
}

/// The calls of one chunk. Nothing outside of this crate makes one.
#[doc(hidden)]
pub struct Calls<'c> {
    pub(crate) form: Form,
    pub(crate) count: u32,
    pub(crate) arguments: Reading<'c>,
    /// The same, unread: the arguments of plain calls.
    pub(crate) raw: &'c [u8],
    pub(crate) writing: &'c Writing,
    pub(crate) out: Vec<u8>,
    pub(crate) outlet: &'c mut dyn Outlet,
}

impl Debug for Calls<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("form", &self.form).field("count", &self.count).finish_non_exhaustive()
    }
}

/// How a call ended that did not panic.
type Outcome = Result<Descriptors, (Ended, String)>;

impl Calls<'_> {
    /// What becomes of the return value.
    #[doc(hidden)]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Runs all calls; `answer` writes the value of one.
    fn run<Args: Arguments, R>(
        &mut self,
        call: impl Fn(Args) -> R,
        answer: impl Fn(&Writing, &mut Vec<u8>, R) -> Outcome,
    ) {
        for index in 0..self.count {
            self.outlet.begin(index);
            self.out.clear();
            let (arguments, writing, out) = (&mut self.arguments, self.writing, &mut self.out);
            // A panic of a `Deserialize`, of the task and of a `Serialize` are one.
            let ended = thread::catch(|| match arguments.next::<Args>() {
                Ok(args) => answer(writing, out, call(args)),
                Err(error) => Err((Ended::Undecodable, error.to_string())),
            });
            match ended {
                Ok(Ok(descriptors)) => self.outlet.end(index, Ended::Value, &self.out, descriptors),
                Ok(Err((ended, text))) => self.outlet.end(index, ended, text.as_bytes(), Descriptors::new()),
                Err(escaped) => {
                    self.panicked(index, &untold(&escaped));
                    thread::aloud(|| drop(escaped)); // the drop of a payload may panic, too
                }
            }
        }
    }

    /// Calls with values that lie there byte by byte, and tells of those that come back in the same way.
    fn run_plain<A: Plain, R: Plain>(&mut self, call: impl Fn(A) -> R) {
        let (raw, size) = (self.raw, size_of::<A>());
        for index in 0..self.count {
            self.outlet.begin(index);
            let start = index as usize * size;
            let Some(item) = raw.get(start..start + size).and_then(from_bytes) else {
                self.outlet.end(index, Ended::Undecodable, b"they are too short", Descriptors::new());
                continue;
            };
            match thread::catch(|| call(item)) {
                Ok(value) => self.outlet.end(index, Ended::Value, as_bytes(&[value]), Descriptors::new()),
                Err(escaped) => {
                    self.panicked(index, &untold(&escaped));
                    thread::aloud(|| drop(escaped)); // as above
                }
            }
        }
    }

    /// Ends all calls with the reason why there is nothing to call.
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
    writing.write(out, value).map_err(|error| (Ended::Unencodable, error.to_string()))
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
        calls.refuse("the task does not make a plain value of a plain value"); // as below
    }
}

impl<F, Args, R> RunsValue for &Opener<F, Args, R> {
    fn run_value(&self, calls: &mut Calls<'_>) {
        calls.refuse("the task returns no value"); // a pool asks for what the compiler has found
    }
}

impl<F, Args, R> RunsResult for &Opener<F, Args, R> {
    fn run_result(&self, calls: &mut Calls<'_>) {
        calls.refuse("the task returns no `Result`"); // as above
    }
}
