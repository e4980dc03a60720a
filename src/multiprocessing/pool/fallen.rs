//! A supervisor that has died, whose workers may still run.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::poll::{PollFd, PollFlags, poll};

use crate::multiprocessing::process::Process;

/// The maximum time for the last processes of a dead supervisor to end.
pub(super) const LAST: Duration = Duration::from_secs(5);

/// A supervisor that has died.
pub(super) struct Fallen {
    pub(super) supervisor: Process,
    /// A descriptor that is readable once the supervisor's last worker has ended.
    line: Option<Arc<OwnedFd>>,
    /// The deadline for the end of the last worker.
    until: Deadline,
}

impl Fallen {
    pub(super) fn new(supervisor: Process, line: Option<OwnedFd>) -> Self {
        Self { supervisor, line: line.map(Arc::new), until: Deadline::after(LAST) }
    }

    /// Waits for the end of the last worker, at most until the deadline. Returns true once the last worker has ended or
    /// the time in [`LAST`] has passed.
    pub(super) fn outwait(&self, deadline: Deadline) -> bool {
        let Some(line) = &self.line else { return true };
        let ended = poll(&mut [PollFd::new(&**line, PollFlags::IN)], deadline.or_sooner(self.until));
        ended != Ok(0) || self.until.has_passed()
    }

    /// Takes the supervisor's exit status from the kernel.
    pub(super) fn reap(&self) {
        let _ = self.supervisor.join_timeout(Deadline::NOW); // fails when somebody else has taken it
    }

    /// The descriptor that is readable once the last worker has ended.
    pub(super) fn line(&self) -> Option<&OwnedFd> {
        self.line.as_deref()
    }

    pub(super) fn again(&self) -> Self {
        Self { supervisor: self.supervisor.clone(), line: self.line.clone(), until: self.until }
    }
}
