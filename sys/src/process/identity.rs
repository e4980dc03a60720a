//! The user and the groups that determine the rights of a process.

use crate::errno::{Errno, Result};
use crate::raw::process as raw;

/// The user and the groups that a process takes on: the real, the effective and the saved ones.
///
/// A field that is `None` changes nothing, with one exception. If `user` is set and `groups` is not, the process loses
/// all supplementary groups, if it may change them. Otherwise a program that gives up the rights of root would keep
/// root's groups.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{Identity, effective_group, effective_user, fork};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Identity { user: Some(effective_user()), group: Some(effective_group()), groups: None };
/// assert!(!identity.is_empty() && Identity::default().is_empty());
/// let mut child = fork(|| u8::from(identity.assume().is_ok()))?;
/// assert_eq!(child.wait()?.code(), Some(1));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Identity<'a> {
    /// `setuid(user)`.
    pub user: Option<u32>,
    /// `setgid(group)`.
    pub group: Option<u32>,
    /// `setgroups(groups)`.
    pub groups: Option<&'a [u32]>,
}

/// The three system calls.
struct Calls {
    groups: fn(&[u32]) -> Result<()>,
    group: fn(u32) -> Result<()>,
    user: fn(u32) -> Result<()>,
}

impl Identity<'_> {
    /// Whether every field is `None`.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `setgroups(...)`, `setgid(...)`, `setuid(...)`: gives the whole process this identity, including all its
    /// threads.
    ///
    /// The process loses rights with its user, so call this last. After an error, the earlier of the three calls have
    /// taken effect.
    ///
    /// # Errors
    /// `EPERM` without the right to change them. `EINVAL` for a number that the user namespace does not know or for
    /// more groups than the kernel allows (65,536). `EAGAIN` when the user has as many processes as it may have.
    #[doc(alias = "setuid")]
    #[doc(alias = "setgid")]
    #[doc(alias = "setgroups")]
    pub fn assume(&self) -> Result<()> {
        self.assume_by(&Calls { groups: raw::set_groups, group: raw::set_group, user: raw::set_user })
    }

    /// [`assume`](Self::assume) for the calling thread only, by system calls that take no lock: for a child before its
    /// exec.
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
            // A process that may not change its groups has no groups of root.
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
