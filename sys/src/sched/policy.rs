//! The scheduling policy of a thread.

use core::time::Duration;

use bitflags::bitflags;

use super::{Pid, number};
use crate::errno::{Errno, Result};
use crate::raw::sched::{self as raw, SchedAttr};

const OTHER: u32 = 0;
const FIFO: u32 = 1;
const RR: u32 = 2;
const BATCH: u32 = 3;
const IDLE: u32 = 5;
const DEADLINE: u32 = 6;
const EXT: u32 = 7;

/// The scheduling policy of a thread, with its parameters.
///
/// # Examples
/// ```
/// use ossature_sys::sched::Policy;
///
/// assert_eq!(Policy::Fifo { priority: 1 }.priorities()?, (1, 99));
/// assert_eq!(Policy::Normal { nice: 0 }.priorities()?, (0, 0), "the policy has no priorities");
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Policy {
    /// The default policy: a fair share.
    #[doc(alias = "SCHED_OTHER")]
    #[doc(alias = "SCHED_NORMAL")]
    Normal {
        /// -20 (favoured) to 19.
        nice: i32,
    },
    /// A fair share for a thread that computes and tolerates delays.
    #[doc(alias = "SCHED_BATCH")]
    Batch {
        /// -20 (favoured) to 19.
        nice: i32,
    },
    /// Only processor time that no other thread needs. The nice value is not changed.
    #[doc(alias = "SCHED_IDLE")]
    Idle,
    /// Real-time: runs until the thread sleeps, yields or is preempted by a thread of higher priority.
    #[doc(alias = "SCHED_FIFO")]
    Fifo {
        /// 1 (lowest) to 99.
        priority: u32,
    },
    /// Like [`Fifo`](Self::Fifo), in turns with threads of the same priority.
    #[doc(alias = "SCHED_RR")]
    RoundRobin {
        /// 1 (lowest) to 99.
        priority: u32,
    },
    /// Real-time: `runtime` in every `period`, no later than `deadline` after the period begins. The kernel admits only
    /// feasible parameters.
    #[doc(alias = "SCHED_DEADLINE")]
    Deadline {
        /// The processor time needed in each period, at least 1,024 ns.
        runtime: Duration,
        /// The time limit for `runtime`, from the beginning of the period.
        deadline: Duration,
        /// The length of the period.
        period: Duration,
    },
    /// A scheduler loaded into the kernel as BPF; the default policy while there is none.
    #[doc(alias = "SCHED_EXT")]
    Ext {
        /// -20 (favoured) to 19.
        nice: i32,
    },
    /// A policy that this crate does not know, by the kernel's number. Such a policy can be read, but not set.
    Unknown(u32),
}

bitflags! {
    /// The flags of a policy: `SCHED_FLAG_*`.
    ///
    /// # Examples
    /// See the example of [`Scheduling`].
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Flags: u64 {
        /// Children and new threads get the default policy, and a nice value of at least 0.
        #[doc(alias = "SCHED_FLAG_RESET_ON_FORK")]
        const RESET_ON_FORK = 0x01;
        /// A deadline thread may use time that other deadline threads leave unused.
        #[doc(alias = "SCHED_FLAG_RECLAIM")]
        const RECLAIM = 0x02;
        /// A deadline thread that overruns its time gets `SIGXCPU`.
        #[doc(alias = "SCHED_FLAG_DL_OVERRUN")]
        const DL_OVERRUN = 0x04;
        const _ = !0;
    }
}

/// A policy and its flags.
///
/// # Examples
/// ```
/// use ossature_sys::sched::{Flags, Policy, Scheduling, scheduling, set_scheduling};
///
/// let wanted = Scheduling { policy: Policy::Batch { nice: 0 }, flags: Flags::RESET_ON_FORK };
/// set_scheduling(None, wanted)?;
/// assert_eq!(scheduling(None)?, wanted);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "sched_attr")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Scheduling {
    /// The policy.
    pub policy: Policy,
    /// The flags.
    pub flags: Flags,
}

impl Policy {
    /// `sched_get_priority_min` and `sched_get_priority_max`: the range of priorities of this policy, `(0, 0)` if it
    /// has none.
    ///
    /// # Errors
    /// `EINVAL` when this kernel does not know the policy.
    #[doc(alias = "sched_get_priority_max")]
    #[doc(alias = "sched_get_priority_min")]
    pub fn priorities(self) -> Result<(u32, u32)> {
        let number = self.number();
        // The kernel's answers are 0 to 99.
        Ok((raw::priority_min(number)? as u32, raw::priority_max(number)? as u32))
    }

