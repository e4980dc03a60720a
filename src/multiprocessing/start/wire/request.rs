//! The first message to a child: its configuration, its task, and what it receives from its parent.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::multiprocessing::start::image::unreadable;
use crate::multiprocessing::start::rights::{Rights, Sets};
use crate::multiprocessing::state::ChildConfig;
use crate::multiprocessing::tasks::{BuildId, Form, max_argument_depth};
use crate::multiprocessing::transfer::Handle;

/// The first packet to a child; the arguments of its task are the second.
#[derive(Serialize, Deserialize)]
pub(in crate::multiprocessing::start) struct StartRequest {
    /// The program that the parent runs.
    pub(in crate::multiprocessing::start) build: BuildId,
    /// The configuration of the child; `None` for the fork server, which is not a child of the program's own.
    pub(in crate::multiprocessing::start) config: Option<ChildConfig>,
    /// The parent's pidfd, for a child that cannot open one, or is a daemon and ends with its parent.
    pub(in crate::multiprocessing::start) parent: Option<Handle<OwnedFd>>,
    /// The name of the task.
    pub(in crate::multiprocessing::start) task: String,
    /// The form in which the task's return value is sent.
    pub(in crate::multiprocessing::start) form: Form,
    /// The maximum nesting depth of the arguments.
    pub(in crate::multiprocessing::start) depth: usize,
    /// The working directory of the parent, if it still exists; for a child that was forked from another process.
    pub(in crate::multiprocessing::start) directory: Option<PathBuf>,
    /// The standard output for a child whose standard output is /dev/null until then.
    pub(in crate::multiprocessing::start) stdout: Option<Handle<OwnedFd>>,
    /// The socket of the parent's fork server, if there is one, and the rights of that server. The child uses the same
    /// server.
    pub(in crate::multiprocessing::start) server: Option<(Handle<OwnedFd>, Rights)>,
    /// The capabilities of the parent; the child gives up all others.
    pub(in crate::multiprocessing::start) capabilities: Sets,
}

impl StartRequest {
    /// Makes the request to run a task, without anything else.
    pub(in crate::multiprocessing::start) fn new(
        config: Option<ChildConfig>,
        (task, form): (&str, Form),
        capabilities: Sets,
    ) -> Result<Self> {
        let build = BuildId::own().map_err(unreadable)?.clone();
        let task = task.to_owned();
        let (depth, parent, directory) = (max_argument_depth(), None, None);
        Ok(Self { build, config, parent, task, form, depth, directory, stdout: None, server: None, capabilities })
    }
}
