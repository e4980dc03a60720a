//! The pid namespace of this process, as a number that its members share.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use super::{generation, id, pidfd_open};
use crate::errno::{Result, retry};
use crate::fd::AsFd;
use crate::raw;

/// The inode of the pid namespace; `None` if the system does not report it: before Linux 6.11 without /proc.
///
/// A process stays in its namespace for its whole life, so each process determines it once.
pub(crate) fn pid_namespace() -> Option<u64> {
    /// The upper half is the generation of the process that looked it up. The lower half is the inode, which has 32
    /// bits.
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    let known = KNOWN.load(Relaxed);
    let generation = generation();
    if known >> 32 == u64::from(generation) && known != 0 {
        return Some(known & u64::from(u32::MAX));
    }
    // The pidfd comes first, because the kernel itself gives that answer. After a chroot, a file of that name could be
    // any file.
    let inode = by_pidfd().or_else(|_| by_proc()).ok().filter(|inode| *inode != 0)?;
    if inode <= u64::from(u32::MAX) {
        KNOWN.store(u64::from(generation) << 32 | inode, Relaxed);
    }
    Some(inode)
}

/// `ioctl(pidfd, PIDFD_GET_PID_NAMESPACE)`, Linux 6.11.
fn by_pidfd() -> Result<u64> {
    let namespace = raw::process::pidfd_pid_namespace(pidfd_open(id())?.as_fd())?;
    Ok(raw::call("fstat", || rustix::fs::fstat(&namespace))?.st_ino as u64)
}

fn by_proc() -> Result<u64> {
    Ok(retry(|| raw::call("stat", || rustix::fs::stat(c"/proc/self/ns/pid")))?.st_ino as u64)
}
