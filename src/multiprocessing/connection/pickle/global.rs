//! The names of classes and functions in a pickle.

use std::fmt;

/// The name of a class or function of a Python program. The name is never looked up.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::pickle::Global;
///
/// let global = Global::new("queue", "Empty");
/// assert_eq!((global.module(), global.name(), global.to_string()), ("queue", "Empty", "queue.Empty".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Global {
    module: Box<str>,
    name: Box<str>,
}

impl Global {
    /// Makes the name `name` of the module `module`.
    pub fn new(module: impl Into<Box<str>>, name: impl Into<Box<str>>) -> Self {
        Self { module: module.into(), name: name.into() }
    }

    /// The module.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The name within the module.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Global {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}
