//! What a library of processes needs at the edges of their lives: finalizers, callbacks after a fork, a directory that goes with the
//! process, locks and values that a child has anew. Python's `multiprocessing.util`.
//!
//! At the normal end of a process that started others (a return from `main`, `std::process::exit`, the end of a child's
//! work), in this order: finalizers of priority 0 and above, `SIGTERM` to the daemons among its children and, 5 s
//! [or so](set_daemon_grace) later, `SIGKILL` to those that did not listen (Python waits for them for ever), the wait for all
//! children, the other finalizers.

mod after_fork;
mod aware;
mod exit;
mod finalize;
pub(crate) mod listed;
mod temp_dir;

#[doc(inline)]
pub use after_fork::register_after_fork;
#[doc(inline)]
pub use aware::{ForkAwareLocal, ForkAwareLock};
#[doc(inline)]
pub use exit::{is_exiting, set_daemon_grace};
#[doc(inline)]
pub use finalize::Finalize;
#[doc(inline)]
pub use temp_dir::temp_dir;

pub(crate) use after_fork::{Callbacks, run_after_fork};
pub(crate) use exit::{arm, exit_sequence};
pub(crate) use finalize::Finalizers;
pub(crate) use listed::Listed;
pub(crate) use temp_dir::{TempDir, letters};
