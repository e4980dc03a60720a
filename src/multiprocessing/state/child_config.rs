//! What a child has to know of itself: its parent writes it down before the start.

use std::path::PathBuf;

use ossature_sys::fd::OwnedFd;
use ossature_sys::process::Pid;
use serde::{Deserialize, Serialize};

use super::log_setup::LogSetup;
use super::surroundings::Surroundings;
use crate::multiprocessing::authkey::AuthKey;
use crate::multiprocessing::context::Context;

/// Who a child is. A spawned child gets it first of all; a forked one has it with everything else.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChildConfig {
    pub(crate) name: String,
    /// The numbers of its ancestors and itself among their siblings.
    pub(crate) identity: Vec<u32>,
    /// The context that it was asked from by name, which its name and its printed form tell.
    pub(crate) named: Option<Context>,
    /// How it was started, and how it starts others unless it says otherwise.
    pub(crate) method: Context,
    pub(crate) daemon: bool,
    /// Whether the process is killed with its parent: a daemon, or a process with `end_with_parent`.
    pub(crate) bound: bool,
    #[serde(with = "key")]
    pub(crate) authkey: AuthKey,
    /// Where this program's processes keep what has a name in the file system, if any did already.
    pub(crate) temp_dir: Option<PathBuf>,
    /// How the parent logs.
    pub(crate) log: LogSetup,
    /// The number and the name of the process that started it.
    pub(crate) parent: (i32, String),
    /// Whether the parent's first thread made it, so that the kernel can tell it of the parent's end.
    pub(crate) by_first_thread: bool,
    /// The surroundings that a forked child sets itself. For a program that is started anew, the parent has set them.
    pub(crate) surroundings: Surroundings,
    /// The parent's pidfd, sent apart, if the child cannot open one or must not wait for one. That is so under a fork
    /// server, and for a child that is bound to its parent.
    #[serde(skip)]
    pub(crate) sentinel: Option<OwnedFd>,
}

impl ChildConfig {
    /// The parent's number, if the kernel can tell the child of the parent's end.
    pub(crate) fn child_of(&self) -> Option<Pid> {
        Pid::from_raw(self.parent.0).filter(|_| self.by_first_thread)
    }
}

/// The one way in which a key is written down: on the way to a child, which must know it.
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
