//! Processes with names, handles and an orderly end: Python's `multiprocessing.Process`.
//!
//! ```standalone_crate
//! use ossature::multiprocessing::{Process, Tasks, active_children, current_process, freeze_support, tasks};
//!
//! fn count(words: String) -> u8 {
//!     println!("this is {}", current_process().name());
//!     words.split(' ').count() as u8
//! }
//!
//! static TASKS: Tasks = tasks![count];
//!
//! fn main() -> ossature::Result<()> {
//!     freeze_support(TASKS); // first in main
//!     let process = Process::builder().name("clerk").start(count, ("seven and eight".to_owned(),))?;
//!     process.join()?;
//!     assert_eq!(process.exit_code(), Some(3));
//!     assert!(active_children().is_empty());
//!     Ok(())
//! }
//! ```
//!
//! A program with a single thread can [fork](Process::fork_with) instead; the child has what its parent had made:
//!
//! ```standalone_crate
//! use ossature::multiprocessing::{Process, pipe};
//!
//! # fn main() -> ossature::Result<()> {
//! let (ours, theirs) = pipe()?;
//! let process = Process::fork_with(theirs, |theirs| theirs.send(&"born"))?;
//! assert_eq!(ours.recv::<String>()?, "born");
//! process.join()?;
//! # Ok(()) }
//! ```
//!
//! | Python's guidelines | here |
//! | --- | --- |
//! | avoid shared state | the same: what a child has of a closure is its own; what shall be shared is in [`sync`](super::sync) and [`sharedctypes`](super::sharedctypes), or travels by a [`pipe`](super::pipe()) |
//! | join the processes that were started | a child that nobody joins is a zombie until the next start, [`active_children`] or the end; its [sentinel](Process) can stand in a poll beside everything else |
//! | avoid terminating processes | [`terminate`](Process::terminate) is for what does not listen; what a killed process held tells its next holder |
//! | pass resources explicitly | [`fork_with`](Process::fork_with) gives the child the named ends, and no others; other starts take [arguments](ProcessBuilder::start) |
//! | beware of `sys.stdin` | a child's standard input is `/dev/null`; what std's `Stdin` had read ahead in the parent a forked child has too |
//! | guard the main module | [`freeze_support`](super::freeze_support) is the first line of `main` |

// For those who change this module: its files.
//
// | file | idea |
// | --- | --- |
// | `builder` | a process before its start |
// | `handle` | a process after its start, for its parent |
// | `current`, `parent` | this process, and the one that started it |
// | `ends` | the ends that a forked child keeps or closes |
// | `state` | what belongs to one process: a forked child begins anew |
// | `child_config`, `bootstrap` | the configuration of a child, and all that a child does |
// | `orphans` | a process above the program that reaps orphans |
// | `parent_death` | how a daemon ends with its parent |
// | `surroundings` | environment, directory, limits, user and signal mask of a child |
// | `start` | a function with its arguments, in any way |
// | `termination`, `panic` | what its work answers with, and how that may fail |

// First, so that the page of `Process` begins with `spawn`.
mod start;

pub(crate) mod bootstrap;
mod builder;
pub(crate) mod child_config;
mod current;
pub(crate) mod ends;
mod handle;
mod orphans;
pub(crate) mod panic;
mod parent;
pub(crate) mod parent_death;
pub(crate) mod state;
pub(crate) mod surroundings;
mod termination;
pub(crate) mod unsettled;
mod value;

use std::borrow::Cow;

use ossature_sys::process::ExitStatus;
use ossature_sys::signal::{name, numbered};

use crate::error::{Error, ErrorKind, Result};
use state::process_state;

#[doc(inline)]
pub use builder::ProcessBuilder;
pub(crate) use current::set_process_name_of_thread;
#[doc(inline)]
pub use current::{CurrentProcess, current_process};
#[doc(inline)]
pub use ends::{Ends, Kept};
#[doc(inline)]
pub use handle::Process;
#[doc(inline)]
pub use orphans::reap_orphans;
#[doc(inline)]
pub use panic::PanicReport;
#[doc(inline)]
pub use parent::{ParentProcess, parent_process};
#[doc(inline)]
pub use termination::Termination;
#[doc(inline)]
pub use value::ProcessValue;

pub(crate) use handle::Identity;
pub(crate) use panic::unreported;
pub(crate) use value::{answer_result, answer_value};

/// The children of this process that have not ended, in the order of their starts. Reaps those that have.
///
/// A forked child begins with none.
pub fn active_children() -> Vec<Process> {
    let state = process_state();
    state.reap();
    state.living()
}

/// How many processors the system has, usable by this process or not. musl counts the usable ones only, for Python too.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where the system does not tell (Python's `NotImplementedError`).
///
/// # Examples
/// ```
/// use ossature::multiprocessing::{cpu_count, usable_cpus};
///
/// let workers = usable_cpus()?;
/// assert!(workers >= 1 && cpu_count()? >= 1);
/// # Ok::<(), ossature::Error>(())
/// ```
pub fn cpu_count() -> Result<usize> {
    ossature_sys::sched::online_cpus()
        .ok_or_else(|| Error::new(ErrorKind::Unsupported, "cannot determine number of cpus"))
}

/// How many processors the calling thread may run on: as many workers as that make sense.
///
/// # Errors
/// `EINVAL` where the kernel counts more processors than a [`CpuSet`](ossature_sys::sched::CpuSet) holds.
///
/// # Examples
/// See the example of [`cpu_count`].
#[doc(alias = "sched_getaffinity")]
#[doc(alias = "process_cpu_count")]
pub fn usable_cpus() -> Result<usize> {
    Ok(ossature_sys::sched::affinity(None)?.len())
}

/// An exit as Python prints it: 0, 3, -SIGTERM.
fn exit_name(exit: ExitStatus) -> Cow<'static, str> {
    match exit {
        ExitStatus::Code(code) => code.to_string().into(),
        ExitStatus::Signal { signal, .. } => match numbered(signal) {
            Some(signal) => format!("-{}", name(signal)).into(),
            None => format!("-{signal}").into(),
        },
        ExitStatus::Unknown => "unknown".into(),
    }
}
