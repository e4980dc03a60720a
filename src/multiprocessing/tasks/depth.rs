//! The maximum nesting depth of a task's arguments.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::multiprocessing::transfer::DEPTH;

/// The maximum depth. No other data is published with this number, so relaxed order is enough.
static MOST: AtomicUsize = AtomicUsize::new(DEPTH);

/// Sets the maximum nesting depth of the arguments of processes that this process starts from now on. The default is
/// 128 levels.
///
/// A new process decodes its arguments, and each level takes stack there. If the arguments are nested deeper, the start
/// fails with an error. [`set_max_depth`](crate::multiprocessing::connection::Connection::set_max_depth) of a
/// connection, which is a separate limit, defines a level. The new process passes the setting on to the
/// processes that it starts. A copy of this process (`Context::Fork`) and a thread decode nothing.
///
/// Differs from Python, whose limit is that of recursion.
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::{Context, Process, Tasks, freeze_support, set_max_argument_depth, tasks};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Chain(Option<Box<Chain>>);
///
/// fn length(chain: Chain) -> u8 {
///     1 + chain.0.map_or(0, |rest| length(*rest))
/// }
///
/// static TASKS: Tasks = tasks![length];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     set_max_argument_depth(1000);
///     let chain = (1..200).fold(Chain(None), |rest, _| Chain(Some(Box::new(rest))));
///     let process = Process::builder().context(Context::Spawn).start(length, (chain,))?;
///     assert_eq!(process.join()?.code(), Some(200), "beyond the default of 128 levels");
///     Ok(())
/// }
/// ```
pub fn set_max_argument_depth(depth: usize) {
    MOST.store(depth, Relaxed);
}

/// Returns the setting of this process, or of the process that started it.
pub(crate) fn max_argument_depth() -> usize {
    MOST.load(Relaxed)
}