    fn number(self) -> u32 {
        match self {
            Self::Normal { .. } => OTHER,
            Self::Batch { .. } => BATCH,
            Self::Idle => IDLE,
            Self::Fifo { .. } => FIFO,
            Self::RoundRobin { .. } => RR,
            Self::Deadline { .. } => DEADLINE,
            Self::Ext { .. } => EXT,
            Self::Unknown(number) => number,
        }
    }

    fn attr(self) -> Result<SchedAttr> {
        let plain = SchedAttr { policy: self.number(), ..SchedAttr::default() };
        Ok(match self {
            Self::Normal { nice } | Self::Batch { nice } | Self::Ext { nice } => SchedAttr { nice, ..plain },
            Self::Fifo { priority } | Self::RoundRobin { priority } => SchedAttr { priority, ..plain },
            Self::Deadline { runtime, deadline, period } => {
                SchedAttr { runtime: nanos(runtime)?, deadline: nanos(deadline)?, period: nanos(period)?, ..plain }
            }
            Self::Idle => plain,
            Self::Unknown(_) => return Err(Errno::INVAL),
        })
    }

    fn from_attr(attr: &SchedAttr) -> Self {
        match attr.policy {
            OTHER => Self::Normal { nice: attr.nice },
            BATCH => Self::Batch { nice: attr.nice },
            IDLE => Self::Idle,
            EXT => Self::Ext { nice: attr.nice },
            FIFO => Self::Fifo { priority: attr.priority },
            RR => Self::RoundRobin { priority: attr.priority },
            DEADLINE => Self::Deadline {
                runtime: Duration::from_nanos(attr.runtime),
                deadline: Duration::from_nanos(attr.deadline),
                period: Duration::from_nanos(attr.period),
            },
            other => Self::Unknown(other),
        }
    }
}

/// `sched_getattr(thread, ...)`: the policy of a thread.
///
/// # Errors
/// `ESRCH` when there is no such thread.
#[doc(alias = "sched_getscheduler")]
pub fn policy(thread: Option<Pid>) -> Result<Policy> {
    Ok(scheduling(thread)?.policy)
}

/// `sched_setattr(thread, ...)`: gives a thread a policy, without flags.
///
/// # Errors
/// As [`set_scheduling`].
///
/// # Examples
/// ```
/// use ossature_sys::sched::{Policy, policy, set_policy};
///
/// set_policy(None, Policy::Idle)?;
/// assert_eq!(policy(None)?, Policy::Idle);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "sched_setscheduler")]
pub fn set_policy(thread: Option<Pid>, policy: Policy) -> Result<()> {
    set_scheduling(thread, Scheduling { policy, flags: Flags::empty() })
}

/// `sched_getattr(thread, ...)`: the policy of a thread and its flags.
///
/// # Errors
/// `ESRCH` when there is no such thread.
///
/// # Examples
/// See the example of [`Scheduling`].
#[doc(alias = "sched_getattr")]
pub fn scheduling(thread: Option<Pid>) -> Result<Scheduling> {
    let attr = raw::attr(number(thread))?;
    Ok(Scheduling { policy: Policy::from_attr(&attr), flags: Flags::from_bits_retain(attr.flags) })
}

/// `sched_setattr(thread, ...)`: gives a thread a policy and its flags.
///
/// # Errors
/// `EPERM` when the policy or the nice value needs a privilege or a limit (`RLIMIT_RTPRIO`, `RLIMIT_NICE`) that is
/// missing. Also when a deadline thread is bound to some processors only. `EINVAL` when a priority or a time is out of
/// range. `EBUSY` when there is no room for the deadline. `ESRCH` when there is no such thread.
///
/// # Examples
/// See the example of [`Scheduling`].
#[doc(alias = "sched_setattr")]
pub fn set_scheduling(thread: Option<Pid>, scheduling: Scheduling) -> Result<()> {
    let attr = SchedAttr { flags: scheduling.flags.bits(), ..scheduling.policy.attr()? };
    raw::set_attr(number(thread), &attr)
}

fn nanos(span: Duration) -> Result<u64> {
    u64::try_from(span.as_nanos()).map_err(|_| Errno::INVAL)
}
