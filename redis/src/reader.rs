//! The connection that answers come from, and what was read from it.

use std::time::Instant;

use crate::streams::Streams;

/// Whoever has it reads answers.
pub(crate) struct Reader {
    pub(crate) engine: Option<Streams>,
    /// Ends that were taken in and may be forgotten.
    pub(crate) seen: Vec<String>,
    pub(crate) ticked: Option<Instant>,
    /// The first chunk that is to be asked for next, and when others were.
    pub(crate) asked: (u64, Instant),
}

impl Reader {
    pub(crate) fn new(engine: Streams) -> Self {
        Self { engine: Some(engine), seen: Vec::new(), ticked: None, asked: (0, Instant::now()) }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.engine.is_some()
    }
}
