//! The resource usage of a process.

use core::ffi::{c_int, c_long};
use core::time::Duration;

use crate::errno::Result;
use crate::raw::process::{self as raw, RawUsage};

/// `struct rusage`: the time and memory of a process (with the children that it reaped) or of a thread.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{Usage, fork};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// fork(|| 0)?.wait()?;
/// let (process, thread) = (Usage::of_self()?, Usage::of_thread()?);
/// assert!(process.max_rss_kib > 0 && thread.minor_faults > 0);
/// assert!(Usage::of_children()?.max_rss_kib > 0);
/// # Ok(()) }
/// ```
#[doc(alias = "rusage")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// The processor time in user mode.
    #[doc(alias = "ru_utime")]
    pub user: Duration,
    /// The processor time in the kernel.
    #[doc(alias = "ru_stime")]
    pub system: Duration,
    /// The maximum resident memory, in KiB; for children, that of the largest child.
    #[doc(alias = "ru_maxrss")]
    pub max_rss_kib: u64,
    /// Page faults served without reading from a device.
    #[doc(alias = "ru_minflt")]
    pub minor_faults: u64,
    /// Page faults that read from a device.
    #[doc(alias = "ru_majflt")]
    pub major_faults: u64,
    /// Blocks read from devices.
    #[doc(alias = "ru_inblock")]
    pub blocks_in: u64,
    /// Blocks written to devices.
    #[doc(alias = "ru_oublock")]
    pub blocks_out: u64,
    /// The number of times that the process or thread gave up the processor itself.
    #[doc(alias = "ru_nvcsw")]
    pub voluntary_switches: u64,
    /// The number of times that the kernel took the processor away.
    #[doc(alias = "ru_nivcsw")]
    pub involuntary_switches: u64,
}

impl Usage {
    /// `getrusage(RUSAGE_SELF)`: the usage of this process, in all its threads.
    ///
    /// # Errors
    /// None that the kernel documents for this request.
    #[doc(alias = "RUSAGE_SELF")]
    pub fn of_self() -> Result<Self> {
        Self::of(0)
    }

    /// `getrusage(RUSAGE_CHILDREN)`: the usage of all children that were reaped, and of their reaped children.
    ///
    /// # Errors
    /// None that the kernel documents for this request.
    #[doc(alias = "RUSAGE_CHILDREN")]
    pub fn of_children() -> Result<Self> {
        Self::of(-1)
    }

    /// `getrusage(RUSAGE_THREAD)`: the usage of the calling thread.
    ///
    /// # Errors
    /// None that the kernel documents for this request.
    #[doc(alias = "RUSAGE_THREAD")]
    pub fn of_thread() -> Result<Self> {
        Self::of(1)
    }

    fn of(whom: c_int) -> Result<Self> {
        Ok(Self::from_raw(&raw::getrusage(whom)?))
    }

    pub(super) fn from_raw(raw: &RawUsage) -> Self {
        Self {
            user: time(raw.user),
            system: time(raw.system),
            max_rss_kib: count(raw.max_rss),
            minor_faults: count(raw.minor_faults),
            major_faults: count(raw.major_faults),
            blocks_in: count(raw.blocks_in),
            blocks_out: count(raw.blocks_out),
            voluntary_switches: count(raw.voluntary_switches),
            involuntary_switches: count(raw.involuntary_switches),
        }
    }
}

fn time([seconds, micros]: [c_long; 2]) -> Duration {
    Duration::from_secs(count(seconds)) + Duration::from_micros(count(micros))
}

/// Converts a counter, which the kernel keeps unsigned in a signed field.
fn count(field: c_long) -> u64 {
    field as core::ffi::c_ulong as _
}
