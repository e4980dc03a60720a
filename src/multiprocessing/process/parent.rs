//! The parent process, which started the current process.

use std::fmt;

use ossature_sys::deadline::Deadline;
use ossature_sys::eventfd::Until;
use ossature_sys::fd::BorrowedFd;
use ossature_sys::process::Pid;

use crate::error::Result;
use crate::multiprocessing::state::{Parent, process_state};

/// Returns the process that started the current process; `None` in the first process, and in a process that this module
/// did not start.
///
/// A process that was forked by other means has the parent of the process that forked it. That process must have called
/// this function before the fork. Otherwise the parent counts as ended.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::multiprocessing::process::ParentProcess;
/// use ossature::multiprocessing::{Process, connection::wait, current_process, parent_process};
///
/// let this = current_process().pid();
/// let process = Process::fork(move || -> ossature::Result<()> {
///     let parent: ParentProcess = parent_process().expect("a child has a parent");
///     assert_eq!((parent.name(), parent.pid()), ("MainProcess", Some(this)));
///     assert!(parent.is_alive()? && !parent.join_timeout(Duration::ZERO)?);
///     // The sentinel can be polled beside other descriptors. It is readable once the parent has ended.
///     assert!(wait(&[&parent.sentinel()?], Duration::ZERO)?.is_empty());
///     Ok(())
/// })?;
/// assert!(process.join()?.success());
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn parent_process() -> Option<ParentProcess> {
    process_state().parent.as_ref().map(ParentProcess)
}

/// The process that started the current process. The current process can watch it and wait for it, although it is not a
/// child.
///
/// # Examples
/// See the example of [`parent_process`].
#[derive(Clone, Copy)]
pub struct ParentProcess(&'static Parent);

impl ParentProcess {
    /// The parent's process number. After the parent's end another process may have this number.
    #[doc(alias = "ident")]
    pub fn pid(&self) -> Option<Pid> {
        self.0.pid()
    }

    /// The parent's name at the time of the start.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether the parent is still running.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left for the first look. `ESRCH` in a new pid namespace, outside of which the
    /// parent has no number, unless this is a daemon.
    pub fn is_alive(&self) -> Result<bool> {
        Ok(!self.join_timeout(Deadline::NOW)?)
    }

    /// Waits for the end of the parent.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left for the first look. `ESRCH` in a new pid namespace, outside of which the
    /// parent has no number, unless this is a daemon.
    pub fn join(&self) -> Result<()> {
        self.join_timeout(Deadline::NEVER).map(drop)
    }

    /// Waits for the end of the parent until the deadline, or until a
    /// [`CancelFd`](crate::multiprocessing::connection::CancelFd) ends the wait. Returns whether the parent has ended.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left for the first look. `ESRCH` in a new pid namespace, outside of which the
    /// parent has no number, unless this is a daemon.
    pub fn join_timeout<'c>(&self, timeout: impl Into<Until<'c>>) -> Result<bool> {
        let sentinel = self.0.sentinel()?;
        Ok(timeout.into().is_readable(&sentinel)?)
    }

    /// Returns a descriptor that becomes readable when the parent ends, for a poll together with other descriptors.
    ///
    /// # Errors
    /// As [`is_alive`](Self::is_alive).
    pub fn sentinel(&self) -> Result<BorrowedFd<'static>> {
        self.0.sentinel()
    }
}

impl fmt::Debug for ParentProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<_ParentProcess name='{}' pid={}", self.0.name, self.0.pid)?;
        match self.is_alive() {
            Ok(true) => write!(f, " started>"),
            Ok(false) => write!(f, " stopped>"),
            Err(_) => write!(f, " unknown>"),
        }
    }
}
