//! The log settings of a process, in one byte.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// The log settings of this process: the level, or [`UNSET`], and whether it prints. One word, because a forked child
/// may rely only on an atomic.
pub(crate) static SETUP: AtomicU8 = AtomicU8::new(UNSET);
pub(crate) const LEVEL: u8 = 7;
const UNSET: u8 = 7;
pub(crate) const PRINTS: u8 = 8;

/// The log settings of a process. A child that is not a copy of its parent receives them from its parent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct LogSetup(u8);

impl LogSetup {
    /// Returns the settings of this process.
    pub(crate) fn now() -> Self {
        Self(SETUP.load(Relaxed))
    }

    /// Makes these the settings of this process.
    pub(crate) fn apply(self) {
        SETUP.store(self.0, Relaxed);
    }
}
