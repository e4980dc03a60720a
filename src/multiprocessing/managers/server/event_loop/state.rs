//! What the loop notes of calls, and of shared memory.

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

/// What became of a request.
pub(super) enum Handled {
    Reply(Reply),
    /// The reply comes later.
    Later,
    /// There is none.
    Silent,
}

impl From<Result<Value, Exception>> for Handled {
    /// For what the server itself was asked: an exception is a traceback there, as CPython's server says it.
    fn from(outcome: Result<Value, Exception>) -> Self {
        Self::Reply(match outcome {
            Ok(value) => Reply::Return(value),
            Err(exception) => Reply::Traceback(traceback(&exception)),
        })
    }
}

/// Marks the token of a wake-up: the rest is its connection. No connection has so great a number.
pub(super) const WAKEUP: u64 = 1 << 63;

/// The exchanges of all connections.
#[derive(Default)]
pub(super) struct Shared {
    /// How many there are.
    pub(super) count: usize,
    pub(super) awake: Vec<Awake>,
    /// The owners whose wake-ups were signalled since the last round.
    pub(super) rung: Vec<Owner>,
    pub(super) patience: Patience,
    /// Room for a request. Out of here while a request borrows it.
    pub(super) request: Option<Box<[u8; exchange::ROOM]>>,
}

pub(super) struct Awake {
    pub(super) owner: Owner,
    /// Whether it has asked in this round.
    pub(super) has_asked: bool,
}

pub(super) fn traceback(exception: &Exception) -> String {
    format!("{exception}\n")
}
