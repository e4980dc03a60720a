//! How long a start may take.

use std::time::Duration;

use ossature_sys::deadline::Deadline;

/// The time limit from the start of a child to the beginning of its task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    within: Option<Duration>,
    pub(super) deadline: Deadline,
}

impl Patience {
    /// A limit of `within` from now; `None` sets no limit.
    pub(crate) fn from_now(within: Option<Duration>) -> Self {
        Self { within, deadline: within.into() }
    }

    /// The length of the limit, for the error.
    pub(super) fn within(&self) -> Duration {
        self.within.unwrap_or_default()
    }
}
