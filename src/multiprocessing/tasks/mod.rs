//! The tasks with which processes start: a plain function and its arguments. Both sides find the function by its name
//! in the program's table of tasks.
//!
//! A program that was just executed knows nothing of its parent's closures and addresses. So the parent sends a *name*,
//! and the child looks it up in the same [table](crate::tasks!). The child hands the table to [`freeze_support`] as the
//! first thing it does.
//!
//! ```
//! use ossature::multiprocessing::{self, Tasks, tasks};
//!
//! fn greet(name: String) {
//!     println!("hello, {name}");
//! }
//!
//! static TASKS: Tasks = tasks![greet];
//!
//! // The first line of main: a process that was started to run a task does so here, and never returns.
//! multiprocessing::freeze_support(TASKS);
//! assert_eq!(TASKS.names().count(), 1);
//! ```
//!
//! A closure has no name that another process knows. Stable Rust distinguishes a closure from a function late:
//! * A closure that borrows is refused when borrows are checked (`cargo check`). The message suggests `move`, which
//!   does not help.
//! * A closure that captures by value, and a pointer to a function, are refused when code is generated (`cargo build`).
//! * A closure that captures nothing is refused when it is started: [`UnknownTask`](crate::ErrorKind::UnknownTask).
//!
//! The remedy is always the same: a plain `fn`, with its name in the table and what it needs as arguments.
//!
//! [`freeze_support`]: super::freeze_support

mod answer;
mod arguments;
mod build;
mod calls;
mod depth;
mod form;
mod libtest;
mod registry;
mod table;

use std::mem::size_of;

pub(crate) use answer::{Answer, answer_result, answer_value};
#[doc(inline)]
pub use arguments::Arguments;
pub(crate) use build::{BuildId, IMAGE};
#[doc(hidden)]
pub use calls::{Calls, RunsPlain, RunsResult, RunsValue};
pub(crate) use calls::{Ended, Items, Outlet, Sink};
pub(crate) use depth::max_argument_depth;
#[doc(inline)]
pub use depth::set_max_argument_depth;
#[doc(inline)]
pub use form::{Body, Form, Opener, OpensCode, OpensResult, OpensValue, opener};
pub(crate) use registry::{Entrance, Registered, first_table, freeze, internal, library_task, look_up, registered};
#[doc(inline)]
pub use table::{Task, Tasks, key};

/// A plain function that can be started with the arguments `Args`, a tuple of up to twelve.
///
/// Every function that takes such arguments and returns is a target; no program implements this trait by hand. The
/// arguments go to another process as [serde] values. So a function that borrows (`&str`) is not a target: let it own
/// (`String`).
///
/// # Examples
/// ```
/// use ossature::multiprocessing::Target;
///
/// fn run<F: Target<A>, A>(f: F, args: A) -> F::Output {
///     f.call(args)
/// }
/// fn power(base: u64, exponent: u32) -> u64 {
///     base.pow(exponent)
/// }
/// assert_eq!(run(power, (2, 10)), 1024);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that can be started with the arguments `{Args}`",
    note = "pass the arguments as a tuple of up to twelve, `(x,)` for one, of the types that the function takes; the function \
            takes them by value and captures nothing"
)]
pub trait Target<Args>: Copy + Send + Sync + 'static {
    /// The function's return type.
    type Output;

    /// Calls the function directly.
    fn call(self, args: Args) -> Self::Output;
}

macro_rules! targets {
    ($(($($Arg:ident $arg:ident)*))*) => {$(
        impl<F, R, $($Arg,)*> Target<($($Arg,)*)> for F
        where
            F: Fn($($Arg),*) -> R + Copy + Send + Sync + 'static,
        {
            type Output = R;

            fn call(self, ($($arg,)*): ($($Arg,)*)) -> R {
                self($($arg),*)
            }
        }
    )*};
}

targets! {
    ()
    (A a)
    (A a B b)
    (A a B b C c)
    (A a B b C c D d)
    (A a B b C c D d E e)
    (A a B b C c D d E e G g)
    (A a B b C c D d E e G g H h)
    (A a B b C c D d E e G g H h I i)
    (A a B b C c D d E e G g H h I i J j)
    (A a B b C c D d E e G g H h I i J j K k)
    (A a B b C c D d E e G g H h I i J j K k L l)
    (A a B b C c D d E e G g H h I i J j K k L l M m)
}

/// Refuses at compile time a callable that a name cannot represent: any callable with state.
pub(crate) const fn nameable<F>() {
    const {
        assert!(
            size_of::<F>() == 0,
            "a closure that captures cannot be started in another process, and neither can a pointer to a function: write a \
             plain `fn`, list it in `tasks![..]`, and pass as arguments what it needs"
        );
    }
}
