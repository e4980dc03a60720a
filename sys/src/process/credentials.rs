//! The rights of a process: its users, groups and capabilities, in the form that the kernel compares.

use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::errno::{Errno, Result};
use crate::raw;
use crate::raw::process as raw_process;

/// The credentials of a thread, without its [supplementary groups](supplementary_groups).
///
/// The C library keeps the users and groups of all threads of a process equal.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Capabilities, Credentials, real_user};
///
/// let credentials = Credentials::of_thread()?;
/// assert_eq!(credentials.users[0], real_user());
/// assert_eq!(credentials.capabilities, Capabilities::of_thread()?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The real, the effective and the saved user.
    pub users: [u32; 3],
    /// The real, the effective and the saved group.
    pub groups: [u32; 3],
    /// The thread's capabilities: its parts of a superuser's rights.
    pub capabilities: Capabilities,
    /// The capability bounding set: the capabilities that an exec can still give.
    pub bounding: u64,
    /// Whether an exec cannot give the thread new rights: `PR_SET_NO_NEW_PRIVS`.
    #[doc(alias = "PR_GET_NO_NEW_PRIVS")]
    pub no_new_privileges: bool,
}

/// The capability sets of a thread: bit N of each is the capability number N of capabilities(7).
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{Capabilities, fork};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut child = fork(|| {
///     let none = Capabilities { effective: 0, permitted: 0, inheritable: 0 };
///     Capabilities::limit_to(none).unwrap();
///     u8::from(Capabilities::of_thread() == Ok(none))
/// })?;
/// assert_eq!(child.wait()?.code(), Some(1));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// The capabilities that are in force.
    pub effective: u64,
    /// The capabilities that the thread may make effective.
    pub permitted: u64,
    /// The capabilities that an exec may keep.
    pub inheritable: u64,
}

impl Credentials {
    /// `getresuid(...)`, `getresgid(...)`, `capget(0, ...)`, `prctl(PR_CAPBSET_READ, ...)` for each capability, and
    /// `prctl(PR_GET_NO_NEW_PRIVS)`: the credentials of the calling thread.
    ///
    /// # Errors
    /// None that the kernel documents; `EPERM` or `ENOSYS` where a sandbox forbids a call.
    #[doc(alias = "getresuid")]
    #[doc(alias = "getresgid")]
    #[doc(alias = "PR_CAPBSET_READ")]
    pub fn of_thread() -> Result<Self> {
        Ok(Self {
            users: raw_process::getresuid()?,
            groups: raw_process::getresgid()?,
            capabilities: Capabilities::of_thread()?,
            bounding: bounding_set()?,
            no_new_privileges: raw::call("prctl", rustix::thread::no_new_privs)?,
        })
    }
}

/// The bounding set, by one call for each capability that the kernel knows.
fn bounding_set() -> Result<u64> {
    let mut set = 0;
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        match raw::call("prctl", || rustix::thread::capability_is_in_bounding_set(one)) {
            Ok(held) => set |= u64::from(held) << bit,
            // The kernel knows no further capabilities.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(set)
}

impl Capabilities {
    /// `capget(0, ...)`: the sets of the calling thread.
    ///
    /// # Errors
    /// None that the kernel documents for the calling thread; `EPERM` or `ENOSYS` where a sandbox forbids the call.
    #[doc(alias = "capget")]
    pub fn of_thread() -> Result<Self> {
        let sets = raw::call("capget", || rustix::thread::capabilities(None))?;
        Ok(Self {
            effective: sets.effective.bits(),
            permitted: sets.permitted.bits(),
            inheritable: sets.inheritable.bits(),
        })
    }

    /// `capset(0, ...)`: removes from each set of the calling thread the capabilities that are not in the same set of
    /// `limit`. Adds no capability.
    ///
    /// Other threads keep their capabilities, so call this in a process with one thread.
    ///
    /// # Errors
    /// None that the kernel documents for removal; `EPERM` if a sandbox forbids the call.
    #[doc(alias = "capset")]
    pub fn limit_to(limit: Self) -> Result<()> {
        let now = Self::of_thread()?;
        let permitted = now.permitted & limit.permitted;
        let lower = Self {
            effective: now.effective & limit.effective & permitted,
            permitted,
            inheritable: now.inheritable & limit.inheritable,
        };
        if lower == now {
            return Ok(());
        }
        let sets = CapabilitySets {
            effective: CapabilitySet::from_bits_retain(lower.effective),
            permitted: CapabilitySet::from_bits_retain(lower.permitted),
            inheritable: CapabilitySet::from_bits_retain(lower.inheritable),
        };
        raw::call("capset", || rustix::thread::set_capabilities(None, sets))
    }
}

/// `getgroups(groups.len(), groups)`: the supplementary groups of the calling thread, in the kernel's order.
///
/// # Errors
/// `EINVAL` when there are more groups than `room` holds; the kernel's limit is 65,536.
///
/// # Examples
/// ```
/// use ossature_sys::process::supplementary_groups;
///
/// let mut room = vec![0; 65_536];
/// assert!(supplementary_groups(&mut room)?.len() <= 65_536);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "getgroups")]
pub fn supplementary_groups(room: &mut [u32]) -> Result<&[u32]> {
    let len = raw_process::getgroups(room)?;
    Ok(room.get(..len).unwrap_or_default())
}

/// `prctl(PR_GET_DUMPABLE)`: whether processes of the same user and with no fewer capabilities may trace this one, and
/// whether a fatal signal dumps core.
///
/// # Errors
/// None that the kernel documents for this request.
///
/// # Examples
/// ```
/// use ossature_sys::process::{clear_dumpable, is_dumpable, set_dumpable};
///
/// clear_dumpable()?; // for a process that holds a secret
/// assert!(!is_dumpable()?);
/// set_dumpable()?;
/// assert!(is_dumpable()?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "PR_GET_DUMPABLE")]
pub fn is_dumpable() -> Result<bool> {
    Ok(raw::call("prctl", rustix::process::dumpable_behavior)? == DumpableBehavior::Dumpable)
}

/// `prctl(PR_SET_DUMPABLE, 1)`: makes the process [dumpable](is_dumpable).
///
/// # Errors
/// None that the kernel documents for this request.
#[doc(alias = "PR_SET_DUMPABLE")]
pub fn set_dumpable() -> Result<()> {
    raw::call("prctl", || rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable))
}

/// `prctl(PR_SET_DUMPABLE, 0)`: makes the process not [dumpable](is_dumpable).
///
/// # Errors
/// None that the kernel documents for this request.
pub fn clear_dumpable() -> Result<()> {
    raw::call("prctl", || rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable))
}
