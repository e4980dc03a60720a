//! Process ids, groups, sessions, and the ties between a process and its parent.

use super::{Pid, Signal};
use crate::errno::Result;
use crate::raw;

/// `getpid()`: the number of this process.
///
/// # Examples
/// ```
/// let same = ossature_sys::process::id().as_raw_nonzero().get();
/// assert_eq!(same as u32, std::process::id());
/// ```
#[doc(alias = "getpid")]
pub fn id() -> Pid {
    // The call cannot fail, so it does not pass the fault hook.
    rustix::process::getpid()
}

/// `getppid()`: the number of the parent; `None` when the parent is outside this pid namespace.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{fork, id, parent_id};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let parent = id();
/// let mut child = fork(|| u8::from(parent_id() == Some(parent)))?;
/// assert_eq!(child.wait()?.code(), Some(1));
/// # Ok(()) }
/// ```
#[doc(alias = "getppid")]
pub fn parent_id() -> Option<Pid> {
    rustix::process::getppid()
}

/// `geteuid()`: the user whose rights this process has.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Credentials, effective_user};
///
/// assert_eq!(effective_user(), Credentials::of_thread()?.users[1]);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "geteuid")]
pub fn effective_user() -> u32 {
    // The call cannot fail, so it does not pass the fault hook.
    rustix::process::geteuid().as_raw()
}

/// `getuid()`: the user that this process belongs to.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Credentials, real_user};
///
/// assert_eq!(real_user(), Credentials::of_thread()?.users[0]);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "getuid")]
pub fn real_user() -> u32 {
    // The call cannot fail, so it does not pass the fault hook.
    rustix::process::getuid().as_raw()
}

/// `getegid()`: the group whose rights this process has.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Credentials, effective_group};
///
/// assert_eq!(effective_group(), Credentials::of_thread()?.groups[1]);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "getegid")]
pub fn effective_group() -> u32 {
    // The call cannot fail, so it does not pass the fault hook.
    rustix::process::getegid().as_raw()
}

/// `getgid()`: the group that this process belongs to.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Credentials, real_group};
///
/// assert_eq!(real_group(), Credentials::of_thread()?.groups[0]);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "getgid")]
pub fn real_group() -> u32 {
    // The call cannot fail, so it does not pass the fault hook.
    rustix::process::getgid().as_raw()
}

