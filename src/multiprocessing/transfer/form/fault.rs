//! The reason why a value cannot be written or read.

use std::borrow::Cow;
use std::fmt;

use serde::{de, ser};

/// The reason as a text. If the program's own `Serialize` or `Deserialize` failed, this is its text. One word wide.
#[derive(Debug)]
pub(crate) struct Fault(Box<Cow<'static, str>>);

impl Fault {
    #[cold]
    pub(super) fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(reason.into()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl ser::Error for Fault {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

impl de::Error for Fault {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

pub(super) type Outcome<T> = Result<T, Fault>;
