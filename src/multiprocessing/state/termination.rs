//! The values that the body of a process may return, and their exit codes.

use std::convert::Infallible;
use std::fmt::Debug;
use std::io::Write;
use std::process::ExitCode;

use super::process_name_of_thread;

/// A value that the body of a process may return: as with [`std::process::Termination`] for `main`, and numbers too.
///
/// | result | exit code |
/// | --- | --- |
/// | `()` | 0 |
/// | `u8` | the number |
/// | `i32` | its low eight bits, as the kernel keeps them: 256 becomes 0, -1 becomes 255 |
/// | [`ExitCode`] | the number from which it was made |
/// | `Ok(result)` | the exit code of the result |
/// | `Err(error)` | 1, and "Process NAME:" and the error are written to standard error; the name of a [thread](crate::multiprocessing::process::ProcessBuilder::thread) is its own |
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::{Process, Termination};
///
/// fn exit_code<R: Termination>(body: impl FnOnce() -> R) -> ossature::Result<Option<i32>> {
///     let process = Process::fork(body)?;
///     process.join()?;
///     Ok(process.exit_code())
/// }
///
/// assert_eq!(exit_code(|| ())?, Some(0));
/// assert_eq!(exit_code(|| 7_u8)?, Some(7));
/// assert_eq!(exit_code(|| "seven".parse::<u8>())?, Some(1), "the error is printed");
/// # Ok::<(), ossature::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from the body of a process",
    label = "has no exit code",
    note = "return `()`, `u8`, `i32`, `ExitCode` or a `Result` of them; start a function that returns any other value by `Process::spawn_value` or `fork_value`, and a function that returns a `Result` of such a value by `spawn_result` or `fork_result`; write a closure that never returns as `|| -> u8`"
)]
#[doc(alias = "Report")]
pub trait Termination {
    /// Returns the exit code.
    fn report(self) -> u8;
}

impl Termination for () {
    fn report(self) -> u8 {
        0
    }
}

impl Termination for u8 {
    fn report(self) -> u8 {
        self
    }
}

impl Termination for i32 {
    fn report(self) -> u8 {
        self as u8
    }
}

impl Termination for ExitCode {
    fn report(self) -> u8 {
        // std does not return the number, but can compare exit codes.
        (0..=u8::MAX).find(|&code| Self::from(code) == self).unwrap_or(1)
    }
}

impl Termination for Infallible {
    fn report(self) -> u8 {
        match self {}
    }
}

impl<T: Termination, E: Debug> Termination for Result<T, E> {
    fn report(self) -> u8 {
        match self {
            Ok(answer) => answer.report(),
            Err(error) => {
                let text = format!("Process {}:\nError: {error:?}\n", process_name_of_thread());
                let _ = std::io::stderr().write_all(text.as_bytes()); // without a standard error nobody listens
                1
            }
        }
    }
}
