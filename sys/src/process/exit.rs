//! The exit status of a process, and the end of this one.

use core::fmt;

use crate::raw::process::{self as raw, Waited};
use crate::signal::{name, numbered};

/// The exit status of a process.
///
/// Differs from Python's one number: a signal, an exit code and an unknown status cannot be confused. [`python_code`]
/// gives Python's number.
///
/// [`python_code`]: ExitStatus::python_code
///
/// # Examples
/// ```
/// use ossature_sys::process::ExitStatus;
///
/// let failed = ExitStatus::Code(7);
/// assert_eq!((failed.success(), failed.code(), failed.signal()), (false, Some(7), None));
/// let killed = ExitStatus::Signal { signal: 9, core_dumped: false };
/// assert_eq!((killed.code(), killed.signal(), killed.core_dumped()), (None, Some(9), false));
/// assert_eq!((failed.python_code(), killed.python_code()), (Some(7), Some(-9)));
/// assert_eq!(killed.to_string(), "signal 9 (SIGKILL)");
/// ```
#[doc(alias = "exitcode")]
#[doc(alias = "WEXITSTATUS")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[doc(alias = "Exit")]
pub enum ExitStatus {
    /// The process called `_exit` with this code, of which the kernel keeps eight bits.
    Code(u8),
    /// A signal ended the process.
    Signal {
        /// The number of the signal; real-time signals have no names, so this is a number.
        signal: i32,
        /// Whether the kernel wrote a core file.
        core_dumped: bool,
    },
    /// The process ended, but its status is not available: another thread or process reaped it, or the kernel did so
    /// because SIGCHLD is ignored or has `SA_NOCLDWAIT`. Linux before 6.15 does not keep the status then.
    Unknown,
}

impl ExitStatus {
    /// Whether the process exited with code 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    /// The exit code; `None` when a signal ended the process or the status is unknown.
    pub fn code(self) -> Option<u8> {
        match self {
            Self::Code(code) => Some(code),
            _ => None,
        }
    }

    /// The signal that ended the process.
    #[doc(alias = "WTERMSIG")]
    pub fn signal(self) -> Option<i32> {
        match self {
            Self::Signal { signal, .. } => Some(signal),
            _ => None,
        }
    }

    /// Whether a signal ended the process and the kernel wrote a core file.
    #[doc(alias = "WCOREDUMP")]
    pub fn core_dumped(self) -> bool {
        matches!(self, Self::Signal { core_dumped: true, .. })
    }

    /// The code in Python's form: the exit code, or the negated number of the signal.
    ///
    /// Differs from Python, which invents 255 where the status is lost: that is `None` here.
    #[doc(alias = "waitstatus_to_exitcode")]
    pub fn python_code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(i32::from(code)),
            Self::Signal { signal, .. } => Some(-signal),
            Self::Unknown => None,
        }
    }

    pub(super) fn from_waited(waited: Waited) -> Self {
        match waited.code {
            libc::CLD_EXITED => Self::Code(waited.status as u8),
            libc::CLD_KILLED => Self::Signal { signal: waited.status, core_dumped: false },
            libc::CLD_DUMPED => Self::Signal { signal: waited.status, core_dumped: true },
            _ => Self::Unknown,
        }
    }

    /// Converts the status word of wait(2): signal in the low seven bits, then the core flag, then the code.
    pub(super) fn from_status(status: u32) -> Self {
        match status & 0x7f {
            0 => Self::Code((status >> 8) as u8),
            signal => Self::Signal { signal: signal as i32, core_dumped: status & 0x80 != 0 },
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal { signal, core_dumped } => {
                write!(f, "signal {signal}")?;
                if let Some(known) = numbered(signal) {
                    write!(f, " ({})", name(known))?;
                }
                f.write_str(if core_dumped { ", core dumped" } else { "" })
            }
            Self::Unknown => f.write_str("unknown exit status"),
        }
    }
}

/// `_exit(code)`: ends this process at once. No destructor, no `atexit` function and no flush of a buffer runs.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{exit, fork};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut child = fork(|| exit(4))?;
/// assert_eq!(child.wait()?.code(), Some(4));
/// # Ok(()) }
/// ```
#[doc(alias = "_exit")]
pub fn exit(code: u8) -> ! {
    raw::exit(code.into())
}
