//! The user and the groups by whose rights a process acts.

use crate::errno::{Errno, Result};
use crate::raw::process as raw;

/// The user and the groups that a process is to have: of each the real, the effective and the saved one.
///
/// What is not said stays as it is, but for this: a user without `groups` loses all supplementary groups, if the process
/// may change them at all. Otherwise a program that gives up the rights of root would keep root's groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Identity<'a> {
    /// `setuid(user)`.
    pub user: Option<u32>,
    /// `setgid(group)`.
    pub group: Option<u32>,
    /// `setgroups(groups)`.
    pub groups: Option<&'a [u32]>,
}

/// The three calls.
struct Calls {
    groups: fn(&[u32]) -> Result<()>,
    group: fn(u32) -> Result<()>,
    user: fn(u32) -> Result<()>,
}

impl Identity<'_> {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `setgroups(...)`, `setgid(...)`, `setuid(...)`: gives the whole process this identity, all its threads included.
    ///
    /// The rights go with the user: call this last. What comes before an error has been done.
    ///
    /// # Errors
    /// `EPERM` without the rights for it, `EINVAL` for a number that the user namespace does not know or for more groups
    /// than the kernel takes (65,536), `EAGAIN` when the user has as many processes as it may have.
    #[doc(alias = "setuid")]
    #[doc(alias = "setgid")]
    #[doc(alias = "setgroups")]
    pub fn assume(&self) -> Result<()> {
        self.assume_by(&Calls { groups: raw::set_groups, group: raw::set_group, user: raw::set_user })
    }

    /// The same for the calling thread alone, by system calls that take no lock: for a child before its exec.
    pub(super) fn assume_in_child(&self) -> Result<()> {
        self.assume_by(&Calls {
            groups: raw::set_groups_of_thread,
            group: raw::set_group_of_thread,
            user: raw::set_user_of_thread,
        })
    }

    fn assume_by(&self, calls: &Calls) -> Result<()> {
        match (self.groups, self.user) {
            (Some(groups), _) => (calls.groups)(groups)?,
            // Whoever may not change groups has none that were root's.
            (None, Some(_)) => match (calls.groups)(&[]) {
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => return Err(errno),
            },
            (None, None) => {}
        }
        self.group.map_or(Ok(()), calls.group)?;
        self.user.map_or(Ok(()), calls.user)
    }
}
