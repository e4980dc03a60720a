//! How long a start may take.

use std::time::Duration;

use ossature_sys::deadline::Deadline;

/// From the start of a child to the beginning of its task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    within: Option<Duration>,
    pub(super) deadline: Deadline,
}

impl Patience {
    /// So long from now; `None` for as long as it takes.
    pub(crate) fn from_now(within: Option<Duration>) -> Self {
        Self { within, deadline: within.into() }
    }

    /// The time, for whoever ran out of it.
    pub(super) fn within(&self) -> Duration {
        self.within.unwrap_or_default()
    }
}
