//! A child in this process's own memory: clone3(2) with `CLONE_VM | CLONE_VFORK` and a stack for it.
//!
//! Copying the page tables of a large parent takes up to tens of milliseconds; a child that is about to execute another
//! program has no use for the copy. It runs on a stack of its own, because it would write over the frames to which the
//! parent returns. Only on x86-64, where it is tested: elsewhere memory is copied.

use core::ffi::{c_long, c_void};
use core::ptr::{NonNull, null_mut};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::process::{CLONE_VFORK, CloneArgs};
use crate::errno::{Errno, Result};
use crate::raw;

const CLONE_VM: u64 = 0x100;

/// The size of the stack. The steps of a plan need less than a tenth of it, even unoptimised.
const ROOM: usize = 64 * 1024;

/// Memory for the stack, with an inaccessible page below it.
struct Stack {
    lowest: NonNull<c_void>,
    guard: usize,
}

impl Stack {
    fn new() -> Result<Self> {
        let guard = rustix::param::page_size();
        let (readable, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::STACK);
        let lowest = raw::call("mmap", || {
            // SAFETY: mmap(2) of new anonymous memory, at an address that the kernel chooses, changes no other memory.
            unsafe { mmap_anonymous(null_mut(), guard + ROOM, readable, flags) }
        })?;
        let stack = Self { lowest: NonNull::new(lowest).ok_or(Errno::NOMEM)?, guard };
        raw::call("mprotect", || {
            // SAFETY: the first page of the mapping just made, which no code uses yet.
            unsafe { mprotect(lowest, guard, MprotectFlags::empty()) }
        })?;
        Ok(stack)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let whole = self.guard + ROOM;
        // SAFETY: the mapping is this value's own; the child that ran on it has executed its program or ended, or never
        // was.
        let _ = raw::call("munmap", || unsafe { munmap(self.lowest.as_ptr(), whole) });
    }
}

/// `clone3(args with CLONE_VM | CLONE_VFORK and a stack)`: runs `child(data)` in a new process that shares this memory,
/// and returns its number once it has executed another program or ended. `EOPNOTSUPP` without memory for the stack, and
/// on targets other than x86_64.
///
/// # Safety
/// * All signals are blocked: a handler in the child would write into the parent's memory.
/// * The child makes raw system calls only, takes no lock and frees nothing. It leaves everything in memory so that the
///   parent can continue as if the child had not run there. `data` is valid for it.
/// * `pidfd`, where its flag is set, is the address of a C int.
pub(crate) unsafe fn clone3_here(
    args: CloneArgs,
    child: extern "C" fn(*const c_void) -> !,
    data: *const c_void,
) -> Result<c_long> {
    if !cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
        return Err(Errno::OPNOTSUPP);
    }
    let stack = Stack::new().map_err(|_| Errno::OPNOTSUPP)?;
    let args = CloneArgs {
        flags: args.flags | CLONE_VM | CLONE_VFORK,
        stack: (stack.lowest.addr().get() + stack.guard) as u64,
        stack_size: ROOM as u64,
        ..args
    };
    let answer = raw::call("clone3", || {
        // SAFETY: the stack is mapped, is this child's alone and outlives it, for CLONE_VFORK holds this thread until
        // the child needs memory no longer; the rest is the caller's promise.
        match unsafe { enter(&args, child, data) } {
            error @ -4095..0 => Err(Errno::from_raw_os_error(-(error as i32))),
            pid => Ok(pid),
        }
    });
    drop(stack);
    answer
}

/// The call itself. The child never returns from here, so no frame of the parent's is used twice.
///
/// # Safety
/// As [`clone3_here`], with a stack in `args`, whose end is a multiple of sixteen.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
unsafe fn enter(args: &CloneArgs, child: extern "C" fn(*const c_void) -> !, data: *const c_void) -> c_long {
    let args: *const CloneArgs = args;
    let answer: c_long;
    // SAFETY: syscall changes rax, rcx and r11 only. In the parent rax is not zero and nothing else has happened. The
    // child has its own stack pointer, aligned as the call of a C function needs it, and `child` does not return.
    unsafe {
        core::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => answer,
            in("rdi") args,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") data,
            in("r13") child,
            out("rcx") _,
            out("r11") _,
        );
    }
    answer
}

#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64")))]
unsafe fn enter(_: &CloneArgs, _: extern "C" fn(*const c_void) -> !, _: *const c_void) -> c_long {
    -(libc::EOPNOTSUPP as c_long)
}
