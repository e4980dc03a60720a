//! How a process is started: [`Context`].

use serde::{Deserialize, Serialize};

/// A way of starting processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Context {
    /// By `fork`: the child is a copy of this process, with all that it has.
    Fork,
    /// By starting this program anew: the child has what it is given and nothing else.
    Spawn,
    /// As a copy of a small process that was spawned for that.
    Forkserver,
    /// No process at all, but a thread of this one under the same interface.
    Thread,
}

impl Context {
    /// What the names of processes begin with that a context was named for.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Fork => "ForkProcess",
            Self::Spawn => "SpawnProcess",
            Self::Forkserver => "ForkServerProcess",
            Self::Thread => "DummyProcess",
        }
    }
}
