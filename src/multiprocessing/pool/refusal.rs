//! Why no more items of an iterator were given out. It comes behind the results of the items before.

use std::any::Any;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

/// What stands in the way of the next item.
pub(super) enum Refusal {
    Error(Error),
    /// The iterator has panicked, or the serialisation of an item. (In a lock, so that the results of a map are
    /// `Sync`.)
    Panic(Mutex<Box<dyn Any + Send>>),
}

impl Refusal {
    pub(super) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Self::Panic(Mutex::new(payload))
    }

    /// The error. A panic goes on in this thread, in which it began or which was given the iterator.
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
