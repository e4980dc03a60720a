//! Retrying an accept while the system has no descriptor, or no memory, for a new connection.

use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;

use crate::error::{Error, Result};

/// The maximum time for which one call retries.
const LONGEST: Duration = Duration::from_secs(1);
/// The wait after the first refusal; each further refusal doubles the wait.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The error of the refusal, and the time of the first refusal.
#[derive(Default)]
pub(super) struct Shortage {
    refused: Option<(Errno, Instant)>,
    pause: Duration,
}

impl Shortage {
    /// Returns how long to wait before the next try. The system does not report when a descriptor is free again.
    ///
    /// # Errors
    /// The refusal itself, if it has another cause, or if the deadline or a second has passed.
    pub(super) fn pause(&mut self, errno: Errno, deadline: Deadline) -> Result<Duration> {
        let is_shortage = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS].contains(&errno);
        let now = Instant::now();
        let (_, since) = *self.refused.get_or_insert((errno, now));
        let left = LONGEST.saturating_sub(now.saturating_duration_since(since));
        if !is_shortage || deadline.has_passed() || left.is_zero() {
            return Err(cannot_accept(errno));
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        let left = deadline.remaining().map_or(left, |remaining| remaining.min(left));
        Ok(self.pause.min(left))
    }

    /// The error to return at the deadline, if anything was refused.
    pub(super) fn into_error(self) -> Option<Error> {
        self.refused.map(|(errno, _)| cannot_accept(errno))
    }
}

pub(super) fn cannot_accept(errno: Errno) -> Error {
    Error::os(errno, "cannot accept a connection")
}
