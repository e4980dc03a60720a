//! The reason why an iterator draws no more items. It follows the results of the items before.

use std::any::Any;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

/// The reason why there is no next item.
pub(super) enum Refusal {
    Error(Error),
    /// The panic of the iterator, or of the serialisation of an item. (In a lock, so that the results of a map are
    /// `Sync`.)
    Panic(Mutex<Box<dyn Any + Send>>),
}

impl Refusal {
    pub(super) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Self::Panic(Mutex::new(payload))
    }

    /// Returns the error. A panic continues in the calling thread, which started it or received the iterator.
    pub(super) fn come(self) -> Error {
        match self {
            Self::Error(error) => error,
            Self::Panic(payload) => resume_unwind(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}
