//! How a process logs, in one byte.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// What is printed: the level, or [`UNSET`], and whether at all. One word, because a signal-free atomic is all that a
/// forked child may rely on.
pub(crate) static SETUP: AtomicU8 = AtomicU8::new(UNSET);
pub(crate) const LEVEL: u8 = 7;
const UNSET: u8 = 7;
pub(crate) const PRINTS: u8 = 8;

/// How a process logs. A child that is not a copy of its parent gets this from its parent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct LogSetup(u8);

impl LogSetup {
    /// That of this process.
    pub(crate) fn now() -> Self {
        Self(SETUP.load(Relaxed))
    }

    /// Makes it that of this process.
    pub(crate) fn apply(self) {
        SETUP.store(self.0, Relaxed);
    }
}
