//! The configuration of a child, which its parent prepares before the start.

use std::path::PathBuf;

use ossature_sys::fd::OwnedFd;
use ossature_sys::process::Pid;
use serde::{Deserialize, Serialize};

use super::log_setup::LogSetup;
use super::surroundings::Surroundings;
use crate::multiprocessing::authkey::AuthKey;
use crate::multiprocessing::context::Context;

/// The identity and settings of a child. A spawned child receives them first; a forked child inherits them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChildConfig {
    pub(crate) name: String,
    /// The numbers of the child's ancestors and of the child among their siblings.
    pub(crate) identity: Vec<u32>,
    /// The context that was named when the child was requested; the child's name and its printed form show it.
    pub(crate) named: Option<Context>,
    /// The start method of the child, which is also its default method for its own children.
    pub(crate) method: Context,
    pub(crate) daemon: bool,
    /// Whether the process is killed with its parent: a daemon, or a process with `end_with_parent`.
    pub(crate) bound: bool,
    #[serde(with = "key")]
    pub(crate) authkey: AuthKey,
    /// The directory where this program's processes keep named files, if any process has made one already.
    pub(crate) temp_dir: Option<PathBuf>,
    /// The parent's log settings.
    pub(crate) log: LogSetup,
    /// The process ID and the name of the process that started the child.
    pub(crate) parent: (i32, String),
    /// Whether the parent's first thread started the child, so that the kernel can signal the parent's end to it.
    pub(crate) by_first_thread: bool,
    /// The surroundings that a forked child applies itself. For a program that is started anew, the parent has applied
    /// them.
    pub(crate) surroundings: Surroundings,
    /// The parent's pidfd, sent apart, if the child cannot open one or must not wait for one. That is so under a fork
    /// server, and for a child that is bound to its parent.
    #[serde(skip)]
    pub(crate) sentinel: Option<OwnedFd>,
}

impl ChildConfig {
    /// The parent's process ID, if the kernel can signal the parent's end to the child.
    pub(crate) fn child_of(&self) -> Option<Pid> {
        Pid::from_raw(self.parent.0).filter(|_| self.by_first_thread)
    }
}

/// The serialisation of the key, used only to send it to a child, which needs it.
mod key {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::multiprocessing::authkey::AuthKey;

    pub(super) fn serialize<S: Serializer>(key: &AuthKey, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(key.as_bytes())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<AuthKey, D::Error> {
        <&[u8]>::deserialize(from).map(AuthKey::from)
    }
}
