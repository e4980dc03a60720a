//! The holders of references to objects.

use std::sync::Arc;

use super::usage::Usage;

/// The number of a session: a client in Rust, with all its connections.
pub(super) type SessionId = u64;

/// The holder that takes or gives back a reference.
#[derive(Clone, Debug)]
pub(super) enum Holder {
    Session(SessionId),
    /// A client in Python.
    Python(Arc<Usage>),
    /// A built-in object, or a ticket.
    Server,
}
