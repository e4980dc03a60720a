//! Functions in other processes, and what these share and send: values, locks, pipes, listeners. Python's
//! `multiprocessing`, under its names.
//!
//! | Python | here |
//! | --- | --- |
//! | `Process`, `current_process()`, `active_children()`, ... | [`process`] |
//! | `freeze_support()`, the functions that children can run | [`freeze_support`], [`tasks!`](crate::tasks!) |
//! | `get_context()`, `set_start_method()`, ... | [`Context`], [`get_context`], [`set_start_method`] |
//! | `util` | [`util`] |
//! | `Value(code, v)`, `Array(code, size_or_items)` | [`Value`], [`Array`]: a lock and what it guards in shared memory |
//! | `RawValue`, `RawArray`, `lock=False` | [`RawValue`], [`RawArray`]: no lock |
//! | `Lock`, `RLock`, `Condition`, `Semaphore`, `BoundedSemaphore`, `Event`, `Barrier` | [`sync`] |
//! | `Pipe()`, `connection` | [`pipe`], [`connection`]: messages, with open files and shared memory in them |
//! | `reduction`, what may stand in a message or an argument | [`transfer`], [`reduction`] |
//! | `get_logger`, `log_to_stderr` | [`logging`] |
//! | `sharedctypes.copy`, `synchronized`, the type codes | [`sharedctypes`] |
//!
//! Shared values, and processes that change them:
//!
//! ```standalone_crate
//! use ossature::multiprocessing::{Array, Process, Tasks, Value, freeze_support, tasks};
//!
//! fn fill(number: Value<f64>, squares: Array<i64>) -> ossature::Result<()> {
//!     number.set(3.1415927)?;
//!     squares.with(|all| all.iter_mut().for_each(|x| *x *= *x))
//! }
//!
//! static TASKS: Tasks = tasks![fill]; // what a new process may be told to run
//!
//! fn main() -> ossature::Result<()> {
//!     freeze_support(TASKS); // runs the task, if this process was started for one
//!     let number = Value::new(0.0)?;
//!     let squares = Array::from_slice(&[0, 1, 2, 3])?;
//!     let process = Process::spawn(fill, (number.try_clone()?, squares.try_clone()?))?;
//!     process.join()?;
//!     assert_eq!(process.exit_code(), Some(0));
//!     assert_eq!((number.get()?, squares.to_vec()?), (3.1415927, vec![0, 1, 4, 9]));
//!     Ok(())
//! }
//! ```
//!
//! What may be an argument, and what a closure may not do: see [`mod@tasks`].

pub mod connection;
mod context;
pub mod logging;
pub mod process;
pub mod reduction;
pub mod sharedctypes;
mod start;
pub mod sync;
pub mod tasks;
pub mod transfer;
pub mod util;

#[doc(inline)]
pub use crate::tasks;
#[doc(inline)]
pub use connection::{pipe, pipe_one_way};
#[doc(inline)]
pub use context::{
    Context, force_start_method, get_all_start_methods, get_context, get_start_method, peek_start_method,
    set_executable, set_start_method, set_start_timeout,
};
#[doc(inline)]
pub use logging::{get_logger, log_to_stderr};
#[doc(inline)]
pub use process::{
    CurrentProcess, ParentProcess, Process, Termination, active_children, cpu_count, current_process, parent_process,
    usable_cpus,
};
#[doc(inline)]
pub use sharedctypes::{Array, RawArray, RawValue, Value};
#[doc(inline)]
pub use start::forkserver::{set_forkserver_preload, set_forkserver_spares, stop_forkserver};
#[doc(inline)]
pub use sync::{Barrier, BoundedSemaphore, Condition, Event, HandoffLock, Lock, RLock, Semaphore};
#[doc(inline)]
pub use tasks::{Target, Tasks, freeze_support, set_max_argument_depth};
