//! The state of the loop for calls and for shared memory.

use std::time::Instant;

use ossature_sys::sync::exchange::{self, Patience};

use super::super::local::Owner;
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::Exception;
use crate::multiprocessing::managers::wire::Reply;

pub(super) struct Parked {
    pub(super) owner: Owner,
    pub(super) ident: String,
    pub(super) until: Option<Instant>,
}

/// The outcome of a request.
pub(super) enum Handled {
    Reply(Reply),
    /// The reply comes later.
    Later,
    /// No reply.
    Silent,
}

impl From<Result<Value, Exception>> for Handled {
    /// Converts the result of a request to the server itself: an exception becomes a traceback, as in CPython's server.
    fn from(outcome: Result<Value, Exception>) -> Self {
        Self::Reply(match outcome {
            Ok(value) => Reply::Return(value),
            Err(exception) => Reply::Traceback(traceback(&exception)),
        })
    }
}

/// The mark in the token of a wake-up; the rest is the number of its connection. No connection has a number this large.
pub(super) const WAKEUP: u64 = 1 << 63;

/// The exchanges of all connections.
#[derive(Default)]
pub(super) struct Shared {
    /// The number of exchanges.
    pub(super) count: usize,
    pub(super) awake: Vec<Awake>,
    /// The owners whose wake-ups were signalled since the last round.
    pub(super) rung: Vec<Owner>,
    pub(super) patience: Patience,
    /// A buffer for a request; `None` while a request borrows the buffer.
    pub(super) request: Option<Box<[u8; exchange::ROOM]>>,
}

pub(super) struct Awake {
    pub(super) owner: Owner,
    /// Whether the exchange has sent a request in this round.
    pub(super) has_asked: bool,
}

pub(super) fn traceback(exception: &Exception) -> String {
    format!("{exception}\n")
}
