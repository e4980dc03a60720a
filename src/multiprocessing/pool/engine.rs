//! The interface for a crate that carries calls of this program's tasks to other machines: names, bytes and outcomes.
//!
//! Hidden, and without a promise of stability: `ossature-redis` is the only user, and has this crate's version.
//!
//! ```standalone_crate
//! use std::time::Duration;
//! use ossature::ErrorKind;
//! use ossature::multiprocessing::pool::engine::{self, CallEnd, Packer, Run, Unpacker, Wants};
//! use ossature::multiprocessing::{Context, Pool, Tasks, freeze_support, tasks};
//!
//! fn half(number: u32) -> u32 {
//!     number / 2
//! }
//!
//! static TASKS: Tasks = tasks![half];
//!
//! fn main() -> ossature::Result<()> {
//!     freeze_support(TASKS);
//!     // The client.
//!     let task = engine::name_of(half, Wants::Value)?;
//!     let mut bytes = Vec::new();
//!     Packer::begin().write(task, &mut bytes, &(8_u32,))?;
//!     let _build = engine::build_id()?;
//!     // The worker.
//!     let pool = Pool::builder().workers(1).context(Context::Spawn).build()?;
//!     assert_eq!(engine::known_name(task)?, task);
//!     let run: Run = pool.give_calls(task, Wants::Value, [&bytes[..]])?;
//!     assert!(pool.wait_until(Duration::from_secs(60).into(), || run.is_done())?);
//!     let mut value = Vec::new();
//!     run.take(|end| match end {
//!         CallEnd::Value(bytes) => value.extend_from_slice(bytes),
//!         CallEnd::Failed(_) => panic!("{end:?}"),
//!     });
//!     assert_eq!(run.count(), 1);
//!     run.handle().cancel()?; // too late
//!     pool.wake()?;
//!     // The client again.
//!     assert_eq!((engine::unpack::<u32>(&value)?, Unpacker::begin().read::<u32>(&value)?), (4, 4));
//!     assert_eq!(engine::pack(&4_u32)?, value);
//!     for (failed, kind) in [
//!         (engine::late(task, Duration::from_secs(1)), ErrorKind::WorkerDied),
//!         (engine::unreadable("they are too short"), ErrorKind::Decode),
//!         (engine::unwritable("it is too long"), ErrorKind::InvalidInput),
//!     ] {
//!         assert_eq!((engine::is_death(&failed), engine::unmade(&failed)), (kind == ErrorKind::WorkerDied, None));
//!         assert_eq!(engine::failed(task, "node7", &failed).kind(), kind);
//!     }
//!     assert_eq!(engine::error(ErrorKind::Closed, "the server is away".into()).kind(), ErrorKind::Closed);
//!     Ok(())
//! }
//! ```
#![doc(hidden)]

use std::fmt;
use std::sync::Arc;

use ossature_sys::deadline::Deadline;
use ossature_sys::process::{ExitStatus, Pid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Pool;
use super::chunk::Chunk;
use super::failure::Failure;
use super::hub::Hub;
use super::job::{Job, Keep};
use super::opaque::known;
use super::wanted::Wanted;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::process::PanicReport;
use crate::multiprocessing::tasks::{Arguments, BuildId, Form, Target, registered};
use crate::multiprocessing::transfer::{self, Bounds, Descriptors, Reading, Trust, Writing};

/// The kind of result that the caller wants from a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wants {
    /// The return value of the task.
    Value,
    /// The value in the `Result` that the task returns, or the text of its error.
    Result,
}

impl Wants {
    fn form(self) -> Form {
        match self {
            Self::Value => Form::Value,
            Self::Result => Form::Result,
        }
    }
}

/// Makes an error of this crate, for callers of the other crate.
pub fn error(kind: ErrorKind, message: String) -> Error {
    Error::new(kind, message)
}

