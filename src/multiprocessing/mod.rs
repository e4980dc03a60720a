//! Processes that run functions, and what they share and send: values, locks, pipes, listeners. Python's
//! `multiprocessing`, under its names.
//!
//! | purpose | here | Python |
//! | --- | --- | --- |
//! | start, wait for and end processes | [`Process`], [`process`] | `Process`, `active_children()`, ... |
//! | run tasks in worker processes | [`Pool`], [`pool`] | the same names |
//! | list the functions that new processes may run | [`tasks!`](crate::tasks!), [`freeze_support`] | `freeze_support()` |
//! | choose the start method | [`Context`], [`get_context`], [`set_start_method`] | the same names |
//! | share a number, a struct, an array | [`Value`], [`Array`]; without a lock [`RawValue`], [`RawArray`] | `Value(code, v)`, `lock=False` |
//! | share bytes and lists by name, with Python too | [`shared_memory`] | `shared_memory` |
//! | lock, count, wait | [`Lock`], [`RLock`], [`Condition`], [`Semaphore`], [`Event`], [`Barrier`]: [`sync`] | the same names |
//! | keep an object that another process gets, in a struct too | [`TryClone`], [`try_clone!`] | (objects are inherited or pickled) |
//! | queue values | [`Queue`], [`JoinableQueue`], [`SimpleQueue`]: [`queues`] | the same names |
//! | send values, open files and memory | [`pipe`], [`connection`]; what may be sent: [`transfer`] | `Pipe()`, `connection` |
//! | listen and connect, with a key | [`connection::Listener`], [`connection::connect`] | `Listener`, `Client` |
//! | serve objects to other processes and programs | [`Manager`], [`managed!`](crate::managed), [`managers`] | `Manager()`, `managers` |
//! | log what processes do | [`get_logger`], [`log_to_stderr`], [`logging`] | the same names |
//! | the same names over threads | [`dummy`] | `dummy` |
//! | finalizers, callbacks after a fork | [`util`] | `util` |
//! | Python's type codes, passing of handles | [`sharedctypes`], [`reduction`] | `sharedctypes`, `reduction` |
//! | leave a name to a Python program | [`resource_tracker`] | `resource_tracker` |
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
//! static TASKS: Tasks = tasks![fill]; // what a new process may run
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

mod authkey;
mod cloned;
pub mod connection;
mod context;
pub mod dummy;
mod freeze_support;
pub mod logging;
pub mod managers;
pub mod pool;
pub mod process;
pub mod queues;
pub mod reduction;
pub mod resource_tracker;
pub mod shared_memory;
pub mod sharedctypes;
mod start;
mod state;
pub mod sync;
pub mod tasks;
pub mod transfer;
pub mod util;

#[doc(inline)]
pub use crate::tasks;
#[doc(inline)]
pub use crate::{TryClone, managed, try_clone};
#[doc(inline)]
pub use connection::{pipe, pipe_one_way};
#[doc(inline)]
pub use context::{
    Context, force_start_method, get_all_start_methods, get_context, get_start_method, peek_start_method,
    set_executable, set_start_method, set_start_timeout,
};
#[doc(inline)]
pub use freeze_support::freeze_support;
#[doc(inline)]
pub use logging::{get_logger, log_to_stderr};
#[doc(inline)]
pub use managers::Manager;
#[doc(inline)]
pub use pool::Pool;
#[doc(inline)]
pub use process::{
    CurrentProcess, ParentProcess, Process, ProcessValue, Termination, active_children, cpu_count, current_process,
    parent_process, usable_cpus,
};
#[doc(inline)]
pub use queues::{JoinableQueue, Queue, SimpleQueue};
#[doc(inline)]
pub use sharedctypes::{Arena, Array, RawArray, RawValue, Value};
#[doc(inline)]
pub use start::forkserver::{set_forkserver_preload, set_forkserver_spares, stop_forkserver};
#[doc(inline)]
pub use sync::{Barrier, BoundedSemaphore, Condition, Event, HandoffLock, Lock, RLock, RwLock, Semaphore};
#[doc(inline)]
pub use tasks::{Target, Tasks, set_max_argument_depth};
