//! Fork with a closure, after a check that it is safe.

use core::fmt;
use core::result::Result;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::pidfd::{pause, pidfd_open};
use super::{Child, Pid, exit, generation};
use crate::deadline::Deadline;
use crate::errno::{self, Errno, retry};
use crate::raw;
use crate::raw::process::{self as raw_process, RawUsage, WaitFor};

/// Why [`fork`] did not fork.
///
/// # Examples
/// ```
/// use ossature_sys::{errno::Errno, process::{ForkError, may_fork}};
///
/// let refused = std::thread::spawn(may_fork).join().unwrap().unwrap_err();
/// assert_eq!(refused, ForkError::MultiThreaded);
/// assert_eq!(refused.errno(), Errno::BUSY);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ForkError {
    /// The process has more than one thread: the child would lack the others, with all that they hold.
    ///
    /// Threads that the kernel made for io_uring count as well. These are its workers while they run, and an `SQPOLL`
    /// thread for as long as its ring is open. They share the memory like any other.
    MultiThreaded,
    /// Neither unshare(2) nor /proc could show whether the process has only one thread.
    Unproven,
    /// This thread holds a lock, permit or claim in shared memory, by a guard or by `acquire`. Or the process holds a
    /// [pthread mutex](crate::pthread). The child would seem to hold it too.
    LockHeld,
    /// SIGCHLD is ignored, so the kernel would reap the child and might reuse its number.
    SigchldIgnored,
    /// A system call failed.
    Os(Errno),
}

impl fmt::Display for ForkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MultiThreaded => f.write_str(
                "cannot fork: the process has other threads; fork before starting them, join them first, or start a \
                 new process with `Process::spawn`, a program with `Plan`",
            ),
            Self::Unproven => f.write_str(
                "cannot fork: cannot tell whether the process has other threads; allow unshare(CLONE_VM) or mount /proc",
            ),
            Self::LockHeld => {
                f.write_str(
                    "cannot fork: a lock, permit or claim in shared memory is held, or a pthread mutex; drop the guard or the \
                     permit before forking, or release() what acquire() took",
                )
            }
            Self::SigchldIgnored => f.write_str(
                "cannot fork: SIGCHLD is ignored, so the child's status would be lost; give SIGCHLD its default action",
            ),
            Self::Os(errno) => write!(f, "cannot fork: {errno}"),
        }
    }
}

impl core::error::Error for ForkError {}

