//! The tasks of this process. A process that starts a task finds it by the type of the function; a started process
//! finds it by name.

use std::any::{TypeId, type_name};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::thread;

use ossature_sys::{process, sched};

use super::{Form, Target, Task, Tasks, libtest, nameable};
use crate::error::{Error, ErrorKind, Result};

/// A function that both sides know.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    /// The name that is sent.
    pub(crate) name: &'static str,
    /// The way in which the program reaches `freeze_support` with the function's table.
    pub(crate) entrance: Entrance,
    /// The form in which the return value is sent.
    pub(crate) form: Form,
}

/// The way in which a program reaches `freeze_support`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entrance {
    /// The program calls it in its first thread.
    Main,
    /// The program calls it in another thread than the first one. That thread has this name.
    Beside(Arc<str>),
    /// The program runs this test: libtest names the thread of a test after it.
    Test(Arc<str>),
}

impl Entrance {
    /// Returns the entrance of the calling thread.
    fn here() -> Self {
        match thread::current().name() {
            _ if sched::thread_id() == process::id() => Self::Main,
            name => Self::Beside(name.unwrap_or("without a name").into()),
        }
    }

    /// Returns the same entrance, or a test of libtest if it is one. This reads the program's file, so only a start
    /// calls it.
    fn recognised(&self) -> Self {
        match self {
            Self::Beside(name) if libtest::is_linked() => Self::Test(name.clone()),
            other => other.clone(),
        }
    }
}

/// A table that was passed to `freeze_support`.
#[derive(Debug)]
struct Frozen {
    tasks: &'static [Task],
    entrance: Entrance,
}

/// The tables passed so far: few and short, so a linear search is as fast as any index.
static FROZEN: RwLock<Vec<Frozen>> = RwLock::new(Vec::new());

/// The tasks of this library, which are registered with a program's first table.
static LIBRARY: OnceLock<Tasks> = OnceLock::new();

/// Returns the tasks of this library, if a table was passed.
fn library() -> &'static [Task] {
    LIBRARY.get().map_or(&[], |tasks| tasks.tasks())
}

/// Registers a table, unless it is registered already, and the table of this library.
pub(crate) fn freeze(tasks: Tasks, library: Tasks) {
    let _ = LIBRARY.set(library); // the same one each time
    let mut frozen = FROZEN.write().unwrap_or_else(PoisonError::into_inner);
    if frozen.iter().any(|known| std::ptr::eq(known.tasks, tasks.tasks())) {
        return;
    }
    for task in tasks.tasks() {
        let mut others = frozen.iter().flat_map(|known| known.tasks);
        if others.any(|other| other.name() == task.name() && other.key() != task.key()) {
            drop(frozen);
            panic!("two tasks have the name {}: move one of the functions to another module", task.name());
        }
    }
    frozen.push(Frozen { tasks: tasks.tasks(), entrance: Entrance::here() });
}

/// Returns the tables, or the error that there are none.
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

/// The address of the first table, which is in the image of the program.
pub(crate) fn first_table() -> Option<usize> {
    let frozen = FROZEN.read().unwrap_or_else(PoisonError::into_inner);
    frozen.first().map(|first| first.tasks.as_ptr().addr())
}

/// Returns the name of a function and the way to it, if it is in a table.
///
/// # Errors
/// `UnknownTask` when the function is in no table, or no table was registered yet.
pub(crate) fn registered<F: Target<Args>, Args>(_task: F, form: Form) -> Result<Registered> {
    nameable::<F>();
    let (key, name) = (TypeId::of::<F>(), type_name::<F>());
    if name.ends_with("{{closure}}") {
        let place = name.trim_end_matches("::{{closure}}");
        return Err(Error::new(
            ErrorKind::UnknownTask,
            format!(
                "a closure in {place} cannot be started in another process, because it has no name: write a plain `fn`, and \
                 list it in the tasks![...] that are passed to freeze_support"
            ),
        ));
    }
    for table in tables()?.iter() {
        if let Some(task) = table.tasks.iter().find(|task| task.key() == key) {
            return Ok(Registered { name: task.name(), entrance: table.entrance.recognised(), form });
        }
    }
    Err(Error::new(
        ErrorKind::UnknownTask,
        format!("{name} is not a task: add it to the tasks![...] that are passed to freeze_support"),
    ))
}

/// Returns the name of a task of this library.
pub(crate) fn internal<F: Target<Args>, Args>(_task: F) -> &'static str {
    let key = TypeId::of::<F>();
    // The child refuses a task that is missing in the table, and names it so.
    library().iter().find(|task| task.key() == key).map_or(type_name::<F>(), Task::name)
}

/// Returns a task of this library, to be started like a task of the program.
///
/// # Errors
/// `UnknownTask` when no table was registered yet, because a new process would not reach `freeze_support`.
pub(crate) fn library_task<F: Target<Args>, Args>(task: F) -> Result<Registered> {
    let tables = tables()?;
    let entrance = tables.first().map_or(Entrance::Main, |first| first.entrance.recognised());
    Ok(Registered { name: internal(task), entrance, form: Form::Code })
}

/// Finds a task by its name, in the child.
pub(crate) fn look_up(name: &str) -> Option<Task> {
    let frozen = FROZEN.read().unwrap_or_else(PoisonError::into_inner);
    let mut known = frozen.iter().flat_map(|known| known.tasks).chain(library());
    known.find(|task| task.name() == name).copied()
}
