//! What a child has to know of itself: its parent writes it down before the start.

use std::fmt;
use std::path::PathBuf;

use ossature_sys::fd::OwnedFd;
use serde::{Deserialize, Serialize};

use crate::multiprocessing::context::Context;

/// Who a child is. A spawned child gets it first of all; a forked one has it with everything else.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Passport {
    pub(crate) name: String,
    /// The numbers of its ancestors and itself among their siblings.
    pub(crate) identity: Vec<u32>,
    /// The context that it was asked from by name, which its name and its printed form tell.
    pub(crate) named: Option<Context>,
    /// How it was started, and how it starts others unless it says otherwise.
    pub(crate) method: Context,
    pub(crate) daemon: bool,
    pub(crate) authkey: Secret,
    /// Where this program's processes keep what has a name in the file system, if any did already.
    pub(crate) temp_dir: Option<PathBuf>,
    /// The number and the name of the process that started it.
    pub(crate) parent: (i32, String),
    /// The parent's pidfd, where its number is not what `getppid` says in the child: under a fork server. Sent apart.
    #[serde(skip)]
    pub(crate) sentinel: Option<OwnedFd>,
}

/// The bytes of the key that the processes of one program know; not printed.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Secret(pub(crate) Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