impl From<Errno> for ForkError {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

impl ForkError {
    /// The errno closest to this error, for callers that use no other errors.
    pub fn errno(self) -> Errno {
        match self {
            Self::MultiThreaded | Self::LockHeld => Errno::BUSY,
            Self::Unproven => Errno::PERM,
            Self::SigchldIgnored => Errno::CHILD,
            Self::Os(errno) => errno,
        }
    }
}

/// `fork()`: runs `child` in a new process, which ends with the code that it returns.
///
/// The closure may borrow: the new process has its own copy of this memory, and what the closure changes there is not
/// seen here. Memory mapped as shared stays shared. A panic in the closure ends the child with code 101. Buffered
/// output is written twice or not at all, as in every language: flush before forking, and at the end of the closure.
///
/// The child ends by `_exit`: neither destructors of this stack nor `atexit` functions run in it.
///
/// Differs from Python, which forks beside other threads and warns: here that is an error.
///
/// # Errors
/// * [`ForkError::MultiThreaded`] when the process has a second thread. A thread that was just joined, or whose
///   scope has ended, may still be leaving, on a busy machine for long. The call waits for it up to 100 ms.
/// * [`ForkError::Unproven`] when that cannot be determined.
/// * [`ForkError::LockHeld`] while this thread holds something exclusive in shared memory, or any thread has or has
///   leaked a [guard of a pthread mutex](crate::pthread::Guard).
/// * [`ForkError::SigchldIgnored`] when `SIGCHLD` is ignored or has `SA_NOCLDWAIT`.
/// * [`ForkError::Os`]: `EAGAIN` when the user or cgroup has too many processes, `ENOMEM`, `EMFILE` when there is no
///   descriptor for the pidfd. No child is left then, unless it is reaped elsewhere. A handler of `SIGCHLD` that waits
///   for any child (`waitpid(-1, ...)`) must not run during the call. If it reaped the child just now, the call would
///   fail with `ESRCH`. If another child got the number at once, the pidfd would refer to that child.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{ExitStatus, fork};
///
/// let mut child = fork(|| 42).unwrap();
/// assert_eq!(child.wait(), Ok(ExitStatus::Code(42)));
/// ```
pub fn fork<F: FnOnce() -> u8>(child: F) -> Result<Child, ForkError> {
    may_fork()?;
    // SAFETY: this is the only thread, so nothing that another held can be missed in the child; it holds no lock in
    // shared memory; and the child runs one closure and exits, so it never returns into a caller that did not expect a
    // second return. The closure's own copies and borrows are copied with their memory.
    match unsafe { fork_unchecked() }? {
        Some(started) => Ok(started),
        None => run(child),
    }
}

/// `fork()`, after which this call returns *in the child*, and the program continues there. This process calls `watch`
/// with the child, and ends with the returned exit code. daemon(3) works in this way, and so does a process above a
/// program in a container.
///
/// This process runs no destructor of its stack any more, because the child now owns the values. This process ends by
/// `_exit`. A panic of `watch` ends this process with code 101.
///
/// # Errors
/// As [`fork`]; the call then returns in this process, and nothing is changed.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{continue_in_child, generation};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let before = generation();
/// continue_in_child(|mut child| child.wait().ok().and_then(|end| end.code()).unwrap_or(1))?;
/// assert_ne!(generation(), before, "the child goes on here, and the parent waits for it");
/// # Ok(()) }
/// ```
pub fn continue_in_child<F: FnOnce(Child) -> u8>(watch: F) -> Result<(), ForkError> {
    may_fork()?;
    // SAFETY: this is the only thread and holds no lock in shared memory, as for `fork`. One process returns from here,
    // the child, with a copy of everything; the other one runs one closure and exits, so nothing on the stack is used
    // by both.
    match unsafe { fork_unchecked() }? {
        Some(started) => run(|| watch(started)),
        None => Ok(()),
    }
}

/// Checks whether [`fork`] would refuse now. For a caller that must prepare a fork and would otherwise do so in vain.
///
/// # Errors
/// Those of [`fork`], except for [`ForkError::Os`] of the fork itself.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{fork, may_fork};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// may_fork()?;
/// let mut prepared = vec![1; 1000];
/// let mut child = fork(|| prepared.drain(..).sum::<u8>().min(1))?;
/// child.wait()?;
/// # Ok(()) }
/// ```
pub fn may_fork() -> Result<(), ForkError> {
    if raw_process::children_are_reaped_by_the_kernel()? {
        return Err(ForkError::SigchldIgnored);
    }
    // First, because the locks that a thread holds are known everywhere only if it is the only thread.
    prove_single_thread()?;
    if crate::robust::holds_exclusively() || crate::pthread::holds_any() {
        return Err(ForkError::LockHeld);
    }
    Ok(())
}

/// `fork()` and `pidfd_open(child)`: `None` in the child.
///
/// # Errors
/// `EAGAIN`, `ENOMEM`, `EMFILE` as [`fork`]; no child is left then. `ESRCH` when the child ended at once and the kernel
/// reaped it, because SIGCHLD is ignored. As with [`fork`], no handler of `SIGCHLD` may reap any child meanwhile.
///
/// # Safety
/// * In a process with several threads the child may make async-signal-safe calls only. Every lock that a thread held
///   (of the allocator, of standard output, ...) stays held in the child forever.
/// * The child holds copies of every value on the stack. It must not release twice what the parent releases as well:
///   guards of locks in shared memory, files to be unlinked.
/// * Both processes return from this call, so the caller and its callers must be prepared for that.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{exit, fork_unchecked};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // SAFETY: the process has one thread, and its child ends at once.
/// match unsafe { fork_unchecked() }? {
///     Some(mut child) => assert_eq!(child.wait()?.code(), Some(5)),
///     None => exit(5),
/// }
/// # Ok(()) }
/// ```
pub unsafe fn fork_unchecked() -> errno::Result<Option<Child>> {
    // Counts this fork, too: a handler that the first call registers runs at later forks only.
    let _ = generation();
    descriptor_is_free()?;
    // SAFETY: the caller keeps the conditions of fork(2).
    let pid = unsafe { raw_process::fork() }?;
    let Some(pid) = Pid::from_raw(pid) else { return Ok(None) };
    match pidfd_open(pid) {
        Ok(pidfd) => Ok(Some(Child::new(pid, pidfd))),
        Err(errno) => {
            abandon(pid);
            Err(errno)
        }
    }
}

/// Reports the usual errors before there is a child that might have begun its work: no descriptor is left for its
/// pidfd, or the system has no pidfds.
///
/// The descriptors that this check opens are closed again before the fork. Otherwise the child would have to close them
/// too. A child pays for every page of code and data that it touches for the first time. Once pidfds are known to work,
/// the check opens a path descriptor instead, at a third of the cost.
fn descriptor_is_free() -> errno::Result<()> {
    static PIDFDS_WORK: AtomicBool = AtomicBool::new(false);
    if PIDFDS_WORK.load(Relaxed) {
        let opened = raw::call("open", || rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()));
        return match opened {
            Err(full @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => Err(full),
            // A sandbox may forbid this call. That does not mean that there are no free descriptors.
            Ok(_) | Err(_) => Ok(()),
        };
    }
    pidfd_open(rustix::process::getpid())?;
    PIDFDS_WORK.store(true, Relaxed);
    Ok(())
}

/// Ends and reaps a child for which there is no descriptor: an error must not leave a process behind.
pub(super) fn abandon(pid: Pid) {
    // The number still belongs to the child: the doc of `fork` forbids other code to reap it. If the kernel did, both
    // calls fail and there is nothing to end.
    let _ = raw::call("kill", || rustix::process::kill_process(pid, super::Signal::KILL));
    let _ = retry(|| raw_process::waitid(WaitFor::Pid(pid), libc::WEXITED, &mut RawUsage::default()));
}

/// Runs the closure in the child, and ends the child.
#[inline(always)] // in the page of code that the child has already
fn run<F: FnOnce() -> u8>(child: F) -> ! {
    /// Ends the process if the closure unwinds: the frames below belong to the parent.
    struct NoReturn;
    impl Drop for NoReturn {
        fn drop(&mut self) {
            // The exit status of a Rust program after a panic.
            exit(101)
        }
    }
    let _no_return = NoReturn;
    exit(child())
}

/// `unshare(CLONE_VM)`, which changes nothing, proves that this process has one thread. Threads share one address
/// space, so the kernel refuses the call if there is a second thread.
///
/// # Errors
/// [`ForkError::MultiThreaded`] and [`ForkError::Unproven`], as for [`fork`].
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::prove_single_thread;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// prove_single_thread()?;
/// # Ok(()) }
/// ```
#[doc(alias = "unshare")]
pub fn prove_single_thread() -> Result<(), ForkError> {
    const PATIENCE: Duration = Duration::from_millis(100);
    const PAUSE: Duration = Duration::from_micros(50);
    let mut patience = None;
    loop {
        let single = match raw_process::unshare_vm() {
            Ok(()) => true,
            Err(Errno::INVAL) => false,
            // A sandbox may forbid the call.
            Err(_) => is_only_task()?,
        };
        if single {
            return Ok(());
        }
        // A joined thread may stay on the kernel's list for a moment after the join returns. A scope does not even wait
        // for the destructors of a thread's own data.
        if patience.get_or_insert_with(|| Deadline::after(PATIENCE)).has_passed() {
            return Err(ForkError::MultiThreaded);
        }
        pause(PAUSE);
    }
}

/// Uses the link count of /proc/self/task: one for each thread, and two that every directory has.
fn is_only_task() -> Result<bool, ForkError> {
    match raw::call("stat", || rustix::fs::stat(c"/proc/self/task")) {
        Ok(stat) if stat.st_nlink >= 3 => Ok(stat.st_nlink == 3),
        _ => Err(ForkError::Unproven),
    }
}
