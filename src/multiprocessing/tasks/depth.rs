//! How deep the arguments of a task may be nested.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::multiprocessing::transfer::DEPTH;

/// A number that stands alone: nothing else is published with it.
static MOST: AtomicUsize = AtomicUsize::new(DEPTH);

/// Sets how deep the arguments of the processes may be nested that this one starts from now on: 128 levels, unless set.
///
/// A new process decodes its arguments, and a level takes stack there. What is nested deeper is refused, and the start is an error that
/// says so. What counts as a level is said at [`set_max_depth`](crate::multiprocessing::connection::Connection::set_max_depth) of a
/// connection, which has a limit of its own. The new process hands the setting on to those that it starts. A process that is a copy
/// (`Context::Fork`) or a thread decodes nothing.
///
/// Differs from Python, whose limit is that of recursion.
pub fn set_max_argument_depth(depth: usize) {
    MOST.store(depth, Relaxed);
}

/// What was set last, here or where this process was started.
pub(crate) fn max_argument_depth() -> usize {
    MOST.load(Relaxed)
}
