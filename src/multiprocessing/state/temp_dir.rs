//! The temporary directory of a process.

use std::path::{Path, PathBuf};

use ossature_sys::flock::FileLock;

/// The temporary directory of a process.
pub(crate) struct TempDir {
    pub(crate) path: PathBuf,
    /// The lock that keeps others from removing the directory. A process that inherits the directory locks it at its
    /// first use.
    pub(crate) hold: Option<Hold>,
}

/// How a process prevents others from removing a directory.
pub(crate) enum Hold {
    Locked {
        _lock: FileLock,
    },
    /// The file system has no locks. So no other process can take a lock to remove the directory.
    Unlockable,
}

impl TempDir {
    pub(crate) fn inherited(path: PathBuf) -> Self {
        Self { path, hold: None }
    }

    /// Returns the same directory, for a child.
    pub(crate) fn again(&self) -> Self {
        Self::inherited(self.path.clone())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