/// Returns the name of a task in the table.
///
/// # Errors
/// `UnknownTask` when no table contains the task.
pub fn name_of<F: Target<Args>, Args>(target: F, wants: Wants) -> Result<&'static str> {
    registered(target, wants.form()).map(|task| task.name)
}

/// Returns the name of a task as the table of this program has it.
///
/// # Errors
/// `UnknownTask` for a name that no table here contains.
pub fn known_name(task: &str) -> Result<&'static str> {
    known(task)
}

/// Returns the build id that the linker wrote into this program; `None` when it wrote none.
///
/// # Errors
/// `Os` when /proc is not mounted.
pub fn build_id() -> Result<Option<Vec<u8>>> {
    let own = BuildId::own()
        .map_err(|error| Error::from(error).with_message("cannot determine the build of this program"))?;
    Ok(own.linked().map(<[u8]>::to_vec))
}

/// Writes the arguments of calls, in the thread that made the packer.
pub struct Packer(Writing);

impl Packer {
    /// Begins a series of writes.
    pub fn begin() -> Self {
        Self(Writing::begin())
    }

    /// Writes the arguments of one call after the bytes in `out`.
    ///
    /// # Errors
    /// `InvalidInput` for what cannot be serialised, `Unsupported` for descriptors and shared memory. What was written
    /// of the arguments is in `out` then.
    pub fn write<A: Arguments>(&self, task: &str, out: &mut Vec<u8>, args: &A) -> Result<()> {
        let descriptors = self.0.write(out, args)?;
        if !descriptors.is_none() {
            let message = format!(
                "the arguments of {task} hold a descriptor or shared memory, which stays on this machine: send the content, or \
                 the name of a file that all machines see"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(())
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packer")
    }
}

/// Serialises a value for another machine.
///
/// # Errors
/// As [`Packer::write`].
pub fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let packed = transfer::pack(value)?;
    if !packed.descriptors.is_none() {
        let message = format!(
            "{} contains a descriptor or shared memory, which stays on this machine: send the content",
            std::any::type_name::<T>()
        );
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(packed.bytes)
}

/// Reads a value that came from another machine.
///
/// # Errors
/// `Decode` for other bytes.
pub fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    transfer::unpack_slice(bytes, Descriptors::new(), Trust::Untrusted, Bounds::SAME_PROGRAM)
}

/// Reads values that came from another machine, in the thread that made the unpacker.
pub struct Unpacker(Reading<'static>);

impl Unpacker {
    /// Begins a series of reads.
    pub fn begin() -> Self {
        Self(Reading::from_afar(Bounds::SAME_PROGRAM))
    }

    /// Reads the value in these bytes.
    ///
    /// # Errors
    /// `Decode` for other bytes.
    pub fn read<T: DeserializeOwned>(&mut self, bytes: &[u8]) -> Result<T> {
        self.0.read(bytes)
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unpacker")
    }
}

/// The outcome of one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallEnd<'b> {
    /// The bytes of the value.
    Value(&'b [u8]),
    /// The bytes of the failure, for [`failed`].
    Failed(&'b [u8]),
}

/// The serialised form of a failure.
#[derive(Serialize, Deserialize)]
enum Ending {
    Died { exit: Exit, pid: Option<i32>, late: bool, words: Option<Box<str>> },
    Panicked(Box<PanicReport>),
    Failed(String),
    Unreadable(String),
    Unwritable(String),
    Cancelled,
    Broken(String),
}

#[derive(Serialize, Deserialize)]
enum Exit {
    Code(u8),
    Signal(i32, bool),
    Unknown,
}

impl Ending {
    fn of(failure: Failure) -> Self {
        match failure {
            Failure::Died { exit, pid, late, words } => {
                let exit = match exit {
                    ExitStatus::Code(code) => Exit::Code(code),
                    ExitStatus::Signal { signal, core_dumped } => Exit::Signal(signal, core_dumped),
                    ExitStatus::Unknown => Exit::Unknown,
                };
                Self::Died { exit, pid: pid.map(|pid| pid.as_raw_nonzero().get()), late, words }
            }
            Failure::Panicked(report) => Self::Panicked(report),
            Failure::Failed(text) => Self::Failed(text),
            Failure::Spoilt(ErrorKind::Decode, text) => Self::Unreadable(text),
            Failure::Spoilt(_, text) => Self::Unwritable(text),
            Failure::Cancelled | Failure::Interrupted => Self::Cancelled,
            Failure::Broken(text) => Self::Broken(text),
        }
    }

    fn failure(self) -> Failure {
        match self {
            Self::Died { exit, pid, late, words } => {
                let exit = match exit {
                    Exit::Code(code) => ExitStatus::Code(code),
                    Exit::Signal(signal, core_dumped) => ExitStatus::Signal { signal, core_dumped },
                    Exit::Unknown => ExitStatus::Unknown,
                };
                Failure::Died { exit, pid: pid.and_then(Pid::from_raw), late, words }
            }
            Self::Panicked(report) => Failure::Panicked(report),
            Self::Failed(text) => Failure::Failed(text),
            Self::Unreadable(text) => Failure::Spoilt(ErrorKind::Decode, text),
            Self::Unwritable(text) => Failure::Spoilt(ErrorKind::InvalidInput, text),
            Self::Cancelled => Failure::Cancelled,
            Self::Broken(text) => Failure::Broken(text),
        }
    }
}

/// Whether these bytes describe the death of a worker.
pub fn is_death(failed: &[u8]) -> bool {
    matches!(unpack(failed), Ok(Ending::Died { .. }))
}

/// Returns the reason why the call was not started, if these bytes describe a pool that could not start workers.
pub fn unmade(failed: &[u8]) -> Option<String> {
    match unpack(failed) {
        Ok(Ending::Broken(why)) => Some(why),
        _ => None,
    }
}

/// Returns the error of a call of the given task that failed on another machine.
pub fn failed(task: &str, host: &str, failed: &[u8]) -> Error {
    match unpack::<Ending>(failed) {
        Ok(end @ Ending::Panicked(_)) => end.failure().into_error(task),
        Ok(end @ Ending::Failed(_)) => end.failure().into_error(task),
        Ok(end) => {
            let error = end.failure().into_error(task);
            let text = format!("{error} (on {host})");
            error.with_message(text)
        }
        Err(error) => error.with_message(format!("cannot read the failure of {task} on {host}")),
    }
}

/// Makes the failure of a call that took longer than its limit.
pub fn late(task: &str, limit: std::time::Duration) -> Vec<u8> {
    let exit = Exit::Signal(9, false);
    let words = Some(format!("{task} may take {limit:?}").into());
    bytes_of(&Ending::Died { exit, pid: None, late: true, words })
}

/// Makes the failure of a call whose host does not know the task, or cannot read the arguments.
pub fn unreadable(why: &str) -> Vec<u8> {
    bytes_of(&Ending::Unreadable(why.to_owned()))
}

/// Makes the failure of a call whose host cannot send the value.
pub fn unwritable(why: &str) -> Vec<u8> {
    bytes_of(&Ending::Unwritable(format!("cannot send its result: {why}")))
}

fn bytes_of(end: &Ending) -> Vec<u8> {
    transfer::pack(end).map(|packed| packed.bytes).unwrap_or_default() // plain data
}

/// Calls that a pool runs for another machine, one after the other in one worker.
pub struct Run {
    hub: Arc<Hub>,
    job: Arc<Job>,
    count: usize,
}

impl Pool {
    /// Sends the calls of a task to one worker, each as the bytes that [`Packer::write`] made. Does not wait.
    ///
    /// # Errors
    /// `UnknownTask` for a name that no table here contains, `InvalidInput` above 4 GiB, and those of
    /// [`apply_async`](Pool::apply_async).
    #[doc(hidden)]
    pub fn give_calls<'b>(&self, task: &str, wants: Wants, calls: impl IntoIterator<Item = &'b [u8]>) -> Result<Run> {
        let hub = &self.0;
        hub.check()?;
        let job = Arc::new(Job::new(known(task)?, Keep::All));
        let mut chunk = Chunk::new(&job, wants.form());
        for call in calls {
            chunk.push_opaque(call)?;
        }
        let count = chunk.count() as usize;
        if count > 0 {
            chunk.base = job.give(count);
            hub.submit([chunk])?;
        }
        Ok(Run { hub: hub.clone(), job, count })
    }

    /// Waits until `is_ready` returns true; it is called after every outcome. False when the time ran out.
    ///
    /// # Errors
    /// As [`AsyncResult::wait`](super::AsyncResult::wait).
    #[doc(hidden)]
    pub fn wait_until(&self, until: Deadline, is_ready: impl Fn() -> bool) -> Result<bool> {
        self.0.wait(until, Wanted::Each, is_ready)
    }

    /// Wakes the waiting threads, so that they check again.
    ///
    /// # Errors
    /// `NotAllowed` in another process than the pool's.
    #[doc(hidden)]
    pub fn wake(&self) -> Result<()> {
        let inner = self.0.lock()?;
        self.0.wake_others(&inner);
        Ok(())
    }
}

impl Run {
    /// Whether every call has ended.
    pub fn is_done(&self) -> bool {
        self.job.is_done()
    }

    /// Cancels the unfinished calls; a running call ends with its worker.
    ///
    /// # Errors
    /// `NotAllowed` in another process than the pool's.
    pub fn cancel(&self) -> Result<()> {
        self.hub.cancel(&self.job)
    }

    /// Makes another handle for the same calls, from which they can be cancelled.
    pub fn handle(&self) -> Self {
        Self { hub: self.hub.clone(), job: self.job.clone(), count: self.count }
    }

    /// The number of calls.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Reports the outcome of each call, in the order of the calls, once every call has ended. Reports them only once.
    pub fn take(&self, mut tell: impl FnMut(CallEnd<'_>)) {
        self.job.show_all(|end| match end {
            Ok(Some(value)) => tell(CallEnd::Value(value)),
            Ok(None) => {
                let why = "it contains a descriptor or shared memory, which stays on its machine";
                tell(CallEnd::Failed(&unwritable(why)));
            }
            Err(failure) => tell(CallEnd::Failed(&bytes_of(&Ending::of(failure)))),
        });
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("task", &self.job.task).field("done", &self.is_done()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_on_another_machine_what_it_said_here() {
        let died = Failure::Died {
            exit: ExitStatus::Signal { signal: 9, core_dumped: false },
            pid: Pid::from_raw(77),
            late: false,
            words: None,
        };
        let bytes = bytes_of(&Ending::of(died));
        assert!(is_death(&bytes));
        let error = failed("a::task", "node7", &bytes);
        assert_eq!(
            (error.kind(), error.pid(), error.exit_status().and_then(ExitStatus::signal)),
            (ErrorKind::WorkerDied, Pid::from_raw(77), Some(9))
        );
        assert!(error.to_string().contains("77") && error.to_string().ends_with("(on node7)"), "{error}");
        let bytes = bytes_of(&Ending::of(Failure::Failed("no paper".into())));
        let error = failed("a::task", "node7", &bytes);
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::TaskFailed, "no paper".into()));
        assert!(!is_death(&bytes) && unmade(&bytes).is_none());
        let bytes = bytes_of(&Ending::of(Failure::Broken("no process can be started".into())));
        assert_eq!(unmade(&bytes).as_deref(), Some("no process can be started"));
        assert_eq!(failed("a::task", "node7", b"\xff").kind(), ErrorKind::Decode);
    }
}
