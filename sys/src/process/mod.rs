//! Processes: a fork with a safety check, programs started by a plan, and children as descriptors. A wait for a child
//! has a deadline, and never confuses the child with another process that got the same number.
//!
//! [`fork`] takes a closure and returns a [`Child`]. The closure may borrow, because the child has its own copy of the
//! stack and never returns into it. It is a safe function because it refuses whenever it would not be safe. It refuses
//! beside a second thread, and while the thread holds a lock in shared memory.
//!
//! ```standalone_crate
//! use core::time::Duration;
//! use ossature_sys::process::{self, ExitStatus};
//!
//! let word = [b'o', b's'];
//! let mut child = process::fork(|| word.len() as u8).unwrap();
//! assert_eq!(child.wait_timeout(Duration::from_secs(10)).unwrap(), Some(ExitStatus::Code(2)));
//! ```
//!
//! [`Plan`] starts another program. The plan is in the caller's memory and describes the child: its descriptors,
//! limits, group, cgroup and so on. Between clone and exec no lock is taken and no code of the user's runs. This form
//! works beside any number of threads.
//!
//! ```
//! use ossature_sys::process::{Argument, ExitStatus, Plan};
//!
//! let arguments = [Argument::new(c"sh"), Argument::new(c"-c"), Argument::new(c"exit 7"), Argument::END];
//! let mut child = Plan::new(c"/bin/sh", &arguments).unwrap().start().unwrap();
//! assert_eq!(child.wait().unwrap(), ExitStatus::Code(7));
//! ```
//!
//! In a test binary, where libtest's threads run, `fork` returns [`ForkError::MultiThreaded`]: give such tests a binary
//! of their own with `harness = false` and one thread.
//!
//! Source: fork(2), clone3(2), execve(2), execveat(2), pidfd_open(2), waitid(2), getrusage(2), getrlimit(2), prctl(2),
//! setpgid(2), setsid(2), setuid(2), setgroups(2), getresuid(2), getgroups(2), capget(2), umask(2), atexit(3),
//! getauxval(3), sd_listen_fds(3), unsetenv(3).

mod at_exit;
mod child;
mod credentials;
mod exec;
mod exit;
mod fork;
mod identity;
mod ids;
mod limits;
mod listen_fds;
mod namespace;
mod parent;
mod pidfd;
mod stdin;
mod stdout;
mod usage;

pub use rustix::process::{Pid, Resource, Rlimit, Signal};

pub use crate::generation::generation;
pub use at_exit::at_exit;
pub use child::{Child, reap_any};
pub use credentials::{Capabilities, Credentials, clear_dumpable, is_dumpable, set_dumpable, supplementary_groups};
pub use exec::{Argument, Group, Inherit, MissingEnd, Plan, Stage, StartError};
pub use exit::{ExitStatus, exit};
pub use fork::{ForkError, continue_in_child, fork, fork_unchecked, may_fork, prove_single_thread};
pub use identity::Identity;
pub use ids::{
    become_subreaper, effective_group, effective_user, group_of, id, is_privileged_by_exec, is_subreaper, new_session,
    parent_id, real_group, real_user, resign_subreaper, session_of, set_group, set_parent_death_signal, set_umask,
    signal_group,
};
pub use limits::{replace_rlimit, rlimit, rlimit_of, set_rlimit};
pub use listen_fds::{ListenFds, ListenFdsError, remove_variable_if_alone};
pub use parent::end_with_parent;
pub use pidfd::{pidfd_getfd, pidfd_open, pidfd_send_signal, pidfd_wait};
pub use stdin::detach_stdin;
pub use stdout::replace_stdout;
pub use usage::Usage;

pub(crate) use namespace::pid_namespace;
pub(crate) use pidfd::pause;
