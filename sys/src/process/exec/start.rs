//! The parent's side of a start: clone, and its result.

use core::ffi::{c_int, c_void};
use core::ptr::from_ref;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::steps::Rest;
use super::{Plan, Stage, StartError};
use crate::errno::{Errno, Result, retry};
use crate::fd::{AboveStandard, AsFd, AsRawFd, FromRawFd, OwnedFd, above_standard};
use crate::process::fork::abandon;
use crate::process::{Child, Pid, exit, id, pidfd_open};
use crate::raw;
use crate::raw::process::{self as raw_process, CloneArgs, Mask};
use crate::raw::vfork;

impl Plan<'_> {
    /// `clone3(CLONE_PIDFD | CLONE_VM | CLONE_VFORK | CLONE_CLEAR_SIGHAND, ...)`, then the plan, then `execve`: starts
    /// the program.
    ///
    /// The calling thread sleeps until the program runs or could not be run. So a failure is an error here and never a
    /// child that ends for no reason. On x86-64 the cost does not depend on the size of this process; elsewhere its
    /// page tables are copied. A kernel or sandbox without clone3 gets fork and pidfd_open.
    ///
    /// With SIGCHLD ignored the end of the child is seen, but its status only on Linux 6.15 and later.
    ///
    /// # Errors
    /// The step that failed with its errno: `EAGAIN`, `ENOMEM` or `EMFILE` at [`Stage::Clone`]; `ENOENT`, `EACCES`,
    /// `ENOEXEC`, `E2BIG` at [`Stage::Exec`]; and so on. No process is left then.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::process::{Argument, Plan};
    ///
    /// let arguments = [Argument::new(c"true"), Argument::END];
    /// let mut child = Plan::new(c"/bin/true", &arguments)?.start()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start(&self) -> core::result::Result<Child, StartError> {
        let failed = |errno| StartError::at(Stage::Clone, errno);
        // Not blocking: the reader wakes only after the writer has written or ended.
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (reader, writer) =
            raw::call("pipe2", || pipe_with(flags)).and_then(AboveStandard::above_standard).map_err(failed)?;
        // No handler may run in the child while it is half a copy of this process.
        let mask = raw_process::set_mask(&Mask::FULL).map_err(failed)?;
        let started = self.start_child(&writer, mask);
        // This undoes a call that succeeded a moment ago, so it does not fail. If it did, there is no alternative.
        let _ = raw_process::set_mask(&mask);
        drop(writer);
        let (mut child, way) = started.map_err(failed)?;
        let failure = match read_report(&reader, &child, way) {
            Ok(None) => return Ok(child),
            // The report is the child's last step, so the wait for its end is short.
            Ok(Some(failure)) => failure,
            // It is unknown whether the program runs: better no program than an unknown one.
            Err(errno) => {
                let _ = child.kill();
                failed(errno)
            }
        };
        let _ = child.wait();
        Err(failure)
    }

    /// `execve`: replaces the program of this process. Returns only with an error; then the steps of the plan before
    /// the failure have already taken effect.
    ///
    /// The parent-death signal comes from the process's current parent. Locks in shared memory that this thread holds
    /// become abandoned.
    ///
    /// # Safety
    /// * No other thread may use descriptors that the plan replaces: if exec fails, their numbers would refer to
    ///   another file than the one opened.
    /// * If it fails, the caller must not use a descriptor whose number was a target of the plan.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature_sys::process::{Argument, Plan, fork};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let arguments = [Argument::new(c"sh"), Argument::new(c"-c"), Argument::new(c"exit 9"), Argument::END];
    /// let plan = Plan::new(c"/bin/sh", &arguments)?;
    /// let mut child = fork(|| {
    ///     // SAFETY: the plan replaces no descriptors.
    ///     let error = unsafe { plan.exec() };
    ///     eprintln!("{error}");
    ///     1
    /// })?;
    /// assert_eq!(child.wait()?.code(), Some(9));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "execve")]
    pub unsafe fn exec(&self) -> StartError {
        let mask = match raw_process::set_mask(&Mask::FULL) {
            Ok(mask) => mask,
            Err(errno) => return StartError::at(Stage::Signals, errno),
        };
        let rest = Rest { handlers: false, cgroup: self.cgroup.is_some(), parent: crate::process::parent_id(), mask };
        let error = self.become_program(&rest, None);
        let _ = raw_process::set_mask(&mask);
        error
    }

    fn start_child(&self, writer: &OwnedFd, mask: Mask) -> Result<(Child, Way)> {
        let parent = Some(id());
        let mut pidfd: c_int = -1;
        let mut args = CloneArgs {
            flags: raw_process::CLONE_PIDFD | raw_process::CLONE_VFORK | raw_process::CLONE_CLEAR_SIGHAND,
            pidfd: (&raw mut pidfd).addr() as u64,
            exit_signal: libc::SIGCHLD as u64,
            ..CloneArgs::default()
        };
        if let Some(cgroup) = self.cgroup {
            args.flags |= raw_process::CLONE_INTO_CGROUP;
            args.cgroup = cgroup.as_raw_fd() as u64;
        }
        // The address left as a number; the kernel writes through it.
        let _ = (&raw mut pidfd).expose_provenance();
        let child_start =
            ChildStart { plan: self, writer, rest: Rest { handlers: false, cgroup: false, parent, mask } };
        // SAFETY: `start` has blocked all signals. The steps make raw calls and functions of libc that only call the
        // kernel, take no lock and own nothing, so nothing is freed. They write only to `moved` of the plan's
        // descriptors, which no other thread can see (a `Cell`) and the next start writes again, and in this thread's
        // errno. `child_start` and `pidfd` outlive the call.
        let in_this_memory = || unsafe { vfork::clone3_here(args, ChildStart::live, from_ref(&child_start).cast()) };
        // A change of the user makes the memory undumpable. The child would share that memory with this process.
        let started = if self.identity.is_empty() { in_this_memory() } else { Err(Errno::OPNOTSUPP) };
        let started = match started {
            // SAFETY: memory is copied, not shared, and no stack is given; the child goes straight into the steps,
            // which make raw calls only and end in exec or exit; `pidfd` is a C int that outlives the call.
            Err(Errno::OPNOTSUPP) => unsafe { raw_process::clone3(&args) },
            started => started,
        };
        match started {
            Ok(0) => self.live(writer, &child_start.rest),
            Ok(pid) => {
                // SAFETY: CLONE_PIDFD made the kernel store a new descriptor there, which no other code knows.
                let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
                let pid = Pid::from_raw(pid as i32).ok_or(Errno::CHILD)?;
                match above_standard(pidfd) {
                    Ok(pidfd) => Ok((Child::new(pid, pidfd), Way::Vfork)),
                    Err(errno) => {
                        abandon(pid);
                        Err(errno)
                    }
                }
            }
            // Sandboxes that cannot look into the structure forbid the call, in either way.
            Err(Errno::NOSYS | Errno::PERM) => self.bear_by_fork(writer, parent, mask),
            Err(errno) => Err(errno),
        }
    }

    fn bear_by_fork(&self, writer: &OwnedFd, parent: Option<Pid>, mask: Mask) -> Result<(Child, Way)> {
        let reserved = pidfd_open(id())?;
        // SAFETY: the child makes async-signal-safe calls only, until it execs or exits.
        let pid = unsafe { raw_process::fork() }?;
        let Some(pid) = Pid::from_raw(pid) else {
            self.live(writer, &Rest { handlers: true, cgroup: self.cgroup.is_some(), parent, mask })
        };
        drop(reserved);
        match pidfd_open(pid) {
            Ok(pidfd) => Ok((Child::new(pid, pidfd), Way::Fork)),
            Err(errno) => {
                abandon(pid);
                Err(errno)
            }
        }
    }

    /// Runs the steps in a child, which ends if it cannot run the program.
    fn live(&self, writer: &OwnedFd, rest: &Rest) -> ! {
        let mut report = writer.as_raw_fd();
        let error = self.become_program(rest, Some(&mut report));
        // SAFETY: the number is that of the pipe or of the copy just made of it, open until this process ends.
        let report = unsafe { crate::fd::BorrowedFd::borrow_raw(report) };
        // The parent reads this; if it is dead, the report is lost.
        let _ = retry(|| raw::call("write", || rustix::io::write(report, &error.to_bytes())));
        // The exit status of shells for a program that cannot be run.
        exit(127)
    }
}

