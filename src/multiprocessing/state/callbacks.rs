//! What a forked child calls first.

use std::sync::Arc;

/// In the order of their registration.
pub(crate) type Callbacks = Vec<Arc<dyn Callback>>;

/// A function and what it is for, which it does not keep alive.
pub(crate) trait Callback: Send + Sync {
    /// Answers with `false` when that is gone.
    fn call(&self) -> bool;
}
