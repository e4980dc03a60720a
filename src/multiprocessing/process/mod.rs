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
//! | avoid shared state | the same: a child has its own copy of a closure; to share state, use [`sync`](super::sync) and [`sharedctypes`](super::sharedctypes), or send it over a [`pipe`](super::pipe()) |
//! | join the processes that were started | a child without a join is a zombie until the next start, [`active_children`] or the end; a poll can watch its [sentinel](Process) beside other objects |
//! | avoid terminating processes | [`terminate`](Process::terminate) is for a process that does not respond; a lock that a killed process held reports this to its next holder |
//! | pass resources explicitly | [`fork_with`](Process::fork_with) gives the child the named ends, and no others; other starts take [arguments](ProcessBuilder::start) |
//! | beware of `sys.stdin` | a child's standard input is `/dev/null`; a forked child also has the bytes that std's `Stdin` had read ahead in the parent |
//! | guard the main module | [`freeze_support`](super::freeze_support) is the first line of `main` |

// For those who change this module: its files. `state` has the rest: the handle of a started process, what belongs to
// one process, and the configuration of a child.
//
// | file | idea |
// | --- | --- |
// | `builder`, `surroundings` | a process before its start, and its options |
// | `start` | a function with its arguments, in any way |
// | `value` | a process that is joined for a value |
// | `current`, `parent` | this process, and the one that started it |
// | `orphans` | a process above the program that reaps orphans |

// First, so that the page of `Process` begins with `spawn`.
mod start;

mod builder;
mod current;
mod orphans;
mod parent;
mod surroundings;
mod value;

use crate::error::{Error, ErrorKind, Result};

#[doc(inline)]
pub use crate::multiprocessing::state::{Ends, Kept, PanicReport, Process, Termination, active_children};
#[doc(inline)]
pub use builder::ProcessBuilder;
#[doc(inline)]
pub use current::{CurrentProcess, current_process};
#[doc(inline)]
pub use orphans::reap_orphans;
#[doc(inline)]
pub use parent::{ParentProcess, parent_process};
#[doc(inline)]
pub use value::ProcessValue;

pub(crate) use crate::multiprocessing::state::unreported;

/// Returns the number of processors of the system, usable by this process or not. musl counts only the usable ones, for
/// Python too.
///
/// # Errors
/// [`ErrorKind::Unsupported`] if the system does not report it (Python's `NotImplementedError`).
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

/// Returns the number of processors on which the calling thread may run, which is the most useful number of workers.
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
