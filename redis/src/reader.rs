//! The connection that receives answers, and the state of the reading.

use std::time::Instant;

use crate::streams::Streams;

/// The reader of answers; the thread that locks it reads.
pub(crate) struct Reader {
    pub(crate) engine: Option<Streams>,
    /// Ends that are recorded, and that the server may forget.
    pub(crate) seen: Vec<String>,
    pub(crate) ticked: Option<Instant>,
    /// The first chunk of the next inquiry, and the time of the last inquiry.
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
