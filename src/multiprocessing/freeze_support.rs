//! The function that must run first in a program that starts processes.

use super::start::{self, forkserver};
use super::tasks::{Tasks, freeze};
use super::{managers, pool};

/// The tasks of this library, which every program has.
static LIBRARY: Tasks = crate::tasks![forkserver::serve, pool::supervise, pool::work, managers::serve::<()>];

/// In a process that was started to run a task: runs the task and does not return. In any other: registers the table.
///
/// Call it in the first line of `main` and, in a test that starts processes, of the test: any code before it runs in
/// every child too. Calling it again with the same table does nothing. A second table is added to the first, but
/// children know only the first.
///
/// A `main` that does all its work in a thread with a bigger stack calls this in that thread or before it. Called in
/// the thread it serves [`Context::Spawn`](crate::multiprocessing::Context::Spawn); a fork server needs it before.
///
/// In a test file, call it in the first line of each test that starts a process. The table belongs to the process, and
/// `cargo test` runs all tests of a file in one process. A test without the call passes beside a test with the call,
/// and fails alone or under nextest.
///
/// Differs from Python, where only frozen programs need it: every Rust program is a frozen one. There, the main module
/// is guarded by `if __name__ == '__main__'` instead.
///
/// A started process runs the task that its parent sends. The process ends if its socket does not come from its parent,
/// or comes from another user. The error of the start gives the reason.
///
/// Any user may start a program with rights by its file (set-user-ID, set-group-ID, capabilities). So a process of such
/// a program also requests a proof from its parent: the parent must copy a socket of the process. The kernel allows
/// that only to a process that may trace the other (`pidfd_getfd`, by the rules of ptrace(2)). A program with file
/// capabilities passes, and so does a set-user-ID root program. These programs do not pass, and start processes by
/// [`Context::Fork`](crate::multiprocessing::Context::Fork):
/// * a program that is set-group-ID, or set-user-ID of another user than root;
/// * a program that calls `freeze_support` while a second thread runs;
/// * a program in a sandbox without that call.
///
/// # Panics
/// When another table has a task of the same name for another function.
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::{Process, Tasks, freeze_support, tasks};
///
/// fn greet(name: String) {
///     println!("hello, {name}");
/// }
///
/// static TASKS: Tasks = tasks![greet];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     Process::spawn(greet, ("bob".to_owned(),))?.join()?;
///     Ok(())
/// }
/// ```
#[doc(alias = "main")]
pub fn freeze_support(tasks: Tasks) {
    freeze(tasks, LIBRARY);
    start::run_task_if_child();
}
