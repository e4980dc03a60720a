//! Resource limits. `None` in a [`Rlimit`] means no limit.

use super::{Pid, Resource, Rlimit};
use crate::errno::Result;
use crate::raw;

/// `getrlimit(resource)`: the soft limit, which is in force, and the hard limit, its maximum.
///
/// # Errors
/// None that the kernel documents for a named resource.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Resource, rlimit};
///
/// let limit = rlimit(Resource::Nofile)?;
/// assert!(limit.current.unwrap_or(u64::MAX) <= limit.maximum.unwrap_or(u64::MAX));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "getrlimit")]
pub fn rlimit(resource: Resource) -> Result<Rlimit> {
    raw::call("getrlimit", || Ok(rustix::process::getrlimit(resource)))
}

/// `setrlimit(resource, limit)`: changes a limit of this process, which its children inherit.
///
/// # Errors
/// `EPERM` when the hard limit would rise without the privilege, `EINVAL` when the soft limit is above the hard one.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Resource, Rlimit, rlimit, set_rlimit};
///
/// let before = rlimit(Resource::Core)?;
/// set_rlimit(Resource::Core, Rlimit { current: Some(0), ..before })?; // no core files
/// assert_eq!(rlimit(Resource::Core)?.current, Some(0));
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "setrlimit")]
pub fn set_rlimit(resource: Resource, limit: Rlimit) -> Result<()> {
    raw::call("setrlimit", || rustix::process::setrlimit(resource, limit))
}

/// `prlimit(pid, resource, NULL)`: the limit of another process.
///
/// # Errors
/// `EPERM` when it belongs to another user, `ESRCH` when there is none.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Resource, id, rlimit, rlimit_of};
///
/// assert_eq!(rlimit_of(id(), Resource::Nofile)?, rlimit(Resource::Nofile)?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "prlimit")]
pub fn rlimit_of(pid: Pid, resource: Resource) -> Result<Rlimit> {
    let [current, maximum] = raw::process::prlimit_get(pid, resource as _)?;
    let limit = |number: u64| (number != u64::MAX).then_some(number);
    Ok(Rlimit { current: limit(current), maximum: limit(maximum) })
}

/// `prlimit(pid, resource, limit)`: changes a limit of another process and returns the old one.
///
/// # Errors
/// As [`set_rlimit`], and `ESRCH` when there is no such process.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Resource, Rlimit, id, replace_rlimit, rlimit};
///
/// let before = rlimit(Resource::Core)?;
/// let lower = Rlimit { current: Some(0), ..before.clone() };
/// assert_eq!(replace_rlimit(id(), Resource::Core, lower)?, before);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "prlimit")]
pub fn replace_rlimit(pid: Pid, resource: Resource, limit: Rlimit) -> Result<Rlimit> {
    raw::call("prlimit", || rustix::process::prlimit(Some(pid), resource, limit))
}
