//! The table of tasks: for each function its name, the key of its type, and the opener of its calls.

use std::any::TypeId;
use std::fmt;

use super::{Body, Calls, Form, Target, nameable};
use crate::error::Result;
use crate::multiprocessing::transfer::Packed;

/// The table of the functions with which other processes of this program can start; made by [`tasks!`](crate::tasks).
#[derive(Clone, Copy)]
pub struct Tasks(&'static [Task]);

/// One line of the table.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Task {
    name: &'static str,
    key: fn() -> TypeId,
    open: fn(Packed, Form) -> Result<Body>,
    run: fn(&mut Calls<'_>),
}

/// The table of tasks of a program: `tasks![square, math::add, serve::<Counter>]`.
///
/// Each is the path of a plain function of up to twelve arguments that can [go to another
/// process](crate::multiprocessing::transfer::Transfer). The function returns what a process may [end
/// with](crate::multiprocessing::Termination), a value, or a `Result` of a value. The name of the task is the path of
/// the module and then the path as written. So two functions `square` of different modules are two tasks. The table
/// is a constant, made for a `static`.
///
/// What cannot be a task does not compile: a closure,
/// ```compile_fail
/// use ossature::multiprocessing::{Tasks, tasks};
/// static TASKS: Tasks = tasks![|x: u32| println!("{x}")];
/// ```
/// the name of a closure that captures,
/// ```compile_fail,E0277
/// use ossature::multiprocessing::{Tasks, tasks};
/// fn main() {
///     let n = 5;
///     let adds = |x: u32| drop(x + n);
///     let tasks: Tasks = tasks![adds];
/// }
/// ```
/// a pointer to a function,
/// ```compile_fail,E0080
/// use ossature::multiprocessing::{Tasks, tasks};
/// fn square(x: i32) { println!("{}", x * x) }
/// const POINTER: fn(i32) = square;
/// static TASKS: Tasks = tasks![POINTER];
/// fn main() { ossature::multiprocessing::freeze_support(TASKS) }
/// ```
/// an argument that cannot be passed on,
/// ```compile_fail,E0277
/// use ossature::multiprocessing::{Tasks, tasks};
/// fn hold(lock: std::sync::MutexGuard<'static, u8>) {}
/// static TASKS: Tasks = tasks![hold];
/// ```
/// and two tasks under one name:
/// ```compile_fail,E0080
/// use ossature::multiprocessing::{Tasks, tasks};
/// fn square(x: i32) { println!("{}", x * x) }
/// static TASKS: Tasks = tasks![square, square];
/// ```
/// With the mistakes mended it does:
/// ```
/// use ossature::multiprocessing::{Tasks, tasks};
/// fn square(x: i32) { println!("{}", x * x) }
/// fn show<T: std::fmt::Debug>(x: T) { println!("{x:?}") }
/// static TASKS: Tasks = tasks![square, show::<u8>, show::<String>];
/// ossature::multiprocessing::freeze_support(TASKS);
/// assert!(TASKS.names().any(|name| name.ends_with("::square")));
/// ```
#[macro_export]
macro_rules! tasks {
    // A closure behind any number of paths. The keyword `move` counts as the last path, because a path cannot begin
    // with it.
    ($($task:ident $(:: $part:ident)* $(::< $($type:ty),* >)?),* $(,)? | $($rest:tt)*) => {
        $crate::tasks!(@closure)
    };
    ($($task:ident $(:: $part:ident)* $(::< $($type:ty),* >)?),* $(,)? || $($rest:tt)*) => {
        $crate::tasks!(@closure)
    };
    (@closure) => {
        ::core::compile_error!(
            "a closure cannot stand in `tasks![..]`, because another process finds a task by its name; give it a name: a plain \
             `fn`, which takes as arguments what the closure would capture"
        )
    };
    ($($task:path),* $(,)?) => {
        $crate::multiprocessing::Tasks::new(const { &[$(
            $crate::multiprocessing::tasks::Task::new(
                ::core::concat!(::core::module_path!(), "::", ::core::stringify!($task)),
                || $crate::multiprocessing::tasks::key($task),
                |arguments, form| {
                    // For the methods of the form that the return type has, and otherwise of a reference.
                    use $crate::multiprocessing::tasks::{OpensCode, OpensResult, OpensValue};
                    let opener = $crate::multiprocessing::tasks::opener($task);
                    match form {
                        $crate::multiprocessing::tasks::Form::Code => (&opener).open_code(arguments),
                        $crate::multiprocessing::tasks::Form::Result => (&opener).open_result(arguments),
                        _ => (&opener).open_value(arguments),
                    }
                },
                |calls| {
                    use $crate::multiprocessing::tasks::{RunsPlain, RunsResult, RunsValue};
                    let opener = $crate::multiprocessing::tasks::opener($task);
                    match calls.form() {
                        $crate::multiprocessing::tasks::Form::Result => (&opener).run_result(calls),
                        $crate::multiprocessing::tasks::Form::Plain => (&opener).run_plain(calls),
                        _ => (&opener).run_value(calls),
                    }
                },
            ),
        )*] })
    };
}

impl Tasks {
    /// Makes the table; called by [`tasks!`](crate::tasks).
    #[doc(hidden)]
    pub const fn new(tasks: &'static [Task]) -> Self {
        let mut rest = tasks;
        while let [first, others @ ..] = rest {
            let mut others_left = others;
            while let [other, left @ ..] = others_left {
                assert!(!same(first.name, other.name), "two tasks have the same name: list each function only once");
                others_left = left;
            }
            rest = others;
        }
        Self(tasks)
    }

    /// The names of the tasks, in the order of the table.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.0.iter().map(|task| task.name)
    }

    pub(super) fn tasks(&self) -> &'static [Task] {
        self.0
    }
}

/// Returns whether two names are equal; `==` does not work in constants.
const fn same(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let ([x, a_left @ ..], [y, b_left @ ..]) = (a, b) {
        if *x != *y {
            return false;
        }
        (a, b) = (a_left, b_left);
    }
    a.is_empty() && b.is_empty()
}

impl Task {
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        key: fn() -> TypeId,
        open: fn(Packed, Form) -> Result<Body>,
        run: fn(&mut Calls<'_>),
    ) -> Self {
        Self { name, key, open, run }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn key(&self) -> TypeId {
        (self.key)()
    }

    /// Unpacks the arguments of a call whose result is sent in this form.
    pub(crate) fn open(&self, arguments: Packed, form: Form) -> Result<Body> {
        (self.open)(arguments, form)
    }

    /// Runs the calls of a chunk, and gives each outcome to the chunk's outlet.
    pub(crate) fn run(&self, calls: &mut Calls<'_>) {
        (self.run)(calls);
    }
}

/// Returns the key that identifies a function within one process: each function has a type of its own.
#[doc(hidden)]
pub fn key<F: Target<Args>, Args>(_task: F) -> TypeId {
    nameable::<F>();
    TypeId::of::<F>()
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
