//! The child's side: from clone to exec, by raw system calls and libc's async-signal-safe functions only.

use core::ffi::c_int;

use super::{Directory, Group, Plan, Program, Stage, StartError};
use crate::errno::{Errno, Result, retry};
use crate::fd::{AsRawFd, RawFd};
use crate::process::{Pid, Resource, parent_id};
use crate::raw;
use crate::raw::process::{self as raw_process, Mask};

/// The work that the clone has left to do.
#[derive(Clone, Copy)]
pub(super) struct Rest {
    /// Whether signal handlers are still installed.
    pub(super) handlers: bool,
    /// Whether the child is still in the parent's cgroup.
    pub(super) cgroup: bool,
    /// The process whose death the kernel reports.
    pub(super) parent: Option<Pid>,
    /// The signals that the program blocks, if the plan does not set them.
    pub(super) mask: Mask,
}

impl Plan<'_> {
    /// Applies the plan to this process and runs the program. Returns only with an error.
    ///
    /// `report` is a descriptor that is moved if its number is a target; its new number is written back.
    pub(super) fn become_program(&self, rest: &Rest, report: Option<&mut RawFd>) -> StartError {
        match self.prepare(rest, report) {
            Ok(image) => self.run(image),
            Err(error) => error,
        }
    }

    fn prepare(&self, rest: &Rest, report: Option<&mut RawFd>) -> core::result::Result<RawFd, StartError> {
        self.actions(rest).map_err(at(Stage::Signals))?;
        if rest.cgroup {
            self.enter_cgroup().map_err(at(Stage::Cgroup))?;
        }
        self.enter_group().map_err(at(Stage::Group))?;
        if self.subreaper {
            crate::process::become_subreaper().map_err(at(Stage::Subreaper))?;
        }
        if let Some(mask) = self.umask {
            let _ = rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask as _));
        }
        self.enter_directory().map_err(at(Stage::Directory))?;
        let image = self.deal_descriptors(report).map_err(at(Stage::Descriptors))?;
        // After the descriptors, which need room above the numbers in use; a lower limit closes nothing.
        for (position, &(resource, limit)) in self.limits.iter().enumerate() {
            let position = u8::try_from(position).unwrap_or(u8::MAX);
            let failed = |errno| StartError { stage: Stage::Limits, limit: position, errno };
            crate::process::set_rlimit(resource, limit).map_err(failed)?;
        }
        if !self.identity.is_empty() {
            self.identity.assume_in_child().map_err(at(Stage::Identity))?;
        }
        if self.effective_only {
            keep_effective_ids().map_err(at(Stage::Identity))?;
        }
        // A change of the user clears the parent-death signal.
        self.bind_to_parent(rest.parent).map_err(at(Stage::ParentDeath))?;
        self.mask(rest).map_err(at(Stage::Signals))?;
        Ok(image)
    }

    fn run(&self, image: RawFd) -> StartError {
        let (argv, envp) = (self.argv(), self.envp());
        let errno = match self.program {
            // SAFETY: both lists were checked to end with a null pointer when the plan was made (libc's own does), and
            // the strings are borrowed by the plan.
            Program::Path(path) => unsafe { raw_process::execve(path.as_ptr(), argv, envp) },
            // SAFETY: as above.
            Program::Image(_) => unsafe { raw_process::execveat(image, argv, envp) },
        };
        StartError::at(Stage::Exec, errno)
    }

    fn actions(&self, rest: &Rest) -> Result<()> {
        if !rest.handlers && !self.default_signals {
            return Ok(());
        }
        for signal in 1..=64 {
            // SIGKILL and SIGSTOP have no other action, and libc keeps a few to itself.
            match self.action(signal) {
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn action(&self, signal: c_int) -> Result<()> {
        // Ignored signals stay ignored over exec, unless the plan resets them.
        if !self.default_signals && raw_process::is_ignored(signal)? {
            return Ok(());
        }
        raw_process::default_action(signal)
    }

    fn mask(&self, rest: &Rest) -> Result<()> {
        let mask = self.blocked.map_or(rest.mask, |signals| {
            let mut mask = Mask::EMPTY;
            signals.iter().for_each(|signal| mask.add(signal.as_raw()));
            mask
        });
        raw_process::set_mask(&mask)?;
        Ok(())
    }

    fn enter_cgroup(&self) -> Result<()> {
        use rustix::fs::{Mode, OFlags, openat};
        let Some(directory) = self.cgroup else { return Ok(()) };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let members = retry(|| raw::call("openat", || openat(directory, c"cgroup.procs", flags, Mode::empty())))?;
        // "0" means the writer.
        retry(|| raw::call("write", || rustix::io::write(&members, b"0")))?;
        Ok(())
    }

    fn enter_group(&self) -> Result<()> {
        match self.group {
            Group::Inherited => Ok(()),
            Group::New => crate::process::set_group(None, None),
            Group::Join(group) => crate::process::set_group(None, Some(group)),
            Group::Session => crate::process::new_session().map(drop),
        }
    }

    fn bind_to_parent(&self, parent: Option<Pid>) -> Result<()> {
        let Some(signal) = self.parent_death else { return Ok(()) };
        crate::process::set_parent_death_signal(Some(signal))?;
        // A parent that died before the call sends nothing any more. One outside this pid namespace has no number here.
        match (parent, parent_id()) {
            (Some(expected), Some(now)) if expected != now => Err(Errno::SRCH),
            _ => Ok(()),
        }
    }

    fn enter_directory(&self) -> Result<()> {
        match self.directory {
            Directory::Inherited => Ok(()),
            Directory::Path(path) => retry(|| raw::call("chdir", || rustix::process::chdir(path))),
            Directory::Open(directory) => retry(|| raw::call("fchdir", || rustix::process::fchdir(directory))),
        }
    }

    /// Moves all needed descriptors above the target numbers, then places them. Returns the number of the image.
    fn deal_descriptors(&self, report: Option<&mut RawFd>) -> Result<RawFd> {
        let mut image = match self.program {
            Program::Image(image) => image.as_raw_fd(),
            Program::Path(_) => -1,
        };
        if self.close_others {
            close_on_exec_from(3)?;
        }
        let Some(highest) = self.descriptors.iter().map(|one| one.target).max() else { return Ok(image) };
        let above = highest.checked_add(1).ok_or(Errno::BADF)?;
        if let Some(report) = report {
            *report = raw_process::dup_above(*report, above)?;
        }
        if image >= 0 {
            image = raw_process::dup_above(image, above)?;
        }
        for one in self.descriptors {
            one.moved.set(raw_process::dup_above(one.source.as_raw_fd(), above)?);
        }
        for one in self.descriptors {
            // SAFETY: this process is about to exec or exit; what it still needs was moved above every target.
            unsafe { raw_process::dup_onto(one.moved.get(), one.target) }?;
        }
        Ok(image)
    }
}

/// Uses system calls, which change this process only. The C library's functions would signal the threads of the parent.
fn keep_effective_ids() -> Result<()> {
    let (group, user) = (rustix::process::getegid(), rustix::process::geteuid());
    raw::call("setresgid", || rustix::thread::set_thread_res_gid(group, group, group))?;
    raw::call("setresuid", || rustix::thread::set_thread_res_uid(user, user, user))
}

fn at(stage: Stage) -> impl Fn(Errno) -> StartError {
    move |errno| StartError::at(stage, errno)
}

fn close_on_exec_from(first: c_int) -> Result<()> {
    match raw_process::cloexec_from(first) {
        // Before Linux 5.11 the call does not know the flag; a sandbox may not know the call.
        Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => {}
        done => return done,
    }
    let end = crate::process::rlimit(Resource::Nofile)?.current.and_then(|end| c_int::try_from(end).ok());
    for number in first..end.unwrap_or(c_int::MAX) {
        match raw_process::set_descriptor_flags(number, libc::FD_CLOEXEC) {
            Ok(()) | Err(Errno::BADF) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
