//! The settings of the fork server, which a program may change.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::multiprocessing::tasks::{Form, Target, registered};

/// The settings of the next server that is started.
pub(super) struct Settings {
    pub(super) spares: u32,
    pub(super) preload: Vec<&'static str>,
}

static SETTINGS: Mutex<Settings> = Mutex::new(Settings { spares: 1, preload: Vec::new() });

pub(super) fn settings() -> MutexGuard<'static, Settings> {
    SETTINGS.lock().unwrap_or_else(PoisonError::into_inner) // every change is one assignment
}

/// Sets how many children the fork server keeps ready, so that a start need not wait for a fork; 1 by default.
///
/// For the server that is started next: a running server does not change.
///
/// # Examples
/// See the example of [`set_forkserver_preload`].
pub fn set_forkserver_spares(spares: u32) {
    settings().spares = spares;
}

/// Makes the fork server run a task without arguments before it serves, so that its children inherit the results, such
/// as computed tables or files read. The task must leave no thread behind, because the server could not fork beside it.
///
/// For the server that is started next; more calls add more tasks. Should one panic, the server serves all the same.
///
/// Differs from Python, where these are names of modules to be imported.
///
/// # Errors
/// [`UnknownTask`](crate::ErrorKind::UnknownTask) as for
/// [`ProcessBuilder::start`](crate::multiprocessing::process::ProcessBuilder::start).
///
/// # Examples
/// ```standalone_crate
/// use std::sync::OnceLock;
/// use std::time::Duration;
/// use ossature::multiprocessing::{
///     Context, Process, Tasks, freeze_support, set_forkserver_preload, set_forkserver_spares, stop_forkserver, tasks,
/// };
///
/// static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
///
/// fn prepare() {
///     TABLE.get_or_init(|| (0..100).collect());
/// }
///
/// fn look_up(place: usize) -> u8 {
///     TABLE.get().map_or(255, |table| table[place]) // the child has the server's table
/// }
///
/// static TASKS: Tasks = tasks![prepare, look_up];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     set_forkserver_preload(prepare)?;
///     set_forkserver_spares(2);
///     let process = Process::builder().context(Context::Forkserver).start(look_up, (7,))?;
///     assert_eq!(process.join()?.code(), Some(7));
///     assert!(stop_forkserver(Duration::from_secs(60))?);
///     Ok(())
/// }
/// ```
pub fn set_forkserver_preload<F: Target<()>>(task: F) -> Result<()> {
    let task = registered(task, Form::Code)?;
    settings().preload.push(task.name);
    Ok(())
}
