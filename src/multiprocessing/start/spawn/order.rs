//! What a child is told: who it is, what it shall do, and for whom.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::launch::unreadable;
use crate::error::Result;
use crate::multiprocessing::process::passport::Passport;
use crate::multiprocessing::start::rights::{Rights, Sets};
use crate::multiprocessing::tasks::{BuildId, Form, max_argument_depth};
use crate::multiprocessing::transfer::Handle;

/// The first packet to a child; the arguments of its task are the second.
#[derive(Serialize, Deserialize)]
pub(in crate::multiprocessing::start) struct Order {
    /// The program that the parent runs.
    pub(in crate::multiprocessing::start) build: BuildId,
    /// Who the child is; `None` for a process that is none of the program's own, the fork server.
    pub(in crate::multiprocessing::start) passport: Option<Passport>,
    /// The parent's pidfd, for a child that cannot open one, or is a daemon and ends with its parent.
    pub(in crate::multiprocessing::start) parent: Option<Handle<OwnedFd>>,
    /// The name of the task.
    pub(in crate::multiprocessing::start) task: String,
    /// What becomes of the value that the task returns.
    pub(in crate::multiprocessing::start) form: Form,
    /// How deep the arguments may be nested.
    pub(in crate::multiprocessing::start) depth: usize,
    /// Where the parent is, unless that directory is no more; for a child that was not born there.
    pub(in crate::multiprocessing::start) directory: Option<PathBuf>,
    /// Standard output, where the first of the program's words are not for it.
    pub(in crate::multiprocessing::start) stdout: Option<Handle<OwnedFd>>,
    /// The socket of the parent's fork server, if there is one, and the rights of that server. The child uses the same
    /// server.
    pub(in crate::multiprocessing::start) server: Option<(Handle<OwnedFd>, Rights)>,
    /// The capabilities of the parent; the child gives up all others.
    pub(in crate::multiprocessing::start) capabilities: Sets,
}

impl Order {
    /// The order to do a task, with nothing beside it.
    pub(in crate::multiprocessing::start) fn new(
        passport: Option<Passport>,
        (task, form): (&str, Form),
        capabilities: Sets,
    ) -> Result<Self> {
        let build = BuildId::own().map_err(unreadable)?.clone();
        let task = task.to_owned();
        let (depth, parent, directory) = (max_argument_depth(), None, None);
        Ok(Self { build, passport, parent, task, form, depth, directory, stdout: None, server: None, capabilities })
    }
}
