//! Tools for libraries at the beginning and the end of processes: finalizers, callbacks after a fork, and a temporary
//! directory for the process. Locks and values that are new in a child are here too. Python's `multiprocessing.util`.
//!
//! A process that started others ends normally by a return from `main`, by `std::process::exit`, or with a child's
//! work. Then the finalizers of priority 0 and above run. The daemons among its children get `SIGTERM`. After the
//! [grace](set_daemon_grace) of 5 s those that still run get `SIGKILL`; Python waits for them forever. The process
//! waits for all children, and at last the other finalizers run.

mod after_fork;
mod aware;
mod exit;
mod finalize;
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

pub(crate) use after_fork::run_after_fork;
pub(crate) use exit::{arm, exit_sequence};
pub(crate) use temp_dir::letters;