/// `getauxval(AT_SECURE)`: whether this program may have rights that its starter did not have. That is so if its file
/// is set-user-ID or set-group-ID or has capabilities, or by decision of a security module. Such a program should not
/// trust its arguments, its environment and its inherited descriptors. The answer never changes while the program runs.
///
/// # Examples
/// ```
/// assert!(!ossature_sys::process::is_privileged_by_exec(), "this program's file gives no rights");
/// ```
#[doc(alias = "AT_SECURE")]
#[doc(alias = "issetugid")]
pub fn is_privileged_by_exec() -> bool {
    // SAFETY: getauxval(3) takes a number and reads what the kernel left for this program.
    // It returns 0 for an unknown entry; every kernel has this one. No fault can be injected here.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// `getpgid(pid)`: the process group of `pid`, or of this process for `None`. Returns `None` when the group belongs to
/// an outer pid namespace, for which the kernel returns 0.
///
/// # Errors
/// `ESRCH` when there is no such process.
///
/// # Examples
/// ```
/// use ossature_sys::process::{group_of, id};
///
/// assert_eq!(group_of(Some(id()))?, group_of(None)?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "getpgid")]
pub fn group_of(pid: Option<Pid>) -> Result<Option<Pid>> {
    // SAFETY: getpgid(2) takes a number and touches no memory.
    number_or_outside("getpgid", || unsafe { libc::getpgid(Pid::as_raw(pid)) })
}

/// `setpgid(pid, group)`: moves this process or a child that has not exec'd into a group; `None` for `group` makes the
/// process the leader of a new group.
///
/// # Errors
/// `EPERM` when the group is in another session or `pid` leads a session, `EACCES` when the child has exec'd, `ESRCH`
/// when `pid` is neither this process nor a child.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{fork, group_of, id, set_group};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut child = fork(|| {
///     set_group(None, None).unwrap();
///     u8::from(group_of(None) == Ok(Some(id())))
/// })?;
/// assert_eq!(child.wait()?.code(), Some(1));
/// # Ok(()) }
/// ```
#[doc(alias = "setpgid")]
pub fn set_group(pid: Option<Pid>, group: Option<Pid>) -> Result<()> {
    raw::call("setpgid", || rustix::process::setpgid(pid, group))
}

/// `getsid(pid)`: the session of `pid`, or of this process for `None`. Returns `None` when the session belongs to an
/// outer pid namespace, as in a container whose first process started no session.
///
/// # Errors
/// `ESRCH` when there is no such process.
///
/// # Examples
/// ```
/// use ossature_sys::process::{id, session_of};
///
/// assert_eq!(session_of(Some(id()))?, session_of(None)?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "getsid")]
pub fn session_of(pid: Option<Pid>) -> Result<Option<Pid>> {
    // SAFETY: getsid(2) takes a number and touches no memory.
    number_or_outside("getsid", || unsafe { libc::getsid(Pid::as_raw(pid)) })
}

/// Makes a call that returns 0 for a number outside this pid namespace, which rustix considers impossible.
fn number_or_outside(name: &'static str, call: impl FnOnce() -> libc::pid_t) -> Result<Option<Pid>> {
    raw::call_c(name, call).map(Pid::from_raw)
}

/// `setsid()`: starts a new session and group with this process as leader and no terminal.
///
/// # Errors
/// `EPERM` when this process leads a group already.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{fork, id, new_session, session_of};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut child = fork(|| {
///     let session = new_session().unwrap();
///     u8::from(session == id() && session_of(None) == Ok(Some(session)))
/// })?;
/// assert_eq!(child.wait()?.code(), Some(1));
/// # Ok(()) }
/// ```
#[doc(alias = "setsid")]
pub fn new_session() -> Result<Pid> {
    raw::call("setsid", rustix::process::setsid)
}

/// `umask(mask)`: sets the permission bits that new files do not get, and returns the previous mask.
///
/// # Examples
/// ```
/// use ossature_sys::process::set_umask;
///
/// let before = set_umask(0o077);
/// assert_eq!(set_umask(before), 0o077);
/// ```
#[doc(alias = "umask")]
pub fn set_umask(mask: u32) -> u32 {
    // The call cannot fail, so it does not pass the fault hook.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask as _)).as_raw_mode() as _
}

/// `killpg(group, signal)`: sends a signal to every process of a group.
///
/// A group is only a number. Keep a child of yours in it unreaped as long as you signal it; then no other group gets
/// the number.
///
/// # Errors
/// `ESRCH` when the group has no process, `EPERM` when none of them may be signalled.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Argument, Group, Plan, Signal, signal_group};
///
/// let arguments = [Argument::new(c"sleep"), Argument::new(c"60"), Argument::END];
/// let mut child = Plan::new(c"/bin/sleep", &arguments)?.group(Group::New).start()?;
/// signal_group(child.pid(), Signal::KILL)?;
/// assert_eq!(child.wait()?.signal(), Some(9));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "killpg")]
pub fn signal_group(group: Pid, signal: Signal) -> Result<()> {
    raw::call("killpg", || rustix::process::kill_process_group(group, signal))
}

/// `prctl(PR_SET_PDEATHSIG, signal)`: the signal that this process gets when its parent dies; `None` cancels it.
///
/// "The parent" is the *thread* that forked: when that thread ends, the signal comes. If the parent is dead already, no
/// signal comes: compare [`parent_id`] after this call with the expected parent. Lost on exec of a set-user-id program,
/// not inherited by children.
///
/// # Errors
/// `EINVAL` when the kernel does not know the signal.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{Signal, exit, fork, id, parent_id, set_parent_death_signal};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let parent = id();
/// let mut child = fork(|| {
///     set_parent_death_signal(Some(Signal::TERM)).unwrap();
///     if parent_id() != Some(parent) {
///         exit(1); // the parent ended before the call
///     }
///     0
/// })?;
/// assert!(child.wait()?.success());
/// # Ok(()) }
/// ```
#[doc(alias = "PR_SET_PDEATHSIG")]
pub fn set_parent_death_signal(signal: Option<Signal>) -> Result<()> {
    raw::call("prctl", || rustix::process::set_parent_process_death_signal(signal))
}

/// `prctl(PR_SET_CHILD_SUBREAPER, 1)`: orphans among this process's descendants become its children, instead of init's.
///
/// # Errors
/// None that the kernel documents for this request.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{become_subreaper, is_subreaper, resign_subreaper};
///
/// become_subreaper()?;
/// assert!(is_subreaper()?);
/// resign_subreaper()?;
/// assert!(!is_subreaper()?);
/// # Ok::<(), ossature_sys::errno::Errno>(())
/// ```
#[doc(alias = "PR_SET_CHILD_SUBREAPER")]
pub fn become_subreaper() -> Result<()> {
    // Any number but zero switches it on.
    raw::call("prctl", || rustix::process::set_child_subreaper(Some(Pid::INIT)))
}

/// `prctl(PR_SET_CHILD_SUBREAPER, 0)`: undoes [`become_subreaper`].
///
/// # Errors
/// None that the kernel documents for this request.
pub fn resign_subreaper() -> Result<()> {
    raw::call("prctl", || rustix::process::set_child_subreaper(None))
}

/// `prctl(PR_GET_CHILD_SUBREAPER)`: whether this process is a subreaper.
///
/// # Errors
/// None that the kernel documents for this request.
///
/// # Examples
/// See the example of [`become_subreaper`].
#[doc(alias = "PR_GET_CHILD_SUBREAPER")]
pub fn is_subreaper() -> Result<bool> {
    Ok(raw::call("prctl", rustix::process::child_subreaper)?.is_some())
}