/// The values of this process for a child that shares its memory.
struct ChildStart<'a> {
    plan: &'a Plan<'a>,
    writer: &'a OwnedFd,
    rest: Rest,
}

impl ChildStart<'_> {
    extern "C" fn live(child_start: *const c_void) -> ! {
        // SAFETY: `start_child` gave the address of a `ChildStart`, and is held by CLONE_VFORK while this runs.
        let child_start = unsafe { &*child_start.cast::<ChildStart<'_>>() };
        child_start.plan.live(child_start.writer, &child_start.rest)
    }
}

/// The way in which the child was made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// This thread slept until the child had called exec or ended.
    Vfork,
    /// The child may be at any step.
    Fork,
}

/// The error that the child reported before it ended; nothing if it runs the program.
fn read_report(reader: &OwnedFd, child: &Child, way: Way) -> Result<Option<StartError>> {
    if way == Way::Fork {
        // For the report, or the end of the pipe, or the end of the child, if another process has a copy of the pipe.
        let pidfd = child.as_fd();
        retry(|| {
            let mut list = [PollFd::new(reader, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
            raw::call("ppoll", || poll(&mut list, None))
        })?;
    }
    let mut report = [0; 8];
    match retry(|| raw::call("read", || rustix::io::read(reader, &mut report))) {
        Ok(8) => Ok(Some(StartError::from_bytes(report))),
        // The end of the pipe, or an empty pipe of which another process has a copy. The eight bytes are written at
        // once or not at all.
        Ok(_) | Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno),
    }
}
