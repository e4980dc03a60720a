//! Scheduling calls that rustix leaves out, and for which musl returns ENOSYS.

use core::ffi::{c_int, c_long, c_uint, c_ulong};
use core::mem::size_of;

use static_assertions::const_assert_eq;

use crate::errno::Result;
use crate::raw;

/// `struct sched_attr` in its second form (Linux 5.3), which has utilisation clamps.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct SchedAttr {
    pub(crate) size: u32,
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
    pub(crate) util_min: u32,
    pub(crate) util_max: u32,
}
const_assert_eq!(size_of::<SchedAttr>(), 56);

/// `sched_setattr(thread, attr, 0)`.
pub(crate) fn set_attr(thread: c_int, attr: &SchedAttr) -> Result<()> {
    let attr = SchedAttr { size: size_of::<SchedAttr>() as u32, ..*attr };
    raw::call_long("sched_setattr", || {
        let attr: *const SchedAttr = &attr;
        // SAFETY: sched_setattr(2) reads as many bytes as the structure says it has.
        unsafe { libc::syscall(libc::SYS_sched_setattr, c_long::from(thread), attr, 0 as c_long) }
    })?;
    Ok(())
}

/// `sched_getattr(thread, attr, sizeof attr, 0)`.
pub(crate) fn attr(thread: c_int) -> Result<SchedAttr> {
    let mut attr = SchedAttr::default();
    raw::call_long("sched_getattr", || {
        let (place, size): (*mut SchedAttr, _) = (&mut attr, size_of::<SchedAttr>() as c_long);
        // SAFETY: sched_getattr(2) writes at most the size given, to a place of that size.
        unsafe { libc::syscall(libc::SYS_sched_getattr, c_long::from(thread), place, size, 0 as c_long) }
    })?;
    Ok(attr)
}

/// `sched_get_priority_max(policy)`.
pub(crate) fn priority_max(policy: u32) -> Result<c_long> {
    raw::call_long("sched_get_priority_max", || {
        // SAFETY: the call takes a number and touches no memory.
        unsafe { libc::syscall(libc::SYS_sched_get_priority_max, c_long::from(policy as i32)) }
    })
}

/// `sched_get_priority_min(policy)`.
pub(crate) fn priority_min(policy: u32) -> Result<c_long> {
    raw::call_long("sched_get_priority_min", || {
        // SAFETY: the call takes a number and touches no memory.
        unsafe { libc::syscall(libc::SYS_sched_get_priority_min, c_long::from(policy as i32)) }
    })
}

/// `sched_setaffinity(thread, size, words)` with a set of any size.
pub(crate) fn set_affinity(thread: c_int, words: &[c_ulong]) -> Result<()> {
    raw::call_long("sched_setaffinity", || {
        let size = size_of_val(words) as c_long;
        // SAFETY: sched_setaffinity(2) reads at most the size given, which is that of the slice.
        unsafe { libc::syscall(libc::SYS_sched_setaffinity, c_long::from(thread), size, words.as_ptr()) }
    })?;
    Ok(())
}

/// `sched_getaffinity(thread, size, words)`: fills the words that the kernel uses, and does not change the rest.
pub(crate) fn affinity(thread: c_int, words: &mut [c_ulong]) -> Result<()> {
    raw::call_long("sched_getaffinity", || {
        let size = size_of_val(words) as c_long;
        // SAFETY: sched_getaffinity(2) writes at most the size given, which is that of the slice.
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, c_long::from(thread), size, words.as_mut_ptr()) }
    })?;
    Ok(())
}

/// `getcpu(cpu, node)`.
pub(crate) fn getcpu() -> Result<(c_uint, c_uint)> {
    let (mut cpu, mut node): (c_uint, c_uint) = (0, 0);
    raw::call_long("getcpu", || {
        let (cpu, node): (*mut c_uint, *mut c_uint) = (&mut cpu, &mut node);
        let unused = core::ptr::null::<c_uint>();
        // SAFETY: getcpu(2) writes one unsigned int to each of two places and ignores the third.
        unsafe { libc::syscall(libc::SYS_getcpu, cpu, node, unused) }
    })?;
    Ok((cpu, node))
}
