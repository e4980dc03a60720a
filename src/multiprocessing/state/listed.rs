//! Owners of descriptors that enter the list of their process.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use super::descriptors::Detach;
use super::process_state;

/// An owner of a descriptor that is on the list of its process.
pub(crate) struct Listed<T>(Arc<T>);

impl<T: Detach + 'static> Listed<T> {
    pub(crate) fn new(owner: T) -> Self {
        let owner = Arc::new(owner);
        let listed: Weak<T> = Arc::downgrade(&owner);
        process_state().descriptors.lock().push(listed);
        Self(owner)
    }

    /// The owner itself, if this is the last reference.
    pub(crate) fn into_inner(self) -> Option<T> {
        Arc::into_inner(self.0)
    }

    /// The address that identifies this owner in the list.
    pub(crate) fn place(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

impl<T> Clone for Listed<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Listed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Listed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
