//! The reasons why a call has no value.

use ossature_sys::process::{ExitStatus, Pid};

use super::stream::Kind;
use crate::error::{Error, ErrorKind};
use crate::multiprocessing::process::PanicReport;
use crate::multiprocessing::transfer::{self, Bounds, Descriptors, Packed, Trust};

/// The reason why a call has no value.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The call's worker died.
    Died { exit: ExitStatus, pid: Option<Pid>, late: bool, words: Option<Box<str>> },
    /// The call panicked.
    Panicked(Box<PanicReport>),
    /// The call returned an error.
    Failed(String),
    /// The worker could not read the arguments, or the value could not be written or read.
    Spoilt(ErrorKind, String),
    /// The call was cancelled.
    Cancelled,
    /// An interrupt ended the pool.
    Interrupted,
    /// The pool broke before the call ended; the text is the reason.
    Broken(String),
}

impl Failure {
    /// Converts the record of a failure.
    pub(super) fn of(kind: Kind, payload: &[u8]) -> Self {
        let text = || String::from_utf8_lossy(payload).into_owned();
        match kind {
            Kind::Panicked => {
                let packed = Packed { bytes: payload.to_vec(), descriptors: Descriptors::new() };
                match transfer::unpack(packed, Trust::SameProgram, Bounds::SAME_PROGRAM) {
                    Ok(report) => Self::Panicked(Box::new(report)),
                    Err(error) => Self::Spoilt(ErrorKind::Decode, error.to_string()),
                }
            }
            Kind::Undecodable => {
                Self::Spoilt(ErrorKind::Decode, format!("the worker could not read its arguments: {}", text()))
            }
            Kind::Unencodable => Self::Spoilt(ErrorKind::InvalidInput, format!("cannot send its result: {}", text())),
            _ => Self::Failed(text()),
        }
    }

    /// Converts the failure to the error for the caller that waits for the task.
    pub(super) fn into_error(self, task: &str) -> Error {
        match self {
            Self::Died { exit, pid, late, words } => {
                let number = pid.map_or_else(String::new, |pid| format!(" (process {})", pid.as_raw_nonzero()));
                let why = if late {
                    ": the task took longer than the pool's task_timeout, and the worker was killed"
                } else {
                    ""
                };
                let ended = if matches!(exit, ExitStatus::Code(_)) { "ended" } else { "died" };
                let mut text = format!("the worker{number} {ended} with {exit} while it ran {task}{why}");
                if let Some(words) = words {
                    text.push_str(": ");
                    text.push_str(&words);
                }
                Error::new(ErrorKind::WorkerDied, text).with_exit(Some(exit)).with_pid(pid)
            }
            Self::Panicked(report) => Error::caused(ErrorKind::Remote, None, *report),
            Self::Failed(text) => Error::new(ErrorKind::TaskFailed, text),
            Self::Spoilt(kind, text) => Error::new(kind, format!("{task}: {text}")),
            Self::Cancelled => Error::new(ErrorKind::Cancelled, format!("{task} was cancelled")),
            Self::Interrupted => {
                Error::new(ErrorKind::Interrupted, format!("{task} was interrupted, and its pool ended"))
            }
            Self::Broken(text) => Error::new(ErrorKind::StartFailed, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ends_by_itself_has_not_died() {
        let text = |exit| Failure::Died { exit, pid: None, late: false, words: None }.into_error("a::task").to_string();
        assert_eq!(text(ExitStatus::Code(7)), "the worker ended with exit code 7 while it ran a::task");
        let killed = ExitStatus::Signal { signal: 9, core_dumped: false };
        assert_eq!(text(killed), "the worker died with signal 9 (SIGKILL) while it ran a::task");
    }
}
