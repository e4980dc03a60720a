//! The rights of a process, for a fork server. The server's children have the server's rights, so a client compares
//! these with its own.

use ossature_sys::errno::{Errno, Result};
use ossature_sys::process::{Capabilities, Credentials, supplementary_groups};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The credentials of a process that a client compares: users, groups, capabilities, and the rights that an exec can
/// give.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Rights {
    users: [u32; 3],
    groups: [u32; 3],
    supplementary: Vec<u32>,
    pub(super) capabilities: Sets,
    bounding: u64,
    no_new_privileges: bool,
}

/// The capability sets that are sent to a child: the effective, the permitted and the inheritable set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Sets([u64; 3]);

impl Rights {
    /// The rights of the calling process.
    pub(super) fn now() -> crate::error::Result<Self> {
        Self::read().map_err(unknown)
    }

    fn read() -> Result<Self> {
        let Credentials { users, groups, capabilities, bounding, no_new_privileges } = Credentials::of_thread()?;
        let supplementary = supplementary()?;
        Ok(Self { users, groups, supplementary, capabilities: capabilities.into(), bounding, no_new_privileges })
    }

    /// The user that the kernel names as the sender of this process's messages.
    pub(super) fn real_user(&self) -> u32 {
        let [real, ..] = self.users;
        real
    }
}

impl Sets {
    /// The capability sets of the calling process.
    pub(super) fn now() -> crate::error::Result<Self> {
        Capabilities::of_thread().map(Self::from).map_err(unknown)
    }

    pub(super) fn to_bits(self) -> [u64; 3] {
        self.0
    }

    pub(super) fn from_bits(bits: [u64; 3]) -> Self {
        Self(bits)
    }

    /// Whether these sets have every capability of the calling process, so that [`limit`](Self::limit) changes nothing.
    pub(super) fn are_all_of_this_process(self) -> bool {
        let within = |Self(now): Self| now.iter().zip(self.0).all(|(now, of)| now & !of == 0);
        Capabilities::of_thread().is_ok_and(|now| within(now.into()))
    }

    /// Removes from the calling process every capability that is not in these sets.
    pub(super) fn limit(self) -> Result<()> {
        let Self([effective, permitted, inheritable]) = self;
        Capabilities::limit_to(Capabilities { effective, permitted, inheritable })
    }
}

impl From<Capabilities> for Sets {
    fn from(Capabilities { effective, permitted, inheritable }: Capabilities) -> Self {
        Self([effective, permitted, inheritable])
    }
}

fn unknown(errno: Errno) -> Error {
    Error::os(errno, "cannot start a process: cannot read the rights of this process")
}

fn supplementary() -> Result<Vec<u32>> {
    /// The kernel's limit of supplementary groups.
    const MOST: usize = 1 << 16;
    match supplementary_groups(&mut [0; 32]) {
        Err(Errno::INVAL) => {
            let mut room = vec![0; MOST];
            supplementary_groups(&mut room).map(<[u32]>::to_vec)
        }
        groups => groups.map(<[u32]>::to_vec),
    }
}
