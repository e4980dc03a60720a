//! The process that started this process.

use std::sync::OnceLock;

use ossature_sys::errno::Errno;
use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::{AboveStandard, AsFd, BorrowedFd, OwnedFd, duplicate};
use ossature_sys::process::{Pid, parent_id, pidfd_open};

use crate::error::{Error, Result};

/// The parent of a process, as the process knows it.
pub(crate) struct Parent {
    pub(crate) pid: i32,
    pub(crate) name: String,
    /// Whether the parent is also the parent in the kernel, while it lives.
    by_number: bool,
    sentinel: OnceLock<OwnedFd>,
}

impl Parent {
    pub(crate) fn new((pid, name): (i32, String), sentinel: Option<OwnedFd>) -> Self {
        let by_number = sentinel.is_none();
        let place = OnceLock::new();
        if let Some(sentinel) = sentinel {
            let _ = place.set(sentinel); // the place is new
        }
        Self { pid, name, by_number, sentinel: place }
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }

    /// Copies the parent for a child that other code forked, whose parent in the kernel is another process.
    pub(crate) fn copied(&self) -> Self {
        let sentinel = self.sentinel.get().and_then(|sentinel| duplicate(sentinel).ok());
        Self { by_number: false, ..Self::new((self.pid, self.name.clone()), sentinel) }
    }

    /// Returns the parent's descriptor, if it came with the configuration.
    pub(crate) fn given(&self) -> Option<BorrowedFd<'_>> {
        self.sentinel.get().filter(|_| !self.by_number).map(AsFd::as_fd)
    }

    /// Returns a descriptor that is readable once the parent has ended. Opened at the first call, because most children
    /// never use it.
    pub(crate) fn sentinel(&self) -> Result<BorrowedFd<'_>> {
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
        // The parent has ended: a descriptor that is always readable takes its place.
        let ended = EventFd::counter(1).and_then(AboveStandard::above_standard);
        Ok(ended.map_err(|errno| Error::os(errno, "cannot watch the parent process"))?.into())
    }
}
