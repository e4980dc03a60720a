//! The process that started this one.

use std::fmt;
use std::sync::OnceLock;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::EventFd;
use ossature_sys::eventfd::Until;
use ossature_sys::fd::{AboveStandard, AsFd, BorrowedFd, OwnedFd, duplicate};
use ossature_sys::process::{Pid, parent_id, pidfd_open};

use super::state::process_state;
use crate::error::{Error, Result};

/// What a process knows of its parent.
pub(crate) struct Parent {
    pid: i32,
    name: String,
    /// Whether the kernel calls it the parent as well, while it lives.
    by_number: bool,
    sentinel: OnceLock<OwnedFd>,
}

impl Parent {
    pub(super) fn new((pid, name): (i32, String), sentinel: Option<OwnedFd>) -> Self {
        let by_number = sentinel.is_none();
        let place = OnceLock::new();
        if let Some(sentinel) = sentinel {
            let _ = place.set(sentinel); // the place is new
        }
        Self { pid, name, by_number, sentinel: place }
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }

    /// For a child that somebody else forked: to it, the kernel's parent is another.
    pub(super) fn copied(&self) -> Self {
        let sentinel = self.sentinel.get().and_then(|sentinel| duplicate(sentinel).ok());
        Self { by_number: false, ..Self::new((self.pid, self.name.clone()), sentinel) }
    }

    /// The descriptor of it that came with the config.
    pub(super) fn given(&self) -> Option<BorrowedFd<'_>> {
        self.sentinel.get().filter(|_| !self.by_number).map(AsFd::as_fd)
    }

    /// Readable once the parent has ended. Opened when first asked for, for most children never ask.
    fn sentinel(&self) -> Result<BorrowedFd<'_>> {
        if let Some(sentinel) = self.sentinel.get() {
            return Ok(sentinel.as_fd());
        }
        let opened = self.open()?;
        Ok(self.sentinel.get_or_init(|| opened).as_fd())
    }

    fn open(&self) -> Result<OwnedFd> {
        let parent = self.pid().filter(|_| self.by_number);
        if parent.is_some() && parent_id().is_none() {
            return Err(Error::os(Errno::SRCH, "the parent process is outside of this pid namespace"));
        }
        let is_parent = || parent.is_some() && parent_id() == parent;
        if let Some(pid) = parent.filter(|_| is_parent()) {
            match pidfd_open(pid) {
                // While it is still the parent after the opening, the number was its own at the opening.
                Ok(pidfd) if is_parent() => return Ok(pidfd),
                Err(errno) if is_parent() => return Err(Error::os(errno, "cannot watch the parent process")),
                _ => {}
            }
        }
        // It has ended: something that is always readable stands for it.
        let ended = EventFd::counter(1).and_then(AboveStandard::above_standard);
        Ok(ended.map_err(|errno| Error::os(errno, "cannot watch the parent process"))?.into())
    }
}

/// The process that started this one; `None` in the first, and in one that was not started by this module.
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
///     // The sentinel stands in a poll beside other descriptors. It is readable once the parent has ended.
///     assert!(wait(&[&parent.sentinel()?], Duration::ZERO)?.is_empty());
///     Ok(())
/// })?;
/// assert!(process.join()?.success());
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn parent_process() -> Option<ParentProcess> {
    process_state().parent.as_ref().map(ParentProcess)
}

/// The process that started this one: it can be watched, and waited for, though it is not a child.
///
/// # Examples
/// See the example of [`parent_process`].
#[derive(Clone, Copy)]
pub struct ParentProcess(&'static Parent);

impl ParentProcess {
    /// Its number. After its end another process may have it.
    #[doc(alias = "ident")]
    pub fn pid(&self) -> Option<Pid> {
        self.0.pid()
    }

    /// Its name at the time of the start.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it has not ended yet.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left for the first look. `ESRCH` in a new pid namespace, outside of which the
    /// parent has no number, unless this is a daemon.
    pub fn is_alive(&self) -> Result<bool> {
        Ok(!self.join_timeout(Deadline::NOW)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left for the first look. `ESRCH` in a new pid namespace, outside of which the
    /// parent has no number, unless this is a daemon.
    pub fn join(&self) -> Result<()> {
        self.join_timeout(Deadline::NEVER).map(drop)
    }

    /// Waits for its end until the deadline, or until a [`CancelFd`](crate::multiprocessing::connection::CancelFd)
    /// ends the wait; says whether it has ended.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left for the first look. `ESRCH` in a new pid namespace, outside of which the
    /// parent has no number, unless this is a daemon.
    pub fn join_timeout<'c>(&self, timeout: impl Into<Until<'c>>) -> Result<bool> {
        let sentinel = self.0.sentinel()?;
        Ok(timeout.into().is_readable(&sentinel)?)
    }

    /// Becomes readable when it ends: for a poll beside other things.
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
