//! How a child starts: a file or a folder for each start method.
//!
//! A start method receives the child's configuration and its work, and returns a handle and a pipe to the parent. The
//! parent waits for the child and signals it by the handle. The child reports a panic through the pipe. If a start
//! method fails, no part of the child remains.
//!
//! | stage | the parent | the child |
//! | --- | --- | --- |
//! | `launch` | forks, or executes the program, or sends a request to the fork server | |
//! | `send_request` | sends configuration, task and arguments (`wire`) | `run_task_if_child`: receives them |
//! | `await_reply` | waits for the child's reply | replies that it begins, or the reason why it does not |
//! | `run_task` | has a handle | runs the task (`child`) |

mod bootstrap;
mod child;
pub(crate) mod fork;
pub(crate) mod forkserver;
mod image;
mod own_child;
mod parent_death;
mod patience;
mod pending;
mod private;
mod rights;
mod shortage;
pub(crate) mod spawn;
pub(crate) mod thread;
mod wire;

use ossature_sys::fd::OwnedFd;
use ossature_sys::process::{id, pidfd_open};

pub(crate) use child::run_task_if_child;
pub(crate) use patience::Patience;

/// Returns a pidfd of this process, by which a child can identify its parent.
fn own_pidfd() -> crate::error::Result<OwnedFd> {
    pidfd_open(id()).map_err(shortage::of("cannot start a process: cannot open a pidfd for this process"))
}
