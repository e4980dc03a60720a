//! The time limit of a start.

use std::time::Duration;

use ossature_sys::deadline::Deadline;

const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(1);

/// The time limit from the start of a child to the beginning of its task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    within: Option<Duration>,
    pub(super) deadline: Deadline,
}

impl Patience {
    /// Sets a limit of `within` from now; `None` sets no limit.
    pub(crate) fn from_now(within: Option<Duration>) -> Self {
        Self { within, deadline: within.into() }
    }

    /// The deadline to wait for the end of a child that ends by itself or was killed. The wait stays within the limit,
    /// and takes at most a second and at least a tenth. A killed child ends within that tenth, unless it is in an
    /// uninterruptible sleep or under a tracer. Such a child is reaped later.
    pub(super) fn last(self) -> Deadline {
        let [least, most] = [LEAST, MOST].map(Deadline::after);
        self.deadline.clamp(least, most)
    }

    /// The length of the limit, for the error text.
    pub(super) fn within(&self) -> Duration {
        self.within.unwrap_or_default()
    }
}
