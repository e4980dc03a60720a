//! The value that a process returns: the process sends it, and its parent receives it with the join.

use std::fmt::{self, Debug};

use ossature_sys::deadline::Deadline;
use ossature_sys::eventfd::Until;
use ossature_sys::poll::{PollFd, PollFlags};

use super::Process;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::connection::{Connection, pipe, poll_until};
use crate::multiprocessing::tasks::Answer;
use crate::multiprocessing::transfer::Transfer;

/// A process whose join returns the value of its function: see [`Process::spawn_value`].
///
/// Dropping the handle neither waits nor ends anything, as with [`Process`]. The value is lost then.
///
/// **A value of more than some 100 KiB does not fit into the pipe.** Its process then waits until the parent joins it
/// here. So call [`join`](Self::join) before any other wait for the process.
///
/// Differs from Python, whose `Process` has no return value; `Pool.apply_async(f, args).get()` is the nearest.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::{Context, Process, Tasks, freeze_support, process::ProcessValue, tasks};
///
/// fn square(number: u64) -> u64 {
///     number * number
/// }
///
/// fn parse(text: String) -> Result<u8, std::num::ParseIntError> {
///     text.parse()
/// }
///
/// static TASKS: Tasks = tasks![square, parse];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let builder = || Process::builder().context(Context::Spawn);
///     let mut squared: ProcessValue<u64> = builder().start_value(square, (12,))?;
///     assert_eq!(squared.join_timeout(Duration::from_secs(60))?, Some(144));
///     assert!(squared.process().join()?.success());
///
///     let error = builder().start_result(parse, ("twelve".to_owned(),))?.join().unwrap_err();
///     assert_eq!(error.kind(), ErrorKind::TaskFailed);
///     assert_eq!(Process::fork_result(|| "12".parse::<u8>())?.join()?, 12);
///     assert_eq!(Process::builder().fork_result(|| "13".parse::<u8>())?.join()?, 13);
///     Ok(())
/// }
/// ```
#[must_use = "without a join the value of the process is lost"]
pub struct ProcessValue<T> {
    process: Process,
    /// The connection for the answer; `None` once the answer has come or never will.
    parent: Option<Connection>,
    heard: Option<Heard<T>>,
}

/// The data that came over the pipe.
enum Heard<T> {
    Answer(Answer<T>),
    /// The data is not an answer.
    Unreadable(Error),
    /// The process ended without an answer.
    Nothing,
}

impl<T: Transfer> ProcessValue<T> {
    /// Makes the two ends of the pipe, and starts the process with `start`.
    pub(super) fn begin(start: impl FnOnce(&mut Option<Connection>, Connection) -> Result<Process>) -> Result<Self> {
        let (parent, child) = pipe()?;
        let mut parent = Some(parent);
        let process = start(&mut parent, child)?;
        Ok(Self { process, parent, heard: None })
    }

    /// The underlying process: its number, its name, signals to it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits for the value and for the end of the process.
    ///
    /// # Errors
    /// * [`Panicked`](ErrorKind::Panicked) with the text of the panic.
    /// * [`TaskFailed`](ErrorKind::TaskFailed) with the text of the error, for a function that returned `Err`, and for
    ///   a value that could not be serialised.
    /// * [`NoResult`](ErrorKind::NoResult) when the process ended without a value, killed or by `exit`;
    ///   [`exit_status`](Error::exit_status) is its status. Also when an earlier call returned the value.
    /// * [`Decode`](ErrorKind::Decode) when the value does not decode as a `T`.
    /// * Those of [`Process::join`].
    pub fn join(mut self) -> Result<T> {
        let unknown = || Error::new(ErrorKind::NoResult, "the process ended, and its exit status is unknown");
        self.join_timeout(Deadline::NEVER)?.ok_or_else(unknown)
    }

    /// Does what [`join`](Self::join) does until the deadline; `None` when the time ran out, or when a
    /// [`CancelFd`](crate::multiprocessing::connection::CancelFd) ended the wait. The data that has come by then is
    /// kept for the next call.
    ///
    /// The deadline bounds the arrival of the value. A value that has arrived is decoded to its end.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_timeout<'c>(&mut self, timeout: impl Into<Until<'c>>) -> Result<Option<T>> {
        let until = timeout.into();
        if let Some(parent) = &self.parent {
            let Some(heard) = hear(parent, &self.process, until)? else { return Ok(None) };
            self.heard = Some(heard);
            self.parent = None;
        }
        let Some(exit) = self.process.join_timeout(until)? else { return Ok(None) };
        match self.heard.take() {
            Some(Heard::Answer(Ok(value))) => Ok(Some(value)),
            Some(Heard::Answer(Err(text))) => Err(Error::new(ErrorKind::TaskFailed, text).with_exit(Some(exit))),
            Some(Heard::Unreadable(error)) => Err(error),
            Some(Heard::Nothing) => Err(match self.process.panic()? {
                Some(panic) => Error::new(ErrorKind::Panicked, panic.to_string()),
                None => {
                    let text = format!("the process {} ended without a value: {exit}", self.process.name());
                    Error::new(ErrorKind::NoResult, text)
                }
            }
            .with_exit(Some(exit))),
            None => Err(Error::new(ErrorKind::NoResult, "an earlier join returned the result of the process")),
        }
    }
}

/// Waits for the answer or for the end of the process; `None` when the wait ended before.
///
/// The end of the process counts, and not that of the pipe: a child of the process may have the other end as well.
fn hear<T: Transfer>(parent: &Connection, process: &Process, until: Until<'_>) -> Result<Option<Heard<T>>> {
    loop {
        let mut both = [PollFd::new(parent, PollFlags::IN), PollFd::new(process, PollFlags::IN)];
        if poll_until(&mut both, until)? == 0 {
            return Ok(None);
        }
        let [news, end] = both.map(|fd| !fd.revents().is_empty());
        if news {
            match parent.recv_timeout::<Answer<T>>(Deadline::NOW) {
                Ok(Some(answer)) => return Ok(Some(Heard::Answer(answer))),
                Ok(None) => {} // a part of it
                Err(error) if error.kind() == ErrorKind::Closed => return Ok(Some(Heard::Nothing)),
                Err(error) => return Ok(Some(Heard::Unreadable(error))),
            }
        } else if end {
            return Ok(Some(Heard::Nothing));
        }
    }
}

impl<T> Debug for ProcessValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProcessValue").field(&self.process).finish()
    }
}
