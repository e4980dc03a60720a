//! The error of a start that failed because a system limit was reached: names the limit and the remedy. (The errors
//! about descriptors are [`Error`]'s own.)

use ossature_sys::errno::Errno;

use crate::error::Error;

/// The error with this errno; `what` names the object that could not be made.
pub(super) fn error(what: &str, errno: Errno) -> Error {
    Error::os(errno, format!("{what}{}", hint(errno)))
}

/// Returns [`error`] as a closure, for `map_err`.
pub(super) fn of(what: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| error(what, errno)
}

/// The limit behind an errno and the remedy, in parentheses.
fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::AGAIN => {
            " (too many processes and threads: for the user RLIMIT_NPROC, `ulimit -u`; for the cgroup pids.max; for the \
             system kernel.pid_max and kernel.threads-max: end some, or raise the limit)"
        }
        Errno::NOMEM => {
            " (no memory: see RLIMIT_AS, the cgroup's memory.max and vm.overcommit_memory; or the first process of this pid \
             namespace has ended)"
        }
        _ => "",
    }
}
