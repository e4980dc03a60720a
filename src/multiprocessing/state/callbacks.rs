//! The functions that a forked child calls first.

use std::sync::Arc;

/// The callbacks in the order of their registration.
pub(crate) type Callbacks = Vec<Arc<dyn Callback>>;

/// A function with a weak reference to the object that it is for.
pub(crate) trait Callback: Send + Sync {
    /// Calls the function; returns `false` when the object no longer exists.
    fn call(&self) -> bool;
}
