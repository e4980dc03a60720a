//! Processes: the calls that rustix leaves to libc or leaves out. Layouts are the kernel's own, not libc's.

use core::ffi::{c_char, c_int, c_long, c_ulong, c_void};
use core::mem::{MaybeUninit, size_of};

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::process::Pid;
use static_assertions::const_assert_eq;

use crate::errno::{Errno, Result};
use crate::raw;

/// `struct clone_args` of clone3(2), in the form with cgroups (Linux 5.7).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct CloneArgs {
    pub(crate) flags: u64,
    pub(crate) pidfd: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) exit_signal: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) set_tid: u64,
    pub(crate) set_tid_size: u64,
    pub(crate) cgroup: u64,
}
const_assert_eq!(size_of::<CloneArgs>(), 88);

pub(crate) const CLONE_PIDFD: u64 = 0x1000;
pub(crate) const CLONE_VFORK: u64 = 0x4000;
pub(crate) const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
pub(crate) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct rusage` as waitid(2) and getrusage(2) of the kernel fill it: C longs throughout, on 32 bits too.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct RawUsage {
    pub(crate) user: [c_long; 2],
    pub(crate) system: [c_long; 2],
    pub(crate) max_rss: c_long,
    unmaintained: [c_long; 3],
    pub(crate) minor_faults: c_long,
    pub(crate) major_faults: c_long,
    swaps: c_long,
    pub(crate) blocks_in: c_long,
    pub(crate) blocks_out: c_long,
    messages: [c_long; 3],
    pub(crate) voluntary_switches: c_long,
    pub(crate) involuntary_switches: c_long,
}
const_assert_eq!(size_of::<RawUsage>(), 18 * size_of::<c_long>());

/// The result of waitid(2): `si_code` (a `CLD_*`) and `si_status`.
#[derive(Clone, Copy)]
pub(crate) struct Waited {
    pub(crate) pid: c_int,
    pub(crate) code: c_int,
    pub(crate) status: c_int,
}

/// The process that waitid(2) waits for.
#[derive(Clone, Copy)]
pub(crate) enum WaitFor<'a> {
    Any,
    Pid(Pid),
    Pidfd(BorrowedFd<'a>),
}

/// The kernel's waitid, which unlike libc's also returns the resource usage. `None`: nothing to report under `WNOHANG`.
pub(crate) fn waitid(whom: WaitFor<'_>, options: c_int, usage: &mut RawUsage) -> Result<Option<Waited>> {
    const P_ALL: c_long = 0;
    const P_PID: c_long = 1;
    const P_PIDFD: c_long = 3;
    let (kind, id) = match whom {
        WaitFor::Any => (P_ALL, 0),
        WaitFor::Pid(pid) => (P_PID, c_long::from(pid.as_raw_nonzero().get())),
        WaitFor::Pidfd(fd) => (P_PIDFD, c_long::from(fd.as_raw_fd())),
    };
    // Zeroed, because a WNOHANG that finds nothing differs from a report by the zero process id.
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    raw::call_long("waitid", || {
        let usage: *mut RawUsage = usage;
        // SAFETY: waitid(2) writes one siginfo and one rusage of the kernel's layout; both places are that large and
        // borrowed for the call.
        unsafe { libc::syscall(libc::SYS_waitid, kind, id, info.as_mut_ptr(), c_long::from(options), usage) }
    })?;
    // SAFETY: siginfo_t consists of integers and raw pointers, for which zero is a value; the kernel wrote the rest.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid fills the child variant of the union, or leaves it zero.
    let pid = unsafe { info.si_pid() };
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    Ok(Some(Waited { pid, code: info.si_code, status }))
}

/// `getrusage(who, usage)` with the kernel's layout.
pub(crate) fn getrusage(who: c_int) -> Result<RawUsage> {
    let mut usage = RawUsage::default();
    raw::call_long("getrusage", || {
        let usage: *mut RawUsage = &mut usage;
        // SAFETY: getrusage(2) writes one rusage of the kernel's layout to a place of that size.
        unsafe { libc::syscall(libc::SYS_getrusage, c_long::from(who), usage) }
    })?;
    Ok(usage)
}

/// The exit status (in the form of wait(2)) of an ended and reaped process, which the kernel has kept.
///
/// `None`: the kernel does not keep it (before Linux 6.15), or the process is not reaped yet.
pub(crate) fn pidfd_exit_status(fd: BorrowedFd<'_>) -> Result<Option<u32>> {
    /// `struct pidfd_info` in its first form (64 bytes), which later kernels accept forever.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: u32,
    }
    const_assert_eq!(size_of::<Info>(), 64);
    const PIDFD_GET_INFO: rustix::ioctl::Opcode = rustix::ioctl::opcode::read_write::<Info>(0xff, 11);
    const PIDFD_INFO_EXIT: u64 = 1 << 3;

    let mut info = Info { mask: PIDFD_INFO_EXIT, ..Info::default() };
    // SAFETY: the opcode carries the size of `Info`, which is what the kernel reads and writes at the pointer.
    let ask = unsafe { rustix::ioctl::Updater::<PIDFD_GET_INFO, Info>::new(&mut info) };
    raw::call("ioctl", || {
        // SAFETY: as argued where the request was made; on a descriptor that is not a pidfd the kernel returns ENOTTY.
        unsafe { rustix::ioctl::ioctl(fd, ask) }
    })?;
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

/// `ioctl(pidfd, PIDFD_GET_PID_NAMESPACE, 0)`, Linux 6.11: a descriptor of the process's pid namespace, closed on exec.
pub(crate) fn pidfd_pid_namespace(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    const PIDFD_GET_PID_NAMESPACE: rustix::ioctl::Opcode = rustix::ioctl::opcode::none(0xff, 5);
    let namespace = raw::call_c("ioctl", || {
        // SAFETY: the request takes no argument; on a descriptor that is not a pidfd the kernel returns ENOTTY.
        unsafe { libc::ioctl(fd.as_raw_fd(), PIDFD_GET_PID_NAMESPACE as _, 0) }
    })?;
    // SAFETY: the kernel has just opened it for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(namespace) })
}

/// `fork()` of libc: 0 in the child.
///
/// # Safety
/// As fork(2): a child of a process with several threads may make async-signal-safe calls only.
pub(crate) unsafe fn fork() -> Result<c_int> {
    raw::call_c("fork", || {
        // SAFETY: the caller keeps the one condition of fork(2).
        unsafe { libc::fork() }
    })
}

/// `clone3(args, sizeof args)`: 0 in the child.
///
/// # Safety
/// * No `CLONE_VM` and no stack: the child must own a copy of this stack.
/// * The child makes raw system calls only, until it execs or exits: libc does not know the child.
/// * `pidfd`, where its flag is set, is the address of a C int.
pub(crate) unsafe fn clone3(args: &CloneArgs) -> Result<c_long> {
    raw::call_long("clone3", || {
        let args: *const CloneArgs = args;
        // SAFETY: the structure is initialised and of the size given; the rest is the caller's promise.
        unsafe { libc::syscall(libc::SYS_clone3, args, size_of::<CloneArgs>()) }
    })
}

/// `unshare(CLONE_VM)`: succeeds, and changes nothing, in a process of one thread; `EINVAL` with several threads.
pub(crate) fn unshare_vm() -> Result<()> {
    raw::call_c("unshare", || {
        // SAFETY: of unshare(2): for a single thread CLONE_VM is a no-op, for several it is refused.
        unsafe { libc::unshare(libc::CLONE_VM) }
    })?;
    Ok(())
}

/// `_exit(status)`. Not under the fault hook, because it cannot fail.
pub(crate) fn exit(status: c_int) -> ! {
    // SAFETY: _exit(2) has no preconditions.
    unsafe { libc::_exit(status) }
}

unsafe extern "C" {
    // POSIX and both libcs; missing from the libc crate.
    fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> c_int;
    static environ: *const *const c_char;
}

/// `pthread_atfork(prepare, NULL, child)`.
pub(crate) fn atfork(prepare: Option<extern "C" fn()>, child: Option<extern "C" fn()>) -> Result<()> {
    raw::call_errno("pthread_atfork", || {
        // SAFETY: pthread_atfork(3) takes functions without arguments, here ones that live as long as the program.
        unsafe { pthread_atfork(prepare, None, child) }
    })
}

/// `atexit(callback)`.
pub(crate) fn atexit(callback: extern "C" fn()) -> Result<()> {
    raw::call("atexit", || {
        // SAFETY: atexit(3) takes a function without arguments, here one that lives as long as the program.
        match unsafe { libc::atexit(callback) } {
            0 => Ok(()),
            // The only reason: no memory for the list.
            _ => Err(Errno::NOMEM),
        }
    })
}

/// The environment of this process, in the form for execve(2).
pub(crate) fn environment() -> *const *const c_char {
    // SAFETY: environ(7) is defined by libc. Code that changes it while other code may read it breaks the rule of
    // setenv(3), an unsafe function in Rust for that reason.
    unsafe { environ }
}

/// `sigaction(signal, NULL, old)`: the action and its flags.
fn action(signal: c_int) -> Result<(libc::sighandler_t, c_int)> {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    raw::call_c("sigaction", || {
        // SAFETY: sigaction(2) with no new action only writes the old one to a place of its type.
        unsafe { libc::sigaction(signal, core::ptr::null(), old.as_mut_ptr()) }
    })?;
    // SAFETY: the call succeeded, so libc filled the structure (and it was zeroed before, a value of its type).
    let old = unsafe { old.assume_init() };
    Ok((old.sa_sigaction, old.sa_flags))
}

/// Whether `signal` is ignored.
pub(crate) fn is_ignored(signal: c_int) -> Result<bool> {
    Ok(action(signal)?.0 == libc::SIG_IGN)
}

/// Whether SIGCHLD is ignored in either way: the kernel then reaps the children itself.
pub(crate) fn children_are_reaped_by_the_kernel() -> Result<bool> {
    let (action, flags) = action(libc::SIGCHLD)?;
    Ok(action == libc::SIG_IGN || flags & libc::SA_NOCLDWAIT != 0)
}

/// Gives `signal` its default action.
pub(crate) fn default_action(signal: c_int) -> Result<()> {
    let action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zero is a sigaction: SIG_DFL, no flags, an empty mask, no restorer.
    let action = unsafe { action.assume_init() };
    raw::call_c("sigaction", || {
        // SAFETY: sigaction(2) reads one action; the default one runs no code of ours.
        unsafe { libc::sigaction(signal, &action, core::ptr::null_mut()) }
    })?;
    Ok(())
}

/// A set of signals in the kernel's form: 64 bits in C longs.
#[derive(Clone, Copy)]
pub(crate) struct Mask([c_ulong; Mask::WORDS]);

impl Mask {
    const BITS: usize = c_ulong::BITS as usize;
    const WORDS: usize = 64 / Self::BITS;
    pub(crate) const EMPTY: Self = Self([0; Self::WORDS]);
    pub(crate) const FULL: Self = Self([c_ulong::MAX; Self::WORDS]);

    pub(crate) fn add(&mut self, signal: c_int) {
        // Signals count from 1.
        let bit = (signal as usize).wrapping_sub(1);
        if let Some(word) = self.0.get_mut(bit / Self::BITS) {
            *word |= 1 << (bit % Self::BITS);
        }
    }
}

/// `rt_sigprocmask(SIG_SETMASK, mask, old)`, all 64 signals: libc's form would leave out its reserved signals.
pub(crate) fn set_mask(mask: &Mask) -> Result<Mask> {
    let mut old = Mask::EMPTY;
    raw::call_long("sigprocmask", || {
        let new: *const Mask = mask;
        let old: *mut Mask = &mut old;
        // SAFETY: rt_sigprocmask(2) reads and writes sets of the size given, which both places have. A thread that
        // blocks libc's own signals for a moment only delays them.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                c_long::from(libc::SIG_SETMASK),
                new,
                old,
                size_of::<Mask>() as c_long,
            )
        }
    })?;
    Ok(old)
}

/// `execve(path, argv, envp)`: returns only the error.
///
/// # Safety
/// `argv` and `envp` end with a null pointer; all before it are C strings.
pub(crate) unsafe fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> Errno {
    failure(raw::call_c("execve", || {
        // SAFETY: the caller's promise is the whole condition of execve(2).
        unsafe { libc::execve(path, argv, envp) }
    }))
}

/// `execveat(fd, "", argv, envp, AT_EMPTY_PATH)`: returns only the error.
///
/// # Safety
/// As [`execve`].
pub(crate) unsafe fn execveat(fd: c_int, argv: *const *const c_char, envp: *const *const c_char) -> Errno {
    failure(raw::call_long("execveat", || {
        let (fd, flags) = (c_long::from(fd), c_long::from(libc::AT_EMPTY_PATH));
        // SAFETY: the caller's promise is the whole condition of execveat(2); a bad number is EBADF.
        unsafe { libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), argv, envp, flags) }
    }))
}

fn failure<T>(answer: Result<T>) -> Errno {
    // A call that replaces the program returns only if it failed.
    answer.err().unwrap_or(Errno::IO)
}

/// `fcntl(fd, F_DUPFD_CLOEXEC, least)` on a bare number of a child's own table: a copy at `least` or above.
pub(crate) fn dup_above(fd: c_int, least: c_int) -> Result<c_int> {
    raw::call_c("fcntl", || {
        // SAFETY: duplicating touches no descriptor that is open; a bad number is EBADF.
        unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) }
    })
}

/// `dup2(fd, target)`, kept open on exec, on bare numbers of a child's own table.
///
/// # Safety
/// Nothing in this process may count on what `target` led to: it is about to exec.
pub(crate) unsafe fn dup_onto(fd: c_int, target: c_int) -> Result<()> {
    raw::call_c("dup2", || {
        // SAFETY: dup2(2) closes the file of `target`, which the caller permits.
        unsafe { libc::dup2(fd, target) }
    })?;
    Ok(())
}

/// `fcntl(fd, F_SETFD, flags)` on a bare number.
pub(crate) fn set_descriptor_flags(fd: c_int, flags: c_int) -> Result<()> {
    raw::call_c("fcntl", || {
        // SAFETY: F_SETFD changes whether exec closes the number; it closes nothing now.
        unsafe { libc::fcntl(fd, libc::F_SETFD, flags) }
    })?;
    Ok(())
}

/// `close_range(first, ~0U, CLOSE_RANGE_CLOEXEC)`.
pub(crate) fn cloexec_from(first: c_int) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: c_long = 4;
    raw::call_long("close_range", || {
        // SAFETY: with this flag close_range(2) closes nothing now.
        unsafe {
            libc::syscall(
                libc::SYS_close_range,
                c_long::from(first),
                c_long::from(u32::MAX as i32),
                CLOSE_RANGE_CLOEXEC,
            )
        }
    })?;
    Ok(())
}

/// `prlimit(pid, resource, NULL, old)`: the soft and the hard limit.
pub(crate) fn prlimit_get(pid: Pid, resource: c_int) -> Result<[u64; 2]> {
    let mut limit = [0_u64; 2];
    raw::call_long("prlimit", || {
        let (pid, none) = (c_long::from(pid.as_raw_nonzero().get()), core::ptr::null::<c_void>());
        // SAFETY: prlimit64(2) reads nothing through the null pointer and writes two 64-bit numbers to the other.
        unsafe { libc::syscall(libc::SYS_prlimit64, pid, c_long::from(resource), none, limit.as_mut_ptr()) }
    })?;
    Ok(limit)
}

// On machines whose first calls had 16-bit numbers, the calls with 32-bit numbers have names of their own.
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
use libc::{SYS_setgid as SETGID, SYS_setgroups as SETGROUPS, SYS_setuid as SETUID};
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
use libc::{SYS_setgid32 as SETGID, SYS_setgroups32 as SETGROUPS, SYS_setuid32 as SETUID};

/// `setgroups(len, groups)` of the kernel, which affects only the calling thread.
pub(crate) fn set_groups_of_thread(groups: &[u32]) -> Result<()> {
    raw::call_long("setgroups", || {
        // SAFETY: setgroups(2) reads the given number of ids from the pointer.
        unsafe { libc::syscall(SETGROUPS, groups.len() as c_long, groups.as_ptr()) }
    })?;
    Ok(())
}

/// `setgid(group)` of the kernel, which affects only the calling thread.
pub(crate) fn set_group_of_thread(group: u32) -> Result<()> {
    raw::call_long("setgid", || {
        // SAFETY: setgid(2) takes a number.
        unsafe { libc::syscall(SETGID, group as c_long) }
    })?;
    Ok(())
}

/// `setuid(user)` of the kernel, which affects only the calling thread.
pub(crate) fn set_user_of_thread(user: u32) -> Result<()> {
    raw::call_long("setuid", || {
        // SAFETY: setuid(2) takes a number.
        unsafe { libc::syscall(SETUID, user as c_long) }
    })?;
    Ok(())
}

/// `setgroups(len, groups)` of libc, for all threads.
pub(crate) fn set_groups(groups: &[u32]) -> Result<()> {
    raw::call_c("setgroups", || {
        // SAFETY: setgroups(3) reads the given number of ids from the pointer.
        unsafe { libc::setgroups(groups.len() as _, groups.as_ptr()) }
    })?;
    Ok(())
}

/// `setgid(group)` of libc, for all threads.
pub(crate) fn set_group(group: u32) -> Result<()> {
    raw::call_c("setgid", || {
        // SAFETY: setgid(3) takes a number.
        unsafe { libc::setgid(group) }
    })?;
    Ok(())
}

/// `setuid(user)` of libc, for all threads.
pub(crate) fn set_user(user: u32) -> Result<()> {
    raw::call_c("setuid", || {
        // SAFETY: setuid(3) takes a number.
        unsafe { libc::setuid(user) }
    })?;
    Ok(())
}

/// `ptrace(request, pid, 0, data)` for requests that neither read nor write this process's memory.
///
/// # Safety
/// `request` is one of those.
pub(crate) unsafe fn ptrace(request: c_long, pid: c_long, data: c_long) -> Result<()> {
    raw::call_long("ptrace", || {
        // SAFETY: the caller's promise: nothing is taken as a pointer.
        unsafe { libc::syscall(libc::SYS_ptrace, request, pid, 0 as c_long, data) }
    })?;
    Ok(())
}

/// `getresuid(real, effective, saved)`.
pub(crate) fn getresuid() -> Result<[u32; 3]> {
    let [mut real, mut effective, mut saved] = [0; 3];
    raw::call_c("getresuid", || {
        // SAFETY: getresuid(2) writes three numbers to three places of their type.
        unsafe { libc::getresuid(&mut real, &mut effective, &mut saved) }
    })?;
    Ok([real, effective, saved])
}

/// `getresgid(real, effective, saved)`.
pub(crate) fn getresgid() -> Result<[u32; 3]> {
    let [mut real, mut effective, mut saved] = [0; 3];
    raw::call_c("getresgid", || {
        // SAFETY: getresgid(2) writes three numbers to three places of their type.
        unsafe { libc::getresgid(&mut real, &mut effective, &mut saved) }
    })?;
    Ok([real, effective, saved])
}

/// `getgroups(size, list)`: the number of elements that were written to the front of `list`.
pub(crate) fn getgroups(list: &mut [u32]) -> Result<usize> {
    let size = c_int::try_from(list.len()).unwrap_or(c_int::MAX);
    if size == 0 {
        // With a size of 0 the kernel would only count the groups.
        return Err(Errno::INVAL);
    }
    let len = raw::call_c("getgroups", || {
        // SAFETY: getgroups(2) writes at most `size` numbers, for which `list` has room.
        unsafe { libc::getgroups(size, list.as_mut_ptr()) }
    })?;
    Ok(len as usize)
}
