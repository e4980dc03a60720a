//! Memory barriers on behalf of other processors: the rare side bears the cost, the frequent side has none.

use rustix::thread::{MembarrierCommand, membarrier};

use crate::errno::Result;
use crate::raw;

/// The kinds of barrier that this kernel offers.
#[doc(alias = "MEMBARRIER_CMD_QUERY")]
#[doc(inline)]
pub use rustix::thread::MembarrierQuery as Barriers;

/// `membarrier(MEMBARRIER_CMD_QUERY)`: the calls below that this kernel offers.
///
/// # Errors
/// None: without the call the result is empty.
///
/// # Examples
/// ```
/// use ossature_sys::sched::{self, Barriers};
///
/// let offered: Barriers = sched::barriers()?;
/// if offered.contains(Barriers::PRIVATE_EXPEDITED) {
///     sched::register_private()?;
///     sched::membarrier_private()?;
/// }
/// if offered.contains(Barriers::PRIVATE_EXPEDITED_SYNC_CORE) {
///     sched::register_private_sync_core()?;
///     sched::membarrier_private_sync_core()?;
/// }
/// if offered.contains(Barriers::GLOBAL_EXPEDITED) {
///     sched::register_global()?;
///     sched::membarrier_global_expedited()?;
/// }
/// if offered.contains(Barriers::GLOBAL) {
///     sched::membarrier_global()?; // takes milliseconds
/// }
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
pub fn barriers() -> Result<Barriers> {
    raw::call("membarrier", || Ok(rustix::thread::membarrier_query()))
}

/// `membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)`: on return, every running thread of this process has passed a full
/// memory barrier. Costs an interrupt on each processor that runs such a thread.
///
/// # Errors
/// `EPERM` before [`register_private`], `EINVAL` or `ENOSYS` where the kernel or a sandbox does not offer it.
///
/// # Examples
/// See the example of [`barriers`].
#[doc(alias = "MEMBARRIER_CMD_PRIVATE_EXPEDITED")]
pub fn membarrier_private() -> Result<()> {
    run(MembarrierCommand::PrivateExpedited)
}

/// `membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)`: registers this process for [`membarrier_private`].
///
/// # Errors
/// `EINVAL` or `ENOSYS` where it is not offered.
///
/// # Examples
/// See the example of [`barriers`].
#[doc(alias = "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED")]
pub fn register_private() -> Result<()> {
    run(MembarrierCommand::RegisterPrivateExpedited)
}

/// `membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE)`: like [`membarrier_private`], and no thread continues with
/// instructions that it fetched before: for programs that generate code at run time.
///
/// # Errors
/// As [`membarrier_private`], with [`register_private_sync_core`].
///
/// # Examples
/// See the example of [`barriers`].
#[doc(alias = "MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE")]
pub fn membarrier_private_sync_core() -> Result<()> {
    run(MembarrierCommand::PrivateExpeditedSyncCore)
}

/// `membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE)`: registers this process for
/// [`membarrier_private_sync_core`].
///
/// # Errors
/// `EINVAL` or `ENOSYS` where it is not offered.
///
/// # Examples
/// See the example of [`barriers`].
#[doc(alias = "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE")]
pub fn register_private_sync_core() -> Result<()> {
    run(MembarrierCommand::RegisterPrivateExpeditedSyncCore)
}

/// `membarrier(MEMBARRIER_CMD_GLOBAL)`: on return, every running thread of the system has passed a full memory barrier.
/// Needs no registration, and takes milliseconds.
///
/// # Errors
/// `EINVAL` on kernels with full dynamic ticks, `ENOSYS` where it is not offered.
///
/// # Examples
/// See the example of [`barriers`].
#[doc(alias = "MEMBARRIER_CMD_GLOBAL")]
#[doc(alias = "MEMBARRIER_CMD_SHARED")]
pub fn membarrier_global() -> Result<()> {
    run(MembarrierCommand::Global)
}

/// `membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED)`: on return, every running thread of the processes that called
/// [`register_global`] has passed a full memory barrier. For memory that processes share.
///
/// # Errors
/// `EINVAL` or `ENOSYS` where it is not offered.
///
/// # Examples
/// See the example of [`barriers`].
#[doc(alias = "MEMBARRIER_CMD_GLOBAL_EXPEDITED")]
pub fn membarrier_global_expedited() -> Result<()> {
    run(MembarrierCommand::GlobalExpedited)
}

/// `membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)`: registers this process to receive the barriers of
/// [`membarrier_global_expedited`].
///
/// # Errors
/// `EINVAL` or `ENOSYS` where it is not offered.
///
/// # Examples
/// See the example of [`barriers`].
#[doc(alias = "MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED")]
pub fn register_global() -> Result<()> {
    run(MembarrierCommand::RegisterGlobalExpedited)
}

fn run(command: MembarrierCommand) -> Result<()> {
    raw::call("membarrier", || membarrier(command))
}
