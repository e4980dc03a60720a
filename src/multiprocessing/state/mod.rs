//! What belongs to one process: its state, the handles of its children, and what a child gets from its parent.
//!
//! The modules above start processes, end them, and list connections. All of them read the state, so the state imports
//! none of them.

// | file | idea |
// | --- | --- |
// | `process_state` | what belongs to one process: a forked child makes a new one |
// | `handle` | a process after its start, for its parent; the handles that a process has |
// | `child` | the objects by which a parent refers to a child |
// | `leaving` | children without a handle |
// | `parent` | the process that started this one |
// | `child_config`, `surroundings`, `unapplied` | the configuration of a child, and an option that it could not take |
// | `ends`, `descriptors`, `listed` | the ends that a forked child keeps or closes |
// | `finalizers`, `callbacks`, `temp_dir` | the actions of a process at its end and after a fork; its directory |
// | `termination`, `panic_report`, `panic` | the results of the work of a process, and its failures |
// | `thread_name`, `log_setup` | the name of the process that a thread acts as; how a process logs |

mod callbacks;
mod child;
pub(crate) mod child_config;
mod descriptors;
pub(crate) mod ends;
mod finalizers;
mod handle;
pub(crate) mod leaving;
mod listed;
pub(crate) mod log_setup;
pub(crate) mod panic;
mod panic_report;
mod parent;
mod process_state;
pub(crate) mod surroundings;
mod temp_dir;
mod termination;
mod thread_name;
pub(crate) mod unapplied;

pub(crate) use callbacks::Callback;
pub(crate) use child::{ChildHandle, Started};
pub(crate) use child_config::ChildConfig;
pub use ends::{Ends, Kept};
pub(crate) use finalizers::Entry;
pub(crate) use handle::Identity;
pub use handle::Process;
pub(crate) use listed::Listed;
pub(crate) use panic::unreported;
pub use panic_report::PanicReport;
pub(crate) use parent::Parent;
pub use process_state::active_children;
pub(crate) use process_state::{OwnState, ProcessState, pid, process_state};
pub(crate) use temp_dir::{Hold, TempDir};
pub use termination::Termination;
pub(crate) use thread_name::{process_name_of_thread, set_process_name_of_thread};
