//! The tasks that this process knows: by the type of the function when it starts one, by the name when it was started.

use std::any::{TypeId, type_name};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread;

use ossature_sys::{process, sched};

use super::{Form, Target, Task, Tasks, libtest, nameable};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::managers;
use crate::multiprocessing::pool;
use crate::multiprocessing::start::{self, forkserver};

/// A function that is known on both sides.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    /// What goes over the wire.
    pub(crate) name: &'static str,
    /// The way into the program that leads to its table.
    pub(crate) entrance: Entrance,
    /// What becomes of the return value.
    pub(crate) form: Form,
}

/// What the program does that leads to `freeze_support`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entrance {
    /// It begins.
    Main,
    /// The process begins, and calls `freeze_support` in another thread than the first one. That thread has this name.
    Beside(Arc<str>),
    /// It runs this test: libtest names the thread of a test by its path.
    Test(Arc<str>),
}

impl Entrance {
    /// The one that led here.
    fn here() -> Self {
        match thread::current().name() {
            _ if sched::thread_id() == process::id() => Self::Main,
            name => Self::Beside(name.unwrap_or("without a name").into()),
        }
    }

    /// The same state, but a test of libtest is recognised. This reads the program's file, so only a start asks for it.
    fn told(&self) -> Self {
        match self {
            Self::Beside(name) if libtest::is_linked() => Self::Test(name.clone()),
            other => other.clone(),
        }
    }
}

/// A table that was given to `freeze_support`.
#[derive(Debug)]
struct Frozen {
    tasks: &'static [Task],
    entrance: Entrance,
}

/// The tables given so far: few and short, so a walk over them is as fast as any index.
static FROZEN: RwLock<Vec<Frozen>> = RwLock::new(Vec::new());

/// The tasks of this library, known to every program.
static INTERNAL: Tasks = crate::tasks![forkserver::serve, pool::supervise, pool::work, managers::serve::<()>];

/// In a process that was started to run a task: runs the task and does not return. In any other: registers the table.
///
/// The first line of `main`, and in a test that starts processes, of the test: whatever stands above runs in every
/// child too. Calling it again with the same table does nothing; a second table is added to the first, but children
/// know the first only.
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
/// A started process does what its parent says. The process ends if its socket does not come from its parent, or comes
/// from another user. The error of the start gives the reason.
///
/// Anybody may start a program with rights by its file (set-user-ID, set-group-ID, capabilities). So a process of such
/// a program also asks its parent for a proof: the parent must take a socket out of the process. The kernel allows that
/// only to a process that may trace the other (`pidfd_getfd`, by the rules of ptrace(2)). A program with file
/// capabilities passes, and so does a set-user-ID root program. These programs do not pass, and start processes by
/// [`Context::Fork`](crate::multiprocessing::Context::Fork):
/// * a program that is set-group-ID, or set-user-ID of another user than root;
/// * a program that calls `freeze_support` beside a second thread;
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
    freeze(tasks);
    start::run_task_if_child();
}

/// Notes a table, unless it is known.
fn freeze(tasks: Tasks) {
    let mut frozen = FROZEN.write().unwrap_or_else(PoisonError::into_inner);
    if frozen.iter().any(|known| std::ptr::eq(known.tasks, tasks.tasks())) {
        return;
    }
    for task in tasks.tasks() {
        let mut others = frozen.iter().flat_map(|known| known.tasks);
        if others.any(|other| other.name() == task.name() && other.key() != task.key()) {
            drop(frozen);
            panic!("two tasks have the name {}: put one of the functions into a module of its own", task.name());
        }
    }
    frozen.push(Frozen { tasks: tasks.tasks(), entrance: Entrance::here() });
}

/// The tables, or why there are none.
fn tables() -> Result<RwLockReadGuard<'static, Vec<Frozen>>> {
    let frozen = FROZEN.read().unwrap_or_else(PoisonError::into_inner);
    if frozen.is_empty() {
        return Err(Error::new(
            ErrorKind::UnknownTask,
            "no process can be started yet: call freeze_support(TASKS) as the first line of main, or of the test; a process \
             started above it would start itself again for ever",
        ));
    }
    Ok(frozen)
}

/// The address of the first table, which lies in the image of the program.
pub(crate) fn first_table() -> Option<usize> {
    let frozen = FROZEN.read().unwrap_or_else(PoisonError::into_inner);
    frozen.first().map(|first| first.tasks.as_ptr().addr())
}

/// The name of a function and the way to it, if it stands in a table.
///
/// # Errors
/// `UnknownTask` when it stands in none, or none was given yet.
pub(crate) fn registered<F: Target<Args>, Args>(_task: F, form: Form) -> Result<Registered> {
    nameable::<F>();
    let (key, name) = (TypeId::of::<F>(), type_name::<F>());
    if name.ends_with("{{closure}}") {
        let place = name.trim_end_matches("::{{closure}}");
        return Err(Error::new(
            ErrorKind::UnknownTask,
            format!(
                "a closure in {place} cannot be started in another process, because it has no name: write a plain `fn`, and \
                 list it in the tasks![...] that are given to freeze_support"
            ),
        ));
    }
    for table in tables()?.iter() {
        if let Some(task) = table.tasks.iter().find(|task| task.key() == key) {
            return Ok(Registered { name: task.name(), entrance: table.entrance.told(), form });
        }
    }
    Err(Error::new(
        ErrorKind::UnknownTask,
        format!("{name} is not a task: add it to the tasks![...] that are given to freeze_support"),
    ))
}

/// The name of a task of this library.
pub(crate) fn internal<F: Target<Args>, Args>(_task: F) -> &'static str {
    let key = TypeId::of::<F>();
    // One that is missing there is refused by the child, by this name.
    INTERNAL.tasks().iter().find(|task| task.key() == key).map_or(type_name::<F>(), Task::name)
}

/// A task of this library, to be started like a task of the program.
///
/// # Errors
/// `UnknownTask` when no table was given yet, because a new process would not come to `freeze_support`.
pub(crate) fn library_task<F: Target<Args>, Args>(task: F) -> Result<Registered> {
    let tables = tables()?;
    let entrance = tables.first().map_or(Entrance::Main, |first| first.entrance.told());
    Ok(Registered { name: internal(task), entrance, form: Form::Code })
}

/// The task of a name, in the child.
pub(crate) fn look_up(name: &str) -> Option<Task> {
    let frozen = FROZEN.read().unwrap_or_else(PoisonError::into_inner);
    let mut known = frozen.iter().flat_map(|known| known.tasks).chain(INTERNAL.tasks());
    known.find(|task| task.name() == name).copied()
}
