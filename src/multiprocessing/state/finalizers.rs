//! The finalizers of a process that have not run.

use std::collections::BTreeMap;

/// The finalizers of one process that have not run, by the order of their registration.
#[derive(Default)]
pub(crate) struct Finalizers {
    pub(crate) next: u64,
    pub(crate) list: BTreeMap<u64, Entry>,
}

/// A callback, and its priority.
pub(crate) struct Entry {
    /// The priority at exit; `None` if the callback does not run at exit.
    pub(crate) priority: Option<i32>,
    pub(crate) callback: Box<dyn FnOnce() + Send>,
}

impl Finalizers {
    pub(crate) const fn new() -> Self {
        Self { next: 0, list: BTreeMap::new() }
    }
}
